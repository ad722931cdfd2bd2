"""Building an index: once, again, after changes, broken off, killed, beside readers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from amadapter_core.datasets import PairedFiles, open_data_set
from amadapter_core.label_maps import LabelMap, Palette
from amadapter_core.retrieval import building
from amadapter_core.retrieval.building import build
from amadapter_core.retrieval.finding import Finder, Wishes
from amadapter_core.retrieval.index import Index, SpentIndex
from amadapter_core.retrieval.layouts import Layouts
from amadapter_core.retrieval.made import made_labels
from amadapter_core.retrieval.segmented import segment_folder
from amadapter_core.scenes.folders import write_folder

ROOT = Path(__file__).resolve().parents[2]
CITY = Palette.load("cityscapes19")


def write_pair(root: Path, name: str, seed: int, size: tuple[int, int] = (32, 48)) -> None:
    ids = made_labels(seed, size)
    for kind, array in (("images", np.stack([ids * 3] * 3, -1)), ("labels", ids)):
        path = root / kind / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)


def opened(root: Path) -> PairedFiles:
    return open_data_set("folder", root, palette=CITY, strict=False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six pairs."""
    for number in range(6):
        write_pair(tmp_path / "streets", f"town/{number}", number)
    return tmp_path / "streets"


class Reads:
    """Counts what is read and described."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.names: list[str] = []
        read = PairedFiles.read

        def counted(files: PairedFiles, index: int) -> object:
            self.names.append(files.pairs[index].name)
            return read(files, index)

        monkeypatch.setattr(PairedFiles, "read", counted)

    def taken(self) -> list[str]:
        names, self.names = sorted(self.names), []
        return names


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


def same(one: Index, other: Index) -> bool:
    tensors = [(i.layouts.grids, i.layouts.areas, i.states, i.contents) for i in (one, other)]
    return one.names == other.names and all(torch.equal(a, b) for a, b in zip(*tensors, strict=True))


def test_an_index_holds_every_pair_and_is_what_was_built(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "sub" / "index.safetensors"
    steps = []
    built = build(path, opened(root), root, workers=2, progress=lambda done, count: steps.append((done, count)))
    assert (built.read, built.dropped, built.index.broken) == (6, 0, {}) and steps == [(n, 6) for n in range(1, 7)]
    index = Index.load(path)
    assert same(index, built.index) and index.names == [f"town/{n}" for n in range(6)]
    assert index.root == root and index.settings() == built.index.settings()
    for row in range(6):
        picture, labels = index.files.read(row)
        assert torch.equal(labels.ids[0], torch.from_numpy(made_labels(row, (32, 48))).long())
        assert torch.equal(Layouts.of(labels).grids[0], index.layouts.grids[row]) and picture.shape == (32, 48, 3)
    assert [file.name for file in path.parent.iterdir()] == ["index.safetensors"]


def test_only_what_has_changed_is_read_again(root: Path, tmp_path: Path, reads: Reads) -> None:
    path = tmp_path / "index.safetensors"
    first = build(path, opened(root), root).index
    assert len(reads.taken()) == 6
    assert same(build(path, opened(root), root).index, first) and reads.taken() == []
    # Touched, not changed: known by its content.
    os.utime(root / "labels/town/1.png", (1, 1))
    touched = build(path, opened(root), root)
    assert touched.read == 0 and reads.taken() == []
    assert not torch.equal(touched.index.states[1], first.states[1])
    write_pair(root, "town/2", 90)
    (root / "images/town/3.png").unlink()
    write_pair(root, "new", 91)
    changed = build(path, opened(root), root)
    assert (changed.read, changed.dropped) == (2, 1) and reads.taken() == ["new", "town/2"]
    assert changed.index.names == ["new", "town/0", "town/1", "town/2", "town/4", "town/5"]
    fresh = build(tmp_path / "other.safetensors", opened(root), root).index
    assert same(changed.index, fresh) and same(Index.load(path), fresh)


def test_other_settings_read_everything_again(root: Path, tmp_path: Path, reads: Reads) -> None:
    path = tmp_path / "index.safetensors"
    build(path, opened(root), root)
    reads.taken()
    other = open_data_set("folder", root, palette=Palette.load("bdd100k19"))
    assert build(path, other, root).index.palette.name == "bdd100k19" and len(reads.taken()) == 6


def test_broken_pairs_are_left_out_and_listed_and_read_when_mended(root: Path, tmp_path: Path) -> None:
    (root / "labels/town/0.png").unlink()
    for name in ("images/town/1.png", "labels/town/2.png"):
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[: len(content) // 2])
    (root / "images/town/3.png").write_text("no picture")
    write_pair(root, "town/4", 4, (16, 24))
    Image.new("RGB", (48, 32)).save(root / "images/town/4.png")
    Image.fromarray(np.full((32, 48), 77, np.uint8)).save(root / "labels/town/5.png")
    shutil.copy(root / "images/town/5.png", root / "images/town/5.webp")
    write_pair(root, "whole", 8)
    Image.fromarray(np.full((32, 48), 255, np.uint8)).save(root / "labels/void.png")
    Image.new("RGB", (48, 32)).save(root / "images/void.png")
    path = tmp_path / "index.safetensors"
    built = build(path, opened(root), root)
    assert built.index.names == ["whole"]
    expected = {
        "images/town/0.png": "no label map",
        "images/town/1.png": "1.png is damaged or not complete",
        "images/town/2.png": "2.png is damaged or not complete",
        "images/town/3.png": "3.png is no picture",
        "images/town/4.png": "is 32 x 48 and its label map",
        "images/town/5.png": "ids that palette 'cityscapes19' does not have",
        "images/town/5.webp": "the same name as images/town/5.png",
        "images/void.png": "shows no class",
    }
    assert built.index.broken.keys() == expected.keys() and Index.load(path).broken == built.index.broken
    assert [place for place, told in expected.items() if told not in built.index.broken[place]] == []
    write_pair(root, "town/0", 0)
    write_pair(root, "town/2", 2)
    again = build(path, opened(root), root)
    assert again.index.names == ["town/0", "town/2", "whole"] and again.read == 2


def test_a_folder_with_nothing_to_read_leaves_the_index_as_it_was(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "index.safetensors"
    before = build(path, opened(root), root).index
    for file in (root / "labels/town").iterdir():
        file.write_bytes(b"")
    with pytest.raises(ValueError, match=r"none of 6 pairs in .*streets can be read: images/town/0.png: .*1 more"):
        build(path, opened(root), root)
    assert same(Index.load(path), before)


def test_cancelled_it_goes_on_where_it_was(root: Path, tmp_path: Path, reads: Reads) -> None:
    path = tmp_path / "index.safetensors"

    def cancel(done: int, count: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(path, opened(root), root, progress=cancel)
    assert not path.exists() and reads.taken()[:4] == [f"town/{n}" for n in range(4)]
    built = build(path, opened(root), root)
    assert built.read == 2 and reads.taken() == ["town/4", "town/5"]
    assert same(built.index, build(tmp_path / "other.safetensors", opened(root), root).index)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["index.safetensors", "other.safetensors", "streets"]


KILLED = """
import sys, time
from pathlib import Path
from amadapter_core.datasets import PairedFiles, open_data_set
from amadapter_core.label_maps import Palette
from amadapter_core.retrieval.building import build

