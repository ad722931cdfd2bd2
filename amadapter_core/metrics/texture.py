"""What a class looks like apart from its mean colour: marginal statistics of a bank of fixed filters.

Two textures look alike when the responses of filters of several scales and orientations have the same histograms
(Heeger and Bergen, Pyramid-based texture analysis/synthesis, 1995). The filters here are, at each octave, what a
Gaussian takes away and its two derivatives, per channel of CIELAB. They see one class alone: means are over the
pixels of the class, so that no colour leaks over a border and a flat class answers 0. Nothing is trained, nothing is
downloaded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS = 512
"""Quantiles at which two histograms are compared."""

# As good as a Gaussian with a deviation of one cell (Burt and Adelson, The Laplacian pyramid, 1983).
_KERNEL = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
_EMPTY = 1e-6


@dataclass(frozen=True)
class Responses:
    """How one class answers the filters of one octave.

    :param values: [F, n], a row per filter and channel, a column per cell.
    :param weights: [n] how much of a cell belongs to the class, > 0.
    """

    values: Tensor
    weights: Tensor

    def quantiles(self) -> Tensor:
        """[F, LEVELS]: the inverse distribution function at the middle of each level."""
        values, order = self.values.sort(1)
        mass = self.weights.double()[order].cumsum(1)
        wanted = (torch.arange(LEVELS, device=mass.device) + 0.5) / LEVELS * mass[:, -1:]
        index = torch.searchsorted(mass, wanted).clamp(max=values.shape[1] - 1)
        return values.gather(1, index)


def octaves(size: tuple[int, int]) -> int:
    """How many scales there are for pictures of (H, W): 1, 2, 4 ... pixels, up to a 32nd of the shorter side."""
    return int(math.log2(max(min(size) / 32, 1))) + 1


def responses(picture: Tensor, mask: Tensor, scales: int) -> list[Responses]:
    """Filter one class of one picture.

    :param picture: [C, H, W].
    :param mask: [H, W] bool, the class; at least one pixel.
    :param scales: how many octaves, from one pixel on.
    :return: one per octave, in the picture's units: each a difference of two means.
    """
    rows, columns = (mask.any(axis).nonzero() for axis in (1, 0))
    box = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    weight = mask[box][None].to(picture)
    total = picture[(slice(None), *box)] * weight
    found = []
    for _ in range(scales):
        smooth = _blur(total) / _blur(weight).clamp_min(_EMPTY)
        inside = weight[0] > 0
        filtered = (
            total / weight.clamp_min(_EMPTY) - smooth,
            _moved(smooth, 2, 1) - _moved(smooth, 2, -1),
            _moved(smooth, 1, 1) - _moved(smooth, 1, -1),
        )
        found.append(Responses(torch.cat([f[:, inside] for f in filtered]), weight[0][inside]))
        total, weight = _halve(_blur(total)), _halve(_blur(weight))  # smooth first, or the phase would count
    return found


def distance(first: list[Responses], second: list[Responses]) -> float:
    """Root mean square, over all filters, of the 2-Wasserstein distances of the histograms.

    :param first: what `responses` gives; second alike, with as many octaves.
    :return: in the units of the responses; 0 for the same class of the same picture.
    """
    squares = [(a.quantiles() - b.quantiles()).square().mean() for a, b in zip(first, second, strict=True)]
    return float(torch.stack(squares).mean().sqrt())


def _blur(x: Tensor) -> Tensor:
    """[C, H, W]; zero beyond the picture."""
    kernel = _KERNEL.to(x)
    x = F.conv2d(x[:, None], kernel[None, None, :, None], padding=(2, 0))
    return F.conv2d(x, kernel[None, None, None, :], padding=(0, 2))[:, 0]


def _moved(x: Tensor, axis: int, by: int) -> Tensor:
    """[C, H, W], the border repeated."""
    last = x.shape[axis] - 1
    return x.index_select(axis, (torch.arange(last + 1, device=x.device) + by).clamp(0, last))


def _halve(x: Tensor) -> Tensor:
    """[C, H, W] in means of 2 x 2, zeros beyond the picture."""
    return F.avg_pool2d(F.pad(x, (0, x.shape[2] % 2, 0, x.shape[1] % 2)), 2)
