"""Dataclasses made of plain values, as a YAML file has them.

A setting that does not exist, or is of another type than expected, is an error that names the file, the setting and
the nearest valid name; nothing is ignored.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from ..text_files import parse_yaml

_SHOWN = 200
"""Characters of a value in a message."""


def build(cls: type, settings: Mapping[str, Any], where: str, prefix: str = "") -> Any:
    """Make a dataclass of plain values, its own and those of dataclasses inside it.

    :param where: the file, for messages.
    :param prefix: what stands before the names of these settings, with its dot.
    :raises ValueError: for a setting that is unknown, missing, or of another type.
    """
    hints, known = typing.get_type_hints(cls), {f.name: f for f in fields(cls)}
    for name in settings:
        if name not in known:
            raise ValueError(f"{where}: unknown setting {prefix}{name!s:.{_SHOWN}}; {_nearest(str(name), list(known))}")
    values = {}
    for name, setting in known.items():
        if name in settings:
            values[name] = _convert(hints[name], settings[name], where, prefix + name)
        elif setting.default is MISSING and setting.default_factory is MISSING:
            raise ValueError(f"{where}: the setting {prefix}{name} is missing; {_wanted(hints[name])}")
    return cls(**values)


def override(settings: dict[str, Any], text: str) -> None:
    """Change a setting in place.

    :param settings: as read from YAML.
    :param text: `key=value`, the key with dots for what lies deeper, the value in YAML.
    :raises ValueError: when it is not of that form.
    """
    key, found, value = text.partition("=")
    if not found or not key:
        raise ValueError(f"training config: {text!r} is no override; write key=value, e.g. optimiser.rate=1e-4")
    *path, last = key.split(".")
    for name in path:
        deeper = settings.setdefault(name, {})
        if deeper is None:
            deeper = settings[name] = {}
        if not isinstance(deeper, dict):
            raise ValueError(f"training config: {text!r}: {name} holds {_kind(deeper)}, no settings")
        settings = deeper
    settings[last] = parse_yaml(value, f"training config: {text!r}")


def _convert(hint: Any, value: Any, where: str, name: str) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        if value is None:
            return None
        (hint,) = (i for i in inner if i is not type(None))
        if is_dataclass(hint) and isinstance(value, Mapping):
            return _convert(hint, value, where, name)
        try:
            return _convert(hint, value, where, name)
        except ValueError as error:
            raise ValueError(f"{error}, or null") from None
    if is_dataclass(hint) and isinstance(value, Mapping):
        return build(hint, value, where, f"{name}.")
    if origin is Literal:
        if value is False and "no" in inner:  # YAML's own word for no
            value = "no"
        if value in inner:
            return value
        hint_text = _nearest(str(value), [str(i) for i in inner])
        raise ValueError(f"{where}: {name} is {repr(value)[:_SHOWN]}; {hint_text}")
    if origin is tuple and isinstance(value, (list, tuple)):
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
        if len(kinds) == len(value):
            return tuple(
                _convert(k, v, where, f"{name}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True))
            )
    if hint is float and not isinstance(value, bool):
        try:
            return float(value)  # YAML takes 1e-4, without a point, for a word
        except (TypeError, ValueError, OverflowError):
            pass
    if hint in (int, bool, str) and type(value) is hint:
        return value
    if hint is str and isinstance(value, Path):
        return str(value)
    raise ValueError(f"{where}: {name} is {_kind(value)}; {_wanted(hint)}")


def _wanted(hint: Any) -> str:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return f"expected one of {', '.join(map(str, inner))}"
    if origin is tuple:
        names = [i.__name__ for i in inner if i is not Ellipsis]
        return f"expected a list of {names[0]}" if Ellipsis in inner else f"expected a list [{', '.join(names)}]"
    if is_dataclass(hint):
        return f"expected settings: {', '.join(f.name for f in fields(hint))}"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return f"expected {words[hint]}"


def _nearest(name: str, valid: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.6)
    return f"did you mean {near[0]}? There are {', '.join(valid)}" if near else f"there are {', '.join(valid)}"


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"{repr(value)[:_SHOWN]} ({type(value).__name__})"
