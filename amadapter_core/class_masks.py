"""Masks of classes, and of what was changed in a label map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .class_names import class_id
from .label_maps import LabelMap


def class_mask(labels: LabelMap, classes: Sequence[str] = (), changed_from: LabelMap | None = None) -> Tensor:
    """Mark the pixels of some classes.

    :param labels: the label map, of batch B or 1.
    :param classes: names or ids; none stands for every class, unlabelled pixels left out.
    :param changed_from: an earlier version, of batch B or 1: only pixels of another class there are marked, those
        whose class before or after is asked for.
    :return: [B, H, W] float32, 1 inside.
    :raises ValueError: unknown classes, or maps of different palettes, sizes or batches.
    """
    wanted = [class_id(name, labels.palette, labels.names_present) for name in classes]
    if changed_from is None:
        return _among(labels, wanted).float()
    if changed_from.palette != labels.palette:
        raise ValueError(
            f"class_mask: the label map is in palette {labels.palette.name!r} and the earlier one in "
            f"{changed_from.palette.name!r}; read both in the same palette"
        )
    if changed_from.size != labels.size:
        (h, w), (eh, ew) = labels.size, changed_from.size
        raise ValueError(
            f"class_mask: the label map is {h}x{w} and the earlier one {eh}x{ew} (height x width); give two versions "
            "of the same map"
        )
    batch = max(labels.batch, changed_from.batch)
    after, before = labels.expand(batch), changed_from.expand(batch).to(labels.ids.device)
    return ((after.ids != before.ids) & (_among(after, wanted) | _among(before, wanted))).float()


def _among(labels: LabelMap, wanted: Sequence[int]) -> Tensor:
    """[B, H, W] whether a pixel is of a class, or of any."""
    if wanted:
        return torch.isin(labels.ids, torch.tensor(wanted, device=labels.ids.device))
    return torch.ones_like(labels.ids, dtype=torch.bool) if labels.ignore is None else labels.ids != labels.ignore
