"""Training of clVAE on small networks: two that learn by turns, resumed exactly, and loaded as what they are."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.distributions import Normal, kl_divergence

from amadapter_core.checkpoints import CheckpointError, Kind, inspect
from amadapter_core.generators.clvae.networks import Posterior
from amadapter_core.generators.spectral import baked
from amadapter_core.generators.system import System, load_generator
from amadapter_core.palettes import Palette
from amadapter_core.training.adversarial import DISCRIMINATOR, hinge_discriminator, hinge_generator
from amadapter_core.training.class_channels import ClassChannels
from amadapter_core.training.clvae import divergence
from amadapter_core.training.config import Config, Data
from amadapter_core.training.datasets import open_pairs
from amadapter_core.training.loop import Run, train
from amadapter_core.training.patch_discriminator import MultiscaleDiscriminator
from amadapter_core.training.perceptual import PerceptualLoss
from tests.host.runs import Killed, configured, killed_at, rows

ROOT = Path(__file__).resolve().parents[2]
SIDE = 64


@pytest.fixture(scope="session")
def ade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in ADE20K's layout: every class has its colour, a little different in each picture."""
    root, rng = tmp_path_factory.mktemp("ade"), np.random.default_rng(0)
    colours = rng.integers(0, 256, (4, 3))
    for split in ("training", "validation"):
        for number in range(4):
            ids = rng.integers(0, 4, (4, 4), dtype=np.uint8).repeat(SIDE // 4, 0).repeat(SIDE // 4, 1)
            image = (colours + rng.integers(-20, 20, (4, 3))).clip(0, 255).astype(np.uint8)[ids]
            for kind, array in (("images", image), ("annotations", ids)):
                path = root / kind / split / f"ADE_{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    return root


@pytest.fixture(scope="session")
def four_classes(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("palette") / "four.json"
    classes = ", ".join(f'{{"id": {i}, "name": "c{i}", "colour": [{i}, 0, 0]}}' for i in (1, 2, 3))
    path.write_text(f'{{"ignore": 0, "ignore_colour": [9, 9, 9], "classes": [{classes}]}}')
    return str(path)


@pytest.fixture
def settings(ade: Path, four_classes: str, tmp_path: Path) -> Callable[..., Config]:
    def make(**changes: Any) -> Config:
        data = {"kind": "ade20k", "root": str(ade), "palette": four_classes, "size": [SIDE, SIDE]}
        still = {"weight_decay": 0.0, "betas": [0.0, 0.9], "clip": 0.0}
        plain: dict[str, Any] = {
            "task": "clvae",
            "output": str(tmp_path / "run"),
            "steps": 4,
            "batch": 2,
            "workers": 0,
            "data": {**data, "split": "training", "colour": 0.2},
            "clvae": {"width": 2, "local": 4, "shared": 8, "discriminator_width": 4, "depth": 3},
            "optimiser": {"rate": 1e-3, **still},
            "discriminator": {"rate": 4e-3, **still},
            "checkpoints": {"every": 2},
            "validation": {"data": {**data, "split": "validation"}, "every": 2, "items": 2, "pictures": 0},
            "log": {"every": 1},
        }
        return configured(plain, changes)

    return make


def test_a_run_killed_and_resumed_is_the_run_that_was_not(settings, tmp_path: Path) -> None:
    whole, broken = (settings(output=str(tmp_path / name), optimiser__ema=0.9) for name in ("whole", "broken"))
    train(whole)
    with pytest.raises(Killed):
        train(broken, killed_at(3))  # its last checkpoint is that of step 2
    train(broken)
    for table in ("losses.csv", "validation.csv"):
        assert rows(tmp_path / "whole", table) == rows(tmp_path / "broken", table)
    row = rows(tmp_path / "whole")[-1]
    assert {"loss", "gan", "features", "kl", "discriminator_loss", "discriminator_gradient_norm"} < set(row)
    assert (float(row["rate"]), float(row["discriminator_rate"])) == (1e-3, 4e-3)
    for file in sorted((tmp_path / "whole" / "checkpoints" / "step-00000004").glob("*.safetensors")):
        a, b = load_file(file), load_file(tmp_path / "broken" / "checkpoints" / "step-00000004" / file.name)
        assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_each_learns_in_its_own_turn(settings) -> None:
    run = Run(settings(), write=False)
    task, batch = run.task.train(), next(run.batches())
    sides = {name: part.network for name, part in task.parts.items()}
    for turn, learning in (("", "GE"), (DISCRIMINATOR, "D")):
        task.zero_grad()
        task(batch, turn)["loss"].backward()
        for name, network in sides.items():
            found = [p.grad is not None and bool(p.grad.any()) for p in network.parameters()]
            # Biases before a normalisation do nothing; all else has a gradient.
            assert (np.mean(found) > 0.8) if name in learning else not any(found), name
    before = {name: [p.clone() for p in network.parameters()] for name, network in sides.items()}
    run.step(iter([batch]))
    for name, network in sides.items():
        assert any(not torch.equal(p, q) for p, q in zip(network.parameters(), before[name], strict=True)), name
    assert all(p.grad is None for p in task.parameters())


def test_the_average_is_of_the_generators_side(settings) -> None:
    run = Run(settings(optimiser__ema=0.9), write=False)
    assert {name.split(".")[0] for name in run.average.values} == {"generator", "encoder"}


def run_of(settings, steps: int, **changes: Any) -> Run:
    often = {"validation__every": steps, "checkpoints__every": steps, "validation__items": 4}
    run = Run(settings(steps=steps, data__colour=0.0, **often, **changes))
    run.train()
    return run


def column(folder: Path, name: str) -> list[float]:
    return [float(row[name]) for row in rows(folder)]


def test_against_an_adversary_that_stands_still_the_loss_falls(settings, tmp_path: Path) -> None:
    run_of(settings, 16, discriminator__rate=0.0)
    losses = column(tmp_path / "run", "loss")
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:4])


