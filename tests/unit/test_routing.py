"""Routing: strengths, class pairs, region pairs and weights become one table per exemplar."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from amadapter_core.routing import PairTable, RegionPair, Route, Routing

ROAD, CAR, SKY, VOID = 0, 1, 2, 255
TARGET = torch.tensor([[[ROAD, CAR], [SKY, VOID]]])
EXEMPLAR = torch.tensor([[[ROAD, CAR, VOID]]])


def dense(table: PairTable, what: str) -> Tensor:
    """[target pixel, exemplar pixel] of one of the tables."""
    return getattr(table, what)[table.target.flatten()][:, table.exemplar.flatten()]


def test_plain_route_agrees_on_equal_classes_and_weighs_all_alike() -> None:
    table = PairTable.build(TARGET, EXEMPLAR, Route())
    assert dense(table, "agreement").tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert dense(table, "weight").unique().tolist() == [1]


def test_ignored_pixels_agree_with_nothing() -> None:
    table = PairTable.build(TARGET, EXEMPLAR, Route(), ignore=VOID)
    assert dense(table, "agreement")[3].tolist() == [0, 0, 0]


def test_ignored_pixels_have_no_vote_where_a_cell_has_anything_else() -> None:
    target = torch.tensor([[[VOID, VOID, VOID, CAR], [VOID, VOID, VOID, VOID]]])
    for ignore, expected in ((None, VOID), (VOID, CAR)):
        table = PairTable.build(target, target, Route(), ignore=ignore)
        rows, columns = table.at((1, 2), (1, 2))
        car = int(table.target[0, 0, 3])
        assert (int(rows[0, 1]) == int(columns[0, 1]) == car) is (expected == CAR)
        assert int(rows[0, 0]) != car


def test_strengths_multiply_by_target_class() -> None:
    table = PairTable.build(TARGET, EXEMPLAR, Route(strength=0.5, class_strength={CAR: 4.0, SKY: 0.0}))
    assert dense(table, "weight")[:, 0].tolist() == [0.5, 2.0, 0.0, 0.5]


def test_class_pairs_replace_a_class_by_others_and_close_the_rest() -> None:
    table = PairTable.build(TARGET, EXEMPLAR, Route(pairs={SKY: [ROAD, CAR]}))
    assert dense(table, "agreement")[2].tolist() == [1, 1, 0]
    assert dense(table, "weight")[2].tolist() == [1, 1, 0]
    assert dense(table, "weight")[0].tolist() == [1, 1, 1]


def test_a_region_pair_has_rows_and_columns_of_its_own() -> None:
    target = torch.full((1, 2, 4), CAR)
    exemplar = torch.full((1, 2, 4), CAR)
    here, there = torch.zeros(2, 4), torch.zeros(2, 4)
    here[:, :2], there[:, 3:] = 1, 1
    table = PairTable.build(target, exemplar, Route(regions=[RegionPair(here, there, strength=3.0)]))
    weight, agreement = dense(table, "weight"), dense(table, "agreement")
    inside, allowed = here.flatten().bool(), there.flatten().bool()
    assert bool((weight[inside][:, allowed] == 3).all()) and bool((weight[inside][:, ~allowed] == 0).all())
    assert bool((agreement[inside] == allowed.float()).all())
    assert bool((weight[~inside] == 1).all()) and bool((agreement[~inside] == 1).all())


def test_a_region_pair_that_is_not_exclusive_leaves_the_rest_open() -> None:
    mask = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    pair = RegionPair(mask, torch.tensor([[0.0, 1.0, 0.0]]), strength=2.0, exclusive=False)
    table = PairTable.build(TARGET, EXEMPLAR, Route(regions=[pair]))
    assert dense(table, "weight")[0].tolist() == [1, 2, 1]
    assert dense(table, "agreement")[0].tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("mask", "message"),
    [(torch.ones(3, 3), r"mask is \(3, 3\), its label map \(2, 2\)"), (torch.zeros(2, 2), "mask is empty")],
)
def test_bad_region_masks_are_named(mask: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PairTable.build(TARGET, EXEMPLAR, Route(regions=[RegionPair(mask, torch.ones(1, 3))]))


def test_weights_share_what_one_exemplar_brings() -> None:
    routing = Routing([Route(strength=2.0), Route()], weights=[1, 3])
    assert [routing.route(i, 2).strength for i in range(2)] == [0.5, 0.75]


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_strengths_that_are_no_factors_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="strength"):
        Route(strength=value)
    with pytest.raises(ValueError, match=r"class_strength\[3\]"):
        Route(class_strength={3: value})
    with pytest.raises(ValueError, match="weights"):
        Routing(weights=[1.0, value])


def test_a_table_for_another_number_of_exemplars_is_refused() -> None:
    with pytest.raises(ValueError, match="2 routes for 3 exemplars"):
        Routing([Route(), Route()]).route(0, 3)
    with pytest.raises(ValueError, match="2 weights for 1 exemplars"):
        Routing(weights=[1, 2]).route(0, 1)


def test_a_mask_weighs_target_pixels_in_steps_of_an_eighth() -> None:
    mask = torch.tensor([[1.0, 0.5], [0.3, 0.0]])
    table = PairTable.build(TARGET, EXEMPLAR, Route(strength=2.0, mask=mask))
    assert dense(table, "weight")[:, 0].tolist() == [2.0, 1.0, 0.5, 0.0]
    assert dense(table, "agreement").tolist() == dense(PairTable.build(TARGET, EXEMPLAR, Route()), "agreement").tolist()


def test_a_mask_of_ones_changes_nothing() -> None:
    plain, masked = (PairTable.build(TARGET, EXEMPLAR, Route(mask=mask)) for mask in (None, torch.ones(2, 2)))
    assert torch.equal(dense(plain, "weight"), dense(masked, "weight"))
    assert torch.equal(plain.target, masked.target)


def test_a_mask_per_image_makes_a_table_of_that_batch() -> None:
    masks = torch.stack([torch.ones(2, 2), torch.zeros(2, 2)])
    table = PairTable.build(TARGET, EXEMPLAR, Route(mask=masks))
    assert table.weight[table.target].amax((1, 2, 3)).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("mask", "complaint"),
    [
        (torch.ones(3, 3), r"the mask is \(3, 3\), the target's label map \(2, 2\)"),
        (torch.ones(3, 2, 2), "3 masks cannot serve 2 target label maps"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(mask: Tensor, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        PairTable.build(TARGET.expand(2, -1, -1), EXEMPLAR, Route(mask=mask))
