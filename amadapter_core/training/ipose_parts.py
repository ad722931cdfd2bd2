"""iPOSE's part network: the parts of a shape after a few others of its category, shapes whose parts are known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..checkpoints import save_tensors
from ..generators.ipose import Supports, load_part_network, load_supports
from ..generators.ipose.conventions import category_name
from ..generators.ipose.part_maps import PALETTE
from ..generators.ipose.part_network import PARTS, SIDE, PartNetwork
from ..generators.ipose.supports import read_parts
from .checkpoint import metadata_of
from .config import Config
from .randomness import AUGMENT, draws, index_of
from .sheets import sheet
from .task import Batch, Part, Place, Task

PART_NETWORK_FILE = "part_network.safetensors"
LARGE = 72
"""Side to which a shape is brought before a part of it is cut out."""


class PartPictures:
    """Pictures of part ids in folders named by category: `24/anything_part.png`.

    :param root: the folder of these folders.
    :raises FileNotFoundError: when there are none.
    """

    def __init__(self, root: str | None, setting: str):
        if root is None:
            raise ValueError(
                f"training ipose_parts: {setting} is missing; name a folder with 24/*part.png and the like"
            )
        folders = sorted(
            (f for f in Path(root).glob("*") if f.name.isdecimal() and f.is_dir()), key=lambda f: int(f.name)
        )
        self.files = [(int(folder.name), file) for folder in folders for file in sorted(folder.rglob("*part.png"))]
        if not self.files:
            raise FileNotFoundError(
                f"training ipose_parts: no pictures *part.png in folders of {Path(root).absolute()} that are named by "
                f"category numbers, such as 24/; {setting} should be such a folder of the part data set"
            )
        self.by_category: dict[int, list[int]] = defaultdict(list)
        for place, (category, _) in enumerate(self.files):
            self.by_category[category].append(place)

    def __len__(self) -> int:
        return len(self.files)

    def labels(self, index: int) -> Tensor:
        """[64, 64] int64 part ids."""
        return read_parts(self.files[index][1]).long()


class Lessons:
    """Training samples by slot: a shape, its supports, an order of the parts.

    Supports are the category's own ones, or, with a chance, other pictures of it.
    """

    def __init__(self, config: Config, pictures: PartPictures, supports: Supports):
        self.config, self.pictures, self.supports = config, pictures, supports

    def __getitem__(self, slot: int) -> Batch:
        settings, rng = self.config.ipose_parts, draws(self.config.seed, AUGMENT, slot)
        index = self.index(slot)
        category = self.pictures.files[index][0]
        supports = self.supports.labels[category].long()
        others = [other for other in self.pictures.by_category[category] if other != index]
        if rng.random() < settings.random_supports and len(others) >= len(supports):
            chosen = rng.choice(others, len(supports), replace=False)
            supports = torch.stack([self.pictures.labels(int(other)) for other in chosen])
        labels = changed(self.pictures.labels(index), rng, settings.rotate)
        return {
            "labels": labels,
            "supports": supports,
            "order": torch.from_numpy(rng.permutation(PARTS)),
            "replaced": torch.tensor(int(rng.integers(len(supports)))),
        }

    def index(self, slot: int) -> int:
        """Which picture of parts a slot of the shuffled data set shows."""
        return index_of(slot, len(self.pictures), self.config.seed)


class Exam:
    """Held-out samples by index, with the category's own supports and the parts in their order."""

    def __init__(self, pictures: PartPictures, supports: Supports):
        self.pictures, self.supports = pictures, supports

    def __getitem__(self, index: int) -> Batch:
        index %= len(self.pictures)
        category = self.pictures.files[index][0]
        return {"labels": self.pictures.labels(index), "supports": self.supports.labels[category].long()}


def changed(labels: Tensor, rng: np.random.Generator, degrees: float) -> Tensor:
    """Turn, mirror and shift a map of parts [64, 64], without inventing ids."""
    picture = Image.fromarray(labels.byte().numpy())
    picture = picture.resize((LARGE, LARGE), Image.Resampling.NEAREST)
    picture = picture.rotate(rng.uniform(-degrees, degrees), Image.Resampling.NEAREST)
    top, left = (int(v) for v in rng.integers(0, LARGE - SIDE + 1, 2))
    ids = np.array(picture)[top : top + SIDE, left : left + SIDE]
    if rng.random() < 0.5:
        ids = ids[:, ::-1]
    return torch.from_numpy(np.ascontiguousarray(ids)).long()


