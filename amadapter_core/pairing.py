"""Many exemplars and many targets: which meet, in what order, under which names and with which seeds.

Rows come exemplar by exemplar, so that what is computed for one serves all of its targets.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ALL, IN_ORDER = "every exemplar with every target", "in order"
PAIRINGS = (ALL, IN_ORDER)

SAME, BY_TARGET, BY_EXEMPLAR, BY_ROW = "the same", "by target", "by exemplar", "by row"
SEEDS = (SAME, BY_TARGET, BY_EXEMPLAR, BY_ROW)
"""Which rows share their seed."""

_UNSUITED = re.compile(r"[^\w.-]+")


@dataclass(frozen=True)
class Meeting:
    """One exemplar with one target.

    :param exemplar: its place in the list of exemplars; `target` likewise.
    :param name: of the row, "EXEMPLAR/TARGET"; unique, and fit for a file.
    """

    exemplar: int
    target: int
    name: str
    seed: int


def meetings(
    exemplars: Sequence[str],
    targets: Sequence[str],
    *,
    pairing: str = ALL,
    retrieved: Mapping[str, Sequence[str]] | None = None,
    count: int | None = None,
    seed: int = 0,
    seeds: str = SAME,
    repeats: int = 1,
) -> list[Meeting]:
    """Pair exemplars with targets, exemplar by exemplar.

    A seed that is not the same for all is drawn from names, so it stays when others are added.

    :param exemplars: names, each once unless they come in order; `targets` likewise.
    :param pairing: ALL, or IN_ORDER: as many exemplars as targets, or a multiple, the first of them for the first.
    :param retrieved: instead, exemplars by target, the best first; names may have folders and endings that it leaves
        out.
    :param count: of these, how many for each target; None takes all.
    :param seeds: one of SEEDS.
    :param repeats: rows of each pair, each with a seed of its own.
    :raises ValueError: no exemplar or target, names that come twice or are not there, or numbers that do not fit.
    """
    if not exemplars or not targets:
        raise ValueError(f"pairing: {len(exemplars)} exemplars and {len(targets)} targets; give at least one of each")
    if seeds not in SEEDS:
        raise ValueError(f"pairing: seeds is {seeds!r}, expected one of {', '.join(SEEDS)}")
    if repeats < 1:
        raise ValueError(f"pairing: {repeats} rows of each pair, expected 1 or more")
    if retrieved is not None:
        pairs = _retrieved(exemplars, targets, retrieved, count)
    elif pairing == ALL:
        pairs = [(e, t) for e in range(len(exemplars)) for t in range(len(targets))]
    elif pairing == IN_ORDER:
        pairs = _in_order(exemplars, targets)
    else:
        raise ValueError(f"pairing: pairing is {pairing!r}, expected one of {', '.join(PAIRINGS)}")
    if twice := [pair for pair, times in Counter((exemplars[e], targets[t]) for e, t in pairs).items() if times > 1]:
        told = ", ".join(f"{exemplar} with {target}" for exemplar, target in twice[:5])
        raise ValueError(f"pairing: {len(twice)} pairs come more than once: {told}; give each one a name of its own")
    own, others = file_names(exemplars), file_names(targets)
    made = []
    for e, t in pairs:
        drawn_from = {
            SAME: "",
            BY_TARGET: targets[t],
            BY_EXEMPLAR: exemplars[e],
            BY_ROW: f"{exemplars[e]}\n{targets[t]}",
        }[seeds]
        for repeat in range(repeats):
            name = f"{own[e]}/{others[t]}" + (f"-{repeat + 1}" if repeats > 1 else "")
            made.append(Meeting(e, t, name, _seed(seed, drawn_from) + repeat))
    return made


def file_names(names: Sequence[str]) -> list[str]:
    """Make of any names such that are fit for files; what differs still does, in more than capitals."""
    made: dict[str, str] = {}
    taken: set[str] = set()
    for name in dict.fromkeys(names):
        plain = _UNSUITED.sub("_", name).strip("._-")[:80] or "unnamed"
        unique, number = plain, 1
        while unique.casefold() in taken:
            number += 1
            unique = f"{plain}-{number}"
        taken.add(unique.casefold())
        made[name] = unique
    return [made[name] for name in names]


def _in_order(exemplars: Sequence[str], targets: Sequence[str]) -> list[tuple[int, int]]:
    share, rest = divmod(len(exemplars), len(targets))
    if not share or rest:
        raise ValueError(
            f"pairing: {len(exemplars)} exemplars cannot be shared out among {len(targets)} targets in order; give as "
            "many, or a multiple"
        )
    first = {name: place for place, name in reversed(list(enumerate(exemplars)))}
    return sorted(((e, e // share) for e in range(len(exemplars))), key=lambda pair: (first[exemplars[pair[0]]], pair))


def _retrieved(
    exemplars: Sequence[str], targets: Sequence[str], retrieved: Mapping[str, Sequence[str]], count: int | None
) -> list[tuple[int, int]]:
    own, others = _Places(exemplars, "exemplar"), _Places(targets, "target")
    pairs = []
    for target, names in retrieved.items():
        if (place := others.find(target)) is not None:
            pairs += [(own.of(name), place) for name in dict.fromkeys(names[:count])]
    if not pairs:
        raise ValueError(
            f"pairing: none of the {len(targets)} targets ({_some(targets)}) is among those that exemplars were "
            f"retrieved for ({_some(list(retrieved))})"
        )
    return sorted(set(pairs))


class _Places:
    """Finds names that may lack the folders in front of them, or have an ending."""

    def __init__(self, names: Sequence[str], role: str):
        self.role = role
        self.names = {name: place for place, name in enumerate(names)}
        short = Counter(_short(name) for name in names)
        self.short = {_short(name): place for name, place in self.names.items() if short[_short(name)] == 1}

    def find(self, name: str) -> int | None:
        return self.names.get(name, self.short.get(_short(name)))

    def of(self, name: str) -> int:
        place = self.find(name)
        if place is None:
            raise ValueError(
                f"pairing: no {self.role} is called {name!r}, or more than one; there are {_some(list(self.names))}"
            )
        return place


def _short(name: str) -> str:
    last = name.rpartition("/")[2]
    stem, dot, ending = last.rpartition(".")
    return stem if dot and ending.lower() in ("png", "jpg", "jpeg", "webp", "bmp") else last


def _seed(base: int, drawn_from: str) -> int:
    return (base + zlib.crc32(drawn_from.encode())) % 2**32 if drawn_from else base


def _some(names: Sequence[str], count: int = 5) -> str:
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")
