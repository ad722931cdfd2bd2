"""What a run leaves to be read: CSV files, their plot, TensorBoard's files if they are wanted."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..picture_files import write_picture
from ..text_files import read_text
from .plots import plot_series


class Table:
    """A CSV file with one row per logged step.

    :param step: rows after this step are dropped: the run goes on from there.
    """

    def __init__(self, path: Path, step: int):
        self.path = path
        self.rows = []
        if path.exists():
            try:
                self.rows = [row for row in read_table(path) if int(row["step"]) <= step]
            except (KeyError, ValueError) as error:
                raise ValueError(
                    f"training: {path} is damaged ({error}); remove it, the run goes on without"
                ) from error
        self._rewrite()

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add a row, or write the last one anew when it is of the same step."""
        row = {"step": str(step)} | {name: f"{value:.9g}" for name, value in values.items()}
        again = bool(self.rows) and self.rows[-1]["step"] == row["step"]
        if again:
            self.rows.pop()
        known = bool(self.rows) and list(self.rows[-1]) == list(row)
        self.rows.append(row)
        if again or not known:
            self._rewrite()
            return
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, list(row)).writerow(row)

    def series(self, name: str) -> list[tuple[int, float]]:
        """(step, value) of one column."""
        return [(int(row["step"]), float(row[name])) for row in self.rows if row.get(name)]

    def _rewrite(self) -> None:
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        partial = self.path.with_name(f".{self.path.name}.partial")
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            if names:
                writer.writeheader()
            writer.writerows(self.rows)
        os.replace(partial, self.path)


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, without a last one that was cut off.

    :raises ValueError: too large, or no CSV file.
    """
    try:
        whole, _, _ = read_text(path).rpartition("\n")  # the last line may have been cut off within a number
        rows = list(csv.DictReader(io.StringIO(whole, newline="")))
    except csv.Error as error:
        raise ValueError(f"{path}: not a CSV file: {error}") from error
    return [row for row in rows if None not in row.values() and None not in row]


class Records:
    """Everything a run logs, in its folder: `losses.csv`, `validation.csv`, `loss.png`, `tensorboard/`."""

    def __init__(self, folder: Path, step: int, tensorboard: bool):
        self.folder = folder
        self.losses = Table(folder / "losses.csv", step)
        self.validation = Table(folder / "validation.csv", step)
        self.writer: Any = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise ValueError(
                    "training: log.tensorboard needs the package tensorboard; install the extra `train`, or set "
                    f"log.tensorboard=false ({error})"
                ) from error
            self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """A row of training values."""
        self.losses.add(step, values)
        self._scalars("training", step, values)

    def log_validation(self, step: int, values: Mapping[str, float]) -> None:
        """Add a row of held-out losses, by name."""
        self.validation.add(step, values)
        self._scalars("validation", step, values)

    def plot(self, headline: str) -> None:
        """Draw the loss, and the headline of the validation where there is one."""
        panels = {"loss": {"training": self.losses.series("loss")}}
        held_out = self.validation.series(headline)
        if held_out:
            name = "loss" if headline == "loss" else headline
            panels.setdefault(name, {})["held out"] = held_out
        write_picture(plot_series(panels), self.folder / "loss.png")

    def close(self) -> None:
        """Close what is open for TensorBoard; the tables are written as they come."""
        if self.writer is not None:
            self.writer.close()

    def _scalars(self, group: str, step: int, values: Mapping[str, float]) -> None:
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(f"{group}/{name}", value, step)
            self.writer.flush()
