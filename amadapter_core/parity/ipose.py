"""iPOSE's golden set: part maps of shapes, and pictures of label maps with instances in both aspects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from ..generators.building import built
from ..generators.ipose import PartMaps, Supports, from_rows, load_part_network
from ..generators.ipose.networks import IPoseNetwork, sizes_of
from ..generators.ipose.part_maps import categories_of, predict, remember
from ..generators.semantic import one_hot
from ..generators.spectral import baked
from .report import Check, tensors

PARTS = 1e-5
FEATURES = 1e-4
PICTURES = 1e-4
CATEGORIES = (24, 26, 36, 2)
Z_CHANNELS = 8
_PART_NETWORK = "partnet_weights.safetensors"
_GENERATOR = "generator_weights_ch4.safetensors"
_SUPPORTS = "partnet_io.safetensors"


def part_network(folder: Path, file: str) -> Iterator[Check]:
    """Compare part logits and features."""
    io, network = tensors(folder / file), load_part_network(folder / _PART_NETWORK)
    examples = io["support_labels"][:, io["cat"]].transpose(0, 1)
    logits, features = network(io["shape_in"][:, :1], network.remember(examples))
    yield Check.of(file, "part logits", logits, io["part_logits"], PARTS)
    yield chosen(file, logits, io["part_logits"])
    yield Check.of(file, "part features", features[:, ::8], io["part_features"], FEATURES)
    yield Check.of(file, "sum of part features", features.sum(1), io["part_features_sum"], 1e-6, "relative")


def synthesis(folder: Path, file: str) -> Iterator[Check]:
    """Compare the parts of whole scenes, and the pictures made of them."""
    io, network = tensors(folder / file), generator(folder)
    labels = tensors(folder / _SUPPORTS)["support_labels"]
    supports = Supports({category: labels[:, place] for place, category in enumerate(CATEGORIES)})
    rows = io["crop_params"][0, : int(io["ins_num"])]
    instances = from_rows(io["instance"][0, 0], rows, whole_ids=float(io["instance"].max()) >= 1000)
    model = network.partnet.model
    parts = predict(model, [instances], remember(model, categories_of([instances]), supports))
    yield Check.of(file, "part logits", parts.logits, io["composed_part"], PARTS)
    yield chosen(file, parts.logits, io["composed_part"])
    yield Check.of(file, "part features", parts.features[:, ::16], io["composed_fea_every16"], FEATURES)

    recorded = watched(network)
    picture = network(*inputs(io, parts, network.classes))
    for name, ours in recorded.items():
        yield Check.of(file, name, ours, io[name], PICTURES)
    yield Check.of(file, "picture", picture, io["image"], PICTURES)


def chosen(file: str, ours: Tensor, theirs: Tensor) -> Check:
    """Our part of each pixel is their best one, too. Parts that no support shows tie, so that ids may differ."""
    picked = theirs.gather(1, ours.argmax(1, keepdim=True))
    return Check.of(file, "part maps", picked, theirs.amax(1, keepdim=True), PARTS)


def generator(folder: Path) -> IPoseNetwork:
    """The golden generator with the golden part network in its place."""
    weights = baked(tensors(folder / _GENERATOR))
    weights |= {f"partnet.model.{key}": value for key, value in tensors(folder / _PART_NETWORK).items()}
    sizes = sizes_of(weights, Z_CHANNELS)
    return built(lambda: IPoseNetwork(**sizes), weights, folder / _GENERATOR, "iPOSE's generator")


def inputs(io: dict[str, Tensor], parts: PartMaps, classes: int) -> tuple[Tensor, ...]:
    """What the network takes, of a golden file and its part maps."""
    hot = one_hot(io["label"][:, 0].long(), classes)
    return hot, parts.features, parts.inside, io["z"], io["z_part"]


def watched(network: IPoseNetwork) -> dict[str, Tensor]:
    """Fills with what comes out of some modules in the next pass."""
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[torch.nn.Module, tuple, Tensor], None]:
        return lambda module, given, made: seen.update({name: made})

    network.conv_part.register_forward_hook(keep("conv_part"))
    for i, block in enumerate(network.body):
        block.register_forward_hook(keep(f"body{i}"))
    return seen


CHECKS: dict[str, Callable[[Path, str], Iterator[Check]]] = {
    "partnet_io.safetensors": part_network,
    "generator_io_*.safetensors": synthesis,
}
"""What is checked for each file, by the pattern of its name."""
