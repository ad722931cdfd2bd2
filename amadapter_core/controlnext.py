"""ControlNeXt: a label map's colour image to one feature map, and how that map enters the UNet.

The network and its key names are those of ControlNeXt as AM-Adapter uses it (arXiv 2412.03150;
ControlNeXt, arXiv 2408.06070). One feature map of 1/8 the picture's size is pooled to the UNet's activation
after its first down block, brought to that activation's statistics, and added. The skip connections keep the
activation as it was.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .network import Network

PUBLISHED_OUT_CHANNELS = 320
_GROUP_WIDTH = 32
_STEM_GROUPS = 2


class _ResBlock(nn.Module):
    """GroupNorm-SiLU-conv twice, with the time embedding added in between."""

    def __init__(self, in_channels: int, out_channels: int, time_channels: int, ops: ModuleType | Any):
        super().__init__()
        groups = max(1, out_channels // _GROUP_WIDTH)
        self.norm1 = ops.GroupNorm(groups, in_channels, eps=1e-6)
        self.conv1 = ops.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time_emb_proj = ops.Linear(time_channels, out_channels)
        self.norm2 = ops.GroupNorm(groups, out_channels, eps=1e-6)
        self.conv2 = ops.Conv2d(out_channels, out_channels, 3, padding=1)
        if in_channels != out_channels:
            self.conv_shortcut = ops.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.time_emb_proj(F.silu(time))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (self.conv_shortcut(x) if hasattr(self, "conv_shortcut") else x)


class _Downsample(nn.Module):
    def __init__(self, channels: int, ops: ModuleType | Any):
        super().__init__()
        self.conv = ops.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class _TimeEmbedding(nn.Module):
    def __init__(self, in_channels: int, channels: int, ops: ModuleType | Any):
        super().__init__()
        self.linear_1 = ops.Linear(in_channels, channels)
        self.linear_2 = ops.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(x)))


def sinusoidal(timestep: Tensor, channels: int) -> Tensor:
    """Sinusoidal embedding of diffusion timesteps, cosines first.

    :param timestep: [B] in 0..1000, integer or fractional.
    :return: [B, channels] fp32.
    """
    half = channels // 2
    rate = torch.exp(torch.arange(half, dtype=torch.float32, device=timestep.device) * (-math.log(10000) / half))
    angle = timestep.float()[:, None] * rate
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


class ControlNeXt(Network):
    """A colour map [B, 3, H, W] in 0..1 and a timestep to one feature map [B, C, H/8, W/8].

    :param out_channels: C, the width of the UNet's first block (320 for SD1.5).
    :param stem: widths of the three stem convolutions.
    :param stages: width of each residual stage; each halves the size.
    :param operations: where Conv2d, Linear and GroupNorm come from; a host passes its own layers.
    """

    def __init__(
        self,
        out_channels: int = PUBLISHED_OUT_CHANNELS,
        stem: tuple[int, int, int] = (64, 64, 128),
        stages: tuple[int, ...] = (128, 256),
        time_channels: tuple[int, int] = (128, 256),
        operations: ModuleType | Any = nn,
    ):
        super().__init__()
        ops = operations
        self.out_channels = out_channels
        self.time_in_channels = time_channels[0]
        self.compression = 2 ** (1 + len(stages))
        self.time_embedding = _TimeEmbedding(*time_channels, ops)
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(zip((3, *stem), stem, strict=False)):
            layers += [
                ops.Conv2d(a, b, 3, stride=2 if i == 0 else 1, padding=1),
                ops.GroupNorm(_STEM_GROUPS, b),
                nn.ReLU(),
            ]
        self.embedding = nn.Sequential(*layers)
        widths = (stem[-1], *stages)
        self.down_res = nn.ModuleList(
            _ResBlock(a, b, time_channels[1], ops) for a, b in zip(widths, stages, strict=False)
        )
        self.down_sample = nn.ModuleList(_Downsample(b, ops) for b in stages)
        last = stages[-1]
        groups = max(1, last // _GROUP_WIDTH)
        self.mid_convs = nn.ModuleList(
            [
                nn.Sequential(
                    ops.Conv2d(last, last, 3, padding=1),
                    nn.ReLU(),
                    ops.GroupNorm(groups, last),
                    ops.Conv2d(last, last, 3, padding=1),
                    ops.GroupNorm(groups, last),
                ),
                ops.Conv2d(last, out_channels, 1),
            ]
        )

    @classmethod
    def from_state_dict(cls, state_dict: dict[str, Tensor], operations: ModuleType | Any = nn) -> ControlNeXt:
        """Build the network whose sizes the weights have, and load them strictly.

        :raises RuntimeError: when keys are missing, left over or of another shape.
        """
        stages = sum(1 for key in state_dict if key.startswith("down_sample.") and key.endswith(".conv.weight"))
        net = cls(
            out_channels=state_dict["mid_convs.1.weight"].shape[0],
            stem=tuple(state_dict[f"embedding.{3 * i}.weight"].shape[0] for i in range(3)),
            stages=tuple(state_dict[f"down_sample.{i}.conv.weight"].shape[0] for i in range(stages)),
            time_channels=tuple(reversed(state_dict["time_embedding.linear_1.weight"].shape)),
            operations=operations,
        )
        net.load_state_dict(state_dict, strict=True)
        return net

    def forward(self, colours: Tensor, timestep: Tensor) -> Tensor:
        """:param colours: [B, 3, H, W] in 0..1, no further normalisation.
        :param timestep: [B] or [1], 0..1000.
        :return: [B, C, H/8, W/8], not yet normalised to any activation.
        """
        time = self.time_embedding(
            sinusoidal(timestep.expand(colours.shape[0]), self.time_in_channels).to(colours.dtype)
        )
        x = self.embedding(colours)
        for res, down in zip(self.down_res, self.down_sample, strict=True):
            x = down(res(x, time))
        return self.mid_convs[1](self.mid_convs[0](x) + x)


def cross_normalise(sample: Tensor, control: Tensor, scale: float = 1.0) -> Tensor:
    """Add `control` to `sample` at the sample's own mean and deviation (Cross Normalization of ControlNeXt).

    Statistics are over (C, h, w) of each batch item, unbiased deviation, in fp32. The sample's mean is part of
    what is added, so at scale 1 the mean doubles: that is the published rule.

    :param sample: [B, C, h, w], the UNet's activation after its first down block; not changed in place, since
        the UNet keeps the same tensor as a skip connection.
    :param control: [B or 1, C, H, W], pooled to (h, w) by adaptive averaging.
    :return: [B, C, h, w] in the sample's dtype.
    """
    control = F.adaptive_avg_pool2d(control.to(sample), sample.shape[-2:]).float()
    dims = (1, 2, 3)
    x = sample.float()
    mean, deviation = x.mean(dims, keepdim=True), x.std(dims, keepdim=True)
    centred = control - control.mean(dims, keepdim=True)
    added = centred * (deviation / (control.std(dims, keepdim=True) + 1e-12)) + mean
    return (x + scale * added).to(sample.dtype)
