"""Pictures with label and instance maps for iPOSE, in the folders that its data sets have as published.

    ade20k       images/SPLIT, annotations/SPLIT, annotations_instance/SPLIT (training, validation)
    cityscapes   leftImg8bit/SPLIT, gtFine/SPLIT with *_labelIds.png and *_instanceIds.png
    coco         SPLIT_img, SPLIT_label, SPLIT_inst (train, val), labels from 0 with 255 for none
    otherwise    images, labels, instances, of one size and with the same names

Where no instance map of a picture is there, connected pieces are its instances.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..datasets import PICTURES
from ..generators.ipose import (
    CONVENTIONS,
    Convention,
    Instance,
    InstanceMap,
    from_instances,
    from_labels,
    from_rows,
    split_ade,
)
from ..generators.semantic import check_ids
from ..label_resizing import resize_ids
from ..picture_files import open_picture
from ..text_files import read_text
from .config import Config, Data
from .randomness import AUGMENT, NOISE, VALIDATION, draws, index_of, normal
from .task import Batch

MOST = 40
"""Instances of a sample; of more, the largest are taken."""
_NONE = 255


@dataclass(frozen=True)
class Layout:
    """Folders and endings of the names of pictures, label maps and instance maps."""

    folders: tuple[str, str, str]
    endings: tuple[str, str, str] = ("", "", "")


LAYOUTS = {
    "ade20k": Layout(("images/{split}", "annotations/{split}", "annotations_instance/{split}")),
    "cityscapes": Layout(
        ("leftImg8bit/{split}", "gtFine/{split}", "gtFine/{split}"),
        ("_leftImg8bit", "_gtFine_labelIds", "_gtFine_instanceIds"),
    ),
    "coco": Layout(("{split}_img", "{split}_label", "{split}_inst")),
}
OTHER = Layout(("images", "labels", "instances"))


@dataclass(frozen=True)
class Scene:
    """:param image: RGB.
    :param ids: [H, W] int64 channels of the label map.
    :param instances: [H, W] int64 as the data set has them; None where there is no map.
    :param instance_classes: [H, W] int64, ADE20K's red channel.
    """

    image: Image.Image
    ids: Tensor
    instances: Tensor | None
    instance_classes: Tensor | None


class Scenes:
    """The pictures of a data set with their maps.

    :param convention: whose name says how the files lie.
    :raises FileNotFoundError: when there are no pictures.
    :raises ValueError: when a picture has no label map.
    """

    def __init__(self, data: Data, convention: Convention):
        if data.root is None:
            raise ValueError("training ipose: data.root is missing; name the folder of the data set")
        self.data, self.convention = data, convention
        layout, root = LAYOUTS.get(convention.name, OTHER), Path(data.root)
        places = [root / folder.format(split=data.split) for folder in layout.folders]
        pictures, labels, instances = (_named(p, e) for p, e in zip(places, layout.endings, strict=True))
        if not pictures:
            raise FileNotFoundError(
                f"training ipose: no pictures in {places[0].absolute()}; for {convention.name} data.root should hold "
                f"{', '.join(layout.folders)}, with data.split for the name in braces"
            )
        alone = [name for name in pictures if name not in labels]
        if alone:
            raise ValueError(
                f"training ipose: {len(alone)} of {len(pictures)} pictures have no label map in {places[1]}: "
                f"{', '.join(alone[:5])}; add them, or remove the pictures"
            )
        names = list(pictures)[: data.limit]
        self.files = [(pictures[name], labels[name], instances.get(name)) for name in names]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Scene:
        picture, labels, instances = self.files[index]
        image = open_picture(picture).convert("RGB")
        values, kinds = (None, None) if instances is None else self._instances(instances)
        return Scene(image, self._ids(labels), values, kinds)

    def _ids(self, path: Path) -> Tensor:
        ids = _one_channel(path)
        if self.convention.name == "coco":
            ids = torch.where(ids == _NONE, 0, ids + 1)
        elif self.convention.classes <= _NONE:
            ids = torch.where(ids == _NONE, 0, ids)
        return check_ids(ids[None], self.convention.classes, f"training ipose: {path}")[0]

    def _instances(self, path: Path) -> tuple[Tensor, Tensor | None]:
        if self.convention.name != "ade20k":
            return _one_channel(path), None
        return split_ade(open_picture(path))


class Samples:
    """Training samples by slot, with all that is drawn at random for their step.

    Noise comes twice, for the generator's turn and for the discriminator's.

    :param z: shape of the style noise of one picture; z_part of its local noise.
    """

    def __init__(self, config: Config, scenes: Scenes, z: tuple[int, ...], z_part: tuple[int, ...]):
        self.config, self.scenes, self.shapes = config, scenes, ((2, *z), (2, *z_part))

    def __getitem__(self, slot: int) -> Batch:
        rng = draws(self.config.seed, AUGMENT, slot)
        sample = prepared(self.scenes[self.index(slot)], self.scenes, rng.random() < self.config.data.flip)
        noise = draws(self.config.seed, NOISE, slot)
        return sample | {
            "z": normal(noise, self.shapes[0]),
            "z_part": normal(noise, self.shapes[1]),
            "coins": torch.from_numpy(rng.random(self.scenes.convention.classes) < 0.5),
            "whole": torch.tensor(bool(rng.random() < 0.5)),
        }

    def index(self, slot: int) -> int:
        """Which scene a slot of the shuffled data set shows."""
        return index_of(slot, len(self.scenes), self.config.seed)


class HeldOut:
    """Validation samples by index, each with its own noise."""

    def __init__(self, config: Config, scenes: Scenes, z: tuple[int, ...], z_part: tuple[int, ...]):
        self.config, self.scenes, self.shapes = config, scenes, ((1, *z), (1, *z_part))

    def __getitem__(self, index: int) -> Batch:
        noise = draws(self.config.seed, VALIDATION, index)
        sample = prepared(self.scenes[index % len(self.scenes)], self.scenes, mirrored=False)
        return sample | {"z": normal(noise, self.shapes[0]), "z_part": normal(noise, self.shapes[1])}


def prepared(scene: Scene, scenes: Scenes, mirrored: bool) -> Batch:
    """Bring a scene to the size of training and find its instances.

    :return: pixels [3, H, W] in -1..1, ids [H, W], values [H, W] and rows [MOST, 7] of its instances, of which count
        are meant; all integers int64.
    """
    size = scenes.data.size
    original = (scene.image.height, scene.image.width)
    image = scene.image.resize(size[::-1], Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 127.5 - 1
    maps = [None if m is None else resize_ids(m[None], size)[0] for m in _maps(scene)]
    if mirrored:
        pixels, *maps = (None if x is None else x.flip(-1) for x in (pixels, *maps))
    ids, values, kinds = maps
    if values is None:
        found = from_labels(ids, scenes.convention, original)
    else:
        found = from_instances(values, ids, scenes.convention, original, kinds)
    rows = [[i.number, *i.box, *i.original] for i in _largest(found)]
    padded = torch.zeros(MOST, 7, dtype=torch.int64)
    padded[: len(rows)] = torch.tensor(rows).view(-1, 7)
    return {"pixels": pixels, "ids": ids, "values": found.values, "rows": padded, "count": torch.tensor(len(rows))}


def instances_of(batch: Batch, convention: Convention) -> list[InstanceMap]:
    """The instance maps of a batch of samples, on the CPU."""
    values, rows, counts = batch["values"].cpu(), batch["rows"].cpu(), batch["count"].tolist()
    return [from_rows(v, r[:n], convention.whole_ids) for v, r, n in zip(values, rows, counts, strict=True)]


def convention_of(data_set: str) -> Convention:
    """The convention of a data set by its name, or from a JSON file.

    :raises FileNotFoundError: when it is neither.
    """
    if data_set in CONVENTIONS:
        return CONVENTIONS[data_set]
    path = Path(data_set)
    if not path.is_file():
        raise FileNotFoundError(
            f"training ipose: ipose.data_set is {data_set!r}, which is no file and none of {', '.join(CONVENTIONS)}"
        )
    try:
        return Convention.from_json(read_text(path))
    except ValueError as error:
        raise ValueError(f"training ipose: {path}: {error}") from error


def _maps(scene: Scene) -> tuple[Tensor, Tensor | None, Tensor | None]:
    return scene.ids, scene.instances, scene.instance_classes


def _largest(found: InstanceMap) -> list[Instance]:
    """At most MOST instances, in their order."""
    places = sorted(range(len(found.instances)), key=lambda i: -_area(found.instances[i].box))[:MOST]
    return [found.instances[i] for i in sorted(places)]


def _area(box: tuple[int, int, int, int]) -> int:
    return (box[1] - box[0]) * (box[3] - box[2])


def _named(folder: Path, ending: str) -> dict[str, Path]:
    """Picture files of a folder by their place in it, without the ending of their name."""
    files = sorted(file for file in folder.rglob(f"*{ending}.*") if file.suffix.lower() in PICTURES)
    return {str(file.relative_to(folder).with_suffix("")).removesuffix(ending): file for file in files}


def _one_channel(path: Path) -> Tensor:
    """[H, W] int64 of a picture of one channel, or of the first of equal ones."""
    values = np.array(open_picture(path))
    if values.ndim == 3 and (values[..., :1] == values[..., :3]).all():
        values = values[..., 0]
    if values.ndim != 2:
        raise ValueError(f"training ipose: {path} is a picture in colours; expected one channel of ids")
    return torch.from_numpy(values.astype(np.int64))
