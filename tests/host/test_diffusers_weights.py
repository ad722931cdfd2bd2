"""Networks of diffusers from weights files: either naming, the published pair, what a matcher was trained with."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from safetensors.torch import save_file
from torch import Tensor

from amadapter_core.checkpoints import CheckpointError, Kind, load_matcher, save
from amadapter_core.hosts.diffusers.weights import load_pair, load_unet
from amadapter_core.matcher import Matcher

from .conftest import CONTEXT

STEP = 501


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def as_ldm(weights: dict[str, Tensor], unet) -> dict[str, Tensor]:
    """Rename by diffusers' own converter, run on names: what it reads from where."""
    names = ldm_names(unet)
    converted = convert_ldm_unet_checkpoint({f"model.diffusion_model.{n}": n for n in names}, unet.config)
    return {name: weights[key] for key, name in converted.items()}


def ldm_names(unet) -> list[str]:
    """Names of an LDM UNet of the same topology, spelled out from its layout."""
    config, names = unet.config, ["time_embed.0", "time_embed.2", "input_blocks.0.0", "out.0", "out.2"]
    levels, depth = len(config.block_out_channels), config.layers_per_block
    resnet = ["in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3"]
    block = "transformer_blocks.0"
    attention = ["norm", "proj_in", "proj_out", *(f"{block}.norm{i}" for i in (1, 2, 3)), f"{block}.ff.net.2"]
    attention += [f"{block}.ff.net.0.proj", *(f"{block}.attn{i}.to_out.0" for i in (1, 2))]
    unbiased = [f"{block}.attn{i}.to_{x}" for i in (1, 2) for x in "qkv"]
    sites, number, width = [], 1, config.block_out_channels[0]
    widths = [width]

    def residual(path: str, before: int, after: int) -> None:
        names.extend(f"{path}.{part}" for part in resnet + (["skip_connection"] if before != after else []))

    for level, after in enumerate(config.block_out_channels):
        for _ in range(depth):
            residual(f"input_blocks.{number}.0", width, after)
            sites += [f"input_blocks.{number}.1"] if level < levels - 1 else []
            width, number = after, number + 1
            widths.append(width)
        if level < levels - 1:
            names.append(f"input_blocks.{number}.0.op")
            number += 1
            widths.append(width)
    residual("middle_block.0", width, width)
    sites.append("middle_block.1")
    residual("middle_block.2", width, width)
    number = 0
    for level, after in reversed(list(enumerate(config.block_out_channels))):
        for layer in range(depth + 1):
            residual(f"output_blocks.{number}.0", width + widths.pop(), after)
            sites += [f"output_blocks.{number}.1"] if level < levels - 1 else []
            if layer == depth and level:
                names.append(f"output_blocks.{number}.{2 if level < levels - 1 else 1}.conv")
            width, number = after, number + 1
    names += [f"{site}.{part}" for site in sites for part in attention]
    return [f"{n}.{p}" for n in names for p in ("weight", "bias")] + [
        f"{site}.{part}.weight" for site in sites for part in unbiased
    ]


@torch.no_grad()
@pytest.mark.parametrize("naming", ["diffusers", "ldm"])
def test_a_unet_of_either_naming_computes_the_same(naming: str, unet, tmp_path: Path) -> None:
    weights = {k: v.contiguous() for k, v in unet.state_dict().items()}
    if naming == "ldm":
        weights = {f"model.diffusion_model.{k}": v for k, v in as_ldm(weights, unet).items()}
        assert len(weights) == len(unet.state_dict())
    save_file(weights, tmp_path / "x.safetensors")
    rows, context = random(1, 4, 8, 8), random(1, 7, CONTEXT)
    loaded = load_unet(tmp_path / "x.safetensors")
    found, expected = loaded.state_dict(), unet.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    # In fp32 it would depend on the processor how products round, and on where the weights lie in memory.
    here, there = (net.double()(rows.double(), STEP, context.double()).sample for net in (loaded, copy.deepcopy(unet)))
    assert (here - there).abs().max() <= 1e-10
    assert load_unet(tmp_path / "x.safetensors", dtype=torch.bfloat16).dtype == torch.bfloat16


@torch.no_grad()
def test_the_published_pair_is_told_apart_by_content(unet, parts: dict, tmp_path: Path) -> None:
    save_file(parts["controlnext"].state_dict(), tmp_path / "model.safetensors")
    save_file(unet.state_dict(), tmp_path / "model_1.safetensors")
    loaded_unet, controlnext = load_pair(tmp_path)
    rows, context = random(1, 4, 8, 8), random(1, 7, CONTEXT)
    assert torch.equal(loaded_unet(rows, STEP, context).sample, unet(rows, STEP, context).sample)
    colours, t = torch.rand(1, 3, 64, 64), torch.tensor([STEP])
    assert torch.equal(controlnext(colours, t), parts["controlnext"](colours, t))


def test_a_matcher_keeps_what_it_was_trained_with(tmp_path: Path, parts: dict) -> None:
    save(tmp_path / "m.safetensors", Matcher(by_block=True), Kind.MATCHER, variant="spatial")
    loaded = load_matcher(tmp_path / "m.safetensors")
    assert (loaded.variant, loaded.by_block) == ("spatial", True)
    torch.save(parts["matcher"].state_dict(), tmp_path / "m.pth")
    assert load_matcher(tmp_path / "m.pth").variant == "published"


def test_an_incomplete_unet_is_refused(unet, tmp_path: Path) -> None:
    weights = dict(unet.state_dict())
    del weights["mid_block.resnets.0.conv1.bias"]
    save_file(weights, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="(?s)not a complete SD1.5 type UNet.*mid_block.resnets.0.conv1.bias"):
        load_unet(tmp_path / "x.safetensors")
