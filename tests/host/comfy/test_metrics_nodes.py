"""Evaluate, executed as ComfyUI does; the share of attention that lands right, on a patched MODEL."""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.host.comfy.pack import pack_module
from tests.segmentation_models import saved_segformer

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("inference", "comfy_modules")]

ROAD, SKY, CAR = 0, 10, 13


def labels(left: int, right: int, h: int = 32, w: int = 64) -> Any:
    maps = pack_module("amadapter_core.label_maps")
    ids = torch.full((1, h, w), left)
    ids[..., w // 2 :] = right
    return maps.LabelMap(ids, maps.Palette.load("cityscapes19"))


def picture(left: float, right: float, h: int = 32, w: int = 64) -> Tensor:
    """Greys [1, h, w, 3]."""
    image = torch.full((1, h, w, 3), left)
    image[:, :, w // 2 :] = right
    return image


def evaluate(*arguments: Any, **options: Any) -> Any:
    return pack_module("nodes.metrics").AMAdapterEvaluate.execute(*arguments, **options)


def test_the_exemplar_mirrored_with_its_layout_has_no_error() -> None:
    found = evaluate(picture(0.2, 0.7), labels(ROAD, SKY), picture(0.7, 0.2), labels(SKY, ROAD))
    colour, texture, report, agreement = found.args
    assert colour == texture == 0 and math.isnan(agreement)
    assert "| road" in report and "| sky" in report and "pixel" not in report
    assert found.ui.as_dict() == {"text": (report,)}


def test_errors_are_means_over_results_and_a_true_picture_adds_pixels() -> None:
    truth, labels_ = picture(0.2, 0.7), labels(ROAD, SKY)
    results = torch.cat([truth, picture(0.5, 0.7)])
    (alone, *_), (both, _, report, _) = (evaluate(x, labels_, truth).args for x in (results[1:], results))
    # From 51 to 127.5 of 255, in one of two classes.
    assert alone == pytest.approx((53.389 - 21.247) / 2, abs=0.02)
    assert both == pytest.approx(alone / 2)
    assert "pixel error (dE)" in report and f"{both:.2f} [0.00, {alone:.2f}]" in report


def test_transparency_is_left_out_and_errors_name_the_node() -> None:
    clear = torch.cat([picture(0.2, 0.7), torch.zeros(1, 32, 64, 1)], -1)
    assert evaluate(clear, labels(ROAD, SKY), picture(0.2, 0.7)).args[0] == 0
    with pytest.raises(
        ValueError, match="^Evaluate AM-Adapter: .*no class in common.*has road, the reference sky, car"
    ):
        evaluate(picture(0.2, 0.7), labels(ROAD, ROAD), picture(0.2, 0.7), labels(SKY, CAR))
    with pytest.raises(ValueError, match="^Evaluate AM-Adapter: the result is 64 x 32, its label map 32 x 64"):
        evaluate(picture(0.2, 0.7, 64, 32), labels(ROAD, SKY), picture(0.2, 0.7))


@pytest.fixture
def segmenter(model_folder: Path) -> str:
    """A segmenter file in the user's folder, which takes everything for road."""
    core = pack_module("amadapter_core.metrics.segmenter")
    with torch.no_grad():
        network = core.Segmenter.of(pack_module("amadapter_core.palettes").Palette.load("cityscapes19"), width=4)
        network.head.weight.zero_()
        network.head.bias.copy_(torch.eye(19)[ROAD])
    network.save(model_folder / "am_adapter" / "roads.safetensors")
    return "roads.safetensors"


def test_a_segmenter_says_how_well_the_result_keeps_to_its_label_map(segmenter: str) -> None:
    truth, layout = picture(0.2, 0.7), labels(ROAD, SKY)
    _, _, report, agreement = evaluate(truth, layout, truth, segmenter=segmenter).args
    assert agreement == pytest.approx(0.5)
    assert "layout accuracy" in report and "iou" in report
    folders = pack_module("amadapter_core.hosts.comfy.folders")
    segmenters = pack_module("amadapter_core.hosts.comfy.segmenters")
    assert folders.matchers() == [] and segmenters.segmenters()[-1] == segmenter
    maps = pack_module("amadapter_core.label_maps")
    other = maps.LabelMap(torch.full((1, 32, 64), 1), maps.Palette.load("ade20k150"))
    with pytest.raises(ValueError, match="^Evaluate AM-Adapter: the segmenter 'roads.safetensors' does not know wall"):
        evaluate(truth, other, truth, segmenter=segmenter)


def test_a_segmentation_model_judges_by_the_names_of_its_classes(model_folder: Path) -> None:
    saved_segformer(model_folder / "segmentation" / "streets", ["wall", "Road", "sky"])
    segmenters = pack_module("amadapter_core.hosts.comfy.segmenters")
    name = "segmentation/streets"
    assert segmenters.segmenters()[-1] == name
    truth, layout = picture(0.2, 0.7), labels(ROAD, SKY)
    _, _, report, agreement = evaluate(truth, layout, truth, segmenter=name).args
    network = pack_module("amadapter_core.metrics.pretrained").PretrainedSegmenter(
        model_folder / "segmentation" / "streets", layout.palette
    )
    seen = network.predict(truth.movedim(-1, 1))
    assert agreement == pytest.approx(float((seen == layout.ids).float().mean())) and "layout accuracy" in report
    with pytest.raises(
        ValueError, match="^Evaluate AM-Adapter: the segmenter 'segmentation/streets' does not know car"
    ):
        evaluate(truth, labels(ROAD, CAR), truth, segmenter=name)
    state = segmenters.segmenter_state(name)
    (model_folder / "segmentation" / "streets" / "config.json").touch()
    assert state and segmenters.segmenter_state(name) != state


def test_match_share_observes_a_patched_model(tiny: ModuleType) -> None:
    """Classes alone decide, so all of the exemplar's mass lies in the right class, at every site."""
    import comfy.sample

    core, host = pack_module("amadapter_core.exemplar"), "amadapter_core.hosts.comfy"
    MatchShare = pack_module("amadapter_core.metrics.matching").MatchShare
    patch = pack_module(f"{host}.patch")
    latents = torch.randn(1, 4, 8, 16, generator=torch.Generator().manual_seed(1))
    exemplar_labels, target = labels(SKY, ROAD, 64, 128), labels(ROAD, SKY, 64, 128)
    trajectory = core.Trajectory.forward_noise(latents, torch.Generator().manual_seed(2))
    exemplar = pack_module(f"{host}.exemplar").HostExemplar(core.Exemplar(trajectory, exemplar_labels))
    shares = {}
    Mode = pack_module("amadapter_core.matching").Mode
    for mode in (Mode.IMPLICIT, Mode.CATEGORICAL):
        application = pack_module(f"{host}.application").Application(exemplar, target, mode=mode)
        seen = MatchShare(target.ids, exemplar_labels.ids, ignore=255)
        model = patch.observed(patch.apply(tiny.tiny_model(), application), seen)
        context = [[torch.randn(1, 77, 64, generator=torch.Generator().manual_seed(3)), {}]]
        noise = torch.randn(1, 4, 8, 16, generator=torch.Generator().manual_seed(4))
        clean = torch.zeros_like(noise)
        comfy.sample.sample(model, noise, 2, 2.0, "euler", "normal", context, context, clean, seed=0)
        shares[mode] = seen
    assert shares[Mode.CATEGORICAL].class_share.item() == pytest.approx(1, abs=1e-5)
    assert 0.2 < shares[Mode.IMPLICIT].class_share.item() < 0.8
    assert 0 < shares[Mode.IMPLICIT].exemplar_share.item() < 1
    assert len(shares[Mode.IMPLICIT].by_site) > 5
