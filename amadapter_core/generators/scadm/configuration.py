"""The sizes of SCA-DM's three networks, read from the shapes of their weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

_USUAL_SIZE = (256, 256)
_USUAL_SIZES = {34: (256, 512)}
"""(H, W) of the published models' pictures by their number of classes: Cityscapes is twice as wide."""
SIZE_MULTIPLE = 64
"""The style encoder halves pictures six times."""

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Configuration:
    """
    :param unet: arguments of `UNet`.
    :param style_encoder: of `StyleEncoder`.
    :param first_stage: of `FirstStage`.
    :param size: (H, W) of the pictures, multiples of 64; the weights do not tell.
    """

    unet: dict[str, Any]
    style_encoder: dict[str, Any]
    first_stage: dict[str, Any]
    size: tuple[int, int]

    def __post_init__(self) -> None:
        if any(side < SIZE_MULTIPLE or side % SIZE_MULTIPLE for side in self.size):
            raise ValueError(
                f"size is {self.size[0]} x {self.size[1]} (height x width), expected multiples of {SIZE_MULTIPLE}"
            )
        classes, wanted = self.unet["classes"], self.style_encoder["classes"]
        if classes != wanted:
            raise ValueError(f"its UNet has {classes} classes, its style encoder {wanted}")
        tokens, wanted = self.style_encoder["scales"] * self.style_encoder["width"], self.unet["context"]
        if tokens != wanted:
            raise ValueError(f"its UNet takes tokens of {wanted} numbers, its style encoder makes {tokens}")
        if self.unet["channels"] != self.first_stage["latent"]:
            raise ValueError(
                f"its UNet has {self.unet['channels']} latent channels, its first stage {self.first_stage['latent']}"
            )

    @property
    def classes(self) -> int:
        """K."""
        return self.unet["classes"]

    @classmethod
    def of(
        cls,
        unet: Weights,
        style_encoder: Weights,
        first_stage: Weights,
        size: tuple[int, int] | None = None,
        head_width: int = 32,
    ) -> Configuration:
        """Read it from the weights of the three networks, meta tensors included.

        :param size: (H, W) of the pictures; None takes what the published model of so many classes makes.
        :param head_width: channels of an attention head, 32 in all published models.
        :raises ValueError: when the networks do not fit each other, or the size is no multiple of 64.
        :raises KeyError: when the weights lack what tells.
        """
        sizes = unet_sizes(unet, head_width)
        size = size or _USUAL_SIZES.get(sizes["classes"], _USUAL_SIZE)
        return cls(sizes, style_encoder_sizes(style_encoder), first_stage_sizes(first_stage), tuple(size))


def unet_sizes(weights: Weights, head_width: int = 32) -> dict[str, Any]:
    """Arguments of `UNet`; see `Configuration.of`."""
    width, channels = weights["input_blocks.0.0.weight"].shape[:2]
    widths: list[list[int]] = [[]]
    transformers = set()
    for number in range(1, _count(weights, r"input_blocks\.(\d+)\.")):
        block = f"input_blocks.{number}"
        if f"{block}.0.op.weight" in weights:
            widths.append([])
            continue
        widths[-1].append(weights[f"{block}.0.in_layers.2.weight"].shape[0])
        if f"{block}.1.proj_in.weight" in weights:
            transformers.add(len(widths) - 1)
    out_of = [wides[0] for wides in widths]
    if any(wide % head_width for wide in out_of) or any(wide % width for wide in out_of):
        raise ValueError(f"its UNet's levels are {out_of} wide, expected multiples of {width} and of {head_width}")
    return {
        "classes": weights["middle_block.0.in_norm.mlp_shared.0.weight"].shape[1],
        "width": width,
        "factors": tuple(wide // width for wide in out_of),
        "blocks": len(widths[0]),
        "transformers": tuple(sorted(transformers)),
        "head_width": head_width,
        "context": weights["middle_block.1.transformer_blocks.0.attn2.to_k.weight"].shape[1],
        "channels": channels,
    }


def style_encoder_sizes(weights: Weights) -> dict[str, int]:
    """Arguments of `StyleEncoder`."""
    features = weights["Encoder.enc_layer_0.0.weight"].shape[1]
    classes = weights["Encoder.first_layer.0.weight"].shape[0] // features
    return {
        "classes": classes,
        "features": features,
        "downs": _count(weights, r"Encoder\.enc_layer_(\d+)\."),
        "scales": _count(weights, r"out\.out_(\d+)\."),
        "width": weights["out.out_0.0.weight"].shape[0] // classes,
    }


def first_stage_sizes(weights: Weights) -> dict[str, Any]:
    """Arguments of `FirstStage`."""
    width = weights["encoder.conv_in.weight"].shape[0]
    entries, latent = weights["quantize.embedding.weight"].shape
    levels = _count(weights, r"encoder\.down\.(\d+)\.")
    return {
        "width": width,
        "factors": tuple(weights[f"encoder.down.{i}.block.0.conv1.weight"].shape[0] // width for i in range(levels)),
        "blocks": _count(weights, r"encoder\.down\.0\.block\.(\d+)\."),
        "latent": latent,
        "entries": entries,
    }


def _count(weights: Weights, pattern: str) -> int:
    """One more than the highest number that a pattern finds in the names."""
    return 1 + max((int(match[1]) for key in weights if (match := re.match(pattern, key))), default=-1)
