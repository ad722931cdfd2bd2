"""Folders of scenes in the layouts of known data sets, and the command that writes them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from amadapter_core.label_maps import LabelMap
from amadapter_core.label_pictures import read_label_picture
from amadapter_core.palettes import Palette
from amadapter_core.scenes import PALETTE, scene
from amadapter_core.scenes.__main__ import main
from amadapter_core.scenes.folders import items, write_folder

SIZE = (32, 48)


def files_in(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def stamps(root: Path) -> dict[str, int]:
    return {name: (root / name).stat().st_mtime_ns for name in files_in(root)}


def test_bdd100k_names_say_layout_and_appearance_and_match_across_folders(tmp_path: Path) -> None:
    write_folder(tmp_path, 3, SIZE, layouts_per_appearance=2)
    train = ["appearance000000_layout000000", "appearance000000_layout000001"]
    expected = {"captions.json", "scenes.json"}
    for split, names in (("train", train), ("val", ["appearance000001_layout000002"])):
        for name in names:
            expected.add(f"images/10k/{split}/{name}.jpg")
            expected |= {f"labels/sem_seg/{kind}/{split}/{name}.png" for kind in ("masks", "colormaps")}
    assert files_in(tmp_path) == expected


def test_cityscapes_names_say_layout_and_appearance_and_match_across_folders(tmp_path: Path) -> None:
    write_folder(tmp_path, 1, SIZE, "cityscapes", seed=7)
    city, name = "appearance000007", "appearance000007_layout000007"
    assert files_in(tmp_path) == {
        "captions.json",
        "scenes.json",
        f"leftImg8bit/train/{city}/{name}_leftImg8bit.png",
        f"gtFine/train/{city}/{name}_gtFine_color.png",
        f"gtFine/train/{city}/{name}_gtFine_labelIds.png",
        f"gtFine/train/{city}/{name}_gtFine_labelTrainIds.png",
    }


@pytest.mark.parametrize(
    ("form", "ids", "palette"),
    [
        ("bdd100k", "masks/", "bdd100k19"),
        ("bdd100k", "colormaps/", "bdd100k19"),
        ("cityscapes", "_labelTrainIds", PALETTE),
        ("cityscapes", "_labelIds", "cityscapes34"),
        ("cityscapes", "_color", "cityscapes34"),
    ],
)
def test_label_maps_are_read_back_as_the_scene_s_classes(tmp_path: Path, form: str, ids: str, palette: str) -> None:
    write_folder(tmp_path, 2, SIZE, form)
    own, theirs = Palette.load(PALETTE), Palette.load(palette)
    paths = sorted(tmp_path / name for name in files_in(tmp_path) if ids in name)
    assert len(paths) == 2
    for layout, path in enumerate(paths):
        labels = read_label_picture(path, theirs)
        read = [theirs.name_of(i) for i in labels.ids.flatten().tolist()]
        assert read == [own.name_of(i) for i in scene(layout, 0, SIZE).ids.flatten().tolist()]


def test_pictures_are_the_scenes(tmp_path: Path) -> None:
    write_folder(tmp_path / "a", 1, (64, 64), "cityscapes")
    write_folder(tmp_path / "b", 1, (64, 64), "bdd100k")
    original = scene(0, 0, (64, 64)).image.astype(int)
    exact, lossy = (
        np.array(Image.open(next((tmp_path / f).rglob(p)))) for f, p in (("a", "*8bit.png"), ("b", "*.jpg"))
    )
    assert np.array_equal(exact, original)
    assert 0 < np.abs(lossy - original).mean() < 4


def test_captions_are_listed_by_the_names_of_the_pictures(tmp_path: Path) -> None:
    write_folder(tmp_path, 3, SIZE, "cityscapes", layouts_per_appearance=2)
    captions = json.loads((tmp_path / "captions.json").read_text())
    assert captions.keys() == {path.stem for path in tmp_path.rglob("*_leftImg8bit.png")}
    assert captions["appearance000001_layout000002_leftImg8bit"] == scene(2, 1, SIZE).caption


def test_every_scene_has_a_layout_of_its_own_and_no_appearance_is_in_both_splits() -> None:
    listed = items(100, 4, seed=5)
    assert [item.layout for item in listed] == list(range(5, 105))
    assert [item.appearance for item in listed] == [5 + i // 4 for i in range(100)]
    splits = {split: {item.appearance for item in listed if item.split == split} for split in ("train", "val")}
    assert splits["val"] == {6, 16, 26}
    assert not splits["train"] & splits["val"]


def test_an_unfinished_folder_is_continued_and_what_is_there_is_kept(tmp_path: Path) -> None:
    write_folder(tmp_path / "whole", 4, SIZE)

    class Stopped(Exception):
        pass

    def stop(done: int, count: int) -> None:
        if done == 2:
            raise Stopped

    with pytest.raises(Stopped):
        write_folder(tmp_path / "parts", 4, SIZE, progress=stop)
    # A picture that was cut short lies under another name and counts for nothing.
    lost = next((tmp_path / "parts").rglob("masks/train/*layout000001.png"))
    left = lost.rename(lost.with_name(f".{lost.name}.0000.part"))
    before = {name: stamp for name, stamp in stamps(tmp_path / "parts").items() if "layout000000" in name}
    assert len(before) == 3
    assert write_folder(tmp_path / "parts", 4, SIZE) == 3
    after = stamps(tmp_path / "parts")
    assert {name: after[name] for name in before} == before
    assert after.keys() - {left.relative_to(tmp_path / "parts").as_posix()} == files_in(tmp_path / "whole")
    for name in files_in(tmp_path / "whole"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_folder_can_be_made_larger_and_a_smaller_count_takes_nothing_away(tmp_path: Path) -> None:
    assert write_folder(tmp_path, 2, SIZE) == 2
    assert write_folder(tmp_path, 3, SIZE) == 1
    before = stamps(tmp_path)
    captions = (tmp_path / "captions.json").read_text()
    assert write_folder(tmp_path, 1, SIZE) == 0
    assert files_in(tmp_path) == before.keys()
    assert (tmp_path / "captions.json").read_text() == captions


def test_nothing_half_written_is_left_under_a_picture_s_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if target.suffix in (".jpg", ".png"):
            raise OSError("no space left on device")
        replace(source, target)

    write_folder(tmp_path, 1, SIZE)
    before = files_in(tmp_path)
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        write_folder(tmp_path, 2, SIZE)
    assert files_in(tmp_path) == before


def test_scenes_of_another_kind_do_not_get_into_a_folder(tmp_path: Path) -> None:
    write_folder(tmp_path, 1, SIZE)
    before = stamps(tmp_path)
    for other in ({"size": (48, 32)}, {"form": "cityscapes"}, {"seed": 1}, {"layouts_per_appearance": 2}):
        with pytest.raises(ValueError, match="holds other scenes"):
            write_folder(tmp_path, 1, **{"size": SIZE, **other})
    assert stamps(tmp_path) == before


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"count": 0}, "count must be an integer from 1, got 0"),
        ({"layouts_per_appearance": 0}, "layouts_per_appearance must be an integer from 1"),
        ({"seed": -1}, "seed must be an integer from 0"),
        ({"size": (16, 16)}, "at least 32"),
        ({"form": "kitti"}, "format must be one of bdd100k, cityscapes, got 'kitti'"),
    ],
)
def test_bad_numbers_are_told_before_anything_is_written(tmp_path: Path, wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_folder(tmp_path / "new", **{"count": 1, "size": SIZE, **wrong})
    assert not (tmp_path / "new").exists()


def test_a_spoilt_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "scenes.json").write_text("{")
    with pytest.raises(ValueError, match="scenes.json: not a JSON file"):
        write_folder(tmp_path, 1, SIZE)


def test_the_command_writes_a_folder_and_ends_with_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [str(tmp_path), "--count", "2", "--size", "32", "48", "--format", "cityscapes", "--seed", "3"]
    assert main(command) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["count"], result["drawn"], result["size"]) == (2, 2, [32, 48])
    assert result["seconds"] >= 0
    assert len(list(tmp_path.rglob("*_leftImg8bit.png"))) == 2
    main(command)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["drawn"] == 0


def test_the_command_draws_a_sheet_of_appearances_by_layouts_with_colour_maps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / "sheet.png"
    assert main(["--sheet", str(path), "--size", "32", "--rows", "2", "--columns", "3", "--seed", "4"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["count"] == 6
    sheet = np.array(Image.open(path))
    assert sheet.shape == (2 * 34 - 2, 5 * 34 - 2, 3)
    assert np.array_equal(sheet[34:66, 68:100], scene(6, 5, (32, 32)).image)
    labels = LabelMap.from_colours(sheet[34:66, 102:134], Palette.load(PALETTE))
    assert np.array_equal(labels.ids[0].numpy(), scene(6, 0, (32, 32)).ids)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a FOLDER"),
        (["there", "--sheet", "sheet.png"], "name a FOLDER"),
        (["there", "--size", "16"], "at least 32"),
        (["there", "--size", "64", "64", "3"], "one or two numbers"),
        (["--sheet", "sheet.txt", "--rows", "1", "--columns", "1"], "expected the ending of a picture"),
        (["--sheet", "sheet.png", "--rows", "0"], "at least one layout and one appearance"),
    ],
)
def test_the_command_says_what_is_wrong(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not files_in(tmp_path)
