"""Open weights files of any origin: sniff the format, keep pickles harmless, check sizes.

The format is decided by the first bytes, not by the extension. Safetensors headers and torch's zip
directories are read without their tensors, so a UNet of 3.4 GB is recognised in milliseconds. Pickles pass
through torch's restricted unpickler (`weights_only=True`) and nothing else.
"""

from __future__ import annotations

import json
import logging
import mmap
import pickle
import pickletools
import re
import struct
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..limits import HEADER_BYTES, PICKLE_BYTES, TENSORS
from .errors import CheckpointError, fault

logger = logging.getLogger(__name__)

_MAX_DEPTH = 4

# The one thing that torch's restricted unpickler calls and that fills memory by a number: bytearray(1 << 36).
_ROOM = re.compile(rb"c(?:builtins|__builtin__)\nbytearray\n")

# Older checkpoints of Lightning name this class among their entries; one without content stands for it.
_LIGHTNING = type("ModelCheckpoint", (), {"__module__": "pytorch_lightning.callbacks.model_checkpoint"})

_SAFETENSORS_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "C64": torch.complex64,
}


class Source(NamedTuple):
    """A file that has been opened: names with meta tensors, and how to get the real ones."""

    path: Path
    file_format: str
    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    ignored: int
    fetch: Callable[[Collection[str]], dict[str, Tensor]]


def open_file(path: Path) -> Source:
    """Open a weights file by its content, without its tensors where the format allows.

    :raises CheckpointError: when it is damaged, hostile or not weights.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise fault(path, "is empty (0 bytes)", expected="a weights file", action="Download or save it again")
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and length <= HEADER_BYTES:
        return _open_safetensors(path, size, length)
    if head.startswith(b"PK\x03\x04"):
        return _open_zip(path, size)
    # torch.save wrote bare pickles (protocol 2 and up) before it wrote zip files.
    if head[0] == 0x80 and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return _open_pickle(path, "torch pickle", size)
    if head[8:9] == b"{":
        raise fault(
            path,
            f"declares a safetensors header of {length} bytes",
            expected=f"at most {HEADER_BYTES}",
            evidence=f"the file has {size} bytes",
            action="It is damaged or made to exhaust memory: do not use it",
        )
    raise fault(
        path,
        f"is {_guess(head)}",
        expected="weights as .safetensors, or as .pth, .bin or .ckpt saved by torch",
        evidence=f"first bytes {head[:8].hex(' ')}, {size} bytes in all",
        action="Download or save it again",
    )


def _open_safetensors(path: Path, size: int, length: int) -> Source:
    if 8 + length > size:
        raise _truncated(path, f"its header alone needs {8 + length} bytes", size)
    with path.open("rb") as file:
        file.seek(8)
        header = file.read(length)
    try:
        entries = json.loads(header)
        ends = [entry["data_offsets"][1] for key, entry in entries.items() if key != "__metadata__"]
        expected = 8 + length + max(ends, default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise fault(path, "has a damaged safetensors header", evidence=str(error), action="Save it again") from None
    if expected > size:
        raise _truncated(path, f"its header declares {expected} bytes", size)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {}
            for key in file.keys():
                part = file.get_slice(key)
                if (dtype := _SAFETENSORS_DTYPES.get(str(part.get_dtype()))) is None:
                    raise fault(path, f"stores {key} as {part.get_dtype()}", expected="fp32, fp16 or bf16 weights")
                tensors[key] = torch.empty(part.get_shape(), dtype=dtype, device="meta")
    except (SafetensorError, RuntimeError, TypeError, OverflowError) as error:
        raise fault(path, "has a damaged safetensors header", evidence=str(error), action="Save it again") from None

    def fetch(keys: Collection[str]) -> dict[str, Tensor]:
        with safe_open(path, framework="pt") as opened:
            return {key: opened.get_tensor(key) for key in keys}

    return Source(path, "safetensors", tensors, metadata, 0, fetch)


def _truncated(path: Path, need: str, size: int) -> CheckpointError:
    return fault(
        path,
        f"is a truncated safetensors file: {need}, {size} are there",
        expected="the whole file",
        action="Download or copy it again",
    )


def _open_zip(path: Path, size: int) -> Source:
    """Check what torch does not: that the archive is torch's own and cannot unfold to more than the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise fault(
            path,
            f"is a truncated or damaged torch file ({size} bytes)",
            expected="a whole zip archive as torch.save writes",
            evidence=str(error),
            action="Download or copy it again",
        ) from None
    names = [entry.filename for entry in entries]
    programs = [entry for entry in entries if entry.filename.endswith("data.pkl")]
    if not programs:
        raise fault(
            path,
            "is a zip archive, but not one of torch",
            expected="an entry data.pkl",
            evidence=", ".join(names[:3]) or "no entries",
            action="If the weights are packed inside, unpack them first",
        )
    if any(name.endswith("/constants.pkl") for name in names):
        raise fault(
            path,
            "is a TorchScript program",
            expected="a state dict",
            evidence="constants.pkl in the archive",
            action="Save the module's state_dict() as safetensors",
        )
    if packed := next((entry for entry in entries if entry.compress_type != zipfile.ZIP_STORED), None):
        raise fault(
            path,
            "is a compressed zip archive, which could unfold to any size",
            expected="stored entries as torch.save writes",
            evidence=f"{packed.filename}: {packed.compress_size} bytes unfold to {packed.file_size}",
            action="Save the weights as safetensors",
        )
    if any(entry.header_offset < 0 for entry in entries):
        raise fault(
            path,
            "is a damaged zip archive",
            expected="stored entries as torch.save writes",
            evidence="an entry that begins before the file does",
            action="Download or copy it again",
        )
    if unequal := next((entry for entry in entries if entry.compress_size != entry.file_size), None):
        raise fault(
            path,
            "is a damaged zip archive",
            expected="stored entries as torch.save writes",
            evidence=f"{unequal.filename}: {unequal.compress_size} bytes stand for {unequal.file_size}",
            action="Download or copy it again",
        )
    if len(programs) > 1 or programs[0].file_size > PICKLE_BYTES:
        told = ", ".join(f"{entry.filename} of {entry.file_size} bytes" for entry in programs[:3])
        raise fault(path, f"holds {told}", expected=f"one pickle of at most {PICKLE_BYTES} bytes")
    return _open_pickle(path, "torch zip", size)


