"""The matcher: a small 4D-convolution network over a matching cost (AM-Adapter proper; arXiv 2412.03150).

Input is, for every pair (target query, exemplar key), the logit of each head and one flag that says whether the
two share a class. Output is one non-negative number per head and pair. Each layer is a 1x1 convolution and a 3x3
convolution over the exemplar's axes, summed; both act on the exemplar's axes alone, so one 3x3 convolution with
the 1x1 kernel added to its centre tap is the same layer, and that is how it runs here, in training as well:
parameters stay in the published two-convolution form, gradients reach both.

Target positions meet only in the group normalisation, whose single group spans channels and *all* pairs. The
network therefore runs over chunks of target queries, layer by layer, with the statistics of a layer gathered
over all chunks before any of them is normalised: exact, and no chunk needs to fit more than the cache.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .network import Network

BLOCKS = ("down_blocks", "mid_block", "up_blocks")
WIDTHS = (16, 32, 16)


class PairConv(nn.Module):
    """The 1x1 and 3x3 convolution of one layer, as published; `folded` gives the one convolution they make."""

    def __init__(self, in_channels: int, out_channels: int, ops: ModuleType | Any):
        super().__init__()
        self.query_conv = ops.Conv2d(in_channels, out_channels, 1)
        self.supp_conv = ops.Conv2d(in_channels, out_channels, 3, padding=1)

    def folded(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Weight [Co, Ci, 3, 3] and bias [Co] on the device and in the dtype of `like`."""
        weight = self.supp_conv.weight + F.pad(self.query_conv.weight, (1, 1, 1, 1))
        return weight.to(like), (self.supp_conv.bias + self.query_conv.bias).to(like)


