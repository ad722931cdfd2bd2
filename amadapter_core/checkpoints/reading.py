"""Read one network from a weights file, or the pair of networks from a training run's folder.

A file is recognised before its tensors are read, and of a full checkpoint only the network in question is
read.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .errors import AnyPath, CheckpointError, fault
from .formats import Source, open_file
from .kinds import OURS, UNETS, Kind
from .recognition import recognise, section, summarise

logger = logging.getLogger(__name__)

FORMAT = "1"
VARIANTS = ("published", "spatial")
BY_BLOCK = "am_adapter.by_block"
"""Metadata entry of a matcher that was trained with one encoder per kind of block."""
EXTENSIONS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """One network read from a file.

    path: the file. kind: what it holds. state_dict: the network's own names, prefixes removed, in the file's
    dtype; meta tensors after `inspect`. metadata: of a safetensors header, else empty. variant: "published"
    or "spatial", the behaviour the weights were trained with. details: JSON values: `file_format`, `dtype`,
    `parameters`, `tensors`, per kind `heads`, `encoders`, `in_channels`, `out_channels`, `widths`,
    `context_dim`, and, where they apply, `taken_from` (the prefix or container), `left_out` (tensors of other
    networks), `also_holds`, `ignored` (entries that are no tensors). evidence: the keys with shapes that told
    the kind.
    """

    path: Path
    kind: Kind
    state_dict: dict[str, Tensor]
    metadata: dict[str, str]
    variant: str
    details: dict[str, Any]
    evidence: str

    def summary(self) -> dict[str, Any]:
        """All but the tensors, as JSON values."""
        return {
            "path": str(self.path),
            "kind": self.kind.value,
            "variant": self.variant,
            **self.details,
            "metadata": self.metadata,
        }


class Pair(NamedTuple):
    """The two networks of one training run."""

    controlnext: Checkpoint
    unet: Checkpoint


def inspect(path: AnyPath, *, folders: Iterable[AnyPath] = (), wanted: Collection[Kind] = ()) -> Checkpoint:
    """Recognise a file without reading its tensors; the state dict has meta tensors.

    :param path: a weights file, or its name inside one of `folders`.
    :param folders: where else to look, in order.
    :param wanted: kinds to prefer when the file holds several networks.
    :raises FileNotFoundError: with the folders searched.
    :raises CheckpointError: when the file is damaged, hostile or no weights file. A kind that is not ours is
        no error.
    """
    return _checkpoint(open_file(locate(path, folders)), wanted, fetch=False)


def read(path: AnyPath, *, folders: Iterable[AnyPath] = (), wanted: Collection[Kind] = ()) -> Checkpoint:
    """Read the network a file holds, tensors on the CPU in the file's dtype.

    :param path: a weights file, or its name inside one of `folders`.
    :param folders: where else to look, in order.
    :param wanted: kinds to prefer when the file holds several networks.
    :raises FileNotFoundError: with the folders searched.
    :raises CheckpointError: as `inspect`, and when one of our networks has NaN or infinite weights.
    """
    return _checkpoint(open_file(locate(path, folders)), wanted, fetch=True)


def read_as(path: AnyPath, kinds: Sequence[Kind], *, folders: Iterable[AnyPath] = ()) -> Checkpoint:
    """Read a file that has to hold one of some kinds; others are refused before their tensors are read.

    :param kinds: the kinds that will do.
    :raises FileNotFoundError: with the folders searched.
    :raises CheckpointError: as `read`, and for every other kind, saying what the file is.
    """
    source = open_file(locate(path, folders))
    header = _checkpoint(source, kinds, fetch=False)
    if header.kind not in kinds:
        raise wrong_kind(header, kinds)
    return _checkpoint(source, kinds, fetch=True)


def wrong_kind(checkpoint: Checkpoint, kinds: Sequence[Kind]) -> CheckpointError:
    """The error for a file that is sound, but not what was asked for."""
    return fault(
        checkpoint.path,
        f"is {checkpoint.kind.description}",
        expected="an SD1.5 type UNet" if set(kinds) == set(UNETS) else " or ".join(k.description for k in kinds),
        evidence=checkpoint.evidence,
        action=checkpoint.kind.remedy,
    )


def find_pair(folder: AnyPath) -> Pair:
    """Find ControlNeXt and UNet among the weights files of one folder, by content; tensors are not read.

    accelerate saves them as `model.safetensors` and `model_1.safetensors`, or with `.bin`.

    :param folder: searched without its subfolders.
    :return: both as from `inspect`.
    :raises FileNotFoundError: when there is no such folder.
    :raises CheckpointError: when either is missing, has a rival, or the two do not fit each other; lists each
        file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"AM-Adapter: no such folder: {folder}")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in EXTENSIONS and file.is_file())
    controlnexts, unets, listing = [], [], []
    for file in files:
        try:
            found = inspect(file)
        except (CheckpointError, OSError) as error:
            listing.append(f"{file.name}: unusable, {getattr(error, 'finding', '') or error}")
            continue
        listing.append(f"{file.name}: {found.kind.description}")
        if found.kind is Kind.CONTROLNEXT:
            controlnexts.append(found)
        elif found.kind in UNETS:
            unets.append(found)
    if len(controlnexts) != 1 or len(unets) != 1:
        raise fault(
            folder,
            f"holds {_number(controlnexts, 'ControlNeXt')} and {_number(unets, 'SD1.5 UNet')}",
            expected="one of each",
            evidence="; ".join(listing) or f"no file that ends in {', '.join(EXTENSIONS)}",
            action="Leave one of each in the folder, or choose the two files one by one",
        )
    pair = Pair(controlnexts[0], unets[0])
    channels, widths = pair.controlnext.details["out_channels"], pair.unet.details["widths"]
    if widths and channels != widths[0]:
        raise fault(
            folder,
            f"holds a ControlNeXt with {channels} output channels and a UNet of first width {widths[0]}",
            expected="equal numbers",
            evidence=f"{pair.controlnext.path.name}: {pair.controlnext.evidence}; "
            f"{pair.unet.path.name}: {pair.unet.evidence}",
            action="Use the two files of one training run",
        )
    return pair


