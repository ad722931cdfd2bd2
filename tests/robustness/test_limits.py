"""Files that declare or hold far too much are refused before memory is gone; each in a process that has little."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from amadapter_core import limits
from amadapter_core.batch.plan_files import read_plan
from amadapter_core.checkpoints import read
from amadapter_core.checkpoints.formats import open_file
from amadapter_core.datasets.finding import captions_in
from amadapter_core.exemplar import Exemplar
from amadapter_core.label_pictures import read_label_picture
from amadapter_core.mappings import load_mapping
from amadapter_core.metrics.folders import read_picture
from amadapter_core.metrics.segmenter import Segmenter
from amadapter_core.palettes import Palette
from amadapter_core.result_folder import RECORDS, ResultFolder
from amadapter_core.retrieval.index import FORMAT, VERSION, Index
from amadapter_core.retrieval.published import read_retrieval
from amadapter_core.routing_rules import RoutingRules
from amadapter_core.text_files import parse_yaml, read_json, read_yaml
from amadapter_core.training import config
from amadapter_core.training.records import read_table

from .children import FORKS, in_child
from .readers import PALETTE

pytestmark = pytest.mark.skipif(not FORKS, reason="needs fork and limits of memory")

MEMORY = 256 << 20
HUGE = 20 << 30


def refused(action: Callable[[], Any], *words: str, mapped: int = 0) -> None:
    """An action is refused in so many words within little memory."""
    kind, text = in_child(action, MEMORY, mapped)
    assert kind in ("ValueError", "TooLarge", "CheckpointError", "SpentIndex"), f"{kind}: {text[:500]}"
    for word in words:
        assert word in text, text[:500]


def sparse(path: Path, size: int = HUGE, head: bytes = b"") -> Path:
    """A file that is as long as told and takes no room."""
    path.write_bytes(head)
    os.truncate(path, size)
    return path


def png(path: Path, width: int, height: int) -> Path:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(1000))
    chunks = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (chunk, data, b"IEND"))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    return path


def header(entries: dict[str, Any]) -> bytes:
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    ("width", "height"), [(8193, 8193), (12000, 12000), (60000, 60000), ((1 << 31) - 1, (1 << 31) - 1)]
)
def test_pictures_by_their_declared_pixels(width: int, height: int, tmp_path: Path) -> None:
    path = png(tmp_path / "l.png", width, height)
    refused(lambda: read_label_picture(path, PALETTE), "l.png", "resize it")
    refused(lambda: read_picture(path), "l.png")


def test_the_limit_of_pixels_is_told_with_both_numbers(tmp_path: Path) -> None:
    path = png(tmp_path / "l.png", 8193, 8193)
    refused(lambda: read_picture(path), f"{8193**2:,} pixels", f"at most {limits.PIXELS:,} are read", "resize it")


@pytest.mark.parametrize(
    ("name", "read_file"),
    [
        ("g.json", Palette.load),
        ("m.json", lambda path: load_mapping(path, PALETTE, PALETTE)),
        ("r.json", read_retrieval),
        ("p.json", read_plan),
        ("p.yaml", read_plan),
        ("p.parquet", read_plan),
        ("c.yaml", config.load),
        ("losses.csv", read_table),
        ("captions.json", lambda path: captions_in(path.parent)),
        (RECORDS, lambda path: ResultFolder(path.parent)),
    ],
)
def test_texts_by_their_bytes(name: str, read_file: Callable[[Path], Any], tmp_path: Path) -> None:
    path = sparse(tmp_path / name)
    refused(lambda: read_file(path), name, f"{HUGE:,} bytes", "at most")


@pytest.mark.parametrize("text", ["[" * 10**6, '{"a":' * 10**6, "9" * 10**6])
def test_json_that_is_deep_or_long(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    refused(lambda: read_json(tmp_path / "x.json"), "x.json")


def test_yaml_whose_aliases_stand_for_billions(tmp_path: Path) -> None:
    lines = ["a0: &a0 {k: 1}"]
    merged = [*lines, *(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 12))]
    listed = [*lines, *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12))]
    for text in (merged, listed, ["&a [*a]"], ["- " * 500 + "1"], ["[" * 500]):
        (tmp_path / "x.yaml").write_text("\n".join(text))
        refused(lambda: read_yaml(tmp_path / "x.yaml"), "x.yaml", "at most")


def test_yaml_may_use_aliases() -> None:
    assert parse_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: *a", "x") == {
        "a": {"x": 1},
        "b": {"x": 1, "y": 2},
        "c": {"x": 1},
    }


def test_plans_by_their_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amadapter_core.batch.plan_files.PLAN_ROWS", 3)
    row = {"exemplar": "e.png", "exemplar_labels": "l.png", "target_labels": "t.png"}
    (tmp_path / "p.json").write_text(json.dumps([row | {"name": str(i)} for i in range(4)]))
    refused(lambda: read_plan(tmp_path / "p.json"), "p.json", "4 rows", "at most 3", "divide the plan")


@pytest.mark.parametrize("plain", [True, False])
def test_parquet_that_unfolds(plain: bool, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    column = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 1100, pyarrow.int32()), ["x" * (1 << 16)])
    parquet.write_table(
        pyarrow.table({"exemplar": column.cast(pyarrow.string()) if plain else column}), tmp_path / "p.parquet"
    )
    assert (tmp_path / "p.parquet").stat().st_size < 1 << 20
    refused(lambda: read_plan(tmp_path / "p.parquet"), "p.parquet", "characters or more, at most")


def test_classes_of_a_table(tmp_path: Path) -> None:
    classes = [{"name": f"c{i}", "colour": [0, 0, 0]} for i in range(limits.CLASSES + 1)]
    (tmp_path / "g.json").write_text(json.dumps({"classes": classes}))
    refused(lambda: Palette.load(tmp_path / "g.json"), "g.json", f"{limits.CLASSES + 1:,} classes", "at most")


def test_rules_by_their_characters() -> None:
    refused(lambda: RoutingRules.parse("car = 1\n" * (limits.RULES_CHARACTERS // 8 + 1)), "rules: the text", "at most")


def test_safetensors_headers_and_totals(tmp_path: Path) -> None:
    long = sparse(tmp_path / "long.safetensors", head=(limits.HEADER_BYTES + 1).to_bytes(8, "little") + b"{")
    refused(lambda: read(long), "long.safetensors", f"at most {limits.HEADER_BYTES}")
    entry = {"dtype": "F32", "shape": [1 << 34], "data_offsets": [0, 1 << 36]}
    (tmp_path / "total.safetensors").write_bytes(header({"conv.weight": entry}))
    refused(lambda: read(tmp_path / "total.safetensors"), "total.safetensors", "truncated")


def test_what_is_no_exemplar_and_no_index_is_not_read(tmp_path: Path) -> None:
    entry = {"dtype": "U8", "shape": [HUGE], "data_offsets": [0, HUGE]}
    head = header({"big": entry})
    path = sparse(tmp_path / "sd.safetensors", HUGE + len(head), head)
    refused(lambda: Exemplar.load(path), "sd.safetensors", "is no exemplar file", mapped=2 * HUGE)
    refused(lambda: Index.load(path), "sd.safetensors", "is no index")
    refused(lambda: Segmenter.load(path), "sd.safetensors", "is no segmenter", mapped=2 * HUGE)
    head = header({"big": entry, "__metadata__": {"format": FORMAT, "version": VERSION}})
    path = sparse(tmp_path / "i.safetensors", HUGE + len(head), head)
    refused(lambda: Index.load(path), "i.safetensors", "bytes, at most", "divide the data set")


def test_a_segmenter_of_one_wide_tensor(tmp_path: Path) -> None:
    state = {"stem.weight": torch.zeros(20000, 3, 3, 3), "head.weight": torch.zeros(2, 20000, 1, 1)}
    metadata = {"am_adapter.kind": "segmenter", "am_adapter.classes": '{"0": "a", "1": "b"}'}
    (tmp_path / "s.safetensors").write_bytes(save(state, metadata))
    refused(lambda: Segmenter.load(tmp_path / "s.safetensors"), "s.safetensors", "is damaged")


class Room:
    """Pickles as a call that fills memory."""

    def __reduce__(self) -> Any:
        return bytearray, (HUGE,)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_that_ask_for_room(zipped: bool, tmp_path: Path) -> None:
    content = pickle.dumps({"a": Room()}, protocol=2)
    path = tmp_path / "w.pth"
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("w/data.pkl", content)
            archive.writestr("w/version", "3\n")
    else:
        magic = (pickle.dumps(value, protocol=2) for value in (0x1950A86A20F9469CFC6C, 1001, {}))
        path.write_bytes(b"".join(magic) + content)
    refused(lambda: open_file(path), "w.pth", "asks for bytearray", "nothing in the file was executed")


def test_zip_entries_by_their_declared_sizes(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"conv.weight": torch.ones(4, 3)}, path)
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = (1 << 31).to_bytes(4, "little")
    path.write_bytes(content)
    refused(lambda: open_file(path), "w.pth", "is a damaged zip archive", f"stand for {1 << 31}")


def test_a_torch_file_holds_one_pickle(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"")
        archive.writestr("b/data.pkl", b"")
    refused(lambda: open_file(path), "w.pth", "one pickle of at most")
