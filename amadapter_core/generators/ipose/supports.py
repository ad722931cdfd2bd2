"""Supports: the examples, a few per category, that the part network takes its parts from.

No checkpoint holds them. They are pictures of part ids in the part data set; `pack_supports` gathers them into one
small file, and `Supports.replaced` puts others in their place, which is how parts are edited.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...checkpoints import CheckpointError, save_tensors
from ...checkpoints.errors import AnyPath, fault
from ...checkpoints.formats import open_file
from ...checkpoints.reading import locate
from ...label_resizing import holds_integers, resize_ids
from ...picture_files import open_picture
from ...text_files import parse_json
from .conventions import CATEGORY_NAMES, SUPPORTED_BY, category_name
from .part_network import PARTS, SIDE

logger = logging.getLogger(__name__)

PUBLISHED_COUNT = 3
_KIND, _FORMAT, _PARTS, _NAMES, _SOURCES = (
    f"am_adapter.{name}" for name in ("kind", "format", "parts", "names", "sources")
)
# In these folders some ids stand for the same part.
_JOINED = {36: {2: 1, 3: 1}}


@dataclass(frozen=True, eq=False)
class Supports:
    """Examples of parts by category.

    :param labels: by category [M, 64, 64] part ids 0..8 of M examples; 0 is the background of the shape.
    :param sources: by category the files they come from, where that is known.
    """

    labels: Mapping[int, Tensor]
    sources: Mapping[int, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for category, labels in self.labels.items():
            if not holds_integers(labels) or labels.ndim != 3 or labels.shape[1:] != (SIDE, SIDE) or not len(labels):
                raise ValueError(
                    f"iPOSE supports of category {category_name(category)}: expected part ids [M, {SIDE}, {SIDE}] of "
                    f"integers, got {list(labels.shape)} of {labels.dtype}"
                )
            _check_parts(labels, f"supports of category {category_name(category)}")
        ordered = {category: self.labels[category].to(torch.uint8) for category in sorted(self.labels)}
        object.__setattr__(self, "labels", ordered)

    @property
    def categories(self) -> tuple[int, ...]:
        """The categories that have examples, ascending."""
        return tuple(self.labels)

    def of(self, categories: Iterable[int]) -> list[Tensor]:
        """The examples of some categories.

        :raises ValueError: names the categories that have none.
        """
        wanted = list(categories)
        if missing := sorted(set(wanted) - set(self.labels)):
            raise ValueError(
                f"iPOSE: the support pack has no examples of category {', '.join(map(category_name, missing))}; it has "
                f"{', '.join(map(category_name, self.categories)) or 'none'}. Pack the part data set's support_shape "
                "folder whole, add examples of that category, or leave its instances out"
            )
        return [self.labels[category] for category in wanted]

    def replaced(self, category: int, labels: Tensor, source: str = "edited") -> Supports:
        """Put other examples in the place of a category's, or add a category.

        :param labels: [M, H, W] part ids 0..8 of any size; resized to 64 x 64 by the nearest pixel.
        """
        if not holds_integers(labels) or labels.ndim != 3 or 0 in labels.shape:
            raise ValueError(
                f"iPOSE supports: expected part ids [M, H, W] of integers, got {list(labels.shape)} of {labels.dtype}"
            )
        _check_parts(labels, "the new supports")
        resized = resize_ids(labels, (SIDE, SIDE))
        return Supports({**self.labels, category: resized}, {**self.sources, category: [source] * len(resized)})

    def save(self, path: AnyPath) -> None:
        """Write the pack as safetensors; an existing file is replaced in one step or not at all.

        :param path: ends in .safetensors.
        """
        if Path(path).suffix != ".safetensors":
            raise fault(path, "cannot be written", expected="a name that ends in .safetensors")
        names = {str(c): CATEGORY_NAMES[c] for c in self.labels if c in CATEGORY_NAMES}
        metadata = {
            _KIND: "ipose_supports",
            _FORMAT: "1",
            _PARTS: str(PARTS),
            _NAMES: json.dumps(names),
            _SOURCES: json.dumps({str(c): list(files) for c, files in self.sources.items()}),
        }
        save_tensors(path, {f"category.{c}": labels for c, labels in self.labels.items()}, metadata)


def load_supports(path: AnyPath, folders: Iterable[AnyPath] = ()) -> Supports:
    """Read a support pack.

    :param folders: where else to look.
    :raises FileNotFoundError: when there is no such file.
    :raises CheckpointError: when it is another kind of file, or damaged.
    """
    source = open_file(locate(path, folders))
    names = [name for name in source.tensors if re.fullmatch(r"category\.\d+", name)]
    if source.metadata.get(_KIND) != "ipose_supports" or not names or len(names) != len(source.tensors):
        raise fault(
            source.path,
            "is no support pack of iPOSE",
            expected=f"metadata {_KIND} = ipose_supports and tensors category.N",
            evidence=", ".join(list(source.tensors)[:3]) or "no tensors",
            action="Make one of the part data set's support_shape folder: python -m "
            "amadapter_core.generators.ipose pack FOLDER OUT.safetensors",
        )
    tensors = source.fetch(names)
    try:
        files = {int(c): f for c, f in parse_json(source.metadata.get(_SOURCES, "{}"), _SOURCES).items()}
        return Supports({int(name.rpartition(".")[2]): tensors[name] for name in names}, files)
    except (ValueError, AttributeError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"AM-Adapter: {source.path} is damaged: {error}") from error


def pack_supports(folder: AnyPath, categories: Iterable[int] | None = None, count: int = PUBLISHED_COUNT) -> Supports:
    """Gather the support pictures of the part data set.

    :param folder: `Full_Parts`, its `support_shape`, or the folder in it that holds one folder per category.
    :param categories: which have to be there; None takes all that are.
    :param count: examples per category, the first ones by name.
    :raises FileNotFoundError: when there is no such folder, or no pictures of categories in it; with the places
        searched.
    :raises ValueError: when a category lacks pictures, or a picture holds no part ids.
    """
    root = _support_folder(Path(folder), count)
    labels: dict[int, Tensor] = {}
    sources: dict[int, list[str]] = {}
    missing = []
    for category in sorted(CATEGORY_NAMES if categories is None else set(categories)):
        place = root / str(SUPPORTED_BY.get(category, category))
        files = sorted(place.glob("*part.png"))
        if len(files) < count:
            missing.append(f"{category_name(category)}: {len(files)} of {count} in {place}")
            continue
        joined = _JOINED.get(int(place.name), {})
        labels[category] = torch.stack([read_parts(file, joined) for file in files[:count]])
        sources[category] = [f"{place.name}/{file.name}" for file in files[:count]]
    if categories is not None and missing:
        raise ValueError(
            f"iPOSE supports: {root} lacks *part.png pictures of {len(missing)} categories: {'; '.join(missing[:4])}. "
            "Use the whole support_shape folder of the part data set"
        )
    if not labels:
        raise FileNotFoundError(
            f"iPOSE supports: no category in {root} has {count} pictures *part.png; expected folders named by category "
            "numbers, such as 24/, as in Full_Parts/support_shape/3"
        )
    if missing:
        logger.info("iPOSE supports: without %s", "; ".join(missing))
    return Supports(labels, sources)


def read_parts(path: Path, joined: Mapping[int, int] | None = None) -> Tensor:
    """Read one picture of part ids as [64, 64] uint8.

    :param joined: ids that are read as another one.
    :raises ValueError: when it is no picture, or not one of part ids 0..8.
    """
    try:
        picture = open_picture(path)
    except ValueError as error:
        raise ValueError(f"iPOSE supports: {error}") from error
    if picture.mode not in ("L", "P", "I", "I;16", "1"):
        raise ValueError(
            f"iPOSE supports: {path} is a picture of mode {picture.mode}; expected one channel of part ids 0 to "
            f"{PARTS - 1}"
        )
    small = picture.resize((SIDE, SIDE), Image.Resampling.NEAREST)
    labels = torch.from_numpy(np.array(small).astype(np.int64))
    for given, read_as in (joined or {}).items():
        labels[labels == given] = read_as
    _check_parts(labels, str(path))
    return labels.to(torch.uint8)


def _support_folder(given: Path, count: int) -> Path:
    places = [given / "support_shape" / str(count), given / str(count), given]
    found = next((place for place in places if any(place.glob("*/*part.png"))), None)
    if found is None:
        searched = ", ".join(str(place.absolute()) for place in places)
        raise FileNotFoundError(
            f"iPOSE supports: no pictures */*part.png in {given}. Searched: {searched}. Give the folder Full_Parts of "
            "the part data set"
        )
    return found


def _check_parts(labels: Tensor, where: str) -> None:
    low, high = (int(v) for v in labels.aminmax())
    if low < 0 or high >= PARTS:
        raise ValueError(f"iPOSE {where}: part ids are {low} to {high}, expected 0 to {PARTS - 1}")
