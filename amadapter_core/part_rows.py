"""Parts as finer classes of a routing table: a wheel looks at wheels.

A pixel that shows a part looks at the same part of its class, at all of the class where the exemplar lacks that part
on the grid at hand; a pixel that shows none looks at all of its class. Parts vote for a grid's cells after the classes
have: where a map is refined, no border of a class moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .label_resizing import resize_ids, resize_within
from .resampling import Grid


@dataclass(frozen=True)
class PartRows:
    """Which rows and columns of a table differ in their part alone.

    :param target: [R] for each row the first of those that differ from it in their part alone.
    :param exemplar: [C] the same for columns.
    :param same: [R, C] whether a column shows the row's class and part.
    :param fallback: [R] the row to use where no such column is there; where nothing is missed, the row itself.
    """

    target: Tensor
    exemplar: Tensor
    same: Tensor
    fallback: Tensor

    def settle(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Fall back to the class where a part is not on the exemplar's grid.

        :param rows: [B, n] of a grid; columns [Be, m] of the other.
        :return: [B or Be, n].
        """
        present = torch.zeros(len(columns), self.same.shape[1], dtype=torch.bool).scatter_(1, columns, True)
        found = (present[:, None] & self.same).any(-1)  # [Be, R]
        batch = max(len(rows), len(columns))
        rows, found = rows.expand(batch, -1), found.expand(batch, -1)
        return torch.where(found.gather(1, rows), rows, self.fallback[rows])


def vote(numbers: Tensor, first: Tensor | None, grid: Grid, ignored: int | None) -> Tensor:
    """Resize rows or columns by majority of area.

    :param numbers: [B, H, W].
    :param first: [R] what they are without parts, as in `PartRows`; None without parts.
    :param ignored: a number without a vote.
    :return: [B, h, w].
    """
    if first is None:
        return resize_ids(numbers, grid, "majority", ignore=ignored)
    whole = first[numbers]
    return resize_within(numbers, whole, resize_ids(whole, grid, "majority", ignore=ignored))
