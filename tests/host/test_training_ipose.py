"""Training of iPOSE's two networks on small ones: losses fall, runs resume exactly, files load as what they are."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from amadapter_core.checkpoints import CheckpointError
from amadapter_core.generators.ipose import CONVENTIONS, Convention, Supports, load, load_part_network
from amadapter_core.generators.ipose.part_network import PARTS, SIDE, PartNetwork
from amadapter_core.generators.spectral import baked
from amadapter_core.generators.system import load_generator
from amadapter_core.training.adversarial import DISCRIMINATOR
from amadapter_core.training.clip_similarity import TokenDistance, relaxed_distance
from amadapter_core.training.config import Config, Data
from amadapter_core.training.ipose_data import MOST, Scenes, convention_of, instances_of, prepared
from amadapter_core.training.loop import Run, train
from amadapter_core.training.oasis import (
    Discriminator,
    class_weights,
    made_loss,
    mix_loss,
    mix_mask,
    real_loss,
)
from tests.host.runs import Killed, configured, killed_at, rows

WIDTHS = {"encoder": (4, 4, 4, 4), "decoder": (4, 4, 4)}
SMALL = Convention(name="small", classes=4, size=(64, 64), by_class={2: 24, 3: 26})


def part_picture(kind: str, number: int) -> np.ndarray:
    """A disc cut into left and right, or a bar cut into top and bottom, somewhere."""
    rng = np.random.default_rng([number, len(kind)])
    y, x = np.mgrid[:SIDE, :SIDE]
    cy, cx = rng.integers(26, 38, 2)
    inside = (y - cy) ** 2 + (x - cx) ** 2 < 400 if kind == "disc" else (abs(y - cy) < 22) & (abs(x - cx) < 12)
    parts = np.where(x < cx, 1, 2) if kind == "disc" else np.where(y < cy, 1, 3)
    return (inside * parts).astype(np.uint8)


@pytest.fixture(scope="session")
def part_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("parts")
    for split, first, count in (("train", 0, 8), ("test", 50, 3)):
        for category, kind in ((24, "disc"), (26, "bar")):
            folder = root / split / str(category)
            folder.mkdir(parents=True)
            for number in range(first, first + count):
                Image.fromarray(part_picture(kind, number)).save(folder / f"{number}_part.png")
    return root


def same_run(config: Callable[..., Config], tmp_path: Path) -> None:
    """A run killed and resumed is the run that was not."""
    whole, broken = (config(output=str(tmp_path / name)) for name in ("whole", "broken"))
    train(whole)
    with pytest.raises(Killed):
        train(broken, killed_at(3))  # its last checkpoint is that of step 2
    train(broken)
    for table in ("losses.csv", "validation.csv"):
        assert rows(tmp_path / "whole", table) == rows(tmp_path / "broken", table)
    files = sorted((tmp_path / "whole" / "checkpoints" / "step-00000004").glob("*.safetensors"))
    assert files
    for file in files:
        a, b = load_file(file), load_file(tmp_path / "broken" / "checkpoints" / "step-00000004" / file.name)
        assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# The part network


@pytest.fixture
def lessons(part_data: Path, tmp_path: Path) -> Callable[..., Config]:
    def make(**changes: Any) -> Config:
        plain: dict[str, Any] = {
            "task": "ipose_parts",
            "output": str(tmp_path / "run"),
            "steps": 4,
            "batch": 4,
            "workers": 0,
            "ipose_parts": {
                "root": str(part_data / "train"),
                "held_out": str(part_data / "test"),
                "count": 2,
                **{name: list(widths) for name, widths in WIDTHS.items()},
            },
            "optimiser": {"rate": 3e-3, "betas": [0.0, 0.999], "weight_decay": 0.0, "clip": 0.0},
            "checkpoints": {"every": 2},
            "validation": {"every": 2, "items": 4, "pictures": 0},
            "log": {"every": 1},
        }
        return configured(plain, changes)

    return make


@pytest.mark.slow
def test_parts_are_learned(lessons, tmp_path: Path) -> None:
    changes = {"steps": 24, "validation__every": 24, "checkpoints__every": 24, "validation__items": 6}
    written = train(lessons(**changes, validation__pictures=2))
    losses = [float(row["loss"]) for row in rows(tmp_path / "run")]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:3])
    first, last = (float(row["accuracy"]) for row in rows(tmp_path / "run", "validation.csv"))
    assert last > max(first, 0.75)
    (picture,) = (tmp_path / "run" / "pictures").iterdir()
    with Image.open(picture) as opened:
        assert opened.height > 3 * SIDE

    network = load_part_network(written / "part_network.safetensors")
    checkpoint = load_file(tmp_path / "run" / "checkpoints" / "step-00000024" / "part_network.safetensors")
    assert network.state_dict().keys() == checkpoint.keys()
    assert all(torch.equal(tensor, checkpoint[name]) for name, tensor in network.state_dict().items())


def test_the_part_networks_run_resumes_exactly(lessons, tmp_path: Path) -> None:
    same_run(lessons, tmp_path)
    assert {"parts", "masks", "told_parts", "told_masks"} < set(rows(tmp_path / "whole")[0])


def test_samples_have_their_categorys_supports_or_other_pictures_of_it(lessons, part_data: Path) -> None:
    samples = Run(lessons(), write=False).task.samples
    own = {c: {bytes(x.byte().numpy()) for x in samples.supports.labels[c]} for c in (24, 26)}
    others = 0
    for slot in range(48):
        sample, category = samples[slot], samples.pictures.files[samples.index(slot)][0]
        assert sample["labels"].shape == (SIDE, SIDE) and sorted(sample["order"].tolist()) == list(range(PARTS))
        assert set(sample["labels"].unique().tolist()) <= {0, 1, 2 if category == 24 else 3}
        others += {bytes(x.byte().numpy()) for x in sample["supports"]} != own[category]
        assert torch.equal(sample["labels"], samples[slot]["labels"])
    assert 8 <= others <= 28  # three eighths


def test_a_permuted_answer_is_the_answer(lessons) -> None:
    task = Run(lessons(), write=False).task.eval()
    batch = torch.utils.data.default_collate([task.samples[slot] for slot in range(2)])
    plain = batch | {"order": torch.arange(PARTS).expand(2, -1)}
    for name, value in task(batch).items():
        torch.testing.assert_close(value, task(plain)[name])


def test_part_data_that_lacks_something_is_told(lessons, part_data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ipose_parts.root is missing"):
        Run(lessons(ipose_parts__root=None), write=False)
    with pytest.raises(FileNotFoundError, match=r"no pictures \*part.png in folders of .* named by category numbers"):
        Run(lessons(ipose_parts__root=str(tmp_path)), write=False)
    with pytest.raises(ValueError, match=r"24 \(person\), 26 \(car\) has fewer than 9 pictures"):
        Run(lessons(ipose_parts__count=9), write=False)
    Supports({24: torch.zeros(2, SIDE, SIDE, dtype=torch.uint8)}).save(tmp_path / "supports.safetensors")
    with pytest.raises(ValueError, match=r"no examples of category 26 \(car\)"):
        Run(lessons(ipose_parts__supports=str(tmp_path / "supports.safetensors")), write=False)


# The generator


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two backgrounds, a disc and a bar before them; every class has its colour. With all that training asks for."""
    root, rng = tmp_path_factory.mktemp("scenes"), np.random.default_rng(0)
    colours = np.array([[0, 0, 0], [60, 160, 60], [200, 60, 40], [40, 80, 220]])
    for number in range(4):
        ids = np.ones((SIDE, SIDE), dtype=np.uint8)
        counts = np.zeros_like(ids)
        for label, kind, left in ((2, "disc", 0), (3, "bar", 32)):
            shape = part_picture(kind, number)[::2, ::2] > 0
            top = int(rng.integers(0, 32))
            ids[top : top + 32, left : left + 32][shape] = label
            counts[top : top + 32, left : left + 32][shape] = label
        image = (colours + rng.integers(-10, 10, (4, 3))).clip(0, 255).astype(np.uint8)[ids]
        for name, array in (("images", image), ("labels", ids), ("instances", counts)):
            (root / name).mkdir(exist_ok=True)
            Image.fromarray(array).save(root / name / f"{number}.png")
    (root / "small.json").write_text(SMALL.to_json(), encoding="utf-8")
    torch.manual_seed(0)
    save_file(PartNetwork(**WIDTHS).state_dict(), root / "parts.safetensors")
    examples = {24: "disc", 26: "bar"}
    Supports(
        {c: torch.stack([torch.from_numpy(part_picture(k, n)) for n in (90, 91)]) for c, k in examples.items()}
    ).save(root / "supports.safetensors")
    return root


