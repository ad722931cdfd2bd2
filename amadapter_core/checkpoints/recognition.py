"""Tell what network a state dict belongs to, from its keys and shapes alone.

A file name is never looked at: the authors' training saves its pair through accelerate as `model.safetensors`
(the ControlNeXt) and `model_1.safetensors` (the UNet), names that say nothing. Key names of the two
AM-Adapter networks are those of cvlab-kaist/AM-Adapter; the UNet is SD1.5 in the naming of diffusers or of
the original latent diffusion code (LDM).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from .kinds import OURS, Kind


class Recognition(NamedTuple):
    """What `recognise` found.

    kind: the network. details: facts read from shapes, JSON values only. evidence: the keys with shapes that
    told. prefix: what stands before the network's own key names in the state dict it was found in.
    """

    kind: Kind
    details: dict[str, Any]
    evidence: str
    prefix: str


# A network is found under whatever prefix its first anchor carries, provided all its anchors are there: this
# takes DistributedDataParallel's `module.`, `state_dict.`/`ema.`/`model.` containers and LDM's
# `model.diffusion_model.` alike.
_ANCHORS: dict[Kind, tuple[str, ...]] = {
    Kind.CONTROLNEXT: (
        "mid_convs.1.weight",
        "embedding.0.weight",
        "time_embedding.linear_1.weight",
        "down_res.0.conv1.weight",
        "down_sample.0.conv.weight",
    ),
    Kind.MATCHER: (
        "encoders.0.conv4d.0.0.query_conv.weight",
        "encoders.0.conv4d.0.0.supp_conv.weight",
    ),
    Kind.UNET_DIFFUSERS: (
        "mid_block.resnets.0.conv1.weight",
        "conv_in.weight",
        "conv_out.weight",
        "time_embedding.linear_1.weight",
        "down_blocks.0.resnets.0.conv1.weight",
        "up_blocks.0.resnets.0.conv1.weight",
    ),
    Kind.UNET_LDM: (
        "input_blocks.0.0.weight",
        "time_embed.0.weight",
        "middle_block.0.in_layers.2.weight",
        "output_blocks.0.0.in_layers.2.weight",
        "out.2.weight",
    ),
}

# Kinds that are refused: the first pattern found in any key decides, so the order is special to general.
_FOREIGN: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    (
        Kind.LORA,
        re.compile(r"lora_(up|down|A|B|mid)\b|\.lora\.|lora_(unet|te\d?)_|\bhada_w1|\blokr_w[12]|\.oft_"),
    ),
    (Kind.IP_ADAPTER, re.compile(r"(^|\.)(ip_adapter\.\d+\.|image_proj\.)")),
    (
        Kind.CONTROLNET,
        re.compile(r"(^|\.)(controlnet_(down_blocks|mid_block|cond_embedding)\.|zero_convs\.\d|input_hint_block\.\d)"),
    ),
    (Kind.T2I_ADAPTER, re.compile(r"^(adapter\.)?body\.\d+\.(resnets\.\d+\.)?(block1|in_conv)\.")),
    (
        Kind.DIFFUSION_TRANSFORMER,
        re.compile(r"(^|\.)(double_blocks\.|joint_blocks\.|transformer_blocks\.\d+\.norm1_context\.)"),
    ),
)

# Tried only when none of our networks is in the file: a full checkpoint holds a VAE and a text encoder beside
# its UNet, a training state an optimizer.
_TEMPORAL = re.compile(r"motion_modules|temporal_transformer|time_mixer|time_stack")
_FOREIGN_ALONE: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    (
        Kind.GENERATOR,
        re.compile(
            r"(^|\.)(fc_mu1|(G_middle_0\.norm_0|middle_block\.0\.in_norm)\.mlp_shared\.0|body\.0\.norm_p\.mlp_gamma_nos)"
            r"\.weight$"
        ),
    ),
    (Kind.OPTIMIZER, re.compile(r"(^|\.)state\.\d+\.(exp_avg|momentum_buffer|step)$")),
    (Kind.VIDEO_UNET, _TEMPORAL),
    (Kind.IMAGE_ENCODER, re.compile(r"(^|\.)(vision_model\.|visual\.transformer\.)")),
    (Kind.VAE, re.compile(r"(^|\.)decoder\.conv_in\.weight$")),
    (
        Kind.TEXT_ENCODER,
        re.compile(
            r"(^|\.)(text_model\.|encoder\.block\.\d+\.layer\.0\.SelfAttention\."
            r"|token_embedding\.weight$|embed_tokens\.weight$)"
        ),
    ),
    (Kind.TEXTUAL_INVERSION, re.compile(r"^(emb_params|string_to_param\.|clip_[lg]$|<.*>$)")),
)


def recognise(state_dict: Mapping[str, Tensor], *, wanted: Collection[Kind] = ()) -> Recognition:
    """Tell which network a state dict holds.

    :param state_dict: names and tensors (meta tensors do); prefixes and networks beside it do no harm.
    :param wanted: kinds to prefer when one file holds several of ours, e.g. a training state with a
        ControlNeXt and a matcher; without it the order of `OURS` decides and `details["also_holds"]` names
        the rest.
    :return: kind, details, evidence and prefix; Kind.UNKNOWN when nothing fits or two networks of one kind
        compete.
    """
    for kind, pattern in _FOREIGN:
        if hits := _matching(state_dict, pattern):
            return Recognition(kind, {}, _show(state_dict, hits), "")

    found: dict[Kind, list[str]] = {kind: prefixes for kind in OURS if (prefixes := _prefixes(state_dict, kind))}
    if found:
        kind = next((kind for kind in OURS if kind in wanted and kind in found), next(iter(found)))
        prefixes = _prefer_ema(found[kind])
        if len(prefixes) > 1:
            places = ", ".join(repr(prefix) for prefix in prefixes)
            evidence = f"{len(prefixes)} networks of the same kind ({kind.description}) under {places}"
            return Recognition(Kind.UNKNOWN, {}, evidence, "")
        prefix = prefixes[0]
        recognition = _describe(kind, section(state_dict, prefix), prefix)
        if others := [other.value for other in found if other is not kind]:
            recognition.details["also_holds"] = others
        return recognition

    for kind, pattern in _FOREIGN_ALONE:
        if hits := _matching(state_dict, pattern):
            return Recognition(kind, {}, _show(state_dict, hits), "")
    listing = _show(state_dict, list(state_dict))
    return Recognition(Kind.UNKNOWN, {}, f"{len(state_dict)} tensors, {listing}" if listing else "no tensors", "")


def section(state_dict: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Take the entries under a prefix, without it."""
    return {key[len(prefix) :]: value for key, value in state_dict.items() if key.startswith(prefix)}


