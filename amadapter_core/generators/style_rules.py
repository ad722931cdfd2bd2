"""Styles and seeds as people write them: one rule per line, the rest of a line after # is a comment.

    car = B                  the class as in the second style
    sky = 0.5                halfway from the first style to the second
    building @0, 1 = B       only these layers of the class's code
    road = random            no code: the generator draws one
    shared = B               what belongs to no class, where the system has such a thing
    * = 0.3                  every class that no rule names

Classes are names or ids. Of seeds there are lines such as `car = 7`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ..class_names import class_id, names_in
from ..palettes import Palette
from ..rule_lines import EVERY_OTHER, Line, lines_of
from .styles import StyleCodes, interpolated, merged, restricted, swapped

SHARED, RANDOM = "shared", "random"
_DIGITS = 18
FORMS = (
    '"class = A", "class = B", "class = 0.5" (how far from A to B), "class = random", "class @0, 1 = B" (layers), '
    '"shared = B", or the same with *'
)


def mixed(
    a: StyleCodes, b: StyleCodes | None, weight: float = 0.0, rules: str = "", palette: Palette | None = None
) -> StyleCodes:
    """Go from a to b, and follow the rules on the way; later ones hold.

    :param b: None where the rules need none.
    :param weight: 0 is a, 1 is b with what b lacks as in a; for all that no rule names, the shared code included.
    :param palette: names of the classes; None knows ids alone.
    :raises ValueError: for a line that is no rule, with its number; classes that are not there; styles that do not fit.
    """
    count = max(a.shape[0], 0 if b is None else b.shape[0])
    lines = list(lines_of(rules, ["="], FORMS, [str(layer) for layer in range(count)]))
    result = _towards(a, b, weight)
    for line in lines:
        if line.target == EVERY_OTHER:
            if line.layers:
                raise line.wrong(f"{EVERY_OTHER} takes no layers")
            way = _value(line)
            whole = restricted(a, ()) if way == RANDOM else _towards(a, b, way)
            result = replace(whole, shared=result.shared)
    for line in lines:
        if line.target != EVERY_OTHER:
            try:
                result = _followed(result, a, b, line, palette)
            except ValueError as error:
                raise error if str(error).startswith("rules: ") else line.wrong(str(error)) from error
    return result


def seeds_by_class(text: str, palette: Palette | None = None) -> dict[int, int]:
    """Read lines such as `car = 7`.

    :raises ValueError: for another form, or a class that is not there.
    """
    return {_class_of(line.target, palette, line.wrong): seed for line, seed in _seeds(text, '"class = 7"')}


def seeds_by_layer(text: str, layers: int) -> dict[int, int]:
    """Read lines such as `0 = 7`.

    :param layers: L, the layers that there are.
    :raises ValueError: for another form, or a layer that is not there.
    """
    found = {}
    for line, seed in _seeds(text, '"layer = 7"'):
        if not (_is_number(line.target) and int(line.target) < layers):
            raise line.wrong(f"there is no layer {line.target!r}; there are 0 to {layers - 1}")
        found[int(line.target)] = seed
    return found


def classes_in(names: Sequence[str], palette: Palette | None) -> list[int]:
    """Ids of classes by name or id.

    :raises ValueError: for a class that is not there.
    """
    return [_class_of(name, palette, ValueError) for name in names]


def layers_in(text: str) -> list[int]:
    """Numbers of layers, separated by commas.

    :raises ValueError: for anything else.
    """
    names = names_in(text)
    if not all(map(_is_number, names)):
        raise ValueError(f'layers is {text!r}, expected numbers separated by commas, such as "0, 1"')
    return [int(name) for name in names]


def _followed(
    result: StyleCodes, a: StyleCodes, b: StyleCodes | None, line: Line, palette: Palette | None
) -> StyleCodes:
    way, layers = _value(line), [int(layer) for layer in line.layers] or None
    if line.target == SHARED:
        if layers is not None:
            raise line.wrong("the shared code has no layers")
        return replace(result, shared=None if way == RANDOM else _towards(a, b, way).shared)
    label = _class_of(line.target, palette, line.wrong)
    if way != RANDOM:
        return swapped(result, _source(a, b, label, way), {label}, layers)
    if layers is not None:
        raise line.wrong("single layers are not drawn here; take them from a random style as B")
    return restricted(result, set(result.codes) - {label})


def _value(line: Line) -> str | float:
    """How far from A (0) to B (1), or RANDOM."""
    if line.value.casefold() == RANDOM:
        return RANDOM
    if line.value.upper() in ("A", "B"):
        return float(line.value.upper() == "B")
    try:
        way = float(line.value)
    except ValueError:
        way = -1.0
    if not 0 <= way <= 1:
        raise line.wrong(f"{line.value!r} is neither A, B, {RANDOM} nor a number from 0 (A) to 1 (B)")
    return way


def _seeds(text: str, form: str) -> Iterator[tuple[Line, int]]:
    for line in lines_of(text, ["="], f"lines such as {form}", ()):
        if not _is_number(line.value):
            raise line.wrong(f"{line.value!r} is no seed, a whole number of 0 or more and at most {_DIGITS} digits")
        yield line, int(line.value)


def _is_number(text: str) -> bool:
    """Whether a text is a whole number that fits 64 bits; "²" is a digit, too, and none."""
    return text.isdecimal() and len(text) <= _DIGITS


def _class_of(name: str, palette: Palette | None, wrong: Callable[[str], ValueError]) -> int:
    if palette is None:
        if not _is_number(name):
            raise wrong(f"the names of the classes are not known here, so {name!r} cannot be found; write ids")
        return int(name)
    try:
        return class_id(name, palette)
    except ValueError as error:
        raise wrong(str(error)) from error


def _towards(a: StyleCodes, b: StyleCodes | None, weight: float) -> StyleCodes:
    """All of a style at a weight; what only one of the two has is taken from it, but at 0, which is a."""
    if weight == 0:
        return a
    return merged(interpolated(a, _needed(b), weight), b)


def _source(a: StyleCodes, b: StyleCodes | None, label: int, weight: float) -> StyleCodes:
    """A style whose code of one class lies at a weight between the two."""
    if weight == 0:
        return a
    return _needed(b) if weight == 1 else interpolated(a, _needed(b), weight, {label})


def _needed(b: StyleCodes | None) -> StyleCodes:
    if b is None:
        raise ValueError("there is no second style (B); connect one, or leave the weight at 0")
    return b
