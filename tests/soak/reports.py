"""What a campaign writes down: a table of runs and the curve of the server's memory."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from PIL import Image, ImageDraw

WARM_UP = 0.25
"""The share of runs before memory is looked at: libraries are loaded and caches filled in them."""


@dataclass(frozen=True)
class Row:
    """One run of a campaign.

    :param rss: the server's resident memory after it, in MiB.
    :param judgement: what the campaign makes of the outcome, see `campaign.judge`.
    """

    run: int
    kind: str
    aim: str
    nodes: int
    seconds: float
    rss: float
    state: str
    judgement: str
    digest: str
    message: str


def write_table(path: Path, rows: Sequence[Row]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) | {"seconds": f"{row.seconds:.2f}", "rss": f"{row.rss:.1f}"} for row in rows)


def slope(rss: Sequence[float]) -> float:
    """MiB that memory grows by in 100 runs after the warm-up: the median slope of all pairs (Theil and Sen).

    :param rss: MiB after each run.
    """
    tail = list(enumerate(rss))[int(len(rss) * WARM_UP) :]
    slopes = [(b - a) / (j - i) for n, (i, a) in enumerate(tail) for j, b in tail[n + 1 :]]
    return 100 * statistics.median(slopes) if slopes else 0.0


def write_curve(path: Path, rss: Sequence[float], size: tuple[int, int] = (900, 360)) -> None:
    """Draw memory over runs; the warm-up is grey."""
    width, height = size
    left, bottom, top = 60, height - 30, 20
    highest = 100 * (1 + max(rss) // 100)
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    for level in range(0, int(highest) + 1, max(100, int(highest / 5 // 100) * 100)):
        y = bottom - (bottom - top) * level / highest
        draw.line((left, y, width - 10, y), fill=(225, 225, 225))
        draw.text((8, y - 6), f"{level} MiB", fill="black")
    step = (width - left - 20) / max(1, len(rss) - 1)
    points = [(left + step * n, bottom - (bottom - top) * value / highest) for n, value in enumerate(rss)]
    warm = int(len(rss) * WARM_UP)
    draw.line(points[: warm + 1], fill=(160, 160, 160), width=2)
    draw.line(points[warm:], fill=(30, 90, 170), width=2)
    draw.text(
        (left, bottom + 8), f"{len(rss)} runs, {slope(rss):+.1f} MiB per 100 runs after the warm-up", fill="black"
    )
    picture.save(path)
