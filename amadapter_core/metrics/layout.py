"""How far a result keeps to its target label map, as a segmenter sees it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..label_resizing import resize_ids


class SegmentsImages(Protocol):
    """What names the classes of pictures: `Segmenter`, `PretrainedSegmenter`, or one's own."""

    classes: Mapping[int, str]

    def predict(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] in 0..1 to [B, H, W] label ids."""


@dataclass(frozen=True)
class Layout:
    """Agreement of one result with its target.

    :param accuracy: share of the pixels, not ignored, whose class is the target's.
    :param iou: intersection over union of each class that the target has, by label id.
    """

    accuracy: float
    iou: dict[int, float]

    @property
    def mean_iou(self) -> float:
        """Mean over the classes that the target has; nan where it has none."""
        return sum(self.iou.values()) / len(self.iou) if self.iou else math.nan


class Confusion:
    """Counts of (target class, predicted class), over as many pictures as are added.

    :param classes: name of each class by its label id.
    :param ignore: a target id that is left out.
    """

    def __init__(self, classes: Mapping[int, str], ignore: int | None = None):
        self.classes = dict(classes)
        self.ignore = ignore
        # The last column holds predictions of none of the classes.
        self.matrix = torch.zeros(len(self.classes), len(self.classes) + 1, dtype=torch.int64)

    def add(self, predicted: Tensor, target: Tensor) -> None:
        """Count pictures.

        :param predicted: [B, H, W] label ids.
        :param target: [B, H, W] label ids.
        :raises ValueError: when sizes differ, or the target holds ids that are no class.
        """
        if predicted.shape != target.shape:
            raise ValueError(
                f"Confusion: predicted labels are {list(predicted.shape)} and target labels {list(target.shape)}; "
                "resize one of them"
            )
        columns, rows = self._places(predicted), self._places(target)
        kept = torch.ones_like(rows, dtype=torch.bool) if self.ignore is None else target != self.ignore
        foreign = kept & (rows == len(self.classes))
        if bool(foreign.any()):
            raise ValueError(
                f"Confusion: {int(foreign.sum())} of {foreign.numel()} target pixels hold ids that are no class: "
                f"{target[foreign].unique().tolist()}; the classes are {sorted(self.classes)}, ignored: {self.ignore}"
            )
        pairs = rows[kept] * (len(self.classes) + 1) + columns[kept]
        self.matrix += torch.bincount(pairs, minlength=self.matrix.numel()).view_as(self.matrix).cpu()

    @property
    def layout(self) -> Layout:
        """Agreement over everything added, all pixels alike."""
        hits = self.matrix.diagonal()
        targets = self.matrix.sum(1)
        unions = targets + self.matrix.sum(0)[:-1] - hits
        total = int(targets.sum())
        iou = {
            label: float(hits[place] / unions[place]) for place, label in enumerate(self.classes) if targets[place] > 0
        }
        return Layout(float(hits.sum() / total) if total else math.nan, iou)

    def _places(self, ids: Tensor) -> Tensor:
        """Places in `classes`, K where the id is none of them."""
        places = torch.full(ids.shape, len(self.classes), dtype=torch.int64, device=ids.device)
        for place, label in enumerate(self.classes):
            places[ids == label] = place
        return places


def compare_layout(
    segmenter: SegmentsImages,
    images: Tensor,
    ids: Tensor,
    *,
    classes: Mapping[int, str] | None = None,
    ignore: int | None = None,
    confusion: Confusion | None = None,
) -> list[Layout]:
    """Compare results with their target label maps.

    Label maps of another size than the pictures are resized to them by the nearest pixel.

    :param images: [B, 3, H, W] in 0..1.
    :param ids: [1 or B, h, w] label ids of the targets.
    :param classes: the target's table; default the segmenter's.
    :param ignore: a label id that is left out.
    :param confusion: counts all of them as well.
    :return: one per picture.
    """
    if len(ids) not in (1, len(images)):
        raise ValueError(
            f"compare_layout: label maps of batch {len(ids)} cannot serve {len(images)} results; give 1 or "
            f"{len(images)}"
        )
    predicted = segmenter.predict(images).to(ids.device)
    targets = resize_ids(ids, tuple(images.shape[-2:])).long().expand(len(images), -1, -1)
    found = []
    for seen, target in zip(predicted.split(1), targets.split(1), strict=True):
        item = Confusion(segmenter.classes if classes is None else classes, ignore)
        item.add(seen, target)
        found.append(item.layout)
    if confusion is not None:
        confusion.add(predicted, targets)
    return found
