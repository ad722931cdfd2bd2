"""Layout: agreement of classes, counted exactly, through whatever names the classes of pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from amadapter_core.metrics import Confusion, PretrainedSegmenter, Segmenter, compare_layout, load_segmenter
from amadapter_core.palettes import Palette
from tests.segmentation_models import saved_mask2former, saved_segformer

CLASSES = {0: "sky", 3: "road", 8: "car"}
CITYSCAPES = Palette.load("cityscapes19")


class ByRed:
    """Reads the label id off the red channel."""

    def __init__(self, classes: Mapping[int, str] = CLASSES):
        self.classes = classes

    def predict(self, images: Tensor) -> Tensor:
        return (images[:, 0] * 255).round().long()


def drawn(ids: Tensor) -> Tensor:
    return ids[:, None].expand(-1, 3, -1, -1) / 255


def test_a_result_that_shows_its_target_agrees_wholly() -> None:
    ids = torch.tensor([[[0, 0, 3], [3, 8, 8]]])
    (layout,) = compare_layout(ByRed(), drawn(ids), ids)
    assert layout.accuracy == layout.mean_iou == 1
    assert layout.iou == {0: 1.0, 3: 1.0, 8: 1.0}


def test_agreement_is_counted() -> None:
    target = torch.tensor([[[0, 0, 0, 0, 3, 3, 255, 255]]])
    shown = torch.tensor([[[0, 0, 3, 8, 3, 77, 0, 3]]])
    (layout,) = compare_layout(ByRed(), drawn(shown), target, ignore=255)
    assert layout.accuracy == pytest.approx(3 / 6)
    # Ignored pixels count for nothing; a class that the target lacks has no say of its own.
    assert layout.iou == pytest.approx({0: 2 / 4, 3: 1 / 3})
    assert layout.mean_iou == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_counts_accumulate_to_what_all_pictures_together_give() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor(list(CLASSES))
    target, shown = (labels[torch.randint(3, (4, 6, 5), generator=generator)] for _ in range(2))
    whole, parts = Confusion(CLASSES), Confusion(CLASSES)
    whole.add(shown, target)
    for item in range(4):
        parts.add(shown[item : item + 1], target[item : item + 1])
    assert torch.equal(whole.matrix, parts.matrix) and whole.matrix.sum() == target.numel()
    assert whole.layout.accuracy == pytest.approx(float((shown == target).float().mean()))
    for place, label in enumerate(CLASSES):
        union = ((shown == label) | (target == label)).sum()
        assert whole.layout.iou[label] == pytest.approx(float(((shown == label) & (target == label)).sum() / union))
        assert whole.matrix[place].sum() == (target == label).sum()
    together = Confusion(CLASSES)
    compare_layout(ByRed(), drawn(shown), target, confusion=together)
    assert torch.equal(together.matrix, whole.matrix)


def test_a_target_of_ignored_pixels_alone_says_nothing() -> None:
    (layout,) = compare_layout(ByRed(), torch.zeros(1, 3, 2, 2), torch.full((1, 2, 2), 255), ignore=255)
    assert math.isnan(layout.accuracy) and math.isnan(layout.mean_iou)


def test_label_maps_of_another_size_are_resized_and_one_serves_a_batch() -> None:
    ids = torch.tensor([[[0, 3], [8, 8]]])
    large = ids.repeat_interleave(4, 1).repeat_interleave(4, 2)
    layouts = compare_layout(ByRed(), drawn(large).repeat(3, 1, 1, 1), ids)
    assert [layout.mean_iou for layout in layouts] == [1, 1, 1]
    with pytest.raises(ValueError, match="label maps of batch 2 cannot serve 3 results"):
        compare_layout(ByRed(), drawn(large).repeat(3, 1, 1, 1), ids.repeat(2, 1, 1))


def test_targets_outside_the_table_are_named() -> None:
    with pytest.raises(ValueError, match=r"2 of 4 target pixels hold ids that are no class: \[5, 6\]"):
        Confusion(CLASSES).add(torch.zeros(1, 2, 2).long(), torch.tensor([[[0, 5], [6, 0]]]))
    with pytest.raises(ValueError, match=r"\[1, 2, 2\] and target labels \[1, 2, 3\]"):
        Confusion(CLASSES).add(torch.zeros(1, 2, 2).long(), torch.zeros(1, 2, 3).long())


NAMES = ["Road", "traffic_light", "spaceship", "vegetation, plant life"]


@pytest.mark.parametrize("save", [saved_segformer, pytest.param(saved_mask2former, marks=pytest.mark.slow)])
def test_a_transformers_model_gives_the_palette_s_ids_by_name(save, tmp_path: Path) -> None:
    folder = save(tmp_path / "model", NAMES)
    images = torch.rand(2, 3, 24, 40, generator=torch.Generator().manual_seed(1))
    own, mapped = PretrainedSegmenter(folder), load_segmenter(folder, CITYSCAPES)
    assert own.classes == dict(enumerate(NAMES))
    assert mapped.classes == {0: "road", 6: "traffic light", 8: "vegetation"}
    theirs, ours = own.predict(images), mapped.predict(images)
    assert theirs.shape == ours.shape == (2, 24, 40) and theirs.dtype == torch.int64
    assert torch.equal(torch.tensor([0, 6, -1, 8])[theirs], ours)
    assert torch.equal(own.predict(images, batch=1), theirs)


def test_a_transformers_prediction_is_the_model_s_own(tmp_path: Path) -> None:
    """By the library's documented way, without us."""
    from transformers import SegformerForSemanticSegmentation, SegformerImageProcessor

    folder = saved_segformer(tmp_path / "model", NAMES)
    pixels = np.random.default_rng(0).integers(256, size=(24, 40, 3), dtype=np.uint8)
    with torch.no_grad():
        inputs = SegformerImageProcessor.from_pretrained(folder)(images=pixels, return_tensors="pt")
        logits = SegformerForSemanticSegmentation.from_pretrained(folder)(**inputs).logits
    expected = torch.nn.functional.interpolate(logits, size=(24, 40), mode="bilinear").argmax(1)
    found = PretrainedSegmenter(folder).predict(torch.from_numpy(pixels).movedim(-1, 0)[None] / 255)
    assert len(expected.unique()) > 1 and torch.equal(found, expected)


def test_models_that_cannot_serve_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no config\.json in .*nowhere"):
        PretrainedSegmenter(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="shares no class with palette 'cityscapes19'; the model knows spaceship"):
        PretrainedSegmenter(saved_segformer(tmp_path / "space", ["spaceship", "nebula"]), CITYSCAPES)
    from transformers import CLIPTextConfig, CLIPTextModel

    text = CLIPTextConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=9)
    CLIPTextModel(text).save_pretrained(tmp_path / "text")
    with pytest.raises(ValueError, match="holds CLIPTextModel, expected a model for semantic"):
        PretrainedSegmenter(tmp_path / "text")


def test_our_own_segmenter_is_loaded_from_its_file(tmp_path: Path) -> None:
    Segmenter(CLASSES, 4).save(tmp_path / "s.safetensors")
    assert load_segmenter(tmp_path / "s.safetensors").classes == CLASSES
