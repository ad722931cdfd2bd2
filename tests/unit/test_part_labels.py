"""Parts as finer classes: who looks at whom, where it falls back, and what does not see parts at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from amadapter_core.exemplar import Exemplar, Trajectory
from amadapter_core.label_maps import NO_PART, LabelMap, Palette, check_same_classes
from amadapter_core.matching import Mode, SpatialMatching
from amadapter_core.part_labels import kind_of, parts_of_masks, with_parts
from amadapter_core.routing import PairTable, RegionPair, Route
from amadapter_core.routing_rules import RoutingRules

ROAD, CAR, TRUCK, VOID = 0, 1, 2, 255
STREETS = Palette("streets", "test", ("road", "car", "truck"), (0, 1, 2), ((9, 9, 9), (0, 0, 200), (0, 90, 90)), VOID)
NONE, WHEEL, WINDOW = 0, 1, 2
PARTS = Palette("parts", "test", ("nothing", "wheel", "window"), (0, 1, 2), ((0, 0, 0), (1, 1, 1), (2, 2, 2)), NONE)


def labels(classes: list[list[int]], parts: list[list[int]] | None = None) -> LabelMap:
    plain = LabelMap(torch.tensor([classes]), STREETS)
    return plain if parts is None else with_parts(plain, LabelMap(torch.tensor([parts]), PARTS))


TARGET = labels([[CAR, CAR, CAR, ROAD, TRUCK]], [[WHEEL, WINDOW, NONE, WHEEL, WHEEL]])
EXEMPLAR = labels([[CAR, CAR, ROAD, TRUCK]], [[WHEEL, NONE, NONE, WINDOW]])


def seen(target: LabelMap, exemplar: LabelMap, route: Route | None = None, what: str = "agreement") -> Tensor:
    """[target pixel, exemplar pixel] on the maps' own grids."""
    table = PairTable.build(target.ids, exemplar.ids, route or Route(), VOID, (target.part_ids, exemplar.part_ids))
    rows, columns = table.at(target.size, exemplar.size)
    return getattr(table, what)[rows[0]][:, columns[0]]


def test_a_part_looks_at_its_part_and_what_is_missing_at_the_class() -> None:
    assert seen(TARGET, EXEMPLAR).tolist() == [
        [1, 0, 0, 0],  # a wheel at the car's wheel alone
        [1, 1, 0, 0],  # no window there: all of the car
        [1, 1, 0, 0],  # shows no part: all of the car
        [0, 0, 1, 0],  # the road has no wheel there, either
        [0, 0, 0, 1],  # the truck's wheel is not the car's
    ]


@pytest.mark.parametrize(("target", "exemplar"), [(TARGET, labels([[CAR, ROAD]])), (labels([[CAR, ROAD]]), EXEMPLAR)])
def test_one_side_without_parts_is_matched_by_class(target: LabelMap, exemplar: LabelMap) -> None:
    plain = [LabelMap(x.ids, STREETS) for x in (target, exemplar)]
    assert torch.equal(seen(target, exemplar), seen(*plain))


def test_other_parts_may_count_for_something() -> None:
    agreement = seen(TARGET, EXEMPLAR, Route(other_parts={CAR: 0.25}))
    assert agreement[0].tolist() == [1, 0.25, 0, 0]
    assert agreement[1].tolist() == [1, 1, 0, 0]  # its own part is not there at all
    assert agreement[4].tolist() == [0, 0, 0, 1]
    with pytest.raises(ValueError, match=r"other_parts\[1\] is 1.5"):
        Route(other_parts={CAR: 1.5})


def test_a_part_that_a_coarse_grid_lost_falls_back_there_alone() -> None:
    target = labels([[CAR] * 4] * 4, [[WHEEL, WHEEL, WINDOW, WINDOW]] * 4)
    exemplar = labels([[CAR] * 4] * 4, [[WINDOW] * 4] * 3 + [[WINDOW, WINDOW, WINDOW, WHEEL]])
    table = PairTable.build(target.ids, exemplar.ids, Route(), VOID, (target.part_ids, exemplar.part_ids))
    for size, wheels in (((4, 4), 1), ((2, 2), 4)):
        rows, columns = table.at(size, size)
        looked_at = table.agreement[rows[0]][:, columns[0]]
        assert looked_at[0].sum() == wheels
        assert looked_at[-1].sum() == size[0] * size[1] - (1 if size == (4, 4) else 0)


def test_each_exemplar_of_a_batch_falls_back_for_itself() -> None:
    target = labels([[CAR, CAR]], [[WHEEL, WINDOW]])
    ids, parts = torch.full((2, 1, 2), CAR), torch.tensor([[[WHEEL, WINDOW]], [[WINDOW, WINDOW]]])
    table = PairTable.build(target.ids, ids, Route(), VOID, (target.part_ids, parts))
    rows, columns = table.at((1, 2), (1, 2))
    looked_at = [table.agreement[r][:, c].tolist() for r, c in zip(rows, columns, strict=True)]
    assert looked_at == [[[1, 0], [0, 1]], [[1, 1], [1, 1]]]


