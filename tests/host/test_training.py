"""Training on small networks: resumable at any step, the same on any number of processes, and nothing else moves."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from amadapter_core.checkpoints import Kind, inspect, load_matcher
from amadapter_core.controlnext import ControlNeXt
from amadapter_core.exemplar import Exemplar, Trajectory
from amadapter_core.hosts.diffusers import Augmentation, LabelControl, NoiseSchedule, Source, invert_latent
from amadapter_core.hosts.diffusers.pipeline import AMAdapterPipeline
from amadapter_core.hosts.diffusers.weights import load_pair
from amadapter_core.label_maps import LabelMap, Palette
from amadapter_core.matcher import Matcher
from amadapter_core.matching import Mode, SpatialMatching
from amadapter_core.training.autoencoder import standardised
from amadapter_core.training.config import Config
from amadapter_core.training.loop import Run, TrainingError, train
from amadapter_core.training.measuring import bench
from tests.host.runs import Killed, configured, killed_at, rows

from .conftest import small_unet

ROOT = Path(__file__).resolve().parents[2]
GENTLE = 1e-5
"""A learning rate at which Adam's first steps, all of one length, do not turn rounding into something else."""
TASKS = ("autoencoder", "structure", "matcher", "segmenter")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, parts: dict) -> Path:
    """A model folder of small networks, ControlNeXt and matcher beside it."""
    from diffusers import StableDiffusionPipeline

    from amadapter_core.checkpoints import save

    folder = tmp_path_factory.mktemp("model") / "small"
    stock = {name: parts[name] for name in ("vae", "text_encoder", "tokenizer", "scheduler")}
    # Eight groups: normalising two values at a time, as 32 groups would at 1 x 1, turns rounding into differences.
    unet = small_unet(norm_num_groups=8)
    pipeline = StableDiffusionPipeline(
        **stock, unet=unet, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    pipeline.save_pretrained(folder)
    save(folder / "controlnext.safetensors", parts["controlnext"], Kind.CONTROLNEXT)
    save(folder / "matcher.safetensors", parts["matcher"], Kind.MATCHER, variant="spatial")
    return folder


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three appearances of four pictures each: every class has one colour in an appearance, and another in another."""
    root, rng = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0)
    for appearance in range(3):
        colours = rng.integers(0, 256, (4, 3), dtype=np.uint8)
        for layout in range(4):
            ids = rng.integers(0, 4, (4, 4), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
            for kind, array in (("images", colours[ids]), ("labels", ids)):
                path = root / kind / str(appearance) / f"{layout}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    return root


@pytest.fixture
def settings(model: Path, pairs: Path, tmp_path: Path) -> Callable[..., Config]:
    """A small run; deeper settings are given with dots as `__`."""

    def make(task: str, **changes: Any) -> Config:
        data = {"kind": "folder", "root": str(pairs), "size": [64, 64]}
        plain: dict[str, Any] = {
            "task": task,
            "output": str(tmp_path / "run"),
            "model": str(model),
            "steps": 6,
            "batch": 2,
            "workers": 0,
            "data": {**data, "colour": 0.3},
            "optimiser": {"rate": 1e-3, "schedule": "cosine", "warmup": 2, "ema": 0.9},
            "checkpoints": {"every": 2},
            "validation": {"data": data, "every": 3, "items": 2, "pictures": 0, "timesteps": [500], "steps": 2},
            "log": {"every": 1},
        }
        return configured(plain, changes)

    return make


def files(folder: Path) -> dict[str, Tensor]:
    """All tensors in the safetensors files of a folder."""
    return {
        f"{path.relative_to(folder)}:{name}": tensor
        for path in sorted(folder.rglob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def assert_alike(one: list[dict[str, str]], other: list[dict[str, str]]) -> None:
    """The same tables but for rounding; norms of gradients among the columns."""
    assert len(one) == len(other) > 1
    for a, b in zip(one, other, strict=True):
        assert [float(a[k]) for k in a] == pytest.approx([float(b[k]) for k in a], rel=2e-4, abs=2e-5)


@pytest.mark.parametrize(
    "task",
    ["segmenter", "autoencoder", *(pytest.param(task, marks=pytest.mark.slow) for task in ("structure", "matcher"))],
)
def test_a_run_killed_and_resumed_is_the_run_that_was_not(task: str, settings, tmp_path: Path) -> None:
    both = {"structure__text_encoder": True, "structure__prompt_dropout": 0.5}
    whole = settings(task, output=str(tmp_path / "whole"), **both)
    broken = settings(task, output=str(tmp_path / "broken"), **both)
    train(whole)
    with pytest.raises(Killed):
        train(broken, killed_at(5))  # its last checkpoint is that of step 4
    train(broken)
    for table in ("losses.csv", "validation.csv"):
        assert rows(tmp_path / "whole", table) == rows(tmp_path / "broken", table)
    assert [row["step"] for row in rows(tmp_path / "whole")] == list("123456")
    a, b = (files(tmp_path / name / "checkpoints" / "step-00000006") for name in ("whole", "broken"))
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_that_was_asked_to_stop_saves_and_goes_on(settings, tmp_path: Path) -> None:
    whole = settings("segmenter", output=str(tmp_path / "whole"), log__every=2)
    train(whole)
    broken = settings("segmenter", output=str(tmp_path / "broken"), log__every=2)
    assert train(broken, lambda step, values: step == 3).name == "step-00000003"
    assert train(broken) == tmp_path / "broken" / "model"
    assert rows(tmp_path / "whole") == rows(tmp_path / "broken")  # the row of steps 3 and 4 as well


@pytest.mark.parametrize("accumulate", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_accumulated_parts_make_the_step_of_the_whole_batch(settings, tmp_path: Path, accumulate: int) -> None:
    for name, parts in (("one", 1), ("more", accumulate)):
        changes = {"batch": 4, "steps": 3, "optimiser__rate": GENTLE}
        train(settings("structure", output=str(tmp_path / name), accumulate=parts, **changes))
    assert_alike(rows(tmp_path / "one"), rows(tmp_path / "more"))


def launch(config: Config, folder: Path, *launcher: str) -> subprocess.Popen:
    """Start a run in processes of its own."""
    path = folder / "run.yaml"
    path.write_text(config.to_json(), encoding="utf-8")  # JSON is YAML
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true"}
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", "amadapter_core.training", str(path)],
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("task", ["structure", "matcher"])
def test_two_processes_have_the_losses_of_one(task: str, settings, tmp_path: Path) -> None:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    one, other = (settings(task, output=str(tmp_path / x), batch=4, optimiser__rate=GENTLE) for x in ("one", "two"))
    train(one)
    two = launch(other, tmp_path, *launcher)
    _, errors = two.communicate(timeout=300)
    assert two.returncode == 0, errors
    for table in ("losses.csv", "validation.csv"):
        assert_alike(rows(tmp_path / "one", table), rows(tmp_path / "two", table))


@pytest.mark.slow
def test_an_interrupt_saves_and_ends_the_command(settings, tmp_path: Path) -> None:
    config = settings("segmenter", steps=100000, checkpoints__every=50000, validation__every=50000)
    process = launch(config, tmp_path)
    table = tmp_path / "run" / "losses.csv"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (table.exists() and len(table.read_text().splitlines()) > 3):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    (saved,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert process.returncode == 0 and output.strip() == str(saved)
    step = json.loads((saved / "state.json").read_text())["step"]
    assert f"stopped at step {step}; the same command goes on from there" in errors


@pytest.mark.parametrize(("task", "steps", "share"), [("segmenter", 40, 0.7), ("autoencoder", 40, 0.85)])
def test_the_losses_fall(task: str, steps: int, share: float, settings, tmp_path: Path) -> None:
    often = {"checkpoints__every": steps, "validation__every": steps}
    train(settings(task, steps=steps, optimiser__rate=3e-3, data__colour=0.0, **often))
    losses = [float(row["loss"]) for row in rows(tmp_path / "run")]
    assert np.mean(losses[-10:]) < share * np.mean(losses[:5])
    headline = {"segmenter": "agreement", "autoencoder": "psnr"}[task]
    first, last = (float(row[headline]) for row in rows(tmp_path / "run", "validation.csv"))
    assert last > first


def test_stage_two_changes_the_matcher_and_nothing_else(settings, model: Path) -> None:
    run = Run(settings("matcher", steps=3))
    before = {name: tensor.clone() for name, tensor in run.task.state_dict().items()}
    written = run.train()
    after = run.task.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith("matcher.encoders.0.") for name in changed)
    original, exported = files(model), files(written)
    assert original.keys() == exported.keys()
    others = [name for name in original if not name.startswith("matcher.safetensors")]
    assert all(torch.equal(original[name], exported[name]) for name in others)


@pytest.mark.parametrize("variant", ["spatial", pytest.param("published", marks=pytest.mark.slow)])
def test_a_trained_matcher_says_what_it_is_and_can_be_used_at_once(variant: str, settings, parts: dict) -> None:
    written = train(settings("matcher", steps=2, matcher__variant=variant))
    metadata = inspect(written / "matcher.safetensors").metadata
    assert metadata["am_adapter.variant"] == variant and metadata["am_adapter.step"] == "2"
    assert json.loads(metadata["am_adapter.config"])["matcher"]["variant"] == variant
    pipeline = AMAdapterPipeline.from_pretrained(
        written,
        controlnext=parts["controlnext"],
        matcher=load_matcher(written / "matcher.safetensors"),
        safety_checker=None,
    )
    pipeline.set_progress_bar_config(disable=True)
    palette = Palette.load("cityscapes19")
    labels = LabelMap(torch.zeros(1, 64, 64, dtype=torch.long), palette)
    image = pipeline("", torch.rand(1, 3, 64, 64), labels, labels, num_inference_steps=1, output_type="latent").images
    assert bool(image.isfinite().all())


def test_checkpoints_of_stage_one_have_the_published_layout(settings, tmp_path: Path) -> None:
    run = Run(settings("structure", steps=2))
    run.train()
    (folder,) = (tmp_path / "run" / "checkpoints").iterdir()
    unet, controlnext = load_pair(folder)
    assert {"model.safetensors", "model_1.safetensors"} <= {path.name for path in folder.iterdir()}
    for loaded, learned in ((unet, run.task.unet), (controlnext, run.task.controlnext)):
        learned = learned.state_dict()
        assert all(torch.equal(tensor, learned[name]) for name, tensor in loaded.state_dict().items())


def test_only_the_last_checkpoints_stay(settings, tmp_path: Path) -> None:
    train(settings("segmenter", steps=6, checkpoints__every=1, checkpoints__keep=3))
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert names == ["step-00000004", "step-00000005", "step-00000006"]


def test_tensorboard_files_are_written_or_the_missing_package_is_named(settings, tmp_path: Path) -> None:
    config = settings("segmenter", steps=2, log__tensorboard=True)
    if importlib.util.find_spec("tensorboard") is None:
        with pytest.raises(ValueError, match=r"needs the package tensorboard; install the extra `train`"):
            train(config)
    else:
        train(config)
        assert list((tmp_path / "run" / "tensorboard").glob("events.*"))


def test_what_is_exported_are_the_averaged_weights(settings, tmp_path: Path) -> None:
    run = Run(settings("segmenter", steps=4))
    written = load_file(run.train() / "segmenter.safetensors")
    average, last = run.average.values["segmenter.head.weight"], run.task.segmenter.head.weight
    assert torch.equal(written["head.weight"], average) and not torch.equal(average, last)


@pytest.mark.parametrize(
    ("train_what", "learning"),
    [("all", "unet."), ("attention", "attn"), ("lora", "lora"), ("controlnext", "controlnext.")],
)
def test_stage_one_can_train_part_of_the_unet(train_what: str, learning: str, settings, model: Path) -> None:
    run = Run(settings("structure", steps=2, structure__train=train_what))
    names = [name for name, p in run.task.named_parameters() if p.requires_grad]
    assert any(name.startswith("controlnext.") for name in names)
    assert all(learning in name for name in names if not name.startswith("controlnext."))
    written = run.train()
    unet, original = (load_file(f / "unet" / "diffusion_pytorch_model.safetensors") for f in (written, model))
    assert unet.keys() == original.keys()
    moved = {name for name in unet if not torch.equal(unet[name], original[name])}
    assert bool(moved) == (train_what != "controlnext")
    assert train_what == "all" or all("attn" in name for name in moved)
    assert (written / "pytorch_lora_weights.safetensors").exists() == (train_what == "lora")


def test_prompts_are_dropped_in_their_share_and_the_noise_is_even(settings) -> None:
    samples = Run(settings("structure", structure__prompt_dropout=0.25, data__caption="abc"), write=False).task.samples
    drawn = [samples[slot] for slot in range(200)]
    empty = samples.tokenizer("", padding="max_length", max_length=77).input_ids
    dropped = np.mean([x["tokens"].tolist() == empty for x in drawn])
    timesteps = np.array([int(x["timestep"]) for x in drawn])
    assert 0.15 < dropped < 0.35
    assert timesteps.min() >= 0 and timesteps.max() < 1000 and 400 < timesteps.mean() < 600


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_loss_is_zero_for_the_right_prediction(prediction: str, settings, model: Path) -> None:
    task = Run(settings("structure"), write=False).task
    task.prediction = prediction
    latents, noise = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    timesteps = torch.tensor([10, 500, 900])
    schedule = NoiseSchedule(task.scheduler)
    schedule.prediction = prediction
    x = task.noisy(latents, noise, timesteps)
    a = task.alphas[timesteps][:, None, None, None]
    right = noise if prediction == "epsilon" else a.sqrt() * noise - (1 - a).sqrt() * latents
    assert task.errors(right, latents, noise, timesteps).max() == 0
    for row, t in enumerate(timesteps.tolist()):  # what the samplers make of it is the noise
        assert torch.allclose(schedule.noise(right[row], x[row], t), noise[row], atol=1e-4)


def batch_of(task: Any, slots: range = range(2)) -> dict[str, Tensor]:
    return torch.utils.data.default_collate([task.samples[slot] for slot in slots])


@torch.no_grad()
def test_stage_two_trains_on_what_the_pipeline_computes(settings) -> None:
    """Each row as `Augmentation` has it, with its own exemplar, timestep and label maps."""
    task = Run(settings("matcher", data__colour=0.0), write=False).task.eval()
    torch.manual_seed(0)
    task.matcher.load_state_dict(Matcher().state_dict())
    batch = batch_of(task, range(3))
    latents, timesteps = task.latents(batch), batch["timestep"]
    x = task.noisy(latents, batch["noise"], timesteps)
    together = task._predict(x, timesteps, batch, task.matching(batch))
    without = task._predict(x, timesteps, batch, None)
    assert (together - without).abs().max() > 1e-3
    palette, exemplars = Palette.load("cityscapes19"), task.latents(batch, "exemplar_")
    task._installed.__exit__(None, None, None)
    for row in range(3):
        target, source = (LabelMap(batch[name][row][None].long(), palette) for name in ("ids", "exemplar_ids"))
        noise = batch["exemplar_noise"][row : row + 1]
        clean = exemplars[row : row + 1]
        line = Trajectory(torch.tensor([0.0, 1000.0]), torch.cat([clean, clean + 1000 * noise]))
        context = task.context(batch["tokens"][row : row + 1])
        control = [LabelControl.of(task.controlnext, labels, (64, 64)) for labels in (target, source)]
        matching = SpatialMatching(target.ids, [source.ids], Mode.LEARNED, matcher=task.matcher, ignore=255)
        sources = [Source(Exemplar(line, source), context, control[1])]
        schedule = NoiseSchedule(task.scheduler)
        augmentation = Augmentation(
            task.unet, schedule, matching, sources, target_control=control[0], guided=False
        ).attached()
        with augmentation:
            alone = task.unet(x[row : row + 1], int(timesteps[row]), context).sample
        assert (alone - together[row : row + 1]).abs().max() < 2e-3


@torch.no_grad()
def test_inverted_exemplars_lie_on_the_trajectory_of_the_pipeline(settings) -> None:
    task = Run(settings("matcher", matcher__noise="inversion", matcher__inversion_steps=5), write=False).task.eval()
    batch = batch_of(task)
    timesteps, latents = torch.tensor([300, 930]), task.latents(batch, "exemplar_")
    context = task.context(batch["tokens"])
    inverted = task._inverted(latents, timesteps, batch, context)
    palette, schedule = Palette.load("cityscapes19"), NoiseSchedule(task.scheduler)
    for row, t in enumerate(timesteps.tolist()):
        labels = LabelMap(batch["exemplar_ids"][row][None].long(), palette)
        control = LabelControl.of(task.controlnext, labels, (64, 64))
        nodes = [1.0, 201.0, 401.0, 601.0, 801.0]
        one = slice(row, row + 1)
        trajectory = invert_latent(task.unet, schedule, latents[one], context[one], nodes, control=control)
        alpha = schedule.alpha(t)
        expected = trajectory.at(((1 - alpha) / alpha) ** 0.5) * alpha**0.5
        assert (inverted[one] - expected).abs().max() < 1e-3


@pytest.mark.parametrize("task", ["structure", "matcher"])
def test_gradient_checkpointing_changes_no_gradient(task: str, settings) -> None:
    """The sites are run once more in the backward pass, and look at the exemplar there too."""
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        run = Run(settings(task, **{f"{task}__checkpointing": checkpointing}), write=False)
        assert run.task.unet.is_gradient_checkpointing == checkpointing
        run.task.train()
        run.task(batch_of(run.task))["loss"].backward()
        gradients.append({name: p.grad for name, p in run.task.named_parameters() if p.requires_grad})
    plain, checkpointed = gradients
    assert plain.keys() == checkpointed.keys() and len(plain) > 10
    scale = max(grad.abs().max() for grad in plain.values())
    assert all((checkpointed[name] - plain[name]).abs().max() <= 1e-5 * scale for name in plain)


def test_augmentation_can_be_trained_through_with_gradient_checkpointing(parts: dict) -> None:
    labels = LabelMap(torch.randint(0, 4, (1, 64, 64)), Palette.load("cityscapes19"))
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(3, 1, 4, 8, 8, generator=generator)
    context = torch.randn(1, 7, 32, generator=generator)
    exemplar = Exemplar(Trajectory.forward_noise(latents[0], generator), labels)
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        unet, matcher = small_unet().train(), Matcher()
        if checkpointing:
            unet.enable_gradient_checkpointing()
        control = LabelControl.of(parts["controlnext"], labels, (64, 64))
        matching = SpatialMatching(labels.ids, [labels.ids], Mode.LEARNED, matcher=matcher)
        source = Source(exemplar, context, control)
        schedule = NoiseSchedule(parts["scheduler"])
        augmentation = Augmentation(unet, schedule, matching, [source], target_control=control, guided=False)
        with augmentation.attached():
            for latent in latents[1:]:
                unet(latent, 501, context).sample.square().mean().backward()
        assert augmentation.sites.branch is None and not unet.down_blocks[0]._forward_hooks
        gradients.append([p.grad for name, p in matcher.named_parameters() if name.startswith("encoders.0.")])
    assert all(
        a.abs().max() > 0 and torch.allclose(a, b, rtol=1e-4, atol=1e-9) for a, b in zip(*gradients, strict=True)
    )


def test_the_matching_loss_is_told_apart_from_the_diffusion_loss(settings, tmp_path: Path) -> None:
    scenes = {"kind": "scenes", "size": [64, 64], "appearances": 2, "layouts": 2}
    train(settings("matcher", steps=2, data=scenes, validation__data=scenes, matcher__matching=0.5))
    for row in rows(tmp_path / "run"):
        loss, diffusion, matching = (float(row[name]) for name in ("loss", "diffusion", "matching"))
        assert loss == pytest.approx(diffusion + 0.5 * matching, rel=1e-5)
        assert 0 < float(row["share"]) < 1
    assert all(0 < float(row["share"]) < 1 for row in rows(tmp_path / "run", "validation.csv"))


def test_pairs_encoded_once_are_those_encoded_each_time(settings, tmp_path: Path) -> None:
    stored = str(tmp_path / "latents")
    each, once = (
        Run(settings("structure", data__colour=0.0, structure__latents=folder), write=False).task
        for folder in (None, stored)
    )
    for slot in range(4):
        a, b = each.samples[slot], once.samples[slot]
        assert torch.equal(a["ids"], b["ids"]) and torch.equal(a["noise"], b["noise"])
        latents = each.latents(torch.utils.data.default_collate([a]))[0]
        assert (latents - b["latents"]).abs().max() < 2e-3 * latents.abs().max()
    with pytest.raises(ValueError, match=r"pictures are encoded once, .* set data\.colour=0"):
        Run(settings("structure", structure__latents=stored), write=False)


def test_a_decoder_may_go_on_learning_while_the_latents_stay(settings, model: Path, tmp_path: Path) -> None:
    from diffusers import AutoencoderKL

    folder = train(settings("autoencoder", autoencoder__train="decoder"))
    before, after = (AutoencoderKL.from_pretrained(place, subfolder="vae") for place in (model, folder))
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        latents = before.encode(x).latent_dist.mean
        assert torch.equal(after.encode(x).latent_dist.mean, latents)
        assert not torch.equal(after.decode(latents).sample, before.decode(latents).sample)
    assert before.config.scaling_factor == after.config.scaling_factor


@torch.no_grad()
def test_a_standardised_autoencoder_has_unit_latents_and_equal_pictures(parts: dict) -> None:
    vae = parts["vae"]
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = vae.encode(images).latent_dist
    mean, deviation = (getattr(latents.mean.transpose(0, 1).flatten(1), name)(1) for name in ("mean", "std"))
    other = standardised(vae, mean, deviation)
    changed = other.encode(images).latent_dist
    flat = changed.mean.transpose(0, 1).flatten(1)
    assert flat.mean(1).abs().max() < 1e-4 and (flat.std(1) - 1).abs().max() < 1e-4
    assert torch.allclose(changed.std * deviation[:, None, None], latents.std, rtol=1e-3)
    assert (other.decode(changed.mean).sample - vae.decode(latents.mean).sample).abs().max() < 1e-4
    assert other.config.scaling_factor == 1.0 and vae.config.scaling_factor != 1.0


@pytest.mark.parametrize("task", TASKS)
def test_contact_sheets_are_drawn(task: str, settings, tmp_path: Path) -> None:
    train(settings(task, steps=1, validation__pictures=2))
    with Image.open(tmp_path / "run" / "pictures" / "step-00000001.png") as sheet:
        assert sheet.width == 2 * (64 + 4) + 4
    assert (tmp_path / "run" / "loss.png").exists()


def test_a_loss_that_is_not_finite_stops_the_run_and_spoils_nothing(settings, tmp_path: Path) -> None:
    good = settings("autoencoder", steps=2)
    train(good)
    kept = files(tmp_path / "run" / "checkpoints")
    bad = replace(good, steps=50, optimiser=replace(good.optimiser, rate=1e30, clip=0.0, schedule="constant"))
    with pytest.raises(TrainingError, match=r"at step \d+ the (loss|norm of the gradients) is (nan|inf)") as error:
        train(bad)
    assert "the last checkpoint is" in str(error.value) and "step-00000002" in str(error.value)
    assert ".png" in str(error.value)
    now = files(tmp_path / "run" / "checkpoints")
    assert now.keys() == kept.keys() and all(torch.equal(now[name], kept[name]) for name in now)


def test_a_run_with_other_settings_does_not_go_on_from_a_checkpoint(settings) -> None:
    config = settings("segmenter", steps=2)
    train(config)
    with pytest.raises(ValueError, match=r"made with other settings \(seed was 0 and is 1\)"):
        train(replace(config, seed=1, steps=4))
    with pytest.raises(ValueError, match="resume is false; name another output"):
        train(replace(config, resume=False))
    train(replace(config, steps=4))  # longer is no other run


def test_a_checkpoint_older_than_a_setting_goes_on_when_the_setting_keeps_its_default(settings, tmp_path: Path) -> None:
    config = settings("segmenter", steps=2)
    train(config)
    state = tmp_path / "run" / "checkpoints" / "step-00000002" / "state.json"
    older = json.loads(state.read_text())
    del older["config"]["autoencoder"]["train"], older["config"]["data"]["flip"], older["config"]["scadm"]
    state.write_text(json.dumps(older))
    with pytest.raises(ValueError, match=r"other settings \(autoencoder.train was all and is decoder\)"):
        train(replace(config, autoencoder=replace(config.autoencoder, train="decoder"), steps=4))
    train(replace(config, steps=4))


def test_a_damaged_checkpoint_is_named(settings, tmp_path: Path) -> None:
    config = settings("segmenter", steps=2)
    train(config)
    (tmp_path / "run" / "checkpoints" / "step-00000002" / "segmenter.safetensors").unlink()
    with pytest.raises(ValueError, match=r"step-00000002 has no segmenter\.safetensors"):
        train(replace(config, steps=4))


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("structure", {"model": None}, r"model is missing; name a diffusers model folder with unet/"),
        ("structure", {"model": "nowhere"}, r"no folder .*nowhere.unet; model should be a diffusers model folder"),
        ("matcher", {"matcher__exemplar": "view", "matcher__latents": "x"}, "set matcher.latents=null"),
        ("matcher", {"matcher__matching": 0.1, "matcher__checkpointing": True}, "set matcher.checkpointing=false"),
        ("matcher", {"validation__data": None, "data__root": "{alone}"}, "has no other picture of its appearance"),
    ],
)
def test_settings_that_cannot_be_are_refused(task: str, changes: dict, message: str, settings, tmp_path: Path) -> None:
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
        Image.fromarray(np.zeros((64, 64) if kind == "labels" else (64, 64, 3), np.uint8)).save(
            tmp_path / kind / "a.png"
        )
    changes = {name: str(tmp_path) if value == "{alone}" else value for name, value in changes.items()}
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        train(settings(task, **changes))


def test_a_controlnext_of_another_unet_is_refused(settings, tmp_path: Path) -> None:
    from amadapter_core.checkpoints import save

    path = tmp_path / "other.safetensors"
    save(path, ControlNeXt(64, stem=(8, 8, 16), stages=(16, 32), time_channels=(16, 32)), Kind.CONTROLNEXT)
    with pytest.raises(ValueError, match="has 64 output channels, the UNet's first block 32"):
        Run(settings("structure", structure__control=str(path)), write=False)


def test_the_bench_measures_steps_and_writes_nothing(settings, tmp_path: Path) -> None:
    measured = json.loads(json.dumps(bench(settings("matcher"), steps=2)))
    assert measured["seconds_per_step"] > 0 and measured["peak_gb"] > 0.1 and len(measured["loss"]) == 3
    assert measured["learning_parameters"] == 13248 and not (tmp_path / "run").exists()


def test_two_views_of_one_picture_share_their_change_of_colours(settings) -> None:
    changes = {"data__size": [32, 32], "data__short_side": 64, "data__colour": 1.0, "matcher__exemplar": "view"}
    task = Run(settings("matcher", validation__data=None, **changes), write=False).task
    batch = batch_of(task, range(6))
    for row in range(6):
        by_class = {}
        for prefix in ("", "exemplar_"):
            pixels, ids = batch[f"{prefix}pixels"][row].flatten(1).T, batch[f"{prefix}ids"][row].flatten()
            for label in ids.unique().tolist():
                colour = pixels[ids == label].unique(dim=0)
                assert len(colour) == 1
                assert torch.equal(by_class.setdefault(label, colour), colour)
