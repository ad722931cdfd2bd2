"""The ways of looking at an exemplar that are compared with each other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..matching import Mode, Variant


@dataclass(frozen=True)
class Row:
    """One way.

    :param name: in tables, files and options.
    :param mode: None looks at no exemplar.
    :param variant: of matching, and of the matcher in mode learned.
    :param boosted: under which name its log strength k is kept; None has strength 1.
    :param log_strength: k, added to the logits of the exemplar's keys.
    """

    name: str
    mode: Mode | None = None
    variant: Variant = Variant.SPATIAL
    boosted: str | None = None
    log_strength: float = 0.0

    @property
    def strength(self) -> float:
        """What the exemplar's keys count by: e to the power of `log_strength`."""
        return math.exp(self.log_strength)

    @property
    def title(self) -> str:
        """The name, with the constant where there is one."""
        return f"{self.name} = {self.log_strength:g}" if self.boosted else self.name


NONE, IMPLICIT, CATEGORICAL = "no exemplar", "implicit", "categorical"
PUBLISHED, SPATIAL = "learned published", "learned spatial"
BOOSTED = {f"{name} + k": name for name in (IMPLICIT, CATEGORICAL, SPATIAL)}
"""Rows with a constant added to the exemplar's logits, by the row they are made of."""

ROWS = (
    Row(NONE),
    Row(IMPLICIT, Mode.IMPLICIT),
    Row(f"{IMPLICIT} + k", Mode.IMPLICIT, boosted=IMPLICIT),
    Row(CATEGORICAL, Mode.CATEGORICAL),
    Row(f"{CATEGORICAL} + k", Mode.CATEGORICAL, boosted=CATEGORICAL),
    Row(PUBLISHED, Mode.LEARNED, Variant.PUBLISHED),
    Row(SPATIAL, Mode.LEARNED),
    Row(f"{SPATIAL} + k", Mode.LEARNED, boosted=SPATIAL),
)


def rows(strengths: Mapping[str, float], matchers: Mapping[str, object]) -> list[Row]:
    """The rows of a table.

    :param strengths: log strength k by the name of the row it boosts; boosted rows without one are left out.
    :param matchers: by variant; rows whose matcher is missing are left out.
    """
    chosen = []
    for row in ROWS:
        if row.boosted is not None and row.boosted not in strengths:
            continue
        if row.mode is Mode.LEARNED and row.variant.value not in matchers:
            continue
        chosen.append(row if row.boosted is None else replace(row, log_strength=float(strengths[row.boosted])))
    return chosen
