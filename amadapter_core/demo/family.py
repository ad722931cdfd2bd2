"""What the demonstration family is: the sizes of its networks, in one place, and a model folder to train.

Stable Diffusion 1.5 in miniature: its block types, its 8 heads at every attention site, its noise schedule; twelve
latent channels instead of four, v-prediction, and a text encoder that knows the words of `scenes.VOCABULARY`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from .starting import start_linear
from .words import END, LENGTH, SPECIALS, START, read_tokenizer, words_of, write_tokenizer

SIDE = 128
"""Of the pictures it is trained on, in pixels."""
LATENT_CHANNELS = 12
CONTEXT = 64
WIDTHS = (64, 64, 128, 128)

UNET = {
    "sample_size": SIDE // 8,
    "in_channels": LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "block_out_channels": WIDTHS,
    "layers_per_block": 2,
    "cross_attention_dim": CONTEXT,
    "attention_head_dim": 8,  # the number of heads, in spite of its name
}
VAE = {
    "sample_size": SIDE,
    "latent_channels": LATENT_CHANNELS,
    "block_out_channels": (32, 32, 64, 64),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "scaling_factor": 1.0,  # training sets it to one over the latents' deviation
}
TEXT = {
    "hidden_size": CONTEXT,
    "intermediate_size": 2 * CONTEXT,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": LENGTH,
    "projection_dim": CONTEXT,
}
SCHEDULER = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
CONTROLNEXT = {"out_channels": WIDTHS[0], "stem": (32, 32, 32), "stages": (32, 64), "time_channels": (64, 128)}

CONTROLNEXT_FILE = "controlnext.safetensors"
MATCHER_FILE = "matcher.safetensors"


def init(folder: str | Path, seed: int = 0) -> dict[str, int]:
    """Write a model folder of diffusers with seeded random weights, ControlNeXt and matcher beside it.

    :param folder: made if it is missing.
    :return: the number of parameters of each network.
    :raises FileExistsError: when there is a model in it already.
    """
    from ..checkpoints import Kind, save

    folder = Path(folder)
    if (folder / "model_index.json").exists():
        raise FileExistsError(f"demo init: {folder} holds a model already; name another folder, or remove that one")
    pipeline = random_pipeline(seed)
    stock(pipeline).save_pretrained(folder)
    for name, kind in ((CONTROLNEXT_FILE, Kind.CONTROLNEXT), (MATCHER_FILE, Kind.MATCHER)):
        save(folder / name, getattr(pipeline, kind.value), kind, variant="spatial")
    return parameters(pipeline)


def random_pipeline(seed: int = 0) -> Any:
    """An AMAdapterPipeline of the family with seeded random weights."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from ..controlnext import ControlNeXt
    from ..hosts.diffusers.pipeline import AMAdapterPipeline
    from ..matcher import Matcher
    from ..scenes import VOCABULARY

    with tempfile.TemporaryDirectory() as folder:
        write_tokenizer(Path(folder), words_of(VOCABULARY))
        tokenizer = read_tokenizer(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = AutoencoderKL(**VAE)
        start_linear(vae)
        return AMAdapterPipeline(
            vae=vae,
            text_encoder=CLIPTextModel(CLIPTextConfig(**text_config(len(tokenizer)))),
            tokenizer=tokenizer,
            unet=UNet2DConditionModel(**UNET),
            scheduler=DDIMScheduler(**SCHEDULER),
            controlnext=ControlNeXt(**CONTROLNEXT),
            matcher=Matcher(),
        )


def stock(pipeline: Any) -> Any:
    """The StableDiffusionPipeline of an AMAdapterPipeline's networks; it can be saved as a model folder."""
    from diffusers import StableDiffusionPipeline

    ours = ("controlnext", "matcher")
    parts = {name: part for name, part in pipeline.components.items() if name not in ours}
    return StableDiffusionPipeline(**parts, requires_safety_checker=False)


def text_config(tokens: int) -> dict[str, Any]:
    """Arguments of transformers' CLIPTextConfig.

    :param tokens: size of the vocabulary, special ones included.
    """
    start, end = SPECIALS.index(START), SPECIALS.index(END)
    return {**TEXT, "vocab_size": tokens, "bos_token_id": start, "eos_token_id": end, "pad_token_id": end}


def parameters(pipeline: Any) -> dict[str, int]:
    """The number of parameters of each network of a pipeline."""
    return {
        name: sum(parameter.numel() for parameter in network.parameters())
        for name, network in pipeline.components.items()
        if isinstance(network, torch.nn.Module)
    }
