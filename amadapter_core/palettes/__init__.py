"""
Palettes: which label id means which class and in which colour it is drawn.

A palette is a JSON file. The built-in ones lie beside this module; a user's file has the same form:

    {
      "name": "garden",                     (optional, default: the file's name)
      "title": "Garden scenes",             (optional)
      "source": "drawn by hand",            (optional)
      "ignore": 255,                        (optional: the id of pixels that belong to no class)
      "ignore_colour": [0, 0, 0],           (optional: the colour of those pixels, see Palette)
      "notes": "",                          (optional)
      "classes": [
        {"id": 0, "name": "lawn", "colour": [10, 200, 10]},      (ids are optional, default 0, 1, 2, ...)
        {"id": 1, "name": "path", "colour": [180, 170, 160]}
      ]
    }
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..limits import CLASSES, check_limit
from ..text_files import read_json

logger = logging.getLogger(__name__)

Colour = tuple[int, int, int]

IGNORED = "(ignored)"
BLACK: Colour = (0, 0, 0)

_FOLDER = Path(__file__).parent
_FIELDS = ("name", "title", "source", "ignore", "ignore_colour", "notes", "classes")
_FEWER = "leave out what is not used"
_CLASS_FIELDS = ("id", "name", "colour")


@dataclass(frozen=True)
class Palette:
    """
    A table of K classes.

    Several classes may share a colour (Cityscapes and ADE20K have such classes). Drawing is not affected;
    reading a colour picture takes the class listed first, or the ignored one when it is among them.
    `ambiguous` lists them.

    :param name: short name, the one `Palette.load` takes for a built-in palette.
    :param source: where ids, names and colours come from.
    :param names: K distinct class names.
    :param ids: K distinct integer label ids, in the order of `names`.
    :param colours: K RGB triples 0..255 (a sequence of triples or a [K, 3] tensor).
    :param ignore: id of pixels that belong to no class, or None. It may be one of `ids` (a void class).
    :param notes: what a user should know: shared colours, other numberings in use.
    :param title: one line for people.
    :param ignore_colour: colour of ignored pixels. Default: the colour of the class `ignore`, or black if
        `ignore` is no class and no class is black. None means that ignored pixels are drawn black and that no
        colour is read as ignored.
    """

    name: str
    source: str
    names: tuple[str, ...]
    ids: tuple[int, ...]
    colours: tuple[Colour, ...]
    ignore: int | None = None
    notes: str = ""
    title: str = ""
    ignore_colour: Colour | None = None

    def __post_init__(self) -> None:
        colours = self.colours.tolist() if hasattr(self.colours, "tolist") else self.colours
        where = f"Palette {self.name!r}"
        names, ids = tuple(self.names), tuple(self.ids)
        if not names or not len(names) == len(ids) == len(colours):
            raise ValueError(
                f"{where}: expected as many names as ids and colours and at least one, "
                f"got {len(names)} names, {len(ids)} ids, {len(colours)} colours"
            )
        check_limit(where, len(names), CLASSES, "classes", _FEWER)
        colours = tuple(_colour(c, f"{where}: colours[{row}]") for row, c in enumerate(colours))
        for row, name in enumerate(names):
            if not isinstance(name, str) or not name.strip():
                raise ValueError(f"{where}: names[{row}]: expected a non-empty string, got {name!r}")
        ids = tuple(_integer(i, f"{where}: ids[{row}]") for row, i in enumerate(ids))
        _distinct(names, f"{where}: names")
        _distinct(ids, f"{where}: ids")
        ignore = None if self.ignore is None else _integer(self.ignore, f"{where}: ignore")
        ignore_colour = self.ignore_colour
        if ignore_colour is not None:
            ignore_colour = _colour(ignore_colour, f"{where}: ignore_colour")
            if ignore is None:
                raise ValueError(f"{where}: ignore_colour is {ignore_colour} but there is no ignore id; set ignore")
        elif ignore in ids:
            ignore_colour = colours[ids.index(ignore)]
        elif ignore is not None and BLACK not in colours:
            ignore_colour = BLACK
        for field, value in (
            ("names", names),
            ("ids", ids),
            ("colours", colours),
            ("ignore", ignore),
            ("ignore_colour", ignore_colour),
        ):
            object.__setattr__(self, field, value)

    def __len__(self) -> int:
        return len(self.names)

    @staticmethod
    def builtin_names() -> tuple[str, ...]:
        """Name the palettes that come with the package, in alphabetical order."""
        return tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))

    @staticmethod
    def load(name_or_path: str | Path) -> Palette:
        """
        Load a built-in palette by name or any palette by the path of its JSON file.

        :raises FileNotFoundError: neither a built-in name nor a file; the message lists the names and the
            path tried.
        :raises ValueError: the file is not a palette; the message names the file, the field and what was
            expected.
        """
        if str(name_or_path) in Palette.builtin_names():
            return _load_builtin(str(name_or_path))
        path = Path(name_or_path).expanduser()
        if not path.is_file():
            raise FileNotFoundError(
                f"Palette.load: {str(name_or_path)!r} is neither a built-in palette "
                f"({', '.join(Palette.builtin_names())}) nor a file; searched {path.absolute()}"
            )
        palette = _read(path)
        shared = palette.ambiguous()
        if shared:
            listed = "; ".join(f"{colour}: {', '.join(names)}" for colour, names in shared.items())
            logger.warning(
                "palette %s: %d colours stand for several classes; a colour picture is read as the first named: %s",
                path,
                len(shared),
                listed,
            )
        return palette

    @staticmethod
    def from_dict(table: Mapping[str, Any], where: str = "palette") -> Palette:
        """
        Build a palette from the parsed JSON described at the head of this module.

        :param where: what to call the table in error messages, usually the file.
        :raises ValueError: naming `where`, the field and what was expected of it.
        """
        if not isinstance(table, Mapping):
            raise ValueError(f"{where}: expected an object with the fields {_listed(_FIELDS)}, got {_kind(table)}")
        _known(table, _FIELDS, where)
        for field in ("name", "title", "source", "notes"):
            if not isinstance(table.get(field, ""), str):
                raise ValueError(f"{where}: {field}: expected a string, got {table[field]!r}")
        classes = table.get("classes")
        if not isinstance(classes, Sequence) or isinstance(classes, str) or not classes:
            raise ValueError(
                f"{where}: classes: expected a non-empty list of {{id, name, colour}}, got {_kind(classes)}"
            )
        check_limit(where, len(classes), CLASSES, "classes", _FEWER)
        numbered = sum(isinstance(c, Mapping) and "id" in c for c in classes)
        names: list[str] = []
        ids: list[int] = []
        colours: list[Colour] = []
        for row, entry in enumerate(classes):
            at = f"{where}: classes[{row}]"
            if not isinstance(entry, Mapping):
                raise ValueError(
                    f"{at}: expected an object with the fields {_listed(_CLASS_FIELDS)}, got {_kind(entry)}"
                )
            _known(entry, _CLASS_FIELDS, at)
            for field in ("name", "colour"):
                if field not in entry:
                    raise ValueError(f"{at}: {field} is missing")
            if not isinstance(entry["name"], str) or not entry["name"].strip():
                raise ValueError(f"{at}: name: expected a non-empty string, got {entry['name']!r}")
            if numbered and "id" not in entry:
                raise ValueError(
                    f"{at}: id is missing, but {numbered} of {len(classes)} classes have one; "
                    f"give an id to every class or to none (then they are numbered from 0)"
                )
            names.append(entry["name"])
            ids.append(_integer(entry["id"], f"{at}: id") if numbered else row)
            colours.append(_colour(entry["colour"], f"{at}: colour"))
        _distinct(names, f"{where}: classes: name")
        _distinct(ids, f"{where}: classes: id")
        ignore = table.get("ignore")
        colour = table.get("ignore_colour")
        if colour is not None and ignore is None:
            raise ValueError(f"{where}: ignore: expected the id of ignored pixels, as ignore_colour is given")
        return Palette(
            name=table.get("name") or where,
            source=table.get("source", ""),
            names=tuple(names),
            ids=tuple(ids),
            colours=tuple(colours),
            ignore=None if ignore is None else _integer(ignore, f"{where}: ignore"),
            notes=table.get("notes", ""),
            title=table.get("title", ""),
            ignore_colour=None if colour is None else _colour(colour, f"{where}: ignore_colour"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the palette as plain JSON values, the inverse of `from_dict`."""
        classes = [
            {"id": i, "name": name, "colour": list(colour)}
            for i, name, colour in zip(self.ids, self.names, self.colours, strict=True)
        ]
        return {
            "name": self.name,
            "title": self.title,
            "source": self.source,
            "ignore": self.ignore,
            "ignore_colour": None if self.ignore_colour is None else list(self.ignore_colour),
            "notes": self.notes,
            "classes": classes,
        }

    def id_of(self, name_or_id: str | int) -> int:
        """
        Return the label id of a class given by name, by id, or by the ignore id.

        :raises ValueError: no such class; the message lists close names.
        """
        if isinstance(name_or_id, str):
            if name_or_id in self.names:
                return self.ids[self.names.index(name_or_id)]
            near = [n for n in self.names if name_or_id.lower() in n.lower() or n.lower() in name_or_id.lower()]
            hint = f"did you mean {_listed(near[:5])}?" if near else f"it has {_listed(self.names)}"
            raise ValueError(f"palette {self.name!r} has no class named {name_or_id!r}; {hint}")
        if name_or_id in self.ids or (self.ignore is not None and name_or_id == self.ignore):
            return int(name_or_id)
        raise ValueError(
            f"palette {self.name!r} has no class with id {name_or_id}; its ids are "
            f"{min(self.ids)}..{max(self.ids)}, ignored: {self.ignore}"
        )

    def name_of(self, label_id: int) -> str:
        """Return the class name of a label id, "(ignored)" for an ignore id that is no class."""
        label_id = self.id_of(int(label_id))
        return self.names[self.ids.index(label_id)] if label_id in self.ids else IGNORED

    def ambiguous(self) -> dict[Colour, list[str]]:
        """
        List the colours that stand for more than one class, with the classes' names.

        The first name of each list is the one a colour picture is read as: the ignored class if it is among
        them, otherwise the one that comes first in the table.
        """
        return dict(self._shared)

    @cached_property
    def _shared(self) -> dict[Colour, list[str]]:
        owners: dict[Colour, list[str]] = {}
        if self.ignore is not None and self.ignore_colour is not None:
            owners[self.ignore_colour] = [self.name_of(self.ignore)]
        for name, colour in zip(self.names, self.colours, strict=True):
            listed = owners.setdefault(colour, [])
            if name not in listed:
                listed.append(name)
        return {colour: names for colour, names in owners.items() if len(names) > 1}

    def reading_table(self) -> tuple[Tensor, Tensor]:
        """
        Return the colours a picture may show and the ids they are read as, each colour once.

        :return: colours [M, 3] int64 and ids [M] int64: the ignored colour, if any, and then the classes in
            table order without those whose colour was already taken.
        """
        chosen: dict[Colour, int] = {}
        if self.ignore is not None and self.ignore_colour is not None:
            chosen[self.ignore_colour] = self.ignore
        for label_id, colour in zip(self.ids, self.colours, strict=True):
            chosen.setdefault(colour, label_id)
        return torch.tensor(list(chosen), dtype=torch.int64), torch.tensor(list(chosen.values()), dtype=torch.int64)


