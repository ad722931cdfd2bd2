"""What a user painted: as text, and as a label map."""

from __future__ import annotations

import base64
import struct
import zlib
from io import BytesIO

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from amadapter_core.label_maps import NO_PART, LabelMap, Palette
from amadapter_core.painting import (
    MAX_SIDE,
    NOT_PAINTED,
    PREFIX,
    UNLABELLED,
    codes_of,
    painted,
    painted_over,
    read_painting,
    write_painting,
)

CITYSCAPES = Palette.load("cityscapes19")
ROAD, SKY, CAR = (CITYSCAPES.id_of(name) for name in ("road", "sky", "car"))
FACES = Palette.load("celebamaskhq19")  # it has no id for unlabelled pixels


def codes(*rows: list[int]) -> torch.Tensor:
    return torch.tensor(rows)


def url(picture: Image.Image, form: str = "PNG") -> str:
    file = BytesIO()
    picture.save(file, form)
    return PREFIX + base64.b64encode(file.getvalue()).decode()


def png_of_size(width: int, height: int) -> str:
    """A file of some bytes that promises a picture."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return PREFIX + base64.b64encode(data).decode()


class TestText:
    @settings(max_examples=25, deadline=None)
    @given(st.integers(1, 9), st.integers(1, 9), st.data())
    def test_what_is_written_is_read(self, width: int, height: int, data: st.DataObject) -> None:
        values = data.draw(st.lists(st.integers(0, NOT_PAINTED), min_size=width * height, max_size=width * height))
        picture = torch.tensor(values).view(height, width)
        assert torch.equal(read_painting(write_painting(picture)), picture)

    def test_a_street_takes_little_room(self) -> None:
        picture = torch.full((512, 512), SKY)
        picture[256:] = ROAD
        picture[300:400, 100:300] = CAR
        assert len(write_painting(picture)) < 3000

    def test_no_text_is_no_painting(self) -> None:
        assert read_painting(" \n") is None

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("../../etc/passwd", "starts with '../../etc/passwd'"),
            (PREFIX + "no base 64", "no base64 text"),
            (PREFIX + "é", "no base64 text"),
            (PREFIX + base64.b64encode(b"GIF89a" * 9).decode(), "no PNG"),
            (PREFIX, "no PNG"),
            (url(Image.new("L", (2, 2))), "L picture, expected 16-bit grey"),
            (url(Image.new("RGB", (2, 2))), "RGB picture"),
            (png_of_size(MAX_SIDE + 1, 8), f"{MAX_SIDE + 1} x 8 pixels"),
            (png_of_size(0, 8), "0 x 8 pixels"),
            (png_of_size(64, 64), "damaged or not complete"),
        ],
    )
    def test_what_is_no_painting_is_refused(self, text: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            read_painting(text)

    def test_a_text_that_breaks_off_is_refused(self) -> None:
        text = write_painting(torch.randint(0, 20, (64, 64)))
        with pytest.raises(ValueError, match="damaged or not complete"):
            read_painting(text[: len(PREFIX) + 800])

    def test_a_text_that_is_far_too_long_is_refused_unread(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("amadapter_core.painting.MAX_CHARACTERS", 100)
        with pytest.raises(ValueError, match="expected at most 100"):
            read_painting(PREFIX + "A" * 200)

    @pytest.mark.parametrize("value", [-1, NOT_PAINTED + 1])
    def test_codes_have_sixteen_bits(self, value: int) -> None:
        with pytest.raises(ValueError, match="holds codes 0..65535"):
            write_painting(codes([value]))


class TestPaintingAlone:
    def test_painted_pixels_have_their_class_and_all_others_none(self) -> None:
        labels = painted(codes([SKY, NOT_PAINTED], [ROAD, UNLABELLED]), CITYSCAPES, (2, 2))
        assert labels.ids.tolist() == [[[SKY, CITYSCAPES.ignore], [ROAD, CITYSCAPES.ignore]]]
        assert labels.palette is CITYSCAPES

    def test_nothing_painted_is_nothing_labelled(self) -> None:
        labels = painted(None, CITYSCAPES, (3, 2))
        assert labels.ids.tolist() == [[[CITYSCAPES.ignore] * 2] * 3]

    def test_it_is_brought_to_the_size_that_is_asked_for(self) -> None:
        labels = painted(codes([SKY, ROAD]), CITYSCAPES, (2, 4))
        assert labels.ids.tolist() == [[[SKY, SKY, ROAD, ROAD]] * 2]

    def test_ids_mean_what_the_table_says(self) -> None:
        ade = Palette.load("ade20k150")
        labels = painted(codes([7, UNLABELLED]), ade, (1, 2))
        assert labels.ids.tolist() == [[[7, ade.ignore]]]

    def test_classes_that_the_table_does_not_have_are_named(self) -> None:
        with pytest.raises(ValueError, match=r"3 of 4 pixels .* 2 classes .*'cityscapes19'.*: 30 \(2 pixels\), 150"):
            painted(codes([30, 30], [150, SKY]), CITYSCAPES, (2, 2))

    @pytest.mark.parametrize("empty", [NOT_PAINTED, UNLABELLED])
    def test_a_table_without_unlabelled_pixels_has_to_be_painted_full(self, empty: int) -> None:
        with pytest.raises(ValueError, match="1 of 2 pixels .*'celebamaskhq19'.* fill them"):
            painted(codes([1, empty]), FACES, (1, 2))
        assert painted(codes([1, 2]), FACES, (1, 2)).ids.tolist() == [[[1, 2]]]


class TestPaintingOver:
    def test_what_is_not_painted_stays_in_every_picture(self) -> None:
        start = LabelMap(torch.tensor([[[ROAD, ROAD]], [[SKY, SKY]]]), CITYSCAPES)
        labels = painted_over(start, codes([CAR, NOT_PAINTED]))
        assert labels.ids.tolist() == [[[CAR, ROAD]], [[CAR, SKY]]]
        assert painted_over(start, None) is start

    def test_a_class_can_be_taken_away(self) -> None:
        start = LabelMap(torch.tensor([[[ROAD, ROAD]]]), CITYSCAPES, ignore=99)
        assert painted_over(start, codes([UNLABELLED, NOT_PAINTED])).ids.tolist() == [[[99, ROAD]]]

    def test_the_start_decides_on_size_and_table(self) -> None:
        start = LabelMap(torch.ones(1, 2, 4, dtype=torch.long), FACES)
        labels = painted_over(start, codes([2, NOT_PAINTED]))
        assert labels.ids.tolist() == [[[2, 2, 1, 1]] * 2]
        assert labels.palette is FACES
        with pytest.raises(ValueError, match="classes that palette 'celebamaskhq19' does not have"):
            painted_over(start, codes([2, 77]))

    def test_what_is_painted_shows_no_part(self) -> None:
        parts = LabelMap(torch.tensor([[[3, 4]]]), Palette("parts", "", ("a", "b"), (3, 4), ((1, 1, 1), (2, 2, 2))))
        start = LabelMap(torch.tensor([[[CAR, CAR]]]), CITYSCAPES, parts=parts)
        labels = painted_over(start, codes([ROAD, NOT_PAINTED]))
        assert labels.part_ids.tolist() == [[[NO_PART, 4]]]


class TestShowingAStart:
    def test_ignored_pixels_are_unlabelled_in_any_table(self) -> None:
        labels = LabelMap(torch.tensor([[[SKY, 99]], [[ROAD, ROAD]]]), CITYSCAPES, ignore=99)
        assert codes_of(labels).tolist() == [[SKY, UNLABELLED]]

    def test_ids_that_cannot_be_painted_are_reported(self) -> None:
        table = Palette("wide", "", ("a",), (UNLABELLED,), ((1, 1, 1),))
        with pytest.raises(ValueError, match="Remap Classes"):
            codes_of(LabelMap(torch.full((1, 2, 2), UNLABELLED), table))

    def test_so_are_maps_that_are_too_large(self) -> None:
        with pytest.raises(ValueError, match=f"expected 1 to {MAX_SIDE} a side"):
            codes_of(LabelMap(torch.zeros(1, 1, MAX_SIDE + 1, dtype=torch.long), CITYSCAPES))
