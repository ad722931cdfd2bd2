"""Data sets for training: what is found, who belongs together, what is wrong and with which file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from amadapter_core.label_maps import Palette
from amadapter_core.training.config import Data
from amadapter_core.training.datasets import open_pairs
from amadapter_core.training.prepared import colour_table
from amadapter_core.training.scene_pairs import Kept, Scenes

ROAD, CAR = 0, 13
SIZE = (24, 32)


def put(root: Path, picture: str, labels: str | None, ids: np.ndarray | None = None, red: int = 0) -> None:
    image = np.full((*SIZE, 3), red, dtype=np.uint8)
    ids = np.full(SIZE, ROAD, dtype=np.uint8) if ids is None else ids
    for name, array in ((picture, image), (labels, ids)):
        if name is not None:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(root / name)


def folder(root: Path, **options) -> Data:
    return Data(kind="folder", root=str(root), **options)


def test_a_plain_folder_pairs_files_by_name_and_groups_them_by_sub_folder(tmp_path: Path) -> None:
    for number, name in enumerate(("dusk/a", "dusk/b", "noon/a", "alone")):
        put(tmp_path, f"images/{name}.jpg", f"labels/{name}.png", red=number)
    (tmp_path / "captions.json").write_text('{"alone": "a street at noon"}')
    pairs = open_pairs(folder(tmp_path, caption="a street"))
    names = [Path(pairs[i].name).relative_to(tmp_path / "images").as_posix() for i in range(len(pairs))]
    assert names == ["alone.jpg", "dusk/a.jpg", "dusk/b.jpg", "noon/a.jpg"]
    assert [list(pairs.partners(i)) for i in range(4)] == [[], [2], [1], []]
    assert [pairs[i].caption for i in (0, 1)] == ["a street at noon", "a street"]
    assert pairs[1].image.shape == (*SIZE, 3) and pairs[1].ids.dtype == np.uint8


def test_colour_maps_are_read_through_the_palette(tmp_path: Path) -> None:
    palette = Palette.load("cityscapes19")
    ids = np.full(SIZE, CAR)
    colours = np.array([palette.colours[palette.ids.index(CAR)]], dtype=np.uint8)[np.zeros(SIZE, dtype=int)]
    put(tmp_path, "images/a.png", "labels/a.png", colours)
    assert (open_pairs(folder(tmp_path, labels="colours"))[0].ids == ids).all()


def test_bdd100k_is_read_as_unpacked(tmp_path: Path) -> None:
    for name in ("b", "a"):
        put(tmp_path, f"images/10k/val/{name}.jpg", f"labels/sem_seg/masks/val/{name}.png")
    pairs = open_pairs(Data(kind="bdd100k", root=str(tmp_path), split="val", palette="bdd100k19"))
    assert [Path(pairs[i].name).stem for i in range(len(pairs))] == ["a", "b"]
    assert list(pairs.partners(0)) == []


@pytest.mark.parametrize(("ending", "car"), [("labelTrainIds", CAR), ("labelIds", 26)])
def test_cityscapes_is_read_as_unpacked_in_train_ids(tmp_path: Path, ending: str, car: int) -> None:
    for city, count in (("aachen", 12), ("bonn", 1)):
        for number in range(count):
            name = f"{city}/{city}_{number:06d}_000019"
            labels = f"gtFine/train/{name}_gtFine_{ending}.png"
            put(tmp_path, f"leftImg8bit/train/{name}_leftImg8bit.png", labels, np.full(SIZE, car, dtype=np.uint8))
            put(tmp_path, f"gtFine/train/{name}_gtFine_color.png", None)
    pairs = open_pairs(Data(kind="cityscapes", root=str(tmp_path)))
    assert len(pairs) == 13 and (pairs[0].ids == CAR).all()
    assert list(pairs.partners(0)) == list(range(1, 10)) and list(pairs.partners(10)) == [11]
    assert list(pairs.partners(12)) == []


def test_classes_that_the_palette_leaves_out_belong_to_none(tmp_path: Path) -> None:
    ids = np.full(SIZE, 26, dtype=np.uint8)
    ids[:3] = 4  # "static" of Cityscapes' full table
    put(tmp_path, "leftImg8bit/train/a/a_0_1_leftImg8bit.png", "gtFine/train/a/a_0_1_gtFine_labelIds.png", ids)
    found = open_pairs(Data(kind="cityscapes", root=str(tmp_path)))[0].ids
    assert (found[:3] == Palette.load("cityscapes19").ignore).all() and (found[3:] == CAR).all()


def wrong_missing_label_map(root: Path) -> None:
    put(root, "images/a.png", "labels/a.png")
    put(root, "images/b.png", None)


def wrong_empty_folder(root: Path) -> None:
    for name in ("images", "labels"):
        (root / name).mkdir()


def wrong_no_label_folder(root: Path) -> None:
    put(root, "images/a.png", None)


def wrong_foreign_ids(root: Path) -> None:
    ids = np.full(SIZE, ROAD, dtype=np.uint8)
    ids[0, :5] = 77
    put(root, "images/a.png", "labels/a.png", ids)


def wrong_size(root: Path) -> None:
    put(root, "images/a.png", "labels/a.png", np.zeros((12, 16), dtype=np.uint8))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (wrong_missing_label_map, r"1 of 2 pictures .* have no label map .*: b\.png; add them, or remove"),
        (wrong_empty_folder, r"no picture in .*images; expected \.png"),
        (wrong_no_label_folder, r"no folder .*labels; it should hold the label maps"),
        (wrong_foreign_ids, r"labels.a\.png: .*5 of 768 pixels hold 1 ids .*most frequent: 77 \(5 pixels\)"),
        (wrong_size, r"images.a\.png is 24 x 32 and its label map .*labels.a\.png 12 x 16 \(height x width\)"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said_with_the_file(
    tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        open_pairs(folder(tmp_path))[0]


def test_a_data_set_of_files_needs_its_root() -> None:
    with pytest.raises(ValueError, match=r"data\.root is missing; name the folder of the bdd100k data set"):
        open_pairs(Data(kind="bdd100k"))


SCENES = Data(size=(32, 32), appearances=2, layouts=3, first=10)


def test_scenes_of_one_appearance_are_partners_and_no_two_share_a_layout() -> None:
    pairs = Scenes(SCENES)
    assert len(pairs) == 6
    assert [list(pairs.partners(i)) for i in (0, 5)] == [[1, 2], [3, 4]]
    names = [pairs[i].name for i in range(6)]
    assert names[0] == "scene(layout=10, appearance=10)" and len({name.split(",")[0] for name in names}) == 6


def test_other_first_appearances_are_other_scenes() -> None:
    """So a held-out set shares neither layouts nor appearances with a training set that ends below it."""
    trained = {Scenes(SCENES)[i].name for i in range(6)}
    held_out = Scenes(Data(size=(32, 32), appearances=2, layouts=2, first=16))
    names = [held_out[i].name for i in range(4)]
    assert names[0] == "scene(layout=16, appearance=16)" and names[3] == "scene(layout=19, appearance=17)"
    assert not trained & set(names)


def test_kept_scenes_are_those_drawn_and_are_drawn_once(tmp_path: Path) -> None:
    scenes = Scenes(SCENES)
    kept = Kept(scenes, tmp_path)
    for index in range(len(scenes)):
        drawn, read = scenes[index], kept[index]
        assert (drawn.image == read.image).all() and (drawn.ids == read.ids).all()
        assert (drawn.materials == read.materials).all() and drawn.caption == read.caption
    stamps = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.npy")}
    Kept(scenes, tmp_path)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.npy")} == stamps
    assert list(kept.partners(4)) == [3, 5]


def test_a_cache_is_for_scenes_alone(tmp_path: Path) -> None:
    put(tmp_path, "images/a.png", "labels/a.png")
    with pytest.raises(ValueError, match=r"data\.cache is for scenes, not for folder"):
        open_pairs(folder(tmp_path, cache="somewhere"))


def test_every_id_has_the_colour_that_the_label_map_is_drawn_in() -> None:
    from amadapter_core.label_maps import LabelMap

    palette = Palette.load("cityscapes19")
    ids = np.array([[0, 7, 18, 255]])
    drawn = LabelMap.from_ids(ids[None].astype(np.int64), palette).colours()[0]
    assert (colour_table(palette)[ids] == drawn).all()
