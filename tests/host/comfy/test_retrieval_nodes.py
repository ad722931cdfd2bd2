"""Build Exemplar Index, Load Exemplar Index and Retrieve Exemplars, executed as ComfyUI does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from amadapter_core.label_maps import LabelMap, Palette
from amadapter_core.retrieval.made import made_labels
from tests.host.comfy.pack import pack_module
from tests.segmentation_models import saved_segformer

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("inference", "comfy_modules")]

SIZE = (32, 64)
OWN, NONE = "the data set's own", "none"


def labels(*seeds: int) -> LabelMap:
    ids = np.stack([made_labels(seed, SIZE) for seed in seeds])
    return LabelMap(torch.from_numpy(ids).long(), Palette.load("cityscapes19"))


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight pairs in ComfyUI's input folder; the first four are dark."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "get_input_directory", lambda: str(tmp_path / "input"))
    monkeypatch.setattr(folder_paths, "get_temp_directory", lambda: str(tmp_path / "temp"))
    root = tmp_path / "input" / "streets"
    dice = np.random.default_rng(0)
    for number in range(8):
        picture = dice.integers(0, 40, (*SIZE, 3)) + (0 if number < 4 else 200)
        for kind, array in (("images", picture.astype(np.uint8)), ("labels", made_labels(number, SIZE))):
            (root / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(root / kind / f"{number}.png")
    return root


def node(name: str) -> type:
    return getattr(pack_module("nodes.retrieval"), f"AMAdapter{name}")


def build(name: str = "mine", folder: str = "streets", palette: str = "cityscapes19", **options: Any) -> Any:
    given = dict(kind="folder", split="", reading="ids", segmenter=NONE) | options
    return node("BuildIndex").execute(name, folder, palette=palette, **given)


def retrieve(index: Any, target: LabelMap, **options: Any) -> Any:
    given = dict(
        count=3,
        must_have="",
        penalty=0.5,
        near_duplicate=0.97,
        diversity=0.0,
        variation=0.0,
        seed=0,
        appearance_share=0.25,
        retrieval_json="",
        target_name="target",
    )
    return node("RetrieveExemplars").execute(index, target, **(given | options))


def test_an_index_is_built_loaded_and_asked(folder: Path, model_folder: Path) -> None:
    (folder / "labels" / "5.png").unlink()
    built = build("city/streets")
    index, report = built.args
    assert report.startswith("7 pairs: 7 read now, 0 known, 0 gone\n1 left out:\n- images/5.png: it has no label map")
    assert (model_folder / "exemplar_indexes" / "city" / "streets.safetensors").is_file()
    assert build("city/streets").args[1].startswith("7 pairs: 0 read now, 7 known")
    assert node("LoadIndex").INPUT_TYPES()["required"]["index_name"][1]["options"] == ["city/streets.safetensors"]
    (loaded,) = node("LoadIndex").execute("city/streets.safetensors", "").args
    assert loaded.index.names == index.index.names

    images, drawn, scores, names, text = retrieve(loaded, labels(2)).args
    assert len(images) == len(drawn) == 3 and "2" not in names
    assert scores == sorted(scores, reverse=True) and json.loads(text) == {"target": names}
    for image, one, name in zip(images, drawn, names, strict=True):
        assert torch.equal(one.ids, labels(int(name)).ids)
        stored = np.array(Image.open(folder / "images" / f"{name}.png"))
        assert torch.equal((image[0] * 255).round(), torch.from_numpy(stored).float())


def test_each_target_of_a_batch_has_exemplars_and_a_sheet_of_its_own(folder: Path) -> None:
    index = build().args[0]
    answer = retrieve(index, labels(20, 21), count=2)
    names, listed = answer.args[3], json.loads(answer.args[4])
    assert listed == {"target_00000": names[:2], "target_00001": names[2:]}
    assert names[:2] == retrieve(index, labels(20), count=2).args[3]
    assert len(answer.ui.as_dict()["images"]) == 2


def test_a_retrieval_json_decides_instead_of_the_search(folder: Path) -> None:
    index = build().args[0]
    pairs = folder.parent / "pairs.json"
    pairs.write_text(json.dumps({"b1": ["7", "0", "3"]}))
    options = dict(retrieval_json="pairs.json", target_name="b1", count=2)
    _, _, scores, names, text = retrieve(index, labels(2), **options).args
    assert names == ["7", "0"] and json.loads(text) == {"b1": ["7", "0"]} and scores[0] != scores[1]
    with pytest.raises(ValueError, match="^Retrieve Exemplars: .*pairs.json does not list the target 'b2'; it has 1"):
        retrieve(index, labels(2), **(options | {"target_name": "b2"}))
    state = node("RetrieveExemplars").fingerprint_inputs
    before = state(retrieval_json="pairs.json", index=None)
    pairs.write_text("{}")
    assert before and before != state(retrieval_json="pairs.json", index=None) and state(retrieval_json="") == ""


def test_wishes_that_cannot_be_met_name_the_node(folder: Path) -> None:
    index = build().args[0]
    with pytest.raises(ValueError, match="^Retrieve Exemplars: .*8 in the index, 0 with train"):
        retrieve(index, labels(2), must_have="train")
    with pytest.raises(ValueError, match="^Build Exemplar Index: folder is empty"):
        build(folder=" ")
    with pytest.raises(FileNotFoundError, match="^Build Exemplar Index: .*no folder .*gone"):
        build(folder="gone")
    with pytest.raises(ValueError, match="^Build Exemplar Index: .*say which palette"):
        build(palette=OWN)
    with pytest.raises(ValueError, match="^Build Exemplar Index: the name '../x' is none for a file"):
        build("../x")
    with pytest.raises(FileNotFoundError, match="^Load Exemplar Index: no index 'x.safetensors': searched"):
        node("LoadIndex").execute("x.safetensors", "")


def test_a_data_set_that_moved_is_asked_for_and_found_where_it_lies(folder: Path) -> None:
    build()
    folder.rename(folder.with_name("moved"))
    with pytest.raises(FileNotFoundError, match="^Load Exemplar Index: .*is not in .*streets; say in folder"):
        node("LoadIndex").execute("mine.safetensors", "")
    (index,) = node("LoadIndex").execute("mine.safetensors", "moved").args
    assert len(retrieve(index, labels(2)).args[0]) == 3


def test_changed_files_run_the_nodes_again(folder: Path) -> None:
    built, loaded = node("BuildIndex").fingerprint_inputs, node("LoadIndex").fingerprint_inputs
    assert loaded("mine.safetensors", "") == "" and built(folder=None) == ""
    build()
    states = built(folder="streets", name=None), loaded("mine.safetensors", "")
    (folder / "images" / "7.png").unlink()
    build()
    assert all(states) and built(folder="streets") != states[0] and loaded("mine.safetensors", "") != states[1]


def test_cancelling_keeps_what_was_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import comfy.model_management as management

    asked = []

    def interrupted() -> None:
        asked.append(1)
        if len(asked) == 4:
            raise management.InterruptProcessingException

    with monkeypatch.context() as patch:
        patch.setattr(management, "throw_exception_if_processing_interrupted", interrupted)
        with pytest.raises(management.InterruptProcessingException):
            build()
    assert node("LoadIndex").INPUT_TYPES()["required"]["index_name"][1]["options"] == []
    assert build().args[1].startswith("8 pairs: 4 read now, 4 known")


def test_pictures_alone_are_segmented_into_the_folder(folder: Path, model_folder: Path) -> None:
    for file in (folder / "labels").iterdir():
        file.unlink()
    kept = labels(0).ids[0].byte().numpy()
    Image.fromarray(kept).save(folder / "labels" / "0.png")
    (folder / "images" / "1.png").write_bytes(b"x")
    saved_segformer(model_folder / "segmentation" / "net", ["road", "sky"])
    index, report = build(segmenter="net").args
    assert index.index.names == ["0", "2", "3", "4", "5", "6", "7"] and "images/1.png: " in report
    assert "no picture" in report and np.array_equal(np.array(Image.open(folder / "labels" / "0.png")), kept)
    found = np.unique(np.array(Image.open(folder / "labels" / "2.png")))
    assert set(found.tolist()) <= {0, 10}
    with pytest.raises(ValueError, match="^Build Exemplar Index: a segmenter draws label maps of ids"):
        build(segmenter="net", reading="colours")


def clip_vision(seed: int) -> Any:
    """ComfyUI's CLIP_VISION of one layer."""
    from comfy.clip_vision import ClipVisionModel

    torch.manual_seed(seed)
    sizes = dict(hidden_size=16, intermediate_size=16, num_attention_heads=2, num_hidden_layers=2, projection_dim=8)
    model = ClipVisionModel(
        dict(
            image_size=32,
            patch_size=16,
            num_channels=3,
            hidden_act="quick_gelu",
            layer_norm_eps=1e-5,
            model_type="clip_vision_model",
            **sizes,
        )
    )
    model.load_sd(
        {name: torch.randn(value.shape) * 0.3 for name, value in model.get_sd().items() if value.is_floating_point()}
    )
    return model


def test_exemplars_are_asked_for_by_a_picture_of_their_appearance(folder: Path) -> None:
    vision = clip_vision(1)
    index = build(clip_vision=vision).args[0]
    assert index.index.embeddings.shape == (8, 8)
    dark = torch.from_numpy(np.array(Image.open(folder / "images" / "1.png"))).float()[None] / 255
    options = dict(appearance=dark, clip_vision=vision, appearance_share=0.5, count=4, near_duplicate=1.01)
    assert sorted(retrieve(index, labels(20), **options).args[3]) == ["0", "1", "2", "3"]
    for changed, told in (
        (dict(clip_vision=None), "no clip_vision; connect both"),
        (dict(clip_vision=clip_vision(2)), "built with another clip_vision"),
    ):
        with pytest.raises(ValueError, match=f"^Retrieve Exemplars: .*{told}"):
            retrieve(index, labels(20), **(options | changed))
    with pytest.raises(ValueError, match="^Retrieve Exemplars: .*built without clip_vision"):
        retrieve(build().args[0], labels(20), **options)
