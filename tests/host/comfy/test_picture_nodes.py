"""The nodes that draw pictures for people."""

from __future__ import annotations

import pytest
import torch

from tests.host.comfy.pack import pack_module

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("comfy_modules")]


def test_the_triplet_has_a_row_for_every_result() -> None:
    maps = pack_module("amadapter_core.label_maps")
    labels = maps.LabelMap(torch.zeros(1, 4, 4, dtype=torch.long), maps.Palette.load("cityscapes19"))
    execute = pack_module("nodes.pictures").AMAdapterTriplet.execute
    image = torch.rand(1, 16, 16, 3)
    (three,) = execute(image, labels, image.expand(2, -1, -1, -1), True, 64).args
    (four,) = execute(image, labels, image, False, 64, exemplar_labels=labels).args
    assert len(three) == 2 and three.shape[3] == 3
    assert four.shape[2] > three.shape[2] and four.shape[1] < three.shape[1]
    with pytest.raises(ValueError, match="^Triplet: .*batch 2 cannot stand beside 1 results"):
        execute(image.expand(2, -1, -1, -1), labels, image, True, 64)