@pytest.fixture
def settings(scenes: Path, tmp_path: Path) -> Callable[..., Config]:
    def make(**changes: Any) -> Config:
        data = {"root": str(scenes), "size": [64, 64]}
        still = {"weight_decay": 0.0, "betas": [0.0, 0.999], "clip": 0.0}
        plain: dict[str, Any] = {
            "task": "ipose",
            "output": str(tmp_path / "run"),
            "steps": 4,
            "batch": 2,
            "workers": 0,
            "data": data,
            "ipose": {
                "data_set": str(scenes / "small.json"),
                "part_network": str(scenes / "parts.safetensors"),
                "supports": str(scenes / "supports.safetensors"),
                "channels": 2,
                "z_channels": 3,
                "discriminator_width": 4,
                "refresh": 2,
            },
            "optimiser": {"rate": 2e-3, **still, "ema": 0.9},
            "discriminator": {"rate": 4e-3, **still},
            "checkpoints": {"every": 2},
            "validation": {"data": dict(data), "every": 2, "items": 2, "pictures": 0},
            "log": {"every": 1},
        }
        return configured(plain, changes)

    return make


def test_the_generators_run_resumes_exactly(settings, tmp_path: Path) -> None:
    same_run(settings, tmp_path)
    row = rows(tmp_path / "whole")[-1]
    mine = {"loss", "classes", "verdict", "gradient_norm"}
    theirs = {f"discriminator_{name}" for name in ("loss", "made", "real", "mix", "verdict", "gradient_norm")}
    assert mine | theirs < set(row) and (float(row["rate"]), float(row["discriminator_rate"])) == (2e-3, 4e-3)


