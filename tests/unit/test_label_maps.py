"""Label maps: read exactly, reported when they do not fit, resized without inventing classes, drawn."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from amadapter_core import label_resizing
from amadapter_core.label_maps import LabelMap, Palette, check_same_aspect, check_same_classes, resize_ids

CITY = Palette.load("cityscapes19")
ROAD, SIDEWALK, SKY, CAR, VOID = 0, 1, 10, 13, 255


def scene(*rows: list[int]) -> LabelMap:
    return LabelMap(torch.tensor([rows]), CITY)


def random_ids(palette: Palette, b: int, h: int, w: int, seed: int = 0) -> Tensor:
    choices = torch.tensor([*palette.ids, *([] if palette.ignore is None else [palette.ignore])])
    return choices[torch.randint(len(choices), (b, h, w), generator=torch.Generator().manual_seed(seed))]


@pytest.mark.parametrize("ids", [torch.zeros(4, 4).long(), torch.zeros(1, 4, 4), torch.zeros(1, 0, 4).long()])
def test_ids_are_a_non_empty_integer_batch_of_pictures(ids: Tensor) -> None:
    with pytest.raises(ValueError, match="LabelMap: ids must be"):
        LabelMap(ids, CITY)


def test_ids_are_kept_as_int64_and_ignore_comes_from_the_palette() -> None:
    label_map = LabelMap(torch.zeros(2, 3, 5, dtype=torch.uint8), CITY)
    assert label_map.ids.dtype == torch.int64
    assert (label_map.batch, label_map.size, label_map.ignore) == (2, (3, 5), VOID)
    assert LabelMap(label_map.ids, CITY, ignore=7).ignore == 7


def test_one_map_serves_any_batch_and_other_batches_must_agree() -> None:
    one = scene([ROAD, CAR])
    assert one.expand(3).ids.shape == (3, 1, 2)
    assert one.expand(3).expand(3).batch == 3
    with pytest.raises(ValueError, match="label map batch 3 cannot broadcast to batch 4; use 1 or 4"):
        one.expand(3).expand(4)


def test_a_map_moves_between_devices() -> None:
    assert scene([ROAD]).to("cpu").ids.device.type == "cpu"
    assert scene([ROAD]).to(torch.device("meta")).ids.device.type == "meta"


@pytest.mark.parametrize("name", Palette.builtin_names())
def test_every_class_survives_the_way_through_colours_except_where_colours_are_shared(name: str) -> None:
    palette = Palette.load(name)
    ids = random_ids(palette, 2, 17, 29)
    read_as = {palette.id_of(n): palette.id_of(names[0]) for names in palette.ambiguous().values() for n in names}
    expected = ids.clone()
    for label_id, other in read_as.items():
        expected[ids == label_id] = other
    colours = LabelMap(ids, palette).colours()
    assert colours.dtype == torch.float32 and colours.shape == (2, 17, 29, 3)
    assert torch.equal(LabelMap.from_colours(colours, palette).ids, expected)


def test_a_picture_may_come_as_tensor_array_or_pil_image() -> None:
    expected = scene([ROAD, CAR, VOID], [SKY, SKY, ROAD])
    array = (expected.colours()[0] * 255).round().byte().numpy()
    rgb = Image.fromarray(array)
    pictures = [
        expected.colours(),
        expected.colours()[0].half(),
        expected.colours().double(),
        torch.from_numpy(array),
        torch.from_numpy(array)[None].int(),
        array,
        array.astype(np.float32) / 255,
        rgb,
        rgb.convert("RGBA"),
        rgb.quantize(8),
    ]
    for picture in pictures:
        assert torch.equal(LabelMap.from_colours(picture, CITY).ids, expected.ids)


def test_values_within_half_a_step_of_a_colour_are_that_colour() -> None:
    expected = scene([ROAD, CAR])
    off = expected.colours() + 0.4 / 255
    assert torch.equal(LabelMap.from_colours(off, CITY).ids, expected.ids)


def test_black_in_cityscapes_34_is_unlabeled_and_ade_grey_is_road() -> None:
    full, ade = Palette.load("cityscapes34"), Palette.load("ade20k150")
    static = LabelMap(torch.full((1, 1, 1), full.id_of("static")), full)
    assert LabelMap.from_colours(static.colours(), full).ids.item() == full.ignore == 0
    skyscraper = LabelMap(torch.full((1, 1, 1), ade.id_of("skyscraper")), ade)
    assert LabelMap.from_colours(skyscraper.colours(), ade).ids.item() == ade.id_of("road")


def spoilt_scene() -> Tensor:
    colours = torch.tensor(CITY.colours)[torch.full((1, 4, 5), ROAD)].to(torch.uint8)
    colours[0, 0, :3] = torch.tensor([128, 64, 131])
    colours[0, 1, 0] = torch.tensor([0, 3, 138])
    return colours


def test_unknown_colours_are_reported_with_counts_the_nearest_class_and_a_way_on() -> None:
    with pytest.raises(ValueError) as error:
        LabelMap.from_colours(spoilt_scene(), CITY)
    message = str(error.value)
    assert message.startswith("LabelMap.from_colours: 4 of 20 pixels have 2 colours that palette 'cityscapes19'")
    assert "(128, 64, 131) on 3 pixels, nearest is road at distance 3.0" in message
    assert "(0, 3, 138) on 1 pixels, nearest is car at distance 5.0" in message
    assert message.index("(128, 64, 131)") < message.index("(0, 3, 138)")
    assert 'unknown="nearest"' in message and "PNG" in message


def test_only_the_five_most_frequent_unknown_colours_are_listed() -> None:
    colours = torch.zeros(1, 1, 9, 3, dtype=torch.uint8)
    colours[0, 0, :, 0] = torch.arange(1, 10)
    with pytest.raises(ValueError, match="9 of 9 pixels have 9 colours") as error:
        LabelMap.from_colours(colours, CITY)
    assert str(error.value).count(" on 1 pixels") == 5


def test_unknown_colours_may_be_read_as_the_nearest_class_or_ignored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        nearest = LabelMap.from_colours(spoilt_scene(), CITY, unknown="nearest").ids
    assert "4 of 20 pixels" in caplog.text and "read as nearest" in caplog.text
    assert nearest[0, 1, 0] == CAR and (nearest == ROAD).sum() == 19
    ignored = LabelMap.from_colours(spoilt_scene(), CITY, unknown="ignore").ids
    assert (ignored == VOID).sum() == 4 and (ignored == ROAD).sum() == 16


def test_colours_within_the_tolerance_do_not_count_as_unknown() -> None:
    with pytest.raises(ValueError, match="1 of 20 pixels have 1 colours"):
        LabelMap.from_colours(spoilt_scene(), CITY, tolerance=3)
    assert LabelMap.from_colours(spoilt_scene(), CITY, tolerance=5).ids[0, 1, 0] == CAR
    half = LabelMap.from_colours(spoilt_scene(), CITY, tolerance=3, unknown="ignore").ids
    assert half[0, 0, 0] == ROAD and half[0, 1, 0] == VOID


@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_nearest_is_the_smallest_euclidean_distance_with_ties_to_the_first(colours: list) -> None:
    palette = Palette.load("nyu40")
    table, ids = palette.reading_table()
    expected = [
        min(
            range(len(ids)),
            key=lambda row: (sum((a - b) ** 2 for a, b in zip(c, table[row].tolist(), strict=True)), row),
        )
        for c in colours
    ]
    read = LabelMap.from_colours(torch.tensor([[colours]], dtype=torch.uint8), palette, unknown="nearest")
    assert read.ids.flatten().tolist() == ids[expected].tolist()


def test_a_palette_without_an_ignore_id_cannot_ignore_unknown_colours() -> None:
    with pytest.raises(ValueError, match="celebamaskhq19.*has none"):
        LabelMap.from_colours(torch.zeros(1, 2, 2, 3), Palette.load("celebamaskhq19"), unknown="ignore")


@pytest.mark.parametrize(
    ("picture", "complaint"),
    [
        (torch.full((1, 2, 2, 3), float("nan")), "12 of 12 values are NaN or infinite"),
        (torch.full((1, 2, 2, 3), 128.0), "12 of 12 values lie outside the range"),
        (torch.full((1, 2, 2, 3), -1), "12 of 12 values lie outside the range"),
        (torch.zeros(1, 3, 2, 2), "expected a picture"),
        (torch.zeros(2, 2), "expected a picture"),
        (torch.zeros(1, 2, 2, 4), "4 of 4 pixels are transparent"),
        (Image.new("L", (2, 2)), "LabelMap.from_ids"),
        ("road.png", "expected a picture"),
    ],
)
def test_what_is_no_colour_picture_is_refused(picture: object, complaint: str) -> None:
    with pytest.raises(ValueError, match="LabelMap.from_colours") as error:
        LabelMap.from_colours(picture, CITY)
    assert complaint in str(error.value)


def test_ids_may_come_as_tensor_array_or_pil_image() -> None:
    ids = [[ROAD, CAR, VOID], [SKY, SKY, ROAD]]
    array = np.array(ids)
    pictures = [
        torch.tensor(ids),
        torch.tensor([ids], dtype=torch.int16),
        array.astype(np.uint16),
        array.astype(">u2"),
        Image.fromarray(array.astype(np.uint8)),
        Image.fromarray(array.astype(np.int32)),
        Image.fromarray(array.astype(np.uint16)),
    ]
    for picture in pictures:
        assert LabelMap.from_ids(picture, CITY).ids.tolist() == [ids]


@pytest.mark.parametrize("bits", [8, 16])
def test_a_png_is_read_in_8_and_16_bit(tmp_path: Path, bits: int) -> None:
    palette = Palette(
        name="wide", source="", names=("a", "b"), ids=(3, 2 ** (bits - 1) + 5), colours=((1,) * 3, (2,) * 3)
    )
    array = np.array([[3, 2 ** (bits - 1) + 5, 3]], dtype=f"uint{bits}")
    Image.fromarray(array).save(tmp_path / "ids.png")
    assert LabelMap.from_ids(tmp_path / "ids.png", palette).ids.tolist() == [array.tolist()]
    assert LabelMap.from_ids(str(tmp_path / "ids.png"), palette).batch == 1


def test_a_png_with_a_colour_table_is_read_by_index_not_by_colour(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[ROAD, CAR, SKY]], dtype=np.uint8)).convert("P")
    picture.putdata([ROAD, CAR, SKY])
    picture.putpalette([200, 10, 10] * 256)
    picture.save(tmp_path / "indexed.png")
    assert Image.open(tmp_path / "indexed.png").mode == "P"
    assert LabelMap.from_ids(tmp_path / "indexed.png", CITY).ids.tolist() == [[[ROAD, CAR, SKY]]]


def test_unknown_ids_are_reported_with_counts_and_a_way_on() -> None:
    with pytest.raises(ValueError) as error:
        LabelMap.from_ids(torch.tensor([[0, 26, 26, 33]]), CITY)
    message = str(error.value)
    assert message.startswith("LabelMap.from_ids: 3 of 4 pixels hold 2 ids that palette 'cityscapes19' does not have")
    assert "26 (2 pixels), 33 (1 pixels); the palette has 0..18, ignored: 255" in message
    assert 'unknown="ignore"' in message
    assert LabelMap.from_ids(torch.tensor([[0, 26]]), CITY, unknown="ignore").ids.tolist() == [[[0, VOID]]]


def test_files_that_count_from_zero_are_shifted_and_their_void_value_ignored() -> None:
    coco = Palette.load("cocostuff182")
    read = LabelMap.from_ids(torch.tensor([[0, 181, 255]]), coco, offset=1, void=255)
    assert read.ids.tolist() == [[[coco.id_of("person"), coco.id_of("wood"), coco.ignore]]]
    assert LabelMap.from_ids(torch.tensor([[7, 8]]), CITY, void=[7, 9]).ids.tolist() == [[[VOID, 8]]]


@pytest.mark.parametrize(
    ("picture", "complaint"),
    [
        (torch.zeros(1, 2, 2), "expected integers"),
        (np.zeros((2, 2)), "expected integers"),
        (torch.zeros(2, 2, dtype=torch.bool), "expected integers"),
        (torch.zeros(1, 1, 2, 2).long(), "expected [B, H, W] or [H, W]"),
        (Image.new("RGB", (2, 2)), "LabelMap.from_colours"),
        (Image.new("F", (2, 2)), "mode 'F'"),
    ],
)
def test_what_is_no_id_picture_is_refused(picture: object, complaint: str) -> None:
    with pytest.raises(ValueError, match="LabelMap.from_ids") as error:
        LabelMap.from_ids(picture, CITY)
    assert complaint in str(error.value)


def test_masks_become_classes_and_the_rest_is_background_or_ignored() -> None:
    masks = torch.tensor([[[1.0, 0.6, 0.0, 0.0]], [[0.0, 0.5, 1.0, 0.4]]])
    assert LabelMap.from_masks(masks, ["road", CAR], CITY).ids.tolist() == [[[ROAD, CAR, CAR, VOID]]]
    first = LabelMap.from_masks(masks, ["road", CAR], CITY, background="sky", overlap="first")
    assert first.ids.tolist() == [[[ROAD, ROAD, CAR, SKY]]]


def test_overlapping_masks_are_an_error_on_request() -> None:
    masks = torch.tensor([[[1.0, 1.0, 0.0]], [[0.0, 1.0, 1.0]]])
    with pytest.raises(
        ValueError, match=r"1 of 3 pixels lie in more than one mask.*'road' \(mask 0\) and 'car' \(mask 1\)"
    ):
        LabelMap.from_masks(masks, ["road", "car"], CITY, overlap="error")


def test_uncovered_pixels_need_a_background_where_nothing_can_be_ignored() -> None:
    faces = Palette.load("celebamaskhq19")
    masks = torch.tensor([[[1.0, 0.0, 0.0]]])
    with pytest.raises(ValueError, match="2 of 3 pixels lie in no mask"):
        LabelMap.from_masks(masks, ["hair"], faces)
    assert LabelMap.from_masks(masks, ["hair"], faces, background="background").names_present() == [
        "background",
        "hair",
    ]
    assert LabelMap.from_masks(torch.ones(1, 2, 2), ["hair"], faces).names_present() == ["hair"]


@pytest.mark.parametrize(
    ("masks", "names", "complaint"),
    [
        (torch.ones(2, 3, 3), ["road"], "2 masks but 1 classes"),
        (torch.ones(3, 3), ["road"], r"masks must be a tensor \[M, H, W\]"),
        (torch.full((1, 3, 3), 255.0), ["road"], "9 of 9 are not"),
        (torch.full((1, 3, 3), float("nan")), ["road"], "9 of 9 are not"),
        (torch.ones(1, 3, 3), ["rode"], "no class named 'rode'"),
    ],
)
def test_masks_that_do_not_fit_are_refused(masks: Tensor, names: list[str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        LabelMap.from_masks(masks, names, CITY)


def majority_by_hand(ids: list[list[int]], h: int, w: int, ignore: int | None) -> list[list[int]]:
    """The definition: sum the overlaps of every source pixel with every cell, in exact fractions."""
    source_h, source_w = len(ids), len(ids[0])

    def overlap(cell: int, pixel: int, source: int, target: int) -> Fraction:
        begin, end = Fraction(cell * source, target), Fraction((cell + 1) * source, target)
        return max(Fraction(0), min(end, Fraction(pixel + 1)) - max(begin, Fraction(pixel)))

    result = []
    for i in range(h):
        row = []
        for j in range(w):
            votes: dict[int, Fraction] = {}
            for y in range(source_h):
                for x in range(source_w):
                    area = overlap(i, y, source_h, h) * overlap(j, x, source_w, w)
                    if area:
                        votes[ids[y][x]] = votes.get(ids[y][x], Fraction(0)) + area
            if ignore in votes and len(votes) > 1:
                del votes[ignore]
            row.append(min(votes, key=lambda label_id: (-votes[label_id], label_id)))
        result.append(row)
    return result


maps = st.integers(1, 7).flatmap(
    lambda w: st.lists(
        st.lists(st.sampled_from([-7, 0, 3, 255, 10**12]), min_size=w, max_size=w), min_size=1, max_size=7
    )
)


@given(maps, st.integers(1, 9), st.integers(1, 9), st.sampled_from([None, 3, 42]))
@settings(max_examples=200, deadline=None)
def test_majority_is_the_largest_exact_area_with_ties_to_the_smallest_id(
    ids: list[list[int]], h: int, w: int, ignore: int | None
) -> None:
    expected = ids if (h, w) == (len(ids), len(ids[0])) else majority_by_hand(ids, h, w, ignore)
    assert resize_ids(torch.tensor([ids]), (h, w), "majority", ignore=ignore).tolist() == [expected]


@given(maps, st.integers(1, 20), st.integers(1, 20))
@settings(max_examples=100, deadline=None)
def test_nearest_takes_the_pixel_under_the_centre_of_the_cell(ids: list[list[int]], h: int, w: int) -> None:
    source_h, source_w = len(ids), len(ids[0])
    rows = [int(Fraction(2 * i + 1, 2) * Fraction(source_h, h)) for i in range(h)]
    columns = [int(Fraction(2 * j + 1, 2) * Fraction(source_w, w)) for j in range(w)]
    expected = [[ids[y][x] for x in columns] for y in rows]
    assert resize_ids(torch.tensor([ids]), (h, w)).tolist() == [expected]


@pytest.mark.parametrize(("size", "target"), [((512, 512), (64, 64)), ((512, 384), (30, 17)), ((9, 5), (31, 44))])
def test_nearest_agrees_with_nearest_exact_of_torch(size: tuple[int, int], target: tuple[int, int]) -> None:
    ids = random_ids(CITY, 2, *size)
    expected = torch.nn.functional.interpolate(ids[:, None].double(), target, mode="nearest-exact")[:, 0].long()
    assert torch.equal(resize_ids(ids, target), expected)


def test_majority_in_blocks_of_rows_is_majority_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = random_ids(CITY, 2, 61, 47)
    whole = resize_ids(ids, (23, 11), "majority", ignore=VOID)
    for votes_at_once in (1, 11 * 20 * 2, 11 * 20 * 7):
        monkeypatch.setattr(label_resizing, "_VOTES_AT_ONCE", votes_at_once)
        assert torch.equal(resize_ids(ids, (23, 11), "majority", ignore=VOID), whole)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("method", ["nearest", "majority"])
def test_resizing_keeps_dtype_and_batch(dtype: torch.dtype, method: str) -> None:
    ids = random_ids(CITY, 3, 12, 20).to(dtype)
    small = resize_ids(ids, (5, 7), method)
    assert small.dtype == dtype and small.shape == (3, 5, 7)
    assert torch.equal(small[1:2], resize_ids(ids[1:2], (5, 7), method))
    assert torch.equal(small, resize_ids(ids, (5, 7), method, ignore=-300))  # an id that dtype cannot hold


def test_majority_keeps_thin_things_out_and_nearest_may_hit_them() -> None:
    ids = torch.full((1, 8, 8), SKY)
    ids[0, :, 2] = CAR  # under the centre of the first of two columns of cells
    assert resize_ids(ids, (2, 2), "nearest")[0, 0].tolist() == [CAR, SKY]
    assert resize_ids(ids, (2, 2), "majority")[0, 0].tolist() == [SKY, SKY]


def test_ignored_pixels_vote_only_where_nothing_else_is() -> None:
    void = scene([VOID, VOID, VOID, VOID], [VOID, CAR, VOID, VOID])
    assert void.resize(1, 2, "majority").ids.tolist() == [[[CAR, VOID]]]
    assert resize_ids(void.ids, (1, 2), "majority").tolist() == [[[VOID, VOID]]]


@pytest.mark.parametrize("method", ["nearest", "majority"])
def test_growing_by_a_whole_factor_repeats_pixels(method: str) -> None:
    small = scene([ROAD, CAR], [SKY, VOID], [CAR, CAR])
    grown = small.resize(9, 8, method).ids
    assert torch.equal(grown, small.ids.repeat_interleave(3, 1).repeat_interleave(4, 2))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((torch.zeros(1, 2, 2), (1, 1)), "integer tensor"),
        ((torch.zeros(2, 2).long(), (1, 1)), r"integer tensor \[B, H, W\]"),
        ((torch.zeros(1, 2, 2).long(), (0, 1)), "got 0x1"),
        ((torch.zeros(1, 2, 2).long(), (1, 1), "bilinear"), "got 'bilinear'"),
    ],
)
def test_resizing_refuses_what_it_cannot_do(arguments: tuple, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        resize_ids(*arguments)


def test_cropping_cuts_rows_then_columns_and_stays_inside() -> None:
    label_map = LabelMap(random_ids(CITY, 2, 6, 9), CITY)
    assert torch.equal(label_map.crop(1, 4, 3, 5).ids, label_map.ids[:, 1:4, 4:9])
    for box in ((0, 0, 7, 9), (-1, 0, 2, 2), (0, 8, 2, 2), (0, 0, 0, 2)):
        with pytest.raises(ValueError, match="do not lie in a map of 6x9"):
            label_map.crop(*box)


def test_the_histogram_shares_out_the_pixels_that_are_not_ignored() -> None:
    label_map = LabelMap(torch.tensor([[[ROAD, ROAD, CAR, VOID]], [[VOID] * 4]]), CITY)
    shares = label_map.histogram()
    assert shares.shape == (2, 19) and shares.dtype == torch.float32
    assert shares[0, ROAD] == pytest.approx(2 / 3) and shares[0, CAR] == pytest.approx(1 / 3)
    assert shares[0].sum() == pytest.approx(1) and shares[1].sum() == 0


def test_histogram_columns_follow_the_palette_rows_not_the_ids() -> None:
    ade = Palette.load("ade20k150")
    shares = LabelMap(torch.tensor([[[1, 150]]]), ade).histogram()
    assert shares[0, 0] == shares[0, 149] == 0.5


def test_an_ignored_class_is_neither_counted_nor_present() -> None:
    full = Palette.load("cityscapes34")
    label_map = LabelMap(torch.tensor([[[0, 7, 7, 26]]]), full)
    assert label_map.histogram()[0, 0] == 0
    assert label_map.names_present() == ["road", "car"]


def test_ids_foreign_to_the_palette_are_reported_when_they_are_used() -> None:
    for use in (LabelMap.colours, LabelMap.histogram, LabelMap.names_present, LabelMap.legend):
        with pytest.raises(ValueError, match=f"LabelMap.{use.__name__}: 2 of 3 pixels hold ids .* 40..41"):
            use(scene([ROAD, 40, 41]))


def test_ignored_pixels_are_drawn_in_the_ignore_colour() -> None:
    assert scene([VOID]).colours().flatten().tolist() == [0, 0, 0]
    palette = Palette(
        name="p",
        source="",
        names=("a",),
        ids=(0,),
        colours=((1, 2, 3),),
        ignore=9,
        ignore_colour=(255, 0, 255),
    )
    assert LabelMap(torch.tensor([[[9]]]), palette).colours().flatten().tolist() == [1, 0, 1]


def test_an_overlay_mixes_by_opacity_and_leaves_ignored_pixels_alone() -> None:
    label_map = scene([SKY, VOID])
    image = torch.full((1, 1, 2, 3), 0.5)
    assert torch.equal(label_map.overlay(image, 0), image)
    half = label_map.overlay(image, 0.5)
    torch.testing.assert_close(half[0, 0, 0], (torch.tensor([70, 130, 180]) / 255 + 0.5) / 2)
    assert torch.equal(half[0, 0, 1], image[0, 0, 1])
    torch.testing.assert_close(label_map.overlay(image, 1)[0, 0, 0], label_map.colours()[0, 0, 0])


def test_an_overlay_broadcasts_either_batch() -> None:
    assert scene([SKY, ROAD]).overlay(torch.zeros(3, 1, 2, 3)).shape == (3, 1, 2, 3)
    assert scene([SKY, ROAD]).expand(3).overlay(torch.zeros(1, 1, 2, 3)).shape == (3, 1, 2, 3)
    with pytest.raises(ValueError, match="batch 3 cannot broadcast to batch 2"):
        scene([SKY, ROAD]).expand(3).overlay(torch.zeros(2, 1, 2, 3))


@pytest.mark.parametrize(
    ("image", "opacity", "complaint"),
    [
        (torch.zeros(1, 2, 1, 3), 0.5, "the image is 2x1 and the label map 1x2"),
        (torch.zeros(1, 1, 2, 4), 0.5, r"image must be float \[B, H, W, 3\]"),
        (torch.zeros(1, 1, 2, 3), 1.5, "opacity must be 0..1"),
    ],
)
def test_an_overlay_that_does_not_fit_is_refused(image: Tensor, opacity: float, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        scene([SKY, ROAD]).overlay(image, opacity)


def swatches(legend: Image.Image) -> set[tuple[int, int, int]]:
    """The class colours with an area: smoothed letters hold a few pixels of greys that are classes too."""
    colours = {colour for count, colour in legend.getcolors(1 << 20) if count > 200}
    return colours & {*CITY.colours, CITY.ignore_colour}


def test_the_legend_shows_the_classes_present_and_no_others() -> None:
    legend = scene([SKY, SKY, CAR, ROAD]).legend()
    assert legend.mode == "RGB"
    assert swatches(legend) == {CITY.colours[i] for i in (SKY, CAR, ROAD)}
    assert swatches(scene([SKY, VOID]).legend()) == {CITY.colours[SKY], CITY.ignore_colour}


def test_the_legend_lists_the_largest_class_first() -> None:
    legend = np.array(scene([SKY, SKY, SKY, CAR]).legend())
    first_row = {
        colour: int((legend == colour).all(-1).any(1).argmax()) for colour in (CITY.colours[SKY], CITY.colours[CAR])
    }
    assert first_row[CITY.colours[SKY]] < first_row[CITY.colours[CAR]]


def test_the_legend_grows_in_columns_or_in_lines() -> None:
    label_map = scene([ROAD, SIDEWALK, SKY, CAR, VOID])
    long, broad = label_map.legend(), label_map.legend(columns=3)
    assert long.height > broad.height and broad.width > long.width
    with pytest.raises(ValueError, match="columns and font_size"):
        label_map.legend(columns=0)


def test_a_map_of_ignored_pixels_only_has_a_legend_too() -> None:
    assert scene([VOID]).legend().width > 0


def test_the_picture_of_a_map_is_its_colours_resampled_smoothly() -> None:
    labels = LabelMap(torch.tensor([[[0, 1]]]).repeat_interleave(4, 1).repeat_interleave(4, 2), Palette.load("nyu40"))
    assert torch.equal(labels.picture(labels.size), labels.colours().movedim(-1, 1))
    small = labels.picture((2, 3))
    assert small.shape == (1, 3, 2, 3)
    assert not (small[0, :, 0, 1, None] == labels.colours().flatten(0, 2).T).all(0).any()  # a blend at the border


def test_an_id_that_means_another_class_in_the_other_map_is_refused() -> None:
    ids = torch.tensor([[[1, 2]]])
    one, other = (LabelMap(ids, Palette.load(name)) for name in ("cityscapes19", "nyu40"))
    check_same_classes(one, one)
    with pytest.raises(ValueError, match=r"cityscapes19.*those of X \(nyu40\) disagree on 2 ids: 1 is 'sidewalk'"):
        check_same_classes(one, other, "X")


@pytest.mark.parametrize(("size", "fits"), [((64, 128), True), ((32, 64), True), ((33, 64), True), ((64, 64), False)])
def test_what_a_map_covers_has_its_aspect(size: tuple[int, int], fits: bool) -> None:
    labels = LabelMap(torch.zeros(1, 64, 128).long(), Palette.load("nyu40"))
    if fits:
        check_same_aspect("the picture", size, labels, 8)
    else:
        with pytest.raises(ValueError, match="the picture is 64 x 64, its label map 64 x 128"):
            check_same_aspect("the picture", size, labels, 8)
