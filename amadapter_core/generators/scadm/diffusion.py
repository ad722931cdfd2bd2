"""SCA-DM's noise schedule, and deterministic or stochastic DDIM sampling. https://arxiv.org/abs/2010.02502"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

TIMESTEPS = 1000
MOST_STEPS = 500
_FIRST, _LAST = 0.0015, 0.0195

Predict = Callable[[Tensor, Tensor], Tensor]
"""(latents [B, C, h, w], timesteps [B]) to the noise in them, [B, C, h, w]."""


def betas() -> Tensor:
    """[1000] fp64: what a sampler of a host needs beside a `Predict`; the prediction is of the noise (epsilon)."""
    return torch.linspace(_FIRST**0.5, _LAST**0.5, TIMESTEPS, dtype=torch.float64) ** 2


def alphas_cumprod() -> Tensor:
    """[1000] fp64: the share of the picture's variance that is left at each timestep."""
    return (1 - betas()).cumprod(0)


def noisy(latent: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """q(x_t | x_0) with given noise.

    :param latent: [B, C, h, w]; noise alike.
    :param timesteps: [B] whole numbers in 0..999.
    """
    a = alphas_cumprod().to(latent.device)[timesteps].to(latent.dtype)[:, None, None, None]
    return a.sqrt() * latent + (1 - a).sqrt() * noise


def ddim_timesteps(steps: int) -> Tensor:
    """The timesteps of a sampling run, ascending, as published: every (1000 // steps)-th, shifted by one.

    Where the shift leads beyond the last of the 1000 (3, 9 or 27 steps, where the published code fails) that one is
    left out.

    :param steps: 1 to 500; where it does not divide 1000 there are more timesteps than asked for (150 gives 167).
    :return: [T] int64.
    :raises ValueError: beyond that.
    """
    if not 1 <= steps <= MOST_STEPS:
        raise ValueError(f"SCA-DM: {steps} DDIM steps; expected 1 to {MOST_STEPS}")
    return torch.arange(1, TIMESTEPS, TIMESTEPS // steps)


def ddim(
    predict: Predict,
    noise: Tensor,
    steps: int,
    *,
    eta: float = 0.0,
    draw: Callable[[int], Tensor] | None = None,
    watch: Callable[[int, int, Tensor], None] | None = None,
) -> Tensor:
    """Sample latents.

    :param predict: guidance included.
    :param noise: [B, C, h, w] standard normal.
    :param steps: see `ddim_timesteps`.
    :param eta: 0 adds no noise on the way, 1 as much as ancestral sampling.
    :param draw: standard normal noise like `noise` for the given step; needed when eta is not 0.
    :param watch: called after each step with its number from 1, how many there are, and the picture's latent as
        predicted at that step.
    :return: [B, C, h, w].
    """
    if eta and draw is None:
        raise ValueError(f"SCA-DM: eta is {eta}, so noise is added at every step; pass draw")
    timesteps, shares = ddim_timesteps(steps), alphas_cumprod()
    at, before = shares[timesteps], torch.cat([shares[:1], shares[timesteps[:-1]]])
    deviations = eta * ((1 - before) / (1 - at) * (1 - at / before)).sqrt()
    x, count = noise, len(timesteps)
    for done, i in enumerate(reversed(range(count)), 1):
        rows = timesteps[i].to(x.device).expand(len(x))
        a, a_before, deviation = (float(values[i]) for values in (at, before, deviations))
        predicted = predict(x, rows)
        clean = (x - (1 - a) ** 0.5 * predicted) / a**0.5
        x = a_before**0.5 * clean + (1 - a_before - deviation**2) ** 0.5 * predicted
        if deviation:
            x = x + deviation * draw(done)
        if watch is not None:
            watch(done, count, clean)
    return x
