"""Style codes: the appearance of each class as numbers, apart from any layout, and what can be done with them.

SCA-DM has 5 scales of 256 numbers for each class, clVAE 5 layers and, for the whole picture, one shared code. What
follows is the same for both: to swap, interpolate and merge classes, or single layers of classes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..checkpoints import CheckpointError, save_tensors
from ..checkpoints.errors import AnyPath
from ..checkpoints.formats import open_file
from ..checkpoints.reading import check_finite, locate
from .system import System

_KIND, _SYSTEM, _FORMAT = "am_adapter.kind", "am_adapter.system", "am_adapter.format"
_SHARED = "shared"


@dataclass(frozen=True, eq=False)
class StyleCodes:
    """The codes of one picture; a batch has a list of them.

    :param system: whose codes they are.
    :param codes: by class id [L, D] each: L layers, coarse or fine first as the system has them, of width D.
    :param shared: [S], what belongs to no class; None where the system has none.
    """

    system: System
    codes: Mapping[int, Tensor]
    shared: Tensor | None = None

    def __post_init__(self) -> None:
        shapes = {tuple(code.shape) for code in self.codes.values()}
        if len(shapes) > 1 or any(len(shape) != 2 for shape in shapes):
            raise ValueError(f"StyleCodes: expected one shape [L, D] for all classes, got {sorted(shapes)}")
        if self.shared is not None and self.shared.ndim != 1:
            raise ValueError(f"StyleCodes: shared is {list(self.shared.shape)}, expected [S]")
        object.__setattr__(self, "system", System(self.system))
        object.__setattr__(self, "codes", dict(sorted(self.codes.items())))

    @property
    def classes(self) -> tuple[int, ...]:
        """The class ids that have a code, ascending."""
        return tuple(self.codes)

    @property
    def shape(self) -> tuple[int, int]:
        """(L, D); (0, 0) when there is no code."""
        return tuple(next(iter(self.codes.values())).shape) if self.codes else (0, 0)


def one_for_each(style: StyleCodes | Sequence[StyleCodes] | None, batch: int, title: str) -> list[StyleCodes | None]:
    """What each item of a batch takes.

    :param style: one for all, one for each, or none.
    :param title: who asks, for messages.
    :raises ValueError: for another number of styles.
    """
    given = [style] if style is None or isinstance(style, StyleCodes) else list(style)
    if len(given) == 1:
        given *= batch
    if len(given) != batch:
        raise ValueError(f"{title}: {len(given)} styles for {batch} label maps; give one for all or one for each")
    return given


def swapped(
    a: StyleCodes,
    b: StyleCodes,
    classes: Collection[int] | None,
    layers: Collection[int] | None = None,
    *,
    shared: bool = False,
) -> StyleCodes:
    """Take a, with some classes as in b.

    :param classes: which ones; None takes all that b has.
    :param layers: which of their layers, from 0; None takes all.
    :param shared: whether to take b's shared code, too.
    :raises ValueError: for a class that b lacks, one that a lacks when only some of its layers are taken, a layer
        that does not exist, or codes of different systems or shapes.
    """
    return _mixed(a, b, 1.0, b.classes if classes is None else classes, layers, shared)


def interpolated(
    a: StyleCodes,
    b: StyleCodes,
    weight: float,
    classes: Collection[int] | None = None,
    layers: Collection[int] | None = None,
    *,
    shared: bool | None = None,
) -> StyleCodes:
    """Go from a to b in a straight line.

    :param weight: 0 is a, 1 is b.
    :param classes: which ones; None takes all that both have. The others stay as in a.
    :param layers: which of their layers, from 0; None takes all.
    :param shared: whether the shared code goes along; None says yes when neither classes nor layers are named.
    :raises ValueError: as `swapped`, and for a weight outside 0..1.
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"style codes: the weight is {weight}, expected 0 (the first) to 1 (the second)")
    if shared is None:
        shared = classes is None and layers is None
    both = [label for label in a.classes if label in b.codes]
    return _mixed(a, b, weight, both if classes is None else classes, layers, shared, both_needed=True)


def merged(first: StyleCodes, *others: StyleCodes) -> StyleCodes:
    """Take each class, and the shared code, from the first that has it.

    :raises ValueError: for codes of different systems or shapes.
    """
    codes, shared = dict(first.codes), first.shared
    for other in others:
        _check_alike(first, other)
        codes = {**other.codes, **codes}
        shared = other.shared if shared is None else shared
    return StyleCodes(first.system, codes, shared)


