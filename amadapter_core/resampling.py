"""Between the tokens of a fine attention layer and the coarser grid the matcher works on.

Pooling is linear, so the logits of the pooled grid are the pooled logits, interp(Q K^T) = (P Q)(P K)^T: the
matcher's input never needs an N x N map. Its output is brought back the other way, a few target rows at a time.
A layer whose grid is small enough is not resampled at all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

Grid = tuple[int, int]

MATCHER_SIDE = 32
"""Longest side of the grid on which the matcher works (published: 32 x 32 for the 64 x 64 layers)."""


class Resampling(ABC):
    """One token axis of N tokens seen from a coarse grid of n cells."""

    fine: int
    coarse: int
    coarse_grid: Grid

    @abstractmethod
    def pool(self, x: Tensor) -> Tensor:
        """[..., N, D] to [..., n, D]."""

    @abstractmethod
    def gather(self, table: Tensor, start: int, stop: int) -> Tensor:
        """Fine tokens start..stop of a coarse table: [n, F] to [stop - start, F] by linear interpolation."""

    @abstractmethod
    def expand(self, x: Tensor) -> Tensor:
        """[..., n] to [..., N] by linear interpolation."""


class Identity(Resampling):
    """A grid small enough for the matcher as it is."""

    def __init__(self, grid: Grid):
        self.fine = self.coarse = grid[0] * grid[1]
        self.coarse_grid = grid

    def pool(self, x: Tensor) -> Tensor:
        return x

    def gather(self, table: Tensor, start: int, stop: int) -> Tensor:
        return table[start:stop]

    def expand(self, x: Tensor) -> Tensor:
        return x


class Spatial(Resampling):
    """Area average down and bilinear interpolation up, in 2D.

    Both sides are divided by the same factor, so that a cell stays as square as a token; cells are h/h' by w/w'
    tokens, so a grid that the factor does not divide keeps its geometry. At a factor of two, on four axes, this is
    the 4D bilinear resize without aligned corners.
    """

    def __init__(self, grid: Grid, side: int = MATCHER_SIDE):
        self.grid = grid
        factor = -(-max(grid) // side)
        self.coarse_grid = (-(-grid[0] // factor), -(-grid[1] // factor))
        self.fine = grid[0] * grid[1]
        self.coarse = self.coarse_grid[0] * self.coarse_grid[1]

    @cached_property
    def _area(self) -> tuple[Tensor, Tensor]:
        return tuple(_area_weights(n, m) for n, m in zip(self.grid, self.coarse_grid, strict=True))

    @cached_property
    def _linear(self) -> tuple[Tensor, Tensor]:
        return tuple(_linear_weights(n, m) for n, m in zip(self.grid, self.coarse_grid, strict=True))

    def pool(self, x: Tensor) -> Tensor:
        rows, columns = (w.to(x) for w in self._area)
        x = x.unflatten(-2, self.grid)  # [..., h, w, D]
        x = torch.einsum("ih,...hwd->...iwd", rows, x)
        return torch.einsum("jw,...iwd->...ijd", columns, x).flatten(-3, -2)

    def gather(self, table: Tensor, start: int, stop: int) -> Tensor:
        token = torch.arange(start, stop)
        (y, wy), (x, wx) = (
            _linear_taps(i, n, m)
            for i, n, m in zip((token // self.grid[1], token % self.grid[1]), self.grid, self.coarse_grid, strict=True)
        )
        index = y[:, :, None] * self.coarse_grid[1] + x[:, None, :]  # [c, 2, 2]
        return _weighted_sum(table, index.flatten(1), (wy[:, :, None] * wx[:, None, :]).flatten(1))

    def expand(self, x: Tensor) -> Tensor:
        rows, columns = (w.to(x) for w in self._linear)
        x = x.unflatten(-1, self.coarse_grid)
        return (rows @ (x @ columns.T)).flatten(-2)


class Flat(Resampling):
    """The published resize of the 64 x 64 layers: linear on the *flattened* token index, 4096 to 1024 and back.

    It mixes a column offset with a row step (method.md section 5); kept for parity alone.
    """

    def __init__(self, tokens: int, coarse_grid: Grid):
        self.fine = tokens
        self.coarse_grid = coarse_grid
        self.coarse = coarse_grid[0] * coarse_grid[1]

    def pool(self, x: Tensor) -> Tensor:
        index, weight = _linear_taps(torch.arange(self.coarse), self.coarse, self.fine)
        index, weight = index.to(x.device), weight.to(x)
        return x[..., index[:, 0], :] * weight[:, :1] + x[..., index[:, 1], :] * weight[:, 1:]

    def gather(self, table: Tensor, start: int, stop: int) -> Tensor:
        return _weighted_sum(table, *_linear_taps(torch.arange(start, stop), self.fine, self.coarse))

    def expand(self, x: Tensor) -> Tensor:
        shape = (*x.shape[:-1], self.fine)
        return F.interpolate(x.reshape(1, -1, self.coarse), size=self.fine, mode="linear").reshape(shape)


def spatial(grid: Grid) -> Resampling:
    """How a grid (h, w) reaches the matcher: as it is up to 32 on the longer side, else divided evenly."""
    return Identity(grid) if max(grid) <= MATCHER_SIDE else Spatial(grid)


def _weighted_sum(table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """[n, F] to [c, F]: rows index [c, T] of the table, weighted and summed, in one pass over memory."""
    return F.embedding_bag(index.to(table.device), table, per_sample_weights=weight.to(table), mode="sum")


def _linear_taps(i: Tensor, n: int, m: int) -> tuple[Tensor, Tensor]:
    """Two source cells of m, with weights, for the outputs i of n: linear interpolation, corners not aligned."""
    position = ((i.double() + 0.5) * (m / n) - 0.5).clamp(0, m - 1)
    low = position.floor().long().clamp(max=max(m - 2, 0))
    high = (low + 1).clamp(max=m - 1)
    weight = (position - low).float()
    return torch.stack([low, high], -1), torch.stack([1 - weight, weight], -1)


def _linear_weights(n: int, m: int) -> Tensor:
    """The same as a matrix [n, m]."""
    index, weight = _linear_taps(torch.arange(n), n, m)
    return torch.zeros(n, m).scatter_add_(1, index, weight)


def _area_weights(n: int, m: int) -> Tensor:
    """Matrix [m, n] that averages n tokens into m cells by the length each covers."""
    edges = torch.arange(m + 1, dtype=torch.float64) * (n / m)
    token = torch.arange(n, dtype=torch.float64)
    overlap = torch.minimum(edges[1:, None], token + 1) - torch.maximum(edges[:-1, None], token)
    return (overlap.clamp_min(0) * (m / n)).float()
