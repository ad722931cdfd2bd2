"""Styles and seeds as people write them, and label maps as generators count classes."""

from __future__ import annotations

import pytest
import torch

from amadapter_core.generators.class_table import generator_ids
from amadapter_core.generators.style_rules import classes_in, layers_in, mixed, seeds_by_class, seeds_by_layer
from amadapter_core.generators.styles import StyleCodes
from amadapter_core.generators.system import System
from amadapter_core.label_maps import LabelMap, Palette

STREET = Palette.load("cityscapes19")
ROAD, BUILDING, SKY, CAR = 0, 2, 10, 13
LAYERS = 5


def style(*classes: int, fill: float) -> StyleCodes:
    return StyleCodes(System.CLVAE, {c: torch.full((LAYERS, 2), fill) for c in classes}, torch.full((3,), fill))


A, B = style(ROAD, SKY, CAR, fill=0.0), style(ROAD, SKY, BUILDING, fill=1.0)


def amounts(rules: str = "", weight: float = 0.0, b: StyleCodes | None = B) -> dict[int, float]:
    """How much of B there is in each class."""
    return {label: float(code.mean()) for label, code in mixed(A, b, weight, rules, STREET).codes.items()}


def test_the_weight_leads_from_a_to_b_with_what_only_one_has() -> None:
    assert amounts() == {ROAD: 0, SKY: 0, CAR: 0}
    assert amounts(weight=0.25) == {ROAD: 0.25, BUILDING: 1, SKY: 0.25, CAR: 0}
    assert amounts(weight=1) == {ROAD: 1, BUILDING: 1, SKY: 1, CAR: 0}
    assert float(mixed(A, B, 0.25).shared.mean()) == 0.25


def test_rules_are_about_classes_layers_the_rest_and_what_is_shared() -> None:
    assert amounts("Road = b\n10 = 0.5 # the sky\nbuilding = B") == {ROAD: 1, BUILDING: 1, SKY: 0.5, CAR: 0}
    assert amounts("sky @0, 2 = B") == {ROAD: 0, SKY: pytest.approx(0.4), CAR: 0}
    assert amounts("* = 0.5\nroad = A") == {ROAD: 0, BUILDING: 1, SKY: 0.5, CAR: 0}
    assert amounts("car = random\nsky = B\nsky = A") == {ROAD: 0, SKY: 0}
    assert amounts("* = random\ncar = A", weight=0.5) == {CAR: 0}
    shared = [mixed(A, B, 0.5, rule).shared for rule in ("", "shared = B", "shared = random", "* = A")]
    assert [None if s is None else float(s.mean()) for s in shared] == [0.5, 1, None, 0.5]


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ("car", "line 1, 'car': this is no rule"),
        ("\n# note\ncar = 2", "line 3, 'car = 2': '2' is neither A, B, random nor a number from 0"),
        ("car = nan", "'nan' is neither"),
        ("lorry = B", "has no class 'lorry'"),
        ("car = B", "the second has no code for class 13"),
        ("building @1 = B", "the first has no code for class 2"),
        ("sky @5 = B", "'5' names no layers; there are 0, 1, 2, 3, 4"),
        ("sky @1 = random", "take them from a random style as B"),
        ("* @1 = B", "* takes no layers"),
        ("shared @1 = B", "the shared code has no layers"),
    ],
)
def test_what_is_no_rule_is_told_with_its_line(rules: str, told: str) -> None:
    with pytest.raises(ValueError) as error:
        amounts(rules)
    assert told in str(error.value) and str(error.value).count("expected") == 1


def test_without_names_there_are_ids_and_without_b_there_is_a() -> None:
    assert mixed(A, None, rules="13 = random").classes == (ROAD, SKY)
    with pytest.raises(ValueError, match="names of the classes are not known here, so 'car' cannot be found"):
        mixed(A, None, rules="car = random")
    with pytest.raises(ValueError, match="line 1, 'sky = B': there is no second style"):
        amounts("sky = B", b=None)


def test_seeds_are_read_by_class_and_by_layer() -> None:
    assert seeds_by_class("car = 7\nSKY = 0 # again\n0 = 3", STREET) == {CAR: 7, SKY: 0, ROAD: 3}
    assert seeds_by_layer("0 = 7\n4 = 1", LAYERS) == {0: 7, 4: 1}
    assert classes_in(["car", "10"], STREET) == [CAR, SKY] and layers_in("0, 3") == [0, 3] and layers_in("") == []
    for ask, told in (
        (lambda: seeds_by_class("car = -1", STREET), "'-1' is no seed"),
        (lambda: seeds_by_class("lorry = 1", STREET), "no class 'lorry'"),
        (lambda: seeds_by_layer("5 = 1", LAYERS), "there are 0 to 4"),
        (lambda: layers_in("fine"), "layers is 'fine'"),
    ):
        with pytest.raises(ValueError, match=told):
            ask()


def labels(palette: str, *ids: int) -> LabelMap:
    return LabelMap(torch.tensor([[ids]]), Palette.load(palette))


@pytest.mark.parametrize(
    ("palette", "classes", "ids", "expected"),
    [
        ("ade20k150", 151, (0, 150), (0, 150)),
        ("cityscapes19", 20, (18, 255), (18, 19)),
        ("cityscapes34", 35, (0, 33), (0, 33)),
        ("cityscapes34", 34, (0, 33), (0, 33)),
        ("celebamaskhq19", 19, (0, 18), (0, 18)),
        ("cocostuff182", 183, (0, 182), (0, 182)),
    ],
)
def test_tables_of_the_published_data_sets_are_taken(palette: str, classes: int, ids, expected) -> None:
    assert generator_ids(labels(palette, *ids), classes, "x").flatten().tolist() == list(expected)


def test_other_tables_and_pixels_without_a_channel_are_refused() -> None:
    with pytest.raises(ValueError, match="^x: this generator has 35 classes .0 to 34.*'ade20k150' has 150 with ids to"):
        generator_ids(labels("ade20k150", 1), 35, "x")
    with pytest.raises(ValueError, match="151 classes.*'cityscapes19' has 19 with ids to 18"):
        generator_ids(labels("cityscapes19", 1), 151, "x")
    assert generator_ids(labels("cityscapes19", 1, 2), 19, "x").flatten().tolist() == [1, 2]
    with pytest.raises(ValueError, match="1 of 2 pixels are ignored .id 255.*19 classes has no channel"):
        generator_ids(labels("cityscapes19", 1, 255), 19, "x")
