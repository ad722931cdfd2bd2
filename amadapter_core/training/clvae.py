"""Training of clVAE: generator and encoder against discriminators, on pairs of picture and label map.

Losses as published: hinge, discriminator features, VGG19 features where its weights are given, and the divergence of
the codes from the normal distribution. What the published code does besides for GTA5, picking pictures and weighting
pixels by how rare their classes are, is left out.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..checkpoints import save_tensors
from ..generators.clvae.configuration import LAYERS, Configuration
from ..generators.clvae.loading import joined
from ..generators.clvae.networks import Encoder, Generator, Posterior
from ..generators.semantic import one_hot
from ..palettes import Palette
from .adversarial import AdversarialTask, hinge_discriminator, hinge_generator, synchronised, xavier
from .checkpoint import metadata_of
from .class_channels import ClassChannels, channel_colours
from .config import Config
from .datasets import open_pairs
from .pairs import Pairs
from .patch_discriminator import MultiscaleDiscriminator
from .perceptual import PerceptualLoss
from .prepared import Prepared
from .randomness import AUGMENT, NOISE, VALIDATION, draws, index_of, normal
from .sheets import sheet
from .task import Batch, Part, Place

logger = logging.getLogger(__name__)

EXPORTED = "clvae.safetensors"


class Samples:
    """Training pairs by slot, with the noise of their codes.

    :param codes: K, L, D of the classes' codes; shared: S.
    """

    def __init__(self, config: Config, pairs: Pairs, codes: tuple[int, int, int], shared: int):
        self.config, self.pairs, self.codes, self.shared = config, pairs, codes, shared
        self.prepared, self.channels = Prepared(config.data, pairs, None), ClassChannels(pairs.palette)

    def __getitem__(self, slot: int) -> Batch:
        rng = draws(self.config.seed, AUGMENT, slot)
        example, tensors = self.prepared(self.index(slot), rng, self.prepared.change(rng))
        noise = draws(self.config.seed, NOISE, slot)
        return {
            "pixels": tensors["pixels"],
            "ids": torch.from_numpy(self.channels(example.ids)),
            "noise": normal(noise, self.codes),
            "shared_noise": normal(noise, (self.shared,)),
        }

    def index(self, slot: int) -> int:
        """Which pair a slot of the shuffled data set shows."""
        return index_of(slot, len(self.pairs), self.config.seed)


class HeldOut:
    """Validation pairs by index, each with its own noise."""

    def __init__(self, config: Config, pairs: Pairs, codes: tuple[int, int, int], shared: int):
        self.config, self.codes, self.shared = config, codes, shared
        self.prepared, self.channels = Prepared(config.validation.data, pairs, None), ClassChannels(pairs.palette)

    def __getitem__(self, index: int) -> Batch:
        example, tensors = self.prepared.plain(index % len(self.prepared.pairs))
        noise = draws(self.config.seed, VALIDATION, index)
        return {
            "pixels": tensors["pixels"],
            "ids": torch.from_numpy(self.channels(example.ids)),
            "noise": normal(noise, self.codes),
            "shared_noise": normal(noise, (self.shared,)),
        }


class ClVAETask(AdversarialTask):
    """clVAE's generator and encoder against SPADE's discriminators."""

    headline = "l1"

    def __init__(self, config: Config, place: Place):
        super().__init__(config, place)
        settings, palette = config.clvae, Palette.load(config.data.palette)
        classes = ClassChannels(palette).count
        local = settings.local or classes
        self.sizes = Configuration(
            classes, settings.width, local, settings.shared, config.data.size, 6 if settings.upsampling == "more" else 5
        )
        generator = xavier(Generator(self.sizes, spectral=True))
        self.generator = synchronised(generator, place.device, place.ranks)
        self.encoder = xavier(Encoder(classes, settings.width, local, settings.shared, spectral=True))
        self.discriminator = xavier(
            MultiscaleDiscriminator(classes, settings.discriminator_width, settings.depth, settings.scales)
        )
        self.perceptual = None if settings.vgg is None else PerceptualLoss.load(settings.vgg)
        if self.perceptual is None and place.rank == 0:
            logger.info("clvae.vgg names no file: training goes without the perceptual loss, unlike the published one")
        self.register_buffer("colours", channel_colours(palette), persistent=False)
        meeting, codes = (place.rank, place.ranks, place.wait), (classes, LAYERS, local)
        self.samples = Samples(config, open_pairs(config.data, *meeting), codes, settings.shared)
        if config.validation.data is not None:
            held_out = open_pairs(config.validation.data, *meeting)
            self.held_out = HeldOut(config, held_out, codes, settings.shared)

    @property
    def parts(self) -> dict[str, Part]:
        networks = {"G": self.generator, "E": self.encoder, "D": self.discriminator}
        return {letter: Part(network, f"latest_net_{letter}.safetensors") for letter, network in networks.items()}

    @property
    def metadata(self) -> dict[str, str]:
        return {"am_adapter.size": "x".join(map(str, self.sizes.size))}

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        settings, real, ids = self.config.clvae, batch["pixels"], batch["ids"]
        found = self.encoder(real, ids)
        made = self._make(batch, found)
        of_real, of_made = self.discriminator.judge(one_hot(ids, self.sizes.classes), real, made)
        losses = {
            "gan": hinge_generator([outputs[-1] for outputs in of_made]),
            "features": settings.features * _feature_matching(of_made, of_real),
            # The published sum over the batch, in such a form that parts of a batch add up.
            "kl": settings.kl * self.config.batch * divergence(found).mean(),
        }
        if self.perceptual is not None:
            losses["perceptual"] = settings.perceptual * self.perceptual(made, real)
        return {"loss": sum(losses.values()), **losses}

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        real, ids = batch["pixels"], batch["ids"]
        with torch.no_grad():
            made = self._make(batch, self.encoder(real, ids))
        of_real, of_made = self.discriminator.judge(one_hot(ids, self.sizes.classes), real, made)
        return {"loss": hinge_discriminator(*([outputs[-1] for outputs in of] for of in (of_real, of_made)))}

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        found = self.encoder(batch["pixels"], batch["ids"])
        made = self.generator(batch["ids"], found.mean, found.shared_mean)
        return {"l1": (made - batch["pixels"]).abs().mean((1, 2, 3)), "kl": divergence(found)}

    def picture(self) -> Image.Image | None:
        if self.held_out is None:
            return None
        items = [self.held_out[i] for i in range(self.config.validation.pictures)]
        batch = {name: value.to(self.place.device) for name, value in torch.utils.data.default_collate(items).items()}
        real, ids = batch["pixels"], batch["ids"]
        found = self.encoder(real, ids)
        return sheet(
            {
                "label map": self.colours[ids].permute(0, 3, 1, 2) * 2 - 1,
                "picture": real,
                "in its own style": self.generator(ids, found.mean, found.shared_mean),
                "at random": self.generator(ids, batch["noise"], batch["shared_noise"]),
            }
        )

    def export(self, folder: Path, step: int) -> None:
        tensors = joined(self.generator.state_dict(), self.encoder.state_dict())
        if self.config.checkpoints.half:
            tensors = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
        own = {"am_adapter.kind": "generator", "am_adapter.system": "clvae", "am_adapter.format": "1"}
        save_tensors(folder / EXPORTED, tensors, metadata_of(self, step) | own)

    def name_of(self, slot: int) -> str:
        return self.samples.pairs[self.samples.index(slot)].name

    def _make(self, batch: Batch, found: Posterior) -> Tensor:
        """Pictures of codes drawn from what the encoder found; of absent classes and layers that is the normal one."""
        codes = found.mean + (found.log_variance / 2).exp() * batch["noise"]
        shared = found.shared_mean + (found.shared_log_variance / 2).exp() * batch["shared_noise"]
        return self.generator(batch["ids"], codes, shared)


def divergence(found: Posterior) -> Tensor:
    """Of the codes from the normal distribution: the shared one's, and in each layer the mean of its classes'. [B]"""

    def kl(mean: Tensor, log_variance: Tensor) -> Tensor:
        mean, log_variance = mean.float(), log_variance.float()
        return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1)

    of_classes = kl(found.mean, found.log_variance)  # [B, K, 5], 0 where a class is absent
    of_layers = of_classes.sum(1) / found.present.sum(1).clamp_min(1)
    return kl(found.shared_mean, found.shared_log_variance) + of_layers.sum(1)


def _feature_matching(made: list[list[Tensor]], real: list[list[Tensor]]) -> Tensor:
    """L1 between the discriminators' features of made and real pictures, their verdicts left out."""
    layers = [pair for of_made, of_real in zip(made, real, strict=True) for pair in zip(of_made, of_real, strict=True)]
    depth = len(made[0])
    inner = [pair for number, pair in enumerate(layers, start=1) if number % depth]
    return sum(F.l1_loss(x.float(), y.detach().float()) for x, y in inner) / len(made)
