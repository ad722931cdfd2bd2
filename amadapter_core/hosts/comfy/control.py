"""ControlNeXt as ComfyUI's CONTROL_NET: what the stock Apply ControlNet nodes take.

ComfyUI's own residual lists cannot carry it: a residual of an input block reaches that block's skip connection
too, and ControlNeXt must not. So each call of the UNet gets a patch of its own, which adds the feature after the
first downsampler has stored its skip. The patch lives in that call's options; nothing is put on the MODEL.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import comfy.utils
import torch
from comfy.controlnet import ControlBase
from comfy.ldm.modules.diffusionmodules.openaimodel import Downsample
from torch import Tensor

from ...controlnext import ControlNeXt, cross_normalise
from ...resampling import Grid
from .managed import managed

AREAS = "am_adapter_areas"
"""Entry of `transformer_options`: by uuid of a conditioning, its area (h, w, y, x) in latent units, or None."""
LATENT = "am_adapter_latent"
"""Entry of `transformer_options`: (h, w) of the whole latent, of which an area may be a part."""

_PATCHES = "input_block_patch_after_skip"
# What the network's activations take at most at one time: four maps of 128 channels at half the picture's size.
_NUMBERS_PER_PIXEL = 128
# A label map may be far larger than the picture it is resized to, whose size is not known beforehand.
_PIXELS = 1024 * 1024

Block = tuple[str, int]


@dataclass(frozen=True)
class _Window:
    """The part of a picture that one chunk of rows shows, in latent units."""

    picture: Grid
    top: int
    left: int
    size: Grid


class LabelMapControl(ControlBase):
    """ControlNeXt on the colour image of a label map.

    Its feature depends on colour image, timestep and area, not on the latent: within a run it is computed once
    per timestep, however ComfyUI splits its calls.

    :param network: with layers of `comfy.ops.manual_cast`, so that ComfyUI may offload it.
    """

    def __init__(self, network: ControlNeXt):
        super().__init__()
        self._hold(network, comfy.model_management.get_torch_device())
        self._forget()

    def _hold(self, network: ControlNeXt, device: torch.device) -> None:
        self.network = network
        self.compression_ratio = network.compression
        self.patcher = managed(network, device)
        self._dtype = comfy.model_management.unet_manual_cast(network.dtype, device) or network.dtype

    def _forget(self) -> None:
        self.cond_hint = None
        self._sampling: Any = None
        self._block: Block | None = None
        self._features: dict[_Window, Tensor] = {}
        self._features_at: tuple[float, torch.device] | None = None

    def pre_run(self, model: Any, percent_to_timestep_function: Callable[[float], float]) -> None:
        """:raises ValueError: when the MODEL's UNet has no place for this network's feature."""
        super().pre_run(model, percent_to_timestep_function)
        # `cleanup` does not run after an interrupted run.
        self._forget()
        self._sampling = model.model_sampling
        self._block = _entrance(model.diffusion_model, self.network.out_channels)

    def cleanup(self) -> None:
        """Forget what one sampling run kept; ComfyUI calls it at the end of a run."""
        self._forget()
        super().cleanup()

    def get_control(
        self, x_noisy: Tensor, t: Tensor, cond: dict, batched_number: int, transformer_options: dict
    ) -> dict | None:
        """Add the patch for one call of the UNet; the residuals returned are those of the control before.

        :param x_noisy: [B, C, h, w], `batched_number` chunks of B / batched_number images.
        :param t: [B] noise levels (sigma), all equal.
        :raises ValueError: when the colour images are neither one nor one per image.
        """
        previous = None
        if self.previous_controlnet is not None:
            previous = self.previous_controlnet.get_control(x_noisy, t, cond, batched_number, transformer_options)
        if self.strength == 0 or self._is_outside(t[0]):
            return previous
        images, pictures = len(x_noisy) // batched_number, len(self.cond_hint_original)
        if pictures not in (1, images):
            raise ValueError(
                f"AM-Adapter: ControlNeXt got {pictures} colour images for a latent batch of {images}; "
                f"give Apply ControlNet 1 or {images}"
            )
        timestep = self._sampling.timestep(t[:1]).float()
        windows = _windows(x_noisy, batched_number, transformer_options)
        features = [self._feature(window, timestep, x_noisy.device) for window in windows]
        if pictures == 1 and len(set(windows)) == 1:
            feature = features[0]
        else:
            feature = torch.cat([feature.expand(images, -1, -1, -1) for feature in features])
        patches = transformer_options.get("patches", {})
        patch = _Injection(self._block, feature, self.strength)
        transformer_options["patches"] = {**patches, _PATCHES: [*patches.get(_PATCHES, []), patch]}
        return previous

    def _is_outside(self, sigma: Tensor) -> bool:
        if self.timestep_range is None:
            return False
        start, end = self.timestep_range
        return bool(sigma > start or sigma < end)

    def _feature(self, window: _Window, timestep: Tensor, device: torch.device) -> Tensor:
        """[1 or images, C, h, w] for a part of the picture, remembered as long as the timestep stays."""
        at = (float(timestep), device)
        if at != self._features_at:
            self._features, self._features_at = {}, at
        if window not in self._features:
            feature = self.network(self._colours(window, device), timestep)
            if feature.requires_grad:  # in training the weights change between two calls
                return feature
            self._features[window] = feature
        return self._features[window]

    def _colours(self, window: _Window, device: torch.device) -> Tensor:
        """[1 or images, 3, H, W] colour images in 0..1, resized to the picture and cut to the window."""
        scale = self.compression_ratio
        height, width = (side * scale for side in window.picture)
        if self.cond_hint is None or self.cond_hint.shape[-2:] != (height, width) or self.cond_hint.device != device:
            hint = comfy.utils.common_upscale(
                self.cond_hint_original[:, :3], width, height, self.upscale_algorithm, "center"
            )
            self.cond_hint = hint.to(device, self._dtype)
        rows = slice(window.top * scale, (window.top + window.size[0]) * scale)
        columns = slice(window.left * scale, (window.left + window.size[1]) * scale)
        # One layout whatever it is cut from: another takes other kernels, which round otherwise.
        return self.cond_hint[..., rows, columns].contiguous()

    def copy(self) -> LabelMapControl:
        """The same network with settings of its own."""
        other = copy.copy(self)
        self.copy_to(other)
        other.previous_controlnet = None
        other.multigpu_clones = {}
        other.timestep_range = None
        other._forget()
        return other

    def deepclone_multigpu(self, load_device: torch.device, autoregister: bool = False) -> LabelMapControl:
        """Return the same with a copy of the network for another device; ComfyUI calls it."""
        other = self.copy()
        other._hold(copy.deepcopy(self.network), load_device)
        if autoregister:
            self.multigpu_clones[load_device] = other
        return other

    def get_models(self) -> list:
        """The patchers that ComfyUI has to load."""
        return [*super().get_models(), self.patcher]

    def inference_memory_requirements(self, dtype: torch.dtype) -> int:
        """Bytes that a call needs over its weights; ComfyUI asks before it loads models."""
        hint = self.cond_hint_original
        pixels = 0 if hint is None else len(hint) * min(hint.shape[-2] * hint.shape[-1], _PIXELS)
        own = pixels * _NUMBERS_PER_PIXEL * comfy.model_management.dtype_size(self._dtype)
        return own + super().inference_memory_requirements(dtype)


@dataclass(frozen=True, eq=False)
class _Injection:
    """The patch of one call: add the feature at one block, out of place since the skip is the same tensor."""

    block: Block
    feature: Tensor
    strength: float

    def __call__(self, h: Tensor, transformer_options: dict) -> Tensor:
        if transformer_options["block"] != self.block:
            return h
        return cross_normalise(h, self.feature, self.strength)


def control_for(control_net: ControlBase, colours_image: Tensor, strength: float, vae: Any = None) -> ControlBase:
    """A copy of a CONTROL_NET that is set to an image, over the whole run.

    :param control_net: any, ControlNeXt or stock.
    :param colours_image: [1 or B, H, W, 3] in 0..1, as an IMAGE.
    :param vae: for ControlNets that encode their image.
    """
    return control_net.copy().set_cond_hint(colours_image.movedim(-1, 1), strength, (0.0, 1.0), vae=vae)


def _entrance(unet: Any, channels: int) -> Block:
    """The block whose output takes the feature: the first downsampler, ("input", 3) in SD1.5.

    :raises ValueError: when there is none or its width is another.
    """
    for number, block in enumerate(getattr(unet, "input_blocks", ())):
        downsampler = next((layer for layer in block.modules() if isinstance(layer, Downsample)), None)
        if downsampler is None:
            continue
        if downsampler.out_channels != channels:
            raise ValueError(
                f"AM-Adapter: this ControlNeXt makes {channels} channels and the MODEL's UNet has "
                f"{downsampler.out_channels} after its first downsampler; use the UNet it was trained with (SD1.5: 320)"
            )
        return "input", number
    raise ValueError(
        f"AM-Adapter: ControlNeXt belongs to SD1.5 type UNets, the MODEL is a {type(unet).__name__} without "
        "downsampling blocks; use the UNet it was trained with"
    )


def _windows(x: Tensor, chunks: int, transformer_options: dict) -> list[_Window]:
    """What each chunk of a call shows.

    Where the MODEL does not tell the areas, a chunk passes for the whole picture, as in stock ControlNets.
    """
    size = tuple(x.shape[-2:])
    uuids = transformer_options.get("uuids") or [None] * chunks
    areas, latent = transformer_options.get(AREAS, {}), transformer_options.get(LATENT)
    windows = []
    for uuid in uuids:
        area = areas.get(uuid)
        if area is None or latent is None:
            windows.append(_Window(size, 0, 0, size))
        else:
            windows.append(_Window(tuple(latent), area[2], area[3], size))
    return windows
