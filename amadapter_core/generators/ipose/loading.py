"""Read iPOSE's weights: a generator with its part network, or the part network alone.

Published are `<iteration>_EMA.pth`, `<iteration>_G.pth` and `<iteration>_D.pth` in one folder; the first is the moving
average of the second, both hold the part network, the third is the discriminator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from ...checkpoints.errors import AnyPath, CheckpointError, fault
from ...checkpoints.formats import Source, open_file
from ...checkpoints.reading import locate
from ...checkpoints.recognition import section
from ..building import built
from ..spectral import baked
from ..system import System, recognise
from .conventions import Convention, convention_for
from .networks import Z_CHANNELS, IPoseNetwork, sizes_of
from .part_network import PartNetwork, widths_of
from .supports import Supports, load_supports
from .synthesis import PartGuidedGenerator

PART_PREFIX = "partnet.model."
_Z, _CONVENTION = "am_adapter.z_channels", "am_adapter.convention"
_ROLES, _DISCRIMINATOR = {"ema": "EMA", "raw": "G"}, "D"


def load(
    path: AnyPath,
    *,
    supports: AnyPath | Supports | None = None,
    part_network: AnyPath | None = None,
    data_set: str | Convention | None = None,
    z_channels: int | None = None,
    weights: str | None = None,
) -> PartGuidedGenerator:
    """Load an iPOSE generator for inference, strictly.

    :param path: a generator's file.
    :param supports: a support pack or its file; without one there are no part maps.
    :param part_network: a file to take the part network from instead, e.g. one trained further.
    :param data_set: the convention of classes and instances; None takes the file's, or that of its number of classes.
    :param z_channels: of the style noise, 64 in all published models; None takes the file's, or that.
    :param weights: "ema" or "raw" takes the one of the two files beside each other, whichever was named; None takes the
        file itself.
    :return: on the CPU, fp32, spectral normalisation baked into the weights.
    :raises FileNotFoundError: when a file is not there.
    :raises CheckpointError: when a file holds something else, or not all of it.
    :raises ValueError: when the data set has another number of classes than the model, or for an unknown choice.
    """
    source = open_file(published_file(path, weights))
    tensors = _generator(source)
    if part_network is not None:
        tensors = {key: value for key, value in tensors.items() if not key.startswith(PART_PREFIX)}
        tensors |= {PART_PREFIX + key: value for key, value in _part_weights(part_network)[1].items()}
    sizes = _sizes(source, lambda: sizes_of(tensors, z_channels or int(source.metadata.get(_Z, Z_CHANNELS))))
    network = built(lambda: IPoseNetwork(**sizes), tensors, source.path, "iPOSE's generator")
    if data_set is None and _CONVENTION in source.metadata:
        data_set = Convention.from_json(source.metadata[_CONVENTION])
    convention = convention_for(network.classes, data_set)
    if supports is not None and not isinstance(supports, Supports):
        supports = load_supports(supports)
    return PartGuidedGenerator(network, convention, supports)


def load_part_network(path: AnyPath) -> PartNetwork:
    """Load the part network, from a file of its own or from a generator's.

    :raises FileNotFoundError: when there is no such file.
    :raises CheckpointError: when it holds something else, or not all of it.
    """
    source, weights = _part_weights(path)
    widths = _sizes(source, lambda: widths_of(weights))
    return built(lambda: PartNetwork(**widths), weights, source.path, "iPOSE's part network")


def pack(
    path: AnyPath,
    *,
    part_network: AnyPath | None = None,
    data_set: str | None = None,
    z_channels: int | None = None,
    weights: str | None = None,
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What a converted file holds: the generator and its part network with baked weights, and the metadata that
    loading needs. The parameters and errors are those of `load`.
    """
    loaded = load(path, part_network=part_network, data_set=data_set, z_channels=z_channels, weights=weights)
    return loaded.network.state_dict(), metadata_of_generator(loaded.network, loaded.convention)


def metadata_of_generator(network: IPoseNetwork, convention: Convention) -> dict[str, str]:
    """What a file of a generator says of it beside its weights."""
    return {_Z: str(network.z_channels), _CONVENTION: convention.to_json()}


