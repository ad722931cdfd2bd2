"""Hand a network over to ComfyUI's memory management."""

from __future__ import annotations

from typing import Any

import comfy.model_management
import comfy.model_patcher
import torch
from comfy.model_patcher import ModelPatcher
from torch import nn


class WholePatcher(ModelPatcher):
    """Loads a network whole or not at all: one whose layers ComfyUI cannot cast when they are used."""

    def load(self, device_to: torch.device | None = None, **options: Any) -> None:
        """Load all of it, whatever ComfyUI would leave out."""
        super().load(device_to, **options | {"lowvram_model_memory": 0, "full_load": True})

    def partially_unload(self, *args: Any, **options: Any) -> int:
        """Free nothing."""
        # Nothing freed makes ComfyUI unload the whole of it.
        return 0


def managed(network: nn.Module, load_device: torch.device | None = None, disable_dynamic: bool = False) -> ModelPatcher:
    """A ModelPatcher around a network: ComfyUI decides when it is on the device, and how much of it.

    :param network: with layers of `comfy.ops.manual_cast`. ComfyUI assigns its `device`.
    :param load_device: where it computes; None is ComfyUI's device.
    :param disable_dynamic: not the class with which ComfyUI loads weights page by page, where it has one.
    """
    core = getattr(comfy.model_patcher, "CoreModelPatcher", ModelPatcher)
    return _patcher(ModelPatcher if disable_dynamic else core, network, load_device)


def managed_whole(network: nn.Module) -> ModelPatcher:
    """A ModelPatcher around a network of ordinary layers: ComfyUI decides when it is on the device, all of it."""
    return _patcher(WholePatcher, network, None)


def _patcher(kind: type[ModelPatcher], network: nn.Module, load_device: torch.device | None) -> ModelPatcher:
    return kind(
        network,
        load_device=load_device or comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )
