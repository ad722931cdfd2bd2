"""What an index keeps of a label map: the class of every cell of a coarse grid, and the area of every class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..label_maps import LabelMap, Palette
from ..label_resizing import resize_ids

GRID = 32
"""Rows and columns of the grid: the matcher compares classes on as many cells."""

PRESENT = 1 / 4096
"""Share of a picture from which on a class counts as shown: one latent of 512 x 512 pixels."""


@dataclass(frozen=True)
class Layouts:
    """
    Layouts of N label maps of one class table.

    :param grids: [N, GRID, GRID] rows of the table, uint8 or int16: the class that most pixels of the cell show, the
        first of equals; K where all of them are ignored.
    :param areas: [N, K] float, the share of each class among the pixels that are not ignored.
    """

    grids: Tensor
    areas: Tensor

    def __len__(self) -> int:
        return len(self.grids)

    def __getitem__(self, rows: Tensor | slice) -> Layouts:
        return Layouts(self.grids[rows], self.areas[rows])

    @property
    def classes(self) -> int:
        """K."""
        return self.areas.shape[1]

    def present(self) -> Tensor:
        """Which classes are shown, [N, K] bool."""
        return self.areas >= PRESENT

    @staticmethod
    def of(labels: LabelMap) -> Layouts:
        """
        Describe label maps in their own class table.

        :raises ValueError: ids that the table does not have.
        """
        k = len(labels.palette)
        rows = _rows(labels)
        seen = torch.stack([torch.bincount(one.flatten(), minlength=k + 1)[:k] for one in rows])  # [B, K]
        size = tuple(max(side, GRID) for side in rows.shape[1:])
        if size != tuple(rows.shape[1:]):  # each cell needs a pixel
            rows = resize_ids(rows, size)
        (h, w), cells = size, GRID * GRID
        down, across = ((2 * torch.arange(side) + 1) * GRID // (2 * side) for side in (h, w))
        cell = (down[:, None] * GRID + across) * (k + 1)
        counts = torch.stack(
            [torch.bincount((cell + one).flatten(), minlength=cells * (k + 1)).view(cells, k + 1) for one in rows]
        )[..., :k]  # [B, cells, K]
        most, row = counts.max(-1)
        grids = torch.where(most > 0, row, k).view(-1, GRID, GRID)
        areas = seen / seen.sum(1, keepdim=True).clamp(min=1)
        return Layouts(grids.to(grid_type(k)), areas.float())

    @staticmethod
    def join(parts: list[Layouts]) -> Layouts:
        """Layouts of one class table, one after the other."""
        return Layouts(torch.cat([p.grids for p in parts]), torch.cat([p.areas for p in parts]))


def grid_type(classes: int) -> torch.dtype:
    """The smallest type that holds K as well, which stands for no class."""
    return torch.uint8 if classes < 256 else torch.int16


def in_table(layouts: Layouts, palette: Palette, table: Palette) -> Layouts:
    """
    Express layouts of one class table in another, by the names of the classes.

    :raises ValueError: when classes that are shown have no namesake there.
    """
    if palette.names == table.names:
        return layouts
    k = len(table)
    rows = torch.tensor([table.names.index(name) if name in table.names else k for name in palette.names])
    lost = layouts.present().any(0) & (rows == k)
    if bool(lost.any()):
        names = [palette.names[row] for row in lost.nonzero().flatten().tolist()]
        raise ValueError(
            f"the target's classes ({palette.name}) {', '.join(names[:5])}{' ...' if len(names) > 5 else ''} are not "
            f"among those of the index ({table.name}); bring both to one table of classes"
        )
    areas = torch.zeros(len(layouts), k + 1).index_add_(1, rows, layouts.areas.float())
    grids = torch.cat([rows, torch.tensor([k])])[layouts.grids.long()]
    return Layouts(grids.to(grid_type(k)), areas[:, :k])


def _rows(labels: LabelMap) -> Tensor:
    """[B, H, W] int64 rows of the palette, K for ignored pixels."""
    ids, palette, k = labels.ids, labels.palette, len(labels.palette)
    known = {i: row for row, i in enumerate(palette.ids)}
    if labels.ignore is not None:
        known[labels.ignore] = k
    first, last = min(known), max(known)
    low, high = (int(value) for value in ids.aminmax())
    table = torch.full((last - first + 1,), -1)
    table[torch.tensor(list(known)) - first] = torch.tensor(list(known.values()))
    rows = table[(ids - first).clamp(0, len(table) - 1)]
    if low < first or high > last or bool((rows < 0).any()):
        foreign = sorted(set(ids.unique().tolist()) - set(known))
        raise ValueError(f"palette {palette.name!r} does not have the ids {', '.join(map(str, foreign[:8]))}")
    return rows