def load_to_train(path: AnyPath, z_channels: int = Z_CHANNELS, part_network: PartNetwork | None = None) -> IPoseNetwork:
    """Load a generator whose training goes on: with its spectral norms as they are.

    :param z_channels: of the style noise, where the file does not say.
    :param part_network: instead of the file's.
    :return: on the CPU, fp32, in training mode.
    :raises FileNotFoundError: when there is no such file.
    :raises CheckpointError: when it holds something else, not all of it, or baked norms.
    """
    source = open_file(published_file(path))
    tensors = _raw_generator(source)
    if "body.0.conv_0.weight_orig" not in tensors:
        raise fault(
            source.path,
            "is an iPOSE generator with baked spectral norms",
            expected="one to train on, with weight_orig, weight_u and weight_v",
            evidence="body.0.conv_0.weight",
            action="Use the published best_G.pth, or latest_G.safetensors of a checkpoint of a run",
        )
    sizes = _sizes(source, lambda: sizes_of(tensors, int(source.metadata.get(_Z, z_channels))))
    network = built(lambda: IPoseNetwork(**sizes, spectral=True), tensors, source.path, "iPOSE's generator")
    network.requires_grad_(True).train()
    if part_network is not None:
        network.partnet.model = part_network
    return network


def published_file(path: AnyPath, weights: str | None = None) -> Path:
    """The file itself, or the other one of the same iteration.

    :param weights: "ema" or "raw", see `load`.
    :raises FileNotFoundError: when it is not there.
    :raises CheckpointError: when its name says that it is the discriminator, or says nothing and a choice was made.
    """
    path = locate(path)
    iteration, _, role = path.stem.rpartition("_")
    if role == _DISCRIMINATOR:
        raise fault(
            path,
            "is a discriminator by its name",
            expected="a generator",
            action=f"Use {iteration}_EMA{path.suffix} or {iteration}_G{path.suffix}",
        )
    if weights is None:
        return path
    if weights not in _ROLES:
        raise ValueError(f"iPOSE: weights is {weights!r}, expected {' or '.join(_ROLES)}")
    if role not in _ROLES.values():
        raise fault(
            path,
            f"does not say by its name where its {weights} weights are",
            expected="a name such as best_EMA.pth or best_G.pth",
            action="Leave that choice out to take the file itself",
        )
    return locate(path.with_name(f"{iteration}_{_ROLES[weights]}{path.suffix}"))


def _generator(source: Source) -> dict[str, Tensor]:
    """The generator's weights with spectral normalisation baked."""
    found = _raw_generator(source)
    try:
        return baked(found)
    except ValueError as error:
        raise fault(source.path, f"is damaged: {error}", action="Download or save it again") from error


def _raw_generator(source: Source) -> dict[str, Tensor]:
    """The generator's weights as they are, whatever prefix they have."""
    try:
        system = recognise(source.tensors)
    except CheckpointError as error:
        raise fault(source.path, "is no iPOSE generator", evidence=str(error)) from error
    anchors = [key for key in source.tensors if key == "fc.weight" or key.endswith(".fc.weight")]
    if system is not System.IPOSE or len(anchors) != 1:
        raise fault(
            source.path,
            f"is a file of {system.title} with {len(anchors)} layers fc",
            expected="one iPOSE generator",
            evidence=", ".join(anchors) or ", ".join(list(source.tensors)[:3]),
        )
    return _under(source, anchors[0].removesuffix("fc.weight"))


def _part_weights(path: AnyPath) -> tuple[Source, dict[str, Tensor]]:
    source = open_file(locate(path))
    first = "catt0.query_conv.0.weight"
    anchors = [key for key in source.tensors if key == first or key.endswith("." + first)]
    if len(anchors) != 1:
        names = ", ".join(list(source.tensors)[:3]) or "no tensors"
        raise fault(
            source.path,
            f"holds {len(anchors) or 'no'} part networks",
            expected="one, as best_G.pth of the part model or in a generator's file",
            evidence=names,
        )
    return source, _under(source, anchors[0].removesuffix(first))


def _under(source: Source, prefix: str) -> dict[str, Tensor]:
    return section(source.fetch([key for key in source.tensors if key.startswith(prefix)]), prefix)


def _sizes(source: Source, read: Callable[[], Mapping]) -> Mapping:
    try:
        return read()
    except (KeyError, IndexError) as error:
        raise fault(
            source.path,
            "is not complete: a layer that tells the network's size is missing",
            evidence=str(error),
            action="Use the whole state dict of one network",
        ) from error
    except ValueError as error:
        raise fault(source.path, f"does not fit: {error}") from error
