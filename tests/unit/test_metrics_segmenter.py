"""The segmenter: small, fast, any size, weights that say which classes they know; it learns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from amadapter_core.checkpoints import CheckpointError
from amadapter_core.metrics import NO_CLASS, Segmenter
from amadapter_core.palettes import Palette

CLASSES = {0: "sky", 5: "road", 9: "car"}


def small(width: int = 8, seed: int = 0) -> Segmenter:
    torch.manual_seed(seed)
    return Segmenter(CLASSES, width)


def streets(count: int, seed: int, size: int = 24) -> tuple[Tensor, Tensor]:
    """Sky over road with a car across, colours under noise."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.zeros(count, size, size, dtype=torch.long)
    for item in ids:
        horizon, left = torch.randint(size // 4, 3 * size // 4, (2,), generator=generator).tolist()
        item[horizon:] = 5
        item[horizon - 4 : horizon + 4, left : left + 8] = 9
    colours = torch.zeros(10, 3)
    colours[[0, 5, 9]] = torch.tensor([[0.2, 0.3, 0.8], [0.5, 0.5, 0.4], [0.7, 0.2, 0.2]])
    noise = 0.15 * torch.randn(count, 3, size, size, generator=generator)
    return (colours[ids].movedim(-1, 1) + noise).clamp(0, 1), ids


def test_it_is_small() -> None:
    network = Segmenter.of(Palette.load("cityscapes19"))
    assert sum(p.numel() for p in network.parameters()) <= 300_000
    assert list(network.classes.items())[13] == (13, "car")


@pytest.mark.parametrize("size", [(32, 48), (8, 8), (37, 50), (1, 3)])
def test_any_size_gives_logits_of_that_size(size: tuple[int, int]) -> None:
    assert small()(torch.rand(2, 3, *size)).shape == (2, 3, *size)


def test_a_picture_s_answer_does_not_depend_on_its_batch_mates() -> None:
    network, images = small(), torch.rand(3, 3, 24, 24)
    assert (network(images)[1:2] - network(images[1:2])).abs().max() <= 1e-5
    assert torch.equal(network.predict(images, batch=2), network.predict(images))


def test_it_learns_in_a_second_or_two() -> None:
    network = small()
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    held_out, truth = streets(8, seed=1)
    before = (network.predict(held_out) == truth).float().mean()
    for step in range(35):
        images, ids = streets(8, seed=100 + step)
        optimiser.zero_grad()
        F.cross_entropy(network(images), network.indices(ids)).backward()
        optimiser.step()
    after = (network.predict(held_out) == truth).float().mean()
    assert before < 0.8 and after > 0.9


def test_predictions_are_label_ids_and_indices_are_places() -> None:
    ids = torch.tensor([[[0, 5, 9, 7]]], dtype=torch.uint8)
    assert small().indices(ids).tolist() == [[[0, 1, 2, NO_CLASS]]]
    assert set(small().predict(torch.rand(1, 3, 16, 16)).unique().tolist()) <= {0, 5, 9}


@pytest.mark.parametrize("width", [4, 12])
def test_sizes_are_recovered_from_the_weights(width: int) -> None:
    network = small(width)
    again = Segmenter.from_state_dict(network.state_dict(), CLASSES)
    image = torch.rand(1, 3, 16, 16)
    assert again.width == width and torch.equal(again(image), network(image))
    assert Segmenter.from_state_dict(network.state_dict()).classes == {0: "0", 1: "1", 2: "2"}
    with pytest.raises(ValueError, match="2 classes are named, the weights have 3 logits"):
        Segmenter.from_state_dict(network.state_dict(), {0: "sky", 1: "road"})


def test_a_saved_segmenter_comes_back_with_its_classes(tmp_path: Path) -> None:
    network, image = small(), torch.rand(1, 3, 16, 16)
    network.save(tmp_path / "whole.safetensors")
    network.save(tmp_path / "half.safetensors", dtype=torch.float16)
    whole, half = (Segmenter.load(tmp_path / f"{name}.safetensors") for name in ("whole", "half"))
    assert whole.classes == half.classes == CLASSES
    assert torch.equal(whole(image), network(image))
    assert half.dtype == torch.float32 and (half(image) - network(image)).abs().max() < 0.02
    assert not whole.training and not any(p.requires_grad for p in whole.parameters())


def test_a_diverged_segmenter_is_not_written(tmp_path: Path) -> None:
    network, path = small(), tmp_path / "s.safetensors"
    network.save(path)
    former = path.read_bytes()
    torch.nn.init.constant_(network.head.bias, float("nan"))
    with pytest.raises(ValueError, match=r"s\.safetensors: 1 tensors are not finite, first head\.bias"):
        network.save(path)
    assert path.read_bytes() == former and len(list(tmp_path.iterdir())) == 1


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*absent\.safetensors"):
        Segmenter.load(tmp_path / "absent.safetensors")
    save_file({"head.weight": torch.zeros(3, 8, 1, 1)}, tmp_path / "bare.safetensors")
    with pytest.raises(CheckpointError, match=r"bare\.safetensors is no segmenter.*am_adapter\.kind"):
        Segmenter.load(tmp_path / "bare.safetensors")
    (tmp_path / "text.safetensors").write_text(json.dumps({}))
    with pytest.raises(CheckpointError, match="text.safetensors is a text file"):
        Segmenter.load(tmp_path / "text.safetensors")
    with pytest.raises(ValueError, match=r"expected pictures \[B, 3, H, W\], got \[1, 1, 8, 8\]"):
        small()(torch.rand(1, 1, 8, 8))
