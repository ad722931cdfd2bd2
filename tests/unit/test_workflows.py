"""Workflows as files: the frontend's form, the prompt it becomes, and the examples that come along."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from amadapter_core.demo import files
from amadapter_core.demo.files import shipped
from amadapter_core.demo.inputs import PREFIX as OF_DEMO
from amadapter_core.demo.inputs import write_inputs
from amadapter_core.label_maps import LabelMap, Palette

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ROOT / "workflows"
SUBGRAPHS = ROOT / "subgraphs"
FOLDERS = ("AMAdapterBuildIndex", "AMAdapterLoadPairs")
"""Nodes that read a folder of pictures."""


def folder_of(node: dict) -> str:
    """The folder a node names: Build Exemplar Index says its index's name first."""
    return node["widgets_values"][node["type"] == "AMAdapterBuildIndex"]


@pytest.fixture(scope="module")
def workflow(run_script: ModuleType) -> ModuleType:
    return run_script.workflow


# A loader, a node with every kind of widget, and an output.
OBJECT_INFO = {
    "Load": {
        "display_name": "Load",
        "input": {"required": {"name": [["a", "b"], {"image_upload": True}], "scale": ["FLOAT", {"default": 1.0}]}},
        "input_order": {"required": ["name", "scale"]},
    },
    "Sample": {
        "display_name": "Sample",
        "input": {
            "required": {
                "model": ["MODEL", {}],
                "seed": ["INT", {"default": 0}],
                "mode": ["COMBO", {"options": ["x", "y"]}],
                "linked": ["INT", {"forceInput": True}],
            },
            "optional": {"mask": ["MASK", {}], "text": ["STRING", {"default": ""}]},
        },
        "input_order": {"required": ["model", "seed", "mode", "linked"], "optional": ["mask", "text"]},
    },
    "Save": {
        "display_name": "Save",
        "input": {"required": {"model": ["MODEL", {}]}},
        "input_order": {"required": ["model"]},
    },
}


def node(number: int, kind: str, values: list | dict = (), inputs: dict | None = None, **more) -> dict:
    entries = [{"name": name, "type": "MODEL", "link": link} for name, link in (inputs or {}).items()]
    return {"id": number, "type": kind, "mode": 0, "inputs": entries, "widgets_values": values, **more}


def chain(middle: dict) -> dict:
    """Load -> a node in between -> Save."""
    return {
        "nodes": [
            node(1, "Load", ["b", 2.0, "image"]),
            middle,
            node(3, "Save", inputs={"model": 2}),
        ],
        "links": [[1, 1, 0, 2, 0, "MODEL"], [2, 2, 0, 3, 0, "MODEL"]],
    }


SAMPLE = node(2, "Sample", [5, "fixed", "y", "hello"], {"model": 1, "mask": None})


class TestMakingAPrompt:
    def test_positions_become_names_and_links_become_sources(self, workflow) -> None:
        prompt = workflow.to_prompt(chain(SAMPLE), OBJECT_INFO)
        assert prompt["1"]["inputs"] == {"name": "b", "scale": 2.0}
        # The choice after the seed is the frontend's own; what is not connected is left out.
        assert prompt["2"]["inputs"] == {"model": ["1", 0], "seed": 5, "mode": "y", "text": "hello"}
        assert prompt["3"]["inputs"] == {"model": ["2", 0]}

    def test_a_value_that_an_older_file_lacks_is_the_default(self, workflow) -> None:
        prompt = workflow.to_prompt(chain(SAMPLE | {"widgets_values": [5, "fixed"]}), OBJECT_INFO)
        assert prompt["2"]["inputs"] == {"model": ["1", 0], "seed": 5, "mode": "x", "text": ""}

    def test_values_may_come_by_name(self, workflow) -> None:
        prompt = workflow.to_prompt(chain(SAMPLE | {"widgets_values": {"seed": 7, "other": 1}}), OBJECT_INFO)
        assert prompt["2"]["inputs"] == {"model": ["1", 0], "seed": 7}

    def test_a_seed_may_do_without_a_choice_after_it(self, workflow) -> None:
        info = copy.deepcopy(OBJECT_INFO)
        info["Sample"]["input"]["required"]["seed"][1]["control_after_generate"] = False
        prompt = workflow.to_prompt(chain(SAMPLE | {"widgets_values": [5, "y", "hello"]}), info)
        assert prompt["2"]["inputs"]["mode"] == "y"

    def test_a_bypassed_node_hands_on_what_fits(self, workflow) -> None:
        prompt = workflow.to_prompt(chain(SAMPLE | {"mode": workflow.BYPASS}), OBJECT_INFO)
        assert set(prompt) == {"1", "3"}
        assert prompt["3"]["inputs"] == {"model": ["1", 0]}

    def test_a_muted_node_is_gone_with_its_links(self, workflow) -> None:
        prompt = workflow.to_prompt(chain(SAMPLE | {"mode": workflow.NEVER}), OBJECT_INFO)
        assert prompt["3"]["inputs"] == {}

    def test_reroutes_and_notes_leave_no_trace(self, workflow) -> None:
        graph = chain(node(2, "Reroute", inputs={"": 1}))
        graph["nodes"].append(node(4, "MarkdownNote", ["text"]))
        assert workflow.to_prompt(graph, OBJECT_INFO)["3"]["inputs"] == {"model": ["1", 0]}

    def test_a_primitive_gives_its_value(self, workflow) -> None:
        graph = chain(SAMPLE)
        graph["nodes"].append(node(4, "PrimitiveNode", [99, "fixed"]))
        graph["links"].append([3, 4, 0, 2, 2, "INT"])
        graph["nodes"][1] = SAMPLE | {"inputs": [*SAMPLE["inputs"], {"name": "seed", "type": "INT", "link": 3}]}
        assert workflow.to_prompt(graph, OBJECT_INFO)["2"]["inputs"]["seed"] == 99

    def test_an_unknown_node_is_named(self, workflow) -> None:
        with pytest.raises(workflow.WorkflowError, match="Sampel"):
            workflow.to_prompt(chain(SAMPLE | {"type": "Sampel"}), OBJECT_INFO)


