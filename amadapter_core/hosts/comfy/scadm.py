"""SCA-DM in the form that ComfyUI's own samplers and decoders take: MODEL, CONDITIONING, VAE, LATENT."""

from __future__ import annotations

from typing import Any

import comfy.conds
import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.supported_models_base
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ...generators.scadm import ClassDiffusionGenerator, Unconditional
from ...generators.scadm.conditioning import Conditioning
from ...generators.scadm.layout import Layout
from ...generators.styles import StyleCodes

MASK = "label_mask"
"""What an entry of conditioning keeps its one-hot label maps under."""
FACTOR, CHANNELS = 4, 3


class LayoutModel(comfy.model_base.BaseModel):
    """SCA-DM's UNet as ComfyUI's samplers call a model; each conditioning brings its label map along.

    :param betas: [1000] of its noise schedule.
    """

    def __init__(self, unet: nn.Module, betas: Tensor):
        super().__init__(_Config(betas), comfy.model_base.ModelType.EPS)
        self.diffusion_model = _Called(unet)

    def extra_conds(self, **values: Any) -> dict[str, Any]:
        """Take the label map out of a conditioning; ComfyUI calls it.

        :raises ValueError: for a conditioning without one.
        """
        if MASK not in values:
            raise ValueError(
                "SCA-DM: the conditioning has no label map; connect positive and negative of SCA-DM for KSampler"
            )
        return {**super().extra_conds(**values), MASK: comfy.conds.CONDRegular(values[MASK])}


class FirstStageVAE:
    """SCA-DM's first stage as VAE Decode and VAE Encode call a VAE.

    :param generator: whose first stage `patcher` manages.
    """

    def __init__(self, generator: ClassDiffusionGenerator, patcher: ModelPatcher):
        self.generator, self.patcher = generator, patcher

    def decode(self, samples: Tensor, vae_options: dict | None = None) -> Tensor:
        """Pictures [B, H, W, 3] in 0..1 of latents [B, 3, h, w], by way of the codebook."""
        self._load(samples.shape[-2] * samples.shape[-1] * FACTOR**2)
        made = [self.generator.decode(one.to(self.generator.device)[None]).cpu() for one in samples.float()]
        return torch.cat(made).movedim(1, -1)

    def encode(self, pixels: Tensor) -> Tensor:
        """Latents of pictures [B, H, W, C] in 0..1, cut to multiples of 4."""
        height, width = (side - side % FACTOR for side in pixels.shape[1:3])
        self._load(height * width)
        images = pixels[:, :height, :width, :3].movedim(-1, 1).float() * 2 - 1
        stage, device = self.generator.first_stage, self.generator.device
        return torch.cat([stage.encode(one.to(device)[None]).cpu() for one in images])

    def _load(self, pixels: int) -> None:
        # 23 kB for each pixel at the published width.
        comfy.model_management.load_models_gpu([self.patcher], memory_required=24_000 * pixels, force_full_load=True)


def conditioning(
    generator: ClassDiffusionGenerator,
    ids: Tensor,
    style: StyleCodes | list[StyleCodes] | None,
    kind: Unconditional,
) -> tuple[list, list]:
    """Positive and negative CONDITIONING for label ids [B, H, W]; the negative is what guidance leads away from."""
    positive = generator.conditioning(ids, style)
    return _entry(positive), _entry(generator.unconditional(positive, kind))


def empty_latent(generator: ClassDiffusionGenerator, batch: int) -> dict[str, Tensor]:
    """A LATENT to sample from, zeros [B, C, h, w]."""
    return {"samples": torch.zeros(batch, *generator.latent_shape)}


def _entry(condition: Conditioning) -> list:
    return [[condition.context.cpu(), {MASK: condition.mask.cpu()}]]


class _Latents(comfy.latent_formats.LatentFormat):
    latent_channels = CHANNELS
    spacial_downscale_ratio = FACTOR


class _Config(comfy.supported_models_base.BASE):
    latent_format = _Latents
    supported_inference_dtypes = [torch.float32]

    def __init__(self, betas: Tensor):
        super().__init__({"disable_unet_model_creation": True})
        ends = {"linear_start": float(betas[0]), "linear_end": float(betas[-1])}
        self.sampling_settings |= {"beta_schedule": "linear", **ends}


class _Called(nn.Module):
    """Takes what ComfyUI passes to a diffusion model."""

    dtype = torch.float32

    def __init__(self, unet: nn.Module):
        super().__init__()
        self.unet = unet

    def forward(self, x: Tensor, timesteps: Tensor, context: Tensor, label_mask: Tensor, **_: Any) -> Tensor:
        return self.unet(x, timesteps, context, Layout(label_mask))
