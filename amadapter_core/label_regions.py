"""Regions of label maps: cut out, filled, laid over one another, painted by masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from .class_masks import class_mask
from .label_maps import NO_PART, LabelMap, Palette

SURROUNDINGS = "surroundings"
"""Stands for the class of the nearest pixel that stays."""


def region_of(labels: LabelMap, classes: Sequence[str] = (), mask: Tensor | None = None) -> Tensor:
    """Mark a region by its classes, by a mask, or by both.

    :param classes: names or ids; none stands for every pixel.
    :param mask: [1 or B, H, W] float 0..1, inside from 0.5 on; None does not limit the region.
    :return: [B, H, W] bool.
    :raises ValueError: unknown classes, or a mask of another size or batch.
    """
    inside = class_mask(labels, classes).bool() if classes else torch.ones_like(labels.ids, dtype=torch.bool)
    return inside if mask is None else inside & _mask_for(labels, mask, "the label map")


def cut(labels: LabelMap, region: Tensor, fill: int | str | None = SURROUNDINGS) -> tuple[LabelMap, LabelMap]:
    """Take a region out of a label map.

    :param region: [B, H, W] bool.
    :param fill: what takes its place: the id of a class, None for no class, or SURROUNDINGS.
    :return: the region, all around it of no class; and the rest. Where the palette has no id for pixels of no class,
        one that it does not use stands for them.
    :raises ValueError: SURROUNDINGS where nothing of a class stays.
    """
    labels = _ignorable(labels)
    parts = None if labels.parts is None else _ignorable(labels.parts)

    def where(keep: Tensor, ids: Tensor | int, part_ids: Tensor | int) -> LabelMap:
        kept = None if parts is None else replace(parts, ids=torch.where(keep, parts.ids, part_ids))
        return replace(labels, ids=torch.where(keep, labels.ids, ids), parts=kept)

    no_part = 0 if parts is None else parts.ignore
    piece = where(region, labels.ignore, no_part)
    if fill != SURROUNDINGS:
        return piece, where(~region, labels.ignore if fill is None else fill, no_part)
    sources = ~region & (labels.ids != labels.ignore)
    empty = (region.flatten(1).any(1) & ~sources.flatten(1).any(1)).nonzero().flatten().tolist()
    if empty:
        raise ValueError(
            f"the region covers all that has a class in picture {empty[0] + 1} of {labels.batch}, so there are no "
            "surroundings to fill it with; fill it with a class, or leave it unlabelled"
        )
    at = nearest(sources) if bool(region.any()) else torch.zeros_like(labels.ids)
    return piece, where(~region, _at(labels.ids, at), 0 if parts is None else _at(parts.ids, at))


def merge(
    base: LabelMap, region: LabelMap, *, mask: Tensor | None = None, top: int = 0, left: int = 0, scale: float = 1.0
) -> LabelMap:
    """Lay the pixels of a label map that have a class over another one.

    :param region: of the same palette, of any size; either batch may be 1. What leaves the base is cut off.
    :param mask: [1 or B, H, W] float 0..1 at the region's size, inside from 0.5 on; None takes all of it.
    :param top: row of the base where the region's first row goes, after scaling; `left` likewise. May be negative.
    :param scale: of the region, without mixing classes.
    :raises ValueError: other palettes, part tables or batches, or a mask of another size.
    """
    _check_same_table("classes", base, region)
    if base.parts is not None and region.parts is not None:
        _check_same_table("parts", base.parts, region.parts)
    if scale <= 0:
        raise ValueError(f"scale is {scale}, expected more than 0")
    batch = max(base.batch, region.batch, 1 if mask is None else len(mask))
    base, region = (labels.expand(batch).to(base.ids.device) for labels in (base, region))
    inside = torch.ones_like(region.ids, dtype=torch.bool) if region.ignore is None else region.ids != region.ignore
    if mask is not None:
        inside = inside & _mask_for(region, mask.to(inside.device), "the region")
    if scale != 1:
        size = [max(1, round(side * scale)) for side in region.size]
        inside = LabelMap(inside.long(), region.palette).resize(*size).ids.bool()
        region = region.resize(*size)
    (h, w), (rh, rw) = base.size, region.size
    to = slice(max(0, top), max(0, min(h, top + rh))), slice(max(0, left), max(0, min(w, left + rw)))
    of = slice(to[0].start - top, to[0].stop - top), slice(to[1].start - left, to[1].stop - left)
    if to[0].start >= to[0].stop or to[1].start >= to[1].stop:
        return base
    taken = inside[:, of[0], of[1]]

    def laid(under: Tensor, over: Tensor | int) -> Tensor:
        result = under.clone()
        over = over[:, of[0], of[1]] if isinstance(over, Tensor) else over
        result[:, to[0], to[1]] = torch.where(taken, over, under[:, to[0], to[1]])
        return result

    return replace(base, ids=laid(base.ids, region.ids), parts=_merged_parts(base, region, laid))


def paint(
    masks: Tensor,
    classes: Sequence[int],
    palette: Palette,
    *,
    background: int | None = None,
    overlap: str = "last",
    over: LabelMap | None = None,
    per_picture: bool = False,
) -> LabelMap:
    """Make a label map of masks, or paint them over one.

    :param masks: [M, H, W] float 0..1, inside from 0.5 on; none at all where a detector found nothing.
    :param classes: their ids, one for each mask or one for all.
    :param background: the class of pixels in no mask; None leaves them as they are in `over`, or unlabelled.
    :param overlap: see `LabelMap.from_masks`.
    :param over: a label map of the same palette and size, which is painted over.
    :param per_picture: mask n is of picture n, all of one class, instead of all being of one picture.
    :raises ValueError: numbers, sizes or batches that differ, or what `LabelMap.from_masks` raises.
    """
    if not isinstance(masks, Tensor) or masks.ndim != 3 or 0 in masks.shape[1:]:
        told = list(masks.shape) if isinstance(masks, Tensor) else type(masks).__name__
        raise ValueError(f"masks must be a tensor [M, H, W], got {told}")
    if not classes:
        raise ValueError("no class is named; name one class per mask, or one for all")
    if len(classes) == 1:
        classes = [*classes] * len(masks)
    if len(classes) != len(masks):
        raise ValueError(f"{len(masks)} masks but {len(classes)} classes; name one class per mask, or one for all")
    if over is not None and background is not None:
        raise ValueError("pixels in no mask keep the class of the label map under them; leave background empty")
    if per_picture:
        if len(set(classes)) > 1:
            raise ValueError(f"masks of one picture each are of one class, but {len(set(classes))} are named")
        if over is None:
            ids = masks.new_full(masks.shape, _rest(palette, background), dtype=torch.int64)
            over = LabelMap(ids, palette)
        painted = LabelMap(masks.new_full(masks.shape, classes[0], dtype=torch.int64), palette)
        return merge(over, painted, mask=masks)
    if over is None and len(masks):
        return LabelMap.from_masks(masks, classes, palette, background=background, overlap=overlap)
    if over is None:
        return LabelMap(masks.new_full((1, *masks.shape[1:]), _rest(palette, background), dtype=torch.int64), palette)
    if not len(masks):
        return over
    # Any class stands for pixels in no mask: they are not laid over.
    painted = LabelMap.from_masks(masks, classes, palette, background=classes[0], overlap=overlap)
    return merge(over, painted, mask=(masks >= 0.5).any(0)[None].float())


def nearest(known: Tensor) -> Tensor:
    """Find the nearest known pixel of every pixel, by jump flooding (Rong and Tan, 2006): rarely the second nearest.

    :param known: [B, H, W] bool.
    :return: [B, H, W] int64 places row * W + column, -1 in pictures where nothing is known.
    """
    h, w = known.shape[1:]
    rows = torch.arange(h, device=known.device, dtype=torch.int32)[:, None]
    columns = torch.arange(w, device=known.device, dtype=torch.int32)
    found = torch.where(known, rows * w + columns, -1)
    # Around the unknown pixels all are known, so nothing farther away is nearer to one of them than these.
    box = tuple(_around((~known).any(0).any(1 - axis), known.shape[1 + axis]) for axis in (0, 1))
    found[:, box[0], box[1]] = _flooded(found[:, box[0], box[1]], rows[box[0]], columns[box[1]], w)
    return found.long()


def _around(needed: Tensor, length: int) -> slice:
    """From the first to the last place that is needed, with one more on each side."""
    places = needed.nonzero().flatten().tolist()
    return slice(max(0, places[0] - 1), min(length, places[-1] + 2)) if places else slice(0, 0)


def _flooded(found: Tensor, rows: Tensor, columns: Tensor, w: int) -> Tensor:
    """Pass places on in ever smaller steps; each pixel keeps the nearest it hears of."""
    far = torch.iinfo(torch.int32).max

    def distance(places: Tensor) -> Tensor:
        squares = (places.div(w, rounding_mode="floor") - rows).square() + (places % w - columns).square()
        return squares.masked_fill(places < 0, far)

    nearest_yet = distance(found)
    step = 1 << max(0, max(found.shape[1:]) - 1).bit_length()
    while step := step // 2:
        for dy in (-step, 0, step):
            for dx in (-step, 0, step):
                other = _shifted(found, dy, dx)
                away = distance(other)
                closer = away < nearest_yet
                found, nearest_yet = torch.where(closer, other, found), torch.where(closer, away, nearest_yet)
    return found


def _shifted(places: Tensor, dy: int, dx: int) -> Tensor:
    """Places seen from (dy, dx) away, -1 from beyond the border."""
    h, w = places.shape[1:]
    result = torch.full_like(places, -1)
    if abs(dy) < h and abs(dx) < w:
        result[:, max(0, -dy) : h - max(0, dy), max(0, -dx) : w - max(0, dx)] = places[
            :, max(0, dy) : h + min(0, dy), max(0, dx) : w + min(0, dx)
        ]
    return result


def _at(ids: Tensor, places: Tensor) -> Tensor:
    return ids.flatten(1).gather(1, places.clamp(min=0).flatten(1)).view_as(ids)


def _ignorable(labels: LabelMap) -> LabelMap:
    """A label map with an id for pixels of no class."""
    return labels if labels.ignore is not None else replace(labels, ignore=max(labels.palette.ids) + 1)


def _rest(palette: Palette, background: int | None) -> int:
    if background is None and palette.ignore is None:
        raise ValueError(f"palette {palette.name!r} has no id for pixels in no mask; name a background class")
    return palette.ignore if background is None else background


def _mask_for(labels: LabelMap, mask: Tensor, what: str) -> Tensor:
    if mask.ndim != 3 or tuple(mask.shape[1:]) != labels.size or len(mask) not in (1, labels.batch):
        raise ValueError(
            f"the mask is {list(mask.shape)}, {what} {[labels.batch, *labels.size]} (batch x height x width); make "
            "both one size, with as many masks as pictures or a single one"
        )
    return (mask >= 0.5).to(labels.ids.device)


def _check_same_table(what: str, base: LabelMap, region: LabelMap) -> None:
    one, other = base.palette, region.palette
    if (one.ids, one.names) != (other.ids, other.names):
        raise ValueError(
            f"the {what} of the region follow {other.name!r}, those of the label map under it {one.name!r}; bring both "
            "to one palette with Remap Classes"
        )


def _merged_parts(base: LabelMap, region: LabelMap, laid: Callable[[Tensor, Tensor | int], Tensor]) -> LabelMap | None:
    if base.parts is None and region.parts is None:
        return None
    parts = _ignorable(base.parts or region.parts)
    under = parts.ids if base.parts is not None else torch.full_like(base.ids, parts.ignore)
    over = parts.ignore if region.parts is None else region.part_ids.clone()
    if region.parts is not None:
        over[over == NO_PART] = parts.ignore
    return replace(parts, ids=laid(under, over))
