"""What a user reads when something is wrong, on a real ComfyUI: the node, the value, what was expected, what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from amadapter_core.checkpoints import Kind, save
from amadapter_core.controlnext import ControlNeXt
from amadapter_core.label_maps import LabelMap, Palette
from amadapter_core.matcher import Matcher

pytestmark = [pytest.mark.host, pytest.mark.slow]

SIDE = 128
READING = {
    "palette": "cityscapes19",
    "reading": "colours",
    "unknown": "error",
    "tolerance": 0.0,
    "offset": 0,
    "void": "",
}


def put_labels(server, name: str, *classes: str, size: tuple[int, int] = (SIDE, SIDE)) -> None:
    """A label map of vertical stripes in the input folder."""
    palette = Palette.load("cityscapes19")
    stripes = torch.tensor([palette.id_of(c) for c in classes]).repeat_interleave(-(-size[1] // len(classes)))
    colours = LabelMap(stripes[: size[1]].expand(1, *size), palette).colours()[0]
    Image.fromarray((colours * 255).round().byte().numpy()).save(server.base / "input" / name)


def graph(server, **changes: dict) -> dict:
    """The smallest whole workflow, on the tiny model; `changes` replaces inputs of nodes by their keys."""
    put_labels(server, "errors_exemplar.png", "road", "sky")
    put_labels(server, "errors_target.png", "sky", "road")
    Image.new("RGB", (SIDE, SIDE), (90, 120, 60)).save(server.base / "input" / "errors_image.png")
    nodes = {
        "checkpoint": ("TinySD15Checkpoint", {"seed": 0}),
        "prompt": ("CLIPTextEncode", {"clip": ["checkpoint", 1], "text": "a street"}),
        "image": ("LoadImage", {"image": "errors_image.png"}),
        "labels": ("AMAdapterLoadLabelMap", {"image": "errors_exemplar.png", **READING}),
        "target": ("AMAdapterLoadLabelMap", {"image": "errors_target.png", **READING}),
        "exemplar": (
            "AMAdapterEncodeExemplar",
            {
                "model": ["checkpoint", 0],
                "vae": ["checkpoint", 2],
                "image": ["image", 0],
                "labels": ["labels", 0],
                "conditioning": ["prompt", 0],
                "method": "forward noise",
                "steps": 2,
                "resize": "keep",
                "width": 512,
                "height": 512,
                "prompt_of_pass": "target's prompt",
                "seed": 0,
                "control_strength": 1.0,
                "control_in_inversion": False,
                "name": "exemplar",
            },
        ),
        "apply": (
            "AMAdapterApply",
            {
                "model": ["checkpoint", 0],
                "exemplar": ["exemplar", 0],
                "target_labels": ["target", 0],
                "mode": "categorical",
                "strength": 1.0,
                "start_percent": 0.0,
                "end_percent": 1.0,
                "keep_mass": False,
                "penalty": 0.0,
                "down_weight": 1.0,
                "mid_weight": 1.0,
                "up_weight": 1.0,
                "variant": "auto",
                "matcher_interval": 1,
            },
        ),
        "latent": ("EmptyLatentImage", {"width": SIDE, "height": SIDE, "batch_size": 1}),
        "sampler": (
            "KSampler",
            {
                "model": ["apply", 0],
                "positive": ["prompt", 0],
                "negative": ["prompt", 0],
                "latent_image": ["latent", 0],
                "seed": 0,
                "steps": 1,
                "cfg": 2.0,
                "sampler_name": "euler",
                "scheduler": "normal",
                "denoise": 1.0,
            },
        ),
        "picture": ("VAEDecode", {"samples": ["sampler", 0], "vae": ["checkpoint", 2]}),
        "result": ("PreviewImage", {"images": ["picture", 0]}),
    }
    prompt = {key: {"class_type": kind, "inputs": dict(inputs)} for key, (kind, inputs) in nodes.items()}
    for key, inputs in changes.items():
        prompt[key]["inputs"] |= inputs
    return prompt


def message(server, prompt: dict) -> tuple[str, str]:
    """The node that failed, and what the user is told."""
    with pytest.raises(server.client.PromptError) as error:
        server.client.run(server.url, prompt, timeout=120)
    return error.value.node, str(error.value)


def test_the_graph_itself_runs(host_server) -> None:
    entry = host_server.client.run(host_server.url, graph(host_server), timeout=120)
    assert entry["status"]["status_str"] == "success"


def test_unknown_colours(host_server) -> None:
    Image.new("RGB", (16, 16), (1, 2, 3)).save(host_server.base / "input" / "unknown_colours.png")
    node, text = message(host_server, graph(host_server, target={"image": "unknown_colours.png"}))
    assert node == "target"
    assert "Load Label Map: " in text
    assert re.search(r"256 of 256 pixels.*\(1, ?2, ?3\).*nearest", text, re.DOTALL)


def test_classes_that_the_two_maps_do_not_share(host_server) -> None:
    put_labels(host_server, "errors_other.png", "person", "car")
    node, text = message(host_server, graph(host_server, target={"image": "errors_other.png"}))
    assert node == "apply"
    assert "Apply AM-Adapter: the target (person, car) and exemplar (road, sky) have no class in common" in text
    assert "Class Routing" in text and "implicit" in text


def test_a_label_map_of_another_aspect(host_server) -> None:
    node, text = message(host_server, graph(host_server, latent={"width": 2 * SIDE}))
    assert node == "sampler"
    assert "Apply AM-Adapter: the picture is 128 x 256, its label map 128 x 128 (height x width), of another" in text


def test_an_image_and_a_label_map_of_another_aspect(host_server) -> None:
    put_labels(host_server, "errors_wide.png", "road", "sky", size=(SIDE, 2 * SIDE))
    node, text = message(host_server, graph(host_server, labels={"image": "errors_wide.png"}))
    assert node == "exemplar"
    assert "Encode Exemplar: the image is 128 x 128, its label map 128 x 256" in text


def test_label_maps_that_are_neither_one_nor_one_per_image(host_server) -> None:
    prompt = graph(host_server, latent={"batch_size": 3}, apply={"target_labels": ["two", 0]})
    prompt["colours"] = {"class_type": "RepeatImageBatch", "inputs": {"image": ["target", 1], "amount": 2}}
    reading = {key: READING[key] for key in ("palette", "unknown", "tolerance")}
    prompt["two"] = {"class_type": "AMAdapterLabelMapFromColours", "inputs": {"image": ["colours", 0], **reading}}
    node, text = message(host_server, prompt)
    assert node == "sampler"
    assert "Apply AM-Adapter: 2 target label maps cannot serve a batch of 3 latents; give 1 or 3" in text


def test_several_images_for_one_exemplar(host_server) -> None:
    prompt = graph(host_server, exemplar={"image": ["twice", 0]})
    prompt["twice"] = {"class_type": "RepeatImageBatch", "inputs": {"image": ["image", 0], "amount": 2}}
    node, text = message(host_server, prompt)
    assert node == "exemplar"
    assert "Encode Exemplar: 2 images with 1 label maps, expected one of each" in text


def test_a_model_without_a_unet(host_server) -> None:
    prompt = graph(host_server, apply={"model": ["other", 0]})
    prompt["other"] = {"class_type": "TinyTransformer", "inputs": {"seed": 0}}
    node, text = message(host_server, prompt)
    assert node == "apply"
    assert "Apply AM-Adapter: this model is a DiffusionTransformer without the UNet self-attention" in text
    assert "Stable Diffusion 1.x, 2.x or XL" in text


def test_mode_learned_without_a_matcher(host_server) -> None:
    node, text = message(host_server, graph(host_server, apply={"mode": "learned"}))
    assert node == "apply"
    assert "Apply AM-Adapter: mode 'learned' needs a matcher; connect Load AM-Adapter Matcher" in text


def test_a_rule_about_a_class_that_is_not_there(host_server) -> None:
    prompt = graph(host_server, apply={"routing": ["rules", 0]})
    prompt["rules"] = {"class_type": "AMAdapterClassRouting", "inputs": {"rules": "skyy = 0.5"}}
    node, text = message(host_server, prompt)
    assert node == "apply"
    assert "skyy" in text and "road, sky" in text


def test_a_file_that_is_not_there(host_server) -> None:
    prompt = graph(host_server, apply={"matcher": ["matcher", 0]})
    prompt["matcher"] = {"class_type": "AMAdapterLoadMatcher", "inputs": {"matcher_name": "lost.safetensors"}}
    node, text = message(host_server, prompt)
    assert node == "matcher"
    assert "lost.safetensors" in text and "Value not in list" in text


@pytest.fixture(scope="module")
def weights(host_server) -> dict[str, str]:
    """Files of every kind, each in every folder that a loader reads."""
    folders = [host_server.base / "models" / name for name in ("controlnet", "am_adapter", "diffusion_models")]
    torch.manual_seed(0)
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        save(folder / "a_controlnext.safetensors", ControlNeXt(stem=(8, 8, 16), stages=(16, 32)), Kind.CONTROLNEXT)
        save(folder / "a_matcher.safetensors", Matcher(), Kind.MATCHER, variant="spatial")
        save_file({"something.weight": torch.zeros(2)}, folder / "something.safetensors")
        (folder / "broken.safetensors").write_bytes(b"not a safetensors file")
    return {
        "AMAdapterLoadControlNeXt": "control_net_name",
        "AMAdapterLoadMatcher": "matcher_name",
        "AMAdapterLoadUNet": "unet_name",
    }


@pytest.mark.parametrize(
    ("loader", "file", "told"),
    [
        ("AMAdapterLoadControlNeXt", "a_matcher.safetensors", "matcher"),
        ("AMAdapterLoadControlNeXt", "something.safetensors", "something.weight"),
        ("AMAdapterLoadControlNeXt", "broken.safetensors", "broken.safetensors"),
        ("AMAdapterLoadMatcher", "a_controlnext.safetensors", "ControlNeXt"),
        ("AMAdapterLoadMatcher", "something.safetensors", "something.weight"),
        ("AMAdapterLoadMatcher", "broken.safetensors", "broken.safetensors"),
        ("AMAdapterLoadUNet", "a_controlnext.safetensors", "ControlNeXt"),
        ("AMAdapterLoadUNet", "a_matcher.safetensors", "matcher"),
        ("AMAdapterLoadUNet", "broken.safetensors", "broken.safetensors"),
    ],
)
def test_the_wrong_file_in_a_loader(host_server, weights: dict[str, str], loader: str, file: str, told: str) -> None:
    inputs = {weights[loader]: file} | ({"weight_dtype": "default"} if loader == "AMAdapterLoadUNet" else {})
    display = host_server.object_info[loader]["display_name"]
    prompt = {
        "loader": {"class_type": loader, "inputs": inputs},
        "show": {"class_type": "PreviewAny", "inputs": {"source": ["loader", 0]}},
    }
    node, text = message(host_server, prompt)
    assert node == "loader"
    assert f"{display}: " in text and file in text and told in text


def test_an_exemplar_file_that_is_none(host_server, weights: dict[str, str]) -> None:
    folder: Path = host_server.base / "models" / "am_adapter"
    save_file({"sigmas": torch.zeros(2)}, folder / "half.safetensors", {"format": "am_adapter.exemplar.1"})
    prompt = {
        "loader": {
            "class_type": "AMAdapterLoadExemplar",
            "inputs": {"exemplar_name": "half.safetensors", "control_strength": 1.0},
        },
        "show": {"class_type": "PreviewAny", "inputs": {"source": ["loader", 0]}},
    }
    node, text = message(host_server, prompt)
    assert node == "loader"
    assert "Load Exemplar: " in text and "half.safetensors" in text and "no exemplar file" in text