def test_each_learns_in_its_own_turn_and_the_part_network_in_none(settings) -> None:
    run = Run(settings(), write=False)
    task, batch = run.task.train(), next(run.batches())
    for turn, learning, still in (("", task.network, task.discriminator), (DISCRIMINATOR, task.discriminator, None)):
        task.zero_grad()
        task(batch, turn)["loss"].backward()
        moved = [p.grad is not None and bool(p.grad.any()) for p in learning.parameters() if p.requires_grad]
        assert np.mean(moved) > 0.7  # biases before a normalisation do nothing
        for network in (still, task.network.partnet, task.network if turn else None):
            assert network is None or all(p.grad is None for p in network.parameters())
    before = {name: tensor.clone() for name, tensor in task.network.partnet.state_dict().items()}
    run.step(run.batches())
    assert all(torch.equal(tensor, before[name]) for name, tensor in task.network.partnet.state_dict().items())
    assert {name.split(".")[0] for name in run.average.values} == {"network"}
    assert not any("partnet" in name for name in run.average.values)


@pytest.mark.slow
def test_both_sides_learn(settings, tmp_path: Path) -> None:
    changes = {"steps": 24, "batch": 1, "validation__every": 24, "checkpoints__every": 24, "validation__pictures": 2}
    sizes = {"ipose__channels": 4, "ipose__discriminator_width": 16, "ipose__global_hinge": 0.0}
    rates = {"optimiser__rate": 4e-3, "discriminator__rate": 1e-3}
    quick = {"optimiser__betas": [0.0, 0.9], "discriminator__betas": [0.0, 0.9]}
    train(settings(**changes, **sizes, **rates, **quick))
    table = rows(tmp_path / "run")
    for name in ("classes", "discriminator_loss"):
        losses = [float(row[name]) for row in table]
        assert np.mean(losses[-8:]) < 0.95 * np.mean(losses[:3]), name
    assert "verdict" not in table[0] and {"agreement", "l1"} < set(rows(tmp_path / "run", "validation.csv")[0])
    (picture,) = (tmp_path / "run" / "pictures").iterdir()
    with Image.open(picture) as opened:
        assert opened.height > 3 * SIDE


