"""Appearance: exact CIELAB, distances that are 0, known or unchanged where they must be."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from amadapter_core.metrics import compare_appearance, lab
from amadapter_core.metrics.appearance import bures
from amadapter_core.metrics.texture import distance, octaves, responses


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def quarters(size: int = 64) -> Tensor:
    """Four classes, 1 to 4, one per quarter: [1, size, size]."""
    ids = torch.ones(1, size, size, dtype=torch.long)
    ids[:, :, size // 2 :] += 1
    ids[:, size // 2 :] += 2
    return ids


def srgb(colours: Tensor) -> Tensor:
    """CIELAB [3, ...] to sRGB by the textbook's formulas with their rounded constants: independent of `lab`."""
    L, a, b = colours.double().unbind(0)
    fy = (L + 16) / 116
    f = torch.stack([fy + a / 500, fy, fy - b / 200])
    white = torch.tensor([0.95047, 1.0, 1.08883]).double().view(3, *[1] * (f.ndim - 1))
    xyz = torch.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * white
    matrix = torch.tensor(
        [
            [3.2404542, -1.5371385, -0.4985314],
            [-0.9692660, 1.8760108, 0.0415560],
            [0.0556434, -0.2040259, 1.0572252],
        ]
    ).double()
    linear = torch.einsum("ij,j...->i...", matrix, xyz)
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp_min(0) ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        ((255, 255, 255), (100.0, 0.0, 0.0)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((255, 255, 0), (97.14, -21.55, 94.48)),
        ((119, 119, 119), (50.03, 0.0, 0.0)),
        ((128, 64, 32), (34.72, 25.00, 31.37)),
        ((3, 2, 1), (0.587, 0.122, 0.471)),  # on the straight part of both curves
    ],
)
def test_lab_is_that_of_the_books(colour: tuple[int, ...], expected: tuple[float, ...]) -> None:
    found = lab(torch.tensor(colour).view(3, 1, 1) / 255).flatten()
    assert found.tolist() == pytest.approx(expected, abs=0.012)


def test_grey_has_no_hue_at_all() -> None:
    greys = torch.linspace(0, 1, 256, dtype=torch.float64).expand(3, 1, 256)
    assert lab(greys)[1:].abs().max() < 1e-12


def test_identical_pictures_differ_by_nothing() -> None:
    images, ids = random(2, 3, 64, 64), quarters()
    for item in compare_appearance(images, ids, images, ids, corresponding=True):
        assert item.colour == item.texture == item.pixel == 0
        assert item.distribution < 1e-5
        assert list(item.classes) == [1, 2, 3, 4]


@settings(max_examples=20, deadline=None)
@given(shift=st.tuples(*[st.floats(-15, 15)] * 3), seed=st.integers(0, 99))
def test_a_shift_of_colours_is_found_as_it_was_made(shift: tuple[float, ...], seed: int) -> None:
    """Moved in CIELAB, where a move changes nothing but the mean, as far as it stays among sRGB's colours."""
    base = torch.tensor([50.0, 0.0, 0.0]).view(3, 1, 1) + 8 * (random(3, 64, 64, seed=seed) - 0.5)
    moved = base + torch.tensor(shift).view(3, 1, 1)
    images, references = (srgb(x)[None].float() for x in (moved, base))
    assume(bool(((images >= 0) & (images <= 1)).all()))
    (found,) = compare_appearance(images, quarters(), references, quarters(), corresponding=True)
    expected = math.dist(shift, (0, 0, 0))
    assert found.colour == pytest.approx(expected, abs=0.05)
    assert found.distribution == pytest.approx(expected, abs=0.05)
    assert found.pixel == pytest.approx(expected, abs=0.05)
    assert found.texture < 0.05


def test_one_class_moved_is_that_class_s_error_and_its_share_of_the_mean() -> None:
    base = torch.full((3, 64, 64), 0.0)
    base[0] = 50
    moved = base.clone()
    moved[1, 32:, 32:] = 12.0
    (found,) = compare_appearance(srgb(moved)[None].float(), quarters(), srgb(base)[None].float(), quarters())
    assert found.classes[4].colour == pytest.approx(12, abs=0.05)
    assert max(found.classes[label].colour for label in (1, 2, 3)) < 1e-4
    assert found.colour == pytest.approx(3, abs=0.02)
    assert found.pixel is None and found.classes[4].pixel is None


def test_shuffling_a_class_keeps_its_colours_and_changes_its_texture() -> None:
    ids = quarters()
    image = srgb(torch.stack([torch.full((64, 64), v) for v in (50.0, 0.0, 0.0)]))[None].float()
    image[..., ::8, :] = 0.9  # stripes
    shuffled = image.clone()
    for label in (1, 2, 3, 4):
        mask = ids[0] == label
        order = torch.randperm(int(mask.sum()), generator=torch.Generator().manual_seed(label))
        shuffled[0][:, mask] = image[0][:, mask][:, order]
    (found,) = compare_appearance(shuffled, ids, image, ids)
    assert found.colour < 1e-3 and found.distribution < 1e-2
    assert found.texture > 1