read = PairedFiles.read
def slow(files, index):
    time.sleep(0.05)
    return read(files, index)
PairedFiles.read = slow
root = Path(sys.argv[1])
files = open_data_set("folder", root, palette=Palette.load("cityscapes19"))
build(sys.argv[2], files, root, seconds=0.1)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a signal that cannot be caught")
def test_killed_while_it_builds_nothing_is_lost_and_nothing_doubled(tmp_path: Path, reads: Reads) -> None:
    root, path = tmp_path / "streets", tmp_path / "index.safetensors"
    for number in range(200):
        write_pair(root, f"{number:03}", number, (8, 8))
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(root), str(path)], cwd=ROOT)
    parts = tmp_path / ".index.building"
    deadline = time.monotonic() + 120
    while len(list(parts.glob("*.safetensors"))) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL and not path.exists()
    kept = sum(len(Index.load(part, root)) for part in parts.glob("*.safetensors"))
    assert 0 < kept < 200
    built = build(path, opened(root), root)
    assert built.read == 200 - kept == len(reads.taken())
    assert built.index.names == [f"{number:03}" for number in range(200)] and not parts.exists()
    assert same(Index.load(path), build(tmp_path / "other.safetensors", opened(root), root).index)


def test_it_can_be_read_while_another_builds(root: Path, tmp_path: Path) -> None:
    path, stop, seen, failed = tmp_path / "index.safetensors", threading.Event(), set(), []
    build(path, opened(root), root)
    target = LabelMap(torch.from_numpy(made_labels(3, (32, 48))).long()[None], CITY)

    def read() -> None:
        while not stop.is_set():
            try:
                index = Index.load(path)
                seen.add(len(index))
                Finder(index).find(target, Wishes(count=2))
            except Exception as error:
                failed.append(error)
                return

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(6, 14):
        write_pair(root, f"town/{number}", number)
        build(path, opened(root), root)
    stop.set()
    reader.join()
    assert failed == [] and seen and seen <= set(range(6, 15))


