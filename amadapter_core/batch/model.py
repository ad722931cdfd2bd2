"""The model that a batch is made with, as it is named: a folder, and what may lie beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..checkpoints import load_controlnext, load_matcher

DEMO = "demo"
"""Stands for the demonstration's weights that come along."""
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

_TAIL = 1 << 16


@dataclass(frozen=True)
class Model:
    """
    :param folder: of diffusers (`model_index.json`), of a demonstration set (`family.json`), or DEMO.
    :param controlnext: a weights file; None takes `controlnext.safetensors` of the folder, if there is one.
    :param matcher: likewise `matcher.safetensors`.
    :param dtype: a name of DTYPES.
    """

    folder: str
    controlnext: str | None = None
    matcher: str | None = None
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"batch: dtype is {self.dtype!r}, expected one of {', '.join(DTYPES)}")
        if self.is_flat:
            if self.controlnext or self.matcher:
                raise ValueError(f"batch: the demonstration set {self.folder} has its own ControlNeXt and matcher")
            self._flat()
            return
        if not (self.place / "model_index.json").is_file():
            raise FileNotFoundError(
                f"batch: {self.place.absolute()} is no model folder; expected model_index.json in it, as diffusers "
                f"saves a pipeline, or family.json, or the word {DEMO}"
            )
        for name in ("controlnext", "matcher"):
            given = getattr(self, name)
            if given is not None and not Path(given).is_file():
                raise FileNotFoundError(f"batch: no {name} file {Path(given).absolute()}")

    @property
    def place(self) -> Path:
        """The folder as a path."""
        return Path(self.folder).expanduser()

    @property
    def is_flat(self) -> bool:
        """Whether it is a set of the demonstration family rather than a diffusers folder."""
        return self.folder == DEMO or (self.place / "family.json").is_file()

    @property
    def learned(self) -> bool:
        """Whether it has a matcher, for mode "learned"."""
        return self._beside("matcher") is not None

    def made_by(self) -> str:
        """A digest of its weights by their names, sizes and last bytes: the same on every machine, and cheap."""
        digest = hashlib.sha256(self.dtype.encode())
        for name, path in sorted(self._weights()):
            size = path.stat().st_size
            with open(path, "rb") as file:
                file.seek(max(0, size - _TAIL))
                digest.update(f"{name}:{size}:".encode() + file.read())
        return digest.hexdigest()[:24]

    def load(self, device: str) -> Any:
        """An AMAdapterPipeline on a device.

        :raises CheckpointError: when a file holds something else.
        """
        dtype = DTYPES[self.dtype]
        if self.is_flat:
            from ..demo.weights import pipeline

            return pipeline(self._flat().folder, dtype=dtype).to(device)
        from ..hosts.diffusers.pipeline import AMAdapterPipeline

        loaders = {"controlnext": load_controlnext, "matcher": load_matcher}
        beside = {name: self._beside(name) for name in loaders}
        parts = {name: load(beside[name], dtype=dtype) for name, load in loaders.items() if beside[name] is not None}
        made = AMAdapterPipeline.from_pretrained(self.place, torch_dtype=dtype, **parts).to(device)
        made.set_progress_bar_config(disable=True)
        return made

    def _flat(self) -> Any:
        from ..demo.files import Files

        return Files(None if self.folder == DEMO else self.place)

    def _beside(self, name: str) -> Path | None:
        """The file of ControlNeXt or matcher."""
        if self.is_flat:
            from ..demo.files import CONTROLNEXT, MATCHERS

            path = self._flat().folder / {"controlnext": CONTROLNEXT, "matcher": MATCHERS["spatial"]}[name]
        else:
            path = Path(getattr(self, name) or self.place / f"{name}.safetensors")
        return path if path.is_file() else None

    def _weights(self) -> Iterator[tuple[str, Path]]:
        folder = self._flat().folder if self.is_flat else self.place
        for path in folder.rglob("*"):
            if path.suffix in (".safetensors", ".bin") and path.is_file():
                yield path.relative_to(folder).as_posix(), path
        for name in ("controlnext", "matcher"):
            if (path := self._beside(name)) is not None:
                yield name, path
