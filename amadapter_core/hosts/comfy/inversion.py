"""DDIM inversion as a sampler of ComfyUI: loading, hooks, LoRA, previews and interruption are the host's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.model_management
import comfy.samplers
import latent_preview
import torch
from torch import Tensor

from ...exemplar import Trajectory, invert
from .patch import unpatched


class Inversion(comfy.samplers.Sampler):
    """Goes from the clean latent up through ascending sigmas, and keeps the way as `trajectory`.

    The noise is predicted at the level where a step arrives, on the latent from where it departs
    (`amadapter_core.exemplar.invert`); ComfyUI's own samplers on ascending sigmas predict it where they depart.
    """

    trajectory: Trajectory | None = None

    def sample(
        self,
        model_wrap: Any,
        sigmas: Tensor,
        extra_args: dict[str, Any],
        callback: Callable | None,
        noise: Tensor,
        latent_image: Tensor,
        denoise_mask: Tensor | None = None,
        disable_pbar: bool = False,
    ) -> Tensor:
        alphas = [1 / (1 + float(sigma) ** 2) for sigma in sigmas]
        clean = latent_image

        def predict_noise(x: Tensor, step: int) -> Tensor:
            nonlocal clean
            comfy.model_management.throw_exception_if_processing_interrupted()
            sigma = sigmas[step].expand(len(x))
            x = x / alphas[step] ** 0.5  # what the model divides again, to feed the latent as it is
            clean = model_wrap(x, sigma, **extra_args)
            return (x - clean) / sigmas[step]

        def progress(done: int, total: int, latent: Tensor) -> None:
            if callback is not None:
                callback(done - 1, clean, latent, total)

        self.trajectory = invert(latent_image, predict_noise, range(len(sigmas)), alphas, progress)
        return latent_image


def invert_latent(model: Any, latent: Tensor, conditioning: list, steps: int) -> Trajectory:
    """Invert a clean latent with a MODEL.

    :param model: ModelPatcher; what AM-Adapter added to it is left out.
    :param latent: [1, C, h, w], as the VAE gives it.
    :param conditioning: CONDITIONING of the inversion; guidance is off (CFG 1).
    :param steps: levels, evenly over the timesteps up to the highest.
    :return: latents scaled as the UNet takes them, on the CPU.
    """
    sampling = model.get_model_object("model_sampling")
    count = len(sampling.sigmas)
    if not 1 <= steps < count:
        raise ValueError(f"{steps} inversion steps, expected 1 to {count - 1}")
    timesteps = [round((count - 1) * (i + 1) / steps) for i in range(steps)]
    sigmas = torch.stack([sampling.sigmas[t] for t in timesteps]).float().cpu()
    sampler = Inversion()
    guider = comfy.samplers.CFGGuider(unpatched(model))
    guider.inner_set_conds({"positive": conditioning})
    callback = latent_preview.prepare_callback(model, steps)
    guider.sample(torch.zeros_like(latent), latent, sampler, sigmas, callback=callback, seed=0)
    return Trajectory(sampler.trajectory.sigmas.cpu(), sampler.trajectory.latents.float().cpu())
