"""Noise by class: what is drawn anew, and that nothing else moves by a bit."""

from __future__ import annotations

import pytest
import torch

from amadapter_core.class_noise import ids_of, redrawn
from amadapter_core.generators.noise import Seeds, noise_by_class
from amadapter_core.label_maps import LabelMap, Palette

ROAD, CAR, SKY = 0, 13, 10
IDS = torch.tensor([[SKY, SKY, SKY, SKY], [CAR, ROAD, ROAD, CAR]]).repeat_interleave(8, 0).repeat_interleave(8, 1)
LABELS = LabelMap(IDS[None], Palette.load("cityscapes19"))
NOISE = torch.randn(2, 4, 4, 8, generator=torch.Generator().manual_seed(3))
CARS = (LABELS.resize(4, 8, "majority").ids == CAR).expand(2, 4, -1, -1)


def test_one_class_is_drawn_anew_and_the_rest_stays_bit_for_bit() -> None:
    before = NOISE.clone()
    drawn = redrawn(NOISE, LABELS, [CAR], 5)
    assert torch.equal(drawn[~CARS], NOISE[~CARS]) and not bool((drawn == NOISE)[CARS].any())
    assert torch.equal(NOISE, before)
    assert torch.equal(drawn, redrawn(NOISE, LABELS, [CAR], 5))
    assert not bool((drawn == redrawn(NOISE, LABELS, [CAR], 6))[CARS].any())


def test_a_draw_is_normal_and_its_own_for_each_item_and_class() -> None:
    labels = LabelMap(torch.cat([torch.zeros(32, 64), torch.full((32, 64), 13)]).long()[None], LABELS.palette)
    drawn = redrawn(torch.zeros(2, 4, 64, 64), labels, [ROAD, CAR], 5)
    assert abs(float(drawn.mean())) < 0.02 and abs(float(drawn.std()) - 1) < 0.02
    assert not bool((drawn[0] == drawn[1]).any()) and not bool((drawn[:, :, :32] == drawn[:, :, 32:]).any())


def test_a_class_keeps_its_draw_whichever_others_are_drawn() -> None:
    alone, both = redrawn(NOISE, LABELS, [CAR], 5), redrawn(NOISE, LABELS, [SKY, CAR], 5)
    assert torch.equal(alone[CARS], both[CARS])
    chained = redrawn(redrawn(NOISE, LABELS, [CAR], 5), LABELS, [SKY], 5)
    assert torch.equal(chained, both)


def test_it_is_the_noise_that_the_generators_draw() -> None:
    ids = LABELS.resize(4, 8, "majority").ids.expand(2, -1, -1)
    theirs = noise_by_class(ids, 4, Seeds(0, {CAR: 5}))
    assert torch.equal(redrawn(NOISE, LABELS, [CAR], 5)[CARS], theirs[CARS])


def test_an_item_keeps_its_noise_outside_of_its_batch() -> None:
    whole = redrawn(NOISE, LABELS, [CAR], 5)
    assert torch.equal(redrawn(NOISE[1:], LABELS, [CAR], 5, places=[1]), whole[1:])


def test_each_item_may_have_a_label_map_and_a_precision_of_its_own() -> None:
    both = LabelMap(torch.cat([LABELS.ids, torch.full_like(LABELS.ids, SKY)]), LABELS.palette)
    drawn = redrawn(NOISE.half(), both, [CAR], 5)
    assert drawn.dtype == torch.float16 and torch.equal(drawn[1], NOISE[1].half())
    assert torch.equal(drawn[0], redrawn(NOISE, LABELS, [CAR], 5)[0].half())


def test_a_class_that_is_not_there_changes_nothing() -> None:
    assert torch.equal(redrawn(NOISE, LABELS, [5], 5), NOISE)


def test_names_are_looked_up() -> None:
    assert ids_of(["Car", "0"], LABELS) == [CAR, ROAD]
    with pytest.raises(ValueError, match="no class is named; the label map has road, sky, car"):
        ids_of([], LABELS)
    with pytest.raises(ValueError, match="no class 'caar'"):
        ids_of(["caar"], LABELS)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[4, 4, 8\], expected that of pictures"):
        redrawn(NOISE[0], LABELS, [CAR], 5)
    with pytest.raises(ValueError, match="the latent is 8 x 4, its label map 16 x 32 .*aspect"):
        redrawn(NOISE.transpose(2, 3), LABELS, [CAR], 5)
    with pytest.raises(ValueError, match="batch 3 cannot broadcast to batch 2"):
        redrawn(NOISE, LABELS.expand(3), [CAR], 5)