def test_parts_never_move_the_border_of_a_class() -> None:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 3, (1, 24, 32), generator=generator)
    parts = torch.randint(0, 3, (1, 24, 32), generator=generator)
    plain = LabelMap(torch.where(ids == 2, VOID, ids), STREETS)
    fine = with_parts(plain, LabelMap(parts, PARTS))
    tables = [PairTable.build(x.ids, x.ids, Route(), VOID, (x.part_ids, x.part_ids)) for x in (plain, fine)]
    for grid in ((12, 16), (5, 7), (3, 4)):
        coarse, finer = (table.at(grid, grid)[1] for table in tables)
        for number in coarse.unique():
            for other in coarse.unique():
                shared = set(finer[coarse == number].tolist()) & set(finer[coarse == other].tolist())
                assert bool(shared) == bool(number == other)
        resized = [x.resize(*grid, method="majority") for x in (plain, fine)]
        assert torch.equal(resized[0].ids, resized[1].ids) and resized[1].parts.size == grid


def test_rules_speak_of_parts_before_classes() -> None:
    rules = RoutingRules.parse("car = 0.5\ncar:wheel = 3\nroad:WHEEL -> car:1\n* = 2\ncar ~ 0.25")
    route = rules.route(TARGET, EXEMPLAR)
    assert route.class_strength == {CAR: 0.5, (CAR, WHEEL): 3.0, ROAD: 2.0, TRUCK: 2.0, VOID: 2.0}
    assert route.pairs == {(ROAD, WHEEL): [(CAR, WHEEL)]} and route.other_parts == {CAR: 0.25}
    assert seen(TARGET, EXEMPLAR, route, "weight")[:, 0].tolist() == [3, 0.5, 0.5, 2, 2]
    assert seen(TARGET, EXEMPLAR, route, "weight")[3].tolist() == [2, 0, 0, 0]
    assert seen(TARGET, EXEMPLAR, route)[3].tolist() == [1, 0, 0, 0]


def test_an_arrow_says_exactly_what_is_looked_at() -> None:
    every = RoutingRules.parse("car -> car\ntruck -> car").route(TARGET, EXEMPLAR)
    assert seen(TARGET, EXEMPLAR, every)[[0, 1, 2, 4]].tolist() == [[1, 1, 0, 0]] * 4
    strict = RoutingRules.parse("car:window -> car:window\ncar -> none").route(TARGET, EXEMPLAR)
    assert seen(TARGET, EXEMPLAR, strict)[:3].tolist() == [[0, 0, 0, 0]] * 3


def test_a_region_pair_goes_before_parts() -> None:
    here = RegionPair(torch.tensor([[1.0, 0, 0, 0, 0]]), torch.tensor([[0, 0, 1.0, 0]]), 2.0)
    assert seen(TARGET, EXEMPLAR, Route(regions=[here]))[0].tolist() == [0, 0, 1, 0]
    assert seen(TARGET, EXEMPLAR, Route(regions=[here]), "weight")[0].tolist() == [0, 0, 2, 0]
    assert seen(TARGET, EXEMPLAR, Route(regions=[here]))[1].tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("mode", [Mode.CATEGORICAL, Mode.LEARNED])
def test_matching_reads_parts(mode: Mode) -> None:
    from amadapter_core.matcher import Matcher

    torch.manual_seed(0)
    matcher = Matcher().requires_grad_(False)
    target = labels([[CAR] * 4] * 4, [[WHEEL, WHEEL, WINDOW, WINDOW]] * 4)
    q, k = (torch.randn(1, 8, 16, 8) for _ in range(2))

    def bias(parts: tuple | None) -> Tensor:
        matching = SpatialMatching(target.ids, [target.ids], mode, matcher=matcher, ignore=VOID, parts=parts)
        found = matching.bias(q, [k], (4, 4), [(4, 4)], "up_blocks", 0.3)
        return torch.zeros(1, 1, 16, 16) if found is None else found.rows(0, 16, torch.float32)

    by_class, by_part = bias(None), bias((target.part_ids, [target.part_ids]))
    assert not torch.equal(by_class, by_part)
    if mode is Mode.CATEGORICAL:
        same = target.part_ids.flatten()[:, None] == target.part_ids.flatten()[None]
        assert not bool(by_class.any()) and torch.equal(by_part[0, 0] > -1, same)


