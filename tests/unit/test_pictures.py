"""The row of panels that people look at."""

from __future__ import annotations

import pytest
import torch

from amadapter_core.label_maps import LabelMap, Palette
from amadapter_core.pictures import triplet

PALETTE = Palette("two", "test", ("left", "right"), (0, 1), ((200, 0, 0), (0, 0, 200)))
LABELS = LabelMap(torch.tensor([[[0, 1]]]), PALETTE)


def grey(value: float, batch: int = 1, size: tuple[int, int] = (20, 30)) -> torch.Tensor:
    return torch.full((batch, *size, 3), value)


def colours_of(picture: torch.Tensor) -> set[tuple[int, ...]]:
    return {tuple(c) for c in (picture.flatten(0, -2) * 255).round().int().unique(dim=0).tolist()}


def test_panels_stand_in_order_at_one_height_with_margins_around() -> None:
    row = triplet(grey(0.2), LABELS, grey(0.8, size=(10, 10)), captions=False, height=64)
    widths, margin = [96, 128, 64], 4
    assert row.shape == (1, 64 + 2 * margin, sum(widths) + 4 * margin, 3)
    middle = row[0, margin + 32]
    assert middle[margin + 48].tolist() == pytest.approx([0.2] * 3, abs=0.003)
    assert middle[2 * margin + 96 + 32].tolist() == pytest.approx([200 / 255, 0, 0])
    assert middle[2 * margin + 96 + 96].tolist() == pytest.approx([0, 0, 200 / 255])
    assert middle[3 * margin + 224 + 32].tolist() == pytest.approx([0.8] * 3, abs=0.003)


def test_label_maps_are_scaled_without_mixing_colours() -> None:
    many = LabelMap(torch.arange(7 * 9).reshape(1, 7, 9) % 2, PALETTE)
    row = triplet(grey(1.0), many, grey(1.0), captions=False, height=50)
    assert colours_of(row) == {(200, 0, 0), (0, 0, 200), (255, 255, 255), (200, 200, 200)}


def test_the_exemplar_s_labels_are_a_fourth_panel_after_it() -> None:
    right = LabelMap(torch.ones(1, 1, 1, dtype=torch.long), PALETTE)
    row = triplet(
        grey(0.2, size=(8, 8)), LABELS, grey(0.8, size=(8, 8)), exemplar_labels=right, captions=False, height=64
    )
    assert row.shape[2] == 64 * 3 + 128 + 5 * 4
    assert row[0, 36, 2 * 4 + 64 + 32].tolist() == pytest.approx([0, 0, 200 / 255])


def test_captions_take_a_band_above_and_leave_the_panels_alone() -> None:
    bare = triplet(grey(0.2), LABELS, grey(0.8), captions=False, height=128)[0]
    named = triplet(grey(0.2), LABELS, grey(0.8), captions=True, height=128)[0]
    band = len(named) - len(bare)
    assert 8 < band < 32
    assert torch.equal(named[band + 3 :], bare[3:])
    assert float(named[: band + 2].min()) < 0.4 < 0.99 < float(bare[:2].min())


def test_every_result_has_a_row_and_single_parts_are_repeated() -> None:
    results = torch.cat([grey(0.3), grey(0.6), grey(0.9)])
    rows = triplet(grey(0.2), LABELS, results, height=64)
    assert len(rows) == 3 and rows.dtype == torch.float32
    alone = [triplet(grey(0.2), LABELS, result[None], height=64)[0] for result in results]
    assert torch.equal(rows, torch.stack(alone))


def test_parts_of_another_batch_are_refused() -> None:
    with pytest.raises(ValueError, match="exemplar of batch 2 cannot stand beside 3 results; give 1 or 3"):
        triplet(grey(0.2, batch=2), LABELS, grey(0.8, batch=3))


def test_values_beyond_the_range_are_cut_and_a_fourth_channel_is_left_out() -> None:
    result = torch.full((1, 8, 8, 4), 1.7)
    assert float(triplet(grey(-1.0), LABELS, result, captions=False, height=64).max()) == 1


@pytest.mark.parametrize("image", [torch.ones(8, 8, 3), torch.ones(1, 8, 8, 1), torch.ones(1, 8, 8, 3).int()])
def test_what_is_no_picture_is_refused_by_name(image: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="result must be float"):
        triplet(grey(0.2), LABELS, image)


def test_a_narrow_panel_still_has_a_height() -> None:
    assert triplet(grey(0.2, size=(400, 1)), LABELS, grey(0.8), height=64).shape[1] > 64
    with pytest.raises(ValueError, match="height"):
        triplet(grey(0.2), LABELS, grey(0.8), height=0)
