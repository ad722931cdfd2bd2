"""What Match View shows is what augmented attention does, in bounded memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from amadapter_core.bench.attention import blocky_ids
from amadapter_core.match_pictures import heat_colours, heat_picture, warped_picture
from amadapter_core.match_view import MatchView, pixels_of, point, probabilities
from amadapter_core.matcher import Matcher
from amadapter_core.matching import Mode, Pairing, Route, Routing, SpatialMatching
from amadapter_core.resampling import Grid
from amadapter_core.routing import PairTable

HEADS, WIDTH = 8, 5
SCALE = WIDTH**-0.5
ROOT = Path(__file__).resolve().parents[2]
TARGET, EXEMPLARS = (12, 10), [(7, 9), (8, 8)]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def tensors(batch: int, target: Grid, exemplars: list[Grid]) -> tuple[Tensor, Tensor, list[Tensor]]:
    """q and k of the target, keys of the exemplars."""
    n = target[0] * target[1]
    q, k = (2 * random(batch, HEADS, n, WIDTH, seed=seed) for seed in (1, 2))
    return q, k, [2 * random(1, HEADS, h * w, WIDTH, seed=3 + i) for i, (h, w) in enumerate(exemplars)]


def label_maps(seed: int = 9) -> tuple[Tensor, list[Tensor]]:
    """Ids of a target and of two exemplars that lack some of its classes."""
    generator = torch.Generator().manual_seed(seed)
    return blocky_ids(generator, (96, 80)), [blocky_ids(generator, (64, 64)) % 9 for _ in range(2)]


def matching_of(exemplars: int, *modes: Mode, routing: Routing | None = None, **options) -> SpatialMatching:
    target, ids = label_maps()
    torch.manual_seed(0)
    matcher = Matcher().requires_grad_(False)
    if len(modes) == 1:
        return SpatialMatching(target, ids[:exemplars], modes[0], matcher=matcher, routing=routing, **options)
    tables = [PairTable.build(target, i, Route(), None) for i in ids]
    return SpatialMatching.of([Pairing(t, mode, matcher, **options) for t, mode in zip(tables, modes, strict=True)])


CASES = {
    "no bias": (1, (Mode.IMPLICIT,), {}),
    "classes": (1, (Mode.CATEGORICAL,), {}),
    "penalty": (1, (Mode.CATEGORICAL,), {"penalty": 3.0, "routing": Routing([Route(0.3, {2: 5.0})])}),
    "keep_mass": (1, (Mode.CATEGORICAL,), {"keep_mass": True}),
    "learned": (1, (Mode.LEARNED,), {}),
    "learned, routed": (1, (Mode.LEARNED,), {"routing": Routing([Route(0.3, {2: 0.0})])}),
    "two, no bias": (2, (Mode.IMPLICIT,), {}),
    "two, keep_mass": (2, (Mode.CATEGORICAL,), {"keep_mass": True}),
    "two, of two modes": (2, (Mode.LEARNED, Mode.CATEGORICAL), {}),
}


@pytest.mark.parametrize("chunk_bytes", [1, 100_000, 1 << 30])
@pytest.mark.parametrize("name", CASES)
def test_probabilities_are_the_formula(name: str, chunk_bytes: int) -> None:
    count, modes, options = CASES[name]
    grids = EXEMPLARS[:count]
    q, k, keys = tensors(2, TARGET, grids)
    matching = matching_of(count, *modes, **options)
    bias = matching.bias(q, keys, TARGET, grids, "up_blocks", SCALE)
    assert (bias is None) == ("no bias" in name)
    own = (q @ k.transpose(-1, -2)).double() * SCALE
    others = (q @ torch.cat(keys, 2).transpose(-1, -2)).double() * SCALE
    rows = torch.zeros(()) if bias is None else bias.rows(0, q.shape[2], torch.float32).double()
    if options.get("keep_mass"):
        mask = bias.static.rows(bias.static.mask, 0, q.shape[2])
        reachable = (mask > -1000).any(-1, keepdim=True)
        lost = others.logsumexp(-1, keepdim=True) - (others + mask).logsumexp(-1, keepdim=True)
        rows = rows + torch.where(reachable, lost, 0)
    whole = torch.cat([own, others + rows], -1).softmax(-1).mean(1)
    start = k.shape[2]
    for index, theirs in enumerate(keys):
        expected = whole[..., start : start + theirs.shape[2]]
        start += theirs.shape[2]
        found = torch.cat([p for _, p in probabilities(q, k, keys, bias, SCALE, index, chunk_bytes)], 1)
        assert (found - expected).abs().max() <= 1e-6


def view_of(picture: Tensor, sites: list[tuple[Grid, Grid]], selection, ids: tuple[Tensor, Tensor]) -> MatchView:
    """A view of an exemplar in mode categorical over several sites; the latents have the first one's grids."""
    view = MatchView(picture, *sites[0], selection)
    matching = SpatialMatching(ids[0], [ids[1]], Mode.CATEGORICAL)
    for target, exemplar in sites:
        q, k, keys = tensors(1, target, [exemplar])
        view.add(q, k, keys, matching.bias(q, keys, target, [exemplar], "up_blocks", SCALE), SCALE, 0, target, exemplar)
    return view


