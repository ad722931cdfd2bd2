"""A label map as the UNet asks for it: at the grid of every layer, and what layers make of it alone, each made once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..semantic import resize_nearest

Grid = tuple[int, int]
T = TypeVar("T")


class Form(str, Enum):
    """How cross-attention uses the label map; see `attention`. GATHER and LITERAL are the same function."""

    GATHER = "gather"
    LITERAL = "literal"
    PLAIN = "plain"


@dataclass(frozen=True, eq=False)
class Pixels:
    """Which tokens the pixels of one grid see.

    :param rows: [B * N] rows of a table [B * (K + 1)]: for each item its K classes and, last, no class.
    :param several: by item the pixels that have more than one class, where there are such.
    """

    rows: Tensor
    several: dict[int, Tensor]

    @classmethod
    def of(cls, mask: Tensor) -> Pixels:
        """:param mask: [B, K, h, w]; what is not 0 counts as the class being there."""
        there = mask.flatten(2) != 0  # [B, K, N]
        B, K, _ = there.shape
        count, row = there.sum(1), there.to(torch.uint8).argmax(1)
        row = row.masked_fill(count == 0, K) + torch.arange(B, device=mask.device)[:, None] * (K + 1)
        items = (count > 1).any(1).nonzero().flatten().tolist()
        return cls(row.flatten(), {item: (count[item] > 1).nonzero().flatten() for item in items})


class Layout:
    """The label maps of a batch.

    :param mask: [B, K, H, W] of zeros and ones; a pixel may have one class, several or none.
    :param form: how cross-attention uses it.
    :param keep: whether `once` keeps what it made, for many calls without gradients: at SCA-DM's full size and a
        latent of 64 x 64 it is 119 MiB in fp32 per item, and saves a fifth of a call's work.
    :param record: whether cross-attention leaves its raw scores in `scores`, as a loss on them needs.
    """

    def __init__(self, mask: Tensor, form: Form = Form.GATHER, *, keep: bool = False, record: bool = False):
        self.mask, self.form, self.keep = mask, Form(form), keep
        self.scores: list[tuple[Grid, Tensor]] | None = [] if record else None
        self._masks: dict[Grid, Tensor] = {}
        self._pixels: dict[Grid, Pixels] = {}
        self._kept: dict[nn.Module, Any] = {}

    @property
    def classes(self) -> int:
        """K."""
        return self.mask.shape[1]

    def at(self, grid: Grid) -> Tensor:
        """The mask at a grid (h, w): [B, K, h, w], by nearest resizing.

        :raises ValueError: when halving the mask never gives the grid.
        """
        if grid not in self._masks:
            check_halves(tuple(self.mask.shape[-2:]), grid)
            self._masks[grid] = resize_nearest(self.mask, grid)
        return self._masks[grid]

    def pixels(self, grid: Grid) -> Pixels:
        """Which tokens the pixels of a grid see."""
        if grid not in self._pixels:
            self._pixels[grid] = Pixels.of(self.at(grid))
        return self._pixels[grid]

    def once(self, owner: nn.Module, make: Callable[[], T]) -> T:
        """What a layer makes of the label map alone: made anew in each call, or in the first one only."""
        if not self.keep:
            return make()
        if owner not in self._kept:
            self._kept[owner] = make()
        return self._kept[owner]


def check_halves(size: Grid, grid: Grid) -> None:
    """
    :param size: (H, W) of a label map.
    :param grid: (h, w) of a latent or a feature.
    :raises ValueError: when H and W are not h and w times one power of two; published code then never returns.
    """
    factor, rest = divmod(size[0], grid[0])
    if rest or size != (grid[0] * factor, grid[1] * factor) or factor & (factor - 1) or not factor:
        raise ValueError(
            f"SCA-DM: a label map of {size[0]} x {size[1]} (height x width) does not halve to the latent's "
            f"{grid[0]} x {grid[1]}; give it 4 times the latent's sides"
        )
