"""A Stable Diffusion 1.5 in miniature with seeded random weights: its topology, none of its weight.

The UNet has SD1.5's blocks and 16 self-attentions of 8 heads at a tenth of the width (3.3 M parameters); text
encoder and autoencoder are ComfyUI's own classes with small sizes. Weights are scaled by fan-in, queries and keys
more, so that who attends to whom shows in the output. ComfyUI is imported when a function runs.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

PACK = Path(__file__).resolve().parents[3]
CONTEXT = 64
WIDTH = 32

UNET = dict(
    image_size=32,
    in_channels=4,
    out_channels=4,
    model_channels=WIDTH,
    num_res_blocks=[2, 2, 2, 2],
    channel_mult=[1, 2, 2, 2],
    transformer_depth=[1, 1, 1, 1, 1, 1, 0, 0],
    transformer_depth_middle=1,
    transformer_depth_output=[1] * 9 + [0] * 3,
    use_spatial_transformer=True,
    context_dim=CONTEXT,
    use_linear_in_transformer=False,
    adm_in_channels=None,
    legacy=False,
    use_checkpoint=False,
    use_temporal_attention=False,
    use_temporal_resblock=False,
)
HEADS = dict(num_heads=8, num_head_channels=-1)
AUTOENCODER = dict(
    double_z=True,
    z_channels=4,
    resolution=64,
    in_channels=3,
    out_ch=3,
    ch=32,
    ch_mult=[1, 1, 1, 1],
    num_res_blocks=1,
    attn_resolutions=[],
    dropout=0.0,
)
TEXT = dict(hidden_size=CONTEXT, intermediate_size=2 * CONTEXT, num_attention_heads=4, num_hidden_layers=2)


def core(name: str) -> ModuleType:
    """A module of the pack under test: the running pack's own where a server has loaded it, so that classes are
    the same objects, else the one importable as `amadapter_core`.

    :param name: dotted place below `amadapter_core`, e.g. "matcher".
    """
    for loaded, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if f"{loaded}.amadapter_core" in sys.modules and file and Path(file).resolve() == PACK / "__init__.py":
            return importlib.import_module(f"{loaded}.amadapter_core.{name}")
    return importlib.import_module(f"amadapter_core.{name}")


def random_weights(network: nn.Module, seed: int, gains: Mapping[str, float] | None = None) -> dict[str, Tensor]:
    """A state dict of seeded fp32 values for a network that may be on the meta device.

    :param gains: factors on the deviation 1 / sqrt(fan in), by a part of the name; the first that fits counts.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point():
            weights[name] = torch.arange(tensor.numel()).reshape(tensor.shape).to(tensor.dtype)
            continue
        value = torch.randn(tensor.shape, generator=generator)
        if tensor.ndim < 2:  # biases, and the weights of normalisations
            value = value * 0.1 + float(name.endswith("weight"))
        elif "embedding" not in name:
            gain = next((factor for part, factor in (gains or {}).items() if part in name), 1.0)
            value = value * (gain / tensor[0].numel() ** 0.5)
        weights[name] = value
    return weights


def tiny_state_dict(seed: int = 0) -> dict[str, Tensor]:
    """The UNet's weights, fp32, with the original (LDM) names."""
    import comfy.ops
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    unet = UNetModel(**UNET, **HEADS, device="meta", operations=comfy.ops.disable_weight_init)
    return random_weights(unet, seed, {"attn1.to_q": 2.0, "attn1.to_k": 2.0})


def tiny_config() -> type:
    """SD1.5 as ComfyUI describes it, for the sizes here."""
    import comfy.supported_models

    class TinySD15(comfy.supported_models.SD15):
        unet_config = {"context_dim": CONTEXT, "model_channels": WIDTH}

    return TinySD15


def tiny_model(seed: int = 0, dtype: torch.dtype = torch.float32, disable_dynamic: bool = False) -> Any:
    """The MODEL: a ModelPatcher around ComfyUI's own BaseModel.

    :param dtype: of the weights; where the device cannot compute in it, ComfyUI casts at use.
    :param disable_dynamic: as ComfyUI asks for when it makes the same model again.
    """
    import comfy.model_management as management

    device = management.get_torch_device()
    config = tiny_config()(dict(UNET))
    config.set_inference_dtype(dtype, management.unet_manual_cast(dtype, device, config.supported_inference_dtypes))
    weights = {name: value.to(dtype) for name, value in tiny_state_dict(seed).items()}
    model = config.get_model(weights, "")
    patcher = core("hosts.comfy.managed").managed(model, disable_dynamic=disable_dynamic)
    model.load_model_weights(weights, "", assign=patcher.is_dynamic())
    patcher.cached_patcher_init = (tiny_model, (seed, dtype))
    return patcher


