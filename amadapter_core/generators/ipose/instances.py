"""Instances: which pixels are one object, of which part category, in which box.

Data sets number their instances in three ways: Cityscapes writes category * 1000 + count into each pixel, ADE20K and
COCO a count alone. Where there is no instance map, the connected pieces of each class are the instances.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...label_resizing import holds_integers
from .conventions import Convention

SMALLEST_SIDE = 2
MOST = 999


@dataclass(frozen=True)
class Instance:
    """One object as a row of the published crop parameters.

    :param number: category * 1000 + count.
    :param box: (top, bottom, left, right), the ends exclusive.
    :param original: (H, W) of the picture the label map was made from; only their ratio matters.
    """

    number: int
    box: tuple[int, int, int, int]
    original: tuple[int, int] = (1, 1)

    @property
    def category(self) -> int:
        """The category of parts it belongs to."""
        return self.number // 1000


@dataclass(frozen=True, eq=False)
class InstanceMap:
    """The instances of one picture.

    :param values: [H, W] int64; what a pixel holds.
    :param instances: in the order they are pasted, later ones above.
    :param whole_ids: whether pixels hold `number`, as in Cityscapes, or its count, `number % 1000`.
    """

    values: Tensor
    instances: tuple[Instance, ...]
    whole_ids: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return (self.values.shape[0], self.values.shape[1])

    def mask(self, instance: Instance) -> Tensor:
        """[H, W] truth values: the pixels of an instance; in the published way, whatever their class."""
        return self.values == (instance.number if self.whole_ids else instance.number % 1000)

    def of(self, categories: Iterable[int]) -> InstanceMap:
        """Keep the instances of some categories alone."""
        kept = set(categories)
        return InstanceMap(self.values, tuple(i for i in self.instances if i.category in kept), self.whole_ids)

    def numbers(self) -> Tensor:
        """[H, W] int64: category * 1000 + count at each pixel, 0 where there is no instance."""
        result = torch.zeros_like(self.values)
        for instance in self.instances:
            result[self.mask(instance)] = instance.number
        return result


def from_rows(values: Tensor, rows: Tensor, whole_ids: bool) -> InstanceMap:
    """Take the published crop parameters as they are.

    :param values: [H, W], any dtype.
    :param rows: [K, 7] int64: number, top, bottom, left, right, height and width of the original picture.
    """
    found = (tuple(int(v) for v in row) for row in rows.tolist())
    return InstanceMap(values.long(), tuple(Instance(r[0], r[1:5], r[5:7]) for r in found), whole_ids)


def from_instances(
    values: Tensor,
    ids: Tensor,
    convention: Convention,
    original: tuple[int, int] | None = None,
    instance_classes: Tensor | None = None,
) -> InstanceMap:
    """Find the instances of a map of instances.

    Cityscapes' numbers are taken as they stand. Counts are taken together with the class at each pixel, and numbered
    anew: in COCO's maps one count can stand for an object and for a piece of background elsewhere.

    :param values: [H, W] integers as the data set has them; 0 is no instance.
    :param ids: [H, W] label ids of the convention.
    :param original: (H, W) of the picture before it was resized; None takes the aspect as it is.
    :param instance_classes: [H, W], ADE20K's numbers of instance classes (the red channel of its annotations, see
        `split_ade`), which then name the categories; None takes those of the label ids.
    :raises ValueError: for maps of different sizes, or not of integers.
    """
    for name, given in (("instance map", values), ("label map", ids), ("instance classes", instance_classes)):
        if given is None:
            continue
        if not holds_integers(given) or given.ndim != 2 or given.shape != ids.shape:
            raise ValueError(
                f"iPOSE: the {name} is {list(given.shape)} of {given.dtype}, the label map {list(ids.shape)}; expected "
                "integers [H, W] of one size: resize both by the nearest pixel"
            )
    values = values.long()
    if convention.whole_ids:
        numbers = [v for v in values.unique().tolist() if v // 1000 in convention.categories]
        return _boxed(values, numbers, convention, original)
    classes, table = ids, convention.by_class
    if instance_classes is not None:
        classes, table = instance_classes, convention.by_instance_class
    found = []
    for label in _present(classes, table):
        inside = classes == label
        counts = values[inside].unique().tolist()
        found += [(table[label], inside & (values == count)) for count in counts if count != 0]
    return _numbered(tuple(ids.shape), found, convention, original)


def from_labels(
    ids: Tensor, convention: Convention, original: tuple[int, int] | None = None, least_pixels: int = 64
) -> InstanceMap:
    """Take each connected piece of a class that has a part category for one instance.

    :param ids: [H, W] label ids.
    :param original: as in `from_instances`.
    :param least_pixels: smaller pieces are no instances: what covers parts of an object tears it to shreds.
    """
    found = []
    for label in _present(ids, convention.by_class):
        pieces = connected(ids == label)
        counts = torch.bincount(pieces.flatten())
        kept = [n for n in range(1, len(counts)) if counts[n] >= least_pixels]
        found += [(convention.by_class[label], pieces == n) for n in kept]
    return _numbered(tuple(ids.shape), found, convention, original)


def connected(mask: Tensor) -> Tensor:
    """Number the connected pieces of a mask; pixels that touch at a corner are connected.

    :param mask: [H, W] truth values.
    :return: [H, W] int64, 0 outside, pieces from 1 in reading order of their first pixel.
    """
    padded = np.pad(mask.cpu().numpy().astype(np.int8), ((0, 0), (1, 1)))
    steps = np.diff(padded, axis=1)  # [H, W + 1], 1 where a run begins, -1 after its end
    rows, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]
    parent = list(range(len(rows)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    above = 0
    for run in range(len(rows)):
        while above < run and (rows[above] < rows[run] - 1 or (rows[above] < rows[run] and ends[above] < starts[run])):
            above += 1
        other = above
        while other < run and rows[other] == rows[run] - 1 and starts[other] <= ends[run]:
            if ends[other] >= starts[run]:
                a, b = root(other), root(run)
                parent[max(a, b)] = min(a, b)
            other += 1
    roots = [root(run) for run in range(len(rows))]
    number = {first: place + 1 for place, first in enumerate(sorted(set(roots)))}
    result = np.zeros(mask.shape, dtype=np.int64)
    for row, start, end, first in zip(rows, starts, ends, roots, strict=True):
        result[row, start:end] = number[first]
    return torch.from_numpy(result).to(mask.device)


def box_of(mask: Tensor) -> tuple[int, int, int, int] | None:
    """The published box of a mask: from its first row and column to its last ones, these left out, of even sides.

    :param mask: [H, W] truth values.
    :return: (top, bottom, left, right), or None where a side is shorter than two pixels.
    """
    ends: list[int] = []
    for axis, size in ((1, mask.shape[0]), (0, mask.shape[1])):
        places = mask.any(axis).nonzero().flatten()
        if not len(places):
            return None
        low, high = even_sides(int(places[0]), int(places[-1]), size)
        if high - low < SMALLEST_SIDE:
            return None
        ends += [low, high]
    return (ends[0], ends[1], ends[2], ends[3])


def even_sides(low: int, high: int, size: int) -> tuple[int, int]:
    """Make high - low even by one pixel more at the end, or at the beginning where the picture ends."""
    if (high - low) % 2 == 0:
        return low, high
    return (low, high + 1) if high + 1 <= size else (low - 1, high)


def split_ade(picture: Image.Image) -> tuple[Tensor, Tensor]:
    """Counts and instance classes, [H, W] int64 each, of a picture of ADE20K's `annotations_instance`.

    :raises ValueError: when it has no colours.
    """
    if picture.mode not in ("RGB", "RGBA"):
        raise ValueError(
            f"iPOSE: the instance picture is of mode {picture.mode}; ADE20K's annotations_instance are RGB, with the "
            "instance class in the red channel and the count in the green one"
        )
    channels = torch.from_numpy(np.array(picture)).long()
    return channels[..., 1], channels[..., 0]


def _present(classes: Tensor, table: Iterable[int]) -> list[int]:
    return sorted(set(classes.unique().tolist()) & set(table))


def _numbered(
    size: tuple[int, int], found: list[tuple[int, Tensor]], convention: Convention, original: tuple[int, int] | None
) -> InstanceMap:
    """Make an instance map of categories and masks, counted from 1 through all categories."""
    if len(found) > MOST:
        raise ValueError(
            f"iPOSE: {len(found)} instances in one picture, {MOST} can be numbered; leave out small ones (raise the "
            "least number of pixels), or merge some in the instance map"
        )
    values = torch.zeros(size, dtype=torch.int64)
    numbers = []
    for count, (category, mask) in enumerate(found, start=1):
        numbers.append(category * 1000 + count)
        values[mask.cpu()] = numbers[-1] if convention.whole_ids else count
    return _boxed(values, numbers, convention, original)


def _boxed(values: Tensor, numbers: list[int], convention: Convention, original: tuple[int, int] | None) -> InstanceMap:
    """Give each instance its box; those too thin for one are left out."""
    shown = original if original is not None and convention.restore_aspect else (1, 1)
    boxes = [box_of(values == (n if convention.whole_ids else n % 1000)) for n in numbers]
    instances = [Instance(n, box, shown) for n, box in zip(numbers, boxes, strict=True) if box is not None]
    return InstanceMap(values, tuple(instances), convention.whole_ids)