def expected_keys(kind: Kind, network: Mapping[str, Tensor]) -> frozenset[str]:
    """All key names a ControlNeXt or a matcher of this depth has; empty for UNets, which hosts check.

    :param network: the network's own names; its number of stages (or layers) and its widths are taken from
        it.
    """
    if kind is Kind.CONTROLNEXT:
        stages = 1 + max((int(m[1]) for key in network if (m := re.match(r"down_res\.(\d+)\.", key))), default=0)
        convs = [network.get(f"down_res.{i}.conv1.weight") for i in range(stages)]
        # A stage that keeps its width adds its input as it is.
        shortcuts = [i for i, conv in enumerate(convs) if conv is not None and _size(conv, 0) != _size(conv, 1)]
        layers = [
            *(f"embedding.{i}" for i in (0, 1, 3, 4, 6, 7)),
            *(f"time_embedding.linear_{i}" for i in (1, 2)),
            *(
                f"down_res.{i}.{name}"
                for i in range(stages)
                for name in ("norm1", "conv1", "time_emb_proj", "norm2", "conv2")
            ),
            *(f"down_res.{i}.conv_shortcut" for i in shortcuts),
            *(f"down_sample.{i}.conv" for i in range(stages)),
            *(f"mid_convs.0.{i}" for i in (0, 2, 3, 4)),
            "mid_convs.1",
        ]
    elif kind is Kind.MATCHER:
        layers = [
            f"encoders.{encoder}.conv4d.{layer}.{part}"
            for encoder in range(3)
            for layer in range(_matcher_depth(network))
            for part in ("0.query_conv", "0.supp_conv", "1")
        ]
    else:
        layers = []
    return frozenset(f"{layer}.{end}" for layer in layers for end in ("weight", "bias"))


def _describe(kind: Kind, network: Mapping[str, Tensor], prefix: str) -> Recognition:
    """Read the sizes of one of our networks from its shapes, and sort UNets into families."""
    if kind is Kind.CONTROLNEXT:
        last = network["mid_convs.1.weight"]
        details = {"in_channels": _size(network["embedding.0.weight"], 1), "out_channels": _size(last, 0)}
        return Recognition(kind, details, _show(network, ["embedding.0.weight", "mid_convs.1.weight"]), prefix)
    if kind is Kind.MATCHER:
        return _describe_matcher(network, prefix)
    return _describe_unet(kind, network, prefix)


def _matcher_depth(network: Mapping[str, Tensor]) -> int:
    """Number of layers of the first encoder."""
    found = (re.fullmatch(r"encoders\.0\.conv4d\.(\d+)\.0\.query_conv\.weight", key) for key in network)
    return 1 + max((int(match[1]) for match in found if match), default=-1)


def _describe_matcher(network: Mapping[str, Tensor], prefix: str) -> Recognition:
    first = "encoders.0.conv4d.0.0.query_conv.weight"
    last = f"encoders.0.conv4d.{_matcher_depth(network) - 1}.0.query_conv.weight"
    encoders = {key.split(".")[1] for key in network if re.match(r"encoders\.\d+\.", key)}
    details = {
        # The first layer sees one map per head and the flag map; the last gives one map per head.
        "heads": _size(network[last], 0),
        "in_channels": _size(network[first], 1),
        "encoders": len(encoders),
    }
    return Recognition(Kind.MATCHER, details, _show(network, [first, last]), prefix)