class _Moments:
    """Sums of an activation gathered chunk by chunk, one query at a time, and merged in fp64: neither the size of a
    chunk nor the processor's order of summation leaves a trace. (One product over 17 million values in fp32 is off by
    1e-4 on some processors.)

    Apple's GPU has no fp64 and merges in fp32.
    """

    def __init__(self) -> None:
        self.count = 0
        self.total: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0

    def add(self, x: Tensor) -> None:
        """:param x: [n, C, h, w] of n queries."""
        by_query = x.flatten(1).to(torch.promote_types(x.dtype, torch.float32))
        self.count += by_query.numel()
        wide = torch.float32 if x.device.type == "mps" else torch.float64
        self.total = self.total + by_query.sum(1).to(wide).sum()
        self.squares = self.squares + torch.linalg.vector_norm(by_query, dim=1).to(wide).square().sum()

    def affine(self, norm: nn.Module, like: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and shift [C, 1, 1] that normalise with one group and apply the norm's own weight and bias."""
        mean = self.total / self.count
        variance = (self.squares / self.count - mean**2).clamp_min(0)
        inverse = torch.rsqrt(variance + norm.eps)
        scale = norm.weight.to(inverse) * inverse
        shift = norm.bias.to(inverse) - mean * scale
        return scale.to(like.dtype)[:, None, None], shift.to(like.dtype)[:, None, None]


def _activate(x: Tensor, affine: tuple[Tensor, Tensor]) -> Tensor:
    """Normalise and ReLU; in place without gradients, since a raw chunk is needed once."""
    scale, shift = affine
    if torch.is_grad_enabled():
        return F.relu(x * scale + shift)
    return x.mul_(scale).add_(shift).relu_()


class Encoder(nn.Module):
    """Four layers of pair convolution, global group normalisation and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, widths: tuple[int, ...], ops: ModuleType | Any):
        super().__init__()
        channels = (in_channels, *widths, out_channels)
        self.conv4d = nn.ModuleList(
            nn.ModuleList([PairConv(a, b, ops), ops.GroupNorm(1, b)])
            for a, b in zip(channels, channels[1:], strict=False)
        )

    def forward(self, cost: Iterable[Tensor]) -> list[Tensor]:
        """Refine the matching cost of one batch item.

        :param cost: chunks [n, H + 1, h, w] over the target queries, in order; n may differ between chunks.
            Consumed once, so a generator keeps the whole cost from ever being in memory.
        :return: chunks [n, H, h, w], all >= 0.
        """
        affine: tuple[Tensor, Tensor] | None = None
        for conv, norm in self.conv4d:
            raw: deque[Tensor] = deque()
            moments = _Moments()
            for x in cost:
                x = x if affine is None else _activate(x, affine)
                weight, bias = conv.folded(x)
                y = F.conv2d(x, weight, bias, padding=1)
                moments.add(y)
                raw.append(y)
            affine = moments.affine(norm, raw[0])
            cost = _drain(raw)
        return [_activate(x, affine) for x in cost]


def _drain(chunks: deque[Tensor]) -> Iterable[Tensor]:
    """Hand chunks out one by one, letting go of each, so that a layer's input and output are not both whole."""
    while chunks:
        yield chunks.popleft()


class Matcher(Network):
    """Three encoders, for the down blocks, the middle block and the up blocks; 39,744 parameters at 8 heads.

    The authors' code always runs the first one, whatever the block, so that only encoder 0 of a
    checkpoint trained with it is trained. `by_block` chooses: False is that behaviour, True the intended one.

    :param heads: H, attention heads of the UNet; SD1.5 has 8 at every site.
    :param widths: hidden widths of the four layers.
    :param operations: where Conv2d and GroupNorm come from; a host passes its own layers.

    `variant` is the behaviour the weights were trained with, "spatial" or "published", where it is known.
    """

    variant: str | None = None

    def __init__(
        self,
        heads: int = 8,
        widths: tuple[int, ...] = WIDTHS,
        by_block: bool = False,
        operations: ModuleType | Any = nn,
    ):
        super().__init__()
        self.heads = heads
        self.widths = tuple(widths)
        self.by_block = by_block
        self.encoders = nn.ModuleList(Encoder(heads + 1, heads, self.widths, operations) for _ in BLOCKS)

    @classmethod
    def from_state_dict(
        cls, state_dict: dict[str, Tensor], operations: ModuleType | Any = nn, by_block: bool = False
    ) -> Matcher:
        """Build the network whose sizes the weights have, and load them strictly.

        :raises RuntimeError: when keys are missing, left over or of another shape.
        """
        layers = sum(1 for k in state_dict if k.startswith("encoders.0.") and k.endswith("supp_conv.weight"))
        widths = [state_dict[f"encoders.0.conv4d.{i}.0.supp_conv.weight"].shape[0] for i in range(layers)]
        net = cls(heads=widths[-1], widths=tuple(widths[:-1]), by_block=by_block, operations=operations)
        net.load_state_dict(state_dict, strict=True)
        return net

    def encoder(self, block: str) -> Encoder:
        """The encoder that serves a block of the UNet.

        :param block: "down_blocks", "mid_block" or "up_blocks".
        """
        if block not in BLOCKS:
            raise ValueError(f"Matcher: unknown block {block!r}, expected one of {', '.join(BLOCKS)}")
        return self.encoders[BLOCKS.index(block) if self.by_block else 0]

    def forward(self, cost: Tensor, block: str = BLOCKS[0]) -> Tensor:
        """Refine a whole matching cost.

        :param cost: [B, H + 1, hq, wq, hk, wk], axes (target row, column, exemplar row, column); the last
            channel is the class flag.
        :return: [B, H, hq, wq, hk, wk], >= 0.
        """
        B, C, hq, wq, hk, wk = cost.shape
        if C != self.heads + 1:
            raise ValueError(
                f"Matcher: cost has {C} channels, expected {self.heads + 1} ({self.heads} heads and a flag)"
            )
        encoder = self.encoder(block)
        by_query = cost.permute(0, 2, 3, 1, 4, 5).reshape(B, hq * wq, C, hk, wk)
        refined = torch.stack([torch.cat(encoder([item])) for item in by_query])
        return refined.reshape(B, hq, wq, self.heads, hk, wk).permute(0, 3, 1, 2, 4, 5)
