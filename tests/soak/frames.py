"""What random graphs work on: small pictures, label maps, data folders and model files, made by chance from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from amadapter_core.checkpoints import Kind, save
from amadapter_core.label_maps import LabelMap, Palette
from tests.packs.tiny_sd15 import generators, models
from tests.segmentation_models import saved_segformer

MARK = "soak"
"""Begins the name of every file here: others that a server has are left alone."""
CLASSES = ("sky", "building", "road", "car")
_SIZES = ((64, 64), (64, 96), (128, 128), (96, 64), (72, 104), (128, 64))
_PALETTES = ("cityscapes34", "ade20k150", "cityscapes34", "ade20k150", "cityscapes19")
_PICTURES = 2


@dataclass(frozen=True)
class Frame:
    """What the files of one graph have in common, so that most random graphs make sense.

    :param size: (H, W) of its pictures, in pixels.
    """

    number: int
    size: tuple[int, int]
    palette: str

    def file(self, kind: str, which: int) -> str:
        """A file in the input folder.

        :param kind: "picture", "labels" (colours) or "ids" (grey levels).
        """
        return f"{MARK}{self.number}_{kind}_{which % _PICTURES}.png"

    @property
    def folder(self) -> str:
        """A data set of the kind "folder" in the input folder: images/ and labels/, grey levels as ids."""
        return f"{MARK}{self.number}"

    @property
    def data_set(self) -> str:
        """The name by which tiny generators tell which classes they know."""
        return "ade20k" if self.palette == "ade20k150" else "cityscapes"


FRAMES = tuple(Frame(n, size, _PALETTES[n % len(_PALETTES)]) for n, size in enumerate(_SIZES))


def write_pictures(base: Path, frames: Sequence[Frame] = FRAMES) -> None:
    """Put all pictures that graphs read below a server's base directory."""
    for frame in frames:
        _write_pictures(base / "input", frame)


def write_models(base: Path) -> None:
    """Put a small file of each kind of model below a server's base directory."""
    folder = base / "models"
    for kind, network in (("am_adapter", models.tiny_matcher(0)), ("controlnet", models.tiny_controlnext(0))):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        matcher = kind == "am_adapter"
        options = {"variant": "spatial"} if matcher else {}
        save(folder / kind / f"{MARK}.safetensors", network, Kind.MATCHER if matcher else Kind.CONTROLNEXT, **options)
    (folder / "semantic_generators").mkdir(exist_ok=True)
    for system in ("clvae", "ipose", "scadm"):
        path = folder / "semantic_generators" / f"{MARK}_{system}.safetensors"
        generators.save(generators.stand_in(f"{system}_cityscapes"), path)
    (folder / "loras").mkdir(exist_ok=True)
    save_file(_lora(), folder / "loras" / f"{MARK}.safetensors")
    saved_segformer(folder / "segmentation" / MARK, list(CLASSES))


def layout(size: tuple[int, int], palette: Palette, rng: np.random.Generator) -> torch.Tensor:
    """A street from far away: bands of sky, building and road, and a car. [1, H, W] ids."""
    height, width = size
    sky, building, road, car = (palette.id_of(name) for name in CLASSES)
    upper, lower = sorted(rng.integers(height // 8, height - height // 8, 2))
    ids = np.full(size, building)
    ids[: upper + 1], ids[lower:] = sky, road
    left = int(rng.integers(0, width // 2))
    ids[height - height // 4 : height - height // 16, left : left + width // 3] = car
    return torch.from_numpy(ids)[None]


def _write_pictures(folder: Path, frame: Frame) -> None:
    palette = Palette.load(frame.palette)
    for place in ("images", "labels"):
        (folder / frame.folder / place).mkdir(parents=True, exist_ok=True)
    for which in range(_PICTURES):
        rng = np.random.default_rng([frame.number, which])
        ids = layout(frame.size, palette, rng)
        colours = LabelMap(ids, palette).colours()[0].numpy()
        noise = rng.integers(-40, 40, (*frame.size, 3))
        picture = Image.fromarray((colours * 200 + 20 + noise).clip(0, 255).astype(np.uint8))
        grey = Image.fromarray(ids[0].numpy().astype(np.uint8))
        picture.save(folder / frame.file("picture", which))
        picture.save(folder / frame.folder / "images" / f"{which}.png")
        grey.save(folder / frame.file("ids", which))
        grey.save(folder / frame.folder / "labels" / f"{which}.png")
        Image.fromarray((colours * 255).round().astype(np.uint8)).save(folder / frame.file("labels", which))


def _lora() -> dict[str, torch.Tensor]:
    """A LoRA of rank 2 on one self-attention of the tiny UNet."""
    generator = torch.Generator().manual_seed(0)
    name = "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_k"
    return {
        f"{name}.lora_up.weight": torch.randn(models.WIDTH, 2, generator=generator),
        f"{name}.lora_down.weight": torch.randn(2, models.WIDTH, generator=generator),
    }
