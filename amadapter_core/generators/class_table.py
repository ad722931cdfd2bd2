"""A label map with its table of classes, as plain numbers that a generator takes."""

from __future__ import annotations

import torch
from torch import Tensor

from ..label_maps import LabelMap


def generator_ids(labels: LabelMap, classes: int, title: str) -> Tensor:
    """The ids of a label map as channels of a generator, once the two agree on the classes.

    Published generators have one channel for each id of their data set, and most have one more for what is unknown.
    Ignored pixels whose id is no channel go there: to the one channel that no class of the table has.

    :param classes: K of the generator; title: its name, for messages.
    :return: [B, H, W] int64 in 0..K-1.
    :raises ValueError: when the table has ids beyond K-1, or leaves more than one channel above its last id, or when
        there are ignored pixels and no channel for them.
    """
    ids, palette = labels.ids, labels.palette
    last = max(palette.ids)
    if not 0 <= classes - 1 - last <= 1:
        raise ValueError(
            f"{title}: this generator has {classes} classes (0 to {classes - 1}), and the label map's table "
            f"{palette.name!r} has {len(palette)} with ids to {last}; use label maps of the data set that the "
            "generator was trained on"
        )
    if labels.ignore is None or 0 <= labels.ignore < classes:
        return ids
    ignored = ids == labels.ignore
    if not bool(ignored.any()):
        return ids
    free = sorted(set(range(classes)) - set(palette.ids))
    if len(free) != 1:
        raise ValueError(
            f"{title}: {int(ignored.sum())} of {ids.numel()} pixels are ignored (id {labels.ignore}), and this "
            f"generator of {classes} classes has no channel for them; give these pixels a class"
        )
    return torch.where(ignored, free[0], ids)
