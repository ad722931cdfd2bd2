"""The data set that the settings name."""

from __future__ import annotations

from collections.abc import Callable

from .config import Data
from .file_pairs import open_files
from .pairs import Pairs
from .scene_pairs import Kept, Scenes


def open_pairs(data: Data, rank: int = 0, ranks: int = 1, wait: Callable[[], None] = lambda: None) -> Pairs:
    """The data set that the settings name.

    :param rank: of this process among `ranks` that open it; `wait` is their meeting point.
    :raises FileNotFoundError: when a folder is missing.
    :raises ValueError: when it is empty, or pictures have no label map.
    """
    if data.kind == "scenes":
        scenes = Scenes(data)
        return scenes if data.cache is None else Kept(scenes, data.cache, rank, ranks, wait)
    if data.cache is not None:
        raise ValueError(f"training data: data.cache is for scenes, not for {data.kind}; files are read as they lie")
    if data.root is None:
        raise ValueError(f"training data: data.root is missing; name the folder of the {data.kind} data set")
    return open_files(data)
