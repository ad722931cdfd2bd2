"""Street scenes: what the two seeds decide, and what the maps of a scene say."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from amadapter_core.palettes import Palette
from amadapter_core.scenes import CLASS_NAMES, PALETTE, VOCABULARY, Material, Scene, scene
from amadapter_core.scenes.appearance import draw_appearance
from amadapter_core.scenes.layout import draw_layout
from amadapter_core.scenes.materials import CLASS_IDS

ROOT = Path(__file__).resolve().parents[2]
DIGEST = """
import hashlib, json
from amadapter_core.scenes import scene
drawn = [scene(layout, appearance, (64, 64)) for layout, appearance in ((3, 8), (12, 1), (2**40, 2**70))]
arrays = [(d.image, d.ids, d.instances, d.materials) for d in drawn]
print(json.dumps([[hashlib.sha256(a.tobytes()).hexdigest() for a in four] for four in arrays]))
"""


@cache
def drawn(layout: int, appearance: int, size: tuple[int, int] = (64, 64)) -> Scene:
    return scene(layout, appearance, size)


def material_colours(picture: Scene, least: int = 20) -> dict[int, np.ndarray]:
    """The mean colour of each material that has at least so many pixels."""
    found, counts = np.unique(picture.materials, return_counts=True)
    return {m: picture.image[picture.materials == m].mean(0) for m, n in zip(found, counts, strict=True) if n >= least}


def mean_distance(a: Scene, b: Scene) -> float:
    """How far apart the colours of the materials are that two scenes share, 0..255."""
    left, right = material_colours(a), material_colours(b)
    return float(np.mean([np.linalg.norm(left[m] - right[m]) for m in left.keys() & right.keys()]))


def test_a_scene_is_a_picture_with_three_maps_of_its_size() -> None:
    one = scene(1, 2, (48, 80))
    assert (one.image.shape, one.image.dtype) == ((48, 80, 3), np.uint8)
    for values, kind in ((one.ids, np.uint8), (one.instances, np.int32), (one.materials, np.int16)):
        assert (values.shape, values.dtype) == ((48, 80), kind)


def test_128_pixels_is_the_usual_size() -> None:
    assert scene(0, 0).image.shape == (128, 128, 3)


def test_seeds_draw_the_same_in_another_process() -> None:
    result = subprocess.run(
        [sys.executable, "-c", DIGEST],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "77", "PATH": "", "OMP_NUM_THREADS": "1"},
    )
    here = [
        [hashlib.sha256(a.tobytes()).hexdigest() for a in (s.image, s.ids, s.instances, s.materials)]
        for s in (drawn(3, 8), drawn(12, 1), drawn(2**40, 2**70))
    ]
    assert json.loads(result.stdout) == here


def test_what_a_layout_s_seed_draws_stays_as_it_is() -> None:
    # Models and tables are made with these streets: who changes them on purpose trains and measures anew.
    digest = hashlib.sha256()
    for seed in range(5):
        sketch = draw_layout(seed).sketch
        for outline, material, instance in zip(sketch.outlines, sketch.materials, sketch.instances, strict=True):
            digest.update(
                json.dumps([[[round(v, 4) for v in point] for point in outline], material, instance]).encode()
            )
    assert digest.hexdigest()[:16] == "dea08ff4d988ebd2"


def test_what_an_appearance_s_seed_draws_stays_as_it_is() -> None:
    colours_then = [
        [129.92, 140.06, 136.56],
        [146.96, 148.31, 140.03],
        [154.53, 141.56, 139.85],
        [129.75, 129.18, 128.34],
    ]
    colours = np.stack([scene(0, seed, (64, 64)).image.mean((0, 1)) for seed in range(4)])
    assert colours == pytest.approx(np.array(colours_then), abs=0.5)


@pytest.mark.parametrize("layout", [0, 7, 19])
def test_a_layout_is_the_same_bit_for_bit_in_every_appearance(layout: int) -> None:
    first = drawn(layout, 0)
    for appearance in range(1, 6):
        other = drawn(layout, appearance)
        assert (other.image != first.image).any()
        assert np.array_equal(other.ids, first.ids)
        assert np.array_equal(other.instances, first.instances)
        assert np.array_equal(other.materials, first.materials)


def test_an_appearance_gives_materials_the_same_colours_in_every_layout() -> None:
    for appearance in range(12):
        same = [mean_distance(drawn(0, appearance), drawn(layout, appearance)) for layout in range(1, 6)]
        other = [mean_distance(drawn(0, appearance), drawn(layout, appearance + layout)) for layout in range(1, 6)]
        assert np.mean(same) < 0.5 * np.mean(other), f"appearance {appearance}: {np.mean(same)}, {np.mean(other)}"


def test_layout_and_appearance_of_one_number_have_nothing_in_common() -> None:
    # Where the horizon is should not tell how bright the sky is.
    horizons, brightness = zip(
        *((draw_layout(n).camera.vanishing[1], np.mean(draw_appearance(n).sky)) for n in range(200)), strict=True
    )
    assert abs(np.corrcoef(horizons, brightness)[0, 1]) < 0.2


def test_every_class_is_large_enough_in_most_layouts() -> None:
    palette = Palette.load(PALETTE)
    shares = np.stack(
        [np.bincount(drawn(layout, 0).ids.ravel(), minlength=256) / drawn(layout, 0).ids.size for layout in range(50)]
    )
    assert shares[:, list(palette.ids)].sum() == pytest.approx(50)
    seen = {name: float((shares[:, palette.id_of(name)] >= 0.005).mean()) for name in CLASS_NAMES}
    assert {name for name, share in seen.items() if share < 0.75} == set(), seen
    assert set(np.flatnonzero(shares.sum(0))) == {palette.id_of(name) for name in CLASS_NAMES}


def test_signs_people_and_poles_are_wide_enough_to_be_seen_at_128_pixels() -> None:
    widest: dict[str, list[int]] = {"traffic sign": [], "person": [], "pole": []}
    palette = Palette.load(PALETTE)
    for layout in range(20):
        one = drawn(layout, 0, (128, 128))
        for name, widths in widest.items():
            mine = one.ids == palette.id_of(name)
            rows = [(one.instances == n) & mine for n in np.unique(one.instances[mine])]
            widths.append(max((int(np.median(row.sum(1)[row.any(1)])) for row in rows), default=0))
    assert np.median(widest["traffic sign"]) >= 8
    assert np.median(widest["person"]) >= 6
    assert np.median(widest["pole"]) >= 2


def test_materials_refine_the_classes() -> None:
    for layout in range(10):
        one = drawn(layout, 0)
        assert np.array_equal(CLASS_IDS[one.materials], one.ids)


def test_a_material_s_number_does_not_change() -> None:
    # Saved scenes hold these numbers.
    assert [Material.SKY, Material.ROAD, Material.PAINT_0, Material.SIGN_SYMBOL] == [0, 1, 32, 52]


def test_both_looks_of_houses_cars_and_clothes_occur_on_both_sides() -> None:
    sides: dict[Material, set[str]] = {}
    for layout in range(40):
        one = drawn(layout, 0)
        for part in (Material.WALL_0, Material.PAINT_0, Material.TOP_0):
            for material in (part, part.slot(1)):
                columns = np.flatnonzero((one.materials == material).any(0))
                if len(columns):
                    sides.setdefault(material, set()).add("left" if columns.mean() < 32 else "right")
    assert all(found == {"left", "right"} for found in sides.values()) and len(sides) == 6


def test_objects_have_numbers_of_their_own_and_the_ground_and_sky_have_none() -> None:
    palette = Palette.load(PALETTE)
    ground = [palette.id_of(name) for name in ("sky", "road", "sidewalk", "terrain")]
    things = [palette.id_of(name) for name in ("car", "person", "pole", "traffic sign", "building")]
    for layout in range(10):
        one = drawn(layout, 0)
        assert not one.instances[np.isin(one.ids, ground)].any()
        assert (one.instances[np.isin(one.ids, things)] > 0).all()
        for number in np.unique(one.instances)[1:]:
            assert len(np.unique(one.ids[one.instances == number])) == 1


def test_a_larger_picture_shows_the_same_scene() -> None:
    for layout in range(8):
        small, large = drawn(layout, 0, (128, 128)), drawn(layout, 0, (256, 256))
        assert (large.ids[::2, ::2] == small.ids).mean() > 0.95
        assert (large.materials[::2, ::2] == small.materials).mean() > 0.9
        reduced = large.image.reshape(128, 2, 128, 2, 3).mean((1, 3))
        assert np.abs(reduced - small.image).mean() < 8


@pytest.mark.parametrize(("size", "rows", "columns"), [((64, 128), 0, 32), ((128, 64), 32, 0), ((64, 90), 0, 13)])
def test_a_wider_or_taller_picture_shows_more_around_the_same_square(
    size: tuple[int, int], rows: int, columns: int
) -> None:
    square, other = drawn(5, 3), drawn(5, 3, size)
    assert np.array_equal(other.ids[rows : rows + 64, columns : columns + 64], square.ids)
    assert np.array_equal(other.instances[rows : rows + 64, columns : columns + 64], square.instances)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (32, 400), (400, 32), (100, 300)])
def test_any_size_and_aspect_can_be_drawn(size: tuple[int, int]) -> None:
    for number in range(6):
        assert scene(number, number, size).image.shape == (*size, 3)


@pytest.mark.parametrize("size", [(31, 64), (64, 0), (64,), (64.0, 64), (64, 64, 3), (True, 64)])
def test_another_size_is_refused_with_what_is_expected(size: tuple) -> None:
    with pytest.raises(ValueError, match="scene: size .* at least 32"):
        scene(0, 0, size)


@pytest.mark.parametrize(
    ("layout", "appearance", "name"), [(-1, 0, "layout"), (0, 1.5, "appearance"), (True, 0, "layout")]
)
def test_a_seed_that_is_none_is_refused_by_its_name(layout: int, appearance: int, name: str) -> None:
    with pytest.raises(ValueError, match=f"scene: {name} must be an integer from 0"):
        scene(layout, appearance)


def test_captions_say_time_and_weather_in_the_words_of_the_vocabulary() -> None:
    captions = {draw_appearance(seed).caption for seed in range(200)}
    assert {word for caption in captions for word in caption.split()} == set(VOCABULARY)
    assert len(captions) >= 12
    assert scene(0, 5, (32, 32)).caption == draw_appearance(5).caption == "a street at night in the rain"


def test_night_is_darker_than_day() -> None:
    looks = {name: [seed for seed in range(60) if draw_appearance(seed).time == name] for name in ("day", "night")}
    means = {name: [drawn(0, seed).image.mean() for seed in seeds[:8]] for name, seeds in looks.items()}
    assert max(means["night"]) < min(means["day"])