def _describe_unet(kind: Kind, network: Mapping[str, Tensor], prefix: str) -> Recognition:
    """Read widths and context width, and decide the family.

    SDXL has an embedding of size conditions (or context 2048), SD2 context 1024, SD1.5 context 768; another
    context width with the same layout is a small model of this type, as tests and the demonstration use.
    """
    diffusers = kind is Kind.UNET_DIFFUSERS
    conv_in = "conv_in.weight" if diffusers else "input_blocks.0.0.weight"
    to_k = next((key for key in network if key.endswith("attn2.to_k.weight")), None)
    context = _size(network[to_k], 1) if to_k else None
    widths = _diffusers_widths(network) if diffusers else _ldm_widths(network)
    details: dict[str, Any] = {
        "widths": widths,
        "context_dim": context,
        "in_channels": _size(network[conv_in], 1),
    }
    size_embedding = [key for key in ("add_embedding.linear_1.weight", "label_emb.0.0.weight") if key in network]
    temporal = [key for key in network if _TEMPORAL.search(key)]
    foreign = [key for key in network if re.search(r"(encoder_hid_proj\.|add_k_proj\.|^class_embedding\.)", key)]
    evidence = [conv_in, *([to_k] if to_k else [])]
    if temporal:
        kind, evidence = Kind.VIDEO_UNET, [*evidence, temporal[0]]
    elif context == 1024:
        kind = Kind.SD2_UNET
    elif size_embedding or context == 2048:
        kind, evidence = Kind.SDXL_UNET, [*evidence, *size_embedding]
    elif to_k is None or foreign:
        kind, evidence = Kind.OTHER_UNET, [*evidence, *foreign[:1]]
    return Recognition(kind, details, _show(network, evidence), prefix)


def _diffusers_widths(network: Mapping[str, Tensor]) -> list[int]:
    found = {
        int(match[1]): _size(value, 0)
        for key, value in network.items()
        if (match := re.fullmatch(r"down_blocks\.(\d+)\.resnets\.0\.conv1\.weight", key))
    }
    return [found[level] for level in sorted(found)]


def _ldm_widths(network: Mapping[str, Tensor]) -> list[int]:
    """Collect the width of each level; LDM numbers its blocks through, a downsampler (`.op`) ends a level."""
    blocks: dict[int, int | None] = {}
    for key, value in network.items():
        if match := re.fullmatch(r"input_blocks\.(\d+)\.0\.(in_layers\.2|op)\.weight", key):
            blocks[int(match[1])] = None if match[2] == "op" else _size(value, 0)
    widths: list[int] = []
    fresh = True
    for number in sorted(blocks):
        width = blocks[number]
        if width is not None and fresh:
            widths.append(width)
        fresh = width is None
    return widths


def _prefixes(state_dict: Mapping[str, Tensor], kind: Kind) -> list[str]:
    """All prefixes under which the anchors of a kind are complete, shortest first."""
    first, *others = _ANCHORS[kind]
    candidates = [key[: -len(first)] for key in state_dict if key == first or key.endswith("." + first)]
    complete = [prefix for prefix in candidates if all(prefix + other in state_dict for other in others)]
    return sorted(complete, key=lambda prefix: (len(prefix), prefix))


def _prefer_ema(prefixes: list[str]) -> list[str]:
    """Of the same weights raw and averaged take the average, as inference wants it; else choose nothing."""
    averaged = [prefix for prefix in prefixes if re.search(r"(^|[._])ema([._]|$)", prefix)]
    return averaged if len(averaged) == 1 and len(prefixes) == 2 else prefixes


def _matching(keys: Iterable[str], pattern: re.Pattern[str]) -> list[str]:
    return [key for key in keys if pattern.search(key)]


def _size(tensor: Tensor, axis: int) -> int:
    """Length of an axis, 0 when there is none: an odd shape then fails later as a wrong size, by name."""
    return int(tensor.shape[axis]) if axis < len(tensor.shape) else 0


def _show(state_dict: Mapping[str, Tensor], keys: Iterable[str], limit: int = 3) -> str:
    """Render keys with their shapes, at most `limit` of them."""
    keys = list(keys)
    shown = [f"{_short(key)} {list(state_dict[key].shape)}" for key in keys[:limit]]
    return ", ".join(shown) + (f" and {len(keys) - limit} more" if len(keys) > limit else "")


def _short(key: str, limit: int = 120) -> str:
    return key if len(key) <= limit else key[: limit - 3] + "..."


def summarise(network: Mapping[str, Tensor]) -> dict[str, Any]:
    """Count a network: its floating dtype (`mixed: ...` when there are several), its parameters, its tensors.

    :param network: any state dict, meta tensors included.
    """
    dtypes = Counter(str(value.dtype).removeprefix("torch.") for value in network.values() if value.is_floating_point())
    names = [name for name, _ in dtypes.most_common()]
    dtype = names[0] if len(names) == 1 else ("mixed: " + ", ".join(names) if names else "none")
    return {
        "dtype": dtype,
        "parameters": sum(value.numel() for value in network.values()),
        "tensors": len(network),
    }
