"""Exemplar indexes in ComfyUI: files of `models/exemplar_indexes`, built with its progress bar and its models."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.model_management as management
import comfy.utils
import folder_paths
import numpy as np
import torch
from torch import Tensor

from ...datasets import open_data_set
from ...label_maps import LabelMap
from ...retrieval.appearance import network_name
from ...retrieval.building import Built, build
from ...retrieval.finding import Finder, Found, Wishes
from ...retrieval.index import Index
from ...retrieval.published import read_retrieval
from ...retrieval.segmented import segment_folder
from . import segmentation
from .folders import load_palette
from .training_pairs import folder_of, folder_state

FOLDER = "exemplar_indexes"
OWN_TABLE = "the data set's own"
NONE = "none"
READINGS = ("ids", "colours")
_THREADS = 4


@dataclass(frozen=True)
class Order:
    """What an index is to be made of.

    :param name: of the file, may begin with sub-folders.
    :param folder: of the data set: a full path, or a place in ComfyUI's input folder.
    :param kind: one of `datasets.KINDS`.
    :param split: "" is all that have label maps.
    :param palette: OWN_TABLE, or a name that `folders.load_palette` takes.
    :param reading: whether label maps of a plain folder hold "ids" or "colours".
    :param segmenter: NONE, or a name in `models/segmentation`: it draws the label maps that a plain folder lacks.
    """

    name: str
    folder: str
    kind: str
    split: str
    palette: str
    reading: str
    segmenter: str = NONE

    def build(self, clip_vision: Any = None) -> Built:
        """
        Write the index, or bring it up to date.

        :param clip_vision: a CLIP_VISION, to keep what the pictures look like.
        :raises FileNotFoundError: when folders are missing.
        :raises ValueError: when settings contradict each other, or nothing in the folder can be read.
        """
        if not self.folder.strip():
            raise ValueError("folder is empty; name a folder in ComfyUI's input folder, or a full path")
        root = folder_of(self.folder)
        palette = None if self.palette == OWN_TABLE else load_palette(self.palette)
        broken = {}
        if self.segmenter != NONE:
            if self.kind != "folder" or palette is None or self.reading != "ids":
                raise ValueError(
                    "a segmenter draws label maps of ids for a plain folder: choose kind folder, reading ids, and the "
                    "palette that they shall follow"
                )
            network = segmentation.load(self.segmenter, palette)
            broken = segment_folder(root, lambda picture: network.label_map(_image(picture)), Progress())
        files = open_data_set(
            self.kind,
            root,
            split=self.split.strip() or None,
            palette=palette,
            colours=self.reading == "colours",
            strict=False,
        )
        embedder = None if clip_vision is None else VisionEmbedder(clip_vision)
        threads = min(_THREADS, os.cpu_count() or 1)
        return build(
            place(self.name),
            files,
            root,
            embedder=embedder,
            workers=threads,
            progress=Progress(),
            broken=broken,
        )


class Progress:
    """ComfyUI's progress bar, and its cancel, for what is called with (done, count)."""

    def __init__(self) -> None:
        self.bar: comfy.utils.ProgressBar | None = None

    def __call__(self, done: int, count: int) -> None:
        management.throw_exception_if_processing_interrupted()
        self.bar = self.bar or comfy.utils.ProgressBar(count)
        self.bar.update_absolute(done, count)


class VisionEmbedder:
    """What pictures look like to a CLIP_VISION.

    :raises ValueError: one that has no layer for patches.
    """

    def __init__(self, clip_vision: Any):
        self.clip_vision = clip_vision
        weights = clip_vision.model.state_dict()
        patches = next((value for name, value in weights.items() if "patch_embedding" in name), None)
        if patches is None:
            raise ValueError(
                f"the vision model ({type(clip_vision.model).__name__}) has no patch embedding; use a CLIP"
            )
        self.name = network_name(patches)

    def pictures(self, pictures: Sequence[np.ndarray]) -> Tensor:
        """[B, E] float of length 1, of pictures [H, W, 3] uint8; each is cut to its middle square, as usual."""
        found = [self.clip_vision.encode_image(_image(picture))["image_embeds"] for picture in pictures]
        return _unit(torch.cat(found))

    def images(self, images: Tensor) -> Tensor:
        """[E] of length 1: what pictures [B, H, W, 3] float 0..1 look like on average."""
        found = self.clip_vision.encode_image(images[..., :3])["image_embeds"]
        return _unit(_unit(found).mean(0, keepdim=True))[0]


@dataclass(frozen=True)
class Answer:
    """
    What was found for a target.

    :param found: the exemplars, in their order.
    :param images: [1, H, W, 3] float 0..1 of each.
    :param labels: their label maps, of batch 1.
    """

    found: list[Found]
    images: list[Tensor]
    labels: list[LabelMap]


