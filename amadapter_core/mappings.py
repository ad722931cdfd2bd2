"""
Tables from the classes of one palette to those of another, as JSON files. The built-in ones lie in palettes/mappings;
a user's file has the same form:

    {
      "from": ["cityscapes19", "bdd100k19"],     (optional: names of the palettes that it is from and to)
      "to": ["ade20k150"],
      "source": "drawn up by hand",              (optional)
      "notes": "",                               (optional)
      "others": null,                            (optional: what becomes of the classes that are not listed)
      "classes": {
        "rider": "person",                       (names in any case, or ids)
        "train": null                            (null: it has no counterpart)
      }
    }

Every class of the source is listed, unless `others` says what becomes of the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .class_names import class_id, names_in
from .palettes import Palette
from .remapping import Remapping
from .rule_lines import EVERY_OTHER, NOTHING, lines_of
from .text_files import read_json

FOLDER = Path(__file__).parent / "palettes" / "mappings"
_FIELDS = ("from", "to", "source", "notes", "others", "classes")


def shipped() -> list[Path]:
    """The built-in tables."""
    return sorted(FOLDER.glob("*.json"))


def shipped_mapping(source: Palette, target: Palette) -> Remapping:
    """The built-in table between two palettes, which are told by their names; in its own palette every class stays.

    :raises ValueError: there is none; the message lists those from the source.
    """
    if (source.ids, source.names) == (target.ids, target.names):
        return Remapping.by_name(source, target)
    reachable: set[str] = set()
    for path in shipped():
        table = _read(path)
        if source.name in table["from"]:
            reachable |= set(table["to"])
            if target.name in table["to"]:
                return mapping_from_dict(table, source, target, str(path))
    told = f"from there the tables go to {', '.join(sorted(reachable))}" if reachable else "from there is none at all"
    raise ValueError(
        f"no built-in table brings {source.name!r} to {target.name!r}; {told}. Map the classes by their names, or with "
        "a table of your own"
    )


def load_mapping(path: str | Path, source: Palette, target: Palette) -> Remapping:
    """Read a table file.

    :raises FileNotFoundError: no such file.
    :raises ValueError: not a table, one between other palettes, or one that leaves classes out.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"load_mapping: no file {path.absolute()}")
    return mapping_from_dict(_read(path), source, target, str(path))


def mapping_from_dict(table: Mapping[str, Any], source: Palette, target: Palette, where: str = "mapping") -> Remapping:
    """Build a remapping from the parsed JSON described at the head of this module.

    :param where: what to call the table in messages, usually the file.
    :raises ValueError: naming `where` and what is wrong.
    """
    if not isinstance(table, Mapping) or not isinstance(table.get("classes"), Mapping):
        raise ValueError(f'{where}: expected an object with "classes", which maps classes to classes or null')
    unknown = sorted(set(table) - set(_FIELDS))
    if unknown:
        raise ValueError(f"{where}: unknown field {', '.join(unknown)}; expected only {', '.join(_FIELDS)}")
    for field, palette in (("from", source), ("to", target)):
        names = table.get(field, [palette.name])
        if palette.name not in ([names] if isinstance(names, str) else names):
            raise ValueError(f"{where}: this table is {field} {names}, not {field} {palette.name!r}")

    def target_id(value: Any) -> int | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise ValueError(f"{where}: expected a class of {target.name!r} by name or id, or null; got {value!r}")
        return class_id(str(value), target)

    classes: dict[int, int | None] = {}
    try:
        for name, value in table["classes"].items():
            label = class_id(name, source)
            if label in classes:
                raise ValueError(f"class {name!r} is listed twice")
            classes[label] = target_id(value)
        left = [name for label, name in zip(source.ids, source.names, strict=True) if label not in classes]
        if left and "others" not in table:
            raise ValueError(
                f"{len(left)} classes of {source.name!r} are not listed: {', '.join(left[:10])}"
                f'{" ..." if len(left) > 10 else ""}; map them to a class or to null, or add "others"'
            )
        classes |= {source.id_of(name): target_id(table.get("others")) for name in left}
    except ValueError as error:
        raise ValueError(error if str(error).startswith(where) else f"{where}: {error}") from error
    return Remapping(source, target, classes)


def changes_in(text: str, mapping: Remapping) -> dict[int, int | None]:
    """Read changes to a table as people write them.

    :param text: one per line: `house, tower -> building`, `rider -> none`, or `* -> road` for the classes that have no
        counterpart in the table; names in any case or ids, the rest of a line after # is a comment.
    :return: for `Remapping.changed`.
    :raises ValueError: with the line and what was expected.
    """
    forms = "house, tower -> building, rider -> none, or * -> road"
    changes: dict[int, int | None] = {}
    for line in lines_of(text, ("->",), forms, ()):
        try:
            new = None if line.value.casefold() == NOTHING else class_id(line.value, mapping.target)
            if line.target == EVERY_OTHER:
                changes = {old: new for old, now in mapping.classes.items() if now is None} | changes
            else:
                changes |= {class_id(name, mapping.source): new for name in names_in(line.target)}
        except ValueError as error:
            raise line.wrong(str(error)) from error
    return changes


def _read(path: Path) -> Any:
    return read_json(path)
