"""Quality through optional packages: right figures where they are there, clear words where they are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from amadapter_core.checkpoints import CheckpointError
from amadapter_core.metrics import Clip, Dino, fid, inception, kid, lpips, quality


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


class Means(nn.Module):
    """Two features: the mean red and the mean green."""

    num_features = 2

    def forward(self, images: Tensor) -> Tensor:
        assert images.dtype == torch.uint8
        return images[:, :2].float().mean((2, 3))


def of_colours(colours: Tensor) -> Tensor:
    """Even pictures [N, 3, 4, 4]."""
    return colours[:, :, None, None].expand(-1, -1, 4, 4)


def test_fid_is_the_distance_of_two_gaussians() -> None:
    pytest.importorskip("torchmetrics")
    colours = random(64, 3) * 0.5
    moved = colours + torch.tensor([0.2, 0.0, 0.3])
    assert fid(of_colours(colours), of_colours(colours), Means()) == pytest.approx(0, abs=1e-3)
    # Equal covariances: the squared distance of the means, 51 levels of 255 in red.
    assert fid(of_colours(moved), of_colours(colours), Means()) == pytest.approx(51**2, rel=1e-3)
    in_parts = fid((x[None] for x in of_colours(moved)), of_colours(colours), Means())
    assert in_parts == pytest.approx(51**2, rel=1e-3)


def test_kid_tells_sets_apart_and_is_seeded() -> None:
    pytest.importorskip("torchmetrics")

    class Small(Means):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) / 255

    first, second = of_colours(random(60, 3)), of_colours(random(50, 3, seed=1))
    alike, apart = (kid(first, second * factor, Small())[0] for factor in (1, 0.3))
    assert abs(alike) < 0.1 < apart
    state = torch.get_rng_state()
    assert kid(first, second, Small())[0] == alike
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(ValueError, match="1 results and 50 references"):
        fid(first[:1], second, Means())


def test_weights_are_not_fetched_but_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torchmetrics")
    pytest.importorskip("torch_fidelity")
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"inception: no weights at .*6726825d\.pth; fetch https://github"):
        inception()
    with pytest.raises(FileNotFoundError, match=r"lpips: no weights at .*alexnet-owt-7be5be79\.pth; fetch https://"):
        lpips(random(1, 3, 64, 64), random(1, 3, 64, 64))
    with pytest.raises(ValueError, match="net is 'resnet', expected one of alex, vgg, squeeze"):
        lpips(random(1, 3, 64, 64), random(1, 3, 64, 64), net="resnet")


def test_pickled_code_is_refused_as_weights(tmp_path: Path) -> None:
    pytest.importorskip("torchmetrics")
    pytest.importorskip("torch_fidelity")
    torch.save({"a": Path("x")}, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match=r"weights\.pth is a pickle that asks for pathlib\.PosixPath"):
        inception(tmp_path / "weights.pth")


def test_a_missing_package_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(quality.importlib, "import_module", absent)
    with pytest.raises(ImportError, match=r"fid: torchmetrics is not installed; pip install 'am-adapter\[metrics\]'"):
        fid(random(2, 3, 4, 4), random(2, 3, 4, 4), Means())


def test_pairs_must_fit() -> None:
    with pytest.raises(ValueError, match=r"lpips: pictures are \[1, 3, 64, 64\] and references \[2, 3, 64, 64\]"):
        lpips(random(1, 3, 64, 64), random(2, 3, 64, 64))


def saved_clip(folder: Path) -> Path:
    """A random CLIP of the smallest kind, with a tokenizer that spells."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    folder.mkdir()
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    layers = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config=layers | {"vocab_size": len(words), "max_position_embeddings": 16, "eos_token_id": 1},
        vision_config=layers | {"image_size": 32, "patch_size": 8},
        projection_dim=8,
    )
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(folder)
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)
    pictures = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(pictures, tokenizer).save_pretrained(folder)
    return folder


def test_clip_compares_pictures_and_prompts(tmp_path: Path) -> None:
    clip = Clip(saved_clip(tmp_path / "clip"))
    images = random(3, 3, 40, 48)
    assert clip.similarity(images, images) == pytest.approx([1, 1, 1], abs=1e-5)
    # Pictures of another size are compared as well, each with its own.
    similar = clip.similarity(images, images.flip(0)[..., :40])
    assert all(-1 <= value < 1 for value in similar)
    prompts = ["a street", "at night", "a street"]
    scores = clip.score(images, prompts)
    alone = [clip.score(images[i : i + 1], [prompt])[0] for i, prompt in enumerate(prompts)]
    assert scores == pytest.approx(alone, abs=1e-3) and all(0 <= value <= 100 for value in scores)
    with pytest.raises(ValueError, match="1 prompts for 3 pictures"):
        clip.score(images, ["a street"])
    with pytest.raises(ValueError, match="3 pictures and 2 references"):
        clip.similarity(images, images[:2])


def test_dino_compares_pictures(tmp_path: Path) -> None:
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=1, image_size=32, patch_size=8
    )
    torch.manual_seed(0)
    Dinov2Model(config).save_pretrained(tmp_path / "dino")
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    BitImageProcessor(do_center_crop=True, **size).save_pretrained(tmp_path / "dino")
    dino = Dino(tmp_path / "dino")
    images = random(2, 3, 40, 48)
    assert dino.similarity(images, images) == pytest.approx([1, 1], abs=1e-5)
    assert all(value < 1 for value in dino.similarity(images, 1 - images))


def test_a_model_that_is_not_there_is_not_fetched(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Clip: .*nothing.* is neither a folder .*'hf download .*nothing'"):
        Clip(str(tmp_path / "nothing"))
