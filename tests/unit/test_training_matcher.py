"""The matcher's start, batches of PUBLISHED couples, and the share of attention on the true correspondence."""

from __future__ import annotations

import pytest
import torch

from amadapter_core.matcher import Matcher
from amadapter_core.matching import Mode, PublishedMatching, SpatialMatching
from amadapter_core.row_by_row import RowByRow
from amadapter_core.sites import Look, Site
from amadapter_core.training.correspondence import Correspondence
from amadapter_core.training.starting import neutral

GRID = (6, 6)
SITE = Site("down_blocks.0.attentions.0.transformer_blocks.0.attn1", "down_blocks", 0)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def ids(rows: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 4, (rows, *GRID), generator=torch.Generator().manual_seed(seed))


def bias(matcher: Matcher, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    matching = SpatialMatching(ids(len(q)), [ids(len(q), 1)], Mode.LEARNED, matcher=matcher)
    return matching.bias(q, [k], GRID, [GRID], "down_blocks", 0.5).rows(0, 36, torch.float32)


@pytest.mark.parametrize("seed", range(3))
def test_a_neutral_matcher_hardly_moves_the_attention(seed: int) -> None:
    torch.manual_seed(seed)
    start = bias(neutral(Matcher()), 3 * random(2, 8, 36, 4), 3 * random(2, 8, 36, 4, seed=1))
    assert start.abs().max() < 0.1 and start.mean().abs() < 0.02
    assert bias(Matcher(), random(2, 8, 36, 4), random(2, 8, 36, 4, seed=1)).abs().max() > 1


def test_gradients_reach_every_parameter_of_a_neutral_matcher_at_the_first_step() -> None:
    torch.manual_seed(0)
    matcher = neutral(Matcher())
    q, k = random(2, 8, 36, 4), random(2, 8, 36, 4, seed=1)
    (bias(matcher, q, k) * random(2, 8, 36, 36, seed=2)).sum().backward()
    used = {name: p.grad for name, p in matcher.named_parameters() if name.startswith("encoders.0.")}
    assert len(used) == 24 and all(grad is not None and bool(grad.abs().max() > 0) for grad in used.values())


def test_the_first_steps_move_the_whole_of_a_neutral_matcher() -> None:
    torch.manual_seed(0)
    matcher = neutral(Matcher())
    before = {name: p.detach().clone() for name, p in matcher.named_parameters() if name.startswith("encoders.0.")}
    optimiser = torch.optim.AdamW(matcher.parameters(), 1e-3)
    q, k, wanted = random(1, 8, 36, 4), random(1, 8, 36, 4, seed=1), random(1, 8, 36, 36, seed=2)
    losses = []
    for _ in range(15):
        loss = (bias(matcher, q, k) - wanted).square().mean()
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[-1] < losses[0]
    assert all(not torch.equal(p, before[name]) for name, p in matcher.named_parameters() if name in before)


def test_a_batch_of_published_couples_is_biased_as_its_rows_are_alone() -> None:
    torch.manual_seed(0)
    matcher = Matcher()
    q, k = random(3, 8, 16, 4), random(3, 8, 16, 4, seed=1)
    maps = torch.rand(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(2)).round()
    rows = [
        PublishedMatching.from_colours(maps[0, i : i + 1], maps[1, i : i + 1], "learned", matcher=matcher)
        for i in range(3)
    ]
    site = ((4, 4), [(4, 4)], "up_blocks", 0.5)
    together = RowByRow(rows).bias(q, [k], *site).rows(0, 16, torch.float32)
    for i, row in enumerate(rows):
        alone = row.bias(q[i : i + 1], [k[i : i + 1]], *site).rows(0, 16, torch.float32)
        assert torch.allclose(together[i : i + 1], alone, atol=1e-6)
    assert RowByRow(rows).bias(q, [k[:, :, :4]], (4, 4), [(2, 2)], "up_blocks", 0.5) is None


def test_all_attention_on_the_right_material_is_a_share_of_one() -> None:
    materials = torch.tensor([[0, 1], [2, 3]])
    target = materials[None].repeat_interleave(3, 1).repeat_interleave(3, 2)
    exemplar = target.flip(1, 2)
    look = Look(SpatialMatching(target, [exemplar], Mode.IMPLICIT), [{}], GRID, [GRID])
    one_hot = torch.nn.functional.one_hot(target.flatten(1)).float()[:, None].expand(-1, 8, -1, -1)
    keys = torch.nn.functional.one_hot(exemplar.flatten(1)).float()[:, None].expand(-1, 8, -1, -1)
    sharp, blind = Correspondence(target, exemplar), Correspondence(target, exemplar)
    sharp(SITE, look, one_hot, one_hot, [keys], None, 50.0)
    blind(SITE, look, one_hot, one_hot, [keys], None, 0.0)
    assert sharp.share().item() == pytest.approx(1.0) and sharp.loss().item() == pytest.approx(0, abs=1e-3)
    assert blind.share().item() == pytest.approx(0.25) and blind.loss() > 1


def test_tokens_whose_material_the_exemplar_lacks_have_no_say() -> None:
    target = torch.zeros(1, *GRID, dtype=torch.long)
    target[:, :3] = 9
    exemplar = torch.zeros(1, *GRID, dtype=torch.long)
    look = Look(SpatialMatching(target, [exemplar], Mode.IMPLICIT), [{}], GRID, [GRID])
    q = random(1, 8, 36, 4)
    seen = Correspondence(target, exemplar)
    seen(SITE, look, q, q, [q], None, 0.5)
    assert seen.share().item() == pytest.approx(1.0)


def test_the_matching_loss_draws_attention_to_the_right_material() -> None:
    torch.manual_seed(0)
    matcher = neutral(Matcher())
    materials = [torch.randint(0, 3, (1, *GRID), generator=torch.Generator().manual_seed(s)) for s in (0, 1)]
    q, k = random(1, 8, 36, 4), random(1, 8, 36, 4, seed=1)
    optimiser = torch.optim.AdamW(matcher.parameters(), 1e-2)
    matching = SpatialMatching(materials[0], [materials[1]], Mode.LEARNED, matcher=matcher)
    look = Look(matching, [{}], GRID, [GRID])
    shares = []
    for _ in range(25):
        seen = Correspondence(*materials)
        seen(SITE, look, q, q, [k], look.bias(SITE, q, [k], 0.5), 0.5)
        shares.append(seen.share().item())
        optimiser.zero_grad()
        seen.loss().mean().backward()
        optimiser.step()
    assert shares[-1] > shares[0] + 0.1