class TestTheTinyModel:
    def test_every_loader_is_replaced_and_loras_are_passed_by(self, workflow) -> None:
        prompt = {
            "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "big.safetensors"}},
            "2": {"class_type": "LoraLoader", "inputs": {"model": ["1", 0], "clip": ["1", 1], "lora_name": "l"}},
            "3": {"class_type": "LoraLoaderModelOnly", "inputs": {"model": ["2", 0], "lora_name": "l"}},
            "4": {"class_type": "KSampler", "inputs": {"model": ["3", 0], "steps": 30}},
            "5": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["2", 1]}},
        }
        before = copy.deepcopy(prompt)
        tiny = workflow.on_tiny_model(prompt)
        assert prompt == before
        assert tiny == {
            "1": {"class_type": "TinySD15Checkpoint", "inputs": {"seed": 0}},
            "4": {"class_type": "KSampler", "inputs": {"model": ["1", 0], "steps": workflow.TINY_STEPS}},
            "5": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1]}},
        }

    def test_a_stand_in_for_a_generator_knows_its_file_and_its_supports(self, workflow) -> None:
        loaded = {"generator_name": "ipose_EMA.pth", "weights": "ema", "width": 0, "height": 0, "supports": ["1", 0]}
        prompt = {
            "1": {"class_type": "AMAdapterLoadSupports", "inputs": {"supports_name": "pack.safetensors"}},
            "2": {"class_type": "AMAdapterLoadGenerator", "inputs": loaded},
        }
        assert workflow.on_tiny_model(prompt) == {
            "1": {"class_type": "TinySupports", "inputs": {"seed": 0}},
            "2": {
                "class_type": "TinyGenerator",
                "inputs": {"seed": 0, "generator_name": "ipose_EMA.pth", "supports": ["1", 0]},
            },
        }

    def test_a_model_counts_as_there_in_any_of_the_folders(self, workflow, tmp_path: Path) -> None:
        graph = {"nodes": [node(1, "CheckpointLoaderSimple", ["a.safetensors"]), node(2, "LoraLoader", ["b", 1, 1])]}
        folders = [tmp_path / "ours", tmp_path / "theirs"]
        assert workflow.missing_files(graph, folders) == ["checkpoints/a.safetensors", "loras/b"]
        (tmp_path / "theirs" / "checkpoints").mkdir(parents=True)
        (tmp_path / "theirs" / "checkpoints" / "a.safetensors").touch()
        assert workflow.missing_files(graph, folders) == ["loras/b"]


