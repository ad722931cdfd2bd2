"""Latents of a data set encoded once: where the autoencoder is frozen there is no need to run it again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .augment import central, flip, resize
from .config import Data
from .pairs import Example, Pairs
from .store import fill_store, store_folder
from .task import Place

ENCODED_AT_ONCE = 16


class Latents:
    """The scaled latents of every example, plain and, if pictures are flipped, mirrored.

    They are of the central crop; their dtype is fp16.

    :param vae: AutoencoderKL.
    :param folder: where stores lie.
    """

    def __init__(self, vae: Any, data: Data, pairs: Pairs, folder: str | Path, place: Place):
        if data.colour:
            raise ValueError(
                "training data: pictures are encoded once, so their colours cannot change at random; set "
                "data.colour=0, or latents=null to encode them in every step"
            )
        self.sides = 2 if data.flip else 1
        factor = 2 ** (len(vae.config.block_out_channels) - 1)
        size = tuple(side // factor for side in data.size)
        description = {
            "autoencoder": weights_digest(vae),
            "scaling": vae.config.scaling_factor,
            "pairs": pairs.describe(),
            "size": data.size,
            "short_side": data.short_side,
            "sides": self.sides,
        }
        shapes = {"latents": ("float16", (len(pairs), self.sides, vae.config.latent_channels, *size))}

        @torch.no_grad()
        def encode_rows(arrays: dict[str, np.ndarray], rows: Sequence[int]) -> None:
            for start in range(0, len(rows), ENCODED_AT_ONCE):
                part = rows[start : start + ENCODED_AT_ONCE]
                examples = [whole(pairs[row], data) for row in part]
                for side in range(self.sides):
                    images = [(flip(x) if side else x).image for x in examples]
                    latents = encode(vae, torch.stack([pixels(image) for image in images]).to(place.device))
                    for row, latent in zip(part, latents.half().cpu().numpy(), strict=True):
                        arrays["latents"][row, side] = latent

        arrays = fill_store(
            store_folder(folder, description), shapes, encode_rows, len(pairs), place.rank, place.ranks, place.wait
        )
        self.array = arrays["latents"]

    def __call__(self, index: int, flipped: bool) -> Tensor:
        """[C, h, w] fp32."""
        return torch.from_numpy(np.array(self.array[index, int(flipped)])).float()


def encode(vae: Any, images: Tensor) -> Tensor:
    """Pictures [B, 3, H, W] in -1..1 to scaled latents [B, C, h, w] fp32, the mean of their distribution."""
    return vae.encode(images.to(vae.dtype)).latent_dist.mean.float() * vae.config.scaling_factor


def decode(vae: Any, latents: Tensor) -> Tensor:
    """Scaled latents to pictures [B, 3, H, W] in about -1..1, fp32."""
    return vae.decode((latents / vae.config.scaling_factor).to(vae.dtype)).sample.float()


def whole(example: Example, data: Data) -> Example:
    """The picture at its training size, cut at the centre."""
    return central(resize(example, data.short_side or min(data.size), data.size), data.size)


def pixels(image: np.ndarray) -> Tensor:
    """[H, W, 3] uint8 to [3, H, W] in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float() / 127.5 - 1


def weights_digest(network: torch.nn.Module) -> str:
    """A digest of all weights of a network."""
    result = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        result.update(name.encode())
        result.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return result.hexdigest()
