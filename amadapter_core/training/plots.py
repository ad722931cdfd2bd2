"""A small line plot drawn with Pillow, so that a loss curve needs no further package."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

from ..pictures import BACKGROUND, FRAME, INK

Series = Sequence[tuple[float, float]]
COLOURS = ((31, 119, 180), (214, 39, 40), (44, 160, 44), (148, 103, 189))
PALE = 0.7
MARGIN_LEFT, MARGIN_TOP, MARGIN_BOTTOM, MARGIN_RIGHT = 64, 28, 28, 16


def plot_series(panels: Mapping[str, Mapping[str, Series]], size: tuple[int, int] = (720, 300)) -> Image.Image:
    """Draw one panel per quantity, under each other, and one line per series.

    Long, noisy series are drawn pale with their running mean on top.

    :param panels: by the quantity's name, series by name: (step, value) in order of steps.
    :param size: (width, height) of a panel in pixels.
    """
    width, height = size
    canvas = Image.new("RGB", (width, height * len(panels)), BACKGROUND)
    for number, (title, series) in enumerate(panels.items()):
        panel = Image.new("RGB", size, BACKGROUND)
        _panel(
            ImageDraw.Draw(panel), title, {n: [p for p in s if math.isfinite(p[1])] for n, s in series.items()}, size
        )
        canvas.paste(panel, (0, number * height))
    return canvas


def _panel(draw: ImageDraw.ImageDraw, title: str, series: Mapping[str, Series], size: tuple[int, int]) -> None:
    width, height = size
    box = (MARGIN_LEFT, MARGIN_TOP, width - MARGIN_RIGHT, height - MARGIN_BOTTOM)
    font = ImageFont.load_default(size=12)
    draw.rectangle(box, outline=FRAME)
    draw.text((MARGIN_LEFT, MARGIN_TOP - 9), title, fill=INK, font=font, anchor="ls")
    points = [point for line in series.values() for point in line]
    if not points:
        return
    steps, values = zip(*points, strict=True)
    last = max(max(steps), 1)
    # A few wild values at the start must not flatten the rest.
    ordered = sorted(values)
    low, high = ordered[0], ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    if high <= low:
        low, high = low - 0.5, high + 0.5
    pad = 0.05 * (high - low)
    low, high = low - pad, high + pad

    def place(step: float, value: float) -> tuple[float, float]:
        x = box[0] + (box[2] - box[0]) * step / last
        y = box[3] - (box[3] - box[1]) * (value - low) / (high - low)
        return x, min(max(y, box[1]), box[3])

    for tick in _ticks(low, high):
        y = place(0, tick)[1]
        draw.line((box[0], y, box[2], y), fill=FRAME)
        draw.text((box[0] - 6, y), f"{tick:.4g}", fill=INK, font=font, anchor="rm")
    for tick in _ticks(0, last):
        x = place(tick, low)[0]
        draw.line((x, box[3], x, box[3] + 4), fill=INK)
        draw.text(
            (x, box[3] + 6), f"{tick:.4g}" if tick < 1e4 else f"{tick / 1000:g}k", fill=INK, font=font, anchor="mt"
        )
    right = box[2]
    for number, (name, line) in reversed(list(enumerate(series.items()))):
        colour = COLOURS[number % len(COLOURS)]
        smooth = _running_mean(line)
        if smooth is not line:
            pale = tuple(round(c + (255 - c) * PALE) for c in colour)
            draw.line([place(*point) for point in line], fill=pale)
        draw.line([place(*point) for point in smooth], fill=colour, width=2)
        draw.text((right, MARGIN_TOP - 9), name, fill=colour, font=font, anchor="rs")
        right -= font.getlength(name) + 14


def _running_mean(line: Series) -> Series:
    window = len(line) // 50
    if window < 2:
        return line
    sums, result = 0.0, []
    for i, (step, value) in enumerate(line):
        sums += value
        if i >= window:
            sums -= line[i - window][1]
        result.append((step, sums / min(i + 1, window)))
    return result


def _ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers between two values, about as many as wanted."""
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    first = math.ceil(low / step)
    return [i * step for i in range(first, math.floor(high / step) + 1)]
