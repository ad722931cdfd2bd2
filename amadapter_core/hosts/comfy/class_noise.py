"""Class noise in ComfyUI: as a NOISE, and as a MODEL for samplers that make their noise themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...class_noise import ids_of, redrawn
from ...label_maps import LabelMap

KEY = "am_adapter_class_noise"


class ClassNoise:
    """NOISE: that of another one, with some classes drawn anew.

    :param noise: RandomNoise or whatever else is a NOISE.
    :param classes: names or ids.
    :raises ValueError: no class, or one that the palette does not have.
    """

    def __init__(self, noise: Any, labels: LabelMap, classes: Sequence[str], seed: int):
        self.noise, self.labels, self.classes = noise, labels, ids_of(classes, labels)
        self.class_seed = seed

    @property
    def seed(self) -> int:
        """What a sampler draws the noise of its steps from: the other one's, so that no class changes by it."""
        return self.noise.seed

    def generate_noise(self, latent: dict[str, Any]) -> Tensor:
        """:param latent: LATENT; its batch_index says where in a batch its items stand."""
        noise = self.noise.generate_noise(latent)
        _check_pictures(noise)
        return redrawn(noise, self.labels, self.classes, self.class_seed, latent.get("batch_index"))


def with_class_noise(model: Any, labels: LabelMap, classes: Sequence[str], seed: int) -> Any:
    """A clone of a MODEL in whose runs the noise of some classes is drawn anew, whatever sampler made it.

    :param model: ModelPatcher; stays as it is.
    :raises ValueError: no class, or one that the palette does not have.
    """
    patched = model.clone()
    patched.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, _Redraw(labels, ids_of(classes, labels), seed))
    return patched


class _Redraw:
    def __init__(self, labels: LabelMap, classes: Sequence[int], seed: int):
        self.labels, self.classes, self.seed = labels, classes, seed

    def __call__(self, executor: Any, noise: Tensor, *args: Any, **kwargs: Any) -> Any:
        # A run that goes on from leftover noise adds none.
        if bool(torch.count_nonzero(noise)):
            _check_pictures(noise)
            noise = redrawn(noise, self.labels, self.classes, self.seed)
        return executor(noise, *args, **kwargs)


def _check_pictures(noise: Any) -> None:
    if getattr(noise, "is_nested", False):
        raise ValueError("class noise is for models of pictures; this one samples several latents at once")
