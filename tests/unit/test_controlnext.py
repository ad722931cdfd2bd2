"""ControlNeXt: sizes follow the weights, and the injection follows the activation's statistics."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from amadapter_core.controlnext import ControlNeXt, cross_normalise, sinusoidal


def test_published_network_has_the_published_size() -> None:
    assert sum(p.numel() for p in ControlNeXt().parameters()) == 3_526_400


@pytest.mark.parametrize("size", [(64, 64), (72, 40)])
def test_feature_map_is_an_eighth_of_the_picture(size: tuple[int, int]) -> None:
    net = ControlNeXt(out_channels=32, stem=(8, 8, 16), stages=(16, 32), time_channels=(16, 32))
    out = net(torch.rand(2, 3, *size), torch.tensor([500]))
    assert out.shape == (2, 32, size[0] // 8, size[1] // 8)


def test_sizes_are_read_from_the_weights() -> None:
    net = ControlNeXt(out_channels=48, stem=(8, 16, 32), stages=(32, 64), time_channels=(24, 40)).eval()
    copy = ControlNeXt.from_state_dict(net.state_dict()).eval()
    x, t = torch.rand(1, 3, 32, 32), torch.tensor([3])
    assert torch.equal(net(x, t), copy(x, t))


def test_a_missing_key_is_refused() -> None:
    weights = ControlNeXt(32).state_dict()
    del weights["mid_convs.0.0.bias"]
    with pytest.raises(RuntimeError, match=r"mid_convs\.0\.0\.bias"):
        ControlNeXt.from_state_dict(weights)


def test_layers_come_from_the_host() -> None:
    class Operations:
        made: list[str] = []

        def __getattr__(self, name: str):
            self.made.append(name)
            return getattr(nn, name)

    operations = Operations()
    ControlNeXt(32, operations=operations)
    assert set(operations.made) == {"Conv2d", "GroupNorm", "Linear"}


def test_feature_depends_on_the_timestep_of_each_item() -> None:
    net = ControlNeXt(32).eval()
    x = torch.rand(1, 3, 32, 32).expand(2, -1, -1, -1)
    both = net(x, torch.tensor([1, 900]))
    assert torch.allclose(both[1:], net(x[:1], torch.tensor([900])), atol=1e-5)
    assert not torch.allclose(both[0], both[1], atol=1e-3)


def test_sinusoidal_embedding_starts_with_cosines() -> None:
    embedding = sinusoidal(torch.tensor([0]), 8)
    assert embedding.tolist() == [[1, 1, 1, 1, 0, 0, 0, 0]]


def test_injection_has_the_samples_statistics_and_doubles_its_mean() -> None:
    sample = torch.randn(2, 4, 6, 5) * 3 + 1
    control = torch.randn(2, 4, 12, 10) * 0.1 - 5
    added = cross_normalise(sample, control) - sample
    for item, reference in zip(added, sample, strict=True):
        assert item.mean().item() == pytest.approx(reference.mean().item(), abs=1e-4)
        assert item.std().item() == pytest.approx(reference.std().item(), rel=1e-3)


def test_injection_normalises_each_item_alone_and_leaves_its_input_alone() -> None:
    sample, control = torch.randn(3, 4, 6, 6), torch.randn(1, 4, 6, 6)
    before = sample.clone()
    whole = cross_normalise(sample, control, 0.7)
    assert torch.equal(sample, before)
    alone = torch.cat([cross_normalise(item[None], control, 0.7) for item in sample])
    assert torch.allclose(whole, alone, atol=1e-6)


def test_injection_of_a_constant_feature_is_finite_in_half_precision() -> None:
    out = cross_normalise(torch.randn(1, 4, 8, 8).half(), torch.ones(1, 4, 8, 8).half())
    assert out.dtype == torch.float16 and bool(out.isfinite().all())
