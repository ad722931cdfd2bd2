"""Which of the three systems a checkpoint is of, and the one door to load it.

Every loaded generator has `system`, `classes` (K) and `size` ((H, W) of its pictures), takes label ids [B, H, W] in
0..K-1 and pictures [B, 3, H, W] in 0..1, and makes pictures [B, 3, H, W] in 0..1. Those that have styles also have
`style(image, ids)` and `random_style(ids, seed)`, both StyleCodes.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from enum import Enum
from types import ModuleType
from typing import Any

from torch import Tensor

from ..checkpoints.errors import AnyPath, CheckpointError
from ..checkpoints.formats import open_file
from ..checkpoints.reading import locate


class System(str, Enum):
    """A published semantic generator."""

    CLVAE = "clvae"
    IPOSE = "ipose"
    SCADM = "scadm"

    @property
    def title(self) -> str:
        """The name as its authors write it."""
        return {"clvae": "clVAE", "ipose": "iPOSE", "scadm": "SCA-DM"}[self.value]


# Names that all stand in a file of the system, under whatever prefix; a system may be told by more than one network.
_ANCHORS: tuple[tuple[System, tuple[str, ...]], ...] = (
    (System.CLVAE, ("embedding.weight", "G_middle_0.norm_0.mlp_shared.0.weight")),
    (System.CLVAE, ("fc_mu1.weight", "fc_var5.weight")),
    (System.IPOSE, ("body.0.norm_p.mlp_gamma_nos.weight", "conv_part.0.weight")),
    (System.SCADM, ("middle_block.0.in_norm.mlp_shared.0.weight", "Encoder.enc_layer_0.0.weight")),
)

# Relatives that share names with the three, to be refused by their own.
_RELATIVES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("a SPADE generator without class latents", ("G_middle_0.norm_0.mlp_shared.0.weight", "conv_img.weight")),
    ("an OASIS generator without part maps", ("body.0.norm_0.mlp_shared.0.weight", "conv_img.weight")),
    ("iPOSE's part network alone", ("catt0.query_conv.0.weight",)),
    ("a diffusion UNet with SPADE, without SCA-DM's style encoder", ("middle_block.0.in_norm.mlp_shared.0.weight",)),
)


def recognise(keys: Iterable[str]) -> System:
    """Tell which system the names of a state dict belong to.

    :param keys: names, or a mapping by names; prefixes do no harm.
    :raises CheckpointError: when it is none of the three, saying what it is where that can be told.
    """
    names = list(keys)
    found = list(dict.fromkeys(system for system, anchors in _ANCHORS if _holds(names, anchors)))
    if len(found) == 1:
        return found[0]
    titles = ", ".join(system.title for system in System)
    if found:
        raise CheckpointError(
            f"AM-Adapter: these weights hold networks of {' and '.join(s.title for s in found)}; use a file of one"
        )
    kin = next((what for what, anchors in _RELATIVES if _holds(names, anchors)), None)
    told = f"these weights are {kin}" if kin else "these weights are no semantic generator known here"
    listing = ", ".join(names[:3]) or "no tensors"
    raise CheckpointError(
        f"AM-Adapter: {told}. Expected a checkpoint of {titles}. Seen: {listing}"
        f"{f' and {len(names) - 3} more' if len(names) > 3 else ''}."
    )


def recognise_file(path: AnyPath) -> System:
    """Tell which system a weights file is of, without reading its tensors.

    :raises FileNotFoundError: when there is none.
    :raises CheckpointError: as `recognise`, naming the file.
    """
    source = open_file(locate(path))
    try:
        return recognise(source.tensors)
    except CheckpointError as error:
        raise CheckpointError(f"{error} File: {source.path}.") from None


def load_generator(path: AnyPath, **choices: Any) -> Any:
    """Load a checkpoint of any of the three systems, ready to generate on the CPU.

    :param path: a weights file.
    :param choices: what the weights of that system cannot tell; see each system's `load`.
    :raises FileNotFoundError: when there is no such file.
    :raises CheckpointError: when it is of none of the systems, or not complete.
    :raises ValueError: for a choice that the system does not have.
    """
    return _ask("load", path, choices)


def pack_generator(path: AnyPath, **choices: Any) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What a converted file of a checkpoint holds: tensors with clean names, and the metadata that loading needs.

    :param choices: as for `load_generator`, which also says what is raised.
    """
    return _ask("pack", path, choices)


def _ask(function: str, path: AnyPath, choices: Mapping[str, Any]) -> Any:
    system = recognise_file(path)
    asked = getattr(_package(system), function)
    known = [name for name in inspect.signature(asked).parameters if name != "path"]
    if unknown := [name for name in choices if name not in known]:
        raise ValueError(
            f"AM-Adapter: {path} is of {system.title}, which has no choice {unknown[0]!r}; it has {', '.join(known)}"
        )
    return asked(path, **choices)


def _package(system: System) -> ModuleType:
    """The system's own folder, loaded when it is asked for; each has `load` and `pack`."""
    if system is System.CLVAE:
        from . import clvae as package
    elif system is System.IPOSE:
        from . import ipose as package
    else:
        from . import scadm as package
    return package


def _holds(names: list[str], anchors: tuple[str, ...]) -> bool:
    return all(any(name == anchor or name.endswith("." + anchor) for name in names) for anchor in anchors)
