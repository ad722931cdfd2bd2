"""How a latent looks while it is sampled: the linear map from its channels to colours that fits scenes best."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from .seeds import TRAINING

_SCENES = 16


@torch.no_grad()
def preview_factors(vae: Any) -> dict[str, list]:
    """Least squares from scaled latents to the pictures they were encoded from, at the latent's size.

    :param vae: AutoencoderKL in fp32.
    :return: `factors` [C][3] and `bias` [3], to colours in -1..1.
    """
    from ..scenes import scene

    pictures = [torch.from_numpy(scene(seed, seed).image.copy()) for seed in TRAINING[:_SCENES]]
    images = torch.stack(pictures).permute(0, 3, 1, 2) / 127.5 - 1
    latents = vae.encode(images).latent_dist.mode() * vae.config.scaling_factor
    colours = F.avg_pool2d(images, images.shape[-1] // latents.shape[-1])
    rows, wanted = (x.permute(0, 2, 3, 1).flatten(0, 2) for x in (latents, colours))
    solution = torch.linalg.lstsq(F.pad(rows, (0, 1), value=1.0), wanted).solution
    rounded = [[round(value, 4) for value in row] for row in solution.tolist()]
    return {"factors": rounded[:-1], "bias": rounded[-1]}
