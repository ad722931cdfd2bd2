"""Read SCA-DM's weights: the published Lightning checkpoint, or what `pack` makes of it.

A checkpoint holds three networks under prefixes, and beside the UNet as it is a moving average of it (EMA) whose
names have lost their dots. The published demonstration uses the raw weights, the published evaluation the average.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import torch
from torch import Tensor

from ...checkpoints.errors import AnyPath, CheckpointError, fault
from ...checkpoints.formats import Source, open_file
from ...checkpoints.reading import locate
from ...checkpoints.recognition import section
from ..building import built
from ..conversion import size_of
from .configuration import Configuration, first_stage_sizes
from .diffusion import betas
from .first_stage import FirstStage
from .style_encoder import StyleEncoder
from .synthesis import ClassDiffusionGenerator
from .unet import UNet

UNET, STYLE_ENCODER, FIRST_STAGE = "model.diffusion_model.", "cond_stage_model.", "first_stage_model."
_EMA = "model_ema."
_EMA_COUNTERS = ("decay", "num_updates")
_ANCHOR = f"{UNET}time_embed.0.weight"
_CODEBOOK = "quantize.embedding.weight"
_FIRST_STAGE_PARTS = ("encoder", "decoder", "quantize", "quant_conv", "post_quant_conv")
_WEIGHTS, _SIZE = "am_adapter.weights", "am_adapter.size"
_WHAT = {UNET: "SCA-DM's UNet", STYLE_ENCODER: "SCA-DM's style encoder", FIRST_STAGE: "SCA-DM's first stage"}
_WHOLE = "Use the whole checkpoint (checkpoints/last.ckpt), or one that was converted here"


class Weights(str, Enum):
    """Which of the UNet's weights."""

    RAW = "raw"
    EMA = "ema"


def load(
    path: AnyPath,
    *,
    weights: Weights | str | None = None,
    size: tuple[int, int] | None = None,
    head_width: int = 32,
) -> ClassDiffusionGenerator:
    """Load an SCA-DM for inference, strictly.

    :param path: the checkpoint's file.
    :param weights: "raw" or "ema"; None takes the average where the file has it.
    :param size: (H, W) of the pictures, multiples of 64; None takes what the file says, or else 256 x 256, for 34
        classes (Cityscapes) 256 x 512.
    :param head_width: channels of an attention head of the UNet, 32 in all published models.
    :return: on the CPU, fp32.
    :raises FileNotFoundError: when there is no such file.
    :raises CheckpointError: when it holds something else, not all of it, or not the weights asked for.
    """
    networks, metadata = _read(open_file(locate(path)), weights)
    return assembled(networks, path, size or _written_size(path, metadata), head_width)


def load_first_stage(path: AnyPath) -> FirstStage:
    """Load a first stage alone: latent diffusion's VQ-f4, or that of an SCA-DM; what else a file holds is left.

    :raises FileNotFoundError: when there is no such file.
    :raises CheckpointError: when it holds none, or not all of it.
    """
    source = open_file(locate(path))
    roots = [key.removesuffix(_CODEBOOK) for key in source.tensors if key.endswith(_CODEBOOK)]
    if len(roots) != 1:
        raise fault(
            source.path,
            "holds no vector-quantised first stage",
            expected=f"one tensor {_CODEBOOK}",
            evidence=_seen(source),
            action="Use latent diffusion's vq-f4/model.ckpt",
        )
    # The published file has the networks of its training's loss beside it.
    wanted = section(source.tensors, roots[0])
    wanted = [key for key in wanted if key.split(".")[0] in _FIRST_STAGE_PARTS]
    values = source.fetch([roots[0] + key for key in wanted])
    weights = {key: values[roots[0] + key] for key in wanted}
    try:
        sizes = first_stage_sizes(weights)
    except KeyError as error:
        raise fault(path, "is no complete first stage", expected=f"a tensor {error.args[0]}") from None
    return built(lambda: FirstStage(**sizes), weights, path, _WHAT[FIRST_STAGE])


def assembled(
    networks: Mapping[str, Mapping[str, Tensor]],
    path: AnyPath,
    size: tuple[int, int] | None = None,
    head_width: int = 32,
) -> ClassDiffusionGenerator:
    """A generator of the weights of its networks, strictly; meta tensors do, too.

    :param networks: state dicts by UNET, STYLE_ENCODER and FIRST_STAGE.
    :param path: the file, for messages; the rest as for `load`.
    """
    try:
        config = Configuration.of(
            networks[UNET], networks[STYLE_ENCODER], networks[FIRST_STAGE], tuple(size) if size else None, head_width
        )
    except KeyError as error:
        raise fault(
            path, "is an SCA-DM, but not a complete one", expected=f"a tensor {error.args[0]}", action=_WHOLE
        ) from None
    except ValueError as error:
        raise fault(path, f"is an SCA-DM that cannot be used: {error}") from None
    makers = {
        UNET: lambda: UNet(**config.unet),
        STYLE_ENCODER: lambda: StyleEncoder(**config.style_encoder),
        FIRST_STAGE: lambda: FirstStage(**config.first_stage),
    }
    made = [built(make, networks[prefix], path, _WHAT[prefix]) for prefix, make in makers.items()]
    return ClassDiffusionGenerator(config, *made)


