"""Where attention looks: exact on attention that is known, the formula on attention that is not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from amadapter_core.matcher import Matcher
from amadapter_core.matching import Bias, Mode, Route, Routing, SpatialMatching
from amadapter_core.metrics import MatchShare
from amadapter_core.resampling import Grid
from amadapter_core.sites import Look, Site

HEADS, WIDTH = 8, 5
SCALE = WIDTH**-0.5
ROAD, SKY, CAR, TREE = 0, 1, 2, 3


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def tensors(target: Grid, *exemplars: Grid, batch: int = 1) -> tuple[Tensor, Tensor, list[Tensor]]:
    """q and k of the target, keys of the exemplars."""
    q, k = (2 * random(batch, HEADS, target[0] * target[1], WIDTH, seed=seed) for seed in (1, 2))
    return q, k, [2 * random(1, HEADS, h * w, WIDTH, seed=3 + i) for i, (h, w) in enumerate(exemplars)]


def columns(*shares: tuple[int, int], h: int = 16) -> Tensor:
    """Ids in upright stripes: (id, width) each, [1, h, W]."""
    return torch.cat([torch.full((1, h, width), label) for label, width in shares], 2)


TARGET = columns((ROAD, 8), (SKY, 4), (CAR, 4))
EXEMPLAR = columns((SKY, 2), (ROAD, 6), (TREE, 8))
# The road has two materials, in either.
TARGET_MATERIALS = columns((10, 4), (11, 4), (20, 4), (30, 4))
EXEMPLAR_MATERIALS = columns((20, 2), (11, 4), (10, 2), (40, 8))


def share(**options) -> MatchShare:
    return MatchShare(
        TARGET,
        EXEMPLAR,
        target_materials=TARGET_MATERIALS,
        exemplar_materials=EXEMPLAR_MATERIALS,
        **options,
    )


@pytest.mark.parametrize("grids", [((16, 16), (16, 16)), ((8, 8), (8, 8)), ((16, 8), (4, 8))])
def test_uniform_attention_lands_by_area(grids: tuple[Grid, Grid]) -> None:
    (h, w), (eh, ew) = grids
    q, k, keys = tensors(*grids)
    seen = share()
    seen.add(torch.zeros_like(q), k, keys, None, SCALE, 0, *grids)
    assert seen.exemplar_share.item() == pytest.approx(eh * ew / (h * w + eh * ew), abs=1e-6)
    # Road is half of the target and 6 of the exemplar's 16 columns; sky a quarter and 2; cars find none.
    assert seen.class_share.item() == pytest.approx((2 * 6 / 16 + 1 * 2 / 16) / 3, abs=1e-6)
    assert seen.object_share.item() == pytest.approx((2 / 16 + 4 / 16 + 2 / 16) / 3, abs=1e-6)


@pytest.mark.parametrize("keep_mass", [False, True])
def test_a_mask_by_class_puts_all_of_it_in_the_right_class(keep_mass: bool) -> None:
    grids = (8, 8), (8, 8)
    q, k, keys = tensors(*grids)
    matching = SpatialMatching(TARGET, [EXEMPLAR], Mode.CATEGORICAL, keep_mass=keep_mass)
    bias = matching.bias(q, keys, grids[0], [grids[1]], "up_blocks", SCALE)
    seen = share()
    seen.add(q, k, keys, bias, SCALE, 0, *grids)
    assert seen.class_share.item() == pytest.approx(1, abs=1e-6)
    assert 0.3 < seen.object_share.item() < 0.95
    # A mask by object does the same for objects.
    by_object = SpatialMatching(TARGET_MATERIALS, [EXEMPLAR_MATERIALS], Mode.CATEGORICAL)
    seen = share()
    seen.add(q, k, keys, by_object.bias(q, keys, grids[0], [grids[1]], "up_blocks", SCALE), SCALE, 0, *grids)
    assert seen.object_share.item() == pytest.approx(1, abs=1e-6)
    assert seen.class_share.item() == pytest.approx(1, abs=1e-6)


def literal(p: Tensor, rows: Tensor, columns: Tensor) -> tuple[float, float]:
    """Mass of the tokens whose kind the exemplar has, and the right part of it, one pair after the other."""
    mass = right = 0.0
    for i, row in enumerate(rows.tolist()):
        if row in columns.tolist():
            mass += float(p[i].sum())
            right += sum(float(p[i, j]) for j, column in enumerate(columns.tolist()) if column == row)
    return mass / len(rows), right / len(rows)


def test_it_is_the_formula_over_several_sites_and_exemplars() -> None:
    """Against the softmax taken literally; two exemplars, of which the second is looked at."""
    other = columns((CAR, 16))
    routing = Routing([Route(0.5), Route(2.0, {SKY: 0.3})])
    torch.manual_seed(0)
    matcher = Matcher().requires_grad_(False)
    matching = SpatialMatching(TARGET, [other, EXEMPLAR], Mode.LEARNED, matcher=matcher, routing=routing)
    seen = share(index=1)
    masses, rights, given = [], [], []
    for number, target in enumerate([(8, 8), (4, 4)]):
        q, k, keys = tensors(target, (4, 4), (8, 8))
        bias: Bias = matching.bias(q, keys, target, [(4, 4), (8, 8)], "up_blocks", SCALE)
        seen.add(q, k, keys, bias, SCALE, 1, target, (8, 8), name=str(number))
        others = q @ torch.cat(keys, 2).transpose(-1, -2) * SCALE + bias.rows(0, q.shape[2], torch.float32)
        whole = torch.cat([q @ k.transpose(-1, -2) * SCALE, others], -1).softmax(-1).mean(1)[0]
        p = whole[:, k.shape[2] + 16 :].double()
        rows = TARGET[0, :: 16 // target[0], :: 16 // target[1]].flatten()
        mass, right = literal(p, rows, EXEMPLAR[0, ::2, ::2].flatten())
        masses.append(mass)
        rights.append(right)
        given.append(float(p.sum(1).mean()))
        assert seen.by_site[str(number)]["class"].item() == pytest.approx(right / mass, rel=1e-5)
    assert seen.class_share.item() == pytest.approx(sum(rights) / sum(masses), rel=1e-5)
    assert seen.exemplar_share.item() == pytest.approx(sum(given) / 2, rel=1e-5)
    assert list(seen.by_site) == ["0", "1"] and seen.by_site["1"]["exemplar"].item() == pytest.approx(
        given[1], rel=1e-5
    )


def test_items_of_a_batch_are_told_apart() -> None:
    grids = (8, 8), (8, 8)
    q, k, keys = tensors(*grids, batch=2)
    targets = torch.cat([TARGET, TARGET.flip(2)])
    together = MatchShare(targets, EXEMPLAR)
    together.add(q, k, keys, None, SCALE, 0, *grids)
    for item, target in enumerate(targets):
        alone = MatchShare(target[None], EXEMPLAR)
        alone.add(q[item : item + 1], k[item : item + 1], keys, None, SCALE, 0, *grids)
        assert together.class_share[item].item() == pytest.approx(alone.class_share.item(), rel=1e-5)
        assert together.exemplar_share[item].item() == pytest.approx(alone.exemplar_share.item(), rel=1e-5)
    assert together.class_share.shape == (2,) and together.class_share[0] != together.class_share[1]


def test_exemplars_may_differ_within_a_batch() -> None:
    grids = (8, 8), (8, 8)
    q, k, _ = tensors(*grids, batch=2)
    keys = [random(2, HEADS, 64, WIDTH, seed=7)]
    exemplars = torch.cat([EXEMPLAR, EXEMPLAR.flip(2)])
    together = MatchShare(TARGET, exemplars)
    together.add(q, k, keys, None, SCALE, 0, *grids)
    alone = MatchShare(TARGET, exemplars[1:])
    alone.add(q[1:], k[1:], [keys[0][1:]], None, SCALE, 0, *grids)
    assert together.class_share[1].item() == pytest.approx(alone.class_share.item(), rel=1e-5)


def test_ignored_pixels_belong_nowhere() -> None:
    grids = (16, 16), (16, 16)
    q, k, keys = tensors(*grids)
    target, exemplar = (torch.where(ids == SKY, 255, ids) for ids in (TARGET, EXEMPLAR))
    seen = MatchShare(target, exemplar, ignore=255)
    seen.add(torch.zeros_like(q), k, keys, None, SCALE, 0, *grids)
    assert seen.class_share.item() == pytest.approx(6 / 16, abs=1e-6)


def test_what_the_exemplar_lacks_gives_no_share() -> None:
    grids = (8, 8), (8, 8)
    q, k, keys = tensors(*grids)
    seen = MatchShare(columns((CAR, 16)), EXEMPLAR)
    seen.add(q, k, keys, None, SCALE, 0, *grids)
    assert seen.class_share.isnan().all() and seen.object_share is None and seen.exemplar_share.item() > 0.1


def look(active: tuple[int, ...], exemplars: list[Grid]) -> Look:
    routing = Routing([Route(float(i in active)) for i in range(max(active) + 1)])
    matching = SpatialMatching(TARGET, [EXEMPLAR] * (max(active) + 1), Mode.IMPLICIT, routing=routing)
    return Look(matching, [], (16, 16), exemplars)


def test_as_an_observer_it_chooses_exemplar_and_blocks() -> None:
    """Exemplar 1 of two; only one of them active, so its keys come first."""
    seen, down = share(index=1), share(index=1, blocks=["down_blocks"])
    q, k, keys = tensors((8, 8), (4, 4))
    for name, block in (("a", "up_blocks"), ("b", "mid_block")):
        for observer in (seen, down):
            observer(Site(name, block, 1), look((1,), [(8, 8)]), q, k, keys, None, SCALE)
    expected = share()
    expected.add(q, k, keys, None, SCALE, 0, (8, 8), (4, 4))
    assert torch.equal(seen.class_share, expected.class_share) and list(seen.by_site) == ["a", "b"]
    assert down.empty
    other = share(index=0)
    other(Site("a", "up_blocks", 1), look((1,), [(8, 8)]), q, k, keys, None, SCALE)
    with pytest.raises(ValueError, match="nothing was observed at exemplar 0 in down_blocks, mid_block, up_blocks"):
        _ = other.class_share
    with pytest.raises(ValueError, match="materials of both target and exemplar, or of neither"):
        MatchShare(TARGET, EXEMPLAR, target_materials=TARGET)
