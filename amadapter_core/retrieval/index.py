"""An index of exemplars: what is known of every pair of a folder, in one file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from ..checkpoints.saving import save_tensors
from ..datasets.pairs import Pair, PairedFiles
from ..datasets.reading import Colours, Ids, Parts, Reader
from ..limits import HEADER_BYTES, INDEX_BYTES, INDEX_ENTRIES, check_limit
from ..palettes import Palette
from ..text_files import parse_json
from .layouts import GRID, Layouts, grid_type

FORMAT = "am_adapter.index"
VERSION = "1"
DIGEST = 16
"""Bytes of a digest."""

_READERS = {"ids": Ids, "colours": Colours, "parts": Parts}


class SpentIndex(ValueError):
    """An index that cannot be used any more: damaged, or of another version."""


@dataclass(frozen=True)
class Index:
    """
    N pairs and what is known of them.

    :param files: the pairs in their files, with the class table of their label maps.
    :param root: the folder below which all of them lie.
    :param layouts: N layouts, areas in float16.
    :param states: [N, DIGEST] uint8: times and sizes of each pair's files.
    :param contents: [N, DIGEST] uint8: what is in them.
    :param embedder: name of what made the embeddings; "" without.
    :param embeddings: [N, E] float16, vectors of length 1 that say what the pictures look like.
    :param broken: what could not be taken in, by name, and why.
    """

    files: PairedFiles
    root: Path
    layouts: Layouts
    states: Tensor
    contents: Tensor
    embedder: str = ""
    embeddings: Tensor | None = None
    broken: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.files)

    @property
    def palette(self) -> Palette:
        """The class table of its label maps."""
        return self.files.palette

    @property
    def names(self) -> list[str]:
        """The exemplars' names, in the order of the rows."""
        return [pair.name for pair in self.files.pairs]

    def settings(self) -> dict[str, Any]:
        """What two indexes must have in common for an entry of one to be right in the other."""
        return {
            "kind": self.files.kind,
            "palette": self.palette.to_dict(),
            "reader": _reader_to_dict(self.files.reader),
            "fit": self.files.fit,
            "embedder": self.embedder,
        }

    def take(self, rows: Sequence[int]) -> Index:
        """Some of the entries, in the order given."""
        at = torch.tensor(rows, dtype=torch.long)
        return replace(
            self,
            files=replace(self.files, pairs=tuple(self.files.pairs[row] for row in rows)),
            layouts=self.layouts[at],
            states=self.states[at],
            contents=self.contents[at],
            embeddings=None if self.embeddings is None else self.embeddings[at],
        )

    @staticmethod
    def join(parts: Sequence[Index]) -> Index:
        """Entries of indexes that have their settings and their root in common, one after the other."""
        full = [part for part in parts if len(part)] or [parts[0]]
        embeddings = [part.embeddings for part in full if part.embeddings is not None]
        return replace(
            full[0],
            files=replace(full[0].files, pairs=tuple(pair for part in full for pair in part.files.pairs)),
            layouts=Layouts.join([part.layouts for part in full]),
            states=torch.cat([part.states for part in full]),
            contents=torch.cat([part.contents for part in full]),
            embeddings=torch.cat(embeddings) if embeddings else None,
        )

    def save(self, path: str | Path) -> None:
        """Write the index; a file that is there is replaced in one step, so that who reads it sees the old or the new.

        Files are named by their places below the root, and the root by its place beside the index: both may move
        together.
        """
        path = Path(path)
        files = [[pair.name, *(relative(file, self.root) for file in pair.files)] for pair in self.files.pairs]
        tensors = {
            "files": _packed(files),
            "broken": _packed(dict(self.broken)),
            "grids": self.layouts.grids,
            "areas": self.layouts.areas.half(),
            "states": self.states,
            "contents": self.contents,
        }
        if self.embeddings is not None:
            tensors["embeddings"] = self.embeddings.half()
        entries = {
            "format": FORMAT,
            "version": VERSION,
            "root": _beside(self.root, path),
            "settings": json.dumps(self.settings()),
        }
        save_tensors(path, tensors, entries)

    @staticmethod
    def load(path: str | Path, root: str | Path | None = None) -> Index:
        """
        Read an index in one go, so that another process may replace it meanwhile.

        :param root: where the files lie now; None: where the index says.
        :raises FileNotFoundError: no such file.
        :raises SpentIndex: a damaged file, or one of another version.
        :raises ValueError: another kind of file.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"exemplar index: no file {path.absolute()}; build it first")
        with path.open("rb") as file:
            entries = _metadata(file)
            if entries.get("format") == FORMAT:
                check_limit(str(path), os.fstat(file.fileno()).st_size, INDEX_BYTES, "bytes", "divide the data set")
            file.seek(0)
            content = file.read() if entries.get("format") == FORMAT else b""
        if entries.get("format") != FORMAT:
            raise ValueError(f"exemplar index: {path} is no index of exemplars; build one, or choose another file")
        if entries.get("version") != VERSION:
            raise SpentIndex(
                f"exemplar index: {path} has version {entries.get('version')!r}, known here is {VERSION}; build it anew"
            )
        try:
            place = path.parent / entries.get("root", ".") if root is None else Path(root).expanduser()
            settings = parse_json(entries["settings"], "settings")
            return _index(load_tensors(content), settings, Path(os.path.normpath(place)))
        except (LookupError, TypeError, AttributeError, ValueError, RuntimeError, SafetensorError) as error:
            raise SpentIndex(
                f"exemplar index: {path} is damaged ({error or type(error).__name__}); build it anew"
            ) from error


def relative(file: Path, root: Path) -> str:
    """A file's place below the root, "/" between folders.

    :raises ValueError: when it lies elsewhere.
    """
    try:
        return file.relative_to(root).as_posix()
    except ValueError as error:
        raise ValueError(f"exemplar index: {file} does not lie below {root}; choose a folder that holds all") from error


def _index(tensors: Mapping[str, Tensor], settings: Mapping[str, Any], root: Path) -> Index:
    palette = Palette.from_dict(settings["palette"])
    pairs = []
    listed = _unpacked(tensors["files"])
    check_limit("its list of files", len(listed), INDEX_ENTRIES, "entries", "divide the data set")
    for name, *places in listed:
        picture, *labels = (root / _inside(place) for place in places)
        pairs.append(Pair(str(name), picture, tuple(labels)))
    files = PairedFiles(
        str(settings["kind"]), palette, tuple(pairs), _reader_from_dict(settings["reader"]), fit=bool(settings["fit"])
    )
    n, k, embeddings = len(pairs), len(palette), tensors.get("embeddings")
    expected = {
        "grids": (grid_type(k), (n, GRID, GRID)),
        "areas": (torch.float16, (n, k)),
        "states": (torch.uint8, (n, DIGEST)),
        "contents": (torch.uint8, (n, DIGEST)),
    }
    if embeddings is not None:
        expected["embeddings"] = (torch.float16, (n, embeddings.shape[-1]))
    for name, (dtype, shape) in expected.items():
        if tensors[name].dtype != dtype or tuple(tensors[name].shape) != shape:
            raise ValueError(f"{name} is {list(tensors[name].shape)} of {tensors[name].dtype}, expected {list(shape)}")
    for name in expected.keys() & {"areas", "embeddings"}:
        if not bool(tensors[name].isfinite().all()):
            raise ValueError(f"{name} are not finite")
    if n and not 0 <= int(tensors["grids"].min()) <= int(tensors["grids"].max()) <= k:
        raise ValueError(f"the grids hold classes beyond the {k} of the table")
    return Index(
        files,
        root,
        Layouts(tensors["grids"], tensors["areas"]),
        tensors["states"],
        tensors["contents"],
        str(settings["embedder"]),
        embeddings,
        {str(name): str(reason) for name, reason in _unpacked(tensors["broken"]).items()},
    )


def _metadata(file: BinaryIO) -> dict[str, str]:
    """What a safetensors file says of itself; nothing where it is none."""
    length = int.from_bytes(file.read(8), "little")
    try:
        header = json.loads(file.read(length)) if length <= HEADER_BYTES else None
    except (ValueError, RecursionError):  # no JSON, no text
        return {}
    entries = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    return entries if isinstance(entries, dict) else {}


def _beside(root: Path, path: Path) -> str:
    try:
        return Path(os.path.relpath(root, path.parent)).as_posix()
    except ValueError:  # another drive
        return root.absolute().as_posix()


def _inside(place: str) -> str:
    """A place that stays below its root: an index may come from anywhere."""
    windows = PureWindowsPath(place)
    if PurePosixPath(place).is_absolute() or windows.drive or windows.root or ".." in windows.parts:
        raise ValueError(f"{place!r} leaves the folder of the data set")
    return place


def _packed(value: object) -> Tensor:
    """JSON as bytes, which unlike metadata may be long."""
    return torch.frombuffer(bytearray(json.dumps(value, ensure_ascii=False).encode()), dtype=torch.uint8)


def _unpacked(tensor: Tensor) -> Any:
    return parse_json(tensor.numpy().tobytes().decode(), "its list of files")


def _reader_to_dict(reader: Reader) -> dict[str, Any]:
    for name, kind in _READERS.items():
        if type(reader) is kind:
            return {"holds": name, **asdict(reader)}
    raise ValueError(f"exemplar index: label maps read by {type(reader).__name__} cannot be named in an index")


def _reader_from_dict(settings: Mapping[str, Any]) -> Reader:
    options = {key: tuple(v) if isinstance(v, list) else v for key, v in settings.items() if key != "holds"}
    return _READERS[settings["holds"]](**options)