def test_what_was_trained_is_loaded_bit_for_bit(settings, scenes: Path, tmp_path: Path) -> None:
    run = Run(settings(steps=2))
    written = run.train()
    checkpoint = tmp_path / "run" / "checkpoints" / "step-00000002"
    assert {p.name for p in checkpoint.glob("*.safetensors")} == {"latest_G.safetensors", "latest_D.safetensors"}
    supports = scenes / "supports.safetensors"
    raw = load_generator(checkpoint / "latest_G.safetensors", supports=supports)
    learned = baked(run.task.network.state_dict())
    assert raw.convention == SMALL and raw.network.z_channels == 3
    assert all(torch.equal(tensor, learned[name]) for name, tensor in raw.network.state_dict().items())
    batch = torch.utils.data.default_collate([run.task.held_out[0]])
    with torch.no_grad():
        expected, parts = run.task.eval()._make(run.task.network, batch, 0)
    found = raw.parts(instances_of(batch, SMALL))
    torch.testing.assert_close(found.logits, parts.logits)
    picture = raw.generate(batch["ids"], found, z=batch["z"][:, 0], z_part=batch["z_part"][:, 0])
    torch.testing.assert_close(picture, (expected + 1) / 2)

    averaged = load_generator(written / "ipose.safetensors", supports=supports)
    run.task.eval()
    with torch.no_grad(), run.average.applied():
        fresh = baked(run.task._refreshed().state_dict())
    assert all(torch.equal(tensor, fresh[name]) for name, tensor in averaged.network.state_dict().items())
    assert not torch.equal(averaged.network.fc.weight, raw.network.fc.weight)
    assert not torch.equal(
        averaged.network.body[0].norm_0.first_norm.running_var, raw.network.body[0].norm_0.first_norm.running_var
    )
    with pytest.raises(CheckpointError, match="is a discriminator by its name"):
        load(checkpoint / "latest_D.safetensors")


def test_training_goes_on_from_a_generator(settings, scenes: Path, tmp_path: Path) -> None:
    written = train(settings(steps=2))
    start = tmp_path / "run" / "checkpoints" / "step-00000002" / "latest_G.safetensors"
    run = Run(settings(ipose__start=str(start), ipose__part_network=None), write=False)
    before = load_file(start)
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.task.network.state_dict().items())
    run.step(run.batches())
    assert not torch.equal(run.task.network.fc.weight, before["fc.weight"])
    with pytest.raises(CheckpointError, match="baked spectral norms.*latest_G.safetensors"):
        Run(settings(ipose__start=str(written / "ipose.safetensors")), write=False)


def test_settings_that_lack_something_are_told(settings, scenes: Path, tmp_path: Path) -> None:
    for changes, told in (
        ({"ipose__part_network": None}, "ipose.part_network is missing"),
        ({"ipose__supports": None}, "ipose.supports is missing; make a support pack"),
        ({"data__size": [96, 64]}, r"data.size is \[96, 64\], expected multiples of 64"),
        ({"data__root": None}, "data.root is missing"),
    ):
        with pytest.raises(ValueError, match=told):
            Run(settings(**changes), write=False)
    with pytest.raises(FileNotFoundError, match="ipose.data_set is 'ade', which is no file and none of ade20k"):
        Run(settings(ipose__data_set="ade"), write=False)
    with pytest.raises(FileNotFoundError, match=r"no pictures in .*images; for small data.root should hold images"):
        Run(settings(data__root=str(tmp_path)), write=False)
    Supports({24: torch.zeros(2, SIDE, SIDE, dtype=torch.uint8)}).save(tmp_path / "supports.safetensors")
    with pytest.raises(ValueError, match=r"no examples of category 26 \(car\)"):
        Run(settings(ipose__supports=str(tmp_path / "supports.safetensors")), write=False)


