"""Reading JSON and YAML of any origin: bounded in size, and with one kind of error that names the file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .limits import TEXT_BYTES, TEXT_DEPTH, TEXT_VALUES, YAML_BYTES, TooLarge, check_limit

_SMALLER = "divide it into several files"


def read_text(path: str | Path, where: str = "", limit: int = TEXT_BYTES) -> str:
    """Read a text file, with or without a byte order mark.

    :param where: what to call the file in messages, if not by its path.
    :raises FileNotFoundError: no such file.
    :raises ValueError: larger than `limit` bytes, or no UTF-8 text.
    """
    path, where = Path(path), where or str(path)
    check_limit(where, path.stat().st_size, limit, "bytes", _SMALLER)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}: not a text file in UTF-8: {error}") from error


def read_json(path: str | Path, where: str = "") -> Any:
    """
    :param where: what to call the file in messages, if not by its path.
    :raises FileNotFoundError: no such file.
    :raises ValueError: too large, or not JSON.
    """
    where = where or str(path)
    return parse_json(read_text(path, where), where)


def parse_json(text: str, where: str) -> Any:
    """
    :param where: what holds the text, for messages.
    :raises ValueError: not JSON, nested too deeply, or with a number that is too long.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError(f"{where}: not a JSON file of use here: it is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"{where}: not a JSON file: {error}") from error


def read_yaml(path: str | Path, where: str = "") -> Any:
    """
    :param where: what to call the file in messages, if not by its path.
    :raises FileNotFoundError: no such file.
    :raises ValueError: too large, not YAML, or with aliases that stand for too much.
    """
    where = where or str(path)
    return parse_yaml(read_text(path, where, YAML_BYTES), where)


def parse_yaml(text: str, where: str) -> Any:
    """
    :param where: what holds the text, for messages.
    :raises ValueError: not YAML, nested too deeply, or with aliases that stand for too much.
    """
    import yaml

    kind = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        # The C parser overflows the stack where Python's would say that it is too deep.
        _check_events(yaml.parse(text, kind), where)
        loader = kind(text)
        try:
            root = loader.get_single_node()
            # Before values are made: merging (<<) writes aliases out.
            _check_values(root, where)
            return None if root is None else loader.construct_document(root)
        finally:
            loader.dispose()
    except TooLarge:
        raise
    except RecursionError as error:
        raise ValueError(f"{where}: not YAML of use here: it is nested too deeply") from error
    # Dates, numbers and tags that are none raise whatever their constructors do.
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise ValueError(f"{where}: not YAML: {error}") from error


def _check_events(events: Iterable[Any], where: str) -> None:
    depth = 0
    for seen, event in enumerate(events, 1):
        name = type(event).__name__
        depth += name.endswith("StartEvent") - name.endswith("EndEvent")
        check_limit(where, depth, TEXT_DEPTH, "levels or more", "write it flatter")
        check_limit(where, seen, TEXT_VALUES, "values or more", "write it as JSON, or divide it")


def _check_values(root: Any, where: str) -> None:
    """Count values as if aliases were written out; one that holds itself never ends."""
    pending, seen = [] if root is None else [root], 0
    while pending:
        inner = pending.pop().value
        if isinstance(inner, str):
            continue
        inner = [node for item in inner for node in (item if isinstance(item, tuple) else (item,))]
        seen += len(inner)
        check_limit(where, seen, TEXT_VALUES, "values or more", "write its aliases (*) out, or leave them out")
        pending += inner
