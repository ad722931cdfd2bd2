"""The autoencoder: pictures to latents and back, by plain losses alone (nothing is downloaded)."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from .augment import ColourChange, crop, flip, resize
from .config import Config, Data
from .datasets import open_pairs
from .latents import pixels, whole
from .pairs import Pairs
from .randomness import AUGMENT, NOISE, draws, index_of, normal
from .sheets import sheet
from .task import Batch, Part, Place, Task, copy_model, lay_out, model_folder

STATISTICS_FROM = 256
"""Pictures from which the latents' mean and deviation are taken."""


class Crops:
    """Training crops by slot.

    :param latent: channels of the latent, and the factor it is smaller by.
    """

    def __init__(self, config: Config, pairs: Pairs, latent: tuple[int, int]):
        self.config, self.pairs, self.latent = config, pairs, latent
        self.size = config.autoencoder.crop or config.data.size

    def __getitem__(self, slot: int) -> Batch:
        config, data = self.config, self.config.data
        rng = draws(config.seed, AUGMENT, slot)
        example = self.pairs[index_of(slot, len(self.pairs), config.seed)]
        example = crop(resize(example, data.short_side or min(data.size), self.size), self.size, rng)
        if rng.random() < data.flip:
            example = flip(example)
        image = ColourChange.draw(rng, data.colour)(example.image) if data.colour else example.image
        channels, factor = self.latent
        noise = normal(draws(config.seed, NOISE, slot), (channels, *(side // factor for side in self.size)))
        return {"pixels": pixels(image), "noise": noise}


class Whole:
    """Held-out pictures by index."""

    def __init__(self, data: Data, pairs: Pairs):
        self.data, self.pairs = data, pairs

    def __getitem__(self, index: int) -> Batch:
        return {"pixels": pixels(whole(self.pairs[index % len(self.pairs)], self.data).image)}


class AutoencoderTask(Task):
    """An AutoencoderKL by MSE, L1, L1 of the gradients, and a small KL."""

    headline = "psnr"

    def __init__(self, config: Config, place: Place):
        from diffusers import AutoencoderKL

        super().__init__(config, place)
        self.vae = AutoencoderKL.from_pretrained(model_folder(config, "vae"), torch_dtype=torch.float32)
        if config.autoencoder.train == "decoder":
            self.vae.requires_grad_(False)
            self.vae.decoder.requires_grad_(True)
        lay_out(self.vae, place.device)
        factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        meeting = (place.rank, place.ranks, place.wait)
        self.samples = Crops(config, open_pairs(config.data, *meeting), (self.vae.config.latent_channels, factor))
        if config.validation.data is not None:
            self.held_out = Whole(config.validation.data, open_pairs(config.validation.data, *meeting))

    @property
    def parts(self) -> dict[str, Part]:
        return {"autoencoder": Part(self.vae, "autoencoder.safetensors")}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        settings, real = self.config.autoencoder, batch["pixels"]
        latent = self.vae.encode(real).latent_dist
        z = latent.mean.float() + latent.std.float() * batch["noise"]
        made = self.vae.decode(z).sample.float()
        losses = {
            "mse": F.mse_loss(made, real),
            "l1": F.l1_loss(made, real),
            "gradient": sum(F.l1_loss(made.diff(dim=d), real.diff(dim=d)) for d in (2, 3)) / 2,
            "kl": 0.5 * (latent.mean.float() ** 2 + latent.var.float() - 1 - latent.logvar.float()).mean(),
        }
        total = sum(getattr(settings, name) * value for name, value in losses.items())
        return {"loss": total, **losses}

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        real = batch["pixels"]
        latent = self.vae.encode(real).latent_dist.mean
        made = self.vae.decode(latent).sample.float().clamp(-1, 1)
        mse = ((made - real) / 2).square().mean((1, 2, 3))
        return {"psnr": -10 * mse.log10(), "l1": (made - real).abs().mean((1, 2, 3))}

    def picture(self) -> Image.Image | None:
        if self.held_out is None:
            return None
        count = self.config.validation.pictures
        real = torch.stack([self.held_out[i]["pixels"] for i in range(count)]).to(self.place.device)
        made = self.vae.decode(self.vae.encode(real).latent_dist.mean).sample
        return sheet({"original": real, "decoded": made})

    def export(self, folder: Path, step: int) -> None:
        if self.config.checkpoints.export == "all" and self.config.model is not None:
            copy_model(self.config.model, folder, without=["vae"])
        if self.config.autoencoder.train == "decoder":
            vae = copy.deepcopy(self.vae).to(memory_format=torch.contiguous_format)
        else:
            vae = standardised(self.vae, *self._statistics())
        if self.config.checkpoints.half:
            vae.half()
        vae.save_pretrained(folder / "vae")

    @torch.no_grad()
    def _statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each latent channel, [C] each."""
        pairs, data = self.samples.pairs, self.config.data
        latents = []
        for index in np.linspace(0, len(pairs) - 1, min(STATISTICS_FROM, len(pairs))).astype(int):
            image = pixels(whole(pairs[int(index)], data).image)[None].to(self.place.device)
            latents.append(self.vae.encode(image).latent_dist.mean.float().flatten(2)[0])
        return torch.cat(latents, 1).mean(1), torch.cat(latents, 1).std(1)

    def name_of(self, slot: int) -> str:
        pairs = self.samples.pairs
        return pairs[index_of(slot, len(pairs), self.config.seed)].name


def standardised(vae: Any, mean: Tensor, deviation: Tensor) -> Any:
    """A copy of an autoencoder whose latents have mean 0 and deviation 1 in each channel, and equal pictures.

    The 1x1 convolutions around the latent take the change in, so that no consumer need know of it: the scaling
    factor is 1.

    :param mean: [C] of the latents; deviation alike.
    """
    vae = copy.deepcopy(vae).to(memory_format=torch.contiguous_format)
    channels = len(mean)
    with torch.no_grad():
        before, after = vae.quant_conv, vae.post_quant_conv
        before.weight[:channels] /= deviation[:, None, None, None]
        before.bias[:channels] = (before.bias[:channels] - mean) / deviation
        before.bias[channels:] -= 2 * deviation.log()  # the other half is the logarithm of the variance
        after.bias += after.weight[:, :, 0, 0] @ mean
        after.weight *= deviation[:, None, None]
    vae.register_to_config(scaling_factor=1.0)
    return vae