def read_pair(folder: AnyPath) -> Pair:
    """Read ControlNeXt and UNet of one folder, as `find_pair` finds them.

    :raises FileNotFoundError: when there is no such folder.
    :raises CheckpointError: as `find_pair` and `read`.
    """
    found = find_pair(folder)
    return Pair(read_as(found.controlnext.path, [Kind.CONTROLNEXT]), read_as(found.unet.path, UNETS))


def locate(path: AnyPath, folders: Iterable[AnyPath] = ()) -> Path:
    """Find a file as given or in one of the folders.

    :raises FileNotFoundError: with the folders searched.
    :raises CheckpointError: when it is a folder.
    """
    given, searched = Path(path), [Path(folder) for folder in folders]
    candidates = [given, *(folder / given for folder in searched if not given.is_absolute())]
    found = next((candidate for candidate in candidates if candidate.exists()), None)
    if found is None:
        places = ", ".join(str(folder) for folder in searched) or str(given.absolute().parent)
        raise FileNotFoundError(f"AM-Adapter: no weights file {path}. Searched: {places}.")
    if found.is_dir():
        raise fault(
            found,
            "is a folder",
            expected="one weights file",
            action="Choose a file in it; of a folder with ControlNeXt and UNet read both with read_pair",
        )
    return found


def check_finite(path: AnyPath, network: Mapping[str, Tensor], action: str) -> None:
    """Refuse weights with NaN or infinity.

    :raises CheckpointError: names the first such tensor.
    """
    for key, tensor in network.items():
        if not tensor.is_floating_point() or tensor.numel() == 0:
            continue
        # Two numbers instead of a mask as large as the tensor; NaN wins in both. fp8 has no such reduction.
        low, high = torch.aminmax(tensor.float() if tensor.itemsize == 1 else tensor)
        if not (torch.isfinite(low) and torch.isfinite(high)):
            bad = int((~torch.isfinite(tensor.float())).sum())
            raise fault(
                path,
                "has weights that are not finite",
                expected="numbers without NaN and infinity",
                evidence=f"{key} {list(tensor.shape)} with {bad} of {tensor.numel()} values",
                action=action,
            )


def _checkpoint(source: Source, wanted: Collection[Kind], *, fetch: bool) -> Checkpoint:
    kind, details, evidence, prefix = recognise(source.tensors, wanted=wanted)
    network = section(source.tensors, prefix)
    if fetch:
        network = section(source.fetch([prefix + key for key in network]), prefix)
        if kind in OURS:
            check_finite(source.path, network, "The training diverged or the file is damaged: use another one")
    facts: dict[str, Any] = {"file_format": source.file_format, **summarise(network), **details}
    if prefix:
        facts["taken_from"] = prefix.removesuffix(".")
    if left_out := len(source.tensors) - len(network):
        facts["left_out"] = left_out
    if source.ignored:
        facts["ignored"] = source.ignored
    variant = _variant(source.path, source.metadata)
    declared = source.metadata.get("am_adapter.kind", kind.value)
    if declared != kind.value:
        logger.warning("AM-Adapter: %s says it is %r but holds %s", source.path, declared, kind.description)
    return Checkpoint(source.path, kind, network, source.metadata, variant, facts, evidence)


def _variant(path: Path, metadata: Mapping[str, str]) -> str:
    """What the metadata says of the training; files without a word are by the authors' code."""
    if (written := metadata.get("am_adapter.format", FORMAT)) != FORMAT:
        raise fault(
            path,
            f"has am_adapter.format {written!r}",
            expected=f"{FORMAT!r}",
            action="It was made by a newer AM-Adapter: update this one",
        )
    variant = metadata.get("am_adapter.variant", "published")
    if variant not in VARIANTS:
        raise fault(path, f"has am_adapter.variant {variant!r}", expected=" or ".join(map(repr, VARIANTS)))
    return variant


def _number(found: Sequence[Checkpoint], noun: str) -> str:
    names = ", ".join(checkpoint.path.name for checkpoint in found)
    return f"no {noun}" if not found else f"{len(found)} {noun} ({names})"
