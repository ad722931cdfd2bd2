"""How well exemplars fit a target: overlap class by class, less a penalty for classes that an exemplar lacks."""

from __future__ import annotations

import torch
from torch import Tensor

from .layouts import Layouts

PENALTY = 0.5
_AT_ONCE = 256


def class_weights(target: Layouts) -> tuple[Tensor, Tensor]:
    """
    The classes that a target shows, and what each counts.

    The square root of the area: a car that covers a hundredth counts a tenth of what a road does that covers all.

    :param target: one layout.
    :return: rows of the class table [C], weights [C] float32 that sum to 1.
    :raises ValueError: when it shows no class.
    """
    classes = target.present()[0].nonzero().flatten()
    if not len(classes):
        raise ValueError("the target's label map shows no class, all of its pixels are ignored; give it some content")
    weights = target.areas[0, classes].float().sqrt()
    return classes, weights / weights.sum()


def fit(target: Layouts, exemplars: Layouts, penalty: float = PENALTY) -> Tensor:
    """
    Score exemplars for a target: the weighted mean over the target's classes of their intersection over union on the
    grid, from which a class that the exemplar does not show takes `penalty` times its weight.

    Where the target is ignored, nothing counts.

    :param target: one layout.
    :param exemplars: N layouts of the same class table.
    :return: [N] float32, -penalty (nothing in common) .. 1 (the same layout).
    """
    classes, weights = class_weights(target)
    k, wanted = target.classes, target.grids[0].flatten()
    ignored = wanted == k
    of_class = (wanted[:, None] == classes).float()  # [cells, C]
    covered = of_class.sum(0)
    scores = []
    for start in range(0, len(exemplars), _AT_ONCE):
        part = exemplars[slice(start, start + _AT_ONCE)]
        cells = part.grids.flatten(1).masked_fill(ignored, k)  # [n, cells]
        shared = (cells == wanted).float() @ of_class
        numbers = cells.int() + torch.arange(len(part), dtype=torch.int32)[:, None] * (k + 1)
        counts = torch.bincount(numbers.flatten(), minlength=len(part) * (k + 1)).view(len(part), k + 1)
        union = counts[:, classes] + covered - shared
        shown = part.present()[:, classes]
        # Too thin for any cell of either grid: all that can be said is whether the exemplar shows it.
        overlap = torch.where(union > 0, shared / union.clamp(min=1), shown.float())
        scores.append(((overlap - penalty * ~shown) * weights).sum(1))
    return torch.cat(scores) if scores else torch.zeros(0)


def agreement(target: Layouts, exemplars: Layouts) -> Tensor:
    """Share of the target's cells in which exemplars show the same class, [N] float32 0..1."""
    wanted = target.grids[0].flatten()
    counted = (wanted != target.classes).float()
    return (exemplars.grids.flatten(1) == wanted).float() @ counted / counted.sum().clamp(min=1)
