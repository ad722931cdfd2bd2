"""Write a published generator as one safetensors file that says what it is.

Each system's `pack(path, **choices)` gives the tensors, with clean names, and the metadata that its `load` needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..checkpoints import save_tensors
from ..checkpoints.errors import AnyPath, fault
from ..checkpoints.reading import check_finite
from .system import pack_generator, recognise_file


def convert_generator(
    source: AnyPath,
    destination: AnyPath,
    *,
    dtype: torch.dtype | None = None,
    overwrite: bool = False,
    **choices: Any,
) -> dict[str, Any]:
    """Read a generator from its published files and write it as safetensors.

    :param destination: ends in .safetensors.
    :param dtype: of the written floats; None writes fp32.
    :param choices: as for `load_generator`.
    :return: path, system, dtype, tensors and parameters of the written file, and what its metadata say.
    :raises FileNotFoundError: when there is no source.
    :raises CheckpointError: when it is of no known system or damaged, or the destination exists.
    :raises ValueError: for a choice that the system does not have.
    """
    from .. import __version__

    destination = Path(destination)
    if destination.suffix != ".safetensors":
        raise fault(destination, "cannot be written", expected="a name that ends in .safetensors")
    if destination.exists() and not overwrite:
        raise fault(destination, "exists already", action="Choose another name or pass --overwrite")
    system = recognise_file(source)
    tensors, metadata = pack_generator(source, **choices)
    tensors = {k: v.to(dtype) if dtype and v.is_floating_point() else v for k, v in tensors.items()}
    check_finite(destination, tensors, "Nothing was written: too large for fp16 (65504); use bf16 or fp32")
    own = {"kind": "generator", "system": system.value, "format": "1", "version": __version__}
    save_tensors(destination, tensors, metadata | {f"am_adapter.{name}": value for name, value in own.items()})
    return {
        "path": str(destination),
        "system": system.value,
        "dtype": str(dtype or torch.float32).removeprefix("torch."),
        "tensors": len(tensors),
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
        **{name.removeprefix("am_adapter."): value for name, value in metadata.items()},
    }


def size_of(text: str) -> tuple[int, int]:
    """Read `HxW`, e.g. 256x512.

    :raises ValueError: when it is not of that form.
    """
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise ValueError(f"AM-Adapter: the size {text!r} is not of the form HxW; write height and width, e.g. 256x512")
    return int(height), int(width)
