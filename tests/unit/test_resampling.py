"""Pooling and interpolation of token axes: linear, in two dimensions, any grid."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from amadapter_core.resampling import Flat, Identity, Spatial, spatial

grids = st.tuples(st.integers(1, 80), st.integers(1, 80))


def test_small_grids_are_left_alone() -> None:
    assert isinstance(spatial((32, 7)), Identity)
    assert spatial((33, 7)).coarse_grid == (17, 4)
    assert spatial((96, 64)).coarse_grid == (32, 22)


@pytest.mark.parametrize("grid", [(64, 64), (64, 32), (96, 48)])
def test_where_the_factor_divides_pooling_is_the_mean_and_expansion_is_bilinear(grid: tuple[int, int]) -> None:
    side, factor = spatial(grid), max(grid) // 32
    x = torch.randn(2, 3, grid[0] * grid[1], 5)
    image = x.transpose(-1, -2).unflatten(-1, grid).flatten(0, 1)
    mean = F.avg_pool2d(image, factor).flatten(-2).transpose(-1, -2).unflatten(0, (2, 3))
    assert torch.allclose(side.pool(x), mean, atol=1e-6)
    y = torch.randn(2, 3, side.coarse)
    bilinear = F.interpolate(y.unflatten(-1, side.coarse_grid), size=grid, mode="bilinear").flatten(-2)
    assert torch.allclose(side.expand(y), bilinear, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(grids, st.integers(2, 40))
def test_gather_is_expansion_of_the_query_axis(grid: tuple[int, int], limit: int) -> None:
    side = Spatial(grid, limit)
    table = torch.randn(side.coarse, 4)
    whole = side.expand(table.T.contiguous()).T
    start, stop = side.fine // 3, max(side.fine // 3 + 1, side.fine // 2)
    assert torch.allclose(side.gather(table, start, stop), whole[start:stop], atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(grids, st.integers(2, 40))
def test_constants_survive_and_means_are_kept(grid: tuple[int, int], limit: int) -> None:
    side = Spatial(grid, limit)
    assert torch.allclose(side.pool(torch.ones(1, side.fine, 2)), torch.ones(1, side.coarse, 2), atol=1e-5)
    assert torch.allclose(side.expand(torch.ones(1, side.coarse)), torch.ones(1, side.fine), atol=1e-5)
    x = torch.randn(1, side.fine, 1)
    assert side.pool(x).mean().item() == pytest.approx(x.mean().item(), abs=1e-4)


def test_a_cell_stays_where_it_is() -> None:
    side = spatial((64, 64))
    one = torch.zeros(side.coarse)
    one[1 * 32 + 5] = 1
    hit = side.expand(one).unflatten(-1, (64, 64)).nonzero()
    assert hit.float().mean(0).tolist() == [2.5, 10.5]  # the centre of rows 2-3, columns 10-11


def test_pooled_logits_are_the_logits_of_the_pooled() -> None:
    side, q, k = spatial((40, 36)), torch.randn(1, 40 * 36, 8), torch.randn(1, 40 * 36, 8)
    full = q @ k.transpose(-1, -2)
    twice = side.pool(side.pool(full).transpose(-1, -2))  # both axes
    assert torch.allclose(side.pool(q) @ side.pool(k).transpose(-1, -2), twice.transpose(-1, -2), atol=1e-5)


def test_flat_resampling_is_the_published_one() -> None:
    side = Flat(4096, (32, 32))
    image = torch.randn(1, 1, 4096, 8)
    expected = F.interpolate(image, size=(1024, 8), mode="bilinear")
    assert torch.allclose(side.pool(image), expected, atol=1e-6)
    back = F.interpolate(expected, size=(4096, 8), mode="bilinear")[0, 0]
    assert torch.allclose(side.gather(expected[0, 0], 100, 300), back[100:300], atol=1e-6)
    assert torch.allclose(side.expand(expected[0, 0].T.contiguous()), back.T, atol=1e-6)
