"""Training of iPOSE's generator against OASIS' discriminator, the part network as it is.

Losses as published: the class of each pixel, LabelMix, the hinge loss of the encoder's verdict, and the distance of
CLIP's tokens where its weights are given.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..checkpoints import save_tensors
from ..generators.ipose import load_part_network, load_supports
from ..generators.ipose.loading import load_to_train, metadata_of_generator
from ..generators.ipose.networks import IPoseNetwork
from ..generators.ipose.part_maps import PALETTE, PartMaps, predict, remember
from ..generators.ipose.part_network import Memory, PartNetwork, widths_of
from ..generators.semantic import one_hot
from ..generators.spectral import baked
from .adversarial import AdversarialTask, hinge_discriminator, hinge_generator, synchronised, xavier
from .checkpoint import metadata_of
from .clip_similarity import TokenDistance
from .config import Config
from .ipose_data import HeldOut, Samples, Scenes, convention_of, instances_of
from .oasis import STRIDE, Discriminator, made_loss, mix_loss, mix_mask, real_loss
from .sheets import sheet
from .task import Batch, Part, Place

logger = logging.getLogger(__name__)

EXPORTED = "ipose.safetensors"
CROPS, CROP_SIDE = 10, 128
"""So many objects of a batch are compared by themselves, each at this size."""


class IPoseTask(AdversarialTask):
    """iPOSE's generator, guided by a part network that does not learn."""

    headline = "agreement"

    def __init__(self, config: Config, place: Place):
        super().__init__(config, place)
        settings = config.ipose
        self.convention = convention_of(settings.data_set)
        _check(config)
        network = self._new() if settings.start is None else self._started()
        network.partnet.requires_grad_(False)
        self.network = synchronised(network, place.device, place.ranks)
        self.discriminator = xavier(
            Discriminator(self.convention.classes, settings.discriminator_width, settings.global_hinge > 0)
        )
        self.supports = load_supports(settings.supports)
        self.supports.of(self.convention.categories)
        self.memories: dict[int, Memory] | None = None
        self.similarity = None if settings.clip is None else TokenDistance.load(settings.clip)
        if self.similarity is None and place.rank == 0:
            logger.info("ipose.clip names no folder: training goes without CLIP's similarity, unlike the published one")
        z, data, held_out = (network.z_channels,), config.data, config.validation.data
        self.samples = Samples(config, Scenes(data, self.convention), z, network.noise_shape(data.size))
        if held_out is not None:
            scenes = Scenes(held_out, self.convention)
            self.held_out = HeldOut(config, scenes, z, network.noise_shape(held_out.size))

    @property
    def parts(self) -> dict[str, Part]:
        return {
            "generator": Part(self.network, "latest_G.safetensors"),
            "discriminator": Part(self.discriminator, "latest_D.safetensors"),
        }

    @property
    def metadata(self) -> dict[str, str]:
        return metadata_of_generator(self.network, replace(self.convention, size=self.config.data.size))

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        settings = self.config.ipose
        made, _ = self._make(self.network, batch, 0)
        logits, verdict = self.discriminator(made)
        losses = {"classes": real_loss(logits, batch["ids"])}
        if verdict is not None:
            losses["verdict"] = settings.global_hinge * hinge_generator([verdict])
        if self.similarity is not None:
            losses["similarity"] = settings.similarity * self._distance(made, batch)
        return {"loss": sum(losses.values()), **losses}

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        settings, real, ids = self.config.ipose, batch["pixels"], batch["ids"]
        with torch.no_grad():
            made, _ = self._make(self.network, batch, 1)
        of_made, made_verdict = self.discriminator(made)
        of_real, real_verdict = self.discriminator(real)
        mask = mix_mask(ids, batch["coins"])
        of_mixed, _ = self.discriminator(mask * real + (1 - mask) * made)
        losses = {
            "made": made_loss(of_made),
            "real": real_loss(of_real, ids),
            "mix": settings.label_mix * mix_loss(of_mixed, of_real, of_made, mask),
        }
        if real_verdict is not None:
            losses["verdict"] = settings.global_hinge * hinge_discriminator([real_verdict], [made_verdict])
        return {"loss": sum(losses.values()), **losses}

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        made, _ = self._make(self.network, batch, 0)
        ids, logits = batch["ids"], self.discriminator(made)[0]
        # Which class it would be, if it were real.
        agreement = (logits[:, 1:].argmax(1) == ids).float().mean((1, 2))
        return {"agreement": agreement, "l1": (made - batch["pixels"]).abs().mean((1, 2, 3))}

    def picture(self) -> Image.Image | None:
        if self.held_out is None:
            return None
        items = [self.held_out[i] for i in range(self.config.validation.pictures)]
        batch = {name: value.to(self.place.device) for name, value in torch.utils.data.default_collate(items).items()}
        made, parts = self._make(self.network, batch, 0)
        colours = torch.tensor(PALETTE.colours, device=made.device) / 127.5 - 1
        return sheet({"picture": batch["pixels"], "parts": colours[parts.ids].permute(0, 3, 1, 2), "made": made})

    def export(self, folder: Path, step: int) -> None:
        network = self.network
        if self.config.optimiser.ema:
            network = self._refreshed()
        tensors = baked(network.state_dict())
        if self.config.checkpoints.half:
            tensors = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
        own = {"am_adapter.kind": "generator", "am_adapter.system": "ipose", "am_adapter.format": "1"}
        save_tensors(folder / EXPORTED, tensors, metadata_of(self, step) | own)

    def name_of(self, slot: int) -> str:
        return str(self.samples.scenes.files[self.samples.index(slot)][0])

    def _new(self) -> IPoseNetwork:
        settings = self.config.ipose
        if settings.part_network is None:
            raise ValueError(
                "training ipose: ipose.part_network is missing; name a trained part network, such as the published "
                "partsyn_model/models/best_G.pth or what `training ipose_parts` exports"
            )
        parts = load_part_network(settings.part_network)
        sizes = (self.convention.classes, settings.channels, settings.z_channels)
        network = xavier(IPoseNetwork(*sizes, _alike(parts), spectral=True))
        network.partnet.model = parts
        return network

    def _started(self) -> IPoseNetwork:
        settings = self.config.ipose
        parts = None if settings.part_network is None else load_part_network(settings.part_network)
        network = load_to_train(settings.start, settings.z_channels, parts)
        if network.classes != self.convention.classes:
            raise ValueError(
                f"training ipose: {settings.start} has {network.classes} classes, {self.convention.name} has "
                f"{self.convention.classes}; start from a generator of the same data set"
            )
        return network

    def _make(self, network: IPoseNetwork, batch: Batch, turn: int) -> tuple[Tensor, PartMaps]:
        """Pictures in -1..1 of a batch with the noise of a turn, and the parts that guided them."""
        model, instances = network.partnet.model, instances_of(batch, self.convention)
        if self.memories is None:  # the part network does not learn
            self.memories = remember(model, self.convention.categories, self.supports)
        parts = predict(model, instances, self.memories)
        hot = one_hot(batch["ids"], self.convention.classes)
        z, z_part = (batch[name][:, turn] for name in ("z", "z_part"))
        return network(hot, parts.features, parts.inside, z, z_part), parts

    def _distance(self, made: Tensor, batch: Batch) -> Tensor:
        """CLIP's distance: of whole pictures, or of some of their objects, as the batch's coin fell."""
        real = batch["pixels"]
        if bool(batch["whole"][0]):
            return self.similarity(made, real)
        crops = []
        for item, instances in enumerate(instances_of(batch, self.convention)):
            for instance in instances.instances:
                top, bottom, left, right = instance.box
                both = torch.stack([made[item], real[item]])[:, :, top:bottom, left:right]
                crops.append(F.interpolate(both, (CROP_SIDE, CROP_SIDE), mode="bilinear", align_corners=False))
        if not crops:
            return self.similarity(made, real)
        ours, theirs = torch.stack(crops[:CROPS], 1)
        return self.similarity(ours, theirs)

    def _refreshed(self) -> IPoseNetwork:
        """The network as it stands, with batch statistics and vectors of spectral norms of its own."""
        ours = self.network
        fresh = IPoseNetwork(
            ours.classes, ours.channels, ours.z_channels, _alike(ours.partnet.model), spectral=True
        ).to(self.place.device)
        fresh.load_state_dict(ours.state_dict())
        fresh.requires_grad_(False).train()
        size = self.config.batch
        for start in range(0, self.config.ipose.refresh * size, size):
            batch = torch.utils.data.default_collate([self.samples[slot] for slot in range(start, start + size)])
            self._make(fresh, {name: value.to(self.place.device) for name, value in batch.items()}, 0)
        return fresh.eval()


def _alike(network: PartNetwork) -> PartNetwork:
    """A new part network of the same widths."""
    return PartNetwork(**widths_of(network.state_dict()))


def _check(config: Config) -> None:
    """:raises ValueError: for a size that the networks cannot halve, or no supports."""
    for name, data in (("data", config.data), ("validation.data", config.validation.data)):
        if data is not None and any(side % STRIDE for side in data.size):
            raise ValueError(f"training ipose: {name}.size is {list(data.size)}, expected multiples of {STRIDE}")
    if config.ipose.supports is None:
        raise ValueError(
            "training ipose: ipose.supports is missing; make a support pack of the part data set: python -m "
            "amadapter_core.generators.ipose pack Full_Parts supports.safetensors"
        )