def test_everything_else_sees_the_classes() -> None:
    plain = LabelMap(TARGET.ids, STREETS)
    assert torch.equal(TARGET.colours(), plain.colours()) and TARGET.names_present() == plain.names_present()
    assert torch.equal(TARGET.histogram(), plain.histogram())


def test_parts_go_along_with_their_pixels() -> None:
    cut = TARGET.crop(0, 1, 1, 3)
    assert cut.part_ids.tolist() == [[[WINDOW, NO_PART, WHEEL]]]
    assert TARGET.expand(2).part_ids.shape == (2, 1, 5) and TARGET.to("cpu").parts.palette is PARTS
    wide = TARGET.resize(2, 10)
    assert wide.part_ids[0, 1].tolist() == TARGET.part_ids[0, 0].repeat_interleave(2).tolist()
    coarse = labels([[CAR, CAR, CAR, ROAD]], [[WHEEL, WHEEL, NONE, WINDOW]]).resize(1, 1, "majority")
    assert (coarse.ids.item(), coarse.part_ids.item()) == (CAR, WHEEL)


def test_a_part_map_fits_its_label_map() -> None:
    small = LabelMap(torch.tensor([[[WHEEL, WINDOW]]]), PARTS)
    refined = with_parts(LabelMap(torch.tensor([[[CAR, CAR, ROAD, ROAD]] * 2]), STREETS), small, ["car"])
    assert refined.part_ids.tolist() == [[[WHEEL, WHEEL, NO_PART, NO_PART]] * 2]
    wide = LabelMap(torch.zeros(1, 20, 40, dtype=torch.long), STREETS)
    with pytest.raises(ValueError, match="the part map is 20 x 40, its label map 40 x 20 .*aspect"):
        with_parts(wide.resize(40, 20), LabelMap(wide.ids, PARTS))
    with pytest.raises(ValueError, match="no class 'bus'"):
        with_parts(refined, small, ["bus"])
    bare = LabelMap(small.ids, Palette("bare", "", ("a", "b"), (1, 2), ((1, 1, 1), (2, 2, 2))))
    with pytest.raises(ValueError, match="'bare' has no ignored id"):
        with_parts(refined, bare, ["car"])
    with pytest.raises(ValueError, match="same batch and size"):
        LabelMap(TARGET.ids, STREETS, parts=small)


def test_masks_are_numbered_parts() -> None:
    masks = torch.tensor([[[1.0, 0.6, 0.0]], [[0.0, 1.0, 0.2]]])
    parts = parts_of_masks(masks)
    assert parts.ids.tolist() == [[[1, 2, 0]]] and parts.palette.names == ("no part", "part 1", "part 2")
    assert parts.ignore == 0 and len(set(parts.palette.colours)) == 3
    with pytest.raises(ValueError, match=r"\[2, 3\], expected \[M, H, W\]"):
        parts_of_masks(masks[:, 0])


def test_names_of_parts_are_looked_up_behind_their_class() -> None:
    assert [kind_of(text, TARGET) for text in ("Car", "car : Wheel", "1:2")] == [CAR, (CAR, WHEEL), (CAR, WINDOW)]
    with pytest.raises(ValueError, match="'parts' has no class 'door'; present.*wheel, window"):
        kind_of("car:door", TARGET)
    with pytest.raises(ValueError, match="rule 'car:wheel = 1': the target's label map has no parts"):
        RoutingRules.parse("car:wheel = 1").route(labels([[CAR]]), EXEMPLAR)
    with pytest.raises(ValueError, match="rule 'car:wheel ~ 1': ~ is for a class"):
        RoutingRules.parse("car:wheel ~ 1").route(TARGET, EXEMPLAR)


def test_part_tables_that_disagree_are_refused() -> None:
    other = Palette("other", "", ("none", "door"), (0, 1), ((0, 0, 0), (1, 1, 1)), 0)
    theirs = with_parts(labels([[CAR]]), LabelMap(torch.tensor([[[1]]]), other))
    with pytest.raises(ValueError, match="'wheel' / 'door'"):
        check_same_classes(TARGET, theirs)


def test_an_exemplar_keeps_its_parts(tmp_path: Path) -> None:
    trajectory = Trajectory(torch.tensor([0.0, 1.0]), torch.zeros(2, 4, 1, 4))
    for kept in (EXEMPLAR, LabelMap(EXEMPLAR.ids, STREETS)):
        Exemplar(trajectory, kept).save(tmp_path / "exemplar.safetensors")
        read = Exemplar.load(tmp_path / "exemplar.safetensors").labels
        assert torch.equal(read.ids, kept.ids) and (read.parts is None) == (kept.parts is None)
        assert kept.parts is None or (torch.equal(read.part_ids, kept.part_ids) and read.parts.palette == PARTS)
    assert Exemplar(trajectory, EXEMPLAR).fingerprint() != Exemplar(trajectory, kept).fingerprint()
