"""Cutting instances out as the part network sees them, and pasting back what it makes of them.

The roundings are the published ones to the letter: a network trained on shapes that are one pixel off sees them so.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from .instances import Instance, InstanceMap, even_sides
from .part_network import SIDE

MARGIN = 2


@dataclass(frozen=True)
class Crop:
    """Where an instance was cut out and how it was made square.

    :param box: (top, bottom, left, right), with its margin.
    :param long: the longer side after its aspect was restored.
    :param shift: rows (columns, where `wide` is False) of padding on either side.
    :param wide: whether the padding is above and below.
    :param stretched: whether the aspect was restored, so that pasting has to undo it.
    """

    box: tuple[int, int, int, int]
    long: int
    shift: int
    wide: bool
    stretched: bool

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) of the box."""
        top, bottom, left, right = self.box
        return (bottom - top, right - left)


def cut(instances: InstanceMap, instance: Instance) -> tuple[Tensor, Crop]:
    """Cut an instance out.

    :return: its shape [1, 64, 64], fp32 zeros and ones, and how to put it back.
    """
    height, width = instances.size
    top, bottom, left, right = instance.box
    top, bottom = even_sides(max(top - MARGIN, 0), min(bottom + MARGIN, height), height)
    left, right = even_sides(max(left - MARGIN, 0), min(right + MARGIN, width), width)
    shape = instances.mask(instance)[top:bottom, left:right].float()[None, None]
    h, w = shape.shape[-2:]
    H, W = instance.original
    if H > W:
        h = int(h * (H / W))
    elif W > H:
        w = int(w * (W / H))
    if H != W:
        shape = F.interpolate(shape, (h, w), mode="nearest")
    wide, shift = w > h, abs(h - w) // 2
    shape = F.pad(shape, (0, 0, shift, shift) if wide else (shift, shift, 0, 0))
    crop = Crop((top, bottom, left, right), max(h, w), shift, wide, H != W)
    return F.interpolate(shape, (SIDE, SIDE), mode="nearest")[0], crop


def paste(canvas: Tensor, made: Tensor, shape: Tensor, crop: Crop, mode: str) -> None:
    """Put what was made for an instance in its place, in place.

    :param canvas: [C, H, W].
    :param made: [C, 64, 64].
    :param shape: [1, 64, 64] as it was cut out; what lies outside of it stays.
    :param mode: "nearest", or "bilinear" for features.
    """
    source, mask = _restored(made, crop, mode), _restored(shape.to(made), crop, "nearest")
    top, bottom, left, right = crop.box
    place = canvas[:, top:bottom, left:right]
    place.copy_(place * (1 - mask) + source * mask)


def _restored(x: Tensor, crop: Crop, mode: str) -> Tensor:
    """[C, 64, 64] to the size of its box."""
    corners = None if mode == "nearest" else False
    x = F.interpolate(x[None], (crop.long, crop.long), mode=mode, align_corners=corners)
    kept = slice(crop.shift, crop.long - crop.shift)
    x = x[:, :, kept] if crop.wide else x[:, :, :, kept]
    if crop.stretched:
        x = F.interpolate(x, crop.size, mode=mode, align_corners=corners)
    return x[0]