def pack(
    path: AnyPath, *, weights: Weights | str | None = None, size: tuple[int, int] | None = None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What a converted file holds: the three networks under their published prefixes, one choice of the UNet's weights,
    and the metadata that loading needs.

    :raises FileNotFoundError: as `load`, as well as CheckpointError.
    """
    networks, metadata = _read(open_file(locate(path)), weights)
    loaded = assembled(networks, path, size or _written_size(path, metadata))
    return packed(loaded, metadata[_WEIGHTS])


def packed(generator: ClassDiffusionGenerator, weights: Weights | str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The same of a generator, whose UNet has the given kind of weights."""
    networks = {UNET: generator.unet, STYLE_ENCODER: generator.style_encoder, FIRST_STAGE: generator.first_stage}
    tensors = {f"{prefix}{key}": value for prefix, net in networks.items() for key, value in net.state_dict().items()}
    return tensors, {_WEIGHTS: Weights(weights).value, _SIZE: "x".join(map(str, generator.size))}


def _read(source: Source, weights: Weights | str | None) -> tuple[dict[str, dict[str, Tensor]], dict[str, str]]:
    """The three networks under their own names, and the metadata, which says which of the UNet's weights they are."""
    roots = [key.removesuffix(_ANCHOR) for key in source.tensors if key.endswith(_ANCHOR)]
    if len(roots) != 1:
        raise _wrong(source)
    found = section(source.tensors, roots[0])
    for prefix in (STYLE_ENCODER, FIRST_STAGE):
        if not any(key.startswith(prefix) for key in found):
            raise fault(
                source.path,
                "is an SCA-DM, but not a complete one",
                expected=f"{_WHAT[prefix]} ({prefix}*)",
                action=_WHOLE,
            )
    chosen = _choose(source, found, weights)
    names = {prefix: {key: prefix + key for key in section(found, prefix)} for prefix in _WHAT}
    if chosen is Weights.EMA and _has_average(found):
        names[UNET] = _averaged(source, found, names[UNET])
    values = source.fetch([roots[0] + name for of in names.values() for name in of.values()])
    networks = {prefix: {key: values[roots[0] + name] for key, name in of.items()} for prefix, of in names.items()}
    if "betas" in found:
        _check_schedule(source, source.fetch([f"{roots[0]}betas"])[f"{roots[0]}betas"])
    return networks, source.metadata | {_WEIGHTS: chosen.value}


def _choose(source: Source, found: Mapping[str, Tensor], weights: Weights | str | None) -> Weights:
    """Which weights to take of a file that has both, or one of them."""
    try:
        wanted = None if weights is None else Weights(weights)
    except ValueError:
        raise CheckpointError(f"AM-Adapter: SCA-DM's weights are 'raw' or 'ema', not {weights!r}") from None
    if _has_average(found):
        return wanted or Weights.EMA
    kept = Weights(source.metadata.get(_WEIGHTS, Weights.RAW))
    if wanted not in (None, kept):
        raise fault(
            source.path,
            f"has no {wanted.value} weights of SCA-DM's UNet, only the {kept.value} ones",
            expected=f"{_EMA}*" if wanted is Weights.EMA else "a file with raw weights",
            action=f"Choose {kept.value}, or convert the published checkpoint again with weights={wanted.value}",
        )
    return kept


def _has_average(found: Mapping[str, Tensor]) -> bool:
    return any(key.startswith(_EMA) for key in found)


def _averaged(source: Source, found: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, str]:
    """The average's names by the UNet's own."""
    averaged = {key: _EMA + "diffusion_model" + key.replace(".", "") for key in names}
    missing = [name for name in averaged.values() if name not in found]
    extra = {key for key in found if key.startswith(_EMA)} - set(averaged.values())
    extra -= {_EMA + name for name in _EMA_COUNTERS}
    if missing or extra:
        told = f"missing {missing[0]}" if missing else f"left over {min(extra)}"
        raise fault(
            source.path,
            "has a moving average (EMA) that is not of its UNet",
            expected=f"{len(averaged)} tensors",
            evidence=told,
            action="Choose the raw weights",
        )
    return averaged


def _check_schedule(source: Source, found: Tensor) -> None:
    """Another schedule would make noise of every picture, without a word."""
    ours = betas().float()
    if found.shape != ours.shape or not torch.allclose(found.float(), ours, rtol=1e-4, atol=0):
        raise fault(
            source.path,
            "was trained with another noise schedule than SCA-DM's",
            expected=f"{len(ours)} betas from {ours[0]:.6f} to {ours[-1]:.6f}",
            evidence=f"{found.numel()} from {float(found.flatten()[0]):.6f} to {float(found.flatten()[-1]):.6f}",
        )


def _wrong(source: Source) -> CheckpointError:
    expected = f"{UNET}*, {STYLE_ENCODER}* and {FIRST_STAGE}*"
    return fault(source.path, "is no SCA-DM", expected=expected, evidence=_seen(source), action=_WHOLE)


def _seen(source: Source) -> str:
    names = list(source.tensors)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "no tensors"


def _written_size(path: AnyPath, metadata: Mapping[str, str]) -> tuple[int, int] | None:
    if (text := metadata.get(_SIZE)) is None:
        return None
    try:
        return size_of(text)
    except ValueError:
        raise fault(path, f"has {_SIZE} {text!r}", expected="height x width, e.g. 256x512") from None
