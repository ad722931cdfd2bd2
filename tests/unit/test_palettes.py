"""The palettes that come with the package state facts; palette files of users are checked and explained."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from amadapter_core.label_maps import Palette

BUILTIN = (
    "ade20k150",
    "bdd100k19",
    "celebamaskhq19",
    "cityscapes19",
    "cityscapes34",
    "cocostuff182",
    "nyu40",
)


def write(path: Path, table: object) -> Path:
    path.write_text(table if isinstance(table, str) else json.dumps(table), encoding="utf-8")
    return path


def classes(*rows: tuple[str, list[int]]) -> list[dict[str, object]]:
    return [{"name": name, "colour": colour} for name, colour in rows]


def test_the_builtin_palettes_are_these() -> None:
    assert Palette.builtin_names() == BUILTIN


@pytest.mark.parametrize("name", BUILTIN)
def test_a_builtin_palette_carries_its_name_title_source_and_notes(name: str) -> None:
    palette = Palette.load(name)
    assert palette.name == name
    assert palette.title and palette.source and palette.notes


@pytest.mark.parametrize(
    ("name", "ids", "ignore"),
    [
        ("cityscapes19", range(19), 255),
        ("cityscapes34", range(34), 0),
        ("bdd100k19", range(19), 255),
        ("ade20k150", range(1, 151), 0),
        ("cocostuff182", range(1, 183), 0),
        ("nyu40", range(1, 41), 0),
        ("celebamaskhq19", range(19), None),
    ],
)
def test_a_builtin_palette_has_the_official_ids(name: str, ids: range, ignore: int | None) -> None:
    palette = Palette.load(name)
    assert palette.ids == tuple(ids)
    assert palette.ignore == ignore


@pytest.mark.parametrize(
    ("palette", "label_id", "name", "colour"),
    [
        ("cityscapes19", 0, "road", (128, 64, 128)),
        ("cityscapes19", 13, "car", (0, 0, 142)),
        ("cityscapes34", 7, "road", (128, 64, 128)),
        ("cityscapes34", 26, "car", (0, 0, 142)),
        ("bdd100k19", 17, "motorcycle", (0, 0, 230)),
        ("ade20k150", 1, "wall", (120, 120, 120)),
        ("ade20k150", 13, "person", (150, 5, 61)),
        ("ade20k150", 150, "flag", (92, 0, 255)),
        ("cocostuff182", 1, "person", (128, 0, 0)),
        ("cocostuff182", 12, "street sign", (64, 0, 128)),
        ("cocostuff182", 92, "banner", (96, 64, 128)),
        ("cocostuff182", 182, "wood", (0, 224, 192)),
        ("nyu40", 1, "wall", (174, 199, 232)),
        ("nyu40", 40, "otherprop", (100, 85, 144)),
        ("celebamaskhq19", 1, "skin", (204, 0, 0)),
        ("celebamaskhq19", 18, "cloth", (0, 204, 0)),
    ],
)
def test_known_rows_of_the_builtin_palettes(palette: str, label_id: int, name: str, colour: tuple[int, ...]) -> None:
    table = Palette.load(palette)
    row = table.ids.index(label_id)
    assert (table.names[row], table.colours[row]) == (name, colour)


def test_bdd100k_and_cityscapes_share_their_nineteen_classes() -> None:
    bdd, cityscapes = Palette.load("bdd100k19"), Palette.load("cityscapes19")
    assert (bdd.names, bdd.ids, bdd.colours) == (cityscapes.names, cityscapes.ids, cityscapes.colours)


def test_the_nineteen_cityscapes_classes_keep_name_and_colour_among_the_thirty_four() -> None:
    small, full = Palette.load("cityscapes19"), Palette.load("cityscapes34")
    rows = dict(zip(full.names, full.colours, strict=True))
    assert all(rows[name] == colour for name, colour in zip(small.names, small.colours, strict=True))


@pytest.mark.parametrize(
    ("name", "shared"),
    [
        ("ade20k150", {(140, 140, 140): ["road", "skyscraper"]}),
        (
            "cityscapes34",
            {
                (0, 0, 0): ["unlabeled", "ego vehicle", "rectification border", "out of roi", "static"],
                (153, 153, 153): ["pole", "polegroup"],
            },
        ),
        ("cityscapes19", {}),
        ("bdd100k19", {}),
        ("cocostuff182", {}),
        ("nyu40", {}),
        ("celebamaskhq19", {}),
    ],
)
def test_shared_colours_are_exactly_the_ones_the_notes_speak_of(name: str, shared: dict) -> None:
    palette = Palette.load(name)
    assert palette.ambiguous() == shared
    assert all(str(colour) in palette.notes for colour in shared)


def test_a_name_that_is_neither_builtin_nor_a_file_lists_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="cityscapes19.*searched") as error:
        Palette.load(tmp_path / "nothing.json")
    assert str(tmp_path / "nothing.json") in str(error.value)


def test_a_minimal_file_numbers_its_classes_from_zero_and_is_named_after_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "garden.json", {"classes": classes(("lawn", [0, 200, 0]), ("path", [9, 9, 9]))})
    palette = Palette.load(path)
    assert (palette.name, palette.names, palette.ids) == ("garden", ("lawn", "path"), (0, 1))
    assert palette.colours == ((0, 200, 0), (9, 9, 9))
    assert palette.ignore is None and palette.ignore_colour is None


def test_a_file_saved_with_a_byte_order_mark_loads(tmp_path: Path) -> None:
    path = tmp_path / "notepad.json"
    path.write_text(json.dumps({"classes": classes(("a", [1, 2, 3]))}), encoding="utf-8-sig")
    assert Palette.load(str(path)).names == ("a",)


def test_ignored_pixels_are_black_unless_a_class_is(tmp_path: Path) -> None:
    table = {"ignore": 255, "classes": classes(("a", [1, 2, 3]))}
    assert Palette.load(write(tmp_path / "a.json", table)).ignore_colour == (0, 0, 0)
    table["classes"] = classes(("night", [0, 0, 0]))
    assert Palette.load(write(tmp_path / "b.json", table)).ignore_colour is None
    table["ignore_colour"] = [0, 0, 0]
    assert Palette.load(write(tmp_path / "c.json", table)).ambiguous() == {(0, 0, 0): ["(ignored)", "night"]}


def test_a_user_palette_with_shared_colours_loads_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = classes(("a", [5, 5, 5]), ("b", [6, 6, 6]), ("c", [5, 5, 5]))
    with caplog.at_level(logging.WARNING):
        palette = Palette.load(write(tmp_path / "twice.json", {"classes": rows}))
    assert palette.ambiguous() == {(5, 5, 5): ["a", "c"]}
    assert "twice.json" in caplog.text and "(5, 5, 5): a, c" in caplog.text


ONE = {"name": "a", "colour": [1, 2, 3]}


@pytest.mark.parametrize(
    ("table", "field", "expectation"),
    [
        ("{", "", "not a JSON file"),
        ([ONE], "", "expected an object with the fields"),
        ({"classes": []}, "classes", "non-empty list"),
        ({"name": "x"}, "classes", "non-empty list"),
        ({"classes": ["a"]}, "classes[0]", "expected an object"),
        ({"classes": [ONE, {"name": "b"}]}, "classes[1]", "colour is missing"),
        ({"classes": [{"colour": [1, 2, 3]}]}, "classes[0]", "name is missing"),
        ({"classes": [{"name": "", "colour": [1, 2, 3]}]}, "classes[0]: name", "non-empty string"),
        ({"classes": [{"name": "a", "colour": [1, 2, 300]}]}, "classes[0]: colour", "three integers 0..255"),
        (
            {"classes": [{"name": "a", "colour": [0.5, 0.5, 0.5]}]},
            "classes[0]: colour",
            "three integers 0..255",
        ),
        ({"classes": [{"name": "a", "colour": [1, 2]}]}, "classes[0]: colour", "three integers 0..255"),
        ({"classes": [{"name": "a", "color": [1, 2, 3]}]}, "classes[0]", "spelt colour"),
        ({"classes": [{"id": "7", **ONE}]}, "classes[0]: id", "expected an integer"),
        ({"classes": [{"id": True, **ONE}]}, "classes[0]: id", "expected an integer"),
        ({"classes": [{"id": 1, **ONE}, {"name": "b", "colour": [1, 2, 3]}]}, "classes[1]", "id is missing"),
        ({"classes": [ONE, ONE]}, "classes: name", "'a' is used again in row 1"),
        (
            {"classes": [{"id": 3, **ONE}, {"id": 3, "name": "b", "colour": [1, 1, 1]}]},
            "classes: id",
            "3 is used",
        ),
        ({"classes": [ONE], "ignore": 2.5}, "ignore", "expected an integer"),
        ({"classes": [ONE], "ignore_colour": [0, 0, 0]}, "ignore", "expected the id"),
        ({"classes": [ONE], "ignroe": 2}, "", "unknown field ignroe"),
        ({"classes": [ONE], "title": 3}, "title", "expected a string"),
    ],
)
def test_a_bad_file_is_refused_with_the_file_the_field_and_what_was_expected(
    tmp_path: Path, table: object, field: str, expectation: str
) -> None:
    path = write(tmp_path / "bad.json", table)
    with pytest.raises(ValueError) as error:
        Palette.load(path)
    message = str(error.value)
    assert str(path) in message and field in message and expectation in message


def test_a_palette_built_in_code_takes_a_tensor_or_array_of_colours() -> None:
    colours = [[1, 2, 3], [4, 5, 6]]
    for table in (torch.tensor(colours, dtype=torch.uint8), np.array(colours), colours):
        palette = Palette(name="p", source="", names=("a", "b"), ids=(0, 1), colours=table)
        assert palette.colours == ((1, 2, 3), (4, 5, 6))
        hash(palette)


def test_a_palette_built_in_code_needs_as_many_ids_as_names() -> None:
    with pytest.raises(ValueError, match="2 names, 1 ids, 2 colours"):
        Palette(name="p", source="", names=("a", "b"), ids=(0,), colours=((1, 2, 3), (4, 5, 6)))


@pytest.mark.parametrize("name", BUILTIN)
def test_a_palette_survives_the_way_through_json(name: str) -> None:
    palette = Palette.load(name)
    assert Palette.from_dict(json.loads(json.dumps(palette.to_dict()))) == palette


def test_classes_are_found_by_name_and_id_and_a_slip_gets_a_hint() -> None:
    palette = Palette.load("cityscapes19")
    assert palette.id_of("car") == palette.id_of(13) == 13
    assert palette.id_of(255) == 255 and palette.name_of(255) == "(ignored)"
    assert palette.name_of(13) == "car"
    with pytest.raises(ValueError, match="did you mean traffic light"):
        palette.id_of("light")
    with pytest.raises(ValueError, match=r"no class with id 19; its ids are 0\.\.18"):
        palette.id_of(19)