def test_both_get_better_by_turns(settings, tmp_path: Path) -> None:
    task = run_of(settings, 20, validation__pictures=2).task
    losses = column(tmp_path / "run", "discriminator_loss")
    assert np.mean(losses[-4:]) < 0.9 * np.mean(losses[:4])
    real = torch.stack([task.held_out[i]["pixels"] for i in range(4)])
    of_one_colour = float((real - real.mean((0, 2, 3), keepdim=True)).abs().mean())
    assert float(rows(tmp_path / "run", "validation.csv")[-1]["l1"]) < 0.9 * of_one_colour
    (picture,) = (tmp_path / "run" / "pictures").iterdir()
    with Image.open(picture) as opened:
        assert opened.width > 2 * SIDE and opened.height > 4 * SIDE


def test_what_was_trained_is_loaded_bit_for_bit(settings, ade: Path, tmp_path: Path) -> None:
    run = Run(settings(steps=2))
    written = run.train()
    checkpoint = tmp_path / "run" / "checkpoints" / "step-00000002"
    assert {p.name for p in checkpoint.glob("*.safetensors")} == {f"latest_net_{x}.safetensors" for x in "GED"}
    ids = torch.from_numpy(np.array(Image.open(ade / "annotations" / "validation" / "ADE_0.png"))).long()[None]
    image = torch.rand(1, 3, SIDE, SIDE)
    task = run.task.eval()
    with torch.no_grad():
        found = task.encoder(image * 2 - 1, ids)
        expected = (task.generator(ids, found.mean, found.shared_mean) + 1) / 2
    for file in (checkpoint / "latest_net_G.safetensors", written / "clvae.safetensors"):
        loaded = load_generator(file)
        assert loaded.system is System.CLVAE and loaded.size == (SIDE, SIDE) and loaded.classes == 4
        for ours, theirs in ((loaded.generator, task.generator), (loaded.encoder, task.encoder)):
            learned = baked(theirs.state_dict())
            assert all(torch.equal(tensor, learned[name]) for name, tensor in ours.state_dict().items())
        torch.testing.assert_close(loaded.generate(ids, loaded.style(image, ids)), expected)
    assert inspect(written / "clvae.safetensors").kind is Kind.GENERATOR


