"""Label maps from segmentation models, in other tables, cut and merged: the nodes, executed as ComfyUI does."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.host.comfy.pack import pack_module
from tests.segmentation_models import saved_mask2former, saved_oneformer, saved_segformer, saved_upernet

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("comfy_modules", "model_folder")]

ROAD, CAR, SKY, IGNORE = 0, 13, 10, 255
IDS = torch.tensor([[[ROAD, CAR], [SKY, IGNORE]]])
OWN = "the model's own"
NAMES = ["wall", "building ", "spaceship", "vegetation, plant life"]


def node(name: str) -> type:
    return getattr(pack_module("nodes.label_map_tools"), f"AMAdapter{name}")


def labels(ids: torch.Tensor = IDS):
    maps = pack_module("amadapter_core.label_maps")
    return maps.LabelMap(ids, maps.Palette.load("cityscapes19"))


@pytest.fixture
def photographs() -> torch.Tensor:
    return torch.rand(2, 24, 40, 3, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("save", [saved_segformer, saved_upernet, saved_mask2former, saved_oneformer])
def test_a_model_segments_in_comfyui_s_memory_management(
    save: Callable, photographs: torch.Tensor, model_folder: Path, monkeypatch: pytest.MonkeyPatch, inference: None
) -> None:
    import comfy.model_management

    from amadapter_core.metrics import PretrainedSegmenter

    def connect(*_) -> None:
        raise AssertionError("reaches for the network")

    folder = save(model_folder / "segmentation" / "maker" / "net", NAMES)
    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    options = node("LabelMapFromSegmentation").INPUT_TYPES()["required"]["model_name"][1]["options"]
    assert options == ["maker/net"]
    found, colours = node("LabelMapFromSegmentation").execute(photographs, "maker/net", OWN).args
    assert found.palette.names == ("wall", "building", "spaceship", "vegetation")
    assert found.ids.shape == (2, 24, 40) and colours.shape == (2, 24, 40, 3)
    expected = PretrainedSegmenter(folder).predict(photographs.movedim(-1, 1))
    assert torch.equal(found.ids, expected)
    held = [loaded.model.model for loaded in comfy.model_management.current_loaded_models]
    assert any(type(network).__name__ == "Held" for network in held)


def test_classes_are_brought_to_the_palette_that_is_asked_for(photographs: torch.Tensor, model_folder: Path) -> None:
    saved_segformer(model_folder / "segmentation" / "net", NAMES)
    execute = node("LabelMapFromSegmentation").execute
    own = execute(photographs, "net", OWN).args[0]
    city = execute(photographs, "net", "cityscapes19").args[0]
    assert torch.equal(torch.tensor([3, 2, 255, 8])[own.ids], city.ids) and city.palette.name == "cityscapes19"
    assert len(own.ids.unique()) > 1
    with pytest.raises(ValueError, match=r"^Label Map from Segmentation Model: .*shares no class with palette"):
        execute(photographs, "net", "celebamaskhq19")


def test_a_changed_model_runs_again(model_folder: Path) -> None:
    def state(palette: str = OWN) -> str:
        return node("LabelMapFromSegmentation").fingerprint_inputs(model_name="net", palette=palette, image=None)

    folder = model_folder / "segmentation" / "net"
    assert state() == ""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    first = state()
    (folder / "model.safetensors").write_bytes(b"1")
    assert len({"", first, state(), state("cityscapes19")}) == 4


def test_what_a_model_lacks_is_said(
    photographs: torch.Tensor, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = node("LabelMapFromSegmentation").execute
    with pytest.raises(FileNotFoundError, match=r"^Label Map from Segmentation Model: no segmentation network 'gone'"):
        execute(photographs, "gone", OWN)
    with pytest.raises(ValueError, match=r"the name '\.\./gone' leaves"):
        execute(photographs, "../gone", OWN)
    folder = saved_segformer(model_folder / "segmentation" / "net", NAMES)
    weights = (folder / "model.safetensors").read_bytes()
    for spoilt in (weights[:100], None):
        (folder / "model.safetensors").unlink()
        if spoilt:
            (folder / "model.safetensors").write_bytes(spoilt)
        with pytest.raises(ValueError, match=r"net cannot be read: .*; it should hold config\.json, .*, complete"):
            execute(photographs, "net", OWN)
        (folder / "model.safetensors").touch()
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ValueError, match="net cannot be read"):
        execute(photographs, "net", OWN)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match="transformers is not installed; pip install"):
        execute(photographs, "net", OWN)


def remap(**options) -> tuple:
    chosen = dict(labels=labels(), palette="ade20k150", table="built-in", changes="", left_out="ignore") | options
    return node("RemapClasses").execute(**chosen).args


def test_classes_are_remapped_by_the_built_in_table_and_by_changes() -> None:
    found, unlabelled = remap()
    assert found.ids.tolist() == [[[7, 21], [3, 0]]] and found.palette.name == "ade20k150"
    assert unlabelled.tolist() == [[[0, 0], [0, 1]]]
    assert remap(changes="car -> van\nsky -> none")[0].ids.tolist() == [[[7, 103], [0, 0]]]
    assert remap(table="class names", palette="cityscapes34")[0].ids.tolist() == [[[7, 26], [23, 0]]]


def test_classes_without_a_counterpart_may_be_an_error() -> None:
    train = labels(torch.tensor([[[16, IGNORE]]]))
    assert remap(labels=train)[1].tolist() == [[[1, 1]]]
    with pytest.raises(ValueError, match="^Remap Classes: 1 classes .* no counterpart in 'ade20k150': train; map them"):
        remap(labels=train, left_out="error")
    with pytest.raises(ValueError, match="^Remap Classes: no built-in table brings 'cityscapes19' to 'nyu40'"):
        remap(palette="nyu40")


def test_a_table_of_the_user_s_is_offered_used_and_read_again_when_it_changes(model_folder: Path) -> None:
    folder = model_folder / "am_adapter" / "mappings"
    folder.mkdir(parents=True)
    (folder / "mine.json").write_text(json.dumps({"classes": {"car": "boat"}, "others": None}))
    options = node("RemapClasses").INPUT_TYPES()["required"]["table"][1]["options"]
    assert options == ["built-in", "class names", "mine.json"]
    assert remap(table="mine.json")[0].ids.tolist() == [[[0, 77], [0, 0]]]

    def state() -> str:
        return node("RemapClasses").fingerprint_inputs(palette="ade20k150", table="mine.json", labels=None)

    first = state()
    (folder / "mine.json").write_text(json.dumps({"classes": {"car": "bus"}, "others": None}))
    assert state() != first
    with pytest.raises(FileNotFoundError, match=r"^Remap Classes: no table 'gone\.json': searched .*mappings"):
        remap(table="gone.json")


def cut(**options) -> tuple:
    chosen = dict(labels=labels(), classes="car", fill="surroundings", fill_class="") | options
    return node("CutRegion").execute(**chosen).args


def test_a_region_is_cut_and_laid_back() -> None:
    rest, region, mask = cut()
    assert rest.names_present() == ["road", "sky"] and region.names_present() == ["car"]
    assert mask.tolist() == [[[0, 1], [0, 0]]]
    assert cut(fill="class", fill_class="Bus")[0].ids.tolist() == [[[ROAD, 15], [SKY, IGNORE]]]
    assert cut(fill="unlabelled", classes="", mask=mask)[0].ids.tolist() == [[[ROAD, IGNORE], [SKY, IGNORE]]]
    execute = node("MergeRegion").execute
    assert torch.equal(execute(rest, region, 0, 0, 1.0).args[0].ids, IDS)
    assert execute(rest, region, -1, 1, 1.0).args[0].ids[0, 1].tolist() == [CAR, IGNORE]
    assert torch.equal(execute(rest, region, 0, 0, 1.0, mask=1 - mask).args[0].ids, rest.ids)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": " "}, "nothing says what to cut out; name classes, or connect a mask"),
        ({"fill": "class"}, "fill is class, but fill_class is empty"),
        ({"classes": "boat"}, "palette 'cityscapes19' has no class 'boat'"),
    ],
)
def test_what_a_cut_lacks_is_said(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^Cut Region: {message}"):
        cut(**options)


def test_regions_of_other_tables_are_not_merged() -> None:
    with pytest.raises(ValueError, match="^Merge Region: the classes of the region follow 'ade20k150'"):
        node("MergeRegion").execute(labels(), remap()[0], 0, 0, 1.0)
