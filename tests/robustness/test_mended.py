"""What campaigns found, each as small as it gets."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from amadapter_core.batch.on_server import Workflow
from amadapter_core.batch.plan_files import read_plan
from amadapter_core.checkpoints import CheckpointError, Kind, inspect, save
from amadapter_core.checkpoints.formats import open_file
from amadapter_core.datasets.celebamaskhq import MAPPING, _split_of
from amadapter_core.demo.files import _described
from amadapter_core.exemplar import Exemplar
from amadapter_core.generators.ipose.conventions import Convention
from amadapter_core.generators.style_rules import layers_in, seeds_by_class, seeds_by_layer
from amadapter_core.matcher import Matcher
from amadapter_core.metrics.folders import read_picture
from amadapter_core.picture_files import open_picture
from amadapter_core.result_folder import RECORDS, ResultFolder
from amadapter_core.training import config
from amadapter_core.training.checkpoint import checkpoint_folder, checkpoints, restore
from amadapter_core.training.records import Table, read_table
from amadapter_core.training.store import open_store

from . import runs
from .mutations import SENTINEL
from .readers import _exemplar as good_exemplar

DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "line",
    [
        DEEP,
        '["name"]',
        '{"name": "a"}',
        '{"name": "a", "state": "done", "key": "k"}',
        '{"name": "a", "state": "done", "key": "k", "files": []}',
        '{"name": "a", "state": "done", "key": "k", "files": {"result": ["a.png"]}}',
        '{"name": "a", "state": "gone", "key": "k", "files": {}}',
        '{"name": "../a", "state": "failed", "key": "k"}',
    ],
)
def test_a_damaged_record_counts_for_nothing(line: str, tmp_path: Path) -> None:
    ResultFolder(tmp_path).keep("b", "key", {"result": b"png"})
    with open(tmp_path / RECORDS, "a") as file:
        file.write(line + "\n")
    results = ResultFolder(tmp_path)
    assert list(results.records) == ["b"] and results.is_finished("b", "key")
    results.write_manifest()


def test_a_record_of_an_impossible_place_is_wanted_again(tmp_path: Path) -> None:
    record = {"name": "a", "state": "done", "key": "k", "files": {"result": ["\0", 3]}}
    (tmp_path / RECORDS).write_text(json.dumps(record))
    assert not ResultFolder(tmp_path).is_finished("a", "k")


@pytest.mark.parametrize("odd", [{"_meta": None}, {"_meta": []}, {"inputs": []}, {"class_type": ["X"]}])
def test_a_workflow_of_odd_nodes_is_no_prompt(odd: dict[str, Any], tmp_path: Path) -> None:
    node = {"class_type": "LoadLabelMap", "inputs": {}, "_meta": {"title": "target labels"}}
    (tmp_path / "w.json").write_text(json.dumps({"1": node}))
    assert Workflow(tmp_path / "w.json").titles == {"target labels": ["1"]}
    (tmp_path / "w.json").write_text(json.dumps({"1": node, "2": node | odd}))
    with pytest.raises(ValueError, match="w.json is no prompt"):
        Workflow(tmp_path / "w.json")


def test_a_number_that_was_cut_off_is_no_loss(tmp_path: Path) -> None:
    (tmp_path / "losses.csv").write_text("step,loss\n1,0.5\n2,0.3")
    assert Table(tmp_path / "losses.csv", 9).series("loss") == [(1, 0.5)]


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"step\nx\n", b"\xff\xfe\n", b'step\n"' + b"1" * 200_000 + b'"\n'])
def test_another_table_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "losses.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"losses\.csv"):
        Table(tmp_path / "losses.csv", 9)
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "absent.csv")


def test_a_torch_file_is_looked_at_whatever_its_checksums_say(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"conv.weight": torch.ones(4, 3)}, path)
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    content[directory + 16] ^= 1  # of the checksum that the directory holds of the pickle
    path.write_bytes(content)
    assert list(open_file(path).tensors) == ["conv.weight"]
    content[2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"w\.pth"):
        open_file(path)


def test_messages_stay_short_enough_to_be_read(tmp_path: Path) -> None:
    save(tmp_path / "m.safetensors", Matcher(heads=8), Kind.MATCHER, variant="spatial")
    content = (tmp_path / "m.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"]["am_adapter.variant"] = "spatial" * 9999
    text = json.dumps(header).encode()
    (tmp_path / "m.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
    with pytest.raises(CheckpointError) as told:
        inspect(tmp_path / "m.safetensors")
    assert len(str(told.value)) < 2500
    with pytest.raises(ValueError) as told:
        ResultFolder(tmp_path).fail("x" * 9999, "key", "message")
    assert len(str(told.value)) < 500


def test_a_plan_may_hold_any_keys_and_says_which(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("1: a\nrows: [{exemplar: e.png}]\nx: b\n")
    with pytest.raises(ValueError, match=r"p\.yaml has 1, x; a plan has settings"):
        read_plan(tmp_path / "p.yaml")


@pytest.mark.parametrize(
    "value", ["2001-99-99", "!!bool maybe", "!!python/object/apply:os.system ['true']", "- " * 500]
)
def test_settings_that_are_no_yaml_are_named(value: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(f"steps: {value}\n")
    with pytest.raises(ValueError, match=r"c\.yaml"):
        config.load(tmp_path / "c.yaml")
    assert not os.path.lexists(SENTINEL)


@pytest.mark.parametrize("content", [DEEP, "[]", '{"unet": 3}', "\udcff"])
def test_a_description_of_something_else_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "family.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=r"family\.json"):
        _described(tmp_path / "family.json")


def test_superscripts_are_no_numbers(tmp_path: Path) -> None:
    for read in (lambda: seeds_by_class("² = 1"), lambda: seeds_by_class("1 = ²"), lambda: seeds_by_layer("² = 1", 5)):
        with pytest.raises(ValueError, match="^rules: line 1"):
            read()
    with pytest.raises(ValueError, match="expected numbers separated by commas"):
        layers_in("0, ²")
    (tmp_path / MAPPING).write_text("² ³ a.jpg\n1 2 b.jpg\n", encoding="utf-8")
    assert _split_of(tmp_path, "train") == {1}


def test_seeds_fit_64_bits() -> None:
    assert seeds_by_class("1 = " + "9" * 18) == {1: 10**18 - 1}
    with pytest.raises(ValueError, match="no seed.* at most 18 digits"):
        seeds_by_class("1 = " + "9" * 5000)


@pytest.mark.parametrize("text", [DEEP, '{"by_class": {"1": 1e999}, "size": [1, 2]}'])
def test_a_convention_that_is_none_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is no convention of a data set"):
        Convention.from_json(text)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("sigmas", lambda t: t[None]),
        ("sigmas", lambda t: t.flip(0)),
        ("latents", lambda t: t[0]),
        ("latents", lambda t: t.to(torch.int64)),
        ("latents", lambda t: t * float("nan")),
        ("labels", lambda t: t.float()),
        ("labels", lambda t: t.repeat(2, 1, 1)),
        ("context", lambda t: t[0]),
        ("pooled", lambda t: t.repeat(3, 1)),
    ],
)
def test_an_exemplar_of_other_tensors_is_refused(name: str, change: Any, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    path = tmp_path / "e.safetensors"
    good_exemplar().save(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    save_file(tensors | {name: change(tensors[name]).contiguous()}, path, metadata)
    with pytest.raises(CheckpointError, match=r"e\.safetensors"):
        Exemplar.load(path)


@pytest.mark.parametrize("key", ["palette", "parts_palette"])
@pytest.mark.parametrize("text", [None, "{", DEEP, "[]"])
def test_an_exemplar_of_other_metadata_is_refused(key: str, text: str | None, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    path = tmp_path / "e.safetensors"
    good_exemplar().save(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    metadata.pop(key)
    save_file(load_file(path), path, metadata | ({} if text is None else {key: text}))
    with pytest.raises(CheckpointError, match=r"e\.safetensors is damaged"):
        Exemplar.load(path)


@pytest.mark.parametrize(
    "place", ["state.json", "model.safetensors", "resume/optimiser.pt", "resume/average.safetensors"]
)
def test_a_damaged_checkpoint_says_which_file_and_what_to_do(place: str, tmp_path: Path) -> None:
    runs.checkpoint(tmp_path)
    (tmp_path / runs.STEP / place).write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=f"{place}.*Remove .*{runs.STEP} to go on from the one before"):
        runs.resume(tmp_path)


def test_prepared_pairs_that_are_damaged_are_named(tmp_path: Path) -> None:
    (tmp_path / "latents.npy").write_bytes(b"\x93NUMPY\x01\0\xff\xff{")
    with pytest.raises(ValueError, match="remove the folder"):
        open_store(tmp_path)


def test_a_checkpoint_that_was_being_replaced_comes_back(tmp_path: Path) -> None:
    runs.checkpoint(tmp_path, step=7)
    whole = checkpoint_folder(tmp_path, 7)
    os.replace(whole, whole.with_name(f".{whole.name}.former"))  # killed between two renames
    restore(tmp_path)
    assert checkpoints(tmp_path) == [whole] and runs.resume(tmp_path)[0].step == 7


def test_a_checkpoint_that_was_being_removed_does_not(tmp_path: Path) -> None:
    for step in (7, 8):
        runs.checkpoint(tmp_path, step=step)
    old = checkpoint_folder(tmp_path, 7)
    os.replace(old, aside := old.with_name(f".{old.name}.former"))
    restore(tmp_path)
    assert checkpoints(tmp_path) == [checkpoint_folder(tmp_path, 8)] and not aside.exists()


def test_no_picture_is_handed_to_another_program(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "p.eps")
    with pytest.raises(ValueError, match=r"p\.eps is no picture that can be read"):
        open_picture(tmp_path / "p.eps")


def test_a_turned_tiff_is_turned_once(tmp_path: Path) -> None:
    picture = Image.new("RGB", (6, 4))
    exif = picture.getexif()
    exif[0x0112] = 6
    for name in ("p.tif", "p.jpg"):
        picture.save(tmp_path / name, exif=exif)
        assert tuple(read_picture(tmp_path / name).shape) == (1, 3, 6, 4)
