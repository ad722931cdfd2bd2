"""Where a training run and its files lie: a folder in ComfyUI's output folder, and files in its model folders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import folder_paths
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from ...checkpoints import save_tensors
from . import folders

LORA = "lora"
_RUNS = "am_adapter"
"""Folder of the runs in ComfyUI's output folder."""
_CONFIG = "am_adapter.config"
"""Metadata of what training wrote: the settings of its run."""


class RunPlace:
    """Where a run and its files lie.

    :param task: its kind of run.
    :param outcome: file in the run's model folder to a folder of ComfyUI's models and what the file is.
    :raises ValueError: when the name leaves the folders, or belongs to a file that another run made.
    """

    def __init__(self, task: str, name: str, outcome: Mapping[str, tuple[str, str]]):
        root = Path(folder_paths.get_output_directory(), _RUNS, task).resolve()
        stem = name.strip().removesuffix(".safetensors")
        self.task, self.folder = task, (root / stem).resolve()
        if not stem or self.folder == root or not self.folder.is_relative_to(root):
            raise ValueError(f"name is {name!r}, expected the name of a file, or subfolder/name")
        self.sources, self.files = {}, {}
        for source, (models, what) in outcome.items():
            self.files[what] = folders.folders(models)[0] / f"{stem}.safetensors"
            self.sources[what] = self.folder / "model" / source
        for path in self.files.values():
            if path.exists() and _run_of(path) != str(self.folder):
                raise ValueError(f"{path} exists already, and this run did not make it; choose another name")

    def publish(self) -> None:
        """Copy what was learned to the model folders, each file in one step."""
        headers = {what: _header(source) for what, source in self.sources.items()}
        trained = next(header for header in headers.values() if _CONFIG in header)
        about = {key: trained[key] for key in ("am_adapter.task", "am_adapter.step", _CONFIG)}
        for what, path in self.files.items():
            weights = load_file(self.sources[what])
            save_tensors(path, _in_comfys_names(weights) if what == LORA else weights, headers[what] | about)


def _in_comfys_names(lora: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A UNet's LoRA of diffusers in the older names that ComfyUI, and diffusers too, read for SD1.5."""
    names = {"lora_A": "lora_down", "lora_B": "lora_up"}
    renamed = {}
    for key, tensor in lora.items():
        layer, side, _ = key.removeprefix("unet.").rsplit(".", 2)
        layer = f"lora_unet_{layer.replace('.', '_')}"
        renamed[f"{layer}.{names[side]}.weight"] = tensor
        if side == "lora_A":
            renamed[f"{layer}.alpha"] = torch.tensor(float(tensor.shape[0]))  # the rank: a factor of one
    return renamed


def _header(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def _run_of(path: Path) -> str | None:
    """The folder of the run that made a file."""
    try:
        return json.loads(_header(path).get(_CONFIG, "{}")).get("output")
    except (SafetensorError, ValueError):
        return None
