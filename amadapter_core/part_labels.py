"""Label maps refined by parts: which part of its object each pixel shows, and how people name that.

A part is written behind its class, `car:wheel`, by name or id.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from .class_names import class_id
from .label_maps import LabelMap, check_same_aspect
from .palettes import Palette
from .routing import Kind

_GOLDEN = 0.618034


def with_parts(labels: LabelMap, parts: LabelMap, classes: Sequence[str] = ()) -> LabelMap:
    """Tell the parts of classes apart in matching; everything else goes on seeing the classes.

    :param labels: the label map; parts it had are replaced.
    :param parts: which part each pixel shows, of batch 1 or that of `labels`, of the same aspect and any size; ignored
        pixels show none. A number means the same part wherever it stands in one class.
    :param classes: names or ids of the classes that have parts; none stands for every class.
    :raises ValueError: unknown classes, another batch or aspect, negative part ids, or parts outside of which `classes`
        cannot be told: a table of parts without an ignored id.
    """
    check_same_aspect("the part map", parts.size, labels, 1)
    wanted = [class_id(name, labels.palette, labels.names_present) for name in classes]
    parts = replace(parts, parts=None).expand(labels.batch).to(labels.ids.device)
    parts = parts.resize(*labels.size, method="majority")
    if wanted:
        if parts.ignore is None:
            raise ValueError(
                f"the table of parts {parts.palette.name!r} has no ignored id, so nothing can stand for pixels outside "
                f"of {', '.join(classes)}; give the table one, or leave out the classes"
            )
        inside = torch.isin(labels.ids, torch.tensor(wanted, device=labels.ids.device))
        parts = replace(parts, ids=torch.where(inside, parts.ids, parts.ignore))
    return replace(labels, parts=parts)


def parts_of_masks(masks: Tensor) -> LabelMap:
    """Number the parts that masks show: part 1, part 2 and so on; later ones lie above.

    :param masks: [M, H, W] float 0..1 or truth values, inside above 0.5.
    :return: a part map of batch 1 with id 0 for pixels in no mask.
    """
    if masks.ndim != 3 or 0 in masks.shape:
        raise ValueError(f"the masks of parts are {list(masks.shape)}, expected [M, H, W], one for each part")
    numbers = torch.arange(1, len(masks) + 1, device=masks.device)[:, None, None]
    hues = (tuple(round(255 * c) for c in colorsys.hsv_to_rgb(_GOLDEN * n % 1, 0.7, 0.9)) for n in range(len(masks)))
    palette = Palette(
        name="parts by number",
        source="numbers of masks",
        names=("no part", *(f"part {n}" for n in range(1, len(masks) + 1))),
        ids=tuple(range(len(masks) + 1)),
        colours=((0, 0, 0), *hues),
        ignore=0,
    )
    return LabelMap(((masks > 0.5) * numbers).amax(0)[None], palette)


def kind_of(text: str, labels: LabelMap) -> Kind:
    """Return what a class or a part of one is called in routing.

    :param text: a class, or class:part; names in any case or ids.
    :raises ValueError: no such class or part, or a part of a label map that has none.
    """
    label, colon, part = (piece.strip() for piece in text.rpartition(":"))
    if not colon:
        return class_id(text, labels.palette, labels.names_present)
    if labels.parts is None:
        raise ValueError(f"label map has no parts, so there is no {text!r}; refine it with Label Map with Parts")
    return class_id(label, labels.palette, labels.names_present), _part_id(part, labels.parts)


def _part_id(text: str, parts: LabelMap) -> int:
    try:
        return class_id(text, parts.palette, parts.names_present)
    except ValueError as error:
        raise ValueError(f"parts: {error}") from error