@cache
def _load_builtin(name: str) -> Palette:
    return _read(_FOLDER / f"{name}.json")


def _read(path: Path) -> Palette:
    where = f"Palette.load: {path}"
    table = read_json(path, where)
    if isinstance(table, dict) and not table.get("name"):
        table["name"] = path.stem
    return Palette.from_dict(table, where)


def _known(table: Mapping[str, Any], fields: Sequence[str], where: str) -> None:
    unknown = sorted(str(field) for field in table if field not in fields)
    if unknown:
        hint = "; the field is spelt colour" if "color" in unknown or "ignore_color" in unknown else ""
        raise ValueError(f"{where}: unknown field {_listed(unknown)}; expected only {_listed(fields)}{hint}")


def _integer(value: Any, where: str) -> int:
    # bool is an int in Python; a JSON true is no id
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{where}: expected an integer, got {value!r}")
    if not -(1 << 31) <= value < 1 << 31:
        raise ValueError(f"{where}: expected an integer of 32 bits, got {value}")
    return value


def _colour(value: Any, where: str) -> Colour:
    # a [K, 3] float tensor that holds whole numbers is not accepted either: 0..1 and 0..255 would be mixed up
    triple = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 3
    if not triple or not all(isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= 255 for v in value):
        raise ValueError(f"{where}: expected three integers 0..255 [red, green, blue], got {value!r}")
    return (value[0], value[1], value[2])


def _distinct(values: Sequence[Any], where: str) -> None:
    seen: set[Any] = set()
    for row, value in enumerate(values):
        if value in seen:
            raise ValueError(f"{where}: expected every value once, {value!r} is used again in row {row}")
        seen.add(value)


def _listed(values: Sequence[str]) -> str:
    return ", ".join(str(v) for v in values)


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"
