"""SCA-DM's files: the published checkpoint, its two sets of weights, what it is converted to, what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from amadapter_core.checkpoints import CheckpointError, save_tensors
from amadapter_core.checkpoints.__main__ import main as checkpoints_command
from amadapter_core.checkpoints.formats import Source
from amadapter_core.generators.scadm import ClassDiffusionGenerator, Configuration, load
from amadapter_core.generators.scadm.diffusion import betas
from amadapter_core.generators.scadm.first_stage import FirstStage
from amadapter_core.generators.scadm.loading import FIRST_STAGE, STYLE_ENCODER, UNET, _read, assembled
from amadapter_core.generators.scadm.style_encoder import StyleEncoder
from amadapter_core.generators.scadm.unet import UNet
from amadapter_core.generators.system import load_generator

KEYS = Path(__file__).resolve().parents[3] / "shared" / "goldens" / "scadm"
SIZES = {
    "unet": {
        "classes": 3,
        "width": 32,
        "factors": (1, 2),
        "blocks": 1,
        "transformers": (1,),
        "head_width": 32,
        "context": 40,
        "channels": 3,
    },
    "style_encoder": {"classes": 3, "features": 1, "downs": 6, "scales": 5, "width": 8},
    "first_stage": {"width": 32, "factors": (1, 1, 1), "blocks": 1, "latent": 3, "entries": 16},
}


@pytest.fixture(scope="module")
def networks() -> dict[str, dict[str, Tensor]]:
    torch.manual_seed(0)
    made = {
        UNET: UNet(**SIZES["unet"]),
        STYLE_ENCODER: StyleEncoder(**SIZES["style_encoder"]),
        FIRST_STAGE: FirstStage(**SIZES["first_stage"]),
    }
    return {prefix: net.state_dict() for prefix, net in made.items()}


def published(networks: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    """The state dict of the published checkpoint: raw weights, their average (here the negative), and buffers."""
    state = {prefix + key: value for prefix, net in networks.items() for key, value in net.items()}
    state |= {"model_ema.diffusion_model" + key.replace(".", ""): -value for key, value in networks[UNET].items()}
    state |= {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(7, dtype=torch.int32)}
    return state | {"betas": betas().float(), "alphas_cumprod": torch.zeros(1000)}


@pytest.fixture(scope="module")
def checkpoint(networks: dict[str, dict[str, Tensor]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the trainer's older versions saved it: callbacks by their class, which is not importable here."""
    path = tmp_path_factory.mktemp("scadm") / "last.ckpt"
    name = "pytorch_lightning.callbacks.model_checkpoint"
    module = ModuleType(name)
    callback = type("ModelCheckpoint", (), {"__module__": name})
    module.ModelCheckpoint = callback
    with pytest.MonkeyPatch.context() as patch:
        for part in ("pytorch_lightning", "pytorch_lightning.callbacks", name):
            patch.setitem(sys.modules, part, module)
        saved = {"epoch": 1, "state_dict": published(networks), "callbacks": {callback: {"best": torch.zeros(1)}}}
        torch.save(saved | {"optimizer_states": [{"state": {0: {"step": torch.zeros(1)}}}]}, path)
    return path


def same(generator: ClassDiffusionGenerator, networks: dict[str, dict[str, Tensor]], sign: int) -> bool:
    """Whether a generator has these weights, the UNet's times `sign`."""
    unet = all(torch.equal(value, sign * networks[UNET][key]) for key, value in generator.unet.state_dict().items())
    others = ((generator.style_encoder, STYLE_ENCODER), (generator.first_stage, FIRST_STAGE))
    return unet and all(
        torch.equal(value, networks[prefix][key]) for net, prefix in others for key, value in net.state_dict().items()
    )


@pytest.mark.parametrize(("weights", "sign"), [("raw", 1), ("ema", -1), (None, -1)])
def test_the_published_checkpoint_loads_with_either_weights(
    checkpoint: Path, networks: dict[str, dict[str, Tensor]], weights: str | None, sign: int
) -> None:
    model = load(checkpoint, weights=weights)
    assert same(model, networks, sign)
    assert {"unet": model.config.unet, "style_encoder": model.config.style_encoder} == {
        name: SIZES[name] for name in ("unet", "style_encoder")
    }
    assert model.config.first_stage == SIZES["first_stage"]
    assert (model.classes, model.size, model.layers) == (3, (256, 256), 5)
    assert not any(p.requires_grad for p in model.unet.parameters()) and not model.unet.training


@pytest.mark.parametrize(("weights", "sign"), [("raw", 1), ("ema", -1)])
def test_a_converted_file_holds_one_choice_and_says_which(
    checkpoint: Path, networks, tmp_path: Path, capsys: pytest.CaptureFixture[str], weights: str, sign: int
) -> None:
    target = tmp_path / "scadm.safetensors"
    command = ["convert", str(checkpoint), str(target), "--weights", weights, "--size", "64x128"]
    assert checkpoints_command(command) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["system"], told["weights"], told["size"]) == ("scadm", weights, "64x128")
    with safe_open(target, framework="pt") as file:
        assert set(file.keys()) == {prefix + key for prefix, net in networks.items() for key in net}
    model = load_generator(target)
    assert same(model, networks, sign) and model.size == (64, 128)
    other = {"raw": "ema", "ema": "raw"}[weights]
    with pytest.raises(CheckpointError, match=f"no {other} weights of SCA-DM's UNet, only the {weights} ones"):
        load(target, weights=other)


