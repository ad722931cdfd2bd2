"""What the two diffusion stages share: frozen networks around the UNet, the noise of training, sampling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..palettes import Palette
from .config import Config, Data
from .datasets import open_pairs
from .latents import Latents, decode, encode
from .networks import Networks
from .pairs import Pairs
from .prepared import Prepared, colour_table
from .task import Batch, Place, Task, lay_out

WIDE = 320
"""First width from which a UNet's heads are wide enough for torch's fused attention on a CPU."""


class DiffusionTask(Task):
    """A task on the UNet of a model folder, its autoencoder frozen.

    :param networks: None loads those of the model folder.
    :param control: ControlNeXt file; None takes the model folder's.
    :param latents: folder where encoded pairs are kept; None encodes in every step.
    """

    def __init__(
        self, config: Config, place: Place, networks: Networks | None, control: str | None, latents: str | None
    ):
        from diffusers.models.attention_processor import AttnProcessor

        from ..hosts.diffusers import NoiseSchedule

        super().__init__(config, place)
        networks = networks or Networks.load(config, control)
        self.unet, self.vae, self.text_encoder = networks.unet, networks.vae, networks.text_encoder
        self.tokenizer, self.scheduler, self.controlnext = networks.tokenizer, networks.scheduler, networks.controlnext
        self.prediction = NoiseSchedule(self.scheduler).prediction
        if place.device.type == "cpu" and self.unet.config.block_out_channels[0] < WIDE:
            # torch's fused attention is slow there with such narrow heads, twice as slow in bf16.
            self.unet.set_attn_processor(AttnProcessor())
        lay_out(self.unet, place.device)
        lay_out(self.vae, place.device)
        self.register_buffer("alphas", self.scheduler.alphas_cumprod.float(), persistent=False)
        self.register_buffer("colours", colour_table(Palette.load(config.data.palette)), persistent=False)
        self.factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        self._latents = latents

    def prepared(self, data: Data) -> Prepared:
        """The examples of a data set, encoded before where that is wanted."""
        place = self.place
        pairs: Pairs = open_pairs(data, place.rank, place.ranks, place.wait)
        if self._latents is None:
            return Prepared(data, pairs, None)
        self.vae.to(place.device)
        return Prepared(data, pairs, Latents(self.vae, data, pairs, self._latents, place))

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of a training picture's latent."""
        h, w = self.config.data.size
        return self.unet.config.in_channels, h // self.factor, w // self.factor

    def latents(self, batch: Batch, prefix: str = "") -> Tensor:
        """Clean latents [B, C, h, w] of a batch."""
        if f"{prefix}latents" in batch:
            return batch[f"{prefix}latents"]
        with torch.no_grad():
            return encode(self.vae, batch[f"{prefix}pixels"])

    def on_show(self) -> Batch:
        """The held-out samples of the contact sheet, as one batch."""
        items = [self.held_out[i] for i in range(self.config.validation.pictures)]
        batch = torch.utils.data.default_collate(items)
        return {name: value.to(self.place.device) for name, value in batch.items()}

    def pictures_of(self, batch: Batch, prefix: str = "") -> Tensor:
        """Pictures [B, 3, H, W] of a batch in -1..1; where it holds latents alone, decoded."""
        pixels = batch.get(f"{prefix}pixels")
        return decode(self.vae, batch[f"{prefix}latents"]) if pixels is None else pixels

    def noisy(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """The latents at their timesteps [B]."""
        a = self.alphas[timesteps][:, None, None, None]
        return a.sqrt() * latents + (1 - a).sqrt() * noise

    def errors(self, output: Tensor, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Squared error of each row [B] against what the scheduler's prediction type asks for."""
        a = self.alphas[timesteps][:, None, None, None]
        wanted = {
            "epsilon": lambda: noise,
            "sample": lambda: latents,
            "v_prediction": lambda: a.sqrt() * noise - (1 - a).sqrt() * latents,
        }[self.prediction]()
        return F.mse_loss(output.float(), wanted, reduction="none").mean((1, 2, 3))

    def context(self, tokens: Tensor) -> Tensor:
        """[B, T, C] of token ids [B, T]."""
        return self.text_encoder(tokens)[0]

    def control(self, ids: Tensor) -> Any:
        """ControlNeXt on label maps [B, H, W]."""
        from ..hosts.diffusers import LabelControl

        return LabelControl(self.controlnext, self.colour_maps(ids))

    def colour_maps(self, ids: Tensor) -> Tensor:
        """[B, 3, H, W] in 0..1."""
        return self.colours[ids.long()].permute(0, 3, 1, 2).contiguous()

    def sample(self, predict: Callable[[Tensor, Tensor], Tensor], noise: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] by deterministic DDIM.

        :param predict: (latents, timesteps [B]) to the UNet's output, guidance included.
        :param noise: [B, C, h, w].
        """
        self.scheduler.set_timesteps(self.config.validation.steps)
        x = noise * self.scheduler.init_noise_sigma
        for t in self.scheduler.timesteps:
            timesteps = torch.full((len(x),), int(t), device=x.device)
            x = self.scheduler.step(predict(x, timesteps), t, x, return_dict=False)[0]
        return decode(self.vae, x)

    def name_of(self, slot: int) -> str:
        return self.samples.name_of(slot)


def at_timesteps(values: dict[int, Tensor]) -> dict[str, Tensor]:
    """Errors [B] by timestep as validation values: their mean and each."""
    mean = torch.stack(list(values.values())).mean(0)
    return {"loss": mean} | {f"loss_t{t}": value for t, value in values.items()}
