"""The published sampling loop, number for number (Variant.PUBLISHED).

It differs from the right one in what the exemplar branch does: after an inversion with the empty prompt and without
ControlNeXt, the exemplar is *denoised again* with the target's prompts, its own ControlNeXt and full guidance, and
its features are taken from that drifting pass. One deviation on purpose: the published inversion always takes 20
steps and then leaves the scheduler's step size at 50; here it takes the steps of the run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor

from ...exemplar import ddim_move
from ...matching import Matching
from .branches import PublishedAppearance, PublishedStructure
from .control import LabelControl, controlled
from .noise import NoiseSchedule
from .sites import Branch, Sites


@dataclass(frozen=True)
class Step:
    """State after one denoising step; predictions are after guidance."""

    timestep: int
    latent: Tensor
    exemplar_latent: Tensor
    noise: Tensor
    exemplar_noise: Tensor


class PublishedLoop:
    """DDIM with "leading" spacing, as the published scheduler configuration resolves.

    :param scheduler_config: where the betas come from.
    :param steps: number of denoising steps, and of inversion steps.
    :param guidance: scale of classifier-free guidance, of both branches.
    :param matching: a PublishedMatching.
    """

    def __init__(
        self, unet: UNet2DConditionModel, scheduler_config: dict, steps: int, guidance: float, matching: Matching
    ):
        self.unet, self.guidance, self.matching = unet, guidance, matching
        self.sites = Sites(unet)
        scheduler = DDIMScheduler.from_config(
            dict(scheduler_config),
            timestep_spacing="leading",
            steps_offset=1,
            set_alpha_to_one=False,
            clip_sample=False,
            thresholding=False,
        )
        scheduler.set_timesteps(steps)
        self._schedule = NoiseSchedule(scheduler)
        self.timesteps = [int(t) for t in scheduler.timesteps]
        self._alphas = scheduler.alphas_cumprod
        self._stride = len(self._alphas) // steps

    def _levels(self, timestep: int) -> tuple[float, float]:
        """Cumulative alpha at a timestep and at the one before it in the schedule; below zero that of timestep 0."""
        return float(self._alphas[timestep]), float(self._alphas[max(timestep - self._stride, 0)])

    def invert(self, latent: Tensor, empty: Tensor) -> list[Tensor]:
        """The clean latent and the latents after each inversion step, ascending timesteps.

        :param latent: [1, 4, h, w].
        :param empty: [1, T, C] embedding of the empty prompt. Guidance between equal halves is an identity.
        """
        latents = [latent]
        for t in reversed(self.timesteps):
            at, before = self._levels(t)
            output = self.unet(latents[-1], t, encoder_hidden_states=empty, return_dict=False)[0]
            noise = self._schedule.noise(output, latents[-1], t)
            latents.append(ddim_move(latents[-1], noise, before, at))
        return latents

    def denoise(
        self,
        latent: Tensor,
        exemplar_latent: Tensor,
        context: Tensor,
        target_control: LabelControl | None,
        exemplar_control: LabelControl | None,
    ) -> Iterator[Step]:
        """Both branches, step by step.

        :param latent: [1, 4, h, w] noise of the target.
        :param exemplar_latent: the last of `invert`.
        :param context: [2, T, C], negative and prompt, used by both branches.
        """
        with self.sites.installed():
            for t in self.timesteps:
                at, before = self._levels(t)
                appearance = PublishedAppearance()
                exemplar_noise = self._predict(exemplar_latent, t, context, exemplar_control, appearance)
                structure = PublishedStructure(
                    self.matching, appearance.bank, tuple(latent.shape[-2:]), tuple(exemplar_latent.shape[-2:])
                )
                noise = self._predict(latent, t, context, target_control, structure)
                latent = ddim_move(latent, noise, at, before)
                exemplar_latent = ddim_move(exemplar_latent, exemplar_noise, at, before)
                yield Step(t, latent, exemplar_latent, noise, exemplar_noise)

    def _predict(self, x: Tensor, t: int, context: Tensor, control: LabelControl | None, branch: Branch) -> Tensor:
        with controlled(self.unet, control, t), self.sites.during(branch):
            output = self.unet(torch.cat([x, x]), t, encoder_hidden_states=context, return_dict=False)[0]
        negative, positive = output.chunk(2)
        return self._schedule.noise(negative + self.guidance * (positive - negative), x, t)
