"""Resizing maps of ids in two dimensions, by the nearest pixel or by majority of area; no palette needed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# what the majority vote handles at once: votes (target cells x ids present) and pieces that cast them
_VOTES_AT_ONCE = 1 << 22
# ids closer together than this are numbered by a table instead of by sorting the pixels
_DENSE_RANGE = 1 << 16


def resize_ids(ids: Tensor, size: tuple[int, int], method: str = "nearest", ignore: int | None = None) -> Tensor:
    """
    Resize a map of ids, in 2D and without inventing ids.

    Target cell i covers the source interval [i H/h, (i+1) H/h), and likewise in width.

    :param ids: [B, H, W] tensor of any integer dtype and any values.
    :param size: (h, w), smaller or larger than (H, W).
    :param method: "nearest": the pixel under the centre of the target cell (torch calls it nearest-exact).
        "majority": the id that covers the largest area of the target cell, counted exactly, with fractions of
        pixels at the borders; ties go to the smallest id.
    :param ignore: an id that takes part in the vote only where nothing else is in the cell.
    :return: [B, h, w], same dtype and device.
    """
    h, w = size
    if not holds_integers(ids) or ids.ndim != 3 or 0 in ids.shape:
        raise ValueError(
            f"resize_ids: ids must be an integer tensor [B, H, W] and not empty, got {ids.dtype} {list(ids.shape)}"
        )
    if h < 1 or w < 1:
        raise ValueError(f"resize_ids: the size must be 1x1 or more, got {h}x{w}")
    if method not in ("nearest", "majority"):
        raise ValueError(f'resize_ids: method must be "nearest" or "majority", got {method!r}')
    if (h, w) == tuple(ids.shape[1:]):
        return ids
    if method == "majority":
        return _majority(ids, h, w, ignore)
    rows, columns = (_centres(source, target, ids.device) for source, target in zip(ids.shape[1:], size, strict=True))
    return ids[:, rows[:, None], columns]


def resize_within(finer: Tensor, ids: Tensor, won: Tensor) -> Tensor:
    """
    Resize a finer division of a map, in which every cell already has its winner.

    The finer id of a cell is the one that covers most of it among the pixels of the id that won: a division never
    moves a border of what it divides.

    :param finer: [B, H, W] integers from 0 on.
    :param ids: [B, H, W] integers, what is divided.
    :param won: [B, h, w] what `resize_ids` made of `ids` by majority.
    :return: [B, h, w], as `finer`.
    """
    result = torch.zeros(won.shape, dtype=finer.dtype, device=finer.device)
    for value in won.unique().tolist():
        here = ids == value
        low, high = finer[here].aminmax()
        if bool(low == high):
            cells = low
        else:
            cells = resize_ids(torch.where(here, finer, -1), tuple(won.shape[1:]), "majority", ignore=-1)
        result = torch.where(won == value, cells, result)
    return result


def holds_integers(value: Any) -> bool:
    """Whether a value is a tensor of integers; truth values are none."""
    if not isinstance(value, Tensor) or value.dtype == torch.bool:
        return False
    return not (value.is_floating_point() or value.is_complex())


def _centres(source: int, target: int, device: torch.device) -> Tensor:
    # floor((i + 1/2) source / target) in integers
    return (2 * torch.arange(target, device=device) + 1) * source // (2 * target)


def _majority(ids: Tensor, h: int, w: int, ignore: int | None) -> Tensor:
    """
    Vote by area.

    The borders of source pixels and target cells cut each axis into pieces that lie in one pixel and one cell
    each. A pair of pieces, one per axis, casts its area for its pixel's id in its cell; lengths are whole
    numbers when measured in 1/h of a row and 1/w of a column, so areas add up exactly and ties are ties.
    """
    batch, source_h, source_w = ids.shape
    row_pixel, row_cell, row_length = _pieces(source_h, h, ids.device)
    column_pixel, column_cell, column_length = _pieces(source_w, w, ids.device)
    if len(row_cell) == h and len(column_cell) == w:  # every cell lies in one pixel
        return ids[:, row_pixel[:, None], column_pixel]
    present, numbers = _number(ids)
    k = len(present)
    listed = present.tolist()
    ignored = listed.index(ignore) if ignore in listed else None
    # cells are taken in blocks of rows that keep both the votes and the pieces that cast them bounded
    step = max(1, min(_VOTES_AT_ONCE // (w * k), _VOTES_AT_ONCE * h // (len(row_cell) * len(column_cell))))
    starts = list(range(0, h, step))
    ends = torch.searchsorted(row_cell, torch.tensor([*starts[1:], h], device=ids.device)).tolist()
    result = torch.empty(batch, h, w, dtype=ids.dtype, device=ids.device)
    for b in range(batch):
        first = 0
        for top, last in zip(starts, ends, strict=True):
            bottom = min(top + step, h)
            number = numbers[b].index_select(0, row_pixel[first:last]).index_select(1, column_pixel)
            cell = (row_cell[first:last, None] - top) * w + column_cell
            area = row_length[first:last, None] * column_length
            if ignored is not None:
                area = area * (number != ignored)
            votes = torch.zeros((bottom - top) * w * k, dtype=torch.int64, device=ids.device)
            votes.scatter_add_(0, (cell * k + number).flatten(), area.flatten())
            # max returns the first of equals, the smallest id
            most, winner = votes.view(bottom - top, w, k).max(-1)
            if ignored is not None:  # nothing else is in the cell
                winner = torch.where(most > 0, winner, ignored)
            result[b, top:bottom] = present[winner]
            first = last
    return result


def _pieces(source: int, target: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """
    Cut an axis at the borders of its pixels and cells.

    :return: for every piece in order its pixel, its cell and its length in units of 1/target pixel.
    """
    pixels = torch.arange(source + 1, device=device) * target
    cells = torch.arange(target + 1, device=device) * source
    cuts = torch.unique(torch.cat([pixels, cells]))
    begin = cuts[:-1]
    return begin // target, begin // source, cuts[1:] - begin


def _number(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return the ids present, ascending [K], and for every pixel the place of its id among them."""
    low, high = (int(v) for v in ids.aminmax())
    if high - low >= _DENSE_RANGE:
        return torch.unique(ids, return_inverse=True)
    shifted = ids.flatten().long() - low
    seen = torch.zeros(high - low + 1, dtype=torch.bool, device=ids.device)
    seen[shifted] = True
    place = seen.cumsum(0) - 1
    return (seen.nonzero().flatten() + low).to(ids.dtype), place.index_select(0, shifted).view(ids.shape)
