"""Regions of label maps: cut, filled, merged, painted."""

from __future__ import annotations

import pytest
import torch

from amadapter_core.label_maps import LabelMap, Palette
from amadapter_core.label_regions import SURROUNDINGS, cut, merge, nearest, paint, region_of

CITY, FACES = Palette.load("cityscapes19"), Palette.load("celebamaskhq19")
ROAD, BUILDING, SKY, CAR, NONE = 0, 2, 10, 13, 255


def street(*rows: list[int], palette: Palette = CITY, parts: list[list[int]] | None = None) -> LabelMap:
    refined = None if parts is None else LabelMap(torch.tensor([parts]), FACES)
    return LabelMap(torch.tensor([rows]), palette, parts=refined)


SCENE = street([SKY, SKY, SKY], [BUILDING, CAR, NONE], [ROAD, CAR, ROAD])


def test_a_region_is_told_by_classes_and_by_a_mask() -> None:
    lower = torch.tensor([[[0.0] * 3, [0.2] * 3, [0.5] * 3]])
    assert region_of(SCENE, ["Car", "0"]).int().tolist() == [[[0, 0, 0], [0, 1, 0], [1, 1, 1]]]
    assert region_of(SCENE, ["car"], lower).int().tolist() == [[[0, 0, 0], [0, 0, 0], [0, 1, 0]]]
    assert region_of(SCENE, (), lower).sum() == 3
    with pytest.raises(ValueError, match=r"mask is \[1, 2, 3\], the label map \[1, 3, 3\]"):
        region_of(SCENE, (), torch.zeros(1, 2, 3))


def test_a_region_and_the_rest_make_the_whole() -> None:
    piece, rest = cut(SCENE, region_of(SCENE, ["car"]), None)
    assert piece.names_present() == ["car"] and rest.names_present() == ["road", "building", "sky"]
    assert rest.ids[0, 1].tolist() == [BUILDING, NONE, NONE]
    assert torch.equal(merge(rest, piece).ids, SCENE.ids)


def test_a_gap_is_filled_with_a_class_or_with_the_nearest_that_stays() -> None:
    region = region_of(SCENE, ["car"])
    assert cut(SCENE, region, BUILDING)[1].ids[0, :, 1].tolist() == [SKY, BUILDING, BUILDING]
    filled = cut(SCENE, region, SURROUNDINGS)[1].ids[0]
    assert filled[2].tolist() == [ROAD, ROAD, ROAD] and filled[1, 1] in (SKY, BUILDING) and filled[1, 2] == NONE
    with pytest.raises(ValueError, match="covers all that has a class in picture 1 of 1, so there are no surroundings"):
        cut(SCENE, region_of(SCENE))


def test_nothing_cut_leaves_the_map_as_it_was() -> None:
    piece, rest = cut(SCENE, region_of(SCENE, ["bus"]))
    assert torch.equal(rest.ids, SCENE.ids) and piece.names_present() == []


def test_a_palette_without_an_ignored_id_gets_one_that_it_does_not_use() -> None:
    face = street([1, 13], palette=FACES)
    piece, rest = cut(face, region_of(face, ["hair"]), None)
    assert piece.ids.tolist() == [[[19, 13]]] and rest.ids.tolist() == [[[1, 19]]] and piece.ignore == 19
    assert merge(rest, piece).ids.tolist() == face.ids.tolist()


def test_parts_are_cut_filled_and_merged_with_their_pixels() -> None:
    scene = street([CAR, CAR, ROAD], parts=[[1, 2, 3]])
    piece, rest = cut(scene, region_of(scene, ["car"]))
    assert piece.part_ids.tolist() == [[[1, 2, -1]]] and rest.part_ids.tolist() == [[[3, 3, 3]]]
    assert cut(scene, region_of(scene, ["car"]), ROAD)[1].part_ids.tolist() == [[[-1, -1, 3]]]
    assert merge(street([ROAD, ROAD, ROAD]), piece).part_ids.tolist() == [[[1, 2, -1]]]
    assert merge(scene, street([NONE, SKY, NONE])).part_ids.tolist() == [[[1, -1, 3]]]


