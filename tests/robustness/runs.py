"""Small things to write and to read back: a training run of one layer, an index of three pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from amadapter_core.datasets import PairedFiles
from amadapter_core.datasets.pairs import Pair
from amadapter_core.datasets.reading import Ids
from amadapter_core.palettes import Palette
from amadapter_core.retrieval.index import DIGEST, Index
from amadapter_core.retrieval.layouts import GRID, Layouts
from amadapter_core.training.checkpoint import (
    Progress,
    checkpoint_folder,
    checkpoints,
    load_checkpoint,
    restore,
    save_checkpoint,
)
from amadapter_core.training.config import Config
from amadapter_core.training.schedule import Average
from amadapter_core.training.task import Part, Place, Task

STEP = checkpoint_folder(Path(), 7).name


class OneLayer(Task):
    """A task that learns one layer of which all numbers are the step's."""

    def __init__(self, value: float = 0.0):
        super().__init__(Config("autoencoder", "run", steps=9), Place())
        self.layer = nn.Linear(64, 64)
        with torch.no_grad():
            for parameter in self.layer.parameters():
                parameter.fill_(value)

    @property
    def parts(self) -> dict[str, Part]:
        return {"layer": Part(self.layer, "model.safetensors")}

    def forward(self, batch: Any) -> dict[str, Tensor]:
        return {"loss": self.layer.weight.sum()}

    validate = forward

    def export(self, folder: Path, step: int) -> None:
        torch.save(step, folder / "step")


def checkpoint(folder: Path, step: int = 7, value: float | None = None, keep: int = 2) -> None:
    """Write a checkpoint as a run does; its numbers are those of the step."""
    task = OneLayer(step if value is None else value)
    optimiser = torch.optim.AdamW(task.parameters(), lr=0.0)
    task({})["loss"].backward()
    optimiser.step()
    average = Average(task, 0.9)
    save_checkpoint(folder, task, Progress(step, {"loss": 1.0}, 1), {"": optimiser}, average, None, keep)


def resume(folder: Path) -> tuple[Progress, float]:
    """Go on from the last checkpoint, as a run does.

    :return: its progress, and the number that its weights, its average and its moments' parameters have.
    """
    restore(folder)
    task = OneLayer(-1)
    optimiser, average = torch.optim.AdamW(task.parameters()), Average(task, 0.9)
    progress = load_checkpoint(checkpoints(folder)[-1], task, {"": optimiser}, average, None)
    task({})["loss"].backward()
    optimiser.step()
    values = {float(next(iter(average.values.values()))[0, 0])}
    return progress, values.pop()


def index(root: Path, number: int = 3) -> Index:
    """An index of a few pairs that are not there."""
    palette = Palette.load("nyu40")
    pairs = tuple(Pair(f"a/{i}", root / f"images/{i}.png", (root / f"labels/{i}.png",)) for i in range(number))
    layouts = Layouts(
        torch.zeros(number, GRID, GRID, dtype=torch.uint8), torch.full((number, len(palette)), 0.025).half()
    )
    digests = torch.full((number, DIGEST), number % 256, dtype=torch.uint8)
    files = PairedFiles("folder", palette, pairs, Ids())
    return Index(files, root, layouts, digests, digests, "look", torch.ones(number, 4).half() / 2, {"x": "broken"})