def _open_pickle(path: Path, file_format: str, size: int) -> Source:
    zipped = file_format == "torch zip"
    if _ROOM.search(_pickle_bytes(path, size)):
        raise _refused(path, ["bytearray"])
    tensors, ignored = _flatten(path, _unpickle(path, map_location="meta"))
    for key, tensor in tensors.items():
        # A stride of 0 makes a huge tensor of one stored number.
        if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.itemsize:
            raise fault(
                path,
                "has a tensor larger than its data",
                evidence=f"{key} {list(tensor.shape)}",
                action="Save contiguous tensors, best as safetensors",
            )
    storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors.values()}
    if (declared := sum(storages.values())) > size:
        raise fault(
            path,
            f"is a truncated torch file: its tensors need {declared} bytes, {size} are there",
            expected="the whole file",
            action="Download or copy it again",
        )

    def fetch(keys: Collection[str]) -> dict[str, Tensor]:
        # Mapping the file keeps networks nobody asked for out of memory; bare pickles cannot be mapped.
        loaded, _ = _flatten(path, _unpickle(path, map_location="cpu", mmap=zipped))
        return {key: loaded[key] for key in keys}

    return Source(path, file_format, tensors, {}, ignored, fetch)


def _unpickle(path: Path, **options: Any) -> Any:
    try:
        with torch.serialization.safe_globals([_LIGHTNING]):
            return torch.load(path, weights_only=True, **options)
    except pickle.UnpicklingError as error:
        reason = str(error)
    except MemoryError:
        raise
    # A damaged pickle can fail in any way inside the unpickler; nothing of it has been kept.
    except Exception as error:
        reason = str(error)
    # torch's own message recommends weights_only=False, so it is not passed on, nor chained.
    if refused := _refused_globals(path, reason):
        raise _refused(path, refused)
    raise fault(
        path,
        "is a pickle that torch cannot read as weights",
        expected="a state dict saved by torch.save",
        evidence="nothing in the file was executed",
        action="It is damaged or no torch file: download it again, or use a .safetensors version",
    )


