"""The label map nodes, executed as ComfyUI does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.host.comfy.pack import finish, pack_module

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("comfy_modules", "model_folder")]

ROAD, CAR, SKY, IGNORE = 0, 13, 10, 255
IDS = torch.tensor([[[ROAD, CAR], [SKY, IGNORE]]])


def node(name: str) -> type:
    files = (pack_module("nodes.label_maps"), pack_module("nodes.label_map_views"))
    return next(kind for file in files for kind in file.NODES if kind.__name__ == f"AMAdapter{name}")


def labels(ids: torch.Tensor = IDS):
    maps = pack_module("amadapter_core.label_maps")
    return maps.LabelMap(ids, maps.Palette.load("cityscapes19"))


@pytest.fixture
def input_folder(comfy_modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import folder_paths

    folder = tmp_path / "input"
    folder.mkdir()
    monkeypatch.setattr(folder_paths, "input_directory", str(folder))
    return folder


def save(path: Path, ids: torch.Tensor = IDS) -> str:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray((labels(ids).colours()[0] * 255).round().byte().numpy()).save(path)
    return path.name


def load(name: str, **options):
    chosen = dict(palette="cityscapes19", reading="auto", unknown="error", tolerance=0.0) | options
    return node("LoadLabelMap").execute(image=name, **chosen)


def test_a_picture_is_loaded_as_labels_and_drawn_in_its_colours(input_folder: Path) -> None:
    found, colours = load(save(input_folder / "scene.png")).args
    assert torch.equal(found.ids, IDS)
    assert torch.equal(colours, found.colours()) and colours.shape == (1, 2, 2, 3)


def test_pictures_are_offered_from_the_input_folder_and_those_in_it(input_folder: Path) -> None:
    save(input_folder / "scene.png")
    save(input_folder / "pasted" / "image.png")
    (input_folder / "notes.txt").write_text("no picture")
    image = node("LoadLabelMap").INPUT_TYPES()["required"]["image"]
    assert image[1]["options"] == ["pasted/image.png", "scene.png"]
    assert image[1]["image_upload"] is True
    assert torch.equal(load("pasted/image.png").args[0].ids, IDS)


def test_a_name_may_say_which_folder_it_is_in(input_folder: Path, tmp_path: Path, monkeypatch) -> None:
    import folder_paths

    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path / "output"))
    save(tmp_path / "output" / "made.png")
    assert torch.equal(load("made.png [output]").args[0].ids, IDS)


def test_ids_are_read_with_offset_and_void(input_folder: Path) -> None:
    Image.fromarray(np.array([[1, 99]], dtype=np.uint8)).save(input_folder / "ids.png")
    found, _ = load("ids.png", offset=-1, void="98, 99").args
    assert found.ids.tolist() == [[[ROAD, IGNORE]]]


def test_changing_the_picture_or_the_palette_file_runs_the_loader_again(input_folder: Path, model_folder: Path) -> None:
    folder = model_folder / "am_adapter" / "palettes"
    folder.mkdir(parents=True)
    table = {"classes": [{"name": "a", "colour": [1, 1, 1]}]}
    (folder / "mine.json").write_text(json.dumps(table))

    def state(image: str | None = "scene.png") -> str:
        return node("LoadLabelMap").fingerprint_inputs(image=image, palette="mine.json", reading="auto")

    save(input_folder / "scene.png")
    first = state()
    save(input_folder / "scene.png")
    assert state() == first
    save(input_folder / "scene.png", torch.full_like(IDS, CAR))
    second = state()
    table["classes"][0]["name"] = "b"
    (folder / "mine.json").write_text(json.dumps(table))
    assert len({first, second, state(), state(None)}) == 4


def test_a_palette_of_the_user_s_is_offered_and_used(model_folder: Path) -> None:
    folder = model_folder / "am_adapter" / "palettes"
    folder.mkdir(parents=True)
    (folder / "mine.json").write_text(json.dumps({"classes": [{"name": "lawn", "colour": [0, 255, 0]}]}))
    options = node("LabelMapFromColours").INPUT_TYPES()["required"]["palette"][1]["options"]
    assert "mine.json" in options and "ade20k150" in options
    green = torch.tensor([0.0, 1.0, 0.0]).expand(1, 2, 2, 3)
    (found,) = node("LabelMapFromColours").execute(green, "mine.json", "error", 0.0).args
    assert found.names_present() == ["lawn"]


def test_errors_name_the_node_once_and_keep_their_kind(input_folder: Path, model_folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match="^Load Label Map: no picture 'gone.png'"):
        load("gone.png")
    with pytest.raises(FileNotFoundError, match="^Load Label Map: .*'gone.json'"):
        load(save(input_folder / "scene.png"), palette="gone.json")
    with pytest.raises(ValueError, match="^Load Label Map: void is 'x', expected whole numbers"):
        load("scene.png", void="x")
    with pytest.raises(ValueError, match="^Label Map from Colour Image: .*4 of 4 pixels have 1 colours"):
        node("LabelMapFromColours").execute(torch.full((1, 2, 2, 3), 0.5), "cityscapes19", "error", 0.0)


def test_naming_leaves_other_errors_alone_and_adds_no_second_name() -> None:
    naming = pack_module("nodes.errors").naming
    checkpoints = pack_module("amadapter_core.checkpoints")
    loader = node("LoadLabelMap")
    with pytest.raises(TypeError, match="^odd$"), naming(loader):
        raise TypeError("odd")
    with pytest.raises(ValueError, match="^Load Label Map: odd$") as caught, naming(loader), naming(loader):
        raise ValueError("odd")
    assert str(caught.value.__cause__) == "odd"
    with pytest.raises(checkpoints.CheckpointError, match="^Load Label Map: odd"), naming(loader):
        raise checkpoints.CheckpointError("odd")
    with pytest.raises(ValueError, match="^Load Label Map: .*utf-8"), naming(loader):
        b"\xff".decode("utf-8")


def test_a_batch_of_pictures_becomes_a_label_map_of_that_batch() -> None:
    batch = labels(torch.cat([IDS, IDS.flip(2)]))
    (found,) = node("LabelMapFromColours").execute(batch.colours(), "cityscapes19", "error", 0.0).args
    assert torch.equal(found.ids, batch.ids)


def test_grey_values_are_ids() -> None:
    grey = (IDS / 255)[..., None].expand(-1, -1, -1, 3)
    for dtype in (torch.float32, torch.float16):
        (found,) = node("LabelMapFromIds").execute(grey.to(dtype), "cityscapes19", "error").args
        assert torch.equal(found.ids, IDS)


def test_grey_files_come_back_whole_from_load_image(input_folder: Path) -> None:
    import nodes

    ids = (np.arange(256) % 182 + 1).astype(np.uint8).reshape(16, 16)
    Image.fromarray(ids).save(input_folder / "ids.png")
    image, _ = nodes.LoadImage().load_image("ids.png")
    (found,) = node("LabelMapFromIds").execute(image, "cocostuff182", "error").args
    assert found.ids.flatten().tolist() == ids.flatten().tolist()


def test_what_is_no_picture_of_ids_is_refused() -> None:
    execute = node("LabelMapFromIds").execute
    with pytest.raises(ValueError, match="^Label Map from Id Image: 3 of 4 pixels are coloured"):
        execute(labels().colours(), "cityscapes19", "error")
    ramp = torch.linspace(0, 10 / 255, 38).reshape(1, 1, 38, 1).expand(-1, -1, -1, 3)
    with pytest.raises(ValueError, match="of 38 pixels lie between two grey levels"):
        execute(ramp, "cityscapes19", "error")


def test_masks_are_laid_over_each_other() -> None:
    masks = torch.tensor([[[1.0, 1.0, 0.0]], [[0.0, 1.0, 0.0]]])
    execute = node("LabelMapFromMasks").execute
    (found,) = execute(masks, "Road\n13", "cityscapes19", "sky", "last").args
    assert found.ids.tolist() == [[[ROAD, CAR, SKY]]]
    (found,) = execute(masks, "road, car", "cityscapes19", " ", "first").args
    assert found.ids.tolist() == [[[ROAD, ROAD, IGNORE]]]
    with pytest.raises(ValueError, match="^Label Map from Masks: .*2 masks but 3 classes"):
        execute(masks, "road, car, sky", "cityscapes19", "", "last")


def test_masks_of_one_class_are_painted_over_a_label_map_in_its_table() -> None:
    execute = node("LabelMapFromMasks").execute
    masks = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 0.0]]])
    (found,) = execute(masks, "car", "ade20k150", "", "last", over=labels()).args
    assert found.ids.tolist() == [[[CAR, CAR], [CAR, IGNORE]]] and found.palette.name == "cityscapes19"
    (found,) = execute(masks[:0], "car", "cityscapes19", "", "last", over=labels()).args
    assert torch.equal(found.ids, IDS)
    (found,) = execute(masks, "car", "cityscapes19", "sky", "last", per_picture=True).args
    assert found.ids.tolist() == [[[CAR, SKY], [SKY, SKY]], [[SKY, SKY], [CAR, SKY]]]
    with pytest.raises(ValueError, match="^Label Map from Masks: pixels in no mask keep .*leave background empty"):
        execute(masks, "car", "cityscapes19", "sky", "last", over=labels())


def test_the_preview_shows_overlay_and_legend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import folder_paths

    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "temp"))
    image = torch.full((2, 4, 8, 3), 0.5)
    output = node("LabelMapPreview").execute(labels(), 1.0, image)
    colours, overlay, legend = output.args
    assert torch.equal(colours, labels().colours())
    assert overlay.shape == image.shape
    assert torch.equal(overlay[1, :2, :4], colours[0, 0, 0].expand(2, 4, 3))
    assert torch.equal(overlay[1, 2:, 4:], image[1, 2:, 4:])  # unlabelled
    assert legend.shape[0] == 1 and legend.shape[3] == 3
    shown = [Image.open(tmp_path / "temp" / entry["filename"]).size for entry in output.ui.as_dict()["images"]]
    assert shown == [(8, 4), (8, 4), (legend.shape[2], legend.shape[1])]


def test_the_preview_needs_no_picture_and_has_room_for_many_classes(tmp_path: Path, monkeypatch) -> None:
    import folder_paths

    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "temp"))
    colours, overlay, few = node("LabelMapPreview").execute(labels(), 0.5).args
    assert torch.equal(colours, overlay)
    maps = pack_module("amadapter_core.label_maps")
    everything = maps.LabelMap(torch.arange(1, 151).reshape(1, 10, 15), maps.Palette.load("ade20k150"))
    _, _, many = node("LabelMapPreview").execute(everything, 0.5).args
    assert many.shape[1] < 600 < 1000 < many.shape[2]


def test_a_label_map_becomes_the_picture_for_apply_controlnet() -> None:
    (colours,) = node("LabelMapToImage").execute(labels()).args
    assert torch.equal(colours, labels().colours())


def test_a_label_map_becomes_a_mask() -> None:
    execute = node("LabelMapToMask").execute
    assert execute(labels(), "car\nsky").args[0].tolist() == [[[0, 1], [1, 0]]]
    assert execute(labels(), "", labels(IDS.flip(2))).args[0].tolist() == [[[1, 1], [1, 1]]]
    with pytest.raises(
        ValueError, match="^Label Map to Mask: .*no class 'lamp'; present in the label map: road, sky, car"
    ):
        execute(labels(), "lamp")


def test_a_picture_that_is_gone_is_refused_before_anything_runs(input_folder: Path, monkeypatch) -> None:

    import execution
    import nodes

    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "AMAdapterLoadLabelMap", node("LoadLabelMap"))
    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "AMAdapterLabelMapPreview", node("LabelMapPreview"))
    save(input_folder / "scene.png")

    def validate(image: str, tolerance: float = 0.0) -> list[str]:
        chosen = dict(palette="cityscapes19", reading="auto", unknown="error", tolerance=tolerance, offset=0, void="")
        prompt = {
            "1": {"class_type": "AMAdapterLoadLabelMap", "inputs": {"image": image, **chosen}},
            "2": {"class_type": "AMAdapterLabelMapPreview", "inputs": {"labels": ["1", 0], "opacity": 0.5}},
        }
        *_, found = finish(execution.validate_prompt("test", prompt, None))
        return [error["details"] for entry in found.values() for error in entry["errors"]]

    assert validate("scene.png") == []
    assert validate("gone.png") == ["image: 'gone.png' not in ['scene.png']"]
    assert validate("scene.png", tolerance=500.0) == ["tolerance"]
