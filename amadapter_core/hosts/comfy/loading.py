"""Weights files as the objects that ComfyUI's sockets carry; a file is recognised by its content."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import comfy.model_management
import comfy.ops
import comfy.sd
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher

from ...checkpoints import CheckpointError, find_pair, load_unet_state_dict, recognise
from ...checkpoints import load_controlnext as _load_controlnext
from ...checkpoints import load_matcher as _load_matcher
from .control import LabelMapControl
from .managed import managed

WEIGHT_DTYPES = {
    "default": None,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp8_e4m3fn": torch.float8_e4m3fn,
    "fp8_e5m2": torch.float8_e5m2,
}


def load_control(path: str | Path) -> LabelMapControl:
    """A CONTROL_NET from a ControlNeXt file.

    :raises FileNotFoundError: with the folder searched.
    :raises CheckpointError: when the file holds something else or not all of it.
    """
    return LabelMapControl(_load_controlnext(path, operations=comfy.ops.manual_cast))


def load_matcher(path: str | Path, disable_dynamic: bool = False) -> ModelPatcher:
    """An AM_MATCHER from a matcher file; `.model` is the core's Matcher.

    :param disable_dynamic: as ComfyUI asks for when it makes the same model again.
    :raises FileNotFoundError: with the folder searched.
    :raises CheckpointError: when the file holds something else or not all of it.
    """
    network = _load_matcher(path, operations=comfy.ops.manual_cast)
    # It computes in the dtype it is kept in, and half precision on a CPU takes fifteen times as long.
    device = comfy.model_management.get_torch_device()
    network.to(comfy.model_management.unet_manual_cast(network.dtype, device) or network.dtype)
    patcher = managed(network, disable_dynamic=disable_dynamic)
    patcher.cached_patcher_init = (load_matcher, (path,))
    return patcher


def load_unet(path: str | Path, weight_dtype: str = "default", disable_dynamic: bool = False) -> ModelPatcher:
    """A MODEL from an SD1.5 type UNet in diffusers or LDM naming, alone or inside a full checkpoint.

    :param path: a file, or the folder of a training run, which holds UNet and ControlNeXt.
    :param weight_dtype: a name of `WEIGHT_DTYPES`; "default" leaves the choice to ComfyUI.
    :param disable_dynamic: as ComfyUI asks for when it makes the same model again.
    :raises FileNotFoundError: with the folder searched.
    :raises CheckpointError: when the file holds something else or not all of it, or when ComfyUI has no model of
        its sizes.
    """
    if weight_dtype not in WEIGHT_DTYPES:
        raise ValueError(f"load_unet: unknown weight_dtype {weight_dtype!r}; use one of {', '.join(WEIGHT_DTYPES)}")
    file = find_pair(path).unet.path if Path(path).is_dir() else path
    weights, naming = load_unet_state_dict(file)
    names, sizes = frozenset(weights), recognise(weights).details
    dtype = WEIGHT_DTYPES[weight_dtype]
    options = {} if dtype is None else {"dtype": dtype}
    patcher = comfy.sd.load_diffusion_model_state_dict(weights, options, disable_dynamic=disable_dynamic)
    if patcher is None:
        raise CheckpointError(
            f"AM-Adapter: {file} is a UNet of widths {sizes['widths']} and context {sizes['context_dim']}, for which "
            "ComfyUI has no model. Expected SD1.5: widths [320, 640, 1280, 1280], context 768. Choose another file."
        )
    _check_complete(file, names, naming, patcher)
    patcher.cached_patcher_init = (load_unet, (path, weight_dtype))
    return patcher


def _check_complete(file: str | Path, names: frozenset[str], naming: str, patcher: ModelPatcher) -> None:
    """ComfyUI only logs missing weights and goes on with whatever was in memory."""
    expected = patcher.model.diffusion_model.state_dict().keys()
    if naming == "diffusers":
        ldm: Mapping[str, str] = comfy.utils.unet_to_diffusers(patcher.model.model_config.unet_config)
        names = frozenset(ldm[name] for name in names if name in ldm)
    if missing := sorted(expected - names):
        raise CheckpointError(
            f"AM-Adapter: {file} is an SD1.5 type UNet, but not a complete one. Expected {len(expected)} tensors, "
            f"{len(missing)} are missing: {', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}. "
            "Save it again with its whole state_dict()."
        )