def _refused(path: Path, names: Sequence[str]) -> CheckpointError:
    return fault(
        path,
        f"is a pickle that asks for {', '.join(names)}",
        expected="tensors and plain containers only",
        evidence="torch's restricted unpickler refused it, so nothing in the file was executed",
        action="Do not trust the file unless you made it; use a .safetensors version, or have its "
        "owner save the bare state_dict() as safetensors",
    )


def _refused_globals(path: Path, reason: str) -> list[str]:
    """Names of code a refused pickle asks for: torch's word, else what its opcodes name, read but not run."""
    if named := re.findall(r"GLOBAL ([\w.]+)", reason):
        return list(dict.fromkeys(named))
    names: list[str] = []
    texts: list[str] = []
    try:
        for code, argument, _ in pickletools.genops(_pickle_bytes(path)):
            if code.name in ("GLOBAL", "INST"):
                names.append(str(argument).replace(" ", "."))
            elif code.name == "STACK_GLOBAL":
                names.append(".".join(texts[-2:]))
            elif isinstance(argument, str):
                texts.append(argument)
    except (ValueError, OSError, zipfile.BadZipFile, EOFError, IndexError):
        logger.debug("AM-Adapter: %s: opcodes end early", path)
    harmless = ("torch._utils.", "torch.", "collections.OrderedDict")
    return [name for name in dict.fromkeys(names) if not name.startswith(harmless)][:5]


def _pickle_bytes(path: Path, limit: int = 1 << 22) -> bytes | mmap.mmap:
    """The pickle of a torch file, as torch finds it: whatever its checksum says."""
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return mmap.mmap(file.fileno(), min(limit, path.stat().st_size), access=mmap.ACCESS_READ)
        with zipfile.ZipFile(file) as archive:
            entry = next(entry for entry in archive.infolist() if entry.filename.endswith("data.pkl"))
        file.seek(entry.header_offset + 26)
        name, extra = struct.unpack("<HH", file.read(4).ljust(4, b"\0"))
        file.seek(name + extra, 1)
        return file.read(min(limit, entry.compress_size))


def _flatten(path: Path, loaded: Any) -> tuple[dict[str, Tensor], int]:
    """Join the names of nested containers with dots, so that a container is a prefix like any other.

    :return: tensors, and how many other entries there were.
    """
    if not isinstance(loaded, Mapping):
        raise fault(path, f"holds a {type(loaded).__name__}", expected="a state dict: names and tensors")
    tensors: dict[str, Tensor] = {}
    ignored = seen = 0
    pending: list[tuple[str, Any, int]] = [("", loaded, 0)]
    while pending:
        prefix, mapping, depth = pending.pop()
        for name, value in mapping.items():
            seen += 1
            # An aliased nest of dicts could otherwise unfold without end.
            if seen > TENSORS:
                raise fault(path, f"has more than {TENSORS} entries", expected="a state dict")
            key = f"{prefix}{name}"
            if isinstance(value, Tensor):
                if value.layout is not torch.strided or value.is_quantized:
                    raise fault(path, f"has {key} as a sparse or quantised tensor", expected="plain tensors")
                tensors[key] = value.detach()
            elif isinstance(value, Mapping) and depth < _MAX_DEPTH:
                pending.append((f"{key}.", value, depth + 1))
            else:
                ignored += 1
    return tensors, ignored


def _guess(head: bytes) -> str:
    """Name what people download by mistake."""
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page, not weights"
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the weights it points to"
    if text.startswith(b"gguf"):
        return "a GGUF file"
    if text.startswith((b"{", b"[")):
        return "a text file (JSON), not weights"
    return "not a weights file"
