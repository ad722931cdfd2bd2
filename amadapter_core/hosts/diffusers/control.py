"""ControlNeXt on a diffusers UNet: a label map's feature added after the first down block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from ...controlnext import ControlNeXt, cross_normalise
from ...label_maps import LabelMap


@dataclass(frozen=True)
class LabelControl:
    """ControlNeXt on one label map.

    :param network: the network, on the UNet's device.
    :param colours: [B, 3, H, W] colour map in 0..1, of the picture's size.
    :param scale: 1 is the method, 0 is off.
    """

    network: ControlNeXt
    colours: Tensor
    scale: float = 1.0

    @classmethod
    def of(cls, network: ControlNeXt, labels: LabelMap, size: tuple[int, int], scale: float = 1.0) -> LabelControl:
        """:param size: (H, W) of the picture in pixels."""
        colours = labels.resize(*size, method="nearest").colours().permute(0, 3, 1, 2)
        # One layout whatever the batch: another takes other kernels, and an image would round by its neighbours.
        return cls(network, colours.to(network.device, network.dtype).contiguous(), scale)

    def feature(self, timestep: float | Tensor) -> Tensor:
        """[B, C, H/8, W/8] at a timestep, or at one [B] for each colour map."""
        timestep = torch.as_tensor(timestep, device=self.colours.device).reshape(-1)
        return self.network(self.colours, timestep)


@contextmanager
def controlled(
    unet: UNet2DConditionModel, control: LabelControl | None, timestep: float | Tensor, guided: bool = False
) -> Iterator[None]:
    """Within the block, every pass of the UNet takes the label map in; afterwards nothing is left of it.

    The first block's output changes, its skip connections (the last of which is that same tensor) do not.

    :param control: of batch 1, or one per image; None changes nothing.
    :param guided: whether the UNet's batch is [unconditional, conditional] halves of those images.
    """
    if control is None or control.scale == 0:
        yield
        return
    feature = control.feature(timestep)
    if guided and len(feature) > 1:
        feature = torch.cat([feature, feature])

    def add(module: Any, args: Any, output: tuple[Tensor, tuple[Tensor, ...]]) -> tuple[Tensor, tuple[Tensor, ...]]:
        sample, skips = output
        return cross_normalise(sample, feature, control.scale), skips

    handle = unet.down_blocks[0].register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()
