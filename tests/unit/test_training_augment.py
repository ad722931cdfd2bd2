"""Augmentation: picture, label map and materials stay together; colours change alike where they have to."""

from __future__ import annotations

import numpy as np
import pytest

from amadapter_core.training.augment import ColourChange, central, crop, flip, resize
from amadapter_core.training.pairs import Example


def example(h: int = 40, w: int = 60) -> Example:
    """Every pixel tells where it was: red its row, green its column, as ids and materials do."""
    rows, columns = np.mgrid[:h, :w]
    image = np.stack([rows, columns, np.zeros_like(rows)], -1).astype(np.uint8)
    return Example(image, rows.astype(np.uint8), "x", "", columns.astype(np.int16))


def together(x: Example) -> bool:
    return bool((x.image[..., 0] == x.ids).all() and (x.image[..., 1] == x.materials).all())


def test_a_crop_takes_picture_ids_and_materials_from_one_place() -> None:
    places = set()
    for seed in range(20):
        part = crop(example(), (16, 24), np.random.default_rng(seed))
        assert part.ids.shape == (16, 24) and together(part)
        places.add((part.ids[0, 0], part.materials[0, 0]))
    assert len(places) > 10


def test_a_crop_of_the_whole_size_is_the_whole() -> None:
    part = crop(example(), (40, 60), np.random.default_rng(0))
    assert (part.image == example().image).all()


def test_the_central_crop_is_in_the_middle() -> None:
    part = central(example(), (20, 30))
    assert together(part) and (part.ids[0, 0], part.materials[0, 0]) == (10, 15)


def test_a_flip_mirrors_left_and_right_and_twice_is_nothing() -> None:
    once = flip(example())
    assert together(once) and once.materials[0, 0] == 59 and once.ids[0, 0] == 0
    assert (flip(once).image == example().image).all()


@pytest.mark.parametrize(
    ("short_side", "size", "expected"),
    [(20, (20, 20), (20, 30)), (80, (64, 64), (80, 120)), (20, (20, 45), (30, 45)), (40, (40, 40), (40, 60))],
)
def test_the_short_side_is_resized_and_a_crop_always_fits(short_side, size, expected) -> None:
    resized = resize(example(), short_side, size)
    assert resized.image.shape[:2] == resized.ids.shape == resized.materials.shape == expected


def test_resizing_invents_no_ids() -> None:
    ids = np.random.default_rng(0).choice([3, 200], (40, 60)).astype(np.uint8)
    resized = resize(Example(example().image, ids, "x"), 17, (8, 8))
    assert set(np.unique(resized.ids)) <= {3, 200}


def test_one_change_of_colours_does_the_same_to_every_picture() -> None:
    """What an exemplar and a target have in common they have in common afterwards."""
    rng = np.random.default_rng(5)
    a, b = (rng.integers(0, 256, (8, 8, 3), dtype=np.uint8) for _ in "ab")
    b[2:5, 1:4] = a[0, 0]
    change = ColourChange.draw(np.random.default_rng(1), 1.0)
    assert (change(b)[2:5, 1:4] == change(a)[0, 0]).all()
    assert not (change(a) == a).all()


def test_strength_zero_changes_nothing_and_more_changes_more() -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)

    def moved(strength: float) -> float:
        changes = [ColourChange.draw(np.random.default_rng(seed), strength) for seed in range(10)]
        return float(np.mean([np.abs(change(image).astype(int) - image).mean() for change in changes]))

    assert moved(0.0) == 0 and 0 < moved(0.2) < moved(1.0)


def test_grey_stays_grey_under_hue_and_saturation() -> None:
    change = ColourChange.draw(np.random.default_rng(3), 1.0)
    grey = np.full((1, 3), 100.0) @ (change.matrix / change.matrix.sum(1, keepdims=True)).T
    assert np.allclose(grey, 100.0, atol=1e-3)