def halves(h: int, w: int, left: int, right: int) -> Tensor:
    ids = torch.full((1, h, w), left)
    ids[..., w // 2 :] = right
    return ids


PYRAMID = [((16, 8), (8, 16)), ((8, 4), (4, 8)), ((4, 2), (2, 4))]


def test_a_class_is_looked_for_in_its_region_and_takes_its_colours() -> None:
    target, exemplar = halves(128, 64, 1, 2), halves(64, 128, 2, 1)
    picture = torch.zeros(64, 128, 3)
    picture[:, :64], picture[:, 64:] = torch.tensor([1.0, 0, 0]), torch.tensor([0, 0, 1.0])
    for wanted, looked_at in ((1, slice(8, 16)), (2, slice(0, 8))):
        view = view_of(picture, PYRAMID, pixels_of(target, wanted), (target, exemplar))
        assert view.heat.shape == (1, 8, 16)
        assert view.heat[..., looked_at].sum() == pytest.approx(1)
        assert torch.count_nonzero(view.heat[..., looked_at]) == torch.count_nonzero(view.heat) > 0
        assert torch.allclose(view.warped[..., :4, :], torch.tensor([0, 0, 1.0]).expand(1, 16, 4, 3))
        assert torch.allclose(view.warped[..., 4:, :], torch.tensor([1.0, 0, 0]).expand(1, 16, 4, 3))
        assert 0.05 < view.share.min() < view.share.max() < 0.95


def test_a_class_that_the_exemplar_lacks_has_no_share_and_no_heat() -> None:
    target, exemplar = halves(128, 64, 1, 2), halves(64, 128, 2, 3)
    view = view_of(torch.ones(64, 128, 3), PYRAMID, pixels_of(target, 1), (target, exemplar))
    assert view.share[..., :4].max() == view.warped[..., :4, :].max() == view.heat.max() == 0
    assert view.share[..., 4:].min() > 0.05


def test_share_and_heat_are_means_over_sites() -> None:
    ids = halves(64, 64, 1, 2), halves(64, 64, 2, 1)
    grid = (8, 8)
    view = view_of(torch.rand(64, 64, 3), [(grid, grid)] * 3, point(0.99, 0.3), ids)
    once = view_of(torch.rand(64, 64, 3), [(grid, grid)], point(0.99, 0.3), ids)
    assert torch.allclose(view.share, once.share) and torch.allclose(view.heat, once.heat)
    q, k, keys = tensors(1, grid, [grid])
    bias = SpatialMatching(ids[0], [ids[1]], Mode.CATEGORICAL).bias(q, keys, grid, [grid], "up_blocks", SCALE)
    p = torch.cat([p for _, p in probabilities(q, k, keys, bias, SCALE, 0)], 1)[0]
    token = p[2 * 8 + 7]  # 0.3 down, at the right edge
    assert torch.allclose(once.heat.flatten(), token / token.sum())
    assert torch.allclose(once.share.flatten(), p.sum(-1))


def test_every_image_of_a_batch_has_its_own_view() -> None:
    grid = (8, 8)
    q, k, keys = tensors(2, grid, [grid])
    together = MatchView(torch.rand(64, 64, 3), grid, grid, point(0.2, 0.2))
    together.add(q, k, keys, None, SCALE, 0, grid, grid)
    for i in range(2):
        alone = MatchView(together.picture, grid, grid, point(0.2, 0.2))
        alone.add(q[i : i + 1], k[i : i + 1], keys, None, SCALE, 0, grid, grid)
        for name in ("heat", "share", "warped"):
            assert torch.allclose(getattr(together, name)[i], getattr(alone, name)[0], atol=1e-6)


def test_points_at_the_edge_are_tokens() -> None:
    for place, token in (((0, 0), 0), ((1, 1), 11), ((0.5, 0.4), 6), ((1, 0), 3)):
        assert int(point(*place)((3, 4)).flatten().argmax()) == token


def test_heat_goes_from_dark_to_light() -> None:
    brightness = heat_colours(torch.linspace(0, 1, 101)) @ torch.tensor([0.299, 0.587, 0.114])
    assert (brightness.diff() > 0).all()
    picture = heat_picture(torch.rand(16, 16, 3), torch.tensor([[[0.0, 0.1], [0.0, 0.0]]]))
    assert picture.shape == (1, 16, 16, 3)
    assert picture[0, 0, -1].tolist() == pytest.approx([252 / 255, 1, 164 / 255], abs=1e-6)
    cold = picture[0, 12:, :8]
    assert torch.equal(cold[..., 0], cold[..., 1]) and cold.max() < 0.5  # the picture in dim grey


def test_what_is_not_looked_at_is_grey() -> None:
    warped = torch.tensor([[[[1.0, 0, 0], [0, 0, 0]]]])
    picture = warped_picture(warped, torch.tensor([[[0.5, 0.0]]]), (8, 16))
    assert torch.allclose(picture[0, :, -4:], torch.full((8, 4, 3), 0.5))
    assert picture[0, 0, 0, 0] > 0.95 and picture[0, 0, 0, 1] < 0.05
    assert (picture[0, 0, :, 0].diff() <= 0).all()  # the edge is no dark seam


MEMORY = """
import resource, torch
from amadapter_core.match_view import MatchView, point
from amadapter_core.matching import Mode, SpatialMatching
torch.set_num_threads(1)
grid = (64, 64)
q, k, ek = (torch.randn(1, 8, 4096, 40) for _ in range(3))
ids = torch.arange(4).repeat_interleave(16)[:, None].expand(64, 64)[None]
view = MatchView(torch.rand(512, 512, 3), grid, grid, point(.5, .5))
bias = SpatialMatching(ids, [ids], Mode.CATEGORICAL, keep_mass=True).bias(q, [ek], grid, [grid], "up_blocks", 40**-.5)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
view.add(q, k, [ek], bias, 40**-.5, 0, grid, grid)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
def test_memory_is_bounded() -> None:
    """All logits of this site would be 1 GiB."""
    result = subprocess.run([sys.executable, "-c", MEMORY], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) < 100
