"""What the three semantic generators share: SPADE, baked norms, label maps, noise, style codes, recognition."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from amadapter_core.checkpoints import CheckpointError, Kind, recognise
from amadapter_core.generators import system as systems
from amadapter_core.generators.building import built
from amadapter_core.generators.noise import Seeds, noise_by_class, normal
from amadapter_core.generators.semantic import check_ids, gather_codes, one_hot, resize_nearest
from amadapter_core.generators.spade import Spade, SpadeResBlock, batch_statistics
from amadapter_core.generators.spectral import baked, normalised
from amadapter_core.generators.styles import (
    StyleCodes,
    interpolated,
    load_styles,
    merged,
    restricted,
    save_styles,
    swapped,
)
from amadapter_core.generators.system import System, load_generator

GOLDENS = Path(__file__).resolve().parents[3] / "shared" / "goldens"
NAMES = {
    System.CLVAE: ["embedding.weight", "G_middle_0.norm_0.mlp_shared.0.weight"],
    System.IPOSE: ["conv_part.0.weight", "body.0.norm_p.mlp_gamma_nos.weight"],
    System.SCADM: [
        "model.diffusion_model.middle_block.0.in_norm.mlp_shared.0.weight",
        "cond_stage_model.Encoder.enc_layer_0.0.weight",
    ],
}


def test_spade_scales_and_shifts_a_norm_by_the_nearest_place_of_the_map() -> None:
    torch.manual_seed(0)
    spade = Spade(nn.GroupNorm(2, 4, affine=False), 4, 3, hidden=5, norm_name="first_norm")
    assert {key.split(".")[0] for key in spade.state_dict()} == {"mlp_shared", "mlp_gamma", "mlp_beta"}
    x, condition = torch.randn(2, 4, 6, 5), torch.randn(2, 3, 13, 11)
    near = condition[:, :, [i * 13 // 6 for i in range(6)]][..., [i * 11 // 5 for i in range(5)]]
    hidden = F.relu(spade.mlp_shared[0](near))
    expected = F.group_norm(x, 2) * (1 + spade.mlp_gamma(hidden)) + spade.mlp_beta(hidden)
    torch.testing.assert_close(spade(x, condition), expected)


@pytest.mark.parametrize(("channels_in", "shortcut"), [(4, False), (6, True)])
def test_a_residual_block_learns_a_shortcut_where_the_width_changes(channels_in: int, shortcut: bool) -> None:
    block = SpadeResBlock(channels_in, 4, 3, norm_name="first_norm").eval()
    assert ("conv_s.weight" in block.state_dict()) is shortcut and "conv_s.bias" not in block.state_dict()
    assert "norm_0.first_norm.running_mean" in block.state_dict()
    for conv in (block.conv_1, *([block.conv_s] if shortcut else [])):
        nn.init.zeros_(conv.weight)
    nn.init.zeros_(block.conv_1.bias)
    x = torch.randn(1, channels_in, 4, 4)
    out = block(x, torch.randn(1, 3, 8, 8))
    torch.testing.assert_close(out, torch.zeros(1, 4, 4, 4) if shortcut else x)


def test_batch_statistics_have_no_parameters() -> None:
    assert not list(batch_statistics(3).parameters())


def test_baked_weights_are_what_a_normalised_layer_computes_with() -> None:
    torch.manual_seed(0)
    layer = normalised(nn.Conv2d(3, 4, 3)).eval()
    layer.weight_u.mul_(1.7)  # the stored vectors decide, not the true norm
    x, plain = torch.randn(1, 3, 5, 5), nn.Conv2d(3, 4, 3)
    plain.load_state_dict(baked({k: v.detach() for k, v in layer.state_dict().items()}), strict=True)
    assert torch.equal(plain(x), layer(x))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"a.weight_u": None}, "a: weight_u is missing"),
        ({"a.weight_v": torch.ones(5)}, r"a: weight_v has shape \[5\], expected \[27\]"),
        ({"a.weight_orig": None}, "a: weight_u is there, weight_orig is not"),
        ({"a.weight": torch.ones(4, 3, 3, 3)}, "a: both weight and weight_orig"),
        ({"a.weight_u": torch.zeros(4)}, r"a: u and v give the norm 0\.0"),
    ],
)
def test_a_spectral_norm_that_is_not_whole_is_refused(change: dict, told: str) -> None:
    state = {"a.weight_orig": torch.ones(4, 3, 3, 3), "a.weight_u": torch.ones(4), "a.weight_v": torch.ones(27)}
    state = {key: value for key, value in (state | change).items() if value is not None}
    with pytest.raises(ValueError, match=told):
        baked(state)


def test_ids_become_channels_and_codes_become_pixels() -> None:
    ids = torch.tensor([[[0, 2], [1, 2]]], dtype=torch.uint8)
    hot = one_hot(ids, 4)
    assert hot.shape == (1, 4, 2, 2) and torch.equal(hot.argmax(1), ids.long()) and bool((hot.sum(1) == 1).all())
    codes = torch.randn(1, 4, 3)
    torch.testing.assert_close(gather_codes(codes, ids), torch.einsum("bkd,bkhw->bdhw", codes, hot))
    assert torch.equal(gather_codes(codes[0], ids), gather_codes(codes, ids))


@pytest.mark.parametrize("size", [(3, 4), (5, 7), (11, 20)])
def test_ids_are_resized_as_the_published_code_does(size: tuple[int, int]) -> None:
    ids = torch.randint(0, 200, (2, 9, 13))
    expected = F.interpolate(ids[:, None].float(), size=size, mode="nearest")[:, 0].long()
    assert torch.equal(resize_nearest(ids, size), expected)


def test_values_without_a_class_are_counted_and_named() -> None:
    ids = torch.tensor([[[0, 3, 255], [255, 1, -1]]])
    with pytest.raises(ValueError, match=r"clVAE: 4 of 6 pixels .*: -1 \(1 pixels\), 3 \(1 pixels\), 255 \(2 pixels\)"):
        check_ids(ids, 3, "clVAE")
    assert check_ids(ids.clamp(0, 2), 3, "clVAE").dtype == torch.int64
    with pytest.raises(ValueError, match="expected label ids"):
        check_ids(ids.float(), 3, "clVAE")


def test_noise_is_a_function_of_its_place() -> None:
    assert torch.equal(normal((3,), 5, 1), normal((3,), 5, 1))
    assert not torch.equal(normal((3,), 5, 1), normal((3,), 1, 5))
    drawn = normal((20000,), 2**64 - 1)
    assert abs(float(drawn.mean())) < 0.03 and abs(float(drawn.std()) - 1) < 0.03


def test_a_seed_of_one_class_or_one_layer_moves_nothing_else() -> None:
    plain, by_class, by_layer = Seeds(7), Seeds(7, {2: 8}), Seeds(7, layers={1: 8})
    a = {label: plain.code(label, 3, 4) for label in (1, 2)}
    assert torch.equal(by_class.code(1, 3, 4), a[1]) and not torch.equal(by_class.code(2, 3, 4), a[2])
    for label in (1, 2):
        same = [torch.equal(x, y) for x, y in zip(by_layer.code(label, 3, 4), a[label], strict=True)]
        assert same == [True, False, True]
    assert len({tuple(row.tolist()) for code in a.values() for row in code}) == 6

    ids = torch.tensor([[[1, 1, 2, 2]] * 3] * 2)
    before, after = noise_by_class(ids, 5, plain), noise_by_class(ids, 5, by_class)
    assert before.shape == (2, 5, 3, 4) and not torch.equal(before[0], before[1])
    assert torch.equal(before[..., :2], after[..., :2]) and not bool((before[..., 2:] == after[..., 2:]).any())


def codes(*labels: int, fill: float, shared: float | None = None) -> StyleCodes:
    made = {label: torch.full((3, 2), float(fill)) + label for label in labels}
    return StyleCodes(System.CLVAE, made, None if shared is None else torch.full((4,), float(shared)))


def test_classes_and_layers_are_swapped_between_styles() -> None:
    a, b = codes(1, 2, fill=0, shared=0), codes(2, 3, fill=10, shared=1)
    mixed = swapped(a, b, [2], layers=[0, 2])
    assert mixed.classes == (1, 2) and torch.equal(mixed.codes[1], a.codes[1])
    assert mixed.codes[2][:, 0].tolist() == [12, 2, 12] and torch.equal(mixed.shared, a.shared)
    assert a.codes[2][:, 0].tolist() == [2, 2, 2]  # what came in is left as it was
    everything = swapped(a, b, None, shared=True)
    assert everything.classes == (1, 2, 3) and torch.equal(everything.codes[3], b.codes[3])
    assert torch.equal(everything.shared, b.shared)


def test_styles_are_interpolated_class_by_class() -> None:
    a, b = codes(1, 2, fill=0, shared=0), codes(1, 2, fill=10, shared=1)
    half = interpolated(a, b, 0.5)
    assert half.codes[1][0, 0] == 6 and half.shared[0] == 0.5
    one = interpolated(a, b, 0.25, classes=[2], layers=[1])
    assert one.codes[2][:, 0].tolist() == [2, 4.5, 2] and torch.equal(one.codes[1], a.codes[1]) and one.shared[0] == 0
    for weight, end in ((0.0, a), (1.0, b)):
        found = interpolated(a, b, weight)
        assert torch.equal(found.shared, end.shared) and all(torch.equal(found.codes[k], end.codes[k]) for k in (1, 2))


def test_styles_are_merged_and_restricted() -> None:
    a, b = codes(1, fill=0), codes(1, 2, fill=10, shared=1)
    both = merged(a, b)
    assert torch.equal(both.codes[1], a.codes[1]) and torch.equal(both.codes[2], b.codes[2])
    assert torch.equal(both.shared, b.shared)
    kept = restricted(b, [2, 9], shared=False)
    assert kept.classes == (2,) and kept.shared is None


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda a: swapped(a, codes(1, fill=0), [1, 5]), "the second has no code for class 5; it has 1"),
        (lambda a: swapped(a, codes(9, fill=0), [9], layers=[0]), "the first has no code for class 9"),
        (lambda a: swapped(a, a, [1], layers=[3]), "no layer 3; clVAE has 0 to 2"),
        (lambda a: interpolated(a, a, 1.5), "the weight is 1.5"),
        (lambda a: merged(a, StyleCodes(System.SCADM, {})), "clVAE and SCA-DM do not mix"),
        (lambda a: merged(a, StyleCodes(System.CLVAE, {1: torch.zeros(2, 2)})), "differ in shape"),
        (lambda a: StyleCodes(System.CLVAE, {1: torch.zeros(3)}), "expected one shape"),
    ],
)
def test_styles_that_do_not_fit_are_told_apart(wrong, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        wrong(codes(1, 2, fill=0, shared=0))


def test_styles_are_kept_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "style.safetensors"
    for made in (codes(3, 150, fill=1, shared=2), codes(0, fill=1)):
        save_styles(path, made, {"names": "sky"})
        read = load_styles(path)
        assert read.system is System.CLVAE and read.classes == made.classes
        assert all(torch.equal(read.codes[label], made.codes[label]) for label in made.classes)
        assert (read.shared is None) == (made.shared is None)
    save_file({"class.1": torch.zeros(3, 2)}, path)
    with pytest.raises(CheckpointError, match="holds no style codes"):
        load_styles(path)
    with pytest.raises(FileNotFoundError, match="absent"):
        load_styles(tmp_path / "absent.safetensors")


@pytest.mark.parametrize("prefix", ["", "module.", "G."])
@pytest.mark.parametrize("which", System)
def test_a_system_is_recognised_by_its_names(which: System, prefix: str) -> None:
    names = [prefix + name for name in NAMES[which]]
    assert systems.recognise(names) is which
    assert recognise(dict.fromkeys(names, torch.zeros(1))).kind is Kind.GENERATOR


@pytest.mark.skipif(not GOLDENS.is_dir(), reason="the golden sets are not beside the checkout")
def test_every_published_list_of_names_is_recognised() -> None:
    lists = sorted(GOLDENS.glob("*/keys_*.txt"))
    assert len(lists) == 11
    for file in lists:
        names = [line.split("\t")[0] for line in file.read_text().splitlines()]
        assert systems.recognise(names).value == file.parent.name, file


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["G_middle_0.norm_0.mlp_shared.0.weight", "conv_img.weight"], "a SPADE generator without class latents"),
        (["body.0.norm_0.mlp_shared.0.weight", "conv_img.weight"], "an OASIS generator without part maps"),
        (["a.weight", "b.weight"], r"no semantic generator known here\. Expected .* clVAE, iPOSE, SCA-DM\. Seen: a"),
        ([], "no tensors"),
        (NAMES[System.CLVAE] + NAMES[System.IPOSE], "networks of clVAE and iPOSE"),
    ],
)
def test_other_networks_are_called_by_their_names(names: list[str], told: str) -> None:
    with pytest.raises(CheckpointError, match=told):
        systems.recognise(names)


def test_the_door_names_the_file_it_cannot_open(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"a.weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="other.safetensors"):
        load_generator(path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"bias": None}, "missing bias"),
        ({"more": torch.zeros(1)}, "left over more"),
        ({"weight": torch.zeros(2, 2)}, r"Expected weight \[2, 3\]"),
        ({"weight": torch.full((2, 3), torch.nan)}, "not finite"),
    ],
)
def test_a_network_is_built_strictly(change: dict, told: str) -> None:
    weights = {"weight": torch.ones(2, 3, dtype=torch.float16), "bias": torch.zeros(2)}
    whole = built(lambda: nn.Linear(3, 2), weights, "file.pth", "a layer")
    assert whole.weight.dtype == torch.float32 and not whole.weight.requires_grad and not whole.training
    weights = {key: value for key, value in (weights | change).items() if value is not None}
    with pytest.raises(CheckpointError, match=f"file.pth .*{told}"):
        built(lambda: nn.Linear(3, 2), weights, "file.pth", "a layer")
