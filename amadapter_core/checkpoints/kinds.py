"""The kinds of weights files: those that belong here, and those that are known to be refused by name."""

from __future__ import annotations

from enum import Enum


class Kind(str, Enum):
    """What a weights file holds. The first four are ours, the others are recognised to be refused by name."""

    CONTROLNEXT = "controlnext"
    MATCHER = "matcher"
    UNET_DIFFUSERS = "unet_diffusers"
    UNET_LDM = "unet_ldm"
    SDXL_UNET = "sdxl_unet"
    SD2_UNET = "sd2_unet"
    VIDEO_UNET = "video_unet"
    OTHER_UNET = "other_unet"
    DIFFUSION_TRANSFORMER = "diffusion_transformer"
    GENERATOR = "generator"
    LORA = "lora"
    CONTROLNET = "controlnet"
    T2I_ADAPTER = "t2i_adapter"
    IP_ADAPTER = "ip_adapter"
    VAE = "vae"
    TEXT_ENCODER = "text_encoder"
    IMAGE_ENCODER = "image_encoder"
    TEXTUAL_INVERSION = "textual_inversion"
    OPTIMIZER = "optimizer"
    UNKNOWN = "unknown"

    @property
    def description(self) -> str:
        """A noun phrase for messages, with its article."""
        return _DESCRIPTIONS[self]

    @property
    def remedy(self) -> str:
        """A sentence for the user who picked this file where another kind belongs."""
        return _REMEDIES[self]


UNETS = (Kind.UNET_DIFFUSERS, Kind.UNET_LDM)
OURS = (Kind.CONTROLNEXT, Kind.MATCHER, *UNETS)

_DESCRIPTIONS = {
    Kind.CONTROLNEXT: "a ControlNeXt network",
    Kind.MATCHER: "an AM-Adapter matcher",
    Kind.UNET_DIFFUSERS: "an SD1.5 type UNet with diffusers names",
    Kind.UNET_LDM: "an SD1.5 type UNet with original (LDM) names",
    Kind.SDXL_UNET: "an SDXL UNet",
    Kind.SD2_UNET: "an SD2 UNet",
    Kind.VIDEO_UNET: "a video UNet or motion module",
    Kind.OTHER_UNET: "a UNet of another model family",
    Kind.DIFFUSION_TRANSFORMER: "a diffusion transformer (Flux, SD3 or the like)",
    Kind.GENERATOR: "a semantic generator (clVAE, iPOSE or SCA-DM)",
    Kind.LORA: "a LoRA",
    Kind.CONTROLNET: "a ControlNet",
    Kind.T2I_ADAPTER: "a T2I-Adapter",
    Kind.IP_ADAPTER: "an IP-Adapter",
    Kind.VAE: "a VAE",
    Kind.TEXT_ENCODER: "a text encoder",
    Kind.IMAGE_ENCODER: "an image encoder (CLIP vision)",
    Kind.TEXTUAL_INVERSION: "a textual inversion embedding",
    Kind.OPTIMIZER: "the state of an optimizer",
    Kind.UNKNOWN: "not a network known here",
}

_SD15_ONLY = "AM-Adapter's networks belong to SD1.5 UNets: use the UNet they were trained with"
_REMEDIES = {
    Kind.CONTROLNEXT: "Pick it where a ControlNeXt is asked for",
    Kind.MATCHER: "Pick it where a matcher is asked for",
    Kind.UNET_DIFFUSERS: "Pick it where a UNet is asked for; of accelerate's pair ControlNeXt is the other",
    Kind.UNET_LDM: "Pick it where a UNet is asked for",
    Kind.SDXL_UNET: _SD15_ONLY,
    Kind.SD2_UNET: _SD15_ONLY,
    Kind.VIDEO_UNET: _SD15_ONLY,
    Kind.OTHER_UNET: _SD15_ONLY,
    Kind.DIFFUSION_TRANSFORMER: _SD15_ONLY,
    Kind.GENERATOR: "Load it with Load Semantic Generator",
    Kind.LORA: "Apply a LoRA to the MODEL with a LoRA loader instead",
    Kind.CONTROLNET: "A ControlNet is a different network than ControlNeXt: load it with a ControlNet loader",
    Kind.T2I_ADAPTER: "Load it with a ControlNet loader",
    Kind.IP_ADAPTER: "Load it with an IP-Adapter loader",
    Kind.VAE: "Load it with a VAE loader",
    Kind.TEXT_ENCODER: "Load it with a CLIP loader",
    Kind.IMAGE_ENCODER: "Load it with a CLIP vision loader",
    Kind.TEXTUAL_INVERSION: "Put it into the embeddings folder and name it in the prompt",
    Kind.OPTIMIZER: "Pick the weights that training saved beside it",
    Kind.UNKNOWN: "Use a file that holds one such network",
}
