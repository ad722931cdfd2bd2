"""Following a run of the training package from inside ComfyUI: its progress bar, its previews, its cancel."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import comfy.model_management as management
import comfy.utils
from PIL import Image

from ...pictures import BACKGROUND

_PREVIEW_SECONDS, _PREVIEW_SIDE = 2.0, 1400
T = TypeVar("T")


@dataclass
class Cancel:
    """ComfyUI's cancel, which is raised from within its layers and its progress bar.

    :param holding: whether it has to wait for the end of a training step.
    :param asked: whether it came meanwhile.
    """

    holding: bool = False
    asked: bool = False

    def held(self, call: Callable[[], T]) -> T:
        """The result of a call that is not to be torn off."""
        try:
            return call()
        except management.InterruptProcessingException:  # with which ComfyUI has taken the wish back
            if not self.holding:
                raise
            self.asked = True
            return call()

    def wanted(self) -> bool:
        """Whether the user has pressed Cancel; once asked it stays."""
        self.asked = self.asked or management.processing_interrupted()
        return self.asked


class Watch:
    """Follows a run: ComfyUI's progress bar, with the loss and the last samples for a preview, and its cancel."""

    def __init__(self, folder: Path, steps: int, cancel: Cancel):
        self.folder, self.steps, self.cancel = folder, steps, cancel
        self.bar = comfy.utils.ProgressBar(steps)
        self.losses = rows_of(folder)
        self.drawn = -_PREVIEW_SECONDS

    def __call__(self, step: int, values: Mapping[str, float]) -> bool:
        self.losses.append((step, values["loss"]))
        if not self.cancel.wanted():
            preview = None
            if time.monotonic() - self.drawn >= _PREVIEW_SECONDS or step == self.steps:
                preview = ("JPEG", picture_of(self.folder, self.losses), _PREVIEW_SIDE)
                self.drawn = time.monotonic()
            self.cancel.held(lambda: self.bar.update_absolute(step, self.steps, preview))
        return self.cancel.wanted()


def rows_of(folder: Path) -> list[tuple[int, float]]:
    """(step, loss) of each row of a run's log."""
    from ...training.records import read_table

    path = folder / "losses.csv"
    return [(int(row["step"]), float(row["loss"])) for row in read_table(path)] if path.exists() else []


def picture_of(folder: Path, losses: list[tuple[int, float]]) -> Image.Image:
    """The plot of the loss, and below it the run's last contact sheet."""
    from ...training.plots import plot_series

    plot = plot_series({"loss": {"training": losses}})
    sheets = sorted((folder / "pictures").glob("step-*.png"))
    if not sheets:
        return plot
    with Image.open(sheets[-1]) as opened:
        sheet = opened.convert("RGB")
    sheet.thumbnail((plot.width, _PREVIEW_SIDE - plot.height))
    canvas = Image.new("RGB", (plot.width, plot.height + sheet.height), BACKGROUND)
    canvas.paste(plot, (0, 0))
    canvas.paste(sheet, ((plot.width - sheet.width) // 2, plot.height))
    return canvas
