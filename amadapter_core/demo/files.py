"""The demonstration's weights as they are shipped: one flat folder that every host reads.

Networks are fp16 safetensors with diffusers' names (the text encoder with those of published CLIP models);
`family.json` has their sizes as diffusers describes them, the scheduler, how a latent is previewed, and the
strengths chosen on validation scenes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..text_files import read_json
from .words import FILE as TOKENIZER

SHIPPED = Path(__file__).with_name("weights")
"""Where the weights lie that come along."""

DESCRIPTION = "family.json"
UNET, VAE, TEXT_ENCODER = "unet.safetensors", "vae.safetensors", "text_encoder.safetensors"
CONTROLNEXT, SEGMENTER = "controlnext.safetensors", "segmenter.safetensors"
MATCHERS = {"spatial": "matcher_spatial.safetensors", "published": "matcher_published.safetensors"}
"""By the variant they were trained with."""

NEEDED = (DESCRIPTION, TOKENIZER, UNET, VAE, TEXT_ENCODER, CONTROLNEXT)
WEIGHTS = (UNET, VAE, TEXT_ENCODER, CONTROLNEXT, *MATCHERS.values(), SEGMENTER)

_REMEDY = (
    "Take them from a release of the project, or train the family and pack it: python -m amadapter_core.demo init, "
    "python -m amadapter_core.training, python -m amadapter_core.demo pack"
)


def shipped() -> bool:
    """Whether this copy of the pack has all of the demonstration's weights; they are added as they are trained."""
    return all((SHIPPED / name).is_file() for name in (*NEEDED, *WEIGHTS))


@dataclass(frozen=True)
class Files:
    """A flat folder of weights, seen to be there.

    :param folder: None is the one that is shipped.
    :raises FileNotFoundError: names what is missing and what to do.
    """

    folder: str | Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder or SHIPPED))
        if missing := [name for name in NEEDED if not (self.folder / name).is_file()]:
            raise FileNotFoundError(
                f"the demonstration's weights are not there: {', '.join(missing)} not found in {self.folder}. {_REMEDY}"
            )

    @cached_property
    def description(self) -> dict[str, Any]:
        """What `family.json` says."""
        return _described(self.folder / DESCRIPTION)

    def path(self, name: str) -> Path:
        """The file of a network.

        :raises FileNotFoundError: when the folder has none, as before it was trained.
        """
        path = self.folder / name
        if not path.is_file():
            raise FileNotFoundError(f"the demonstration in {self.folder} has no {name}. {_REMEDY}")
        return path

    def matcher(self, variant: str) -> Path:
        """The matcher that was trained with a variant, "spatial" or "published"."""
        if variant not in MATCHERS:
            raise ValueError(f"the demonstration has no matcher {variant!r}; use one of {', '.join(MATCHERS)}")
        return self.path(MATCHERS[variant])

    def state(self) -> str:
        """What tells changed files from those that were loaded."""
        states = (path.stat() for path in sorted(self.folder.iterdir()) if path.is_file())
        return ":".join(f"{state.st_mtime_ns}-{state.st_size}" for state in states)


def _described(path: Path) -> dict[str, Any]:
    described = read_json(path)
    parts = ("unet", "vae", "text_encoder", "scheduler")
    if not isinstance(described, dict) or not all(isinstance(described.get(part), dict) for part in parts):
        raise ValueError(f"{path} does not describe the demonstration: expected {', '.join(parts)}. {_REMEDY}")
    return described
