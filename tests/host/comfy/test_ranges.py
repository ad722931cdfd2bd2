"""A widget's range holds for numbers that come by a link as well, which ComfyUI does not check."""

from __future__ import annotations

import math

import pytest

from tests.host.comfy.pack import pack_nodes

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("comfy_modules")]


@pytest.fixture(scope="module")
def nodes(comfy_modules) -> dict:
    return {node.__name__: node for node in pack_nodes()}


@pytest.mark.parametrize(
    ("name", "inputs", "told"),
    [
        ("AMAdapterApply", {"strength": -1.0}, "Apply AM-Adapter: strength is -1.0, expected 0.0 to 4.0; change what"),
        ("AMAdapterApply", {"strength": math.nan}, "Apply AM-Adapter: strength is nan"),
        ("AMAdapterApply", {"end_percent": 1.5}, "Apply AM-Adapter: end_percent is 1.5"),
        ("AMAdapterMatchView", {"samples": 0}, "Match View: samples is 0, expected 1 to 50"),
        ("AMAdapterEncodeExemplar", {"width": -8}, "Encode Exemplar: width is -8"),
        ("AMAdapterPairExemplars", {"seed": [0], "repeats": [1, 0]}, "repeats is 0, expected 1 to 1000"),
    ],
)
def test_a_number_outside_the_range_is_refused_by_the_node(nodes: dict, name: str, inputs: dict, told: str) -> None:
    with pytest.raises(ValueError) as error:
        nodes[name].execute(**inputs)
    assert told in str(error.value)


def test_numbers_within_the_range_reach_the_node(nodes: dict) -> None:
    painter = nodes["AMAdapterSemanticPainter"]
    labels, _ = painter.execute(palette="cityscapes19", width=8, height=4096, painting="").args
    assert labels.size == (4096, 8)
    with pytest.raises(ValueError, match="width is 7"):
        painter.execute(palette="cityscapes19", width=7, height=8, painting="")
