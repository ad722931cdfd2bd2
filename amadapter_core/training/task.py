"""What a training run needs to know of its task: the networks that learn, their samples, their losses."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from ..checkpoints import Kind
from .config import Config, Optimiser

Batch = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """This process among those of the run.

    :param wait: returns when all processes have come to the same point.
    """

    rank: int = 0
    ranks: int = 1
    wait: Callable[[], None] = lambda: None
    device: torch.device = torch.device("cpu")


@dataclass(frozen=True)
class Part:
    """One network that learns, and its file in a checkpoint.

    :param file: accelerate calls what the published code trains `model.safetensors` (ControlNeXt) and
        `model_1.safetensors` (UNet); the others have names of their own.
    :param kind: what the file is, where the pack's loaders read it.
    :param whole: whether the file holds all parameters, or those that learn alone.
    """

    network: nn.Module
    file: str
    kind: Kind | None = None
    whole: bool = True

    def state_dict(self) -> dict[str, Tensor]:
        """What the file holds: all parameters, or those that learn."""
        state = self.network.state_dict()
        if self.whole:
            return state
        learning = {name for name, parameter in self.network.named_parameters() if parameter.requires_grad}
        return {name: tensor for name, tensor in state.items() if name in learning}


@dataclass(frozen=True)
class Turn:
    """Who learns in a turn of a step: nearly every task has one turn, of adversaries each has its own.

    :param name: what `forward` is told, and what stands before the names of the turn's values in the log; the first
        turn has none.
    :param parameters: that its optimiser moves.
    :param settings: of that optimiser.
    """

    name: str
    parameters: list[nn.Parameter]
    settings: Optimiser


class Task(nn.Module, ABC):
    """One kind of training. Its `forward` is the training step's loss, so that accelerate may wrap the whole.

    samples: the training samples by slot, plain tensors and strings; made in the data loader's processes.
    held_out: the same for validation, by index, or None.
    headline: the validation value by which to judge a run.
    """

    samples: Sequence[Batch]
    held_out: Sequence[Batch] | None = None
    headline: str = "loss"
    variant: str | None = None

    def __init__(self, config: Config, place: Place):
        super().__init__()
        self.config, self.place = config, place

    @property
    @abstractmethod
    def parts(self) -> dict[str, Part]:
        """The networks that learn, by name."""

    @property
    def turns(self) -> list[Turn]:
        """The turns of a step, in their order."""
        return [Turn("", [p for p in self.parameters() if p.requires_grad], self.config.optimiser)]

    @property
    def averaged(self) -> list[nn.Parameter]:
        """Parameters of which a moving average is kept, where the settings ask for one."""
        return self.turns[0].parameters

    @property
    def metadata(self) -> dict[str, str]:
        """What the files of the networks say besides how they were trained."""
        return {}

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Mean losses of a batch; "loss" is what is minimised, the others are reported."""

    @abstractmethod
    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Values of each held-out sample, [B] each."""

    @abstractmethod
    def export(self, folder: Path, step: int) -> None:
        """Write what was learned into a folder, ready to be used."""

    def picture(self) -> Image.Image | None:
        """A contact sheet of held-out samples; None where there is nothing to show."""
        return None

    def name_of(self, slot: int) -> str:
        """Which example a training sample comes from, for messages."""
        return f"sample {slot}"


def copy_model(source: str | Path, folder: Path, without: Sequence[str]) -> None:
    """Copy a model folder's components and single files.

    :param without: names of components and files that are written anew.
    """
    for item in sorted(Path(source).iterdir()):
        if item.name in without or item.name.startswith("."):
            continue
        if item.is_dir():
            shutil.copytree(item, folder / item.name, dirs_exist_ok=True)
        else:
            shutil.copy2(item, folder / item.name)


def model_folder(config: Config, component: str) -> Path:
    """A component's folder in the model that training begins from.

    :raises FileNotFoundError: when it is not there.
    """
    if config.model is None:
        raise ValueError(f"training {config.task}: model is missing; name a diffusers model folder with {component}/")
    folder = Path(config.model) / component
    if not folder.is_dir():
        raise FileNotFoundError(
            f"training {config.task}: no folder {folder.absolute()}; model should be a diffusers model folder, "
            f"such as `python -m amadapter_core.demo init FOLDER` makes one"
        )
    return folder


def lay_out(network: nn.Module, device: torch.device) -> None:
    """Keep channels last on a GPU, where convolutions are faster so; on a CPU group normalisation is ten times slower
    so."""
    if device.type == "cuda":
        network.to(memory_format=torch.channels_last)
