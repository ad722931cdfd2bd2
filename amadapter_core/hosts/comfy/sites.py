"""The self-attention sites of ComfyUI's UNet, by the keys under which it looks for patches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from comfy.ldm.modules.attention import CrossAttention, SpatialTransformer, SpatialVideoTransformer
from comfy.ldm.modules.diffusionmodules.openaimodel import Downsample, UNetModel, Upsample
from torch import nn

from ...sites import Site

Key = tuple[str, int, int]
"""(block, its number, the transformer block's number in it), as in `patches_replace["attn1"]`."""

_BLOCKS = {"input": "down_blocks", "middle": "mid_block", "output": "up_blocks"}


@dataclass(frozen=True)
class Sites:
    """The attn1 sites of one UNet, in the order in which a pass meets them."""

    by_key: dict[Key, Site]
    modules: dict[Key, CrossAttention]

    @cached_property
    def last(self) -> Key:
        """The site whose output no other site sees."""
        return next(reversed(self.by_key))

    @property
    def heads(self) -> list[int]:
        """The numbers of attention heads that occur, ascending."""
        return sorted({module.heads for module in self.modules.values()})


def sites_of(model: nn.Module) -> Sites:
    """Find the sites of a UNet.

    :param model: the diffusion model of a MODEL.
    :raises ValueError: for a model of another kind (DiT, video), which has no such sites.
    """
    if not isinstance(model, UNetModel):
        raise ValueError(
            f"this model is a {type(model).__name__} without the UNet self-attention that exemplars are matched in; "
            "use a model of the Stable Diffusion 1.x, 2.x or XL family"
        )
    by_key: dict[Key, Site] = {}
    modules: dict[Key, CrossAttention] = {}
    level = 0
    for name, blocks in (
        ("input", model.input_blocks),
        ("middle", [model.middle_block]),
        ("output", model.output_blocks),
    ):
        for number, block in enumerate(blocks):
            for layer in block:
                if isinstance(layer, SpatialVideoTransformer):
                    raise ValueError("this is a video model; exemplars are matched in models of single pictures only")
                if isinstance(layer, SpatialTransformer):
                    for index, transformer in enumerate(layer.transformer_blocks):
                        if not transformer.disable_self_attn:
                            key = (name, number, index)
                            by_key[key] = Site(".".join(map(str, key)), _BLOCKS[name], level)
                            modules[key] = transformer.attn1
                level += isinstance(layer, Downsample) - isinstance(layer, Upsample)
    if not by_key:
        raise ValueError("this UNet has no self-attention; exemplars cannot be matched in it")
    return Sites(by_key, modules)