class TestTheExamples:
    def test_they_are_what_the_generator_makes(self, make_workflows_script) -> None:
        for folder, texts in (
            (WORKFLOWS, make_workflows_script.workflow_texts()),
            (SUBGRAPHS, make_workflows_script.blueprint_texts()),
        ):
            written = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
            assert written == texts, "run python scripts/make_workflows.py"

    @pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*.json")), ids=lambda path: path.stem)
    def test_no_node_covers_another(self, path: Path) -> None:
        boxes = [
            (
                entry["pos"][0],
                entry["pos"][1] - 30,
                entry["pos"][0] + entry["size"][0],
                entry["pos"][1] + entry["size"][1],
            )
            for entry in json.loads(path.read_text(encoding="utf-8"))["nodes"]
        ]
        for i, (left, top, right, bottom) in enumerate(boxes):
            for other in boxes[:i]:
                assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top

    @pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*.json")), ids=lambda path: path.stem)
    def test_their_pictures_come_along(self, path: Path) -> None:
        for entry in json.loads(path.read_text(encoding="utf-8"))["nodes"]:
            if entry["type"] in ("LoadImage", "LoadImageMask", "AMAdapterLoadLabelMap"):
                assert (WORKFLOWS / "inputs" / entry["widgets_values"][0]).is_file()
            if entry["type"] in FOLDERS:
                assert (WORKFLOWS / "inputs" / folder_of(entry)).is_dir()

    def test_the_input_pictures_are_small(self) -> None:
        inputs = WORKFLOWS / "inputs"
        for path in inputs.rglob("*.png"):
            assert path.stat().st_size < 150_000
            with Image.open(path) as picture:
                assert picture.size == (512, 512) or str(path.relative_to(inputs)).startswith(OF_DEMO)

    def test_each_has_a_thumbnail_once_the_demonstration_makes_them(self) -> None:
        if not shipped():
            pytest.skip("the demonstration's weights are not all there")
        for path in WORKFLOWS.glob("*.json"):
            thumbnail = path.with_suffix(".jpg")
            assert thumbnail.is_file(), f"run python scripts/make_thumbnails.py {path.stem}"
            assert thumbnail.stat().st_size < 60_000
            with Image.open(thumbnail) as picture:
                assert picture.width in range(400, 513)

    def test_each_has_a_variant_on_the_demonstration_once_that_has_weights(
        self, make_workflows_script, workflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(files, "SHIPPED", tmp_path)
        stock = set(make_workflows_script.workflow_texts())
        sizes = {"unet": {"sample_size": 16}} | {part: {} for part in ("vae", "text_encoder", "scheduler")}
        (tmp_path / files.DESCRIPTION).write_text(json.dumps(sizes), encoding="utf-8")
        assert set(make_workflows_script.workflow_texts()) == stock  # the other files come as they are trained
        for name in (*files.NEEDED, *files.WEIGHTS):
            (tmp_path / name).touch()
        texts = make_workflows_script.workflow_texts()
        made = set(texts) - stock
        on_demo = {name for name, text in texts.items() if "CheckpointLoaderSimple" in text}
        on_demo.remove("photographs_without_label_maps.json")  # the demonstration's segmenter knows drawings only
        assert made == {f"demo_{name}" for name in on_demo} | {"demo_ways_of_looking.json"}
        pictures = set(write_inputs(tmp_path / "inputs", (64, 64)))
        for name in made:
            nodes = json.loads(texts[name])["nodes"]
            assert workflow.missing_files({"nodes": nodes}, []) == []
            values = [(entry["type"], entry["widgets_values"]) for entry in nodes]
            assert [kind for kind, _ in values].count("AMAdapterLoadDemo") == 1
            assert all(v[:2] == [128, 128] for kind, v in values if kind == "EmptyLatentImage")
            named = {v[0] for kind, v in values if kind in ("LoadImage", "LoadImageMask", "AMAdapterLoadLabelMap")}
            folders = {folder_of(entry) for entry in nodes if entry["type"] in FOLDERS}
            assert (named or folders) and named <= pictures
            assert all(any(picture.startswith(f"{folder}/") for picture in pictures) for folder in folders)

    @pytest.mark.parametrize("name", ["cityscapes19", "ade20k150"])
    def test_their_label_maps_have_the_palette_s_colours_only(self, name: str) -> None:
        paths = [p for p in (WORKFLOWS / "inputs").glob(f"*_{name}.png") if not p.name.startswith(OF_DEMO)]
        assert len(paths) == 5
        for path in paths:
            labels = LabelMap.from_colours(Image.open(path), Palette.load(name))
            assert {"road", "sky", "building", "car"} <= set(labels.names_present())

    def test_a_scene_s_label_map_fits_its_picture(self, make_example_inputs_script) -> None:
        """The red car's pixels are red and of the class car."""
        inputs = WORKFLOWS / "inputs"
        mask = np.asarray(Image.open(inputs / "am_exemplar_day_red_car.png")) > 0
        labels = np.asarray(Image.open(inputs / "am_exemplar_day_cityscapes19.png"))
        picture = np.asarray(Image.open(inputs / "am_exemplar_day.png")).astype(float)
        assert (labels[mask] == make_example_inputs_script.class_colours("cityscapes19")["car"]).all()
        assert picture[mask][:, 0].mean() > picture[mask][:, 2].mean() + 40
