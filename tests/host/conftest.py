"""A small Stable Diffusion with random weights: everything a real one has, in a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from amadapter_core.controlnext import ControlNeXt
from amadapter_core.label_maps import LabelMap, Palette
from amadapter_core.matcher import Matcher

CONTEXT = 32


def small_unet(**options):
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    config = dict(
        sample_size=8,
        block_out_channels=(32, 64, 64, 64),
        layers_per_block=1,
        cross_attention_dim=CONTEXT,
        attention_head_dim=8,
    )
    unet = UNet2DConditionModel(**(config | options)).eval().requires_grad_(False)
    for name, parameter in unet.named_parameters():
        if "attn1.to_q" in name or "attn1.to_k" in name:
            parameter.mul_(4)  # so that who looks at whom matters
    return unet


def labels(rows: list[list[int]], cell: int = 16) -> LabelMap:
    """A label map of square cells."""
    ids = torch.tensor(rows).repeat_interleave(cell, 0).repeat_interleave(cell, 1)
    return LabelMap(ids[None], Palette.load("cityscapes19"))


@pytest.fixture
def unet():
    return small_unet()


@pytest.fixture(scope="session")
def parts() -> dict:
    from diffusers import AutoencoderKL, DDIMScheduler
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(c + "</w>" for c in letters)]
    torch.manual_seed(1)
    text = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=CONTEXT,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    down, up = ("DownEncoderBlock2D",) * 4, ("UpDecoderBlock2D",) * 4
    return {
        "tokenizer": CLIPTokenizer(vocab={w: i for i, w in enumerate(words)}, merges=[], model_max_length=77),
        "text_encoder": CLIPTextModel(text).eval(),
        "vae": AutoencoderKL(
            block_out_channels=(8, 8, 8, 8), down_block_types=down, up_block_types=up, norm_num_groups=4
        ).eval(),
        "scheduler": DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            steps_offset=1,
            clip_sample=False,
            set_alpha_to_one=False,
        ),
        "controlnext": ControlNeXt(32, stem=(8, 8, 16), stages=(16, 32), time_channels=(16, 32)).eval(),
        "matcher": Matcher().eval().requires_grad_(False),
    }


@pytest.fixture
def make_pipeline(parts: dict) -> Callable:
    """A new pipeline with a UNet of its own."""
    from amadapter_core.hosts.diffusers.pipeline import AMAdapterPipeline

    def make(**options):
        pipeline = AMAdapterPipeline(unet=small_unet(), **(parts | options))
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    return make


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of the demonstration family with random weights and all that is packed with it."""
    from safetensors.torch import load_file, save_file

    from amadapter_core.checkpoints import Kind, save
    from amadapter_core.demo import family
    from amadapter_core.metrics.segmenter import Segmenter

    folder = tmp_path_factory.mktemp("demo") / "trained"
    family.init(folder, seed=3)
    unet = folder / "unet" / "diffusion_pytorch_model.safetensors"
    gains = {"attn1.to_q": 4, "attn1.to_k": 4}  # so that who looks at whom matters
    weights = load_file(unet)
    for name in weights:
        weights[name] = weights[name] * next((gain for part, gain in gains.items() if part in name), 1)
    save_file(weights, unet)
    torch.manual_seed(4)
    save(folder / "matcher_published.safetensors", Matcher(), Kind.MATCHER, variant="published")
    Segmenter.of(Palette.load("cityscapes19")).save(folder / "segmenter.safetensors")
    return folder


@pytest.fixture(scope="session")
def demo_flat(demo_folder: Path) -> Path:
    """The same weights as they are shipped."""
    from amadapter_core.demo.weights import pack

    flat = demo_folder.parent / "flat"
    pack(demo_folder, flat, matchers=sorted(demo_folder.glob("matcher*")))
    return flat
