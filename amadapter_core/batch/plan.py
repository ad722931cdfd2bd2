"""What a plan says: rows of exemplar, target and seed, each with the settings it is made with."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ..label_reading import Reading

_LISTED = 20


@dataclass(frozen=True)
class Settings:
    """How a picture is made.

    :param prompt: of the target; the exemplar's pass beside it has the same.
    :param strength: of the exemplar; 0 is off, 1 is the method.
    :param keep_mass: in mode categorical, keep the exemplar's share of the softmax.
    :param controlnext: scale of the label maps' features.
    :param side: length of the shorter side of exemplar and target in pixels; None keeps each one's own.
    :param encoding: "inversion" (DDIM, without prompt, as published) or "noise" (forward noise, cheap).
    :param encoding_seed: of forward noise.
    :param reading: how label maps are read; `target_reading` where the targets' are read in another way.
    """

    prompt: str = ""
    negative_prompt: str = ""
    mode: Literal["implicit", "categorical", "learned"] = "categorical"
    strength: float = 1.0
    keep_mass: bool = False
    steps: int = 20
    guidance: float = 7.5
    controlnext: float = 1.0
    side: int | None = None
    encoding: Literal["inversion", "noise"] = "inversion"
    encoding_steps: int = 20
    encoding_seed: int = 0
    reading: Reading = field(default_factory=Reading)
    target_reading: Reading | None = None


@dataclass(frozen=True)
class Row:
    """One picture to be made.

    :param name: of its files, see `check_name`.
    :param exemplar: a picture; paths are relative to the plan's root, or absolute.
    :param exemplar_labels: the files of its label map, one unless it has a mask per part; `target_labels` likewise.
    """

    name: str
    exemplar: str
    exemplar_labels: tuple[str, ...]
    target_labels: tuple[str, ...]
    seed: int = 0
    settings: Settings = field(default_factory=Settings)

    @property
    def files(self) -> Iterator[tuple[str, str]]:
        """Role and path of every file that it is made of."""
        yield "exemplar", self.exemplar
        for role in ("exemplar_labels", "target_labels"):
            yield from ((role, path) for path in getattr(self, role))

    @property
    def same_exemplar(self) -> Hashable:
        """Equal for rows that look at one encoded exemplar."""
        s = self.settings
        encoding = (s.encoding, s.encoding_steps, s.encoding_seed, s.side, s.reading)
        return self.exemplar, self.exemplar_labels, encoding

    @property
    def same_banks(self) -> Hashable:
        """Equal for rows that look at the same keys and values of it."""
        s = self.settings
        return self.same_exemplar, s.prompt, s.steps, s.controlnext

    def told(self) -> dict[str, Any]:
        """Name, sources, seed and prompt, as plain values."""
        return {
            "name": self.name,
            "exemplar": self.exemplar,
            "exemplar_labels": _one_or_list(self.exemplar_labels),
            "target_labels": _one_or_list(self.target_labels),
            "seed": self.seed,
            "prompt": self.settings.prompt,
        }


@dataclass(frozen=True)
class Plan:
    """Rows in the order in which a manifest lists them.

    :param root: folder that relative paths start from.
    """

    rows: tuple[Row, ...]
    root: Path = Path()

    def missing(self) -> list[str]:
        """A line for every file that is not there, with the numbers of its rows, which count from 1."""
        rows: dict[tuple[str, str], list[int]] = defaultdict(list)
        for number, row in enumerate(self.rows, 1):
            for file in row.files:
                rows[file].append(number)
        return [
            f"{_rows(numbers)}: {role}: no file {path}"
            for (role, path), numbers in rows.items()
            if not (self.root / path).is_file()
        ]

    def check_files(self) -> None:
        """
        :raises FileNotFoundError: lists the files that are not there, by row.
        :raises ValueError: a class table that is none.
        """
        chosen = {row.settings for row in self.rows}
        for reading in {reading for s in chosen for reading in (s.reading, s.target_reading) if reading is not None}:
            reading.check()
        if missing := self.missing():
            more = f"\n  and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
            listed = "".join(f"\n  {line}" for line in missing[:_LISTED])
            raise FileNotFoundError(
                f"batch: {len(missing)} files of the plan are missing below {self.root.absolute()}; nothing was "
                f"computed:{listed}{more}"
            )

    def keys(self, made_by: str) -> dict[str, str]:
        """By name, a digest of all that decides how a row's picture looks.

        Files count by their names and sizes, so that a data set may lie in another place tomorrow.

        :param made_by: what says the same of the model.
        """

        @cache
        def file(path: str) -> tuple[str, int]:
            place = self.root / path
            return place.name, place.stat().st_size if place.is_file() else 0

        @cache
        def settings(chosen: Settings) -> dict[str, Any]:
            return asdict(chosen)

        keys = {}
        for row in self.rows:
            told = [row.name, row.seed, settings(row.settings), [file(path) for _, path in row.files], made_by]
            keys[row.name] = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:24]
        return keys


def _one_or_list(paths: tuple[str, ...]) -> str | list[str]:
    return paths[0] if len(paths) == 1 else list(paths)


def _rows(numbers: Sequence[int], count: int = 5) -> str:
    more = f" and {len(numbers) - count} more" if len(numbers) > count else ""
    return f"row{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers[:count]))}{more}"
