"""Files as ComfyUI's user sees them: names in a model folder, wherever its paths lie.

Matchers, exemplars and segmenters share the folder `am_adapter`; exemplars and segmenters are told by what they say
they are, and whatever is neither is offered as a matcher. Palettes are JSON files in `am_adapter/palettes`.

Generators have a folder of their own, with the style codes and support packs that belong to them.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import folder_paths
from safetensors import SafetensorError, safe_open

from ...checkpoints.reading import EXTENSIONS
from ...exemplar import FORMAT
from ...palettes import Palette

FOLDER = "am_adapter"
GENERATORS = "semantic_generators"
PALETTES = "palettes"
STYLES, SUPPORTS = "style_codes", "ipose_supports"
"""What files say that they are."""


def register() -> None:
    """Make the pack's model folders known, with the file types they hold; paths a user has added stay."""
    for name in (FOLDER, GENERATORS):
        own = os.path.join(folder_paths.models_dir, name)
        paths, extensions = folder_paths.folder_names_and_paths.get(name, ([], set()))
        if own not in paths:
            paths = [own, *paths]
        # Without extensions ComfyUI lists every file.
        folder_paths.folder_names_and_paths[name] = (paths, {*extensions, *EXTENSIONS})


def folders(folder: str = FOLDER) -> list[Path]:
    """All paths of a model folder; new files go to the first."""
    register()
    return [Path(path) for path in folder_paths.get_folder_paths(folder)]


def files(folder: str) -> list[str]:
    """Names of the files in a model folder, as a loader offers them."""
    register()
    return folder_paths.get_filename_list(folder)


def exemplars() -> list[str]:
    """Names of the exemplars in `am_adapter`."""
    return [name for name in files(FOLDER) if _is_exemplar(name)]


def segmenters() -> list[str]:
    """Names of the segmenters in `am_adapter`."""
    return [name for name in files(FOLDER) if _is_segmenter(name)]


def matchers() -> list[str]:
    """Names of all other weights files in `am_adapter`."""
    return [name for name in files(FOLDER) if not _is_exemplar(name) and not _is_segmenter(name)]


def styles() -> list[str]:
    """Names of the style codes in `semantic_generators`."""
    return [name for name in files(GENERATORS) if _kind(GENERATORS, name) == STYLES]


def supports() -> list[str]:
    """Names of iPOSE's support packs in `semantic_generators`."""
    return [name for name in files(GENERATORS) if _kind(GENERATORS, name) == SUPPORTS]


def generators() -> list[str]:
    """Names of all other weights files in `semantic_generators`."""
    return [name for name in files(GENERATORS) if _kind(GENERATORS, name) not in (STYLES, SUPPORTS)]


def palettes() -> list[str]:
    """Names that `load_palette` takes: the built-in palettes, then the users' files with their ending."""
    found = {path.name for folder in folders() for path in (folder / PALETTES).glob("*.json")}
    return [*Palette.builtin_names(), *sorted(found)]


def load_palette(name: str) -> Palette:
    """:raises FileNotFoundError: with the built-in names and the folders searched.
    :raises ValueError: the file is not a palette.
    """
    if name in Palette.builtin_names():
        return Palette.load(name)
    searched = [folder / PALETTES for folder in folders()]
    for folder in searched:
        if (folder / name).is_file():
            return Palette.load(folder / name)
    raise FileNotFoundError(
        f"AM-Adapter: {name!r} is neither a built-in palette ({', '.join(Palette.builtin_names())}) nor a file in "
        f"{_listed(searched)}"
    )


def find(folder: str, name: str) -> Path:
    """The file that a name in a model folder stands for.

    :raises FileNotFoundError: with the folders searched.
    """
    register()
    path = folder_paths.get_full_path(folder, name)
    if path is None:
        raise FileNotFoundError(
            f"AM-Adapter: no file {name!r} in the model folder {folder!r}; searched {_listed(folders(folder))}. "
            "Put it there, or choose another"
        )
    return Path(path)


def fingerprint(folder: str, name: str) -> str:
    """What tells a changed file from the one that was loaded; empty when there is none."""
    path = folder_paths.get_full_path(folder, name)
    if path is None:
        return ""
    state = os.stat(path)
    return f"{path}:{state.st_mtime_ns}:{state.st_size}"


def new_file(prefix: str, folder: str = FOLDER) -> tuple[Path, str]:
    """Where to save a safetensors file without overwriting one.

    :param prefix: as in Save Image: may name subfolders and hold %date% fields; a counter follows it.
    :return: the path, whose folder exists, and the name under which it will be listed.
    :raises ValueError: when the prefix leaves the folder.
    """
    root = folders(folder)[0]
    root.mkdir(parents=True, exist_ok=True)
    if not Path(root, prefix).resolve().is_relative_to(root.resolve()):
        raise ValueError(f"AM-Adapter: filename_prefix {prefix!r} leaves {root}; use a name or subfolder/name")
    place, stem, counter, subfolder, _ = folder_paths.get_save_image_path(prefix, str(root))
    file = f"{stem}_{counter:05}.safetensors"
    return Path(place, file), os.path.join(subfolder, file)


def _is_exemplar(name: str) -> bool:
    return _metadata(FOLDER, name).get("format") == FORMAT


def _is_segmenter(name: str) -> bool:
    return _kind(FOLDER, name) == "segmenter"


def _kind(folder: str, name: str) -> str | None:
    return _metadata(folder, name).get("am_adapter.kind")


def _metadata(folder: str, name: str) -> dict[str, str]:
    path = folder_paths.get_full_path(folder, name)
    if path is None or not path.endswith(".safetensors"):
        return {}
    state = os.stat(path)
    return _metadata_of(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4096)
def _metadata_of(path: str, _changed: int, _size: int) -> dict[str, str]:
    """What a safetensors file says of itself, asked once for each state of the file."""
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError):
        return {}


def _listed(paths: list[Path]) -> str:
    return ", ".join(map(str, paths))