def test_index_and_data_set_move_together_or_the_data_set_is_named(root: Path, tmp_path: Path) -> None:
    build(tmp_path / "indexes" / "a.safetensors", opened(root), root)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    shutil.move(root, moved / "streets")
    shutil.move(tmp_path / "indexes", moved / "indexes")
    index = Index.load(moved / "indexes" / "a.safetensors")
    assert index.root == moved / "streets" and index.files.read(2)[1].size == (32, 48)
    shutil.move(moved / "streets", tmp_path / "named")
    assert Index.load(moved / "indexes" / "a.safetensors", tmp_path / "named").files.read(0)[1].size == (32, 48)


def test_readers_of_data_sets_go_along(tmp_path: Path) -> None:
    root = tmp_path / "city"
    write_folder(root, 8, (32, 32), "cityscapes", layouts_per_appearance=1)
    for place in root.rglob("*labelTrainIds.png"):
        place.unlink()  # leaves ids of the large table
    files = open_data_set("cityscapes", root, palette=CITY)
    build(tmp_path / "index.safetensors", files, root)
    index = Index.load(tmp_path / "index.safetensors")
    assert len(index) == 8 and index.palette == CITY and index.files.reader == files.reader
    assert torch.equal(index.files.labels(3).ids, files.labels(3).ids)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t, m: m.update(format="am_adapter.exemplar"), "no index of exemplars"),
        (lambda t, m: m.update(version="9"), "version '9'"),
        (lambda t, m: m.pop("settings"), "is damaged"),
        (lambda t, m: t.update(grids=t["grids"][:, :8].contiguous()), "damaged .*grids is"),
        (lambda t, m: t.update(grids=t["grids"] + 30), "damaged .*classes beyond the 19"),
        (lambda t, m: t.pop("areas"), "damaged .*areas"),
        (lambda t, m: t.update(files=_json('[["a", "../../etc/x.png", "b.png"]]')), "damaged .*leaves the folder"),
        (lambda t, m: t.update(files=_json('[["a", "C:\\\\x.png", "b.png"]]')), "damaged .*leaves the folder"),
        (lambda t, m: t.update(files=_json("{")), "damaged"),
    ],
)
def test_a_file_that_is_no_index_says_so(root: Path, tmp_path: Path, change: object, told: str) -> None:
    from safetensors import safe_open

    path = tmp_path / "index.safetensors"
    build(path, opened(root), root)
    with safe_open(path, "pt") as file:
        tensors, entries = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    change(tensors, entries)
    save_file(tensors, path, entries)
    with pytest.raises(ValueError, match=told):
        Index.load(path)


