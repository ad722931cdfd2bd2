"""A full-size Stable Diffusion 1.5 with random weights as a MODEL, and single calls of its denoiser.

For measuring: speed and memory do not depend on the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import comfy.model_base
import comfy.model_management
import comfy.ops
import comfy.samplers
import comfy.supported_models
import torch
from torch import Tensor, nn

from .managed import managed

_UNET = dict(
    image_size=32,
    in_channels=4,
    out_channels=4,
    model_channels=320,
    num_res_blocks=[2, 2, 2, 2],
    channel_mult=[1, 2, 4, 4],
    transformer_depth=[1, 1, 1, 1, 1, 1, 0, 0],
    transformer_depth_middle=1,
    transformer_depth_output=[1] * 9 + [0] * 3,
    num_heads=8,
    num_head_channels=-1,
    use_spatial_transformer=True,
    context_dim=768,
    use_linear_in_transformer=False,
    adm_in_channels=None,
    legacy=False,
    use_checkpoint=False,
    use_temporal_attention=False,
    use_temporal_resblock=False,
)
LAYERS = comfy.ops.manual_cast
"""Where networks get their layers from, so that ComfyUI can keep them in another place and precision."""


def sd15(dtype: torch.dtype) -> Any:
    """A ModelPatcher around a UNet of SD1.5's size."""
    device = comfy.model_management.get_torch_device()
    config = comfy.supported_models.SD15(dict(_UNET))
    cast = comfy.model_management.unet_manual_cast(dtype, device, config.supported_inference_dtypes)
    config.set_inference_dtype(dtype, cast)
    model = comfy.model_base.BaseModel(config, device=comfy.model_management.unet_offload_device())
    filled(model.diffusion_model)
    return managed(model.requires_grad_(False).eval(), disable_dynamic=True)


@torch.no_grad()
def filled(network: nn.Module) -> nn.Module:
    """Give a network weights under which activations keep their size; ComfyUI's layers come without any.

    :return: the network itself.
    """
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * parameter[0].numel() ** -0.5)
    for module in network.modules():
        if isinstance(module, (nn.GroupNorm, nn.LayerNorm)):
            module.weight.fill_(1)
        if getattr(module, "bias", None) is not None:
            module.bias.zero_()
    return network


class Calls(comfy.samplers.Sampler):
    """Samples nothing: calls the denoiser at given levels on noise, and hands each call to `around`.

    :param around: gets the number of the call and the call itself, which it makes as often as it likes.
    """

    def __init__(self, around: Callable[[int, Callable[[], Tensor]], None]):
        self.around = around

    def sample(
        self,
        model_wrap: Any,
        sigmas: Tensor,
        extra_args: dict[str, Any],
        callback: Any,
        noise: Tensor,
        *_: Any,
        **__: Any,
    ) -> Tensor:
        for number, sigma in enumerate(sigmas):
            x = noise * sigma
            self.around(number, lambda x=x, s=sigma: model_wrap(x, s.expand(len(x)), **extra_args))
        return noise


def call_denoiser(
    model: Any,
    positive: list,
    negative: list,
    shape: Sequence[int],
    sigmas: Sequence[float],
    around: Callable[[int, Callable[[], Tensor]], None],
) -> None:
    """One sampling run of single calls, with everything the host does around a real one.

    :param shape: (B, C, h, w) of the latent.
    """
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, negative)
    guider.set_cfg(7.5)
    noise = torch.randn(tuple(shape), generator=torch.Generator().manual_seed(1))
    guider.sample(noise, torch.zeros_like(noise), Calls(around), torch.tensor(list(sigmas)), seed=0)
