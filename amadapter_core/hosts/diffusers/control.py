"""ControlNeXt on a diffusers UNet: one feature map added after the first down block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from diffusers import UNet2DConditionModel
from torch import Tensor

from ...controlnext import cross_normalise


@contextmanager
def injected(unet: UNet2DConditionModel, control: Tensor | None, scale: float = 1.0) -> Iterator[None]:
    """Within the block, every pass of the UNet takes `control` in; afterwards nothing is left of it.

    The first block's output changes, its skip connections (the last of which is that same tensor) do not.

    :param control: [B or 1, C, h, w] from ControlNeXt; None changes nothing.
    """
    if control is None or scale == 0:
        yield
        return

    def add(module: Any, args: Any, output: tuple[Tensor, tuple[Tensor, ...]]) -> tuple[Tensor, tuple[Tensor, ...]]:
        sample, skips = output
        return cross_normalise(sample, control, scale), skips

    handle = unet.down_blocks[0].register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()
