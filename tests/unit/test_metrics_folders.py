"""The command over folders: files matched by stem, gaps and faults named, figures that can be checked."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from amadapter_core.metrics import Segmenter
from amadapter_core.metrics.__main__ import main
from amadapter_core.metrics.folders import match, read_picture
from amadapter_core.palettes import Palette

CITYSCAPES = Palette.load("cityscapes19")
ROAD, SKY = 0, 10
STEMS = ("a", "b", "c", "d", "e", "f")


def street(seed: int, error: float = 0.0, size: int = 32) -> np.ndarray:
    """Sky over road, in colours of the seed's own; `error` brightens the road."""
    rng = np.random.default_rng(seed)
    sky, road = rng.integers(60, 180, size=(2, 3))
    picture = np.empty((size, size, 3))
    picture[: size // 2], picture[size // 2 :] = sky, road + error
    return picture.clip(0, 255).astype(np.uint8)


def labels(size: int = 32) -> np.ndarray:
    ids = np.full((size, size), ROAD, dtype=np.uint8)
    ids[: size // 2] = SKY
    return ids


def save(picture: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Truth and two sets of results, of which `far` is worse for every item."""
    for seed, stem in enumerate(STEMS):
        save(street(seed), tmp_path / "truth" / f"{stem}.png")
        save(street(seed, error=6 + seed), tmp_path / "near" / f"{stem}.png")
        save(street(seed, error=30 + seed), tmp_path / "far" / f"{stem}.webp")
        save(labels(), tmp_path / "labels" / f"{stem}.png")
    return tmp_path


def run(capsys: pytest.CaptureFixture, *arguments: object) -> tuple[dict, str, str]:
    assert main([str(argument) for argument in arguments]) == 0
    printed = capsys.readouterr()
    return json.loads(printed.out.splitlines()[-1]), printed.out, printed.err


def test_results_that_are_the_truth_have_no_error(folders: Path, capsys) -> None:
    figures, printed, complaints = run(
        capsys, folders / "truth", "--reference", folders / "truth", "--labels", folders / "labels"
    )
    measures = figures["results"]["measures"]
    assert figures["items"] == 6 and complaints == ""
    assert measures["colour"] == {"mean": 0, "low": 0, "high": 0, "n": 6, "level": 0.95}
    assert measures["pixel"]["mean"] == measures["texture"]["mean"] == 0
    assert set(figures["results"]["classes"]) == {"road", "sky"}
    assert "| colour error (dE)" in printed and "| sky" in printed


def test_the_worse_set_loses_every_item(folders: Path, capsys) -> None:
    figures, printed, _ = run(
        capsys,
        *(folders / "near", "--reference", folders / "truth", "--labels", folders / "labels"),
        *("--against", folders / "far", "--json", folders / "out" / "figures.json"),
    )
    colour = figures["paired"]["colour"]
    assert colour["wins"] == 6 and colour["p"] == 2 / 64
    near, far = (figures[column]["measures"]["colour"]["mean"] for column in ("results", "against"))
    assert colour["difference"]["mean"] == pytest.approx(near - far) and near < far
    # The road is half of each picture and half of the classes: pixel and class error are the same here.
    assert figures["results"]["measures"]["pixel"]["mean"] == pytest.approx(near, rel=1e-3)
    assert figures["results"]["classes"]["sky"]["colour"] == 0
    assert "6 of 6" in printed
    written = json.loads((folders / "out" / "figures.json").read_text())
    assert sorted(written["values"]) == list(STEMS)
    assert np.mean([item["results"]["colour"] for item in written["values"].values()]) == pytest.approx(near)
    assert len(list((folders / "out").iterdir())) == 1


def test_gaps_and_faults_are_named_and_the_rest_is_measured(folders: Path, capsys) -> None:
    (folders / "labels" / "b.png").unlink()
    (folders / "near" / "c.png").write_text("no picture")
    save(labels() + 100, folders / "labels" / "d.png")
    save(street(4, size=48)[:32], folders / "near" / "e.png")
    save(street(9), folders / "truth" / "extra.png")
    figures, _, complaints = run(
        capsys,
        *(folders / "near", "--reference", folders / "truth", "--labels", folders / "labels"),
        *("--json", folders / "figures.json"),
    )
    assert (figures["items"], figures["failed"]) == (2, 3)
    assert figures["missing"] == {"results": 1, "reference": 0, "labels": 2}
    written = json.loads((folders / "figures.json").read_text())
    assert written["missing"]["labels"] == ["b", "extra"] and sorted(written["failed"]) == ["c", "d", "e"]
    assert "labels: 2 missing: b, extra" in complaints
    assert "left out c: metrics: " in complaints and "c.png is no picture that can be read" in complaints
    assert "d.png: LabelMap.from_ids: 1024 of 1024 pixels" in complaints
    assert "left out e: the result is 32 x 48, its label map 32 x 32" in complaints


def test_exemplars_bring_their_own_label_maps_and_one_may_serve_all(folders: Path, capsys) -> None:
    exemplar, exemplar_labels = folders / "exemplar.png", folders / "exemplar_labels.png"
    save(street(0)[::-1].copy(), exemplar)
    save(labels()[::-1].copy(), exemplar_labels)
    figures, _, _ = run(
        capsys,
        *(folders / "truth", "--reference", exemplar, "--labels", folders / "labels"),
        *("--reference-labels", exemplar_labels, "--json", folders / "figures.json"),
    )
    assert "pixel" not in figures["results"]["measures"]
    values = json.loads((folders / "figures.json").read_text())["values"]
    assert values["a"]["results"]["colour"] == 0 < values["b"]["results"]["colour"]


def test_a_segmenter_adds_the_layout(folders: Path, capsys) -> None:
    Segmenter.of(CITYSCAPES, width=4).save(folders / "segmenter.safetensors")
    figures, printed, _ = run(
        capsys,
        *(folders / "truth", "--reference", folders / "truth", "--labels", folders / "labels"),
        *("--segmenter", folders / "segmenter.safetensors"),
    )
    measures = figures["results"]["measures"]
    assert 0 <= measures["mean_iou"]["mean"] <= 1 and measures["accuracy"]["n"] == 6
    assert "iou" in figures["results"]["classes"]["road"] and "layout mIoU, higher is better" in printed


@pytest.mark.parametrize(
    ("results", "change", "message"),
    [
        ("absent", {}, "results: no folder .*absent"),
        ("empty", {}, r"results: no file ending in \.bmp.* in .*empty"),
        ("elsewhere", {}, r"no file name \(without its ending\) is in every folder: results .*elsewhere: z; reference"),
        ("twice", {}, r"results: a\.jpg and a\.png in .*twice have the same name"),
        ("near", {"--palette": "nocturnal"}, "'nocturnal' is neither a built-in palette"),
        ("near", {"--segmenter": "absent.safetensors"}, r"no file .*absent\.safetensors"),
        ("spoilt", {}, "none of 1 items could be measured"),
    ],
)
def test_what_cannot_be_measured_at_all_is_said(results, change, message, folders: Path, capsys) -> None:
    (folders / "empty").mkdir()
    save(street(0), folders / "elsewhere" / "z.png")
    for name in ("a.png", "a.jpg"):
        save(street(0), folders / "twice" / name)
    (folders / "spoilt").mkdir()
    (folders / "spoilt" / "a.png").write_bytes(b"")
    options = {"--reference": folders / "truth", "--labels": folders / "labels"} | change
    assert main([str(folders / results), *(str(part) for pair in options.items() for part in pair)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.search(message, captured.err)


def test_pictures_are_turned_as_the_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.new("RGB", (8, 4), (255, 0, 0)).save(tmp_path / "a.png", exif=exif)
    assert read_picture(tmp_path / "a.png").shape == (1, 3, 8, 4)


def test_hidden_and_other_files_are_passed_over(tmp_path: Path) -> None:
    save(street(0), tmp_path / "one" / "a.png")
    (tmp_path / "one" / ".a.png").write_bytes(b"")
    (tmp_path / "one" / "notes.txt").write_text("")
    assert list(match({"results": tmp_path / "one"}).items) == ["a"]
