"""Train Matcher and Train Structure, executed as ComfyUI does: what they learn from, what they leave, how they stop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from amadapter_core.checkpoints import Kind, inspect, save
from amadapter_core.label_maps import LabelMap, Palette
from amadapter_core.matcher import Matcher
from tests.host.comfy.pack import pack_module

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("inference")]

SIDE = 64
CITYSCAPES = Palette.load("cityscapes19")
TEXTS = ["", "a street", " ".join(["a long walk"] * 40)]


@pytest.fixture(autouse=True)
def places(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """ComfyUI's folders, all of them empty and of this test alone."""
    import folder_paths

    known = folder_paths.folder_names_and_paths
    monkeypatch.setitem(known, "loras", ([str(model_folder / "loras")], set(folder_paths.supported_pt_extensions)))
    for name in ("input", "output", "temp"):
        (model_folder / name).mkdir()
        monkeypatch.setattr(folder_paths, f"{name}_directory", str(model_folder / name))
    return model_folder


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple]]:
    """What the progress bar was told; ComfyUI's cancel comes when `cancel_at` appended to it is reached."""
    import comfy.model_management as management
    import comfy.utils

    class Told(list):
        cancel_at: int | None = None

    seen = Told()

    def hook(value: int, total: int, preview: Any, node_id: Any = None) -> None:
        management.throw_exception_if_processing_interrupted()  # as ComfyUI's own
        seen.append((value, total, preview))
        if value == seen.cancel_at:
            management.interrupt_current_processing()

    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", hook)
    yield seen
    management.interrupt_current_processing(False)


