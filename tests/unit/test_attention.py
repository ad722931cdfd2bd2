"""Augmented attention: every strategy is the formula, in every precision, with gradients, in bounded memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from amadapter_core.attention import Strategy, augmented_attention, choose
from amadapter_core.bench.attention import blocky_ids
from amadapter_core.bench.literal import learned_attention
from amadapter_core.label_resizing import resize_ids
from amadapter_core.matcher import Matcher
from amadapter_core.matching import NEVER, Bias, Mode, Route, Routing, SpatialMatching
from amadapter_core.resampling import spatial

HEADS, WIDTH = 8, 5
ROOT = Path(__file__).resolve().parents[2]


def tensors(grid: tuple[int, int], exemplar: tuple[int, int], batch: int = 1, seed: int = 0) -> list[Tensor]:
    """q, k, v of the target and k, v of the exemplar."""
    generator = torch.Generator().manual_seed(seed)
    n, m = grid[0] * grid[1], exemplar[0] * exemplar[1]
    shapes = [(batch, n)] * 3 + [(1, m)] * 2
    return [torch.randn(b, HEADS, t, WIDTH, generator=generator) * 2 for b, t in shapes]


def biased(mode: Mode, x: list[Tensor], grid: tuple[int, int], exemplar: tuple[int, int], **options) -> Bias:
    generator = torch.Generator().manual_seed(9)
    ids = blocky_ids(generator, (96, 80)), blocky_ids(generator, (64, 64)) % 9  # the exemplar lacks some classes
    torch.manual_seed(0)
    matching = SpatialMatching(ids[0], [ids[1]], mode, matcher=Matcher().requires_grad_(False), **options)
    return matching.bias(x[0], [x[3]], grid, [exemplar], "up_blocks", WIDTH**-0.5)


def formula(x: list[Tensor], rows: Tensor) -> Tensor:
    q, k, v, ek, ev = (t.expand(len(x[0]), -1, -1, -1).double() for t in x)
    own, other = (q @ keys.transpose(-1, -2) * WIDTH**-0.5 for keys in (k, ek))
    return torch.cat([own, other + rows.double()], -1).softmax(-1) @ torch.cat([v, ev], 2)


CASES = [
    (Mode.CATEGORICAL, {}),
    (Mode.CATEGORICAL, {"penalty": 3.0, "routing": Routing([Route(0.3, {2: 5.0})])}),
    (Mode.IMPLICIT, {"routing": Routing([Route(0.3)])}),
    (Mode.LEARNED, {}),
    (Mode.LEARNED, {"routing": Routing([Route(0.3, {2: 0.0})])}),
]


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize(("mode", "options"), CASES)
def test_every_strategy_is_the_formula(mode: Mode, options: dict, strategy: Strategy) -> None:
    grid, exemplar = (12, 10), (7, 9)
    x = tensors(grid, exemplar, batch=2)
    with torch.inference_mode():
        bias = biased(mode, x, grid, exemplar, **options)
        if bias.learned and strategy in (Strategy.FUSED, Strategy.GROUPED):
            with pytest.raises(ValueError, match="does not fold|has no groups"):
                augmented_attention(*x, bias, strategy=strategy)
            return
        expected = formula(x, bias.rows(0, 120, torch.float32))
        for chunk_bytes in (1, 20_000, 1 << 30):
            out = augmented_attention(*x, bias, strategy=strategy, chunk_bytes=chunk_bytes)
            assert (out - expected).abs().max() <= 1e-5


def test_a_mask_is_grouped_where_that_pays_and_the_batch_has_one_layout() -> None:
    grid = (32, 40)
    x = tensors(grid, grid, batch=2)
    assert choose(x[0], biased(Mode.CATEGORICAL, x, grid, grid)) is Strategy.GROUPED
    assert choose(x[0], biased(Mode.CATEGORICAL, x, grid, grid, penalty=2.0)) is Strategy.FUSED
    assert choose(x[0], biased(Mode.IMPLICIT, x, grid, grid, routing=Routing([Route(0.5)]))) is Strategy.FUSED
    small = tensors((8, 8), (8, 8))
    assert choose(small[0], biased(Mode.CATEGORICAL, small, (8, 8), (8, 8))) is Strategy.FUSED
    layouts = torch.cat([blocky_ids(torch.Generator().manual_seed(seed)) for seed in (0, 1)])
    two = SpatialMatching(layouts, [layouts[:1]], Mode.CATEGORICAL)
    bias = two.bias(x[0], [x[3]], grid, [grid], "up_blocks", WIDTH**-0.5)
    assert choose(x[0], bias) is Strategy.FUSED
    with torch.inference_mode():
        out = augmented_attention(*x, bias)
    assert (out - formula(x, bias.rows(0, 1280, torch.float32))).abs().max() <= 1e-5


@pytest.mark.parametrize("mode", list(Mode))
def test_result_does_not_depend_on_chunks_or_neighbours(mode: Mode) -> None:
    grid, exemplar = (40, 24), (33, 20)
    x = tensors(grid, exemplar, batch=3)
    options = {"routing": Routing([Route(0.5)])}
    with torch.inference_mode():
        whole = augmented_attention(*x, biased(mode, x, grid, exemplar, **options), chunk_bytes=1 << 30)
        alone = [t[1:2] if len(t) > 1 else t for t in x]
        chunked = augmented_attention(*alone, biased(mode, alone, grid, exemplar, **options), chunk_bytes=100_000)
    assert (whole[1:2] - chunked).abs().max() <= 1e-6


@pytest.mark.parametrize(
    ("grid", "exemplar", "dtype", "tolerance"),
    [
        ((16, 16), (16, 16), torch.float64, 1e-10),
        ((48, 64), (64, 32), torch.float64, 1e-10),
        ((20, 28), (64, 64), torch.float64, 1e-10),
        ((64, 64), (64, 64), torch.float32, 1e-4),  # the literal formula in fp64 does not fit small machines
    ],
)
def test_learned_attention_is_the_literal_formula(
    grid: tuple[int, int], exemplar: tuple[int, int], dtype: torch.dtype, tolerance: float
) -> None:
    generator = torch.Generator().manual_seed(4)
    x = [t.to(dtype) for t in tensors(grid, exemplar)]
    ids = [blocky_ids(generator) for _ in range(2)]
    torch.manual_seed(1)
    matcher = Matcher().requires_grad_(False).to(dtype)
    cells = [resize_ids(i, spatial(g).coarse_grid, "majority")[0] for i, g in zip(ids, (grid, exemplar), strict=True)]
    with torch.inference_mode():
        matching = SpatialMatching(ids[0], [ids[1]], Mode.LEARNED, matcher=matcher)
        bias = matching.bias(x[0], [x[3]], grid, [exemplar], "down_blocks", WIDTH**-0.5)
        ours = augmented_attention(*x, bias)
        theirs = learned_attention(*x, grid, exemplar, *cells, matcher)
    assert (ours - theirs).abs().max() <= tolerance


def test_without_exemplar_it_is_plain_attention_bit_for_bit() -> None:
    q, k, v, *_ = tensors((6, 6), (1, 1))
    assert torch.equal(augmented_attention(q, k, v), F.scaled_dot_product_attention(q, k, v))


def test_strength_is_continuous_down_to_off() -> None:
    grid = (8, 8)
    x = tensors(grid, grid)
    plain = F.scaled_dot_product_attention(*x[:3])
    gaps = []
    for strength in (1.0, 1e-4, 1e-8, 1e-12):
        bias = biased(Mode.IMPLICIT, x, grid, grid, routing=Routing([Route(strength)]))
        gaps.append((augmented_attention(*x, bias) - plain).abs().max().item())
    assert gaps == sorted(gaps, reverse=True) and gaps[-1] < 1e-4 < gaps[0]


def exemplar_share(x: list[Tensor], rows: Tensor) -> Tensor:
    q, k, _, ek, _ = (t.double() for t in x)
    logits = torch.cat([q @ k.transpose(-1, -2), q @ ek.transpose(-1, -2)], -1) * WIDTH**-0.5
    logits[..., k.shape[2] :] += rows.double()
    return logits.softmax(-1)[..., k.shape[2] :].sum(-1)


@pytest.mark.parametrize("strategy", [Strategy.ROWS, Strategy.MERGED])
def test_kept_mass_is_the_share_without_the_mask(strategy: Strategy) -> None:
    grid = (10, 9)
    x = tensors(grid, grid)
    with torch.inference_mode():
        masked = biased(Mode.CATEGORICAL, x, grid, grid)
        kept = biased(Mode.CATEGORICAL, x, grid, grid, keep_mass=True)
        rows = masked.rows(0, 90, torch.float32)
        reachable = (rows > NEVER / 2).any(-1)
        free, shrunk = (exemplar_share(x, r) for r in (torch.zeros(()), rows))
        # With one-hot values on the exemplar's keys, the output *is* the exemplar's share.
        x[2], x[4] = torch.zeros_like(x[2]), torch.ones_like(x[4])
        share = augmented_attention(*x, kept, strategy=strategy)[..., 0]
    reachable = reachable.expand_as(share)
    assert bool(reachable.any()) and not bool(reachable.all())
    assert (share - free)[reachable].abs().max() <= 1e-5
    assert share[~reachable].abs().max() == 0
    assert (free - shrunk)[reachable].max() > 0.1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("mode", list(Mode))
def test_half_precision_stays_near_and_masks_stay_exact(mode: Mode, dtype: torch.dtype) -> None:
    grid = (9, 8)
    x = tensors(grid, grid)
    routing = {"routing": Routing([Route(0.4)])}
    with torch.inference_mode():
        expected = augmented_attention(*x, biased(mode, x, grid, grid, **routing))
        half = [t.to(dtype) for t in x]
        for strategy in Strategy:
            if mode is Mode.LEARNED and strategy in (Strategy.FUSED, Strategy.GROUPED):
                continue
            out = augmented_attention(*half, biased(mode, half, grid, grid, **routing), strategy=strategy)
            assert out.dtype == dtype
            assert (out.float() - expected).abs().max() <= (0.03 if dtype == torch.float16 else 0.2)


def test_a_masked_key_counts_for_nothing_in_half_precision() -> None:
    x = [t.half() for t in tensors((4, 4), (4, 4))]
    ids = torch.zeros(1, 4, 4).long()
    matching = SpatialMatching(ids, [ids + 1], Mode.CATEGORICAL)
    bias = matching.bias(x[0], [x[3]], (4, 4), [(4, 4)], "up_blocks", WIDTH**-0.5)
    with torch.inference_mode():
        poisoned = augmented_attention(*x[:4], torch.full_like(x[4], 6e4), bias)
        assert (poisoned - F.scaled_dot_product_attention(*x[:3])).abs().max() <= 2e-3


def test_gradients_reach_the_matcher_as_in_the_literal_formula() -> None:
    grid = (40, 40)
    x = [t.double() for t in tensors(grid, grid)]
    generator = torch.Generator().manual_seed(4)
    ids = [blocky_ids(generator) for _ in range(2)]
    cells = [resize_ids(i, (20, 20), "majority")[0] for i in ids]
    torch.manual_seed(2)
    matcher, weight = Matcher().double(), torch.randn(1, HEADS, 1600, WIDTH).double()

    def gradients(out: Tensor) -> list[Tensor]:
        return torch.autograd.grad((out * weight).sum(), list(matcher.encoders[0].parameters()))

    matching = SpatialMatching(ids[0], [ids[1]], Mode.LEARNED, matcher=matcher)
    with torch.inference_mode():  # what a matching keeps of a sampling run must serve training as well
        bias = matching.bias(x[0], [x[3]], grid, [grid], "down_blocks", WIDTH**-0.5)
        augmented_attention(*x, bias)
    bias = matching.bias(x[0], [x[3]], grid, [grid], "down_blocks", WIDTH**-0.5)
    assert choose(x[0], bias) is Strategy.ROWS
    ours = gradients(augmented_attention(*x, bias, chunk_bytes=1 << 20))
    theirs = gradients(learned_attention(*x, grid, grid, *cells, matcher))
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).abs().max() <= 1e-7 * b.abs().max().clamp_min(1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("side", "limit_mb"), [(64, 700), (96, 1200)])
def test_learned_attention_fits(side: int, limit_mb: int) -> None:
    """Peak over the inputs of one call at 8 heads of 40, fp32, in a process of its own."""
    script = f"""
import torch
from amadapter_core.bench.attention import bench
cases = dict(bench(({side}, {side}), torch.device("cpu"), torch.float32, 1, only=("learned",)))
print(cases["learned"].peak_bytes)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    peak = int(run.stdout) / 1e6
    assert 20 < peak < limit_mb