@pytest.mark.slow
def test_two_processes_take_the_turns_together(settings, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(settings(batch=4).to_json(), encoding="utf-8")  # JSON is YAML
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true"}
    command = [sys.executable, *launcher, "-m", "amadapter_core.training", str(path)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert len(rows(tmp_path / "run")) == 4 and (tmp_path / "run" / "model" / "clvae.safetensors").is_file()


def test_hinge_losses_ask_for_a_margin_of_one() -> None:
    real, made = [torch.tensor([2.0, 0.5])], [torch.tensor([-3.0, 0.0])]
    assert float(hinge_discriminator(real, made)) == pytest.approx(0.25 + 0.5)
    assert float(hinge_generator(made)) == pytest.approx(1.5)
    assert float(hinge_generator(made * 2)) == pytest.approx(1.5)  # scales are averaged


def test_the_divergence_counts_classes_that_are_there() -> None:
    torch.manual_seed(0)
    present = torch.tensor([[[True] * 5, [True, False, False, False, False], [False] * 5]])
    mean, log_variance = (torch.randn(1, 3, 5, 2) * present[..., None] for _ in range(2))
    shared, shared_log = torch.randn(1, 4), torch.randn(1, 4)
    found = Posterior(mean, log_variance, present, present[..., 0], shared, shared_log)

    def kl(m: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return kl_divergence(Normal(m, (v / 2).exp()), Normal(0.0, 1.0)).sum(-1)

    by_layer = [kl(mean[0, : 2 if n == 0 else 1, n], log_variance[0, : 2 if n == 0 else 1, n]).mean() for n in range(5)]
    torch.testing.assert_close(divergence(found)[0], kl(shared, shared_log)[0] + sum(by_layer))


def test_discriminators_have_the_published_names_and_sizes() -> None:
    with torch.device("meta"):
        network = MultiscaleDiscriminator(151)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert shapes["discriminator_0.model0.0.weight"] == (64, 154, 4, 4)
    assert shapes["discriminator_1.model1.0.0.weight_orig"] == (128, 64, 4, 4)
    assert shapes["discriminator_1.model3.0.0.weight_orig"] == (512, 256, 4, 4)
    assert shapes["discriminator_1.model4.0.weight"] == (1, 512, 4, 4)
    small = MultiscaleDiscriminator(2, width=4, depth=3).eval()
    semantic, real, made = torch.rand(1, 2, 32, 32), torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    for ours, picture in zip(small.judge(semantic, real, made), (real, made), strict=True):
        for scale, expected in zip(ours, small(semantic, picture), strict=True):
            assert len(scale) == 4
            for x, y in zip(scale, expected, strict=True):
                torch.testing.assert_close(x, y)


def small_vgg(path: Path) -> Path:
    torch.manual_seed(0)
    state, width = {"classifier.0.weight": torch.zeros(1)}, 3
    for place in (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30):
        wide = 2 + place // 9
        state[f"features.{place}.weight"] = torch.randn(wide, width, 3, 3)
        state[f"features.{place}.bias"] = torch.randn(wide)
        width = wide
    torch.save(state, path)
    return path


def test_the_perceptual_loss_compares_vggs_features(tmp_path: Path) -> None:
    vgg = PerceptualLoss.load(small_vgg(tmp_path / "vgg19.pth"))
    layers, state = [], torch.load(tmp_path / "vgg19.pth", weights_only=True)
    for place in range(30):  # torchvision's own list: a pooling ends each stage
        if place in (4, 9, 18, 27):
            layers.append(torch.nn.MaxPool2d(2))
        elif (weight := state.get(f"features.{place}.weight")) is None:
            layers.append(torch.nn.ReLU())
        else:
            layers.append(torch.nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1))
            layers[-1].load_state_dict({"weight": weight, "bias": state[f"features.{place}.bias"]})
    reference = torch.nn.Sequential(*layers).requires_grad_(False)
    made, real = (torch.rand(1, 3, 32, 32) * 2 - 1 for _ in range(2))
    expected = 0.0
    for last, weight in ((1, 1 / 32), (6, 1 / 16), (11, 1 / 8), (20, 1 / 4), (29, 1.0)):
        a, b = (reference[: last + 1](x) for x in (made, real))
        expected += weight * float((a - b).abs().mean())
    assert float(vgg(made, real)) == pytest.approx(expected, rel=1e-5) and float(vgg(real, real)) == 0
    assert not any(p.requires_grad for p in vgg.parameters())

    save_file({"features.0.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"no VGG19 .* features.0.bias is missing.*vgg19-dcbb9e9d.pth"):
        PerceptualLoss.load(tmp_path / "other.safetensors")


def test_the_perceptual_loss_is_on_with_weights_and_said_to_be_off_without(settings, tmp_path: Path, caplog) -> None:
    with caplog.at_level(logging.INFO):
        assert "perceptual" not in Run(settings(), write=False).step(Run(settings(), write=False).batches())
    assert "training goes without the perceptual loss" in caplog.text
    run = Run(settings(clvae__vgg=str(small_vgg(tmp_path / "vgg19.pth"))), write=False)
    assert run.step(run.batches())["perceptual"] > 0
    assert "perceptual" not in " ".join(name for part in run.task.parts.values() for name in part.state_dict())


@pytest.mark.parametrize(("palette", "count"), [("ade20k150", 151), ("cityscapes19", 20), ("cityscapes34", 34)])
def test_classes_become_the_published_channels(palette: str, count: int) -> None:
    table = Palette.load(palette)
    channels = ClassChannels(table)
    assert channels.count == count
    ids = np.array([[max(table.ids), table.ignore, min(table.ids)]], dtype=np.uint8)
    unknown = table.ignore if table.ignore < count else count - 1
    assert channels(ids).tolist() == [[max(table.ids), unknown, min(table.ids)]]


def test_ade20k_is_read_as_unpacked(ade: Path, four_classes: str) -> None:
    pairs = open_pairs(Data(kind="ade20k", root=str(ade), split="validation", palette=four_classes))
    assert [Path(pairs[i].name).stem for i in range(len(pairs))] == [f"ADE_{i}" for i in range(4)]
    assert set(np.unique(pairs[0].ids)) <= {0, 1, 2, 3}
    (ade / "images" / "training" / "ADE_9.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="1 of 5 pictures in .* have no label map .*ADE_9.jpg"):
        open_pairs(Data(kind="ade20k", root=str(ade), split="training", palette=four_classes))
    (ade / "images" / "training" / "ADE_9.jpg").unlink()