def pictures(count: int = 3, side: int = SIDE) -> tuple[torch.Tensor, LabelMap]:
    """A batch in which every class has one colour."""
    rng = np.random.default_rng(0)
    ids = torch.from_numpy(rng.integers(0, 4, (count, 4, 4))).repeat_interleave(side // 4, 1)
    ids = ids.repeat_interleave(side // 4, 2)
    return torch.from_numpy(rng.random((4, 3), dtype=np.float32))[ids], LabelMap(ids, CITYSCAPES)


def widgets(node: type) -> dict[str, list]:
    """The values that a node's widgets start with, small enough for the tiny model."""
    values = {entry.id: entry.options[0] for entry in node.GET_SCHEMA().inputs if getattr(entry, "options", None)}
    values |= {
        entry.id: entry.default for entry in node.GET_SCHEMA().inputs if getattr(entry, "default", None) is not None
    }
    small = {"width": SIDE, "height": SIDE, "batch_size": 2, "steps": 4, "samples_every": 0}
    small |= {"augment": False, "one_at_a_time": False, "checkpointing": False}
    return {name: [value] for name, value in (values | small).items()}


def execute(node: type, **inputs: Any) -> Any:
    """Run a node whose inputs are lists; single values are made ones."""
    given = {name: value if isinstance(value, list) else [value] for name, value in inputs.items()}
    return node.execute(**{**widgets(node), **given})


@pytest.fixture(scope="module")
def models(tiny: ModuleType) -> dict[str, Any]:
    with torch.inference_mode():  # as ComfyUI's loaders run, so that their tensors are of that kind
        return {"model": tiny.tiny_model(), "clip": tiny.tiny_clip(), "vae": tiny.tiny_vae()}


@pytest.fixture
def matcher_node(tiny: ModuleType) -> type:
    return pack_module("nodes.training").AMAdapterTrainMatcher


@pytest.fixture
def structure_node(tiny: ModuleType) -> type:
    return pack_module("nodes.training").AMAdapterTrainStructure


@pytest.fixture
def pairs() -> dict[str, list]:
    """Connected pictures of two sizes, a list as ComfyUI hands it on."""
    (small, of_small), (large, of_large) = pictures(2), pictures(1, 2 * SIDE)
    return {"images": [small, large], "labels": [of_small, of_large]}


@torch.no_grad()
def test_training_begins_from_the_very_networks_that_are_connected(tiny: ModuleType, models: dict) -> None:
    import nodes

    from amadapter_core.hosts.comfy.training_networks import gather
    from amadapter_core.training.latents import encode

    model, key = models["model"].clone(), "diffusion_model.middle_block.1.proj_in.weight"
    change = torch.full_like(model.model.diffusion_model.middle_block[1].proj_in.weight, 0.01)
    model.add_patches({key: ("diff", (change,))})
    control = tiny.tiny_label_map_control()
    with torch.inference_mode(False):
        given = gather(model, models["clip"], models["vae"], control, TEXTS, seed=0)
        plain = gather(models["model"], models["clip"], models["vae"], control, TEXTS, seed=0)
    assert given.identity != plain.identity and given.latents == plain.latents
    networks, expected = given.networks, tiny.tiny_diffusers_unet().state_dict()
    expected["mid_block.attentions.0.proj_in.weight"] += 0.01
    learned = networks.unet.state_dict()
    assert learned.keys() == expected.keys()
    assert all(torch.allclose(learned[name], expected[name], atol=1e-7) for name in expected)
    assert not any(p.is_inference() for p in (*networks.unet.parameters(), *networks.controlnext.parameters()))
    of_control = tiny.tiny_controlnext().state_dict()
    assert all(torch.equal(value, of_control[name]) for name, value in networks.controlnext.state_dict().items())
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    assert torch.allclose(networks.scheduler.alphas_cumprod.double(), (1 - betas).cumprod(0), rtol=1e-4)
    assert networks.scheduler.config.prediction_type == "epsilon"
    for text in TEXTS:
        context = networks.text_encoder(networks.tokenizer(text).input_ids)[0]
        alone = nodes.CLIPTextEncode().encode(models["clip"], text)[0][0][0]
        assert torch.equal(context, alone.repeat(1, context.shape[1] // alone.shape[1], 1))
    image = pictures(1)[0]
    latents = nodes.VAEEncode().encode(models["vae"], image)[0]["samples"]
    scaled = model.model.process_latent_in(latents)
    assert torch.allclose(encode(networks.vae, image.movedim(-1, 1) * 2 - 1), scaled, atol=1e-4)
    decoded = networks.vae.decode(latents).sample.movedim(1, -1) / 2 + 0.5
    assert torch.allclose(decoded, models["vae"].decode(latents), atol=1e-5)


def test_a_matcher_is_trained_and_can_be_used_at_once(
    matcher_node: type, models: dict, tiny: ModuleType, pairs: dict, told: list, places: Path
) -> None:
    from comfy_extras.nodes_train import LossGraphNode

    control = tiny.tiny_label_map_control()
    options = {"exemplar": "scene", "name": "streets/mine", "prompt": "a street", "samples_every": 9}
    found = execute(matcher_node, **models, **pairs, control_net=control, **options)
    made, losses, file = found.args
    assert file == str(places / "am_adapter" / "streets" / "mine.safetensors")
    metadata = inspect(file, wanted=[Kind.MATCHER]).metadata
    assert (metadata["am_adapter.variant"], metadata["am_adapter.step"]) == ("spatial", "4")
    assert made.model.variant == "spatial"
    weights = load_file(file)
    assert all(torch.equal(value.cpu(), weights[name]) for name, value in made.model.state_dict().items())
    folders = pack_module("amadapter_core.hosts.comfy.folders")
    assert folders.matchers() == [str(Path("streets", "mine.safetensors"))]
    assert len(losses["loss"]) == 4 and np.isfinite(losses["loss"]).all()
    assert LossGraphNode.execute(losses, "loss").ui.as_dict()["images"]
    # Progress with a preview; what the node shows at the end has samples below the loss.
    assert [value for value, *_ in told] == [1, 2, 3, 4]
    kind, preview, _ = told[-1][2]
    (shown,) = found.ui.as_dict()["images"]
    with Image.open(places / "temp" / shown["filename"]) as final:
        assert kind == "JPEG" and final.width == preview.width and final.height > preview.height
    # The run can be looked at, and its pairs are those that were connected.
    (run,) = (places / "output" / "am_adapter" / "matcher" / "streets").iterdir()
    assert (run / "loss.png").is_file() and len(list((run / "pictures").iterdir())) == 1
    (written,) = run.glob("pairs-*")
    back = [np.array(Image.open(path)) for path in sorted(written.glob("images/*/*.png"))]
    assert [array.shape for array in back] == [(64, 64, 3), (64, 64, 3), (128, 128, 3)]
    assert np.abs(back[2] / 255 - pairs["images"][1][0].numpy()).max() < 0.5 / 255 + 1e-6


def test_a_cancelled_run_keeps_what_it_has_and_goes_on_exactly(
    matcher_node: type, models: dict, tiny: ModuleType, pairs: dict, told: list, places: Path
) -> None:
    import comfy.model_management as management

    control, file = tiny.tiny_label_map_control(), places / "am_adapter" / "broken.safetensors"
    # Pictures are encoded in each step, by ComfyUI's layers, which is where its cancel is raised.
    given = {**models, **pairs, "control_net": control, "augment": True, "one_at_a_time": True, "steps": 3}
    whole = execute(matcher_node, **given, name="whole")
    told.cancel_at = 2
    with pytest.raises(management.InterruptProcessingException):
        execute(matcher_node, **given, name="broken")
    assert not management.processing_interrupted()
    assert inspect(file).metadata["am_adapter.step"] == "2"
    told.cancel_at = None
    made, losses, _ = execute(matcher_node, **given, name="broken").args
    assert losses == whole.args[1]
    expected = whole.args[0].model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in made.model.state_dict().items())
    assert inspect(file).metadata["am_adapter.step"] == "3"
    with pytest.raises(ValueError, match=r"^Train Matcher: .*made with other settings \(seed was 0 and is 1\)"):
        execute(matcher_node, **given, name="broken", seed=1)
    with pytest.raises(ValueError, match=r"^Train Matcher: .*made with other settings \(data."):
        execute(matcher_node, **given | {"images": [1 - image for image in pairs["images"]]}, name="broken")


def test_structure_is_trained_as_controlnext_and_a_lora_on_the_model(
    structure_node: type, models: dict, pairs: dict, told: list, places: Path
) -> None:
    before = models["model"].patches.copy()
    given = {**models, **pairs, "name": "mine", "rank": 4, "learning_rate": 1e-2, "checkpointing": True}
    found = execute(structure_node, **given)
    model, control, losses, files = found.args
    controlnext, lora = (places / name / "mine.safetensors" for name in ("controlnet", "loras"))
    assert files.splitlines() == [str(controlnext), str(lora)]
    assert inspect(controlnext, wanted=[Kind.CONTROLNEXT]).metadata["am_adapter.step"] == "4"
    assert len(losses["loss"]) == 4
    assert control.network.out_channels == 32
    # Every adapter has found its layer, the UNet's output moves, and the model upstream is left as it was.
    weights = load_file(lora)
    assert len(weights) == 3 * len(model.patches) == 3 * 16 * 2 * 4  # down, up, alpha; sites, attentions, projections
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    moved = weights[f"{name}.lora_up.weight"] @ weights[f"{name}.lora_down.weight"]
    key = "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"
    patched = model.patch_weight_to_device(key, torch.device("cpu"), return_weight=True)
    original = models["model"].model.state_dict()[key]
    assert moved.abs().max() > 1e-4
    assert torch.allclose(patched, original + moved, atol=1e-6)
    assert models["model"].patches == before
    # A longer run of the same name goes on from there.
    again = execute(
        structure_node, **models, **pairs, name="mine", rank=4, learning_rate=1e-2, checkpointing=True, steps=5
    )
    assert again.args[2]["loss"][:4] == losses["loss"] and len(again.args[2]["loss"]) == 5


def test_pairs_may_lie_in_a_folder(structure_node: type, models: dict, tiny: ModuleType, places: Path) -> None:
    root = places / "input" / "pairs"
    images, labels = pictures(2)
    for kind, arrays in (("images", images), ("labels", labels.colours())):
        (root / kind).mkdir(parents=True)
        for number, array in enumerate(arrays):
            Image.fromarray((array * 255).round().byte().numpy()).save(root / kind / f"{number}.png")
    (root / "captions.json").write_text('{"1": "at night"}')
    state = structure_node.fingerprint_inputs(folder=["pairs"], name=["x"])
    given = {"folder": "pairs", "reading": "colours", "train": "controlnext", "steps": 1}
    model, control, *_ = execute(structure_node, **models, **given, control_net=tiny.tiny_label_map_control()).args
    assert model is models["model"]
    before = tiny.tiny_controlnext().state_dict()
    after = control.network.state_dict()
    assert before.keys() == after.keys() and not all(torch.equal(before[name], after[name]) for name in before)
    assert list((places / "loras").glob("*")) == [] if (places / "loras").exists() else True
    (root / "captions.json").write_text("{}")
    assert structure_node.fingerprint_inputs(folder=["pairs"], name=["x"]) != state


def test_a_matcher_can_be_trained_further_on_the_demonstration_family(
    matcher_node: type, tiny: ModuleType, demo_flat: Path
) -> None:
    from amadapter_core.hosts.comfy import demo

    parts = {
        "model": demo.load_model(demo_flat),
        "clip": demo.load_clip(demo_flat),
        "vae": demo.load_vae(demo_flat),
        "control_net": demo.load_demo_control(demo_flat),
        "matcher": demo.load_demo_matcher(folder=demo_flat),
    }
    images, labels = pictures(2)
    options = {"steps": 1, "learning_rate": 1e-5, "prompt": "a street at night"}
    made, losses, _ = execute(matcher_node, **parts, images=images, labels=labels, **options).args
    before = parts["matcher"].model.state_dict()
    moved = max(float((value - before[name]).abs().max()) for name, value in made.model.state_dict().items())
    assert 0 < moved < 1e-4
    assert 0 < losses["loss"][0] < 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None, "labels": None}, "there are no pairs; connect images and labels, or name a folder"),
        ({"folder": "pairs"}, "both connected pictures and a folder"),
        ({"labels": [pictures(1)[1]]}, "3 pictures with 1 label maps, expected one label map for each"),
        ({"images": [pictures(3)[0][:, :32]]}, "picture 0 is 32 x 64, its label map 64 x 64"),
        ({"images": [pictures(3)[0] * float("nan")]}, "picture 0 holds values that are not finite"),
        ({"name": "../mine"}, "expected the name of a file, or subfolder/name"),
        ({"name": " "}, "expected the name of a file, or subfolder/name"),
        ({"images": None, "labels": None, "folder": "nowhere"}, "no folder .*nowhere.(images|labels)"),
        ({"control_net": "stock"}, "control_net is a ControlNet, expected ControlNeXt"),
        ({"clip": "wrong"}, "this CLIP makes contexts of width 768, the model takes 64"),
        ({"model": "transformer"}, "this model is a DiffusionTransformer without the UNet self-attention"),
        ({"model": "flow"}, "training works on models that predict noise or v"),
        ({"vae": "wrong"}, "this VAE makes latents of 16 channels, the model takes 4"),
        ({"exemplar": "scene", "images": [pictures(1)[0]], "labels": [pictures(1)[1]]}, "has no other picture of its"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_trained_with_is_said(
    changes: dict, message: str, matcher_node: type, models: dict, tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    import comfy.model_sampling

    images, labels = pictures(3)
    given = {**models, "images": [images], "labels": [labels], "control_net": tiny.tiny_label_map_control(), **changes}
    if given["control_net"] == "stock":
        given["control_net"] = tiny.tiny_controlnet()
    if given["clip"] == "wrong":
        given["clip"] = models["clip"]
        monkeypatch.setattr(models["clip"], "encode_from_tokens", lambda tokens: torch.zeros(1, 77, 768))
    if given["vae"] == "wrong":
        given["vae"] = models["vae"]
        monkeypatch.setattr(models["vae"], "latent_channels", 16)
    if given["model"] == "transformer":
        given["model"], other = models["model"].clone(), tiny.tiny_transformer().model.diffusion_model
        monkeypatch.setitem(models["model"].model._modules, "diffusion_model", other)
    if given["model"] == "flow":
        given["model"] = models["model"].clone()

        class Flow(comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST):
            pass

        given["model"].add_object_patch("model_sampling", Flow())
    inputs = {name: value for name, value in given.items() if value is not None}
    with pytest.raises((ValueError, FileNotFoundError), match=f"^Train Matcher: .*{message}"):
        execute(matcher_node, **inputs)


def test_missing_packages_are_named_with_the_command_that_brings_them(
    structure_node: type, models: dict, pairs: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    find = importlib.util.find_spec
    missing = ("peft", "accelerate")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else find(name))
    with pytest.raises(ValueError, match=r'^Train Structure: .*accelerate, peft; install with ".*" -m pip install acc'):
        execute(structure_node, **models, **pairs)


def test_a_loss_that_is_not_finite_is_an_error_that_names_the_node(
    structure_node: type, models: dict, pairs: dict, places: Path
) -> None:
    model, key = models["model"].clone(), "diffusion_model.middle_block.1.proj_in.weight"
    change = torch.full_like(model.model.state_dict()[key], float("nan"))
    model.add_patches({key: ("diff", (change,))})
    with pytest.raises(ValueError, match="^Train Structure: .*at step 0 the loss is nan; .*there is no checkpoint yet"):
        execute(structure_node, **models | {"model": model}, **pairs, name="spoilt", train="controlnext")
    assert not (places / "controlnet" / "spoilt.safetensors").exists()


def test_a_matcher_file_of_another_making_is_not_replaced(
    matcher_node: type, models: dict, tiny: ModuleType, pairs: dict, places: Path
) -> None:
    path = places / "am_adapter" / "theirs.safetensors"
    save(path, Matcher(), Kind.MATCHER, variant="spatial")
    before = path.read_bytes()
    with pytest.raises(ValueError, match="theirs.safetensors exists already, and this run did not make it"):
        execute(matcher_node, **models, **pairs, control_net=tiny.tiny_label_map_control(), name="theirs")
    assert path.read_bytes() == before
