"""What the frontend knows of ComfyUI's own nodes."""

from __future__ import annotations

from .schema import Schema

NODES = {
    "CheckpointLoaderSimple": Schema("", {"ckpt_name": ""}, "MODEL:MODEL CLIP:CLIP VAE:VAE"),
    "ControlNetLoader": Schema("", {"control_net_name": ""}, "CONTROL_NET:CONTROL_NET"),
    "LoraLoader": Schema(
        "model:MODEL clip:CLIP",
        {"lora_name": "", "strength_model": 1.0, "strength_clip": 1.0},
        "MODEL:MODEL CLIP:CLIP",
    ),
    "CLIPTextEncode": Schema("clip:CLIP", {"text": ""}, "CONDITIONING:CONDITIONING"),
    "LoadImage": Schema("", {"image": "", "upload": "image"}, "IMAGE:IMAGE MASK:MASK"),
    "LoadImageMask": Schema("", {"image": "", "channel": "red", "upload": "image"}, "MASK:MASK"),
    "Canny": Schema("image:IMAGE", {"low_threshold": 0.2, "high_threshold": 0.5}, "IMAGE:IMAGE"),
    "ControlNetApplyAdvanced": Schema(
        "positive:CONDITIONING negative:CONDITIONING control_net:CONTROL_NET image:IMAGE vae:VAE",
        {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0},
        "positive:CONDITIONING negative:CONDITIONING",
    ),
    "EmptyLatentImage": Schema("", {"width": 512, "height": 512, "batch_size": 1}, "LATENT:LATENT"),
    "VAEEncode": Schema("pixels:IMAGE vae:VAE", {}, "LATENT:LATENT"),
    "VAEDecode": Schema("samples:LATENT vae:VAE", {}, "IMAGE:IMAGE"),
    "SetLatentNoiseMask": Schema("samples:LATENT mask:MASK", {}, "LATENT:LATENT"),
    "GrowMask": Schema("mask:MASK", {"expand": 16, "tapered_corners": True}, "MASK:MASK"),
    "MaskPreview": Schema("mask:MASK", {}, ""),
    "KSampler": Schema(
        "model:MODEL positive:CONDITIONING negative:CONDITIONING latent_image:LATENT",
        {
            "seed": 1,
            "control_after_generate": "fixed",
            "steps": 30,
            "cfg": 7.5,
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": 1.0,
        },
        "LATENT:LATENT",
    ),
    "PreviewImage": Schema("images:IMAGE", {}, ""),
    "SaveImage": Schema("images:IMAGE", {"filename_prefix": "am_adapter"}, ""),
    "MarkdownNote": Schema("", {"text": ""}, ""),
    "ImageBatch": Schema("image1:IMAGE image2:IMAGE", {}, "IMAGE:IMAGE"),
    "LossGraphNode": Schema("loss:LOSS_MAP", {"filename_prefix": "loss_graph"}, ""),
    "RescaleCFG": Schema("model:MODEL", {"multiplier": 0.7}, "MODEL:MODEL"),
}
