"""iPOSE's instances and part maps in ComfyUI."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, replace
from pathlib import Path

import comfy.model_management
import comfy.utils
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...generators.ipose import Convention, PartMaps, Supports, split_ade
from ...generators.system import System
from ...label_maps import LabelMap
from ...label_resizing import resize_ids
from ...picture_files import open_picture
from .generators import HostGenerator, check_count

COUNTS, CITYSCAPES, ADE20K = "counts", "cityscapes", "ade20k"
READINGS = (COUNTS, CITYSCAPES, ADE20K)
THOUSAND = 1000
_GOLDEN = 0.618034


@dataclass(frozen=True, eq=False)
class HostInstances:
    """Instance maps of some pictures.

    :param values: [B, H, W] int64; 0 is no instance.
    :param numbered: whether values are category * 1000 + count, as Cityscapes writes them, and not counts alone.
    :param classes: [B, H, W] int64, ADE20K's numbers of instance classes; None goes by the label map.
    """

    values: Tensor
    numbered: bool = False
    classes: Tensor | None = None

    def picture(self) -> Tensor:
        """[B, H, W, 3] float32 0..1: each instance in a colour of its own, black where there is none."""
        shown = torch.where(self.values < THOUSAND, 0, self.values) if self.numbered else self.values
        numbers, places = torch.unique(shown, return_inverse=True)
        hues = ((_GOLDEN * number) % 1 for number in numbers.tolist())
        colours = [colorsys.hsv_to_rgb(hue, 0.6, float(n != 0)) for hue, n in zip(hues, numbers, strict=True)]
        return torch.tensor(colours)[places]


def read_instances(path: str | Path, reading: str) -> HostInstances:
    """Read a picture file of instances.

    :param reading: "counts": values are numbers of instances, 0 for none; "cityscapes": category * 1000 + count, as
        in its instanceIds; "ade20k": counts in green and instance classes in red, as in its annotations_instance.
    :raises ValueError: when the file is no picture, or one of another form.
    """
    if reading not in READINGS:
        raise ValueError(f"unknown reading {reading!r} of instances; use one of {', '.join(READINGS)}")
    picture = open_picture(path)
    if reading == ADE20K:
        counts, classes = split_ade(picture)
        return HostInstances(counts[None], classes=classes[None])
    if len(picture.getbands()) != 1:
        raise ValueError(
            f"{path} is a picture of mode {picture.mode}; instances are read from one channel of numbers. For the "
            "coloured files of ADE20K choose the reading ade20k"
        )
    values = torch.from_numpy(np.array(picture).astype(np.int64))
    return HostInstances(values[None], numbered=reading == CITYSCAPES)


def instances_of_masks(masks: Tensor) -> HostInstances:
    """One instance for each mask of a batch; later ones lie above.

    :param masks: [N, H, W] in 0..1, inside above 0.5.
    :raises ValueError: when there are none, or one is empty.
    """
    values = torch.zeros(masks.shape[-2:], dtype=torch.int64)
    for number, mask in enumerate(masks > 0.5, start=1):
        if not bool(mask.any()):
            raise ValueError(f"mask {number} of {len(masks)} is empty: no pixel is above 0.5; leave it out")
        values[mask.cpu()] = number
    return HostInstances(values[None])


def part_maps(
    generator: HostGenerator,
    labels: LabelMap,
    instances: HostInstances | None = None,
    supports: Supports | None = None,
    mask: Tensor | None = None,
) -> PartMaps:
    """Find the parts of the objects of label maps.

    :param instances: of the same pictures, or of one for all; None takes connected pieces of each class.
    :param supports: instead of the generator's own.
    :param mask: [B or 1, H, W] in 0..1: objects are guided by their parts where it is 1 and by noise where it is 0.
    :return: on the CPU.
    :raises ValueError: for another system than iPOSE, maps that do not fit, or missing supports.
    """
    if generator.system is not System.IPOSE:
        raise ValueError(f"{generator.system.title} has no part maps; load an iPOSE")
    ids, core = generator.ids(labels), generator.loaded()
    values, classes = _fitted(instances, ids, core.convention)
    found, bar = [], comfy.utils.ProgressBar(len(ids))
    for i, (item, value, kind) in enumerate(zip(ids, values, classes, strict=True)):
        comfy.model_management.throw_exception_if_processing_interrupted()
        inputs = (None if x is None else x[None] for x in (item, value, kind))
        made = core.parts(core.instances(*inputs), supports)
        found.append(replace(made, **{n: getattr(made, n).cpu() for n in ("logits", "features", "inside")}))
        bar.update_absolute(i + 1)
    joined = {n: torch.cat([getattr(item, n) for item in found]) for n in ("logits", "features", "inside")}
    whole = PartMaps(instances=tuple(i for item in found for i in item.instances), **joined)
    if mask is None:
        return whole
    kept = F.interpolate(mask[:, None].float().cpu(), whole.size, mode="bilinear")[:, 0]
    check_count(len(kept), len(ids), "masks")
    return whole.guided(whole.inside[:, 0] * kept)


def _fitted(
    instances: HostInstances | None, ids: Tensor, convention: Convention
) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """Values and instance classes for each label map, numbered as the convention has them."""
    nothing: list[Tensor | None] = [None] * len(ids)
    if instances is None:
        return nothing, nothing
    values = instances.values
    if len(values) not in (1, len(ids)):
        raise ValueError(
            f"there are {len(values)} instance maps for {len(ids)} label maps; give one for all, or as many"
        )
    values = resize_ids(values, tuple(ids.shape[1:])).expand(len(ids), -1, -1)
    if instances.numbered:
        # Below a thousand there are classes of places, and groups that nobody has told apart.
        values = torch.where(values < THOUSAND, 0, values)
    elif convention.whole_ids:
        values = torch.stack([_numbered(*maps, convention) for maps in zip(values, ids, strict=True)])
    if instances.classes is None or not convention.by_instance_class:
        return list(values), nothing
    kinds = resize_ids(instances.classes, tuple(ids.shape[1:])).expand(len(ids), -1, -1)
    return list(values), list(kinds)


def _numbered(counts: Tensor, ids: Tensor, convention: Convention) -> Tensor:
    """Cityscapes' numbers of counts [H, W]: the category is that of most of an instance's pixels."""
    numbers = torch.zeros_like(counts)
    for count in counts.unique().tolist():
        label = int(ids[counts == count].mode().values)
        if count and label in convention.by_class:
            numbers[counts == count] = convention.by_class[label] * THOUSAND + count
    return numbers