def tiny_clip(seed: int = 0) -> Any:
    """The CLIP: ComfyUI's SD1.5 text encoder and tokenizer, two layers of width 64."""
    import comfy.sd
    from comfy.sd1_clip import SD1ClipModel, SD1Tokenizer
    from comfy.supported_models_base import ClipTarget

    options = {"clip_l_model_config": TEXT}
    with torch.device("meta"):
        shapes = SD1ClipModel(device="meta", dtype=torch.float32, model_options=options)
    weights = random_weights(shapes.clip_l.transformer, seed + 1)
    clip = comfy.sd.CLIP(ClipTarget(SD1Tokenizer, SD1ClipModel), model_options=options)
    clip.load_sd(weights)
    clip.patcher.cached_patcher_init = (_clip_patcher, (seed,))
    return clip


def tiny_vae(seed: int = 0) -> Any:
    """The VAE: ComfyUI's AutoencoderKL of width 32, with latents of about unit deviation after scaling."""
    import comfy.sd
    from comfy.ldm.models.autoencoder import AutoencoderKL

    params = {"ddconfig": AUTOENCODER, "embed_dim": 4}
    with torch.device("meta"):
        shapes = AutoencoderKL(**params)
    weights = random_weights(shapes, seed + 2, {"encoder.conv_out": 6.0, "decoder.conv_in": 0.2})
    vae = comfy.sd.VAE(sd=weights, config={"params": params}, dtype=torch.float32)
    vae.patcher.cached_patcher_init = (_vae_patcher, (seed,))
    return vae


def tiny_controlnet(seed: int = 0) -> Any:
    """The CONTROL_NET of a stock ControlNet for the tiny UNet."""
    import comfy.cldm.cldm
    import comfy.controlnet
    import comfy.model_management as management
    import comfy.ops

    config = {key: value for key, value in UNET.items() if key not in ("out_channels", "transformer_depth_output")}
    options = dict(**config, **HEADS, hint_channels=3, dtype=torch.float32)
    shapes = comfy.cldm.cldm.ControlNet(**options, device="meta", operations=comfy.ops.manual_cast)
    network = comfy.cldm.cldm.ControlNet(**options, operations=comfy.ops.manual_cast)
    network.load_state_dict(random_weights(shapes, seed + 3, {"zero_convs": 0.3, "middle_block_out": 0.3}))
    network.requires_grad_(False).eval()
    return comfy.controlnet.ControlNet(network, load_device=management.get_torch_device())


def tiny_controlnext(seed: int = 0, operations: ModuleType | Any = nn) -> Any:
    """The core's ControlNeXt for the tiny UNet.

    :param operations: where its layers come from.
    """
    network = core("controlnext").ControlNeXt(
        WIDTH, stem=(8, 8, 16), stages=(16, 32), time_channels=(16, 32), operations=operations
    )
    network.load_state_dict(random_weights(network, seed + 4))
    return network.requires_grad_(False).eval()


def tiny_matcher(seed: int = 0, operations: ModuleType | Any = nn) -> Any:
    """The core's Matcher with random weights, trained (so to speak) with the spatial variant.

    :param operations: where its layers come from.
    """
    network = core("matcher").Matcher(operations=operations)
    network.load_state_dict(random_weights(network, seed + 5))
    network.variant = "spatial"
    return network.requires_grad_(False).eval()


def tiny_label_map_control(seed: int = 0) -> Any:
    """The CONTROL_NET of the tiny ControlNeXt."""
    import comfy.ops

    return core("hosts.comfy.control").LabelMapControl(tiny_controlnext(seed, comfy.ops.manual_cast))


def tiny_matcher_patcher(seed: int = 0) -> Any:
    """The AM_MATCHER: a ModelPatcher around the tiny matcher."""
    import comfy.ops

    return core("hosts.comfy.managed").managed(tiny_matcher(seed, comfy.ops.manual_cast))


class DiffusionTransformer(nn.Linear):
    """Stands for a model that has no UNet."""


def tiny_transformer() -> Any:
    """A MODEL whose diffusion model is no UNet; it can be patched and not be sampled."""
    model = nn.Module()
    model.diffusion_model = DiffusionTransformer(1, 1)
    return core("hosts.comfy.managed").managed(model)


def tiny_diffusers_unet(seed: int = 0) -> Any:
    """The same UNet with the same weights in diffusers."""
    import comfy.utils
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=tuple(WIDTH * factor for factor in UNET["channel_mult"]),
        layers_per_block=2,
        cross_attention_dim=CONTEXT,
        attention_head_dim=8,  # the number of heads, in spite of its name
    )
    weights = tiny_state_dict(seed)
    names = comfy.utils.unet_to_diffusers(UNET)
    unet.load_state_dict({theirs: weights[ours] for theirs, ours in names.items() if ours in weights})
    return unet.requires_grad_(False).eval()


def _clip_patcher(seed: int, disable_dynamic: bool = False) -> Any:
    clip = tiny_clip(seed)
    return clip.clone(disable_dynamic).patcher if disable_dynamic else clip.patcher


def _vae_patcher(seed: int, disable_dynamic: bool = False) -> Any:
    return tiny_vae(seed).patcher
