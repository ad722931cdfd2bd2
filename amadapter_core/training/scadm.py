"""Training of SCA-DM: UNet and style encoder together, on pairs of picture and label map.

The published recipe: the UNet learns to find the noise in a picture's latent from the picture's own style and layout;
half of the pictures are zeroed before the style encoder. The moving average is of the UNet alone.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from ..checkpoints import save_tensors
from ..generators.scadm import ClassDiffusionGenerator, Configuration, NoisePredictor, Weights
from ..generators.scadm.conditioning import Conditioning
from ..generators.scadm.configuration import first_stage_sizes
from ..generators.scadm.diffusion import TIMESTEPS, ddim, noisy
from ..generators.scadm.layout import Grid, Layout
from ..generators.scadm.loading import load, load_first_stage, packed
from ..generators.scadm.style_encoder import StyleEncoder
from ..generators.scadm.unet import UNet
from ..generators.semantic import one_hot
from ..palettes import Palette
from .checkpoint import metadata_of
from .class_channels import ClassChannels, channel_colours
from .config import Config
from .datasets import open_pairs
from .diffusion import at_timesteps
from .pairs import Pairs
from .prepared import Prepared
from .randomness import AUGMENT, NOISE, VALIDATION, diffusion_noise, draws, index_of, normal
from .sheets import sheet
from .task import Batch, Part, Place, Task

EXPORTED = "scadm.safetensors"
DOWNS = 6
"""How often the style encoder halves a picture."""


class Samples:
    """Training pairs by slot, with their noise, timestep, and whether their style is dropped.

    :param shape: (C, h, w) of the latents.
    """

    def __init__(self, config: Config, pairs: Pairs, shape: tuple[int, int, int]):
        self.config, self.pairs, self.shape = config, pairs, shape
        self.prepared, self.channels = Prepared(config.data, pairs, None), ClassChannels(pairs.palette)

    def __getitem__(self, slot: int) -> Batch:
        config, rng = self.config, draws(self.config.seed, AUGMENT, slot)
        example, tensors = self.prepared(self.index(slot), rng, self.prepared.change(rng))
        return {
            "pixels": tensors["pixels"],
            "ids": torch.from_numpy(self.channels(example.ids)),
            "dropped": torch.tensor(bool(rng.random() < config.scadm.style_dropout)),
            **diffusion_noise(draws(config.seed, NOISE, slot), self.shape, (0, TIMESTEPS)),
        }

    def index(self, slot: int) -> int:
        """Which pair a slot of the shuffled data set shows."""
        return index_of(slot, len(self.pairs), self.config.seed)


class HeldOut:
    """Validation pairs by index, each with noise of its own.

    :param shape: (C, h, w) of the latents.
    """

    def __init__(self, config: Config, pairs: Pairs, shape: tuple[int, int, int]):
        self.shape = shape
        self.prepared, self.channels = Prepared(config.validation.data, pairs, None), ClassChannels(pairs.palette)

    def __getitem__(self, index: int) -> Batch:
        example, tensors = self.prepared.plain(index % len(self.prepared.pairs))
        ids = torch.from_numpy(self.channels(example.ids))
        return {"pixels": tensors["pixels"], "ids": ids, "noise": normal(draws(0, VALIDATION, index), self.shape)}


class ScaDMTask(Task):
    """SCA-DM's UNet and style encoder, the first stage frozen."""

    def __init__(self, config: Config, place: Place):
        super().__init__(config, place)
        palette = Palette.load(config.data.palette)
        made = _networks(config, ClassChannels(palette).count)
        self.sizes = made.config
        self.unet, self.style_encoder, self.first_stage = made.unet, made.style_encoder, made.first_stage
        self.unet.requires_grad_(True)
        self.style_encoder.requires_grad_(True)
        for parameter in idle(self.unet, config.scadm.attention > 0):
            parameter.requires_grad_(False)
        self.unet.checkpointing = config.scadm.checkpointing
        self.register_buffer("colours", channel_colours(palette), persistent=False)
        meeting, shape = (place.rank, place.ranks, place.wait), made.latent_shape
        self.samples = Samples(config, open_pairs(config.data, *meeting), shape)
        if config.validation.data is not None:
            self.held_out = HeldOut(config, open_pairs(config.validation.data, *meeting), shape)

    @property
    def parts(self) -> dict[str, Part]:
        return {
            "unet": Part(self.unet, "unet.safetensors"),
            "style_encoder": Part(self.style_encoder, "style_encoder.safetensors"),
        }

    @property
    def averaged(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.unet.parameters() if parameter.requires_grad]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        weight, kept = self.config.scadm.attention, ~batch["dropped"]
        layout = Layout(one_hot(batch["ids"], self.sizes.classes), record=weight > 0)
        tokens = self.style_encoder(batch["pixels"] * kept[:, None, None, None], layout.mask)
        errors = {"denoising": self._errors(batch, tokens, layout, batch["timestep"]).mean()}
        if weight:
            errors["attention"] = weight * attention_loss(layout)
        return {"loss": sum(errors.values()), **(errors if weight else {})}

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        layout = Layout(one_hot(batch["ids"], self.sizes.classes), keep=True)
        errors: dict[int, Tensor] = {}
        without = []
        tokens, empty = (self.style_encoder(x, layout.mask) for x in (batch["pixels"], batch["pixels"] * 0))
        for t in self.config.validation.timesteps:
            timesteps = torch.full((len(tokens),), t, device=tokens.device)
            errors[t] = self._errors(batch, tokens, layout, timesteps)
            without.append(self._errors(batch, empty, layout, timesteps))
        return at_timesteps(errors) | {"loss_without_style": torch.stack(without).mean(0)}

    def _errors(self, batch: Batch, tokens: Tensor, layout: Layout, timesteps: Tensor) -> Tensor:
        """Squared error of each picture's noise, [B]."""
        with torch.no_grad():
            latents = self.first_stage.encode(batch["pixels"]).float()
        found = self.unet(noisy(latents, batch["noise"], timesteps), timesteps, tokens, layout)
        return F.mse_loss(found.float(), batch["noise"], reduction="none").mean((1, 2, 3))

    def picture(self) -> Image.Image | None:
        if self.held_out is None:
            return None
        settings = self.config.validation
        items = [self.held_out[i] for i in range(settings.pictures)]
        batch = {name: value.to(self.place.device) for name, value in torch.utils.data.default_collate(items).items()}
        real, mask = batch["pixels"], one_hot(batch["ids"], self.sizes.classes)
        own, empty = (Conditioning(self.style_encoder(x, mask), mask) for x in (real, real * 0))
        rows = {"label map": self.colours[batch["ids"]].permute(0, 3, 1, 2) * 2 - 1, "picture": real}
        for name, conditional, guidance in (
            ("in its own style", own, settings.guidance),
            ("by noise alone", empty, 1.0),
        ):
            predict = NoisePredictor(self.unet, conditional, empty, guidance)
            rows[name] = self.first_stage.decode(ddim(predict, batch["noise"], settings.steps))
        return sheet(rows)

    def export(self, folder: Path, step: int) -> None:
        generator = ClassDiffusionGenerator(self.sizes, self.unet, self.style_encoder, self.first_stage)
        tensors, metadata = packed(generator, Weights.EMA if self.config.optimiser.ema else Weights.RAW)
        if self.config.checkpoints.half:
            tensors = {name: tensor.half() for name, tensor in tensors.items()}
        own = {"am_adapter.kind": "generator", "am_adapter.system": "scadm", "am_adapter.format": "1"}
        save_tensors(folder / EXPORTED, tensors, metadata_of(self, step) | metadata | own)

    def name_of(self, slot: int) -> str:
        return self.samples.pairs[self.samples.index(slot)].name


