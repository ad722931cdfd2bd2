"""The demonstration family in ComfyUI: the shipped files as MODEL, CLIP, VAE, CONTROL_NET and AM_MATCHER.

ComfyUI has no model of these sizes to detect, so its own classes are built from what `family.json` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import comfy.clip_model
import comfy.latent_formats
import comfy.model_base
import comfy.model_management as management
import comfy.sd
import comfy.sd1_clip
import comfy.supported_models_base
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...checkpoints import load_unet_state_dict
from ...demo import files, words
from ...demo.files import Files
from .control import LabelMapControl
from .loading import load_control, load_matcher
from .managed import managed


def load_model(folder: str | Path | None = None, disable_dynamic: bool = False) -> ModelPatcher:
    """The MODEL.

    :param folder: a flat set of weights; None is the one that is shipped. So in all functions here.
    :param disable_dynamic: as ComfyUI asks for when it makes the same model again.
    :raises FileNotFoundError: when the weights are not there.
    """
    flat = Files(folder)
    weights, _ = load_unet_state_dict(flat.path(files.UNET))
    config = _model_config(flat.description)
    names = comfy.utils.unet_to_diffusers(config.unet_config)
    weights = {ours: weights[theirs] for theirs, ours in names.items() if theirs in weights}
    device, dtypes = management.get_torch_device(), config.supported_inference_dtypes
    parameters = sum(tensor.numel() for tensor in weights.values())
    dtype = management.unet_dtype(model_params=parameters, supported_dtypes=dtypes, weight_dtype=torch.float16)
    config.set_inference_dtype(dtype, management.unet_manual_cast(dtype, device, dtypes))
    model = config.get_model(weights)
    patcher = managed(model, disable_dynamic=disable_dynamic)
    model.load_model_weights(weights, "", assign=patcher.is_dynamic())
    patcher.cached_patcher_init = (load_model, (folder,))
    return patcher


def load_clip(folder: str | Path | None = None, disable_dynamic: bool = False) -> comfy.sd.CLIP:
    """The CLIP: ComfyUI's own CLIP text model at the family's size, and its prompt weights, one token per word.

    :raises FileNotFoundError: when the weights are not there.
    """
    flat = Files(folder)
    target = comfy.supported_models_base.ClipTarget(_tokenizer_class(flat.folder), comfy.sd1_clip.SD1ClipModel)
    target.params["clip_model"] = _text_model_class(flat.description["text_encoder"])
    clip = comfy.sd.CLIP(target, disable_dynamic=disable_dynamic)
    weights = comfy.utils.load_torch_file(str(flat.path(files.TEXT_ENCODER)), safe_load=True)
    # ComfyUI's network has this layer, and leaves it as the memory was.
    weights["text_projection.weight"] = torch.eye(flat.description["text_encoder"]["hidden_size"])
    clip.load_sd(weights)
    clip.patcher.cached_patcher_init = (_clip_patcher, (folder,))
    return clip


def load_vae(folder: str | Path | None = None) -> comfy.sd.VAE:
    """The VAE.

    :raises FileNotFoundError: when the weights are not there.
    """
    flat = Files(folder)
    sizes = flat.description["vae"]
    channels, widths = sizes["latent_channels"], sizes["block_out_channels"]
    layers = {
        "double_z": True,
        "z_channels": channels,
        "resolution": sizes["sample_size"],
        "in_channels": 3,
        "out_ch": 3,
        "ch": widths[0],
        "ch_mult": [width // widths[0] for width in widths],
        "num_res_blocks": sizes["layers_per_block"],
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    weights = comfy.utils.load_torch_file(str(flat.path(files.VAE)), safe_load=True)
    vae = comfy.sd.VAE(sd=weights, config={"params": {"ddconfig": layers, "embed_dim": channels}})
    vae.latent_channels = channels  # ComfyUI sets it for the kinds it detects
    for module in vae.first_stage_model.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.num_groups = sizes["norm_num_groups"]  # ComfyUI's network always has 32
    vae.patcher.cached_patcher_init = (_vae_patcher, (folder,))
    return vae


def load_demo_control(folder: str | Path | None = None) -> LabelMapControl:
    """The CONTROL_NET.

    :raises FileNotFoundError: when the weights are not there.
    """
    return load_control(Files(folder).path(files.CONTROLNEXT))


def load_demo_matcher(variant: str = "spatial", folder: str | Path | None = None) -> ModelPatcher:
    """The AM_MATCHER that was trained with a variant, "spatial" or "published".

    :raises FileNotFoundError: when the weights are not there.
    """
    return load_matcher(Files(folder).matcher(variant))


def _model_config(description: Mapping[str, Any]) -> Any:
    """How ComfyUI describes a model: SD1.5's kind of UNet, v-prediction, latents of the family's own."""
    sizes, preview = description["unet"], description["preview"]

    class Latents(comfy.latent_formats.LatentFormat):
        scale_factor = description["vae"]["scaling_factor"]
        latent_channels = sizes["in_channels"]
        latent_rgb_factors = preview["factors"]
        latent_rgb_factors_bias = preview["bias"]

    class Demonstration(comfy.supported_models_base.BASE):
        unet_extra_config = {"num_heads": sizes["attention_head_dim"], "num_head_channels": -1}
        latent_format = Latents
        memory_usage_factor = 0.2  # SD1.5 has 1 and is five times as wide

        def model_type(self, state_dict: Mapping[str, Tensor], prefix: str = "") -> comfy.model_base.ModelType:
            return comfy.model_base.ModelType.V_PREDICTION

        def inpaint_model(self) -> bool:
            return False  # more than four channels are not a mask here

    return Demonstration(_unet_config(sizes))


def _unet_config(sizes: Mapping[str, Any]) -> dict[str, Any]:
    """Diffusers' words for a UNet of SD1.5's kind in ComfyUI's."""
    widths, layers = sizes["block_out_channels"], sizes["layers_per_block"]
    depths = [int(kind.startswith("CrossAttn")) for kind in sizes["down_block_types"]]
    return {
        "image_size": sizes["sample_size"],
        "in_channels": sizes["in_channels"],
        "out_channels": sizes["out_channels"],
        "model_channels": widths[0],
        "num_res_blocks": [layers] * len(widths),
        "channel_mult": [width // widths[0] for width in widths],
        "transformer_depth": [depth for depth in depths for _ in range(layers)],
        "transformer_depth_middle": 1,
        "transformer_depth_output": [depth for depth in depths for _ in range(layers + 1)],
        "use_spatial_transformer": True,
        "context_dim": sizes["cross_attention_dim"],
        "use_linear_in_transformer": False,
        "adm_in_channels": None,
        "legacy": False,
        "use_checkpoint": False,
        "use_temporal_attention": False,
        "use_temporal_resblock": False,
    }


class _Network(comfy.clip_model.CLIPTextModel):
    """ComfyUI's CLIP text model with a vocabulary of another size."""

    def __init__(self, config: Mapping[str, Any], dtype: torch.dtype, device: Any, operations: Any):
        super().__init__(config, dtype, device, operations)
        tokens, width = config["vocab_size"], config["hidden_size"]
        self.set_input_embeddings(operations.Embedding(tokens, width, dtype=dtype, device=device))


def _text_model_class(sizes: Mapping[str, Any]) -> type[comfy.sd1_clip.SDClipModel]:
    start, end = (words.SPECIALS.index(token) for token in (words.START, words.END))

    class TextModel(comfy.sd1_clip.SDClipModel):
        def __init__(self, device: Any = "cpu", dtype: torch.dtype | None = None, model_options: Mapping = {}):
            super().__init__(
                device,
                sizes["max_position_embeddings"],
                textmodel_json_config=dict(sizes),
                dtype=dtype,
                model_class=_Network,
                special_tokens={"start": start, "end": end, "pad": end},
                return_projected_pooled=False,
                model_options=model_options,
            )

    return TextModel


def _tokenizer_class(folder: Path) -> type[comfy.sd1_clip.SD1Tokenizer]:
    class Words:
        """How ComfyUI asks for a tokenizer."""

        from_pretrained = staticmethod(words.read_tokenizer)

    class Tokenizer(comfy.sd1_clip.SD1Tokenizer):
        def __init__(self, embedding_directory: Any = None, tokenizer_data: Mapping = {}):
            def make(**options: Any) -> comfy.sd1_clip.SDTokenizer:
                return comfy.sd1_clip.SDTokenizer(str(folder), words.LENGTH, tokenizer_class=Words, **options)

            super().__init__(embedding_directory, tokenizer_data, tokenizer=make)

    return Tokenizer


def _clip_patcher(folder: str | Path | None, disable_dynamic: bool = False) -> ModelPatcher:
    return load_clip(folder, disable_dynamic).patcher


def _vae_patcher(folder: str | Path | None, disable_dynamic: bool = False) -> ModelPatcher:
    return load_vae(folder).patcher
