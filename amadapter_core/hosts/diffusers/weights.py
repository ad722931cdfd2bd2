"""Networks of diffusers from weights files of any kind; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from ...checkpoints import CheckpointError, find_pair, load_controlnext, load_unet_state_dict, recognise
from ...controlnext import ControlNeXt

_LDM_PREFIX = "model.diffusion_model."


def load_unet(path: str | Path, *, heads: int = 8, dtype: torch.dtype | None = None) -> UNet2DConditionModel:
    """A UNet of SD1.5's topology from a file, in diffusers or LDM naming, alone or inside a full checkpoint.

    Widths, depths and context width are read from the shapes.

    :param heads: attention heads of every site; shapes do not tell, SD1.5 has 8.
    :param dtype: None keeps the file's.
    :raises CheckpointError: when the file holds something else or not all of it.
    """
    weights, naming = load_unet_state_dict(path)
    return make_unet(_from_ldm(weights) if naming == "ldm" else weights, heads=heads, dtype=dtype, source=path)


def make_unet(
    weights: Mapping[str, Tensor], *, heads: int = 8, dtype: torch.dtype | None = None, source: str | Path = "the UNet"
) -> UNet2DConditionModel:
    """A UNet of SD1.5's topology from its weights in diffusers naming, which become its parameters.

    :param source: what the weights come from, for messages.
    :raises CheckpointError: when they are another network's, or not all of them.
    """
    with torch.device("meta"):
        unet = UNet2DConditionModel(**_config(weights, heads))
    try:
        unet.load_state_dict(weights, strict=True, assign=True)
    except RuntimeError as error:
        raise CheckpointError(f"load_unet: {source} is not a complete SD1.5 type UNet: {error}") from error
    unet = unet if dtype is None else unet.to(dtype)
    return unet.requires_grad_(False).eval()


def load_pair(
    folder: str | Path, *, heads: int = 8, dtype: torch.dtype | None = None
) -> tuple[UNet2DConditionModel, ControlNeXt]:
    """UNet and ControlNeXt of a training run's folder, as accelerate saves them: `model_1` and `model`.

    Which file is which is told by its content.

    :raises CheckpointError: when the folder does not hold one of each.
    """
    pair = find_pair(folder)
    return load_unet(pair.unet.path, heads=heads, dtype=dtype), load_controlnext(pair.controlnext.path, dtype=dtype)


def _from_ldm(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    inputs = len({key.split(".")[1] for key in weights if key.startswith("input_blocks.")})
    levels = 1 + sum(1 for key in weights if key.startswith("input_blocks.") and key.endswith(".op.weight"))
    return convert_ldm_unet_checkpoint(
        {_LDM_PREFIX + key: value for key, value in weights.items()}, {"layers_per_block": inputs // levels - 1}
    )


def _config(weights: Mapping[str, Tensor], heads: int) -> dict[str, object]:
    """The configuration of a UNet whose weights, in diffusers naming, these are."""

    def attends(prefix: str) -> bool:
        return any(key.startswith(f"{prefix}.attentions.") for key in weights)

    sizes = recognise(weights).details
    levels = len(sizes["widths"])
    return {
        "in_channels": sizes["in_channels"],
        "out_channels": weights["conv_out.weight"].shape[0],
        "block_out_channels": tuple(sizes["widths"]),
        "layers_per_block": len({key.split(".")[3] for key in weights if key.startswith("down_blocks.0.resnets.")}),
        "down_block_types": tuple(
            "CrossAttnDownBlock2D" if attends(f"down_blocks.{i}") else "DownBlock2D" for i in range(levels)
        ),
        "up_block_types": tuple(
            "CrossAttnUpBlock2D" if attends(f"up_blocks.{i}") else "UpBlock2D" for i in range(levels)
        ),
        "cross_attention_dim": sizes["context_dim"],
        "attention_head_dim": heads,
    }
