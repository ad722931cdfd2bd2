"""The pictures that templates show: what is on them, and how large their files are."""

from __future__ import annotations

import io
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from tests.conftest import load_script

RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (90, 90, 90)


@pytest.fixture(scope="module")
def thumbnails() -> ModuleType:
    return load_script("make_thumbnails")


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (128, 64)) -> Image.Image:
    return Image.new("RGB", size, colour)


def test_a_result_fills_it_with_its_sources_in_the_lower_corners(thumbnails) -> None:
    page = thumbnails.arranged([plain(RED)], [plain(GREEN), plain(BLUE)])
    end = thumbnails.SIDE - 10
    assert page.size == (thumbnails.SIDE, thumbnails.SIDE)
    assert [page.getpixel(place) for place in ((10, 10), (end, 10), (10, end), (end, end))] == [RED, RED, GREEN, BLUE]


def test_four_results_are_a_square_in_reading_order(thumbnails) -> None:
    page = thumbnails.arranged([plain(colour) for colour in (RED, GREEN, BLUE, GREY)], [])
    near, far = thumbnails.SIDE // 4, 3 * thumbnails.SIDE // 4
    assert [page.getpixel(place) for place in ((near, near), (far, near), (near, far), (far, far))] == [
        RED,
        GREEN,
        BLUE,
        GREY,
    ]


def test_even_noise_makes_a_small_file(thumbnails) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    content = thumbnails.encoded(Image.fromarray(noise).resize((thumbnails.SIDE, thumbnails.SIDE)))
    assert len(content) < thumbnails.LARGEST
    assert Image.open(io.BytesIO(content)).size == (thumbnails.SIDE, thumbnails.SIDE)


def test_what_is_shown_is_the_triplet_s_parts(thumbnails) -> None:
    inputs = {"exemplar": ["1", 0], "target_labels": ["2", 0], "result": ["3", 0]}
    shown = thumbnails.shown_nodes({"9": {"class_type": "AMAdapterTriplet", "inputs": inputs}})
    saved = {key: node["inputs"]["images"] for key, node in shown.items() if node["class_type"] == "SaveImage"}
    assert saved == {"result": ["3", 0], "exemplar": ["1", 0], "target": ["target_colours", 0]}
    assert shown["target_colours"]["inputs"] == {"labels": ["2", 0]}


def test_of_a_batch_every_result_is_shown(thumbnails) -> None:
    shown = thumbnails.shown_nodes({"9": {"class_type": "AMAdapterSaveBatch", "inputs": {"result": ["3", 0]}}})
    assert {key: node["inputs"]["images"] for key, node in shown.items()} == {"result": ["3", 0]}


def test_without_a_run_the_target_is_shown_with_what_goes_into_it(thumbnails) -> None:
    pictures, insets = thumbnails.inputs_of("scadm_three_modes")
    assert (len(pictures), len(insets)) == (1, 2)
