"""Two exemplars shared out by class, and rules that hold in some layers only."""

from __future__ import annotations

import pytest
import torch

from amadapter_core.attention import augmented_attention
from amadapter_core.exemplar_mix import mixed
from amadapter_core.label_maps import LabelMap, Palette
from amadapter_core.matching import Mode, Pairing, SpatialMatching
from amadapter_core.routing import PairTable
from amadapter_core.routing_rules import RoutingRules

ROAD, BUILDING, TREE, SKY, CAR = 0, 2, 8, 10, 13
LABELS = LabelMap(torch.tensor([[[ROAD, CAR, SKY, TREE]] * 4]), Palette.load("cityscapes19"))
RULES = "car = A\nsky = b\nroad = 0.3\nvegetation = none"


def strengths(rules: RoutingRules, layer: tuple[str, int] | None = None) -> dict:
    return rules.route(LABELS, LABELS, layer=layer).class_strength


def test_each_class_goes_where_its_rule_says() -> None:
    first, second = map(strengths, mixed(RULES, 0.25))
    assert [first[c] for c in (CAR, SKY, ROAD, TREE, BUILDING)] == [1, 0, 0.7, 0, 0.75]
    assert [second[c] for c in (CAR, SKY, ROAD, TREE, BUILDING)] == [0, 1, 0.3, 0, 0.25]


def test_a_star_takes_the_place_of_the_share() -> None:
    assert [strengths(rules)[BUILDING] for rules in mixed("car = A\n* = B", 0.25)] == [0, 1]


def test_of_two_equal_exemplars_any_share_gives_what_one_gives_alone_and_none_gives_neither() -> None:
    torch.manual_seed(0)
    q, k, v, ek, ev = (torch.randn(1, 2, 16, 8) for _ in range(5))

    def attend(*rules: RoutingRules) -> torch.Tensor:
        tables = [PairTable.build(LABELS.ids, LABELS.ids, r.route(LABELS, LABELS), 255) for r in rules]
        matching = SpatialMatching.of([Pairing(table, Mode.CATEGORICAL) for table in tables])
        count = len(matching.active)
        bias = matching.bias(q, [ek] * count, (4, 4), [(4, 4)] * count, "up_blocks", 0.3)
        return augmented_attention(q, k, v, ek.repeat(1, 1, count, 1), ev.repeat(1, 1, count, 1), bias, scale=0.3)

    one, mix = attend(RoutingRules()), attend(*mixed(RULES))
    plain = augmented_attention(q, k, v, scale=0.3)
    tree = (LABELS.ids == TREE).flatten()
    torch.testing.assert_close(mix[:, :, ~tree], one[:, :, ~tree])
    torch.testing.assert_close(mix[:, :, tree], plain[:, :, tree])
    assert float((one - plain)[:, :, tree].abs().max()) > 1e-2


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("car = C", "'C' is neither A, B, none nor a number"),
        ("car = 1.5", "the share of B is 1.5"),
        ("car = nan", "the share of B is nan"),
        ("car -> tree", "this is no rule"),
        ("car @left = A", "'left' names no layers; there are down, mid, up, 0"),
    ],
)
def test_a_line_that_is_no_rule_is_quoted(line: str, why: str) -> None:
    with pytest.raises(ValueError, match=rf"line 2, '{line}': .*{why}"):
        mixed(f"sky = B\n{line}")


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_a_share(share: float) -> None:
    with pytest.raises(ValueError, match="the share is"):
        mixed("", share)


def test_a_rule_may_hold_in_some_layers_only() -> None:
    rules = RoutingRules.parse("car = 2\ncar @up = 0.5\nsky @ MID, 1 = 3\nroad @0 -> car\n* @up = 0.1")
    assert rules.by_layer and not RoutingRules.parse("car = 2").by_layer
    assert strengths(rules) == strengths(rules, ("down_blocks", 0)) == {CAR: 2}
    assert strengths(rules, ("mid_block", 3)) == {CAR: 2, SKY: 3}
    up = strengths(rules, ("up_blocks", 1))
    assert (up[CAR], up[SKY], up[ROAD]) == (0.5, 3, 0.1)
    pairs = [rules.route(LABELS, LABELS, layer=("up_blocks", level)).pairs for level in (0, 1)]
    assert pairs == [{ROAD: [CAR]}, {}]


def test_a_name_is_looked_up_wherever_its_rule_holds() -> None:
    with pytest.raises(ValueError, match="no class 'caar'"):
        RoutingRules.parse("caar @up = 1").route(LABELS, LABELS)


@pytest.mark.parametrize(
    ("line", "why"),
    [("car @ = 1", "names no layers"), ("car ~ 2", "the share is 2"), ("car ~ much", "'much' is no number")],
)
def test_layers_and_shares_of_parts_are_checked(line: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        RoutingRules.parse(line)
