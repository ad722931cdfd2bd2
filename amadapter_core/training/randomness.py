"""Chance as a function of place: the same draw for the same (seed, purpose, sample), whatever came before.

Nothing has to be replayed to resume a run, and it makes no difference how many processes share the work.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

ORDER, AUGMENT, NOISE, VALIDATION = range(4)


def draws(seed: int, purpose: int, *place: int) -> np.random.Generator:
    """A generator for one purpose at one place."""
    return np.random.default_rng([seed, purpose, *place])


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    """Standard normal noise, fp32."""
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


def diffusion_noise(rng: np.random.Generator, shape: tuple[int, ...], timesteps: tuple[int, int]) -> dict[str, Tensor]:
    """Noise and a timestep drawn evenly from first to below last."""
    return {"timestep": torch.tensor(int(rng.integers(*timesteps))), "noise": normal(rng, shape)}


def index_of(slot: int, count: int, seed: int) -> int:
    """Which of `count` examples the slot-th sample of a run is: every example once per epoch, newly shuffled."""
    epoch, place = divmod(slot, count)
    return int(_permutation(seed, epoch, count)[place])


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    return draws(seed, ORDER, epoch).permutation(count)
