"""The share of attention that lands right, observed on diffusers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from amadapter_core.exemplar import Exemplar, Trajectory
from amadapter_core.hosts.diffusers import Augmentation, NoiseSchedule, Sites, Source
from amadapter_core.matching import Mode, SpatialMatching
from amadapter_core.metrics import MatchShare
from amadapter_core.sites import Look, Site

from .conftest import CONTEXT, labels

TARGET = labels([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 2, 2], [2, 2, 2, 2]])
EXEMPLAR = labels([[1, 1, 0, 0], [1, 1, 0, 0], [2, 2, 2, 2], [2, 2, 2, 2]])
SCHEDULE = NoiseSchedule(DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"))


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def source() -> Source:
    trajectory = Trajectory.forward_noise(random(1, 4, 8, 8, seed=5), torch.Generator().manual_seed(5))
    return Source(Exemplar(trajectory, EXEMPLAR), random(1, 7, CONTEXT, seed=6))


def call(unet: Any, mode: Mode, parts: dict, observer: Any = None, *, guided: bool = True, rows: int = 4) -> Tensor:
    matching = SpatialMatching(TARGET.ids, [EXEMPLAR.ids], mode, matcher=parts["matcher"])
    augmentation = Augmentation(unet, SCHEDULE, matching, [source()], guided=guided, observer=observer)
    with augmentation.attached():
        return unet(random(rows, 4, 8, 8), 501, random(rows, 7, CONTEXT, seed=2)).sample


@torch.no_grad()
@pytest.mark.parametrize("mode", list(Mode))
def test_observing_changes_nothing_and_sees_conditional_rows_at_every_site(mode: Mode, parts: dict, unet) -> None:
    seen: list[tuple[Site, Look, int]] = []

    def observe(site: Site, look: Look, q: Tensor, *_: Any) -> None:
        seen.append((site, look, len(q)))

    assert torch.equal(call(unet, mode, parts, observe), call(unet, mode, parts))
    assert len(seen) == len(set(Sites(unet))) and {site for site, _, _ in seen} == set(Sites(unet))
    assert {rows for _, _, rows in seen} == {2}
    assert all(look.target == (8, 8) and look.exemplars == [(8, 8)] for _, look, _ in seen)


@torch.no_grad()
def test_shares_of_the_modes(parts: dict, unet) -> None:
    shares = {}
    for mode in (Mode.IMPLICIT, Mode.CATEGORICAL):
        shares[mode] = MatchShare(TARGET.ids, EXEMPLAR.ids, blocks=["up_blocks"])
        call(unet, mode, parts, shares[mode], guided=False, rows=2)
    assert shares[Mode.CATEGORICAL].class_share == pytest.approx([1, 1], abs=1e-5)
    implicit = shares[Mode.IMPLICIT]
    assert all(0.2 < share < 0.8 for share in implicit.class_share.tolist())
    assert implicit.class_share[0] != implicit.class_share[1]
    assert all(name.startswith("up_blocks") for name in implicit.by_site)
