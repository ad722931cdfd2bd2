"""Rules as people write them: what a line may be, what names mean, which rule holds."""

from __future__ import annotations

import pytest
import torch

from amadapter_core.label_maps import LabelMap, Palette
from amadapter_core.routing import PairTable
from amadapter_core.routing_rules import RoutingRules

STREETS = Palette(
    "streets",
    "test",
    ("road", "car", "traffic light", "sky"),
    (0, 1, 2, 3),
    ((1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4)),
    255,
)
GARDENS = Palette("gardens", "test", ("lawn", "tree", "Car"), (10, 11, 12), ((1, 1, 1), (2, 2, 2), (3, 3, 3)))
TARGET = LabelMap(torch.tensor([[[0, 1, 3, 255], [0, 1, 3, 255]]]), STREETS)
EXEMPLAR = LabelMap(torch.tensor([[[10, 11], [11, 11]]]), GARDENS)


def route(text: str, **options):
    return RoutingRules.parse(text).route(TARGET, EXEMPLAR, **options)


def mask(*inside: tuple[int, int], size: tuple[int, int] = (2, 4)) -> torch.Tensor:
    drawn = torch.zeros(1, *size)
    for row, column in inside:
        drawn[0, row, column] = 1
    return drawn


def test_a_strength_is_for_a_class_of_the_target() -> None:
    plain = route("car = 0.5\nsky=2", strength=0.8)
    assert plain.class_strength == {1: 0.5, 3: 2.0}
    assert plain.strength == 0.8
    assert plain.pairs == {}


def test_an_arrow_leads_to_classes_of_the_exemplar() -> None:
    assert route("car -> tree, lawn\nsky -> none\nroad->Car").pairs == {1: [11, 10], 3: [], 0: [12]}


@pytest.mark.parametrize("name", ["traffic light", "Traffic Light", "  TRAFFIC LIGHT ", "2"])
def test_classes_go_by_name_in_any_case_or_by_id(name: str) -> None:
    assert route(f"{name} = 3").class_strength == {2: 3.0}


def test_comments_and_empty_lines_say_nothing() -> None:
    assert route("\n# car = 2\n\n  car = 3  # as strong as this\n").class_strength == {1: 3.0}
    assert RoutingRules.parse("").classes == ()


def test_a_star_is_for_the_classes_that_no_rule_names_and_for_unlabelled_pixels() -> None:
    found = route("car = 0.5\n* = 0\nsky -> tree")
    assert found.class_strength == {0: 0.0, 1: 0.5, 2: 0.0, 255: 0.0}


def test_the_later_rule_of_a_kind_holds_whatever_name_it_uses() -> None:
    assert route("car = 1\n* = 2\n* = 0\n1 = 0.5\ncar -> lawn\nCAR -> tree").pairs == {1: [11]}
    assert route("car = 1\n1 = 0.5").class_strength == {1: 0.5}


def test_joined_rules_let_the_other_s_win() -> None:
    joined = RoutingRules.parse("car = 1\nsky = 2").joined(RoutingRules.parse("car = 3"))
    assert joined.route(TARGET, EXEMPLAR).class_strength == {1: 3.0, 3: 2.0}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("car", "this is no rule"),
        ("car 0.5", "this is no rule"),
        ("= 0.5", "this is no rule"),
        ("car ->", "this is no rule"),
        ("car -> tree -> lawn", "this is no rule"),
        ("car = 1 -> tree", "this is no rule"),
        ("car = 1 = 2", "this is no rule"),
        ("car = strong", "'strong' is no number"),
        ("car = 0,5", "'0,5' is no number"),
        ("car = -1", "the strength is -1"),
        ("car = nan", "the strength is nan"),
        ("car = inf", "the strength is inf"),
        ("* -> none", "write [*] = 0"),
        ("car -> none, tree", "'none' stands alone"),
        ("car -> ,", "'none' stands alone"),
    ],
)
def test_a_line_that_is_no_rule_is_quoted_with_its_number(line: str, why: str) -> None:
    with pytest.raises(ValueError, match=rf"(?s)line 3, .*{why}.*expected .class = strength") as caught:
        RoutingRules.parse(f"# first\nsky = 1\n{line}  # and why")
    assert repr(line) in str(caught.value)


@pytest.mark.parametrize(
    ("line", "side", "present"),
    [("caar = 1", "target", "road, car, sky"), ("car -> caar", "exemplar", "lawn, tree")],
)
def test_an_unknown_class_lists_those_present_on_its_side(line: str, side: str, present: str) -> None:
    with pytest.raises(ValueError, match=rf"rule '{line}': the {side}'s .* no class 'caar'.*present.*: {present}$"):
        route(line)


def test_an_unknown_id_is_refused() -> None:
    with pytest.raises(ValueError, match="rule '7 = 1': the target's .*no class with id 7"):
        route("7 = 1")


def test_a_class_that_is_not_in_the_picture_is_no_error() -> None:
    assert route("traffic light -> Car").pairs == {2: [12]}


def test_region_masks_are_brought_to_the_label_maps() -> None:
    rules = RoutingRules.pair(mask((0, 1), (0, 3), size=(1, 8)), mask((1, 1), size=(4, 4)), 2.0, exclusive=False)
    (pair,) = rules.route(TARGET, EXEMPLAR).regions
    assert pair.target.tolist() == [[True, True, False, False]] * 2
    assert pair.exemplar.shape == EXEMPLAR.size
    assert (pair.strength, pair.exclusive) == (2.0, False)


def test_a_route_serves_the_table_of_pairs() -> None:
    rules = RoutingRules.parse("road = 0.5\nsky -> tree").joined(
        RoutingRules.pair(mask((0, 1)), mask((0, 1), size=(2, 2)), 3.0)
    )
    table = PairTable.build(TARGET.ids, EXEMPLAR.ids, rules.route(TARGET, EXEMPLAR), ignore=255)
    weight = table.weight[table.target.flatten()][:, table.exemplar.flatten()]
    assert weight[0].tolist() == [0.5, 0.5, 0.5, 0.5]
    assert weight[1].tolist() == [0, 3, 0, 0]
    assert weight[2].tolist() == [0, 1, 1, 1]


def test_a_batch_of_masks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"exemplar_mask is \[2, 4, 4\], expected one mask"):
        RoutingRules.pair(mask((0, 0)), torch.ones(2, 4, 4))


def test_an_empty_mask_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="target_mask is empty"):
        RoutingRules.pair(mask(), mask((0, 0)))


def test_a_mask_that_vanishes_at_the_size_of_the_label_map_is_refused() -> None:
    rules = RoutingRules.pair(mask((0, 0), size=(64, 64)), mask((0, 0)))
    with pytest.raises(ValueError, match="region pair 1: the target mask of 64x64 is so thin"):
        rules.route(TARGET, EXEMPLAR)


@pytest.mark.parametrize("strength", [-1.0, float("nan"), float("inf")])
def test_the_strength_of_a_pair_is_a_factor(strength: float) -> None:
    with pytest.raises(ValueError, match="strength"):
        RoutingRules.pair(mask((0, 0)), mask((0, 0)), strength)
