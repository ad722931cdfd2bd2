"""Matching: the right bias at the right pair, on any pair of grids, for every item alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from amadapter_core.matcher import Matcher
from amadapter_core.matching import NEVER, Bias, Mode, Pairing, PublishedMatching, Route, Routing, SpatialMatching
from amadapter_core.routing import PairTable

HEADS, WIDTH = 8, 4
SCALE = WIDTH**-0.5


def tokens(grid: tuple[int, int], batch: int = 1, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, HEADS, grid[0] * grid[1], WIDTH, generator=generator) * 3


def random_matcher(seed: int = 0) -> Matcher:
    torch.manual_seed(seed)
    return Matcher().eval().requires_grad_(False)


def flag_reader() -> Matcher:
    """A matcher whose output is the class flag and nothing else: each layer hands the flag on."""
    net = Matcher().requires_grad_(False)
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    for i, (conv, norm) in enumerate(net.encoders[0].conv4d):
        conv.query_conv.weight[:, HEADS if i == 0 else 0] = 1.0
        norm.weight.fill_(1.0)
    return net


def whole(bias: Bias, n: int) -> Tensor:
    return bias.rows(0, n, torch.float32)


def learned(target: Tensor, exemplar: Tensor, grids: tuple, matcher: Matcher, **options) -> Bias:
    matching = SpatialMatching(target, [exemplar], Mode.LEARNED, matcher=matcher, **options)
    q, k = tokens(grids[0], seed=1), tokens(grids[1], seed=2)
    return matching.bias(q, [k], grids[0], [grids[1]], "up_blocks", SCALE)


@pytest.mark.parametrize(("query", "key"), [(340, 5), (5, 340), (0, 1023), (31, 992)])
def test_a_same_class_pair_raises_exactly_its_own_entry(query: int, key: int) -> None:
    target, exemplar = torch.arange(1024).view(1, 32, 32), torch.arange(2000, 3024).view(1, 32, 32)
    target.view(-1)[query] = exemplar.view(-1)[key] = 7777
    with torch.inference_mode():
        bias = whole(learned(target, exemplar, ((32, 32), (32, 32)), flag_reader()), 1024)
    top = bias.amax()
    assert (bias == top).nonzero().tolist() == [[0, head, query, key] for head in range(HEADS)]
    rest = bias[bias != top]
    assert rest.max() - rest.min() < 1e-5 and rest.max() < 0 < top


def test_a_same_class_pair_on_a_fine_grid_raises_its_own_neighbourhood() -> None:
    target, exemplar = torch.zeros(1, 64, 64).long(), torch.ones(1, 64, 64).long()
    target[:, 10:12, 40:42] = exemplar[:, 50:52, 4:6] = 5
    with torch.inference_mode():
        bias = whole(learned(target, exemplar, ((64, 64), (64, 64)), flag_reader()), 4096)[0, 0]
    raised = (bias - bias.amin() > 1e-3).unflatten(0, (64, 64)).unflatten(2, (64, 64)).nonzero().float()
    assert raised.mean(0).tolist() == [10.5, 40.5, 50.5, 4.5]
    assert (raised.amax(0) - raised.amin(0)).tolist() == [3, 3, 3, 3]  # one cell and its bilinear skirt


@pytest.mark.parametrize(
    ("target_grid", "exemplar_grid"),
    [((8, 8), (8, 8)), ((12, 20), (20, 12)), ((33, 25), (16, 9)), ((48, 32), (40, 40)), ((16, 16), (64, 48))],
)
def test_any_pair_of_grids(target_grid: tuple[int, int], exemplar_grid: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(3)
    target, exemplar = (torch.randint(4, (1, 128, 96), generator=generator) for _ in range(2))
    grids = target_grid, exemplar_grid
    with torch.inference_mode():
        bias = learned(target, exemplar, grids, random_matcher())
        n, m = (g[0] * g[1] for g in grids)
        rows = whole(bias, n)
    assert rows.shape == (1, HEADS, n, m) and bool(rows.isfinite().all())
    pieces = torch.cat([bias.rows(i, min(i + 37, n), torch.float32) for i in range(0, n, 37)], dim=2)
    assert (rows - pieces).abs().max() <= 1e-6


def test_an_item_does_not_depend_on_its_neighbours() -> None:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(4, (3, 32, 32), generator=generator)
    exemplar = torch.randint(4, (1, 32, 32), generator=generator)
    grid, matcher = (12, 10), random_matcher()
    q, k = tokens(grid, batch=3), tokens(grid, seed=5)
    for mode in Mode:
        together = SpatialMatching(ids, [exemplar], mode, matcher=matcher, routing=Routing([Route(0.5)]))
        alone = SpatialMatching(ids[1:2], [exemplar], mode, matcher=matcher, routing=Routing([Route(0.5)]))
        with torch.inference_mode():
            a = together.bias(q, [k], grid, [grid], "mid_block", SCALE).item(slice(1, 2))
            b = alone.bias(q[1:2], [k], grid, [grid], "mid_block", SCALE)
            assert (whole(a, 120) - whole(b, 120)).abs().max() <= 1e-6


def test_published_and_spatial_agree_where_they_should() -> None:
    """Equal maps (symmetric flags), a 32 x 32 grid (no resize), one item (no joint maximum)."""
    ids = torch.randint(5, (32, 32), generator=torch.Generator().manual_seed(1))
    grid, matcher = (32, 32), random_matcher()
    q, k = tokens(grid, seed=1), tokens(grid, seed=2)
    spatial = SpatialMatching(ids[None], [ids[None]], Mode.LEARNED, matcher=matcher)
    published = PublishedMatching(ids[..., None], ids[..., None], Mode.LEARNED, matcher=matcher)
    with torch.inference_mode():
        a, b = (whole(m.bias(q, [k], grid, [grid], "up_blocks", SCALE), 1024) for m in (spatial, published))
    assert torch.equal(a, b)


def test_published_maximum_is_joint_and_spatial_is_not() -> None:
    ids = torch.zeros(32, 32).long()
    grid, matcher = (8, 8), random_matcher()
    q, k = tokens(grid, batch=2, seed=1), tokens(grid, batch=2, seed=2)
    published = PublishedMatching(ids[..., None], ids[..., None], Mode.LEARNED, matcher=matcher)
    spatial = SpatialMatching(ids[None], [ids[None]], Mode.LEARNED, matcher=matcher)
    with torch.inference_mode():
        joint, own = (m.bias(q, [k], grid, [grid], "up_blocks", SCALE).learned[0].offset for m in (published, spatial))
    assert joint[0] == joint[1] == max(own) and own[0] != own[1]


def test_published_matching_is_skipped_where_token_counts_differ() -> None:
    ids = torch.zeros(32, 32, 1).long()
    matching = PublishedMatching(ids, ids, Mode.LEARNED, matcher=random_matcher())
    assert matching.bias(tokens((8, 8)), [tokens((8, 4))], (8, 8), [(8, 4)], "up_blocks", SCALE) is None


def test_categorical_is_zero_where_classes_agree_and_never_elsewhere() -> None:
    target, exemplar = torch.tensor([[[0, 1], [2, 3]]]), torch.tensor([[[1, 0], [2, 2]]])
    matching = SpatialMatching(target, [exemplar], Mode.CATEGORICAL)
    bias = matching.bias(tokens((2, 2)), [tokens((2, 2))], (2, 2), [(2, 2)], "up_blocks", SCALE)
    expected = torch.where(target.flatten()[:, None] == exemplar.flatten(), 0.0, NEVER)
    assert torch.equal(whole(bias, 4)[0, 0], expected)


def test_categorical_penalty_and_strength_add_up() -> None:
    ids = torch.tensor([[[0, 1]]])
    routing = Routing([Route(strength=0.5, class_strength={1: 3.0})])
    matching = SpatialMatching(ids, [ids], Mode.CATEGORICAL, penalty=2.0, routing=routing)
    bias = whole(matching.bias(tokens((1, 2)), [tokens((1, 2))], (1, 2), [(1, 2)], "up_blocks", SCALE), 2)
    log = torch.log
    expected = torch.stack([log(torch.tensor([0.5, 0.5])), log(torch.tensor([1.5, 1.5]))])
    expected += torch.tensor([[0.0, -2.0], [-2.0, 0.0]])
    assert torch.allclose(bias[0, 0], expected)


def test_implicit_without_routing_adds_nothing() -> None:
    ids = torch.randint(3, (1, 4, 4))
    matching = SpatialMatching(ids, [ids], Mode.IMPLICIT)
    assert matching.bias(tokens((4, 4)), [tokens((4, 4))], (4, 4), [(4, 4)], "up_blocks", SCALE) is None


def test_exemplars_without_any_weight_are_not_active() -> None:
    ids = torch.zeros(1, 4, 4).long()
    routing = Routing([Route(), Route(strength=0.0), Route(class_strength={0: 0.0})])
    assert SpatialMatching(ids, [ids] * 3, routing=routing).active == (0,)
    assert SpatialMatching(ids, [ids], routing=Routing([Route(0.0)])).active == ()


def test_several_exemplars_lie_one_after_the_other() -> None:
    target = torch.tensor([[[0, 1]]])
    exemplars = [torch.tensor([[[0]]]), torch.tensor([[[1, 0, 1]]])]
    matching = SpatialMatching(target, exemplars, Mode.CATEGORICAL, routing=Routing(weights=[1, 3]))
    keys, grids = [tokens((1, 1)), tokens((1, 3))], [(1, 1), (1, 3)]
    bias = whole(matching.bias(tokens((1, 2)), keys, (1, 2), grids, "up_blocks", SCALE), 2)[0, 0]
    share = torch.tensor([0.25, 0.75, 0.75, 0.75]).log()
    allowed = torch.tensor([[True, False, True, False], [False, True, False, True]])
    assert torch.allclose(bias[allowed], share.expand(2, -1)[allowed])
    assert bool((bias[~allowed] <= NEVER).all())


def test_what_cannot_be_is_refused_with_numbers() -> None:
    ids = torch.zeros(1, 4, 4).long()
    with pytest.raises(ValueError, match="needs a matcher"):
        SpatialMatching(ids, [ids], Mode.LEARNED)
    with pytest.raises(ValueError, match="penalty"):
        SpatialMatching(ids, [ids], Mode.CATEGORICAL, penalty=-1.0)
    matching = SpatialMatching(ids, [ids], Mode.LEARNED, matcher=Matcher(heads=10))
    with pytest.raises(ValueError, match="made for 10 attention heads, this UNet has 8"):
        matching.bias(tokens((4, 4)), [tokens((4, 4))], (4, 4), [(4, 4)], "up_blocks", SCALE)
    with pytest.raises(ValueError, match=r"16 target tokens do not fill the grid \(4, 5\)"):
        matching.bias(tokens((4, 4)), [tokens((4, 4))], (4, 5), [(4, 4)], "up_blocks", SCALE)
    with pytest.raises(ValueError, match="batch 2 cannot broadcast to batch 3"):
        matching.bias(tokens((4, 4), 3), [tokens((4, 4), 2)], (4, 4), [(4, 4)], "up_blocks", SCALE)
    with pytest.raises(ValueError, match="target label maps of batch 2 cannot serve 3 rows"):
        SpatialMatching(ids.expand(2, -1, -1), [ids], Mode.CATEGORICAL).bias(
            tokens((4, 4), 3), [tokens((4, 4))], (4, 4), [(4, 4)], "up_blocks", SCALE
        )


def pairing(target: Tensor, exemplar: Tensor, mode: Mode, strength: float = 1.0, **options) -> Pairing:
    return Pairing(PairTable.build(target, exemplar, Route(strength)), mode, **options)


def test_exemplars_of_one_matching_may_differ_in_mode() -> None:
    """Each part of the joint bias is what the exemplar would have alone."""
    generator = torch.Generator().manual_seed(6)
    target, *exemplars = (torch.randint(3, (1, 16, 16), generator=generator) for _ in range(4))
    grid, others = (8, 8), [(8, 8), (6, 10), (8, 8)]
    q, keys = tokens(grid, seed=1), [tokens(other, seed=2 + i) for i, other in enumerate(others)]
    pairings = [
        pairing(target, exemplars[0], Mode.LEARNED, matcher=random_matcher()),
        pairing(target, exemplars[1], Mode.CATEGORICAL, 0.5),
        pairing(target, exemplars[2], Mode.IMPLICIT, 2.0),
    ]
    with torch.inference_mode():
        joint = SpatialMatching.of(pairings).bias(q, keys, grid, others, "up_blocks", SCALE)
        alone = [
            SpatialMatching.of([p]).bias(q, [k], grid, [other], "up_blocks", SCALE)
            for p, k, other in zip(pairings, keys, others, strict=True)
        ]
        expected = torch.cat([whole(bias, 64).expand(1, HEADS, -1, -1) for bias in alone], -1)
    assert torch.allclose(whole(joint, 64), expected, atol=1e-6)
    assert not joint.keeps_mass


def test_one_exemplar_may_keep_its_mass_beside_one_that_does_not() -> None:
    target = torch.tensor([[[0, 1]]])
    pairings = [pairing(target, target, Mode.CATEGORICAL, keep_mass=keep) for keep in (True, False)]
    q, keys = tokens((1, 2)), [tokens((1, 2), seed=i) for i in (1, 2)]
    bias = SpatialMatching.of(pairings).bias(q, keys, (1, 2), [(1, 2)] * 2, "mid_block", SCALE)
    assert bias.keeps_mass
    assert bias.static.rows(bias.static.mask, 0, 2)[0, 0].tolist() == [[0, NEVER, 0, 0], [NEVER, 0, 0, 0]]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [({"mode": Mode.LEARNED}, "needs a matcher"), ({"mode": Mode.CATEGORICAL, "penalty": -1.0}, "penalty is -1.0")],
)
def test_a_pairing_that_cannot_be_is_refused(options: dict, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        pairing(torch.zeros(1, 2, 2).long(), torch.zeros(1, 2, 2).long(), **options)
