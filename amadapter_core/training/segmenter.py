"""The segmenter that judges layout: cross entropy on label maps."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..metrics.segmenter import NO_CLASS, Segmenter
from ..palettes import Palette
from .config import Config
from .datasets import open_pairs
from .pairs import Pairs
from .prepared import Prepared, colour_table
from .randomness import AUGMENT, draws, index_of
from .sheets import sheet
from .task import Batch, Part, Place, Task

SEGMENTER_FILE = "segmenter.safetensors"


class Views:
    """Training pairs by slot."""

    def __init__(self, config: Config, pairs: Pairs):
        self.config, self.pairs = config, pairs
        self.prepared = Prepared(config.data, pairs, None)

    def __getitem__(self, slot: int) -> Batch:
        rng = draws(self.config.seed, AUGMENT, slot)
        return self.prepared(self.index(slot), rng, self.prepared.change(rng))[1]

    def index(self, slot: int) -> int:
        """Which pair a slot of the shuffled data set shows."""
        return index_of(slot, len(self.pairs), self.config.seed)


class HeldOut:
    """Validation pairs by index."""

    def __init__(self, config: Config, pairs: Pairs):
        self.prepared = Prepared(config.validation.data, pairs, None)

    def __getitem__(self, index: int) -> Batch:
        return self.prepared.plain(index % len(self.prepared.pairs))[1]


class SegmenterTask(Task):
    """A Segmenter for the classes of the data set's palette."""

    headline = "agreement"

    def __init__(self, config: Config, place: Place):
        super().__init__(config, place)
        settings, palette = config.segmenter, Palette.load(config.data.palette)
        if settings.start is None:
            self.segmenter = Segmenter.of(palette, settings.width)
        else:
            self.segmenter = Segmenter.load(settings.start).requires_grad_(True)
        self.register_buffer("colours", colour_table(palette), persistent=False)
        meeting = (place.rank, place.ranks, place.wait)
        self.samples = Views(config, open_pairs(config.data, *meeting))
        if config.validation.data is not None:
            self.held_out = HeldOut(config, open_pairs(config.validation.data, *meeting))

    @property
    def parts(self) -> dict[str, Part]:
        return {"segmenter": Part(self.segmenter, SEGMENTER_FILE)}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.segmenter((batch["pixels"] + 1) / 2).float()
        classes = self.segmenter.indices(batch["ids"])
        # Each picture counts the same, whatever share of it has a class, so that parts of a batch add up.
        errors = F.cross_entropy(logits, classes, ignore_index=NO_CLASS, reduction="none").sum((1, 2))
        known = (classes != NO_CLASS).sum((1, 2)).clamp_min(1)
        return {"loss": (errors / known).mean()}

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.segmenter((batch["pixels"] + 1) / 2).float()
        classes = self.segmenter.indices(batch["ids"])
        known = classes != NO_CLASS
        right = ((logits.argmax(1) == classes) & known).sum((1, 2)) / known.sum((1, 2)).clamp_min(1)
        errors = F.cross_entropy(logits, classes, ignore_index=NO_CLASS, reduction="none").sum((1, 2))
        return {"agreement": right, "loss": errors / known.sum((1, 2)).clamp_min(1)}

    def picture(self) -> Image.Image | None:
        if self.held_out is None:
            return None
        items = [self.held_out[i] for i in range(self.config.validation.pictures)]
        batch = {name: value.to(self.place.device) for name, value in torch.utils.data.default_collate(items).items()}
        found = self.segmenter.predict((batch["pixels"] + 1) / 2)
        maps = {"found": found, "label map": batch["ids"].long()}
        drawn = {name: self.colours[ids].permute(0, 3, 1, 2) * 2 - 1 for name, ids in maps.items()}
        return sheet({"picture": batch["pixels"], **drawn})

    def export(self, folder: Path, step: int) -> None:
        dtype = torch.float16 if self.config.checkpoints.half else None
        self.segmenter.save(folder / SEGMENTER_FILE, dtype)

    def name_of(self, slot: int) -> str:
        pairs = self.samples.pairs
        return pairs[self.samples.index(slot)].name
