"""Between the tokens of a fine attention layer and the coarser grid the matcher works on.

Pooling is linear, so the logits of the pooled grid are the pooled logits, interp(Q K^T) = (P Q)(P K)^T: the
matcher's input never needs an N x N map. Its output is brought back the other way, a few target rows at a time.
A layer whose grid is small enough is not resampled at all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Grid = tuple[int, int]

MATCHER_SIDE = 32
"""Longest side of the grid on which the matcher works (published: 32 x 32 for the 64 x 64 layers)."""


class Resampling(ABC):
    """One token axis of N tokens seen from a coarse grid of n cells.

    :param fine: N.
    :param coarse_grid: (h', w'), n = h' w'.
    """

    def __init__(self, fine: int, coarse_grid: Grid):
        self.fine = fine
        self.coarse_grid = coarse_grid
        self.coarse = coarse_grid[0] * coarse_grid[1]
        self._placed: dict[tuple, tuple[Tensor, ...]] = {}

    def _constants(self, make: Callable[[], tuple[Tensor, ...]], like: Tensor) -> tuple[Tensor, ...]:
        """What `make` returns, made once and kept on the device and in the dtype of `like`."""
        key = (make.__name__, like.device, like.dtype)
        if key not in self._placed:
            with torch.inference_mode(False):  # what is kept must serve training as well
                self._placed[key] = tuple(t.to(like if t.is_floating_point() else like.device) for t in make())
        return self._placed[key]

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
        super().__init__(grid[0] * grid[1], grid)

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
        factor = -(-max(grid) // side)
        super().__init__(grid[0] * grid[1], (-(-grid[0] // factor), -(-grid[1] // factor)))
        self.grid = grid

    def pool(self, x: Tensor) -> Tensor:
        rows, columns = self._constants(self._area, x)
        x = x.unflatten(-2, self.grid)  # [..., h, w, D]
        x = torch.einsum("ih,...hwd->...iwd", rows, x)
        return torch.einsum("jw,...iwd->...ijd", columns, x).flatten(-3, -2)

    def gather(self, table: Tensor, start: int, stop: int) -> Tensor:
        return _weighted_sum(table, *(t[start:stop] for t in self._constants(self._taps, table)))

    def expand(self, x: Tensor) -> Tensor:
        rows, columns = self._constants(self._linear, x)
        x = x.unflatten(-1, self.coarse_grid)
        return (rows @ (x @ columns.T)).flatten(-2)

    def _area(self) -> tuple[Tensor, ...]:
        return tuple(_area_weights(n, m) for n, m in zip(self.grid, self.coarse_grid, strict=True))

    def _linear(self) -> tuple[Tensor, ...]:
        return tuple(_linear_weights(n, m) for n, m in zip(self.grid, self.coarse_grid, strict=True))

    def _taps(self) -> tuple[Tensor, ...]:
        """Four cells and their weights for each token: [N, 4] twice."""
        (y, wy), (x, wx) = (_linear_taps(n, m) for n, m in zip(self.grid, self.coarse_grid, strict=True))
        index = y[:, None, :, None] * self.coarse_grid[1] + x[None, :, None, :]  # [h, w, 2, 2]
        return index.flatten(2).flatten(0, 1), (wy[:, None, :, None] * wx[None, :, None, :]).flatten(2).flatten(0, 1)


class Flat(Resampling):
    """The published resize of the 64 x 64 layers: linear on the *flattened* token index, 4096 to 1024 and back.

    It mixes a column offset with a row step; kept for parity alone.
    """

    def pool(self, x: Tensor) -> Tensor:
        index, weight = self._constants(self._down, x)
        return x[..., index[:, 0], :] * weight[:, :1] + x[..., index[:, 1], :] * weight[:, 1:]

    def gather(self, table: Tensor, start: int, stop: int) -> Tensor:
        return _weighted_sum(table, *(t[start:stop] for t in self._constants(self._up, table)))

    def expand(self, x: Tensor) -> Tensor:
        shape = (*x.shape[:-1], self.fine)
        return F.interpolate(x.reshape(1, -1, self.coarse), size=self.fine, mode="linear").reshape(shape)

    def _down(self) -> tuple[Tensor, ...]:
        return _linear_taps(self.coarse, self.fine)

    def _up(self) -> tuple[Tensor, ...]:
        return _linear_taps(self.fine, self.coarse)


def spatial(grid: Grid) -> Resampling:
    """How a grid (h, w) reaches the matcher: as it is up to 32 on the longer side, else divided evenly."""
    return Identity(grid) if max(grid) <= MATCHER_SIDE else Spatial(grid)


def _weighted_sum(table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """[n, F] to [c, F]: rows index [c, T] of the table, weighted and summed, in one pass over memory."""
    return F.embedding_bag(index, table, per_sample_weights=weight, mode="sum")


def _linear_taps(n: int, m: int) -> tuple[Tensor, Tensor]:
    """For each of n outputs two of m inputs and their weights, [n, 2] each: linear, corners not aligned."""
    position = ((torch.arange(n, dtype=torch.float64) + 0.5) * (m / n) - 0.5).clamp(0, m - 1)
    low = position.floor().long().clamp(max=max(m - 2, 0))
    high = (low + 1).clamp(max=m - 1)
    weight = (position - low).float()
    return torch.stack([low, high], -1), torch.stack([1 - weight, weight], -1)


def _linear_weights(n: int, m: int) -> Tensor:
    """The same as a matrix [n, m]."""
    index, weight = _linear_taps(n, m)
    return torch.zeros(n, m).scatter_add_(1, index, weight)


def _area_weights(n: int, m: int) -> Tensor:
    """Matrix [m, n] that averages n tokens into m cells by the length each covers."""
    edges = torch.arange(m + 1, dtype=torch.float64) * (n / m)
    token = torch.arange(n, dtype=torch.float64)
    overlap = torch.minimum(edges[1:, None], token + 1) - torch.maximum(edges[:-1, None], token)
    return (overlap.clamp_min(0) * (m / n)).float()
