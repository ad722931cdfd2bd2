"""Segmentation networks of transformers in ComfyUI: found in `models/segmentation`, in its memory management."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import comfy.model_management
import comfy.utils
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ...label_maps import LabelMap
from ...metrics.pretrained import UNKNOWN, PretrainedSegmenter
from ...model_palette import palette_of
from ...palettes import Palette
from .managed import managed_whole

FOLDER = "segmentation"
CONFIG = "config.json"
DEPTH = 2
"""Folders below `models/segmentation` that are looked into: owner/name."""


class Held(nn.Module):
    """A network whose `device` ComfyUI may assign: that of transformers' own cannot be."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.device = torch.device("cpu")


@dataclass(frozen=True)
class HostSegmenter:
    """A network with the palette of what it finds.

    :param table: of the label maps that it makes.
    """

    core: PretrainedSegmenter
    patcher: ModelPatcher
    table: Palette

    @property
    def classes(self) -> Mapping[int, str]:
        """Name of each class that it can find, by label id."""
        return self.core.classes

    def predict(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] in 0..1 to [B, H, W] label ids on the CPU, UNKNOWN where the palette lacks the class."""
        comfy.model_management.load_models_gpu([self.patcher])
        progress = comfy.utils.ProgressBar(len(images))
        found = []
        for image in images.split(1):
            comfy.model_management.throw_exception_if_processing_interrupted()
            found.append(self.core.predict(image.float()).cpu())
            progress.update(1)
        return torch.cat(found)

    def label_map(self, images: Tensor) -> LabelMap:
        """Segment pictures.

        :param images: [B, H, W, 3] float 0..1.
        :raises ValueError: pixels of classes that the palette has not, in one without ignored pixels.
        """
        ids = self.predict(images[..., :3].movedim(-1, 1))
        unknown = ids == UNKNOWN
        if bool(unknown.any()) and self.table.ignore is None:
            raise ValueError(
                f"{int(unknown.sum())} of {unknown.numel()} pixels are of classes that palette {self.table.name!r} "
                "does not have, and it has no id for such pixels; take the network's own table and remap its classes"
            )
        return LabelMap(ids.masked_fill(unknown, self.table.ignore or 0), self.table)


def register() -> None:
    """Make `models/segmentation` known; paths a user has added stay."""
    own = os.path.join(folder_paths.models_dir, FOLDER)
    paths, extensions = folder_paths.folder_names_and_paths.get(FOLDER, ([], set()))
    if own not in paths:
        folder_paths.folder_names_and_paths[FOLDER] = ([own, *paths], extensions)


def networks() -> list[str]:
    """Names of the folders with a network in them, "/" between folders."""
    register()
    found = set()
    for root in map(Path, folder_paths.get_folder_paths(FOLDER)):
        for depth in range(1, DEPTH + 1):
            found |= {path.parent.relative_to(root).as_posix() for path in root.glob(f"{'*/' * depth}{CONFIG}")}
    return sorted(found)


def find(name: str) -> Path:
    """:raises FileNotFoundError: with the folders searched and what belongs there.
    :raises ValueError: a name that leaves the folders.
    """
    register()
    roots = [Path(path) for path in folder_paths.get_folder_paths(FOLDER)]
    for root in roots:
        path = root / name
        if not path.resolve().is_relative_to(root.resolve()):
            raise ValueError(f"the name {name!r} leaves {root}")
        if (path / CONFIG).is_file():
            return path
    raise FileNotFoundError(
        f"no segmentation network {name!r}: searched {', '.join(map(str, roots))}. Put the files of one that was saved "
        "by transformers (config.json, model.safetensors, preprocessor_config.json) in a folder there"
    )


def load(name: str, palette: Palette | None) -> HostSegmenter:
    """A network from `models/segmentation`; the last one is kept.

    :param palette: of the label maps, to which classes are brought by their names; None takes the network's own table.
    :raises FileNotFoundError: see `find`.
    :raises ValueError: a network that does not segment, shares no class with the palette, or has broken files.
    """
    path = find(name)
    core, patcher = _load(str(path), state(name))
    core = core.in_palette(palette)
    own = palette_of(core.classes, name.rpartition("/")[2]) if palette is None else palette
    return HostSegmenter(core, patcher, own)


def state(name: str) -> str:
    """What tells a changed network from the one that was loaded; empty when there is none."""
    try:
        path = find(name)
    except (ValueError, FileNotFoundError):
        return ""
    files = sorted(file for file in path.iterdir() if file.is_file())
    return ";".join(f"{file.name}:{file.stat().st_mtime_ns}:{file.stat().st_size}" for file in files)


@lru_cache(maxsize=1)
def _load(path: str, _state: str) -> tuple[PretrainedSegmenter, ModelPatcher]:
    core = PretrainedSegmenter(path)
    return core, managed_whole(Held(core.network))