def restricted(codes: StyleCodes, classes: Collection[int], *, shared: bool = True) -> StyleCodes:
    """Keep some classes alone; those it lacks are left out.

    :param shared: whether the shared code stays.
    """
    kept = {label: code for label, code in codes.codes.items() if label in set(classes)}
    return StyleCodes(codes.system, kept, codes.shared if shared else None)


def save_styles(path: AnyPath, codes: StyleCodes, metadata: Mapping[str, str] | None = None) -> None:
    """Write style codes as safetensors; an existing file is replaced in one step or not at all.

    :param path: ends in .safetensors.
    :param metadata: more strings to keep, e.g. names.
    """
    if Path(path).suffix != ".safetensors":
        raise CheckpointError(f"AM-Adapter: {path} cannot be written. Expected a name that ends in .safetensors.")
    tensors = {f"class.{label}": code for label, code in codes.codes.items()}
    if codes.shared is not None:
        tensors[_SHARED] = codes.shared
    own = {_KIND: "style_codes", _SYSTEM: codes.system.value, _FORMAT: "1"}
    save_tensors(path, tensors, dict(metadata or {}) | own)


def load_styles(path: AnyPath) -> StyleCodes:
    """Read what `save_styles` wrote.

    :raises FileNotFoundError: when there is no such file.
    :raises CheckpointError: when it is another kind of file, or damaged.
    """
    source = open_file(locate(path))
    metadata, names = source.metadata, list(source.tensors)
    foreign = [name for name in names if name != _SHARED and not re.fullmatch(r"class\.\d+", name)]
    known = [system.value for system in System]
    if metadata.get(_KIND) != "style_codes" or metadata.get(_SYSTEM) not in known or foreign:
        raise CheckpointError(
            f"AM-Adapter: {source.path} holds no style codes. Expected metadata {_KIND} = style_codes and {_SYSTEM} of "
            f"{', '.join(known)}. Seen: {', '.join(foreign[:3] or names[:3]) or 'no tensors'}. Save style codes first."
        )
    tensors = source.fetch(names)
    check_finite(source.path, tensors, "Make the style codes again")
    shared = tensors.pop(_SHARED, None)
    try:
        codes = {int(name.removeprefix("class.")): code for name, code in tensors.items()}
        return StyleCodes(System(metadata[_SYSTEM]), codes, shared)
    except (ValueError, OverflowError) as error:
        raise CheckpointError(f"AM-Adapter: {source.path} is damaged: {error}") from error


def _mixed(
    a: StyleCodes,
    b: StyleCodes,
    weight: float,
    classes: Collection[int],
    layers: Collection[int] | None,
    shared: bool,
    both_needed: bool = False,
) -> StyleCodes:
    _check_alike(a, b)
    chosen = set(classes)
    _check_has(b, chosen, "the second")
    if both_needed or layers is not None:
        _check_has(a, chosen, "the first")
    count = b.shape[0]
    rows = range(count) if layers is None else sorted(set(layers))
    if outside := [row for row in rows if not 0 <= row < count]:
        raise ValueError(f"style codes: there is no layer {outside[0]}; {b.system.title} has 0 to {count - 1}")
    codes = dict(a.codes)
    for label in chosen:
        code = codes.get(label, b.codes[label]).clone()
        code[list(rows)] = torch.lerp(code[list(rows)], b.codes[label].to(code)[list(rows)], weight)
        codes[label] = code
    common = a.shared
    if shared and b.shared is not None:
        common = b.shared if a.shared is None else torch.lerp(a.shared, b.shared.to(a.shared), weight)
    return StyleCodes(a.system, codes, common)


def _check_has(codes: StyleCodes, classes: Collection[int], which: str) -> None:
    if missing := sorted(set(classes) - set(codes.classes)):
        has = ", ".join(map(str, codes.classes)) or "none"
        raise ValueError(
            f"style codes: {which} has no code for class {', '.join(map(str, missing[:5]))}; it has {has}. Choose "
            "among these, or take a picture that shows the class"
        )


def _check_alike(a: StyleCodes, b: StyleCodes) -> None:
    if a.system is not b.system:
        raise ValueError(f"style codes of {a.system.title} and {b.system.title} do not mix; make both with one model")
    sizes = [None if s is None else len(s) for s in (a.shared, b.shared)]
    differ = bool(a.codes) and bool(b.codes) and a.shape != b.shape
    if differ or (None not in sizes and sizes[0] != sizes[1]):
        raise ValueError(
            f"style codes of {a.system.title} differ in shape: {list(a.shape)} and {list(b.shape)} per class, shared "
            f"{sizes[0]} and {sizes[1]}; make both with one model"
        )
