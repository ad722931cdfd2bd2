"""The routing nodes: rules and region pairs add up along the chain."""

from __future__ import annotations

import pytest
import torch

from tests.host.comfy.pack import pack_module

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("comfy_modules")]

ROAD, CAR, SKY = 0, 13, 10


def class_routing(rules: str, routing=None):
    return pack_module("nodes.routing").AMAdapterClassRouting.execute(rules, routing).args[0]


def region_pair(target: torch.Tensor, exemplar: torch.Tensor, *rest):
    return pack_module("nodes.routing").AMAdapterRegionPair.execute(target, exemplar, *rest).args[0]


def street():
    maps = pack_module("amadapter_core.label_maps")
    return maps.LabelMap(torch.tensor([[[ROAD, CAR, SKY]]]), maps.Palette.load("cityscapes19"))


def test_rules_and_region_pairs_add_up_and_the_later_rule_holds() -> None:
    inside = torch.tensor([[[0.0, 1.0, 0.0]]])
    first = class_routing("car = 0.5\nsky -> none")
    second = region_pair(inside, inside, 2.0, True, first)
    third = class_routing("car = 3", second)
    route = third.route(street(), street(), strength=0.5)
    assert (route.strength, route.class_strength, route.pairs) == (0.5, {CAR: 3.0}, {SKY: []})
    assert [(pair.strength, pair.exclusive) for pair in route.regions] == [(2.0, True)]


def test_what_came_before_is_left_as_it_was() -> None:
    first = class_routing("car = 0.5")
    class_routing("car = 3", first)
    assert first.route(street(), street()).class_strength == {CAR: 0.5}


def test_no_rules_are_no_restriction() -> None:
    route = class_routing("  \n# nothing yet").route(street(), street())
    assert route == pack_module("amadapter_core.routing").Route(regions=[])


def test_errors_name_the_node() -> None:
    with pytest.raises(ValueError, match="^Class Routing: .*line 2, 'car 2'"):
        class_routing("sky = 1\ncar 2")
    with pytest.raises(ValueError, match="^Region Pair: .*target_mask is empty"):
        region_pair(torch.zeros(1, 2, 2), torch.ones(1, 2, 2), 1.0, True)
    with pytest.raises(ValueError, match=r"^Region Pair: .*exemplar_mask is \[3, 2, 2\]"):
        region_pair(torch.ones(1, 2, 2), torch.ones(3, 2, 2), 1.0, True)
