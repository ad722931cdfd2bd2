"""Loading: the right file becomes the right socket, the wrong one an error that says what it is."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from amadapter_core.checkpoints import CheckpointError, Kind, save
from amadapter_core.matcher import Matcher
from tests.host.comfy.pack import pack_module

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("inference")]

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def loading(comfy_modules: Path) -> ModuleType:
    from amadapter_core.hosts.comfy import loading

    return loading


@pytest.fixture
def known_sizes(tiny: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """ComfyUI knows a model of the tiny UNet's sizes; else it knows SD1.5's only."""
    import comfy.model_detection as detection
    import comfy.supported_models as supported

    monkeypatch.setattr(supported, "models", [tiny.tiny_config(), *supported.models])
    stock = detection.unet_config_from_diffusers_unet

    def of_diffusers(weights: dict[str, Tensor], dtype: Any = None) -> dict | None:
        small = weights.get("conv_in.weight", torch.zeros(0)).shape[:1] == (tiny.WIDTH,)
        return dict(tiny.UNET) if small else stock(weights, dtype)

    monkeypatch.setattr(detection, "unet_config_from_diffusers_unet", of_diffusers)


def predict(model: Any) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    x, context = torch.randn(1, 4, 8, 8, generator=generator), torch.randn(1, 77, 64, generator=generator)
    return model.model.diffusion_model(x, torch.tensor([300.0]), context=context)


def weights_of(tiny: ModuleType, naming: str) -> dict[str, Tensor]:
    if naming == "diffusers":
        return {name: value.contiguous() for name, value in tiny.tiny_diffusers_unet(seed=4).state_dict().items()}
    return tiny.tiny_state_dict(seed=4)


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_a_controlnext_file_becomes_a_control_net(
    tiny: ModuleType, loading: ModuleType, tmp_path: Path, ending: str
) -> None:
    network, file = tiny.tiny_controlnext(), tmp_path / f"x.{ending}"
    (save_file if ending == "safetensors" else torch.save)(network.state_dict(), file)
    control = loading.load_control(file)
    colours, t = torch.rand(1, 3, 64, 64), torch.tensor([300.0])
    assert torch.allclose(control.network(colours, t), network(colours, t), atol=1e-6)
    assert control.network.out_channels == 32


@pytest.mark.parametrize(("by_block", "variant"), [(True, "spatial"), (False, "published")])
def test_a_matcher_file_becomes_a_matcher_that_comfyui_can_load(
    tiny: ModuleType, loading: ModuleType, tmp_path: Path, by_block: bool, variant: str
) -> None:
    import comfy.model_management

    save(tmp_path / "m.safetensors", Matcher(by_block=by_block), Kind.MATCHER, variant=variant)
    patcher = loading.load_matcher(tmp_path / "m.safetensors")
    assert isinstance(patcher.model, Matcher)
    assert (patcher.model.by_block, patcher.model.variant) == (by_block, variant)
    comfy.model_management.load_models_gpu([patcher])
    assert patcher.model.device == patcher.load_device
    again = patcher.clone(force_deepcopy=True)
    assert again.model is not patcher.model
    assert again.model.variant == variant


def test_a_matcher_is_kept_as_the_device_computes_fast(
    comfy_modules: Path, loading: ModuleType, tmp_path: Path
) -> None:
    import comfy.model_management as management

    save(tmp_path / "m.safetensors", Matcher(), Kind.MATCHER, variant="spatial", dtype=torch.float16)
    fast = management.should_use_fp16(management.get_torch_device())
    assert loading.load_matcher(tmp_path / "m.safetensors").model.dtype == (torch.float16 if fast else torch.float32)


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
@pytest.mark.parametrize("naming", ["ldm", "diffusers"])
@pytest.mark.usefixtures("known_sizes")
def test_a_unet_of_either_naming_becomes_a_model(
    tiny: ModuleType, loading: ModuleType, tmp_path: Path, naming: str, ending: str
) -> None:
    file = tmp_path / f"u.{ending}"
    (save_file if ending == "safetensors" else torch.save)(weights_of(tiny, naming), file)
    model = loading.load_unet(file)
    assert torch.allclose(predict(model), predict(tiny.tiny_model(seed=4)), atol=1e-5)
    assert torch.equal(predict(model.clone(force_deepcopy=True)), predict(model))


@pytest.mark.usefixtures("known_sizes")
def test_of_a_training_run_s_folder_the_unet_is_taken(tiny: ModuleType, loading: ModuleType, tmp_path: Path) -> None:
    save_file(tiny.tiny_controlnext().state_dict(), tmp_path / "model.safetensors")
    save_file(weights_of(tiny, "diffusers"), tmp_path / "model_1.safetensors")
    assert torch.allclose(predict(loading.load_unet(tmp_path)), predict(tiny.tiny_model(seed=4)), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("fp16", torch.float16), ("bf16", torch.bfloat16), ("fp8_e4m3fn", torch.float8_e4m3fn)],
)
@pytest.mark.usefixtures("known_sizes")
def test_weights_are_kept_as_chosen(
    tiny: ModuleType, loading: ModuleType, tmp_path: Path, name: str, dtype: torch.dtype
) -> None:
    save_file(weights_of(tiny, "ldm"), tmp_path / "u.safetensors")
    model = loading.load_unet(tmp_path / "u.safetensors", name)
    assert model.model.get_dtype() == dtype
    assert predict(model).isfinite().all()


def test_an_unknown_weight_dtype_is_refused(loading: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown weight_dtype 'int4'; use one of default, fp16"):
        loading.load_unet(tmp_path / "u.safetensors", "int4")


@pytest.mark.parametrize("naming", ["ldm", "diffusers"])
@pytest.mark.usefixtures("known_sizes")
def test_an_incomplete_unet_is_refused(tiny: ModuleType, loading: ModuleType, tmp_path: Path, naming: str) -> None:
    weights = weights_of(tiny, naming)
    del weights["middle_block.1.proj_in.bias" if naming == "ldm" else "mid_block.attentions.0.proj_in.bias"]
    save_file(weights, tmp_path / "u.safetensors")
    with pytest.raises(CheckpointError, match=r"not a complete one.* 1 are missing: middle_block\.1\.proj_in\.bias"):
        loading.load_unet(tmp_path / "u.safetensors")


@pytest.mark.parametrize("naming", ["ldm", "diffusers"])
def test_sizes_that_comfyui_has_no_model_of_are_refused(
    tiny: ModuleType, loading: ModuleType, tmp_path: Path, naming: str
) -> None:
    save_file(weights_of(tiny, naming), tmp_path / "u.safetensors")
    with pytest.raises(CheckpointError, match=r"widths \[32, 64, 64, 64\] and context 64.*context 768"):
        loading.load_unet(tmp_path / "u.safetensors")


def test_every_loader_refuses_the_others_files_by_name(tiny: ModuleType, loading: ModuleType, tmp_path: Path) -> None:
    files = {
        "a ControlNeXt network": tiny.tiny_controlnext().state_dict(),
        "an AM-Adapter matcher": tiny.tiny_matcher().state_dict(),
        "an SD1.5 type UNet with original (LDM) names": tiny.tiny_state_dict(),
        "a ControlNet": tiny.tiny_controlnet().control_model.state_dict(),
    }
    loaders = {
        loading.load_control: "a ControlNeXt network",
        loading.load_matcher: "an AM-Adapter matcher",
        loading.load_unet: "an SD1.5 type UNet with original (LDM) names",
    }
    for load, own in loaders.items():
        for kind, weights in files.items():
            if kind == own:
                continue
            file = tmp_path / f"{len(kind)}.safetensors"
            save_file(weights, file)
            with pytest.raises(CheckpointError, match=re.escape(f"{file.name} is {kind}")):
                load(file)


def test_the_nodes_load_from_their_folders(tiny: ModuleType, model_folder: Path, known_sizes: None) -> None:
    from amadapter_core.hosts.comfy.control import LabelMapControl

    nodes = pack_module("nodes.loaders")
    for folder in ("controlnet", "am_adapter", "diffusion_models"):
        (model_folder / folder).mkdir()
    save_file(tiny.tiny_controlnext().state_dict(), model_folder / "controlnet" / "c.safetensors")
    save_file(tiny.tiny_state_dict(), model_folder / "diffusion_models" / "u.safetensors")
    save(model_folder / "am_adapter" / "m.safetensors", tiny.tiny_matcher(), Kind.MATCHER)
    assert isinstance(nodes.AMAdapterLoadControlNeXt.execute("c.safetensors")[0], LabelMapControl)
    assert isinstance(nodes.AMAdapterLoadMatcher.execute("m.safetensors")[0].model, Matcher)
    assert predict(nodes.AMAdapterLoadUNet.execute("u.safetensors", "default")[0]).isfinite().all()
    offered = {node.__name__: node.define_schema().inputs[0].options for node in nodes.NODES}
    assert offered == {
        "AMAdapterLoadControlNeXt": ["c.safetensors"],
        "AMAdapterLoadMatcher": ["m.safetensors"],
        "AMAdapterLoadUNet": ["u.safetensors"],
    }


def test_a_changed_file_is_loaded_again(model_folder: Path) -> None:
    nodes = pack_module("nodes.loaders")
    (model_folder / "controlnet").mkdir()
    file = model_folder / "controlnet" / "c.pth"
    file.write_text("one")
    before = nodes.AMAdapterLoadControlNeXt.fingerprint_inputs("c.pth")
    file.write_text("other")
    assert nodes.AMAdapterLoadControlNeXt.fingerprint_inputs("c.pth") != before


def test_every_node_and_socket_is_explained(model_folder: Path) -> None:
    for node in pack_module("nodes.loaders").NODES:
        schema = node.GET_SCHEMA()
        assert schema.node_id == node.__name__
        assert schema.description and schema.search_aliases and schema.category == "AM-Adapter/loaders"
        assert all(socket.tooltip for socket in (*schema.inputs, *schema.outputs))
        assert len((ROOT / "web/docs" / f"{schema.node_id}.md").read_text(encoding="utf-8").splitlines()) >= 20