def retrieve(finder: Finder, target: LabelMap, wishes: Wishes, pairs: str = "", target_name: str = "") -> Answer:
    """
    Find exemplars and read them.

    :param pairs: a retrieval JSON file that decides instead, a full path or a place in ComfyUI's input folder; "" for
        none.
    :param target_name: under which it lists the target.
    :raises FileNotFoundError: when a file of the index is gone.
    :raises ValueError: when nothing meets the wishes, or the JSON file does not list the target.
    """
    if pairs.strip():
        path = folder_of(pairs)
        listed = read_retrieval(path)
        if target_name not in listed:
            raise ValueError(f"{path} does not list the target {target_name!r}; it has {len(listed)}, see target_name")
        found = finder.score(target, listed[target_name][: wishes.count], wishes.penalty)
    else:
        found = finder.find(target, wishes)
    images, labels = [], []
    for one in found:
        picture, drawn = finder.index.files.read(one.row)
        images.append(_image(picture))
        labels.append(drawn)
    return Answer(found, images, labels)


def appearance(finder: Finder, image: Tensor | None, clip_vision: Any) -> Tensor | None:
    """The vector [E] of what exemplars should look like; None for no picture.

    :param image: IMAGE [B, H, W, 3].

    :raises ValueError: a picture without a model, or with another model than that of the index.
    """
    if image is None:
        return None
    if clip_vision is None:
        raise ValueError("there is a picture of what exemplars should look like, but no clip_vision; connect both")
    embedder, own = VisionEmbedder(clip_vision), finder.index.embedder
    if embedder.name != own:
        raise ValueError(
            "the index was built without clip_vision; build it again with it"
            if not own
            else "the index was built with another clip_vision; connect the same one, or build it again with this one"
        )
    return embedder.images(image)


def load(name: str, folder: str = "") -> Finder:
    """Open an index.

    :param folder: where its data set lies now; "" is where it was.
    :raises FileNotFoundError: no such index, or no such folder.
    """
    index = Index.load(find(name), folder_of(folder) if folder.strip() else None)
    if not index.root.is_dir():
        raise FileNotFoundError(
            f"the data set of the index {name!r} is not in {index.root}; say in folder where it lies now"
        )
    return Finder(index)


def register() -> None:
    """Make `models/exemplar_indexes` known; paths a user has added stay."""
    own = os.path.join(folder_paths.models_dir, FOLDER)
    paths, extensions = folder_paths.folder_names_and_paths.get(FOLDER, ([], set()))
    if own not in paths:
        folder_paths.folder_names_and_paths[FOLDER] = ([own, *paths], {*extensions, ".safetensors"})


def names() -> list[str]:
    """Names of the indexes, as a loader offers them."""
    register()
    return [name for name in folder_paths.get_filename_list(FOLDER) if not _hidden(name)]


def find(name: str) -> Path:
    """:raises FileNotFoundError: with the folders searched."""
    register()
    path = folder_paths.get_full_path(FOLDER, name)
    if path is None:
        searched = ", ".join(folder_paths.get_folder_paths(FOLDER))
        raise FileNotFoundError(f"no index {name!r}: searched {searched}; make one with Build Exemplar Index")
    return Path(path)


def place(name: str) -> Path:
    """Where the index of a name is written.

    :raises ValueError: no name, or one that leaves the folder.
    """
    register()
    root = Path(folder_paths.get_folder_paths(FOLDER)[0])
    stem = name.strip().removesuffix(".safetensors")
    path = (root / f"{stem}.safetensors").resolve()
    if not stem or stem.endswith(("/", "\\")) or not path.is_relative_to(root.resolve()):
        raise ValueError(f"the name {name!r} is none for a file in {root}; use a name or sub-folder/name")
    return path


def state(name: str | None, folder: str | None = "") -> str:
    """What tells a changed index from the one that was loaded; "" when there is none."""
    register()
    path = folder_paths.get_full_path(FOLDER, name or "")
    return "" if path is None else f"{file_state(path)}:{folder}"


def data_state(folder: str | None) -> str:
    """What changes when the files of a data set do."""
    return folder_state(folder or "")


def file_state(name: str | None) -> str:
    """What changes when a file does; "" for none."""
    path = folder_of(name) if name and name.strip() else None
    if path is None or not path.is_file():
        return ""
    stat = path.stat()
    return f"{path}:{stat.st_mtime_ns}:{stat.st_size}"


def _hidden(name: str) -> bool:
    """Whether a file belongs to an index that is being built."""
    return any(part.startswith(".") for part in Path(name).parts)


def _image(picture: np.ndarray) -> Tensor:
    """[1, H, W, 3] float 0..1."""
    return torch.from_numpy(picture)[None].float() / 255


def _unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors.float().cpu(), dim=-1)
