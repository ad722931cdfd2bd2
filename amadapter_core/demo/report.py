"""What the figures of many triples say: the table, the paired comparisons, the gates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..metrics.statistics import Interval, Paired, bootstrap, markdown_table, paired
from ..palettes import Palette
from .measuring import CODEC, Figures
from .rows import BOOSTED, CATEGORICAL, IMPLICIT, NONE, SPATIAL

Results = Sequence[Mapping[str, Figures]]
"""One per triple: figures by row."""


@dataclass(frozen=True)
class Column:
    """One measure.

    :param name: in the figures; title in tables.
    :param higher: whether higher is better.
    """

    name: str
    title: str
    digits: int
    higher: bool = False


COLUMNS = (
    Column("colour", "appearance error", 2),
    Column("distribution", "distribution", 2),
    Column("texture", "texture", 2),
    Column("pixel", "pixel error", 2),
    Column("loss", "held-out loss", 4),
    Column("class_share", "right class", 3, higher=True),
    Column("object_share", "right object", 3, higher=True),
    Column("exemplar_share", "exemplar's share", 3, higher=True),
    Column("accuracy", "layout", 3, higher=True),
    Column("seconds", "seconds", 2),
)

SIGNIFICANT = 0.01
LAYOUT_MARGIN = 0.03
CLOSED = 0.5


def values(results: Results, row: str, column: str, part: str | None = None) -> list[float | None]:
    """One value per triple, None where there is none.

    :param part: of a column that is split, such as "classes" by label id.
    """
    found = (figures.get(row, {}).get(column) for figures in results)
    return [None if x is None else x if part is None else x.get(part) for x in found]


def summary(results: Results) -> dict[str, dict[str, Interval]]:
    """Mean and 95 % interval of each measure, by row."""
    return {
        row: {column.name: bootstrap(values(results, row, column.name)) for column in COLUMNS} for row in results[0]
    }


def split(results: Results, column: str) -> dict[str, dict[str, Interval]]:
    """The same of a column that is split, "classes" or "losses", by row and part."""
    parts = sorted({part for figures in results for row in figures.values() for part in row.get(column, {})}, key=int)
    rows = [row for row in results[0] if any(figures[row].get(column) for figures in results)]
    return {row: {part: bootstrap(values(results, row, column, part)) for part in parts} for row in rows}


def comparisons(results: Results, row: str) -> dict[str, dict[str, Paired]]:
    """A row against every other, by the other row and the measure."""
    return {
        other: {
            column.name: paired(
                values(results, row, column.name), values(results, other, column.name), higher=column.higher
            )
            for column in COLUMNS
        }
        for other in results[0]
        if other != row
    }


def tables(results: Results, titles: Mapping[str, str]) -> str:
    """The tables in Markdown.

    :param titles: of rows, by name.
    """
    means = summary(results)
    columns = [column for column in COLUMNS if any(row[column.name].n for row in means.values())]
    found = [
        markdown_table(
            ["row", *(column.title for column in columns)],
            ([titles.get(row, row), *(means[row][c.name].text(c.digits) for c in columns)] for row in means),
        )
    ]
    names = dict(zip(map(str, Palette.load("cityscapes19").ids), Palette.load("cityscapes19").names, strict=True))
    for column, title, digits in (("classes", "appearance error", 1), ("losses", "loss at timestep", 4)):
        by_row = split(results, column)
        if not by_row:
            continue
        parts = list(next(iter(by_row.values())))
        found.append(
            markdown_table(
                [title, *(names.get(part, part) if column == "classes" else part for part in parts)],
                (
                    [titles.get(row, row), *(_short(entry[part], digits) for part in parts)]
                    for row, entry in by_row.items()
                ),
            )
        )
    if SPATIAL in results[0]:
        compared = comparisons(results, SPATIAL)
        found.append(
            markdown_table(
                [f"{SPATIAL} less ...", *(c.title for c in columns if c.name != "seconds")],
                (
                    [titles.get(row, row), *(entry[c.name].text(c.digits) for c in columns if c.name != "seconds")]
                    for row, entry in compared.items()
                    if row != CODEC
                ),
            )
        )
    return "\n\n".join(found)


def gates(results: Results) -> dict[str, dict[str, Any]]:
    """The questions that decide whether the matcher earns its place; each has `passed` and the figures behind it.

    Questions whose rows are missing are left out.
    """
    if SPATIAL not in results[0]:
        return {}
    against = comparisons(results, SPATIAL)
    found: dict[str, dict[str, Any]] = {}
    for row in (f"{IMPLICIT} + k", f"{CATEGORICAL} + k"):
        if row not in against:
            continue
        for column in ("colour", "class_share", "object_share"):
            compared = against[row][column]
            better = compared.difference.mean > 0 if column.endswith("share") else compared.difference.mean < 0
            found[f"{column} beats {row}"] = {"passed": better and compared.p < SIGNIFICANT, "paired": compared}
    loss = against[IMPLICIT]["loss"]
    if loss.difference.n:
        worse = loss.difference.mean > 0 and loss.p < 0.05
        found[f"loss no worse than {IMPLICIT}"] = {"passed": not worse, "paired": loss}
    means = {row: bootstrap(values(results, row, "colour")).mean for row in (NONE, SPATIAL, CODEC)}
    distance = means[NONE] - means[CODEC]
    closed = (means[NONE] - means[SPATIAL]) / distance if distance > 0 else math.nan
    found["closes half of the distance to the codec"] = {"passed": closed >= CLOSED, "closed": closed}
    layout = against[NONE]["accuracy"]
    if layout.difference.n:
        found[f"layout within {LAYOUT_MARGIN} of {NONE}"] = {
            "passed": layout.difference.mean >= -LAYOUT_MARGIN,
            "paired": layout,
        }
    return found


def best_strengths(results: Results, candidates: Mapping[str, tuple[str, float]]) -> dict[str, float]:
    """The log strength of the least appearance error, by the row it boosts.

    :param candidates: (row that is boosted, log strength) by the row's name in the results.
    """
    errors: dict[str, list[tuple[float, float]]] = {boosted: [] for boosted in BOOSTED.values()}
    for row, (boosted, k) in candidates.items():
        errors[boosted].append((bootstrap(values(results, row, "colour")).mean, k))
    return {boosted: min(found)[1] for boosted, found in errors.items() if found}


def _short(interval: Interval, digits: int) -> str:
    return "-" if interval.n == 0 else f"{interval.mean:.{digits}f}"