# OASIS' discriminator and losses


def test_the_discriminator_is_oasis_in_size() -> None:
    with torch.device("meta"):
        network = Discriminator(151)
        logits, verdict = network.eval()(torch.empty(1, 3, 256, 256))
    assert logits.shape == (1, 152, 256, 256) and verdict.shape == (1, 1, 16, 16)
    outs = [block.conv2.weight_orig.shape[0] for block in (*network.down, *network.up)]
    assert outs == [128, 128, 256, 256, 512, 512, 512, 256, 256, 128, 128, 64]
    ins = [block.conv1.weight_orig.shape[1] for block in network.up]
    assert ins == [512, 1024, 512, 512, 256, 256]
    assert Discriminator(2, 2, judges=False)(torch.zeros(1, 3, 64, 64))[1] is None


def test_classes_count_the_same_and_the_unknown_one_not_at_all() -> None:
    ids = torch.tensor([[[0, 1, 1, 1], [2, 1, 1, 1]]])
    weights = class_weights(ids, 4)
    torch.testing.assert_close(weights, torch.tensor([0, 8 / (6 * 3), 8 / 3, 0]))
    logits = torch.randn(1, 5, 2, 4)
    log = logits.log_softmax(1)[0]
    expected = -sum(weights[c] * log[c + 1, y, x] for y, row in enumerate(ids[0]) for x, c in enumerate(row)) / 8
    torch.testing.assert_close(real_loss(logits, ids), expected)
    torch.testing.assert_close(made_loss(logits), -log[0].mean())


def test_mixing_takes_each_class_whole() -> None:
    ids = torch.tensor([[[0, 1], [2, 1]], [[0, 1], [2, 1]]])
    coins = torch.tensor([[True, False, True], [False, True, False]])
    mask = mix_mask(ids, coins)
    assert mask[:, 0].tolist() == [[[1, 0], [1, 0]], [[0, 1], [0, 1]]]
    real, fake = torch.randn(2, 4, 2, 2), torch.randn(2, 4, 2, 2)
    assert float(mix_loss(torch.where(mask > 0, real, fake), real, fake, mask)) == 0
    assert float(mix_loss(real, real, fake, mask)) > 0


# CLIP's similarity


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    CLIPVisionModel(CLIPVisionConfig(num_hidden_layers=9, **sizes)).save_pretrained(folder)
    return folder


def test_the_relaxed_distance_is_of_sets() -> None:
    a = torch.randn(2, 5, 4)
    assert float(relaxed_distance(a, a[:, torch.randperm(5)] * 3).abs().max()) < 1e-6
    few = a[:, :2]  # each of the few has its like, but not each of the many
    cost = 1 - torch.cosine_similarity(a[:, :, None], few[:, None], dim=-1)
    torch.testing.assert_close(relaxed_distance(a, few), cost.amin(2).mean(1))
    torch.testing.assert_close(relaxed_distance(few, a), cost.amin(2).mean(1))


def test_similarity_is_on_with_clip_and_said_to_be_off_without(settings, clip: Path, tmp_path: Path, caplog) -> None:
    distance = TokenDistance.load(clip)
    real = torch.rand(1, 3, 48, 40) * 2 - 1
    made_picture = real.clone().requires_grad_(True)
    assert float(distance(real, real)) < 1e-5
    distance(made_picture, -real).backward()
    assert bool(made_picture.grad.any()) and not distance.train().training
    with caplog.at_level(logging.INFO):
        run = Run(settings(), write=False)
        assert "similarity" not in run.step(run.batches())
    assert "training goes without CLIP's similarity" in caplog.text
    run = Run(settings(ipose__clip=str(clip)), write=False)
    seen = set()
    for slot in range(0, 16, 2):
        batch = torch.utils.data.default_collate([run.task.samples[slot + i] for i in range(2)])
        seen.add(bool(batch["whole"][0]))
        assert run.task(batch)["similarity"] > 0
    assert seen == {True, False}
    assert "encoder" not in " ".join(name for part in run.task.parts.values() for name in load_keys(part))
    with pytest.raises(FileNotFoundError, match="no CLIP in .*clip-vit-base-patch32"):
        Run(settings(ipose__clip=str(tmp_path)), write=False)


