"""From one table of classes to another: the built-in tables, users' tables, names, changes."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import pytest
import torch

from amadapter_core.class_names import plain_name
from amadapter_core.label_maps import LabelMap, Palette
from amadapter_core.mappings import changes_in, load_mapping, mapping_from_dict, shipped, shipped_mapping
from amadapter_core.model_palette import palette_of, voc_colour
from amadapter_core.remapping import Remapping

TABLES = [json.loads(path.read_text(encoding="utf-8")) for path in shipped()]
FAMILIES = ("cityscapes19", "cityscapes34", "bdd100k19", "ade20k150", "cocostuff182")
CITY, ADE, COCO, FACES = (Palette.load(n) for n in ("cityscapes19", "ade20k150", "cocostuff182", "celebamaskhq19"))


def row(palette: Palette, *names: str) -> LabelMap:
    ids = [palette.ignore if name == "" else palette.id_of(name) for name in names]
    return LabelMap(torch.tensor(ids)[None, None], palette)


def names(labels: LabelMap) -> list[str]:
    return [labels.palette.name_of(i) for i in labels.ids[0, 0].tolist()]


@pytest.mark.parametrize(("source", "target"), list(permutations(FAMILIES, 2)))
def test_there_is_a_table_between_any_two_and_it_decides_on_every_class(source: str, target: str) -> None:
    (table,) = [t for t in TABLES if source in t["from"] and target in t["to"]]
    old, new = Palette.load(source), Palette.load(target)
    assert list(table["classes"]) == list(old.names)
    assert {name for name in table["classes"].values() if name is not None} <= set(new.names)
    mapping = shipped_mapping(old, new)
    assert tuple(mapping.classes) == old.ids and set(mapping.classes.values()) - {None} <= set(new.ids)


def test_every_table_says_where_it_comes_from() -> None:
    assert len(TABLES) == 13
    assert all(len(table["source"]) > 40 and "notes" in table for table in TABLES)


def test_cityscapes_tables_are_those_of_its_scripts() -> None:
    full = Palette.load("cityscapes34")
    mapping = shipped_mapping(full, CITY)
    kept = {full.name_of(old): new for old, new in mapping.classes.items() if new is not None}
    assert kept == dict(zip(CITY.names, CITY.ids, strict=True))
    assert shipped_mapping(CITY, Palette.load("bdd100k19")).classes == {i: i for i in CITY.ids}


@pytest.mark.parametrize("target", [ADE, COCO], ids=lambda palette: palette.name)
def test_there_and_back_a_street_is_what_it_was(target: Palette) -> None:
    """But for riders, who are persons elsewhere, and trains, which ADE20K does not have."""
    there, back = shipped_mapping(CITY, target), shipped_mapping(target, CITY)
    scene = row(CITY, *CITY.names)
    changed = {old: new for old, new in zip(CITY.names, names(back(there(scene))), strict=True) if old != new}
    assert changed.pop("rider") == "person"
    assert changed == ({"train": "(ignored)"} if target is ADE else {})


def test_pixels_follow_the_table_and_what_has_no_counterpart_is_ignored() -> None:
    scene = row(CITY, "rider", "train", "", "vegetation")
    mapping = shipped_mapping(CITY, ADE)
    there = mapping(scene)
    assert names(there) == ["person", "(ignored)", "(ignored)", "tree"] and there.palette is ADE
    assert mapping.lost(scene).tolist() == [[[False, True, True, False]]]
    assert mapping.names_lost(scene) == ["train"]


def test_parts_go_along() -> None:
    scene = row(CITY, "car", "car")
    parts = LabelMap(torch.tensor([[[1, 2]]]), FACES)
    found = shipped_mapping(CITY, ADE)(LabelMap(scene.ids, CITY, parts=parts))
    assert found.parts is parts


def test_a_palette_in_which_every_pixel_has_a_class_refuses_pixels_without_one() -> None:
    mapping = mapping_from_dict({"classes": {"person": "skin"}, "others": None}, CITY, FACES)
    assert names(mapping(row(CITY, "person"))) == ["skin"]
    with pytest.raises(ValueError, match="1 of 2 pixels have no class in 'celebamaskhq19', .*: car; map them"):
        mapping(row(CITY, "person", "car"))


def test_a_table_is_for_its_palette_alone() -> None:
    with pytest.raises(ValueError, match="label map is in palette 'ade20k150', this table is for 'cityscapes19'"):
        shipped_mapping(CITY, COCO)(row(ADE, "car"))
    with pytest.raises(ValueError, match=r"no built-in table brings 'cityscapes19' to 'celebamaskhq19'; .*ade20k150, "):
        shipped_mapping(CITY, FACES)
    with pytest.raises(ValueError, match="from there is none at all"):
        shipped_mapping(FACES, CITY)


@pytest.mark.parametrize("name", Palette.builtin_names())
def test_in_its_own_palette_every_class_stays_itself(name: str) -> None:
    """So no two names of a table are one without synonyms and punctuation."""
    palette = Palette.load(name)
    assert shipped_mapping(palette, palette).classes == {i: i for i in palette.ids}


def test_class_names_are_told_in_any_case_by_their_first_synonym() -> None:
    theirs = Palette("model", "", ("Road", "traffic_light", "sky, heaven", "spaceship"), (0, 1, 2, 3), [(0, 0, 0)] * 4)
    assert Remapping.by_name(theirs, ADE).classes == {0: 7, 1: 137, 2: 3, 3: None}
    assert plain_name("Wall-Brick ; of bricks") == "wall brick"
    with pytest.raises(ValueError, match="'celebamaskhq19' and 'cityscapes19' have no class name in common"):
        Remapping.by_name(FACES, CITY)


def test_a_table_of_the_user_s_is_read_from_a_file(tmp_path: Path) -> None:
    table = {"from": "cityscapes19", "to": ["ade20k150"], "classes": {"Road": "Path", "1": 53, "car": None}}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({**table, "others": "wall"}), encoding="utf-8")
    mapping = load_mapping(path, CITY, ADE)
    assert names(mapping(row(CITY, "road", "sidewalk", "car", "sky"))) == ["path", "path", "(ignored)", "wall"]


def with_all(**changes) -> dict:
    return {"classes": {name: None for name in CITY.names} | changes}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([], 'expected an object with "classes"'),
        ({"classes": {"road": "road"}}, r"18 classes of 'cityscapes19' are not listed: sidewalk, .* \.\.\.; map them"),
        (with_all(road="rode"), "palette 'ade20k150' has no class 'rode'"),
        (with_all(rode="road"), "palette 'cityscapes19' has no class 'rode'"),
        ({"classes": {"road": "road", "0": "path"}, "others": None}, "class '0' is listed twice"),
        (with_all(road=[1]), r"expected a class of 'ade20k150' by name or id, or null; got \[1\]"),
        ({**with_all(), "colour": 1}, "unknown field colour; expected only from, to, source"),
        ({**with_all(), "from": ["nyu40"]}, r"this table is from \['nyu40'\], not from 'cityscapes19'"),
        ({**with_all(), "to": "nyu40"}, r"this table is to nyu40, not to 'ade20k150'"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_with_its_file(tmp_path: Path, table, message: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(table), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"mine\.json: {message}"):
        load_mapping(path, CITY, ADE)


def test_files_that_are_no_json_are_named(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ValueError, match=r"broken\.json: not a JSON file"):
        load_mapping(tmp_path / "broken.json", CITY, ADE)
    with pytest.raises(FileNotFoundError, match=r"no file .*gone\.json"):
        load_mapping(tmp_path / "gone.json", CITY, ADE)


def test_single_classes_are_changed_by_lines() -> None:
    mapping = shipped_mapping(CITY, ADE)
    text = "car, Truck -> van  # one class\n\nrider -> none\n* -> boat"
    changed = mapping.changed(changes_in(text, mapping))
    assert names(changed(row(CITY, "car", "truck", "rider", "train", "road"))) == [
        *("van", "van", "(ignored)", "boat", "road")
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("car = van", "line 1, 'car = van': this is no rule; expected house, tower -> building"),
        ("car -> van\ncat -> van", "line 2, 'cat -> van': palette 'cityscapes19' has no class 'cat'"),
        ("car -> carr", "palette 'ade20k150' has no class 'carr'"),
    ],
)
def test_a_wrong_line_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        changes_in(text, shipped_mapping(CITY, ADE))


def test_a_network_s_classes_become_a_palette_in_the_colours_of_the_table_they_are_from() -> None:
    classes = {n - 1: f"{name} " for n, name in zip(ADE.ids, ADE.names, strict=True)}
    palette = palette_of(classes | {89: "television receiver"}, "segformer")
    assert palette.ids == tuple(range(150)) and palette.names[:2] == ("wall", "building")
    assert palette.colours[2] == ADE.colours[2] and palette.ignore == 255
    assert palette.names[89] == "television receiver" and palette.colours[89] not in ADE.colours


def test_a_network_s_other_classes_get_colours_of_their_own() -> None:
    palette = palette_of({0: "spaceship", 1: "nebula, cloud", 7: "nebula", 255: ""}, "space")
    assert palette.names == ("spaceship", "nebula (1)", "nebula (7)", "255") and palette.ignore is None
    assert palette.colours == tuple(voc_colour(n) for n in (1, 2, 3, 4)) and voc_colour(1) == (128, 0, 0)
