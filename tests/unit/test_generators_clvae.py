"""clVAE on small networks: what its codes decide, and which files it takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from amadapter_core.checkpoints import CheckpointError
from amadapter_core.checkpoints.__main__ import main as checkpoints_command
from amadapter_core.generators.building import built
from amadapter_core.generators.clvae import ClassLatentGenerator, Configuration, load
from amadapter_core.generators.clvae.networks import Encoder, Generator
from amadapter_core.generators.noise import Seeds
from amadapter_core.generators.spectral import baked
from amadapter_core.generators.styles import StyleCodes, restricted, swapped
from amadapter_core.generators.system import System, load_generator

KEYS = Path(__file__).resolve().parents[3] / "shared" / "goldens" / "clvae"
SMALL = Configuration(classes=5, width=2, local=4, shared=6, size=(64, 64))
LAYERS = 5


def networks(config: Configuration = SMALL, spectral: bool = False) -> tuple[Generator, Encoder]:
    torch.manual_seed(0)
    generator = Generator(config, spectral=spectral).requires_grad_(False)
    encoder = Encoder(config.classes, config.width, config.local, config.shared, spectral=spectral)
    if spectral:  # one step of training, or the first guess of a norm makes pictures of black and white alone
        ids = torch.randint(config.classes, (2, *config.size))
        generator(ids, torch.randn(2, config.classes, LAYERS, config.local), torch.randn(2, config.shared))
    generator.conv_img.weight.mul_(2 if spectral else 20)  # so that codes show
    return generator.eval(), encoder.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def model() -> ClassLatentGenerator:
    return ClassLatentGenerator(*networks())


@pytest.fixture(scope="module")
def ids() -> torch.Tensor:
    """Three classes in stripes."""
    return torch.tensor([0, 2, 3]).repeat_interleave(22)[None, None, :64].expand(1, 64, 64).contiguous()


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    return torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def change(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max())


def test_a_seed_is_a_picture(model: ClassLatentGenerator, ids: torch.Tensor) -> None:
    first = model.generate(ids, seed=1)
    assert first.shape == (1, 3, 64, 64) and 0 <= float(first.min()) <= float(first.max()) <= 1
    assert torch.equal(first, model.generate(ids, seed=1))
    assert change(first, model.generate(ids, seed=2)) > 0.01


def test_a_class_has_a_seed_of_its_own(model: ClassLatentGenerator, ids: torch.Tensor) -> None:
    plain, other = (model.random_style(ids, seeds) for seeds in (Seeds(1), Seeds(1, {2: 9})))
    assert plain.classes == (0, 2, 3) and plain.shape == (LAYERS, SMALL.local) and len(plain.shared) == SMALL.shared
    assert [torch.equal(plain.codes[c], other.codes[c]) for c in plain.classes] == [True, False, True]
    assert torch.equal(plain.shared, other.shared)
    assert change(model.generate(ids, seed=1), model.generate(ids, seed=Seeds(1, {2: 9}))) > 1e-3
    assert torch.equal(model.generate(ids, seed=1), model.generate(ids, seed=Seeds(1, {4: 9})))  # not in the map


@pytest.mark.parametrize("layer", range(LAYERS))
def test_a_layer_has_a_seed_of_its_own(model: ClassLatentGenerator, ids: torch.Tensor, layer: int) -> None:
    assert change(model.generate(ids, seed=1), model.generate(ids, seed=Seeds(1, layers={layer: 9}))) > 1e-4


def test_a_style_is_followed_where_it_has_the_class(model: ClassLatentGenerator, ids, picture) -> None:
    seen = torch.where(ids == 3, 4, ids)  # class 4 in the style alone, class 3 in the target alone
    style = model.style(picture, seen)
    assert style.system is System.CLVAE and style.classes == (0, 2, 4) and style.shape == (LAYERS, SMALL.local)
    drawn = model.random_style(ids, 5)
    expected = StyleCodes(System.CLVAE, {0: style.codes[0], 2: style.codes[2], 3: drawn.codes[3]}, style.shared)
    assert torch.equal(model.generate(ids, style, 5), model.generate(ids, expected, 6))


def test_one_class_or_one_layer_is_edited(model: ClassLatentGenerator, ids: torch.Tensor) -> None:
    a, b = model.random_style(ids, 1), model.random_style(ids, 2)
    before = model.generate(ids, a)
    assert change(model.generate(ids, swapped(a, b, [3])), before) > 1e-3
    assert change(model.generate(ids, swapped(a, b, [3], layers=[1])), before) > 1e-4
    assert torch.equal(model.generate(ids, swapped(a, b, None, shared=True)), model.generate(ids, b))
    # The finest layer of one class reaches no further than the convolutions after it.
    moved = (model.generate(ids, swapped(a, b, [0], layers=[0])) - before).abs().amax((0, 1, 2))
    assert float(moved[:8].max()) > 1e-4 and float(moved[-20:].max()) == 0


def test_a_batch_with_styles_is_its_items(model: ClassLatentGenerator, ids: torch.Tensor, picture) -> None:
    both, pictures = torch.cat([ids, (ids + 1).clamp(max=4)]), torch.cat([picture, 1 - picture])
    styles = model.styles(pictures, both)
    alone = [model.style(pictures[i : i + 1], both[i : i + 1]) for i in range(2)]
    for one, other in zip(styles, alone, strict=True):
        assert one.classes == other.classes
        assert all(change(one.codes[c], other.codes[c]) < 1e-5 for c in one.classes)
    made = model.generate(both, styles, 3)
    expected = torch.cat([model.generate(both[i : i + 1], alone[i], 3) for i in range(2)])
    assert change(made, expected) < 1e-5 and change(made[0], made[1]) > 0.01
    assert change(model.generate(both, styles[0], 3)[0], made[0]) < 1e-5
    with pytest.raises(ValueError, match="2 styles for 1 label maps"):
        model.generate(ids, styles)


def test_a_class_too_small_for_a_layer_has_zeros_there(model: ClassLatentGenerator, picture: torch.Tensor) -> None:
    ids = torch.zeros(1, 64, 64, dtype=torch.long)
    ids[0, 1, 1] = 2  # 4 x 4 pixels of the encoder's picture
    found = model.encoder(picture * 2 - 1, ids)
    present = found.present[0, 2].tolist()
    assert present == [True, True, False, False, False] and bool(found.present[0, 0].all())
    for layer, there in enumerate(present):
        assert bool(found.mean[0, 2, layer].any()) is there and bool(found.log_variance[0, 2, layer].any()) is there
    assert not bool(found.visible[0, 1]) and not bool(found.mean[0, 1].any())


def test_maps_of_another_size_are_fitted(model: ClassLatentGenerator, ids: torch.Tensor, picture) -> None:
    large = ids.repeat_interleave(3, 1).repeat_interleave(3, 2)
    assert torch.equal(model.generate(large, seed=1), model.generate(ids, seed=1))
    assert model.style(picture, large).classes == (0, 2, 3)


def test_what_does_not_fit_is_said(model: ClassLatentGenerator, ids: torch.Tensor, picture) -> None:
    outside = ids.clone()
    outside[0, 0, 0] = 255
    for ask in (
        lambda: model.generate(outside),
        lambda: model.style(picture, outside),
        lambda: model.random_style(outside),
    ):
        with pytest.raises(ValueError, match=r"1 of 4096 pixels .* 255 \(1 pixels\).* 0 to 4"):
            ask()
    wide = StyleCodes(System.CLVAE, {0: torch.zeros(LAYERS, 9)})
    for style in (wide, StyleCodes(System.SCADM, {})):
        with pytest.raises(ValueError, match="Make the style with this model"):
            model.generate(ids, style)
    with pytest.raises(ValueError, match=r"pass the encoder's file"):
        ClassLatentGenerator(model.generator).style(picture, ids)
    with pytest.raises(ValueError, match="expected one picture"):
        model.style(picture.repeat(2, 1, 1, 1), ids.repeat(2, 1, 1))
    # A style without any code of this map leaves all to the seed, but for the shared one.
    empty = restricted(model.random_style(ids, 4), [])
    assert change(model.generate(ids, empty, 1), model.generate(ids, None, 1)) > 1e-3


@pytest.mark.parametrize(
    ("cells", "asked", "size", "upsampling"),
    [
        (64, None, (256, 256), "normal"),
        (16, None, (256, 256), "more"),
        (32, None, (256, 512), "more"),
        (64, (512, 512), (512, 512), "more"),
        (32, (512, 256), (512, 256), "more"),
        (4, (64, 64), (64, 64), "normal"),
    ],
)
def test_the_size_follows_from_the_grid_or_from_the_user(cells, asked, size, upsampling: str) -> None:
    weights = {
        "conv_img.weight": torch.empty(3, 8, 3, 3, device="meta"),
        "fc.weight": torch.empty(16 * 8 * cells, 7, device="meta"),
        "embedding.weight": torch.empty(20, 9, device="meta"),
    }
    found = Configuration.of(weights, asked)
    assert found.size == size and found.upsampling == upsampling and found.grid[0] * found.grid[1] == cells
    assert (found.classes, found.width, found.local, found.shared) == (20, 8, 9, 7)
    with pytest.raises(ValueError, match=r"cannot make pictures of 100 x 100 .* pass size as one of "):
        Configuration.of(weights, (100, 100))


@pytest.mark.skipif(not KEYS.is_dir(), reason="the golden sets are not beside the checkout")
@pytest.mark.parametrize(
    ("name", "size", "classes", "parameters"),
    [
        ("ade20k", (256, 256), 151, (111_965_396, 10_909_478)),
        ("deepfashion", (256, 256), 16, (490_976_099, 49_776_512)),
        ("gta5", (256, 512), 20, (100_805_203, 10_522_504)),
    ],
)
def test_the_published_full_size_networks_are_built_strictly(name, size, classes: int, parameters) -> None:
    states = []
    for letter in "GE":
        lines = (line.split("\t") for line in (KEYS / f"keys_clvae_{name}_{letter}.txt").read_text().splitlines())
        dtypes = {"torch.float32": torch.float32, "torch.int64": torch.int64}
        states.append({k: torch.empty(json.loads(s), dtype=dtypes[d], device="meta") for k, s, d in lines})
    config = Configuration.of(states[0])
    assert config.size == size and config.classes == classes
    for spectral in (True, False):
        weights = states if spectral else [baked(state) for state in states]
        generator = built(lambda s=spectral: Generator(config, spectral=s), weights[0], name, "a generator")
        sizes = (config.classes, config.width, config.local, config.shared)
        encoder = built(lambda s=spectral, z=sizes: Encoder(*z, spectral=s), weights[1], name, "an encoder")
        found = tuple(sum(p.numel() for p in network.parameters()) for network in (generator, encoder))
        assert found == parameters


@pytest.fixture
def published(tmp_path: Path) -> tuple[Path, Path]:
    """The pair of files as the published code saves it: pickles, spectral norms apart."""
    paths = tmp_path / "latest_net_G.pth", tmp_path / "latest_net_E.pth"
    for path, network in zip(paths, networks(spectral=True), strict=True):
        torch.save(network.state_dict(), path)
    return paths


def test_the_published_pair_is_loaded(published: tuple[Path, Path], ids: torch.Tensor, picture) -> None:
    loaded = load_generator(published[0], size=SMALL.size)
    assert isinstance(loaded, ClassLatentGenerator) and loaded.classes == 5 and loaded.size == (64, 64)
    generator, encoder = networks(spectral=True)
    style = loaded.style(picture, ids)
    found = encoder(picture * 2 - 1, ids)
    assert torch.equal(style.codes[2], found.mean[0, 2]) and torch.equal(style.shared, found.shared_mean[0])
    codes = torch.zeros(1, 5, LAYERS, SMALL.local)
    for label in style.classes:
        codes[0, label] = style.codes[label]
    made = (generator(ids, codes, style.shared[None]) + 1) / 2
    assert torch.equal(loaded.generate(ids, style), made)


def test_a_converted_file_makes_the_same_pictures(published, ids, picture, capsys, tmp_path: Path) -> None:
    out = tmp_path / "clvae.safetensors"
    assert checkpoints_command(["convert", str(published[0]), str(out), "--size", "64x64"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["system"] == "clvae" and summary["size"] == "64x64"
    one, other = load_generator(published[0], size=(64, 64)), load_generator(out)
    for name in ("generator", "encoder"):
        states = [getattr(loaded, name).state_dict() for loaded in (one, other)]
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    made = [loaded.generate(ids, loaded.style(picture, ids)) for loaded in (one, other)]
    assert change(*made) < 1e-5  # a mapped file lies in memory otherwise, and sums are taken in another order
    assert checkpoints_command(["convert", str(published[0]), str(out), "--size", "64x64"]) == 1
    assert "exists already" in capsys.readouterr().err
    again = ["convert", str(out), str(out), "--overwrite", "--dtype", "fp16"]
    assert checkpoints_command(again) == 0
    assert (
        change(load(out).generate(ids, seed=1), one.generate(ids, seed=1))
        < 0.02
        < float(one.generate(ids, seed=1).std())
    )


def test_without_an_encoder_there_are_random_styles(published: tuple[Path, Path], ids: torch.Tensor) -> None:
    published[1].unlink()
    loaded = load(published[0], size=SMALL.size)
    assert loaded.encoder is None and bool(loaded.generate(ids, seed=1).isfinite().all())


def test_wrong_files_are_told_apart(published: tuple[Path, Path], tmp_path: Path) -> None:
    generator_file, encoder_file = published
    with pytest.raises(CheckpointError, match="clVAE's encoder alone.*latest_net_G.pth"):
        load_generator(encoder_file)
    with pytest.raises(CheckpointError, match=r"4 cells has no usual size .* pass size as one of 64 x 64"):
        load(generator_file)
    with pytest.raises(CheckpointError, match="holds no clVAE encoder"):
        load(generator_file, encoder=generator_file, size=SMALL.size)
    with pytest.raises(FileNotFoundError, match="nowhere.pth"):
        load(generator_file, encoder=tmp_path / "nowhere.pth", size=SMALL.size)
    with pytest.raises(ValueError, match="clVAE, which has no choice 'weights'; it has encoder, size"):
        load_generator(generator_file, weights="ema")

    other = Encoder(5, 2, 3, 6)
    save_file(other.state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="codes of 3 and 6 numbers. Expected 4 and 6"):
        load(generator_file, encoder=tmp_path / "other.safetensors", size=SMALL.size)

    state = torch.load(generator_file, weights_only=True)
    for name, told in (
        ("up_3.conv_s.weight_u", "weight_u is missing"),
        ("up_1.norm_0.mlp_beta.bias", "not a complete one.*missing up_1.norm_0.mlp_beta.bias"),
    ):
        torch.save({k: v for k, v in state.items() if k != name}, tmp_path / "cut.pth")
        with pytest.raises(CheckpointError, match=told):
            load(tmp_path / "cut.pth", size=SMALL.size)
    torch.save({f"module.{k}": v for k, v in state.items()}, tmp_path / "parallel.pth")
    assert load(tmp_path / "parallel.pth", size=SMALL.size).encoder is None