def attention_loss(layout: Layout) -> Tensor:
    """How far the recorded raw scores are from the label map: binary cross entropy, mean over the layers.

    :param layout: recorded, after a call of the UNet: scores [B, N, K] for each grid.
    """

    def of(grid: Grid, scores: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(scores.float(), layout.at(grid).flatten(2).transpose(1, 2))

    return torch.stack([of(grid, scores) for grid, scores in layout.scores]).mean()


def idle(unet: UNet, scores_learn: bool) -> list[nn.Parameter]:
    """Parameters that get no gradients: a table that no layer uses, and what makes queries and keys of the
    cross-attention unless their scores are learned from."""
    names = () if scores_learn else (".norm2.weight", ".norm2.bias", ".attn2.to_q.weight", ".attn2.to_k.weight")
    return [p for name, p in unet.named_parameters() if name == "label_emb.weight" or name.endswith(names)]


@torch.no_grad()
def begun(unet: UNet) -> UNet:
    """Zero the last layer of every branch beside a shortcut, and of the whole, as training begins."""
    for name, module in unet.named_modules():
        if isinstance(module, nn.Conv2d) and name.endswith(("out_layers.2", "out_layers.3", "proj_out", "out.2")):
            for parameter in module.parameters():
                parameter.zero_()
    return unet


def _networks(config: Config, classes: int) -> ClassDiffusionGenerator:
    """The networks that the settings name, or new ones.

    :raises ValueError: when there is no first stage, or sizes or classes do not fit.
    """
    settings = config.scadm
    if settings.start is None:
        return _new(config, classes)
    made = load(settings.start, size=config.data.size)
    if made.classes != classes:
        raise ValueError(
            f"training scadm: {settings.start} has {made.classes} classes, palette {config.data.palette} has "
            f"{classes}; use the class table that the file was trained with"
        )
    if settings.first_stage is not None:
        made.first_stage = load_first_stage(settings.first_stage)
        made.config = replace(made.config, first_stage=first_stage_sizes(made.first_stage.state_dict()))
    return made


def _new(config: Config, classes: int) -> ClassDiffusionGenerator:
    settings = config.scadm
    if settings.first_stage is None:
        raise ValueError(
            "training scadm: scadm.first_stage is missing; name the file of latent diffusion's VQ-f4 "
            "(vq-f4/model.ckpt), or an SCA-DM to begin with as scadm.start"
        )
    first_stage = load_first_stage(settings.first_stage)
    found = first_stage_sizes(first_stage.state_dict())
    unet = {
        "classes": classes,
        "width": settings.width,
        "factors": settings.factors,
        "blocks": settings.blocks,
        "transformers": settings.transformers,
        "head_width": settings.head_width,
        "context": settings.scales * settings.code,
        "channels": found["latent"],
    }
    encoder = {"classes": classes, "features": settings.features, "downs": DOWNS}
    try:
        sizes = Configuration(
            unet, encoder | {"scales": settings.scales, "width": settings.code}, found, config.data.size
        )
    except ValueError as error:
        raise ValueError(f"training scadm: data.{error}") from error
    return ClassDiffusionGenerator(sizes, begun(UNet(**sizes.unet)), StyleEncoder(**sizes.style_encoder), first_stage)
