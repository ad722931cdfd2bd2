"""iPOSE's generator on small networks: what each noise and the parts decide, and which files it takes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from amadapter_core.checkpoints import CheckpointError
from amadapter_core.checkpoints.__main__ import main as checkpoints_command
from amadapter_core.generators.building import built
from amadapter_core.generators.conversion import convert_generator
from amadapter_core.generators.ipose import (
    CONVENTIONS,
    Convention,
    PartGuidedGenerator,
    Supports,
    load,
    load_part_network,
)
from amadapter_core.generators.ipose.networks import GUIDES, IPoseNetwork, sizes_of
from amadapter_core.generators.ipose.part_network import PARTS, SIDE, PartNetwork
from amadapter_core.generators.noise import Seeds
from amadapter_core.generators.spectral import baked
from amadapter_core.generators.system import System, load_generator

KEYS = Path(__file__).resolve().parents[3] / "shared" / "goldens" / "ipose"
SMALL = Convention(name="small", classes=5, size=(64, 96), by_class={3: 24, 4: 26})
Z = 3


def network_of(spectral: bool = False, seed: int = 0) -> IPoseNetwork:
    torch.manual_seed(seed)
    parts = PartNetwork((3, 4, 5, 6), (6, 5, 4))
    network = IPoseNetwork(SMALL.classes, 2, Z, parts, spectral=spectral).requires_grad_(False)
    network.conv_img.weight.mul_(5)  # so that differences show
    hot = torch.eye(SMALL.classes)[torch.randint(0, SMALL.classes, (1, *SMALL.size))].permute(0, 3, 1, 2)
    noise = torch.randn(1, *network.noise_shape(SMALL.size))
    for _ in range(5):  # statistics and norms of what it computes, as after training
        network(hot, torch.randn(1, 36, *SMALL.size), hot[:, :1], torch.randn(1, Z), noise)
    return network.eval()


def supports_of(*categories: int, seed: int = 0) -> Supports:
    generator = torch.Generator().manual_seed(seed)
    return Supports({c: torch.randint(0, PARTS, (2, SIDE, SIDE), generator=generator) for c in categories})


@pytest.fixture(scope="module")
def model() -> PartGuidedGenerator:
    return PartGuidedGenerator(network_of(), SMALL, supports_of(24, 26))


@pytest.fixture(scope="module")
def ids() -> torch.Tensor:
    """A person and a car before two kinds of background."""
    ids = torch.zeros(1, 64, 96, dtype=torch.int64)
    ids[:, 32:] = 1
    ids[:, 4:32, 4:32], ids[:, 20:48, 50:90] = 3, 4
    return ids


def change(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max())


def test_style_noise_and_local_noise_have_seeds_of_their_own(model: PartGuidedGenerator, ids: torch.Tensor) -> None:
    assert model.system is System.IPOSE and model.classes == 5 and model.size == (64, 96)
    first = model.generate(ids, seed=1, local=1)
    assert first.shape == (1, 3, 64, 96) and 0 <= float(first.min()) <= float(first.max()) <= 1
    assert torch.equal(first, model.generate(ids, seed=1))
    assert torch.equal(first, model.generate(ids, z=model.style_noise(1, 1), z_part=model.local_noise(ids, 1)))
    other_style, other_local = model.generate(ids, seed=2, local=1), model.generate(ids, seed=1, local=2)
    assert change(first, other_style) > 1e-3 and change(first, other_local) > 1e-3
    assert change(other_style, other_local) > 1e-3


def test_local_noise_of_one_class_is_drawn_alone(model: PartGuidedGenerator, ids: torch.Tensor) -> None:
    plain, other = model.local_noise(ids, Seeds(1)), model.local_noise(ids, Seeds(1, {1: 9}))
    assert plain.shape == (1, GUIDES - 1, 2, 3)
    changed = (plain != other).any(1)[0]
    assert changed.tolist() == [[False, False, False], [True, True, False]]  # the car covers the last place
    assert change(model.generate(ids, local=Seeds(1)), model.generate(ids, local=Seeds(1, {1: 9}))) > 1e-3


def test_parts_guide_inside_and_noise_outside(model: PartGuidedGenerator, ids: torch.Tensor) -> None:
    parts = model.parts(model.instances(ids))
    made = model.generate(ids, parts, seed=1)
    assert torch.equal(made, model.generate(ids, seed=1))
    edited = model.parts(parts.instances, model.supports.replaced(26, torch.full((1, 9, 9), 4)))
    assert change(model.generate(ids, edited, seed=1), made) > 1e-4
    nothing = model.without_parts(1)
    assert change(model.generate(ids, nothing, seed=1), made) > 1e-4
    # Where nothing is said to be inside, what the features are makes no difference.
    outside = parts.guided(torch.zeros(1, 64, 96))
    torch.testing.assert_close(model.generate(ids, outside, seed=1), model.generate(ids, nothing, seed=1))
    # Where everything is, the noise makes none.
    inside = parts.guided(torch.ones(1, 64, 96))
    torch.testing.assert_close(model.generate(ids, inside, 1, local=1), model.generate(ids, inside, 1, local=2))


def test_instances_are_found_at_the_size_of_the_model(model: PartGuidedGenerator, ids: torch.Tensor) -> None:
    (found,) = model.instances(ids)
    assert [(i.number, i.box) for i in found.instances] == [(24001, (4, 32, 4, 32)), (26002, (20, 48, 50, 90))]
    large = ids.repeat_interleave(2, 1).repeat_interleave(3, 2)
    (again,) = model.instances(large)
    assert torch.equal(again.values, found.values) and again.instances[0].original == (128, 288)
    counts = torch.where(ids == 4, 7, 0)
    (counted,) = model.instances(ids, counts)
    assert [i.number for i in counted.instances] == [26001]
    flat = replace(SMALL, restore_aspect=False)
    generator = PartGuidedGenerator(model.network, flat, model.supports)
    assert torch.equal(generator.generate(large, seed=1), generator.generate(ids, seed=1))
    with pytest.raises(ValueError, match=r"instance map is \[1, 64, 96\], the label map \[1, 128, 288\]"):
        model.instances(large, counts)


def test_a_batch_is_its_items(model: PartGuidedGenerator, ids: torch.Tensor) -> None:
    both = torch.cat([ids, ids.flip(2)])
    z, z_part = model.style_noise(2, 1), model.local_noise(both, 1)
    assert not torch.equal(z[0], z[1])
    made = model.generate(both, z=z, z_part=z_part)
    for i in range(2):
        alone = model.generate(both[i : i + 1], z=z[i : i + 1], z_part=z_part[i : i + 1])
        assert change(made[i : i + 1], alone) < 1e-5
    assert change(made[0], made[1]) > 1e-3
    shared = model.generate(both, z=z[:1], z_part=z_part)
    assert change(shared[:1], made[:1]) < 1e-5 and change(shared[1:], made[1:]) > 1e-4


def test_what_does_not_fit_is_said(model: PartGuidedGenerator, ids: torch.Tensor) -> None:
    outside = ids.clone()
    outside[0, 0, 0] = 255
    for ask in (model.generate, model.instances):
        with pytest.raises(ValueError, match=r"iPOSE: 1 of 6144 pixels .* 255 \(1 pixels\).* 0 to 4"):
            ask(outside)
    bare = PartGuidedGenerator(model.network, SMALL)
    with pytest.raises(ValueError, match="2 part categories occur and there are no supports"):
        bare.generate(ids)
    assert bool(bare.generate(ids, bare.without_parts(1)).isfinite().all())
    assert bool(bare.generate(ids.clamp(max=1)).isfinite().all())  # no class that has parts
    with pytest.raises(ValueError, match=r"no examples of category 26 \(car\)"):
        PartGuidedGenerator(model.network, SMALL, supports_of(24)).generate(ids)
    with pytest.raises(ValueError, match=r"part maps are of 1 pictures .* expected 2 of \(64, 96\)"):
        model.generate(ids.repeat(2, 1, 1), model.without_parts(1))
    with pytest.raises(ValueError, match=r"style noise is \[1, 4\], expected \[1, 3\]"):
        model.generate(ids, z=torch.zeros(1, 4))
    with pytest.raises(ValueError, match=r"local noise is \[2, 31, 2, 3\], expected \[1, 31, 2, 3\]"):
        model.generate(ids, z_part=torch.zeros(2, 31, 2, 3))


@pytest.mark.skipif(not KEYS.is_dir(), reason="the golden sets are not beside the checkout")
@pytest.mark.parametrize(
    ("name", "parameters"), [("ade20k", 111_170_780), ("cityscapes", 107_963_612), ("coco", 112_055_516)]
)
def test_the_published_full_size_network_is_built_strictly(name: str, parameters: int) -> None:
    lines = (line.split("\t") for line in (KEYS / f"keys_ipose_{name}.txt").read_text().splitlines())
    dtypes = {"torch.float32": torch.float32, "torch.int64": torch.int64}
    state = {k: torch.empty(json.loads(shape), dtype=dtypes[d], device="meta") for k, shape, d in lines}
    for spectral in (True, False):
        weights = state if spectral else baked(state)
        with torch.device("meta"):
            sizes = sizes_of(weights)
        network = built(lambda s=spectral, z=sizes: IPoseNetwork(**z, spectral=s), weights, name, "a generator")
        assert network.classes == CONVENTIONS[name].classes and network.channels == 64
        assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """The files as the published code saves them: pickles, spectral norms apart, average and raw weights."""
    for role, seed in (("EMA", 0), ("G", 1)):
        torch.save(network_of(spectral=True, seed=seed).state_dict(), tmp_path / f"best_{role}.pth")
    torch.save({"layer_up_last.weight": torch.zeros(1)}, tmp_path / "best_D.pth")
    return tmp_path / "best_EMA.pth"


CHOICES = {"data_set": SMALL, "z_channels": Z}


def test_the_published_files_are_loaded(published: Path, ids: torch.Tensor, tmp_path: Path) -> None:
    supports = supports_of(24, 26)
    supports.save(tmp_path / "supports.safetensors")
    loaded = load_generator(published, supports=tmp_path / "supports.safetensors", **CHOICES)
    assert isinstance(loaded, PartGuidedGenerator) and loaded.classes == 5
    spectral = PartGuidedGenerator(network_of(spectral=True), SMALL, supports)
    assert change(loaded.generate(ids, seed=1), spectral.generate(ids, seed=1)) < 1e-6

    raw = load(published.with_name("best_G.pth"), supports=supports, **CHOICES)
    assert change(raw.generate(ids, seed=1), loaded.generate(ids, seed=1)) > 1e-3
    for name in ("best_G.pth", "best_EMA.pth"):
        path = published.with_name(name)
        for weights, expected in (("ema", loaded), ("raw", raw)):
            chosen = load(path, supports=supports, weights=weights, **CHOICES)
            assert torch.equal(chosen.generate(ids, seed=1), expected.generate(ids, seed=1))


def test_a_part_network_is_taken_from_elsewhere(published: Path, ids: torch.Tensor, tmp_path: Path) -> None:
    raw = published.with_name("best_G.pth")
    other = load_part_network(raw)
    save_file(other.state_dict(), tmp_path / "parts.safetensors")
    for path in (raw, tmp_path / "parts.safetensors"):
        mixed = load(published, part_network=path, supports=supports_of(24, 26), **CHOICES)
        found = mixed.network.state_dict()
        assert all(torch.equal(found[f"partnet.model.{k}"], v) for k, v in other.state_dict().items())
        assert torch.equal(found["fc.weight"], load(published, **CHOICES).network.fc.weight)
    with pytest.raises(CheckpointError, match="iPOSE's part network alone"):
        load_generator(tmp_path / "parts.safetensors")


def test_a_converted_file_knows_what_it_needs(published: Path, ids: torch.Tensor, tmp_path: Path, capsys) -> None:
    out = tmp_path / "ipose.safetensors"
    one = load(published, supports=supports_of(24, 26), **CHOICES)
    summary = convert_generator(published, out, **CHOICES)
    assert summary["system"] == "ipose" and summary["z_channels"] == str(Z)
    other = load_generator(out, supports=supports_of(24, 26))
    assert other.convention == SMALL
    assert torch.equal(one.generate(ids, seed=1), other.generate(ids, seed=1))
    assert checkpoints_command(["convert", str(out), str(tmp_path / "half.safetensors"), "--dtype", "fp16"]) == 0
    capsys.readouterr()
    half = load_generator(tmp_path / "half.safetensors", supports=supports_of(24, 26))
    difference = (half.generate(ids, seed=1) - one.generate(ids, seed=1)).abs()
    assert float(difference.mean()) < 0.01


def test_wrong_files_are_told_apart(published: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="best_D.pth is a discriminator by its name.*Use best_EMA.pth or best_G"):
        load(published.with_name("best_D.pth"))
    with pytest.raises(ValueError, match="5 classes, which is none of the published ones"):
        load(published, z_channels=Z)
    with pytest.raises(ValueError, match="5 classes and ade20k has 151"):
        load(published, z_channels=Z, data_set="ade20k")
    with pytest.raises(CheckpointError, match="8 channels of style noise and classes together"):
        load(published)
    with pytest.raises(ValueError, match="weights is 'average', expected ema or raw"):
        load(published, weights="average", **CHOICES)
    named = published.rename(tmp_path / "mine.pth")
    with pytest.raises(CheckpointError, match="does not say by its name where its ema weights are"):
        load(named, weights="ema", **CHOICES)

    state = torch.load(named, weights_only=True)
    for name, told in (
        ("body.0.conv_p.weight_u", "weight_u is missing"),
        ("body.3.norm_p.mlp_beta.bias", "not a complete one.*missing body.3.norm_p.mlp_beta.bias"),
        ("partnet.model.catt1.ln1.bias", "not a complete one.*missing partnet.model.catt1.ln1.bias"),
        ("conv_img.weight", "a layer that tells the network's size is missing.*conv_img.weight"),
        ("partnet.model.decoder.dec2.0.weight", "a layer that tells the network's size is missing.*dec2"),
    ):
        torch.save({k: v for k, v in state.items() if k != name}, tmp_path / "cut.pth")
        with pytest.raises(CheckpointError, match=told):
            load(tmp_path / "cut.pth", **CHOICES)
    for other, told in (
        ({"body.0.norm_0.mlp_shared.0.weight": 1, "conv_img.weight": 1}, "an OASIS generator without part maps"),
        ({"unet.weight": 1}, "no semantic generator known here"),
    ):
        save_file({name: torch.zeros(1) for name in other}, tmp_path / "other.safetensors")
        with pytest.raises(CheckpointError, match=told):
            load(tmp_path / "other.safetensors")
        with pytest.raises(CheckpointError, match="holds no part networks"):
            load_part_network(tmp_path / "other.safetensors")
    torch.save({f"module.{k}": v for k, v in state.items()}, tmp_path / "parallel.pth")
    assert load(tmp_path / "parallel.pth", **CHOICES).classes == 5