def _json(text: str) -> torch.Tensor:
    return torch.tensor(list(text.encode()), dtype=torch.uint8)


def test_what_is_no_safetensors_file_is_not_overwritten(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "index.safetensors"
    path.write_text("my notes")
    with pytest.raises(ValueError, match="no index of exemplars"):
        build(path, opened(root), root)
    assert path.read_text() == "my notes"
    with pytest.raises(FileNotFoundError, match="build it first"):
        Index.load(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="should end in .safetensors"):
        build(tmp_path / "index.bin", opened(root), root)
    with pytest.raises(ValueError, match="choose a folder that holds all"):
        build(tmp_path / "other.safetensors", opened(root), root / "images")


def test_a_damaged_index_is_built_anew(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "index.safetensors"
    whole = build(path, opened(root), root).index
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SpentIndex, match="build it anew"):
        Index.load(path)
    assert same(build(path, opened(root), root).index, whole)


class Brightness:
    """An embedder of two numbers."""

    def __init__(self, name: str = "brightness"):
        self.name, self.batches = name, []

    def pictures(self, pictures: list[np.ndarray]) -> torch.Tensor:
        self.batches.append(len(pictures))
        values = torch.tensor([[float(picture.mean()), 100.0] for picture in pictures])
        return torch.nn.functional.normalize(values, dim=1)


def test_embeddings_are_kept_and_belong_to_one_model(
    root: Path, tmp_path: Path, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "_EMBEDDED_AT_ONCE", 4)
    path, embedder = tmp_path / "index.safetensors", Brightness()
    (root / "labels/town/1.png").write_bytes(b"")
    index = build(path, opened(root), root, embedder=embedder).index
    assert embedder.batches == [3, 2] and index.embeddings.shape == (5, 2) and index.embedder == "brightness"
    expected = embedder.pictures([index.files.picture(row) for row in range(5)])
    assert torch.allclose(Index.load(path).embeddings.float(), expected, atol=1e-3)
    write_pair(root, "town/1", 1)
    reads.taken()
    again = build(path, opened(root), root, embedder=embedder).index
    assert reads.taken() == ["town/1"] and torch.equal(again.embeddings[[0, 2, 3, 4, 5]], index.embeddings)
    build(path, opened(root), root, embedder=Brightness("another"))
    assert len(reads.taken()) == 6
    assert build(path, opened(root), root).index.embeddings is None


def test_pictures_alone_get_label_maps_from_a_model_and_become_a_data_set(tmp_path: Path) -> None:
    asked = []

    def segment(image: np.ndarray) -> LabelMap:
        asked.append(image.shape)
        ids = torch.where(torch.from_numpy(image[..., 0]) > 100, 10, 0)
        return LabelMap(ids[None], CITY)

    for number in range(3):
        path = tmp_path / "images" / "a" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 10 + number), (200, 0, 0)).save(path)
    (tmp_path / "images" / "broken.jpg").write_bytes(b"x")

    def cancel(done: int, count: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment_folder(tmp_path, segment, cancel)
    broken = segment_folder(tmp_path, segment)
    assert asked == [(10, 20, 3), (11, 20, 3), (12, 20, 3)] and list(broken) == ["images/broken.jpg"]
    built = build(tmp_path / "index.safetensors", opened(tmp_path), tmp_path, broken=broken)
    assert built.index.names == ["a/0", "a/1", "a/2"] and "no picture" in built.index.broken["images/broken.jpg"]
    assert built.index.files.labels(0).names_present() == ["sky"]
    with pytest.raises(ValueError, match=r"label map is \[1, 5, 5\], expected \[1, 9, 20\]"):
        Image.new("RGB", (20, 9)).save(tmp_path / "images" / "new.png")
        segment_folder(tmp_path, lambda image: LabelMap(torch.zeros(1, 5, 5, dtype=torch.long), CITY))
