"""Style codes in ComfyUI: mixed by rules, kept in the folder of the generators."""

from __future__ import annotations

import json
from pathlib import Path

from ...checkpoints import CheckpointError
from ...checkpoints.formats import open_file
from ...generators import styles as core
from ...generators.style_rules import mixed
from ...palettes import Palette
from ...text_files import parse_json
from . import folders
from .generators import HostStyles, check_count

_PALETTE = "am_adapter.palette"


def mixed_styles(a: HostStyles, b: HostStyles | None, weight: float, rules: str) -> HostStyles:
    """Follow the rules for each pair of styles; one goes with all of the other side.

    :param b: None where the rules need none.
    :raises ValueError: when neither side is one and their numbers differ, or as the core's `mixed`.
    """
    palette = a.palette or (None if b is None else b.palette)
    others = (None,) if b is None else b.codes
    count = max(len(a.codes), len(others))
    for given, name in ((a.codes, "styles A"), (others, "styles B")):
        check_count(len(given), count, name, "styles of the other side")
    pairs = ((side[0] if len(side) == 1 else side[i] for side in (a.codes, others)) for i in range(count))
    return HostStyles(tuple(mixed(*pair, weight, rules, palette) for pair in pairs), palette)


def save_styles(styles: HostStyles, prefix: str) -> list[str]:
    """Write each style to a file of its own.

    :param prefix: see `folders.new_file`.
    :return: the names under which they are listed.
    :raises ValueError: when the prefix leaves the folder.
    """
    metadata = {} if styles.palette is None else {_PALETTE: json.dumps(styles.palette.to_dict())}
    names = []
    for codes in styles.codes:
        path, name = folders.new_file(prefix, folders.GENERATORS)
        core.save_styles(path, codes, metadata)
        names.append(name)
    return names


def load_styles(path: Path) -> HostStyles:
    """Read what `save_styles` wrote.

    :raises FileNotFoundError: when there is no such file.
    :raises CheckpointError: when it is another kind of file, or damaged.
    """
    codes = core.load_styles(path)
    text = open_file(path).metadata.get(_PALETTE)
    try:
        palette = None if text is None else Palette.from_dict(parse_json(text, _PALETTE), str(path))
    except ValueError as error:
        raise CheckpointError(f"AM-Adapter: {path} has a damaged table of classes: {error}") from error
    return HostStyles((codes,), palette)
