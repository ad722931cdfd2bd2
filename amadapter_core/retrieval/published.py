"""The published form of retrieval's results: a JSON file {target: [exemplar, ...]}, the best first.

Names have no ending and are places below the folders of the data set: the published code looks for NAME.png among the
label maps and NAME.jpg among the pictures.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..text_files import read_json
from ..whole_files import write_whole


def read_retrieval(path: str | Path) -> dict[str, list[str]]:
    """
    :raises FileNotFoundError: no such file.
    :raises ValueError: something else in it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"retrieval: no file {path.absolute()}; it should map targets to lists of exemplars")
    return checked(read_json(path, f"retrieval: {path}"), str(path))


def checked(found: object, where: str) -> dict[str, list[str]]:
    """:raises ValueError: when it does not map names to lists of names."""
    if not isinstance(found, Mapping):
        raise ValueError(f"retrieval: {where}: expected {{target: [exemplar, ...]}}, got {type(found).__name__}")
    for target, names in found.items():
        listed = isinstance(names, Sequence) and not isinstance(names, str)
        if not listed or not names or not all(isinstance(name, str) and name for name in names):
            raise ValueError(f"retrieval: {where}: {target!r}: expected a list of at least one name, got {names!r}")
    return {str(target): list(names) for target, names in found.items()}


def write_retrieval(path: str | Path, found: Mapping[str, Sequence[str]]) -> None:
    """Write the file whole or not at all."""
    text = json.dumps(checked(found, Path(path).name), indent=1, ensure_ascii=False) + "\n"
    write_whole(path, text.encode())