@pytest.mark.skipif(not KEYS.is_dir(), reason="the lists of published names are not beside the checkout")
@pytest.mark.parametrize(("classes", "size"), [(19, (256, 256)), (34, (256, 512))])
@pytest.mark.parametrize("weights", ["raw", "ema"])
def test_the_published_names_and_shapes_fill_the_networks(classes: int, size: tuple[int, int], weights: str) -> None:
    tensors = {}
    for line in (KEYS / f"keys_scadm_{classes}.txt").read_text().splitlines():
        name, shape, dtype = line.split("\t")
        tensors[name] = torch.empty(json.loads(shape), dtype=getattr(torch, dtype.split(".")[-1]), device="meta")
    tensors["betas"] = betas().float()
    asked: set[str] = set()

    def fetch(keys: list[str]) -> dict[str, Tensor]:
        asked.update(keys)
        return {key: tensors[key] for key in keys}

    source = Source(Path("last.ckpt"), "torch zip", tensors, {}, 0, fetch)
    found, metadata = _read(source, weights)
    model = assembled(found, "last.ckpt")
    assert (model.classes, model.size, metadata["am_adapter.weights"]) == (classes, size, weights)
    assert model.config == Configuration(
        {**SIZES["unet"], "classes": classes, "width": 224, "factors": (1, 2, 3, 4), "blocks": 2}
        | {"transformers": (1, 2, 3), "context": 1280},
        {"classes": classes, "features": 4, "downs": 6, "scales": 5, "width": 256},
        {"width": 128, "factors": (1, 2, 4), "blocks": 2, "latent": 3, "entries": 8192},
        size,
    )
    assert sum(p.numel() for p in model.unet.parameters()) == {19: 486_912_387, 34: 487_409_667}[classes]
    assert sum(p.numel() for p in model.style_encoder.parameters()) == {19: 18_069_304, 34: 32_334_544}[classes]
    assert sum(p.numel() for p in model.first_stage.parameters()) == 55_322_782
    averaged = {name for name in asked if name.startswith("model_ema.")}
    assert len(averaged) == (801 if weights == "ema" else 0)


def refused(networks: dict[str, dict[str, Tensor]], tmp_path: Path, change) -> str:
    """The message for the published state dict with a change."""
    state = published(networks)
    change(state)
    path = tmp_path / "changed.safetensors"
    save_tensors(path, state, {})
    with pytest.raises(CheckpointError) as error:
        load(path)
    assert str(path) in str(error.value)
    return str(error.value)


def test_what_is_not_a_whole_checkpoint_is_refused(networks: dict[str, dict[str, Tensor]], tmp_path: Path) -> None:
    def without(*names: str):
        return lambda state: [state.pop(key) for key in list(state) if key.startswith(names)]

    def put(name: str, value: Tensor):
        return lambda state: state.update({name: value})

    cases = {
        "is no SCA-DM. Expected model.diffusion_model": without(UNET, "model_ema"),
        "SCA-DM's style encoder (cond_stage_model.*)": without(STYLE_ENCODER),
        "SCA-DM's first stage (first_stage_model.*)": without(FIRST_STAGE),
        "missing decoder.conv_out.bias": without(f"{FIRST_STAGE}decoder.conv_out.bias"),
        "left over extra": put(f"{STYLE_ENCODER}extra", torch.zeros(1)),
        "a tensor input_blocks.0.0.weight": without(f"{UNET}input_blocks.0.0.weight", "model_ema"),
        "out.2.bias [3]. Seen: out.2.bias [4]": put("model_ema.diffusion_modelout2bias", torch.zeros(4)),
        "not finite": put("model_ema.diffusion_modelout2bias", torch.full((3,), torch.nan)),
        "moving average (EMA) that is not of its UNet": without("model_ema.diffusion_modelout2bias"),
        "another noise schedule": put("betas", torch.linspace(1e-4, 2e-2, 1000)),
    }
    for told, change in cases.items():
        assert told in refused(networks, tmp_path, change)


def test_networks_of_different_models_are_refused(networks: dict[str, dict[str, Tensor]], tmp_path: Path) -> None:
    other = StyleEncoder(**{**SIZES["style_encoder"], "classes": 4}).state_dict()
    narrow = StyleEncoder(**{**SIZES["style_encoder"], "width": 4}).state_dict()
    for told, encoder in (
        ("3 classes, its style encoder 4", other),
        ("40 numbers, its style encoder makes 20", narrow),
    ):
        replaced = networks | {STYLE_ENCODER: encoder}
        assert told in refused(replaced, tmp_path, lambda state: None)


def test_choices_that_do_not_exist_are_refused(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match="'raw' or 'ema', not 'best'"):
        load(checkpoint, weights="best")
    with pytest.raises(CheckpointError, match="size is 250 x 256.*multiples of 64"):
        load(checkpoint, size=(250, 256))
    with pytest.raises(CheckpointError, match=r"levels are \[32, 64\] wide, expected multiples of 32 and of 24"):
        load(checkpoint, head_width=24)


def test_a_pickle_that_asks_for_more_than_the_callback_stays_refused(tmp_path: Path, networks) -> None:
    path = tmp_path / "hostile.ckpt"
    torch.save({"state_dict": published(networks), "path": Path("a")}, path)
    with pytest.raises(CheckpointError, match="is a pickle that asks for"):
        load(path)
