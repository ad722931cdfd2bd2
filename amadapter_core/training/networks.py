"""The networks a diffusion stage works with: those of a model folder, or random ones of full SD1.5 shape."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..checkpoints import load_controlnext
from ..controlnext import ControlNeXt
from .config import Config
from .task import model_folder

CONTROLNEXT_FILE = "controlnext.safetensors"
MATCHER_FILE = "matcher.safetensors"


@dataclass(frozen=True)
class Networks:
    """All in fp32, on the CPU, without gradients."""

    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    scheduler: Any
    controlnext: ControlNeXt

    @classmethod
    def load(cls, config: Config, control: str | None) -> Networks:
        """The networks of the model folder that the settings name.

        :param control: ControlNeXt file; None takes the model folder's, or makes a new one where it has none.
        :raises FileNotFoundError: when a component is missing.
        :raises ValueError: when ControlNeXt does not fit the UNet.
        """
        from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
        from transformers import AutoTokenizer, CLIPTextModel

        folders = {name: model_folder(config, name) for name in ("unet", "vae", "text_encoder")}
        unet = UNet2DConditionModel.from_pretrained(folders["unet"], torch_dtype=torch.float32)
        return cls(
            unet.requires_grad_(False),
            AutoencoderKL.from_pretrained(folders["vae"], torch_dtype=torch.float32).requires_grad_(False).eval(),
            CLIPTextModel.from_pretrained(folders["text_encoder"], dtype=torch.float32).requires_grad_(False).eval(),
            AutoTokenizer.from_pretrained(model_folder(config, "tokenizer")),
            DDIMScheduler.from_pretrained(model_folder(config, "scheduler")),
            _controlnext(config, control, unet.config.block_out_channels[0]),
        )

    @classmethod
    def random_sd15(cls) -> Networks:
        """Random weights of SD1.5's shapes: what a step costs does not depend on their values."""
        from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
        from transformers import CLIPTextConfig, CLIPTextModel

        from ..demo.words import SPECIALS, read_tokenizer, write_tokenizer

        with tempfile.TemporaryDirectory() as folder:
            write_tokenizer(Path(folder), ["street"])
            tokenizer = read_tokenizer(folder)
        tokenizer.model_max_length = 77
        text = CLIPTextConfig(
            vocab_size=49408,
            hidden_size=768,
            intermediate_size=3072,
            num_hidden_layers=12,
            num_attention_heads=12,
            bos_token_id=0,
            eos_token_id=SPECIALS.index("<end>"),
        )
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
        )
        betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
        return cls(
            UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8).requires_grad_(False),
            vae.requires_grad_(False).eval(),
            CLIPTextModel(text).requires_grad_(False).eval(),
            tokenizer,
            DDIMScheduler(**betas, steps_offset=1, clip_sample=False, set_alpha_to_one=False),
            ControlNeXt().requires_grad_(False),
        )


def _controlnext(config: Config, given: str | None, width: int) -> ControlNeXt:
    """ControlNeXt from the file given, or the model folder's, or a new one for a UNet of that first width."""
    beside = Path(config.model) / CONTROLNEXT_FILE
    path = Path(given) if given is not None else beside if beside.is_file() else None
    if path is None:
        return ControlNeXt(out_channels=width).requires_grad_(False)
    network = load_controlnext(path, dtype=torch.float32)
    if network.out_channels != width:
        raise ValueError(
            f"training {config.task}: {path} has {network.out_channels} output channels, the UNet's first block "
            f"{width}; use a ControlNeXt made for this UNet"
        )
    return network
