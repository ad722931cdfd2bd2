"""Write weights as safetensors that say what they are, and turn other files into such."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Collection, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from .errors import AnyPath, fault
from .kinds import OURS, Kind
from .loading import check_complete
from .reading import BY_BLOCK, FORMAT, VARIANTS, check_finite, inspect, read, wrong_kind
from .recognition import recognise, section


def save(
    path: AnyPath,
    network: torch.nn.Module | Mapping[str, Tensor],
    kind: Kind,
    metadata: Mapping[str, Any] | None = None,
    *,
    variant: str | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a network as safetensors; an existing file is replaced in one step or not at all.

    :param path: ends in .safetensors; missing folders are made.
    :param network: a module or its state dict; tensors that share memory are written once each.
    :param kind: what it is, checked against its keys and shapes.
    :param metadata: strings to keep beside the weights; `am_adapter.kind`, `.variant`, `.format` and
        `.version` are set here.
    :param variant: "published" or "spatial", the behaviour the weights were trained with; may come as
        the network's own `variant` or as `am_adapter.variant` in the metadata. A matcher needs one, the other
        networks work alike in both.
    :param dtype: of the floating tensors; None keeps theirs.
    :raises CheckpointError: when the weights are another network or not finite, also after rounding to
        `dtype`.
    :raises ValueError: when the variant or a metadata value is missing or bad.
    """
    path, kind = Path(path), Kind(kind)
    if path.suffix != ".safetensors":
        raise fault(path, "cannot be written", expected="a name that ends in .safetensors")
    entries = _metadata(kind, metadata or {}, variant or getattr(network, "variant", None))
    if getattr(network, "by_block", False):
        entries[BY_BLOCK] = "true"
    tensors = _tensors(path, network, kind, dtype)
    save_tensors(path, tensors, entries)


def save_tensors(path: AnyPath, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write any tensors as safetensors; an existing file is replaced in one step or not at all.

    :param path: missing folders are made.
    :param tensors: on any device, in any layout; such that share memory are written once each.
    :param metadata: strings for the header.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(6)}.tmp")
    try:
        # safetensors makes files that their owner alone may read; a new empty one shows what is usual here.
        temporary.touch()
        mode = stat.S_IMODE(temporary.stat().st_mode)
        save_file(_laid_out(tensors), temporary, metadata=dict(metadata))
        temporary.chmod(mode)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def convert(
    source: AnyPath,
    destination: AnyPath,
    *,
    dtype: torch.dtype | None = None,
    variant: str | None = None,
    wanted: Collection[Kind] = (),
    overwrite: bool = False,
) -> dict[str, Any]:
    """Read one of our networks from any file and write it as safetensors with clean names.

    A UNet keeps its naming, diffusers or LDM. Metadata of the source is kept.

    :param source: the file to read.
    :param destination: ends in .safetensors.
    :param dtype: of the written weights; None keeps theirs.
    :param variant: "published" or "spatial"; None keeps what the source says, "published" if it says nothing.
    :param wanted: kinds that will do; empty takes all of ours.
    :return: the summary of the written file.
    :raises FileNotFoundError: when there is no source.
    :raises CheckpointError: when the source is not of the wanted kinds or damaged, or the destination exists.
    """
    destination = Path(destination)
    if destination.exists() and not overwrite:
        raise fault(destination, "exists already", action="Choose another name or pass --overwrite")
    kinds = tuple(wanted) or OURS
    header = inspect(source, wanted=kinds)
    if header.kind not in kinds:
        raise wrong_kind(header, kinds)
    check_complete(header)
    checkpoint = read(source, wanted=kinds)
    save(
        destination,
        checkpoint.state_dict,
        checkpoint.kind,
        checkpoint.metadata,
        variant=variant or checkpoint.variant,
        dtype=dtype,
    )
    return inspect(destination).summary()


def _metadata(kind: Kind, metadata: Mapping[str, Any], variant: str | None) -> dict[str, str]:
    from .. import __version__

    entries: dict[str, str] = {}
    for key, value in metadata.items():
        value = value.value if isinstance(value, Enum) else value
        if not isinstance(key, str) or not isinstance(value, str):
            raise ValueError(
                f"AM-Adapter: metadata {key!r} is {value!r}; safetensors keeps strings only, pass a string"
            )
        entries[key] = value
    variant = variant.value if isinstance(variant, Enum) else variant
    variant = variant or entries.get("am_adapter.variant")
    if variant is None and kind is Kind.MATCHER:
        raise ValueError(f"AM-Adapter: a matcher is saved with the variant it was trained with, one of {VARIANTS}")
    if variant is not None and variant not in VARIANTS:
        raise ValueError(f"AM-Adapter: unknown variant {variant!r}; use one of {VARIANTS}")
    if variant is not None:
        entries["am_adapter.variant"] = variant
    entries |= {"am_adapter.kind": kind.value, "am_adapter.format": FORMAT, "am_adapter.version": __version__}
    return entries


def _tensors(
    path: Path, network: torch.nn.Module | Mapping[str, Tensor], kind: Kind, dtype: torch.dtype | None
) -> dict[str, Tensor]:
    """Check the network, and give it the names and the dtype it is written with."""
    state_dict = network.state_dict() if isinstance(network, torch.nn.Module) else network
    found = recognise(state_dict, wanted=[kind])
    if found.kind is not kind:
        raise fault(
            path,
            f"was to be written with {found.kind.description}",
            expected=kind.description,
            evidence=found.evidence,
            action="Pass the network and the kind that belong together",
        )
    tensors = {
        key: value.to(dtype) if dtype is not None and value.is_floating_point() else value
        for key, value in section(state_dict, found.prefix).items()
    }
    check_finite(
        path,
        tensors,
        "Nothing was written: the weights had diverged, or are too large for fp16 (65504): use bf16 or fp32",
    )
    return tensors


def _laid_out(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Lay tensors out as a file wants them: contiguous, on the CPU, each with memory of its own."""
    result: dict[str, Tensor] = {}
    storages: set[int] = set()
    for key, value in tensors.items():
        tensor = value.detach().cpu().contiguous()
        if (storage := tensor.untyped_storage().data_ptr()) in storages:
            tensor = tensor.clone()
        storages.add(storage)
        result[key] = tensor
    return result
