"""The networks of a stage from what a host holds in memory, where there is no model folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..controlnext import ControlNeXt
from .latents import weights_digest
from .networks import Networks


def given_networks(
    unet: Mapping[str, Tensor],
    heads: int,
    sigmas: Tensor,
    prediction: str,
    *,
    vae: Any,
    text_encoder: nn.Module,
    tokenizer: Any,
    controlnext: ControlNeXt | None,
    seed: int = 0,
) -> Networks:
    """Networks to pass to `Run`.

    :param unet: weights of a UNet of SD1.5's topology in diffusers naming, fp32; they become its parameters.
    :param heads: attention heads of every site.
    :param sigmas: [T] noise levels sqrt((1 - a) / a) of the timesteps, ascending.
    :param prediction: "epsilon", "v_prediction" or "sample".
    :param vae: as training calls it, see `latents`: `encode`, `decode`, `config`, `dtype`.
    :param text_encoder: token ids [B, T] to a tuple whose first entry is the context [B, N, C].
    :param tokenizer: called and asked for `model_max_length` as transformers' are.
    :param controlnext: None makes a new one, with weights drawn from the seed.
    :raises CheckpointError: when the weights are not those of such a UNet.
    :raises ValueError: when ControlNeXt does not fit the UNet.
    """
    from diffusers import DDIMScheduler

    from ..hosts.diffusers.weights import make_unet

    network = make_unet(unet, heads=heads, source="the model given")
    width = network.config.block_out_channels[0]
    if controlnext is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            controlnext = ControlNeXt(out_channels=width)
    elif controlnext.out_channels != width:
        raise ValueError(
            f"this ControlNeXt has {controlnext.out_channels} output channels and the UNet's first block {width}; use "
            "one that was made for this UNet"
        )
    alphas = 1 / (1 + sigmas.double() ** 2)
    betas = 1 - alphas / torch.cat([alphas.new_ones(1), alphas[:-1]])
    scheduler = DDIMScheduler(
        num_train_timesteps=len(betas),
        trained_betas=betas.tolist(),
        prediction_type=prediction,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    return Networks(network, vae, text_encoder, tokenizer, scheduler, controlnext.requires_grad_(False))


def digest(*networks: nn.Module) -> str:
    """What tells networks with other weights from these."""
    return hashlib.sha256("".join(map(weights_digest, networks)).encode()).hexdigest()[:16]