def test_texture_tells_the_direction_and_the_width_of_stripes() -> None:
    def stripes(period: int, axis: int) -> Tensor:
        wave = (torch.arange(64) // (period // 2) % 2).float() * 0.3 + 0.3
        return (wave[:, None] if axis == 0 else wave[None]).expand(1, 3, 64, 64).contiguous()

    ids = torch.zeros(1, 64, 64, dtype=torch.long)

    def texture(first: Tensor, second: Tensor) -> float:
        return compare_appearance(first, ids, second, ids)[0].texture

    elsewhere = texture(stripes(8, 0).roll(3, 2), stripes(8, 0))  # not 0: the border cuts them elsewhere
    assert texture(stripes(8, 1), stripes(8, 0)) > 2.5 * elsewhere
    assert texture(stripes(16, 0), stripes(8, 0)) > 1.5 * elsewhere


def test_texture_grows_with_contrast_and_a_flat_class_answers_nothing() -> None:
    mask = torch.zeros(40, 40, dtype=torch.bool)
    mask[5:35, 8:30] = True
    flat, noise = torch.full((3, 40, 40), 7.0), random(3, 40, 40)
    flat[:, ~mask] = 90.0  # what lies beyond the class is not seen
    assert all(r.values.abs().max() < 1e-4 for r in responses(flat, mask, 2))
    one, two, none = (responses(factor * noise, mask, 2) for factor in (1, 2, 0))
    assert distance(two, none) == pytest.approx(2 * distance(one, none), rel=1e-5)
    assert distance(one, two) == pytest.approx(distance(one, none), rel=1e-5)


def test_octaves_follow_the_size() -> None:
    sizes = [(16, 16), (32, 32), (128, 128), (512, 256), (512, 512), (100, 3000)]
    assert [octaves(size) for size in sizes] == [1, 1, 3, 4, 5, 2]


def test_bures_distance_of_commuting_gaussians_is_that_of_their_deviations() -> None:
    first, second = torch.diag(torch.tensor([4.0, 9.0, 0.0])), torch.diag(torch.tensor([1.0, 16.0, 25.0]))
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    assert bures(first, second) == pytest.approx(1 + 1 + 25)
    assert bures(turn @ first.double() @ turn.T, turn @ second.double() @ turn.T) == pytest.approx(27)


def test_the_spread_of_colours_counts_beside_their_mean() -> None:
    noise = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
    grey = torch.tensor([50.0, 0.0, 0.0]).view(3, 1, 1)
    images, references = (srgb(grey + factor * noise)[None].float() for factor in (6, 2))
    ids = torch.zeros(1, 64, 64, dtype=torch.long)
    (found,) = compare_appearance(images, ids, references, ids)
    assert found.colour < 0.3
    assert found.distribution == pytest.approx(4 * math.sqrt(3), rel=0.05)


def test_classes_below_half_a_percent_or_absent_from_one_do_not_count() -> None:
    ids = torch.zeros(1, 40, 50, dtype=torch.long)
    ids[0, 0, :9] = 1  # 9 of 2000 pixels
    ids[0, 1, :10] = 2  # 10 of 2000
    ids[0, 2, :20] = 3
    reference_ids = ids.clone()
    reference_ids[reference_ids == 3] = 4
    images = random(1, 3, 40, 50)
    assert list(compare_appearance(images, ids, images, reference_ids)[0].classes) == [0, 2]
    assert list(compare_appearance(images, ids, images, reference_ids, ignore=0)[0].classes) == [1, 2]
    (found,) = compare_appearance(images, ids, images, torch.full_like(ids, 7))
    assert math.isnan(found.colour) and math.isnan(found.texture)


def test_an_exemplar_may_have_another_layout_and_another_size() -> None:
    image = torch.zeros(1, 3, 64, 64)
    image[..., 32:] = 0.8
    ids = torch.ones(1, 64, 64, dtype=torch.long)
    ids[..., 32:] = 2
    exemplar, exemplar_ids = image.flip(3).repeat_interleave(2, 2).repeat_interleave(2, 3), ids.flip(2)
    (found,) = compare_appearance(image, ids, exemplar, exemplar_ids)
    assert found.colour < 1.5  # resized smoothly, so a little of the border mixes
    assert compare_appearance(image, ids, exemplar, ids.clone())[0].colour > 50


def test_one_reference_and_one_label_map_serve_a_batch() -> None:
    images, ids = random(3, 3, 32, 32), quarters(32)
    together = compare_appearance(images, ids, images[:1], ids)
    alone = [compare_appearance(image[None], ids, images[:1], ids)[0] for image in images]
    assert together == alone and together[0].colour == 0 < together[1].colour


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.zeros(1, 32, 32, 3)}, r"images must be float \[B, 3, H, W\].*got \[1, 32, 32, 3\]"),
        ({"references": torch.full((1, 3, 32, 32), math.nan)}, "3072 of 3072 values of references are NaN"),
        ({"ids": torch.zeros(2, 32, 32).long()}, "ids of batch 2 cannot serve 1 results; give 1 or 1"),
        ({"reference_ids": torch.zeros(1, 32, 32)}, "reference_ids must be integers"),
        ({"references": torch.zeros(1, 3, 16, 16), "corresponding": True}, "correspond only at the same size"),
        ({"least": 5}, "least is 5, expected a share"),
    ],
)
def test_what_does_not_fit_is_named(change: dict, message: str) -> None:
    ids = quarters(32)
    arguments = {"images": random(1, 3, 32, 32), "ids": ids, "references": random(1, 3, 32, 32), "reference_ids": ids}
    with pytest.raises(ValueError, match=f"^compare_appearance: .*{message}"):
        compare_appearance(**(arguments | change))