def test_the_nearest_known_pixel_is_found_at_any_distance() -> None:
    known = torch.zeros(2, 37, 50, dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    known[0].view(-1)[torch.randperm(37 * 50, generator=generator)[:20]] = True
    found = nearest(known)
    rows, columns = torch.meshgrid(torch.arange(37), torch.arange(50), indexing="ij")
    y, x = known[0].nonzero().unbind(1)
    distances = (rows[..., None] - y).square() + (columns[..., None] - x).square()
    ours = (found[0] // 50 - rows).square() + (found[0] % 50 - columns).square()
    assert (ours == distances.min(-1).values).float().mean() > 0.99
    assert bool(known[0].flatten()[found[0]].all()) and bool((found[1] == -1).all())


def test_a_region_is_moved_scaled_and_cut_off_at_the_border() -> None:
    base = street(*[[SKY] * 4] * 3)
    dot = street([CAR, NONE])
    assert merge(base, dot, top=2, left=3).ids[0, 2].tolist() == [SKY, SKY, SKY, CAR]
    assert merge(base, dot, left=-1).ids.tolist() == base.ids.tolist()
    assert merge(base, dot, top=9).ids.tolist() == base.ids.tolist()
    twice = merge(base, dot, top=-1, left=1, scale=2).ids[0]
    assert twice.tolist() == [[SKY, CAR, CAR, SKY], [SKY] * 4, [SKY] * 4]


def test_a_mask_limits_what_is_taken_and_scales_along() -> None:
    base, cars = street(*[[SKY] * 4] * 2), street([CAR, CAR])
    mask = torch.tensor([[[0.0, 1.0]]])
    assert merge(base, cars, mask=mask, scale=2).ids[0].tolist() == [[SKY, SKY, CAR, CAR]] * 2
    with pytest.raises(ValueError, match=r"mask is \[1, 2, 4\], the region \[1, 1, 2\]"):
        merge(base, cars, mask=torch.ones(1, 2, 4))


def test_batches_meet() -> None:
    base, cars = SCENE.expand(2), street([CAR])
    assert merge(base, cars).ids[:, 0, 0].tolist() == [CAR, CAR]
    assert merge(street([SKY]), LabelMap(torch.tensor([[[CAR]], [[NONE]]]), CITY)).ids.flatten().tolist() == [CAR, SKY]
    with pytest.raises(ValueError, match="batch 2 cannot broadcast to batch 3"):
        merge(base, cars.expand(3))


def test_maps_of_other_tables_are_not_merged() -> None:
    with pytest.raises(
        ValueError, match="classes of the region follow 'celebamaskhq19', .* 'cityscapes19'; bring both"
    ):
        merge(SCENE, street([1], palette=FACES))
    with pytest.raises(ValueError, match="scale is 0, expected more than 0"):
        merge(SCENE, SCENE, scale=0)


LEFT, RIGHT, NOWHERE = [[1.0, 0.0]], [[0.0, 1.0]], [[0.0, 0.0]]


def painted(masks: list, classes: list[int], **options) -> list:
    return paint(torch.tensor(masks).reshape(-1, 1, 2), classes, CITY, **options).ids.tolist()


def test_one_class_is_that_of_all_masks() -> None:
    assert painted([LEFT, RIGHT], [CAR]) == [[[CAR, CAR]]]
    assert painted([LEFT, RIGHT], [CAR, SKY]) == [[[CAR, SKY]]]
    with pytest.raises(ValueError, match="2 masks but 3 classes; name one class per mask, or one for all"):
        painted([LEFT, RIGHT], [1, 2, 3])
    with pytest.raises(ValueError, match="no class is named"):
        painted([LEFT], [])


def test_a_detector_that_finds_nothing_paints_nothing() -> None:
    assert painted([], [CAR]) == [[[NONE, NONE]]]
    assert painted([], [CAR], background=SKY) == [[[SKY, SKY]]]
    assert painted([], [CAR], over=street([ROAD, SKY])) == [[[ROAD, SKY]]]
    with pytest.raises(ValueError, match="'celebamaskhq19' has no id for pixels in no mask; name a background"):
        paint(torch.zeros(0, 1, 2), [1], FACES)


def test_masks_are_painted_over_a_label_map() -> None:
    under = street([ROAD, SKY])
    assert painted([RIGHT], [CAR], over=under) == [[[ROAD, CAR]]]
    assert painted([NOWHERE], [CAR], over=under) == [[[ROAD, SKY]]]
    assert painted([RIGHT, RIGHT], [CAR, BUILDING], over=under, overlap="first") == [[[ROAD, CAR]]]
    with pytest.raises(ValueError, match="leave background empty"):
        painted([RIGHT], [CAR], over=under, background=SKY)
    with pytest.raises(ValueError, match=r"first among them 13 \(mask 0\) and 2 \(mask 1\)"):
        painted([RIGHT, RIGHT], [CAR, BUILDING], over=under, overlap="error")


def test_masks_of_a_batch_of_pictures_give_a_batch_of_label_maps() -> None:
    assert painted([LEFT, RIGHT], [CAR], per_picture=True) == [[[CAR, NONE]], [[NONE, CAR]]]
    assert painted([LEFT, RIGHT], [CAR], per_picture=True, over=street([ROAD, SKY])) == [[[CAR, SKY]], [[ROAD, CAR]]]
    with pytest.raises(ValueError, match="of one class, but 2 are named"):
        painted([LEFT, RIGHT], [CAR, SKY], per_picture=True)
