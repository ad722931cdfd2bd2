"""Read clVAE's weights: the published pair of files, or both networks in one.

Published are `latest_net_G.pth` and `latest_net_E.pth`; a converted file holds them under `G.` and `E.`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ...checkpoints.errors import AnyPath, fault
from ...checkpoints.formats import Source, open_file
from ...checkpoints.reading import locate
from ...checkpoints.recognition import section
from ..building import built
from ..spectral import baked
from .configuration import Configuration
from .networks import Encoder, Generator
from .synthesis import ClassLatentGenerator

_GENERATOR = ("embedding.weight", "conv_img.weight", "fc.weight", "G_middle_0.norm_0.mlp_shared.0.weight")
_ENCODER = ("fc_mu1.weight", "fc_mu.weight", "layer1.0.weight")
_WHOLE = "Use the generator's file (latest_net_G.pth), the encoder's (latest_net_E.pth) beside it"
_SIZE = "am_adapter.size"


def load(path: AnyPath, *, encoder: AnyPath | None = None, size: tuple[int, int] | None = None) -> ClassLatentGenerator:
    """Load a clVAE for inference, strictly.

    :param path: the generator's file, or one with both networks.
    :param encoder: the encoder's file; None takes the one in `path`, or the file of the same name with `_E` for `_G`
        where there is one, else goes without.
    :param size: (H, W) of the pictures, which the weights do not tell; see `Configuration.of`.
    :return: on the CPU, fp32, spectral normalisation baked into the weights.
    :raises FileNotFoundError: when a file that was named is not there.
    :raises CheckpointError: when a file holds something else, not all of it, or networks of two different models.
    """
    networks, metadata, place = _read(path, encoder)
    if size is None and _SIZE in metadata:
        size = _written_size(place, metadata[_SIZE])
    config = _configuration(place, networks["G"], size)
    generator = built(lambda: Generator(config), networks["G"], place, "clVAE's generator")
    if "E" not in networks:
        return ClassLatentGenerator(generator)
    return ClassLatentGenerator(generator, _encoder(networks["E"], config, encoder or place))


def pack(
    path: AnyPath, *, encoder: AnyPath | None = None, size: tuple[int, int] | None = None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What a converted file holds: both networks with baked weights, and the metadata that loading needs.

    :raises FileNotFoundError: as `load`, as well as CheckpointError.
    """
    loaded = load(path, encoder=encoder, size=size)
    states = [None if network is None else network.state_dict() for network in (loaded.generator, loaded.encoder)]
    return joined(*states), {_SIZE: "x".join(map(str, loaded.size))}


def joined(generator: Mapping[str, Tensor], encoder: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """Both networks' tensors as one file has them, spectral normalisation baked."""
    networks = {"G": generator} if encoder is None else {"G": generator, "E": encoder}
    return {f"{letter}.{key}": value for letter, state in networks.items() for key, value in baked(state).items()}


def _read(path: AnyPath, encoder: AnyPath | None) -> tuple[dict[str, dict[str, Tensor]], Mapping[str, str], Path]:
    """The networks found, by G and E with spectral normalisation baked, and the generator's file with its metadata."""
    source = open_file(locate(path))
    networks = {letter: found for letter in "GE" if (found := _network(source, letter)) is not None}
    if "G" not in networks:
        told = "clVAE's encoder alone" if "E" in networks else "no clVAE"
        raise fault(source.path, f"is {told}", expected="clVAE's generator", evidence=_seen(source), action=_WHOLE)
    if encoder is None and "E" not in networks:
        sibling = source.path.with_name(source.path.stem.removesuffix("_G") + "_E" + source.path.suffix)
        encoder = sibling if source.path.stem.endswith("_G") and sibling.is_file() else None
    if encoder is not None:
        other = open_file(locate(encoder))
        found = _network(other, "E")
        if found is None:
            raise fault(other.path, "holds no clVAE encoder", expected="fc_mu1 to fc_var5", evidence=_seen(other))
        networks["E"] = found
    return networks, source.metadata, source.path


def _network(source: Source, letter: str) -> dict[str, Tensor] | None:
    """One of the two networks, whatever prefix it has; None where it is not."""
    first, *others = _GENERATOR if letter == "G" else _ENCODER
    prefixes = [key[: -len(first)] for key in source.tensors if key == first or key.endswith("." + first)]
    names = set(source.tensors)
    prefixes = [p for p in prefixes if all(p + o in names or f"{p}{o}_orig" in names for o in others)]
    if not prefixes:
        return None
    if len(prefixes) > 1:
        places = ", ".join(map(repr, prefixes))
        raise fault(source.path, f"holds {len(prefixes)} such networks, under {places}", expected="one of each")
    keys = [key for key in source.tensors if key.startswith(prefixes[0])]
    found = section(source.fetch(keys), prefixes[0])
    try:
        return baked(found)
    except ValueError as error:
        raise fault(source.path, f"is damaged: {error}", action="Download or save it again") from error


def _configuration(path: Path, weights: Mapping[str, Tensor], size: tuple[int, int] | None) -> Configuration:
    if "up_4.conv_0.weight" in weights:
        raise fault(
            path,
            "is a clVAE generator with seven doublings (num_upsampling_layers=most)",
            expected="normal or more, as all published models are",
            evidence="up_4.conv_0.weight",
        )
    try:
        return Configuration.of(weights, size)
    except ValueError as error:
        raise fault(path, f"is a clVAE generator: {error}") from error


def _encoder(weights: Mapping[str, Tensor], config: Configuration, path: AnyPath) -> Encoder:
    width = weights["layer1.0.weight"].shape[0]
    local, shared = weights["fc_mu1.weight"].shape[0], weights["fc_mu.weight"].shape[0]
    if (local, shared) != (config.local, config.shared):
        raise fault(
            path,
            f"is an encoder of codes of {local} and {shared} numbers",
            expected=f"{config.local} and {config.shared}, as the generator takes them",
            evidence=f"fc_mu1.weight {list(weights['fc_mu1.weight'].shape)}",
            action="Use the two files of one training run",
        )
    return built(lambda: Encoder(config.classes, width, local, shared), weights, path, "clVAE's encoder")


def _written_size(path: Path, text: str) -> tuple[int, int]:
    try:
        height, width = (int(side) for side in text.split("x"))
    except ValueError:
        raise fault(path, f"has {_SIZE} {text!r}", expected="height x width, e.g. 256x512") from None
    return height, width


def _seen(source: Source) -> str:
    names = list(source.tensors)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "no tensors"
