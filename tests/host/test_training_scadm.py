"""Training of SCA-DM on small networks: what learns, from what, and that its files load as what they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from amadapter_core.checkpoints import CheckpointError
from amadapter_core.generators.scadm import load
from amadapter_core.generators.scadm.first_stage import FirstStage
from amadapter_core.generators.scadm.layout import Layout
from amadapter_core.generators.scadm.loading import load_first_stage
from amadapter_core.generators.semantic import one_hot
from amadapter_core.generators.system import System, load_generator
from amadapter_core.training.config import Config
from amadapter_core.training.loop import Run, train
from amadapter_core.training.scadm import EXPORTED, attention_loss
from tests.host.runs import Killed, configured, killed_at, rows

SIDE, CLASSES = 64, 3
STAGE = {"width": 32, "factors": (1, 1, 1), "blocks": 1, "latent": 3, "entries": 16}


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures and label maps: every class has its colour, another in each picture."""
    root, rng = tmp_path_factory.mktemp("faces"), np.random.default_rng(0)
    for number in range(4):
        ids = rng.integers(0, CLASSES, (4, 4), dtype=np.uint8).repeat(SIDE // 4, 0).repeat(SIDE // 4, 1)
        colours = rng.integers(0, 256, (CLASSES, 3), dtype=np.uint8)
        for kind, array in (("images", colours[ids]), ("labels", ids)):
            (root / kind).mkdir(exist_ok=True)
            Image.fromarray(array).save(root / kind / f"{number}.png")
    classes = ", ".join(f'{{"id": {i}, "name": "c{i}", "colour": [{i}, 0, 0]}}' for i in range(CLASSES))
    (root / "classes.json").write_text(f'{{"ignore": null, "classes": [{classes}]}}')
    torch.manual_seed(0)
    stage = FirstStage(**STAGE).state_dict()
    save_file(stage | {"loss.discriminator.main.0.bias": torch.zeros(1)}, root / "vq.safetensors")
    return root


@pytest.fixture
def settings(faces: Path, tmp_path: Path) -> Callable[..., Config]:
    def make(**changes: Any) -> Config:
        data = {"kind": "folder", "root": str(faces), "palette": str(faces / "classes.json"), "size": [SIDE, SIDE]}
        plain: dict[str, Any] = {
            "task": "scadm",
            "output": str(tmp_path / "run"),
            "steps": 4,
            "batch": 2,
            "workers": 0,
            "data": {**data, "flip": 0.0},
            "scadm": {
                "first_stage": str(faces / "vq.safetensors"),
                "width": 32,
                "factors": [1, 2],
                "blocks": 1,
                "transformers": [1],
                "features": 1,
                "code": 8,
            },
            "optimiser": {"rate": 1e-3, "clip": 0.0},
            "checkpoints": {"every": 2},
            "validation": {"data": data, "every": 4, "items": 2, "pictures": 0, "timesteps": [500], "steps": 2},
            "log": {"every": 1},
        }
        return configured(plain, changes)

    return make


def test_the_loss_falls_and_the_file_is_what_was_trained(settings, faces: Path, tmp_path: Path) -> None:
    folder = train(settings(steps=40, optimiser__rate=3e-3, validation__pictures=2, checkpoints__every=40))
    losses = [float(row["loss"]) for row in rows(tmp_path / "run")]
    assert losses[0] > 0.9  # the last layer begins with zeros, so the noise's own variance
    assert mean(losses[-10:]) < 0.75 * mean(losses[:3])
    told = rows(tmp_path / "run", "validation.csv")[-1]
    assert {"loss", "loss_t500", "loss_without_style"} < set(told)
    assert Image.open(next((tmp_path / "run" / "pictures").glob("*.png"))).width > 2 * SIDE

    model = load_generator(folder / EXPORTED)
    assert (model.system, model.classes, model.size, model.layers) == (System.SCADM, CLASSES, (SIDE, SIDE), 5)
    kept = tmp_path / "run" / "checkpoints" / "step-00000040"
    parts = {"unet": model.unet, "style_encoder": model.style_encoder}
    for name, network in parts.items():
        trained = load_file(kept / f"{name}.safetensors")
        assert all(torch.equal(value, trained[key]) for key, value in network.state_dict().items())
    first_stage = load_file(faces / "vq.safetensors")
    assert all(torch.equal(value, first_stage[key]) for key, value in model.first_stage.state_dict().items())
    ids = torch.zeros(1, SIDE, SIDE, dtype=torch.long)
    assert model.generate(ids, model.style(torch.rand(1, 3, SIDE, SIDE), ids), steps=1).isfinite().all()


def test_a_run_killed_and_resumed_is_the_run_that_was_not(settings, tmp_path: Path) -> None:
    changes = {"optimiser__ema": 0.9, "scadm__attention": 0.01, "scadm__checkpointing": True}
    whole, broken = (settings(output=str(tmp_path / name), **changes) for name in ("whole", "broken"))
    train(whole)
    with pytest.raises(Killed):
        train(broken, killed_at(3))  # its last checkpoint is that of step 2
    train(broken)
    for table in ("losses.csv", "validation.csv"):
        assert rows(tmp_path / "whole", table) == rows(tmp_path / "broken", table)
    assert {"loss", "denoising", "attention"} < set(rows(tmp_path / "whole")[-1])
    one, other = (load_file(tmp_path / name / "model" / EXPORTED) for name in ("whole", "broken"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_moving_average_is_of_the_unet_alone(settings, tmp_path: Path) -> None:
    folder = train(settings(optimiser__ema=0.9, validation__data=None))
    kept = tmp_path / "run" / "checkpoints" / "step-00000004"
    raw = {name: load_file(kept / f"{name}.safetensors") for name in ("unet", "style_encoder")}
    model = load(folder / EXPORTED, weights="ema")
    assert all(torch.equal(v, raw["style_encoder"][k]) for k, v in model.style_encoder.state_dict().items())
    assert not torch.equal(model.unet.out[2].weight, raw["unet"]["out.2.weight"])
    with safe_open(folder / EXPORTED, framework="pt") as file:
        assert file.metadata()["am_adapter.weights"] == "ema"
    with pytest.raises(CheckpointError, match="no raw weights"):
        load(folder / EXPORTED, weights="raw")


@pytest.mark.parametrize("attention", [0.0, 0.01])
def test_every_parameter_that_learns_has_gradients(settings, attention: float) -> None:
    run = Run(settings(scadm__attention=attention, validation__data=None), write=False)
    batch = next(run.batches())
    for parameter in run.task.unet.parameters():  # what begins with zeros hides what lies before it
        parameter.data.add_(0.01 * torch.randn_like(parameter))
    run.task(batch)["loss"].backward()
    still = {name for name, p in run.task.unet.named_parameters() if p.grad is None or not p.grad.any()}
    of_scores = {name for name, _ in run.task.unet.named_parameters() if ".attn2.to_q" in name or ".attn2.to_k" in name}
    of_scores |= {name for name, _ in run.task.unet.named_parameters() if ".norm2." in name}
    assert of_scores and still == {"label_emb.weight"} | (set() if attention else of_scores)
    assert still == {name for name, p in run.task.unet.named_parameters() if not p.requires_grad}
    assert all(p.grad is not None for p in run.task.parameters() if p.requires_grad)
    assert not any(p.requires_grad for p in run.task.first_stage.parameters())


def test_pictures_are_dropped_before_the_style_encoder_and_nowhere_else(settings) -> None:
    run = Run(settings(validation__data=None), write=False)
    task, batch = run.task, next(run.batches())
    seen: list[torch.Tensor] = []
    hook = task.style_encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    task(batch | {"dropped": torch.tensor([True, False])})
    hook.remove()
    assert not seen[0][0].any() and torch.equal(seen[0][1], batch["pixels"][1])
    shares = [mean(float(task.samples[slot]["dropped"]) for slot in range(60))]
    shares += [float(Run(settings(scadm__style_dropout=p), write=False).task.samples[0]["dropped"]) for p in (0.0, 1.0)]
    assert 0.25 < shares[0] < 0.75 and shares[1:] == [0.0, 1.0]


def test_the_loss_on_scores_is_cross_entropy_with_the_label_map() -> None:
    ids = torch.arange(16).view(1, 4, 4) % CLASSES
    layout, scores = Layout(one_hot(ids, CLASSES), record=True), torch.randn(1, 4, CLASSES)
    right = one_hot(ids[:, ::2, ::2], CLASSES).flatten(2).transpose(1, 2)
    layout.scores += [((2, 2), scores), ((2, 2), right * 40 - 20)]
    expected = -(right * F.logsigmoid(scores) + (1 - right) * F.logsigmoid(-scores)).mean() / 2
    torch.testing.assert_close(attention_loss(layout), expected)


def test_a_training_begins_with_a_file(settings, tmp_path: Path) -> None:
    first = train(settings(validation__data=None))
    again = settings(output=str(tmp_path / "again"), scadm__start=str(first / EXPORTED), scadm__first_stage=None)
    task = Run(again, write=False).task
    model = load(first / EXPORTED)
    for name in ("unet", "style_encoder", "first_stage"):
        begun, made = getattr(task, name).state_dict(), getattr(model, name).state_dict()
        assert all(torch.equal(begun[key], made[key]) for key in made)
    assert any(p.requires_grad for p in task.unet.parameters())
    with pytest.raises(ValueError, match="has 3 classes, palette celebamaskhq19 has 19"):
        Run(settings(scadm__start=str(first / EXPORTED), data__palette="celebamaskhq19"), write=False)


def test_settings_that_cannot_be_trained_with_are_refused(settings, faces: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="scadm.first_stage is missing; name the file"):
        Run(settings(scadm__first_stage=None), write=False)
    with pytest.raises(ValueError, match="training scadm: data.size is 96 x 64.*multiples of 64"):
        Run(settings(data__size=[96, 64]), write=False)
    stage = load_file(faces / "vq.safetensors")
    for told, key in (
        ("holds no vector-quantised", "quantize.embedding.weight"),
        ("quant_conv.bias", "quant_conv.bias"),
    ):
        save_file({name: value for name, value in stage.items() if name != key}, tmp_path / "vq.safetensors")
        with pytest.raises(CheckpointError, match=told):
            load_first_stage(tmp_path / "vq.safetensors")