class PartsTask(Task):
    """A PartNetwork by cross entropy over the parts and binary cross entropy of each.

    Both count twice: with the supports as they are, and with the answer in the place of one of them.
    """

    headline = "accuracy"

    def __init__(self, config: Config, place: Place):
        super().__init__(config, place)
        settings = config.ipose_parts
        pictures = PartPictures(settings.root, "ipose_parts.root")
        held_out = None if settings.held_out is None else PartPictures(settings.held_out, "ipose_parts.held_out")
        supports = self._supports([p for p in (pictures, held_out) if p is not None])
        if settings.start is None:
            self.network = PartNetwork(settings.encoder, settings.decoder)
        else:
            self.network = load_part_network(settings.start).requires_grad_(True)
        self.samples = Lessons(config, pictures, supports)
        if held_out is not None:
            self.held_out = Exam(held_out, supports)

    @property
    def parts(self) -> dict[str, Part]:
        return {"part_network": Part(self.network, PART_NETWORK_FILE)}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        labels, supports, order = batch["labels"], batch["supports"], batch["order"]
        told = supports.clone()
        told[torch.arange(len(labels)), batch["replaced"]] = labels
        channels = order.argsort(1).gather(1, labels.flatten(1)).view_as(labels)  # where each pixel's part is
        hot = F.one_hot(channels, PARTS).permute(0, 3, 1, 2).float()
        losses = {}
        for name, examples in (("", supports), ("told_", told)):
            logits, _ = self.network(labels[:, None] > 0, self.network.remember(examples, order))
            losses[f"{name}parts"] = F.cross_entropy(logits.float(), channels)
            losses[f"{name}masks"] = F.binary_cross_entropy_with_logits(logits.float(), hot)
        return {"loss": sum(losses.values()), **losses}

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        labels, logits = batch["labels"], self._logits(batch)
        right, inside = logits.argmax(1) == labels, labels > 0
        shape = inside.sum((1, 2)).clamp_min(1)
        errors = F.cross_entropy(logits.float(), labels, reduction="none").mean((1, 2))
        return {"accuracy": right.float().mean((1, 2)), "inside": (right & inside).sum((1, 2)) / shape, "loss": errors}

    def picture(self) -> Image.Image | None:
        if self.held_out is None:
            return None
        items = [self.held_out[i] for i in range(self.config.validation.pictures)]
        batch = {name: value.to(self.place.device) for name, value in torch.utils.data.default_collate(items).items()}
        found = self._logits(batch).argmax(1)
        maps = {"found": found, "parts": batch["labels"], "first support": batch["supports"][:, 0]}
        colours = torch.tensor(PALETTE.colours) / 127.5 - 1
        return sheet({name: colours[ids.cpu()].permute(0, 3, 1, 2) for name, ids in maps.items()})

    def export(self, folder: Path, step: int) -> None:
        save_tensors(folder / PART_NETWORK_FILE, self.network.state_dict(), metadata_of(self, step))

    def name_of(self, slot: int) -> str:
        return str(self.samples.pictures.files[self.samples.index(slot)][1])

    def _logits(self, batch: Batch) -> Tensor:
        return self.network(batch["labels"][:, None] > 0, self.network.remember(batch["supports"]))[0]

    def _supports(self, data: Sequence[PartPictures]) -> Supports:
        """The pack that was named, or the first pictures of each category.

        :raises ValueError: when a category has none, or another number than the others.
        """
        settings = self.config.ipose_parts
        categories = sorted({category for pictures in data for category in pictures.by_category})
        if settings.supports is not None:
            supports = load_supports(settings.supports)
            found = supports.of(categories)
        else:
            first = data[0]
            known = {c: [first.labels(i) for i in first.by_category[c][: settings.count]] for c in categories}
            short = [c for c, labels in known.items() if len(labels) < settings.count]
            if short:
                raise ValueError(
                    f"training ipose_parts: category {', '.join(map(category_name, short))} has fewer than "
                    f"{settings.count} pictures to take for supports; name a pack as ipose_parts.supports, or lower "
                    "ipose_parts.count"
                )
            found = [torch.stack(labels) for labels in known.values()]
        counts = {len(labels) for labels in found}
        if len(counts) > 1:
            raise ValueError(
                f"training ipose_parts: the support pack has {sorted(counts)} examples per category; expected as many "
                "for all, so that they can be learned from together"
            )
        return Supports(dict(zip(categories, found, strict=True)))
