"""Public model files: what ComfyUI offers to download when a workflow opens."""

from __future__ import annotations

HUB = "https://huggingface.co"
CONTROLNETS = f"{HUB}/comfyanonymous/ControlNet-v1-1_fp16_safetensors/resolve/main"
CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"
SEGMENTATION = "control_v11p_sd15_seg_fp16.safetensors"
CANNY = "control_v11p_sd15_canny_fp16.safetensors"
DOWNLOADS = {
    CHECKPOINT: ("checkpoints", f"{HUB}/Comfy-Org/stable-diffusion-v1-5-archive/resolve/main/{CHECKPOINT}"),
    SEGMENTATION: ("controlnet", f"{CONTROLNETS}/{SEGMENTATION}"),
    CANNY: ("controlnet", f"{CONTROLNETS}/{CANNY}"),
}
"""The folder in `models/` and the address, by file name."""