def load_keys(part: Any) -> list[str]:
    return [name for name in part.state_dict() if not name.startswith("partnet")]


# The published layouts


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def test_data_sets_are_read_as_published(tmp_path: Path) -> None:
    image = np.zeros((48, 64, 3), dtype=np.uint8)
    ids = np.zeros((48, 64), dtype=np.uint8)
    ids[8:40, 8:40] = 1

    ade = tmp_path / "ade"
    save(ade / "images" / "training" / "ADE_1.png", image)
    save(ade / "annotations" / "training" / "ADE_1.png", ids * 21)
    both = np.stack([ids * 65, ids * 3, ids * 0], -1)  # a van, by the red channel
    save(ade / "annotations_instance" / "training" / "ADE_1.png", both)

    city = tmp_path / "city"
    save(city / "leftImg8bit" / "train" / "ulm" / "ulm_1_leftImg8bit.png", image)
    save(city / "gtFine" / "train" / "ulm" / "ulm_1_gtFine_labelIds.png", np.where(ids, 26, 255).astype(np.uint8))
    save(city / "gtFine" / "train" / "ulm" / "ulm_1_gtFine_instanceIds.png", ids.astype(np.uint16) * 26007)
    save(city / "gtFine" / "train" / "ulm" / "ulm_1_gtFine_color.png", image)

    coco = tmp_path / "coco"
    save(coco / "train_img" / "1.png", image)
    save(coco / "train_label" / "1.png", np.where(ids, 2, 255).astype(np.uint8))  # a car, counted from 0
    save(coco / "train_inst" / "1.png", ids)

    for name, root, split, expected in (
        ("ade20k", ade, "training", (39001, 21, 0, (48, 64))),
        ("cityscapes", city, "train", (26007, 26, 0, (1, 1))),
        ("coco", coco, "train", (26001, 3, 0, (48, 64))),
    ):
        data = Data(root=str(root), split=split, size=(64, 64))
        found = Scenes(data, convention_of(name))
        assert len(found) == 1
        sample = prepared(found[0], found, mirrored=False)
        (item,) = instances_of(torch.utils.data.default_collate([sample]), CONVENTIONS[name])
        (instance,) = item.instances
        number, inside, outside, original = expected
        assert instance.number == number and instance.original == original
        assert sample["pixels"].shape == (3, 64, 64) and sample["rows"].shape == (MOST, 7)
        assert int(sample["ids"][30, 30]) == inside and int(sample["ids"][0, 0]) == outside
        assert bool(item.mask(instance)[30, 30]) and not bool(item.mask(instance)[0, 0])
        mirrored = prepared(found[0], found, mirrored=True)
        for key in ("pixels", "ids", "values"):
            assert torch.equal(mirrored[key].flip(-1), sample[key])
        assert mirrored["rows"][0, 3] == 64 - 40 and sample["rows"][0, 3] == 8

    (coco / "train_inst" / "1.png").unlink()  # connected pieces do where there is no instance map
    without = Scenes(Data(root=str(coco), size=(64, 64)), convention_of("coco"))
    assert prepared(without[0], without, False)["rows"][0, 0] == 26001
    (coco / "train_label" / "1.png").unlink()
    with pytest.raises(ValueError, match="1 of 1 pictures have no label map in .*train_label: 1"):
        Scenes(Data(root=str(coco), size=(64, 64)), convention_of("coco"))


def test_values_without_a_class_are_told_with_their_file(scenes: Path, tmp_path: Path) -> None:
    for name in ("images", "labels"):
        save(tmp_path / name / "1.png", np.full((8, 8) if name == "labels" else (8, 8, 3), 9, dtype=np.uint8))
    found = Scenes(Data(root=str(tmp_path), size=(64, 64)), SMALL)
    with pytest.raises(ValueError, match=r"labels/1.png: 64 of 64 pixels .* 9 \(64 pixels\)"):
        found[0]
    assert json.loads(SMALL.to_json())["classes"] == 4
