"""Which picture files hold ids and which hold colours, and classes written as text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from amadapter_core.class_masks import class_mask
from amadapter_core.class_names import class_id, names_in
from amadapter_core.label_maps import LabelMap, Palette
from amadapter_core.label_pictures import holds_ids, read_label_picture

PALETTE = Palette.load("cityscapes19")
ROAD, CAR, SKY, IGNORE = 0, 13, 10, 255
IDS = np.array([[ROAD, CAR], [SKY, CAR]], dtype=np.uint8)


def coloured(ids: np.ndarray) -> Image.Image:
    colours = LabelMap(torch.from_numpy(ids.astype(np.int64))[None], PALETTE).colours()[0]
    return Image.fromarray((colours * 255).round().byte().numpy())


def table(indices: np.ndarray, colours: dict[int, tuple[int, int, int]]) -> Image.Image:
    """A picture with a colour table."""
    picture = Image.fromarray(indices.astype(np.uint8), "P")
    entries = [(1, 2, 3)] * 256
    for index, colour in colours.items():
        entries[index] = colour
    picture.putpalette([value for colour in entries for value in colour])
    return picture


def read(picture: Image.Image, tmp_path: Path, **options) -> LabelMap:
    path = tmp_path / "labels.png"
    picture.save(path)
    return read_label_picture(path, PALETTE, **options)


def colour_of(label_id: int) -> tuple[int, int, int]:
    return PALETTE.colours[PALETTE.ids.index(label_id)]


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(coloured(IDS), id="colours"),
        pytest.param(coloured(IDS).convert("RGBA"), id="opaque colours"),
        pytest.param(Image.fromarray(IDS), id="grey ids"),
        pytest.param(Image.fromarray(IDS.astype(np.uint16)), id="16 bit ids"),
        pytest.param(table(IDS, {i: colour_of(i) for i in (ROAD, CAR, SKY)}), id="ids coloured by the palette"),
        pytest.param(table(IDS, {}), id="ids in other colours"),
        pytest.param(
            table(np.array([[100, 101], [102, 101]]), {100: colour_of(ROAD), 101: colour_of(CAR), 102: colour_of(SKY)}),
            id="colours whose indices are no ids",
        ),
        pytest.param(
            table(np.array([[2, 0], [1, 0]]), {2: colour_of(ROAD), 0: colour_of(CAR), 1: colour_of(SKY)}),
            id="colours numbered as they came",
        ),
    ],
)
def test_auto_reads_what_the_picture_holds(picture: Image.Image, tmp_path: Path) -> None:
    assert read(picture, tmp_path).ids[0].tolist() == IDS.tolist()


def test_ids_with_a_table_keep_classes_apart_that_share_a_colour() -> None:
    twins = Palette("twins", "test", ("a", "b"), (0, 1), ((9, 9, 9), (9, 9, 9)))
    assert holds_ids(table(np.array([[0, 1]]), {0: (9, 9, 9), 1: (9, 9, 9)}), twins)


def test_the_table_is_compared_after_offset_and_void() -> None:
    picture = table(np.array([[0, 254]]), {0: colour_of(1), 254: (0, 0, 0)})
    assert not holds_ids(picture, PALETTE)
    assert holds_ids(picture, PALETTE, offset=1, void=[254])


def test_a_reading_that_is_named_is_taken(tmp_path: Path) -> None:
    swapped = table(np.array([[2, 0]]), {2: colour_of(ROAD), 0: colour_of(CAR)})
    assert read(swapped, tmp_path, reading="ids").ids.tolist() == [[[2, 0]]]
    assert read(swapped, tmp_path, reading="colours").ids.tolist() == [[[ROAD, CAR]]]


def test_grey_ids_saved_as_rgb_are_read_as_ids_when_asked(tmp_path: Path) -> None:
    assert read(Image.fromarray(IDS).convert("RGB"), tmp_path, reading="ids").ids[0].tolist() == IDS.tolist()
    with pytest.raises(ValueError, match="one channel"):
        read(coloured(IDS), tmp_path, reading="ids")


def test_ids_have_no_nearest_class(tmp_path: Path) -> None:
    foreign = Image.fromarray(np.array([[77, ROAD]], dtype=np.uint8))
    with pytest.raises(ValueError, match="77"):
        read(foreign, tmp_path, unknown="nearest")
    assert read(foreign, tmp_path, unknown="ignore").ids.tolist() == [[[IGNORE, ROAD]]]


def test_what_is_no_picture_is_refused_by_its_file(tmp_path: Path) -> None:
    path = tmp_path / "notes.png"
    path.write_text("no picture")
    with pytest.raises(ValueError, match="notes.png is no picture"):
        read_label_picture(path, PALETTE)
    with pytest.raises(ValueError, match="reading must be one of auto, colours, ids, got 'guess'"):
        read_label_picture(path, PALETTE, reading="guess")


def test_a_file_that_breaks_off_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 19, (64, 64), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(ValueError, match=r"read_label_picture: .*cut\.png is damaged or not complete"):
        read_label_picture(path, PALETTE)
    with pytest.raises(ValueError, match=r"cut\.png is damaged or not complete"):
        LabelMap.from_ids(path, PALETTE)


def test_lists_of_classes_are_split_at_lines_and_commas() -> None:
    assert names_in(" traffic light, car\n\nsky ,\n") == ["traffic light", "car", "sky"]


def test_classes_go_by_name_in_any_case_or_by_id() -> None:
    assert [class_id(text, PALETTE) for text in ("car", "CAR", "13", "255")] == [CAR, CAR, CAR, IGNORE]
    with pytest.raises(ValueError, match="no class 'lamp'; present in the label map: road, car"):
        class_id("lamp", PALETTE, lambda: ["road", "car"])
    with pytest.raises(ValueError, match="no class 'lamp'; it has road, sidewalk"):
        class_id("lamp", PALETTE)


def test_names_that_differ_in_case_only_have_to_be_exact() -> None:
    both = Palette("both", "test", ("car", "Car"), (0, 1), ((1, 1, 1), (2, 2, 2)))
    assert class_id("Car", both) == 1
    with pytest.raises(ValueError, match="no class 'CAR'"):
        class_id("CAR", both)


def labels(rows: list[list[int]]) -> LabelMap:
    return LabelMap(torch.tensor([rows]), PALETTE)


def test_a_mask_holds_the_classes_asked_for_or_all_but_unlabelled_pixels() -> None:
    scene = labels([[ROAD, CAR, IGNORE]])
    assert class_mask(scene, ["car"]).tolist() == [[[0, 1, 0]]]
    assert class_mask(scene).tolist() == [[[1, 1, 0]]]
    assert class_mask(scene, ["sky"]).tolist() == [[[0, 0, 0]]]


def test_a_mask_of_what_changed_holds_what_was_and_what_became_the_classes() -> None:
    before, after = labels([[ROAD, CAR, CAR, SKY, ROAD]]), labels([[CAR, ROAD, CAR, ROAD, IGNORE]])
    assert class_mask(after, (), before).tolist() == [[[1, 1, 0, 1, 1]]]
    assert class_mask(after, ["car"], before).tolist() == [[[1, 1, 0, 0, 0]]]


def test_only_two_versions_of_one_map_are_compared() -> None:
    scene = labels([[ROAD, CAR]])
    with pytest.raises(ValueError, match="1x2 and the earlier one 1x1"):
        class_mask(scene, (), labels([[ROAD]]))
    with pytest.raises(ValueError, match="same palette"):
        class_mask(scene, (), LabelMap(scene.ids, Palette.load("cityscapes34")))
