"""Matching and attention against the formulas written out pair by pair, for any shapes, batches, maps and strengths."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from amadapter_core.attention import Strategy, augmented_attention
from amadapter_core.label_maps import LabelMap, Palette
from amadapter_core.matching import NEVER, Mode, Route, Routing, SpatialMatching
from amadapter_core.retrieval.layouts import GRID, Layouts

IGNORE = 5
classes = st.integers(0, IGNORE)
strengths = st.sampled_from([0.0, 0.25, 1.0, 3.0])
grids = st.tuples(st.integers(1, 6), st.integers(1, 6))


@dataclass(frozen=True)
class Case:
    """A target with its queries, and exemplars with theirs.

    ids [B or 1, h, w] of the target at its grid; maps [1 or B, he, we] of the exemplars at theirs.
    """

    ids: Tensor
    maps: list[Tensor]
    routes: list[Route]
    mode: Mode
    penalty: float | None
    x: list[Tensor]
    keys: list[Tensor]
    values: list[Tensor]

    def expected(self, active: tuple[int, ...]) -> Tensor:
        """softmax([q k^T s, q k_ex^T s + bias]) [v; v_ex], in double, the bias of each pair on its own."""
        q, k, v = (t.double() for t in self.x)
        scale = q.shape[-1] ** -0.5
        logits, values = [q @ k.transpose(-1, -2) * scale], [v]
        for i in active:
            ek, ev = (t[i].double().expand(len(q), -1, -1, -1) for t in (self.keys, self.values))
            logits.append(q @ ek.transpose(-1, -2) * scale + self.bias(i, len(q)))
            values.append(ev)
        return torch.cat(logits, -1).softmax(-1) @ torch.cat(values, 2)

    def bias(self, exemplar: int, batch: int) -> Tensor:
        """[B, 1, Nq, Nk]."""
        route, maps = self.routes[exemplar], self.maps[exemplar]
        items = []
        for item in range(batch):
            mine, theirs = (ids[item if len(ids) > 1 else 0].flatten().tolist() for ids in (self.ids, maps))
            items.append([[self.entry(route, t, e) for e in theirs] for t in mine])
        return torch.tensor(items, dtype=torch.float64)[:, None]

    def entry(self, route: Route, mine: int, theirs: int) -> float:
        """What a pair of a target pixel and an exemplar pixel adds."""
        paired = mine in route.pairs
        alike = theirs in route.pairs[mine] if paired else mine == theirs != IGNORE
        weight = route.strength * route.class_strength.get(mine, 1.0)
        if weight == 0 or (paired and not alike):
            return NEVER
        told = math.log(weight)
        if self.mode is Mode.CATEGORICAL and not alike:
            return NEVER if self.penalty is None else told - self.penalty
        return told


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any case of the modes that need no matcher."""
    batch, heads, width = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 5))
    grid, others = draw(grids), draw(st.lists(grids, min_size=1, max_size=3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1 << 30)))

    def ids(number: int, size: tuple[int, int]) -> Tensor:
        return torch.randint(draw(st.integers(1, IGNORE + 1)), (number, *size), generator=generator)

    def numbers(number: int, size: tuple[int, int]) -> Tensor:
        return torch.randn(number, heads, size[0] * size[1], width, generator=generator)

    routes = [
        Route(
            draw(strengths),
            draw(st.dictionaries(classes, strengths, max_size=3)),
            draw(st.dictionaries(st.integers(0, IGNORE - 1), st.sets(st.integers(0, IGNORE - 1)), max_size=2)),
        )
        for _ in others
    ]
    return Case(
        ids(draw(st.sampled_from([1, batch])), grid),
        [ids(1, size) for size in others],
        routes,
        draw(st.sampled_from([Mode.IMPLICIT, Mode.CATEGORICAL])),
        draw(st.sampled_from([None, 2.0])),
        [numbers(batch, grid) for _ in range(3)],
        [numbers(draw(st.sampled_from([1, batch])), size) for size in others],
        [numbers(1, size) for size in others],
    )


@settings(max_examples=40, deadline=None)
@given(cases())
def test_attention_is_the_formula_written_out_pair_by_pair(case: Case) -> None:
    options = {} if case.penalty is None else {"penalty": case.penalty}
    routing = Routing(case.routes)
    matching = SpatialMatching(case.ids, case.maps, case.mode, routing=routing, ignore=IGNORE, **options)
    active, (q, k, v) = matching.active, case.x
    expected = case.expected(active).float()
    if not active:
        found = augmented_attention(q, k, v)
        assert torch.allclose(found, expected, atol=1e-5)
        return
    ek, ev = (torch.cat([x[i].expand(len(q), -1, -1, -1) for i in active], 2) for x in (case.keys, case.values))
    grid, others = tuple(case.ids.shape[1:]), [tuple(case.maps[i].shape[1:]) for i in active]
    keys = [case.keys[i] for i in active]
    with torch.no_grad():
        bias = matching.bias(q, keys, grid, others, "up_blocks", q.shape[-1] ** -0.5)
        for strategy in (None, Strategy.FUSED, Strategy.ROWS, Strategy.MERGED):
            if bias is None and strategy in (Strategy.ROWS, Strategy.MERGED):
                continue
            found = augmented_attention(q, k, v, ek, ev, bias, strategy=strategy, chunk_bytes=256)
            assert torch.allclose(found, expected, atol=1e-4), strategy


@settings(max_examples=40, deadline=None)
@given(cases())
def test_who_counts_for_nothing_is_left_out_and_nobody_else(case: Case) -> None:
    matching = SpatialMatching(case.ids, case.maps, case.mode, routing=Routing(case.routes), ignore=IGNORE)
    for i in range(len(case.maps)):
        if i not in matching.active:
            assert bool((case.bias(i, len(case.ids)) <= NEVER).all())


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(1, 60), st.integers(1, 60), st.integers(0, 1 << 30), st.integers(1, 12))
def test_layouts_are_areas_and_majorities_of_each_picture_alone(
    batch: int, height: int, width: int, seed: int, count: int
) -> None:
    palette = Palette("p", "", tuple(map(str, range(count))), tuple(range(count)), ((0, 0, 0),) * count, 255)
    ids = torch.randint(count + 1, (batch, height, width), generator=torch.Generator().manual_seed(seed))
    ids[ids == count] = 255
    found = Layouts.of(LabelMap(ids, palette))
    for item in range(batch):
        seen = ids[item][ids[item] != 255]
        shares = torch.bincount(seen, minlength=count).float() / max(1, seen.numel())
        assert torch.allclose(found.areas[item], shares, atol=1e-3)
        alone = Layouts.of(LabelMap(ids[item : item + 1], palette))
        assert torch.equal(alone.grids[0], found.grids[item])
    assert int(found.grids.max()) <= count and tuple(found.grids.shape) == (batch, GRID, GRID)
    absent = found.areas == 0
    shown = torch.zeros(batch, count + 1, dtype=torch.bool).scatter_(1, found.grids.long().flatten(1), True)
    assert not bool((shown[:, :count] & absent).any())
