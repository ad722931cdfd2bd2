"""Hand a network over to ComfyUI's memory management."""

from __future__ import annotations

import comfy.model_management
import comfy.model_patcher
import torch
from comfy.model_patcher import ModelPatcher
from torch import nn


def managed(network: nn.Module, load_device: torch.device | None = None, disable_dynamic: bool = False) -> ModelPatcher:
    """A ModelPatcher around a network: ComfyUI decides when it is on the device, and how much of it.

    :param network: with layers of `comfy.ops.manual_cast`. ComfyUI assigns its `device`.
    :param load_device: where it computes; None is ComfyUI's device.
    :param disable_dynamic: not the class with which ComfyUI loads weights page by page, where it has one.
    """
    core = getattr(comfy.model_patcher, "CoreModelPatcher", ModelPatcher)
    return (ModelPatcher if disable_dynamic else core)(
        network,
        load_device=load_device or comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )
