"""clVAE, iPOSE and SCA-DM with random weights, some thousand parameters each: their topology, none of their weight."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .models import core

SIZE = (64, 64)
LAYERS, WIDTH = 5, 8
ADE20K, CITYSCAPES = 151, 34
ADE20K_CARS, CITYSCAPES_CARS = {21: 26, 13: 24}, {26: 26, 24: 24}


def tiny_generator(system: str, classes: int, by_class: Mapping[int, int] | None = None, seed: int = 0) -> Any:
    """A generator of the core, on the CPU.

    :param system: "clvae", "ipose" or "scadm".
    :param by_class: iPOSE's part categories by label id.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return {"clvae": _clvae, "ipose": _ipose, "scadm": _scadm}[system](classes, by_class or {})


def tiny_supports(*categories: int, seed: int = 0) -> Any:
    """Examples of parts of some categories: chance."""
    generator = torch.Generator().manual_seed(seed)
    labels = {c: torch.randint(0, 9, (2, 64, 64), generator=generator) for c in categories}
    return core("generators.ipose").Supports(labels)


def stand_in(name: str, seed: int = 0) -> Any:
    """What stands in for a published file: its system and its data set are told by its name."""
    cityscapes = "cityscapes" in name
    by_class = CITYSCAPES_CARS if cityscapes else ADE20K_CARS
    system = next(system for system in ("clvae", "ipose", "scadm") if system in name)
    return tiny_generator(system, CITYSCAPES if cityscapes else ADE20K, by_class, seed)


def save(generator: Any, path: Path) -> None:
    """Write a generator as the core converts it."""
    metadata, name = {}, generator.system.value
    loading = core(f"generators.{name}.loading")
    if name == "clvae":
        tensors = loading.joined(generator.generator.state_dict(), generator.encoder.state_dict())
    elif name == "ipose":
        tensors = generator.network.state_dict()
        metadata = loading.metadata_of_generator(generator.network, generator.convention)
    else:
        networks = {
            loading.UNET: generator.unet,
            loading.STYLE_ENCODER: generator.style_encoder,
            loading.FIRST_STAGE: generator.first_stage,
        }
        tensors = {prefix + key: value for prefix, net in networks.items() for key, value in net.state_dict().items()}
    if name != "ipose":
        metadata = {"am_adapter.size": "x".join(map(str, generator.size))}
    core("checkpoints").save_tensors(path, tensors, metadata)


def _clvae(classes: int, _: Mapping[int, int]) -> Any:
    clvae, networks = core("generators.clvae"), core("generators.clvae.networks")
    config = clvae.Configuration(classes=classes, width=2, local=4, shared=6, size=SIZE)
    generator = networks.Generator(config)
    generator.conv_img.weight.data.mul_(20)  # so that codes show
    return clvae.ClassLatentGenerator(_still(generator), _still(networks.Encoder(classes, 2, 4, 6)))


def _ipose(classes: int, by_class: Mapping[int, int]) -> Any:
    ipose, networks = core("generators.ipose"), core("generators.ipose.networks")
    parts = core("generators.ipose.part_network").PartNetwork((3, 4, 5, 6), (6, 5, 4))
    convention = ipose.Convention(name="tiny", classes=classes, size=SIZE, by_class=by_class)
    network = networks.IPoseNetwork(classes, 2, 3, parts).requires_grad_(False)
    network.conv_img.weight.data.mul_(5)
    hot = torch.eye(classes)[torch.randint(0, classes, (1, *SIZE))].permute(0, 3, 1, 2)
    noise = torch.randn(1, *network.noise_shape(SIZE))
    for _ in range(5):  # statistics of what it computes, as after training
        network(hot, torch.randn(1, 36, *SIZE), hot[:, :1], torch.randn(1, 3), noise)
    return ipose.PartGuidedGenerator(_still(network), convention)


def _scadm(classes: int, _: Mapping[int, int]) -> Any:
    scadm = core("generators.scadm")
    unet = {"classes": classes, "width": 32, "factors": (1, 2), "blocks": 1, "transformers": (1,), "head_width": 32}
    config = scadm.Configuration(
        unet=unet | {"context": LAYERS * WIDTH, "channels": 3},
        style_encoder={"classes": classes, "features": 1, "downs": 6, "scales": LAYERS, "width": WIDTH},
        first_stage={"width": 32, "factors": (1, 1, 1), "blocks": 1, "latent": 3, "entries": 64},
        size=SIZE,
    )
    networks = (
        core("generators.scadm.unet").UNet(**config.unet),
        core("generators.scadm.style_encoder").StyleEncoder(**config.style_encoder),
        core("generators.scadm.first_stage").FirstStage(**config.first_stage),
    )
    return scadm.ClassDiffusionGenerator(config, *map(_still, networks))


def _still(network: torch.nn.Module) -> torch.nn.Module:
    return network.requires_grad_(False).eval()
