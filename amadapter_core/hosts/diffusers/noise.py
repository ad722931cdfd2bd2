"""What a diffusers scheduler says in the words of the core: the level of a timestep, the noise in an output."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

_LINEARISED = ("epsilon", "v_prediction", "sample")


class NoiseSchedule:
    """The cumulative alphas a scheduler was made with.

    :param scheduler: any diffusers scheduler of a variance-preserving model (DDIM, Euler, DPM++, UniPC, Heun, LCM...).
    :raises ValueError: for a scheduler without cumulative alphas (flow matching), or an unknown prediction type.
    """

    def __init__(self, scheduler: Any):
        alphas = getattr(scheduler, "alphas_cumprod", None)
        if alphas is None:
            raise ValueError(
                f"AM-Adapter: {type(scheduler).__name__} has no alphas_cumprod; the exemplar's noise level follows "
                "from them. Use a scheduler of the Stable Diffusion family (DDIM, Euler, DPMSolver, UniPC ...)"
            )
        self.prediction = scheduler.config.get("prediction_type", "epsilon")
        if self.prediction not in _LINEARISED:
            raise ValueError(f"AM-Adapter: unknown prediction type {self.prediction!r}, expected {_LINEARISED}")
        self.alphas = alphas.double().cpu().numpy().clip(1e-9, 1.0)

    def alpha(self, timestep: float) -> float:
        """Cumulative alpha of a timestep; between two, log sigma is linear (as in k-diffusion)."""
        t = float(np.clip(timestep, 0, len(self.alphas) - 1))
        if t == int(t):
            return float(self.alphas[int(t)])
        log_sigma = np.interp(t, np.arange(len(self.alphas)), np.log((1 - self.alphas) / self.alphas) / 2)
        return float(1 / (1 + np.exp(2 * log_sigma)))

    def noise(self, output: Tensor, x: Tensor, timestep: float) -> Tensor:
        """The noise that a UNet's output means, eps of x = sqrt(a) x0 + sqrt(1 - a) eps; all [B, C, h, w]."""
        a = self.alpha(timestep)
        if self.prediction == "v_prediction":
            return a**0.5 * output + (1 - a) ** 0.5 * x
        if self.prediction == "sample":
            return (x - a**0.5 * output) / (1 - a) ** 0.5
        return output
