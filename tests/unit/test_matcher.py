"""The matcher: one folded convolution is the published two, chunks leave no trace, weights load strictly."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from amadapter_core.matcher import BLOCKS, Encoder, Matcher, PairConv


def published_form(encoder: Encoder, cost: Tensor) -> Tensor:
    """Two convolutions a layer, group normalisation over everything: [Nq, C, h, w]."""
    for conv, norm in encoder.conv4d:
        cost = conv.query_conv(cost) + conv.supp_conv(cost)
        whole = F.group_norm(cost.transpose(0, 1)[None], 1, norm.weight, norm.bias, norm.eps)
        cost = F.relu(whole[0].transpose(0, 1))
    return cost


@pytest.fixture
def matcher() -> Matcher:
    torch.manual_seed(0)
    net = Matcher()
    for name, parameter in net.named_parameters():
        if ".1." in name:  # norms: other than the identity they start as
            torch.nn.init.normal_(parameter, 1.0, 0.3)
    return net


def test_published_network_has_the_published_size() -> None:
    assert sum(p.numel() for p in Matcher().parameters()) == 39_744


def test_folded_convolution_is_the_sum_of_the_two() -> None:
    torch.manual_seed(0)
    conv, x = PairConv(5, 7, torch.nn), torch.randn(2, 5, 6, 9)
    weight, bias = conv.folded(x)
    folded = F.conv2d(x, weight, bias, padding=1)
    assert torch.allclose(folded, conv.query_conv(x) + conv.supp_conv(x), atol=1e-6)


@pytest.mark.parametrize("chunk", [1, 7, 16, 48])
def test_chunks_of_queries_leave_no_trace(matcher: Matcher, chunk: int) -> None:
    cost = torch.randn(48, 9, 6, 5) * 2
    expected = published_form(matcher.encoders[0], cost)
    with torch.inference_mode():
        refined = torch.cat(matcher.encoders[0](c.clone() for c in cost.split(chunk)))
    assert (refined - expected).abs().max() <= 5e-6
    with torch.inference_mode():
        whole = torch.cat(matcher.encoders[0]([cost.clone()]))
    assert (refined - whole).abs().max() <= 1e-6 * whole.max()


def test_gradients_reach_both_convolutions_and_are_those_of_the_published_form(matcher: Matcher) -> None:
    cost, weight = torch.randn(12, 9, 4, 4), torch.randn(12, 8, 4, 4)
    encoder = matcher.encoders[0]

    def gradients(out: Tensor) -> list[Tensor]:
        return torch.autograd.grad((out * weight).sum(), list(encoder.parameters()))

    ours = gradients(torch.cat(encoder(cost.split(5))))
    theirs = gradients(published_form(encoder, cost))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-3)
    assert encoder.conv4d[0][0].query_conv.weight.grad is None  # autograd.grad leaves nothing behind


def test_inference_does_not_change_its_input(matcher: Matcher) -> None:
    cost = torch.randn(1, 9, 3, 3, 4, 4)
    before = cost.clone()
    with torch.inference_mode():
        matcher(cost)
    assert torch.equal(cost, before)


def test_items_of_a_batch_do_not_meet(matcher: Matcher) -> None:
    cost = torch.randn(2, 9, 4, 3, 5, 4)
    assert torch.equal(matcher(cost)[1:], matcher(cost[1:]))


def test_encoder_is_the_first_unless_chosen_by_block(matcher: Matcher) -> None:
    cost = torch.randn(1, 9, 3, 3, 4, 4)
    as_published = [matcher(cost, block) for block in BLOCKS]
    assert torch.equal(as_published[0], as_published[2])
    matcher.by_block = True
    assert not torch.equal(matcher(cost, BLOCKS[0]), matcher(cost, BLOCKS[2]))
    with pytest.raises(ValueError, match="expected one of down_blocks, mid_block, up_blocks"):
        matcher(cost, "input")


def test_heads_and_widths_are_read_from_the_weights() -> None:
    net = Matcher(heads=4, widths=(8, 12))
    copy = Matcher.from_state_dict(net.state_dict())
    assert (copy.heads, copy.widths) == (4, (8, 12))
    cost = torch.randn(1, 5, 2, 2, 3, 3)
    assert torch.equal(net(cost), copy(cost))


def test_a_cost_of_another_head_count_is_refused(matcher: Matcher) -> None:
    with pytest.raises(ValueError, match="6 channels, expected 9"):
        matcher(torch.randn(1, 6, 2, 2, 3, 3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near(matcher: Matcher, dtype: torch.dtype) -> None:
    cost = torch.randn(1, 9, 6, 6, 6, 6)
    with torch.inference_mode():
        expected, refined = matcher(cost), matcher.to(dtype)(cost.to(dtype))
    assert refined.dtype == dtype
    assert (refined.float() - expected).abs().max() <= 0.05 * expected.max()
