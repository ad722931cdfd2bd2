"""Pictures in ComfyUI's input folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import folder_paths


def input_pictures() -> list[str]:
    """Names of the pictures in the input folder and below it, in order; pasted ones lie in a subfolder."""
    files, _ = folder_paths.recursive_search(folder_paths.get_input_directory(), excluded_dir_names=[".git"])
    # As the frontend names uploads, on every system.
    return sorted(name.replace("\\", "/") for name in folder_paths.filter_files_content_types(files, ["image"]))


def picture_path(name: str) -> Path:
    """The file of a picture.

    :param name: relative to the input folder, or with another folder at its end: "picture.png [output]".
    :raises ValueError: the name leaves the folder.
    :raises FileNotFoundError: no such file.
    """
    path = Path(folder_paths.get_annotated_filepath(name))
    if not path.is_file():
        raise FileNotFoundError(f"no picture {name!r}: searched {path}; choose another, or upload it again")
    return path


def picture_fingerprint(name: str | None) -> str:
    """What changes when the picture's content does; "" while the name is not known yet."""
    return "" if name is None else hashlib.sha256(picture_path(name).read_bytes()).hexdigest()
