"""Initial noise by class: one class is drawn anew while the noise of all other pixels stays bit for bit."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from .class_names import class_id
from .generators.noise import normal
from .label_maps import LabelMap, check_same_aspect


def ids_of(classes: Sequence[str], labels: LabelMap) -> list[int]:
    """Look up classes to draw anew.

    :param classes: names or ids.
    :raises ValueError: no class, or one that the palette does not have.
    """
    if not classes:
        raise ValueError(f"no class is named; the label map has {', '.join(labels.names_present()) or 'none'}")
    return [class_id(name, labels.palette, labels.names_present) for name in classes]


def redrawn(
    noise: Tensor, labels: LabelMap, classes: Collection[int], seed: int, places: Sequence[int] | None = None
) -> Tensor:
    """Draw the noise of some classes anew.

    What a pixel gets depends on seed, class and place alone: classes of one seed differ, and a class keeps its draw
    whichever others are drawn, on every device.

    :param noise: [B, C, h, w] on the latent's grid; stays as it is.
    :param labels: batch 1 or B, of the latent's aspect; brought to its grid by majority of area.
    :param classes: class ids.
    :param places: of the items in their batch, from 0; default: 0, 1, 2 and so on.
    :return: as `noise`, other numbers where the classes are.
    :raises ValueError: for another form of noise, or a label map of another aspect or batch.
    """
    if noise.ndim != 4:
        raise ValueError(f"the noise is {list(noise.shape)}, expected that of pictures, [B, C, h, w]")
    check_same_aspect("the latent", noise.shape[-2:], labels, 1)
    ids = labels.expand(len(noise)).resize(*noise.shape[-2:], method="majority").ids
    result = noise.clone()
    for item, place in enumerate(range(len(noise)) if places is None else places):
        for label in sorted(classes):
            inside = (ids[item] == label).to(noise.device)
            if bool(inside.any()):
                drawn = normal(noise.shape[1:], seed, label, place).to(noise)
                result[item] = torch.where(inside, drawn, result[item])
    return result
