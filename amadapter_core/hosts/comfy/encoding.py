"""Making an exemplar of an image with a MODEL and a VAE."""

from __future__ import annotations

from typing import Any

import comfy.utils
import torch
from comfy.controlnet import ControlBase
from torch import Tensor

from ...exemplar import Exemplar, Trajectory
from ...label_maps import LabelMap, check_same_aspect
from .exemplar import HostExemplar, control_of
from .inversion import invert_latent

RESIZE = ("keep", "crop", "stretch")
METHODS = ("inversion", "forward noise")
_MULTIPLE = 8


def encode_exemplar(
    model: Any,
    vae: Any,
    image: Tensor,
    labels: LabelMap,
    conditioning: list,
    *,
    method: str = "inversion",
    steps: int = 20,
    resize: str = "keep",
    width: int = 0,
    height: int = 0,
    own_prompt: bool = False,
    seed: int = 0,
    control_net: ControlBase | None = None,
    control_strength: float = 1.0,
    control_in_inversion: bool = False,
    name: str = "exemplar",
) -> HostExemplar:
    """Make an exemplar.

    :param model: ModelPatcher of the UNet that will look at it.
    :param image: [1, H, W, 3] in 0..1.
    :param labels: its label map, batch 1, of the same aspect.
    :param conditioning: of the inversion, and with `own_prompt` of its pass beside the target as well.
    :param resize: "keep" (the image's own size, cut to multiples of 8), or to width x height by "crop" or "stretch".
    :param control_net: ControlNeXt or a segmentation ControlNet; takes the exemplar's colour map in its pass.
    :param control_in_inversion: during the inversion as well; the published code does not.
    :raises ValueError: when image, label map and model do not belong together.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}, expected one of {', '.join(METHODS)}")
    image, labels = fit(image, labels, resize, width, height)
    latent = vae.encode(image[..., :3])
    channels = model.model.latent_format.latent_channels
    if latent.ndim != 4 or latent.shape[1] != channels:
        raise ValueError(
            f"this VAE makes latents {tuple(latent.shape)}, the model takes {channels} channels; "
            "use the VAE that belongs to the model"
        )
    control = control_of(labels, control_net, control_strength, vae)
    if method == "inversion":
        controlled = conditioning
        if control_in_inversion and control is not None:
            controlled = [[t, {**d, "control": control, "control_apply_to_uncond": False}] for t, d in conditioning]
        trajectory = invert_latent(model, latent, controlled, steps)
    else:
        latent = model.model.process_latent_in(latent).float().cpu()
        trajectory = Trajectory.forward_noise(latent, torch.Generator().manual_seed(seed))
    context = pooled = None
    if own_prompt:
        context, extra = conditioning[0]
        pooled = extra.get("pooled_output")
    return HostExemplar(Exemplar(trajectory, labels, context, name, pooled), control)


def fit(image: Tensor, labels: LabelMap, resize: str, width: int, height: int) -> tuple[Tensor, LabelMap]:
    """Bring an image and its label map to one size, a multiple of 8.

    :param image: [1, H, W, C].
    :raises ValueError: for several images, another aspect, or a size that is missing.
    """
    if len(image) != 1 or labels.batch != 1:
        raise ValueError(
            f"{len(image)} images with {labels.batch} label maps, expected one of each; "
            "encode exemplars one at a time and chain Apply AM-Adapter nodes"
        )
    if resize not in RESIZE:
        raise ValueError(f"resize is {resize!r}, expected one of {', '.join(RESIZE)}")
    h, w = image.shape[1:3]
    check_same_aspect("the image", (h, w), labels, _MULTIPLE)
    if resize == "keep":
        size = (h, w)
    else:
        if min(width, height) < 64:
            raise ValueError(f"resize {resize!r} to {width} x {height}: give width and height of at least 64")
        size = (height, width) if resize == "stretch" else _cover((h, w), (height, width))
    target = (h, w) if resize == "keep" else (height, width)
    target = tuple(side // _MULTIPLE * _MULTIPLE for side in target)
    if min(target) < 64:
        raise ValueError(f"the exemplar is {w} x {h}, too small; it needs at least 64 pixels on each side")
    if size != (h, w):
        image = comfy.utils.common_upscale(image.movedim(-1, 1), size[1], size[0], "area", "disabled").movedim(1, -1)
    labels = labels.resize(*size, method="majority")
    top, left = (size[0] - target[0]) // 2, (size[1] - target[1]) // 2
    image = image[:, top : top + target[0], left : left + target[1]]
    return image, labels.crop(top, left, *target)


def _cover(size: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """The size that fills `target` and keeps the aspect."""
    scale = max(target[0] / size[0], target[1] / size[1])
    return max(round(size[0] * scale), target[0]), max(round(size[1] * scale), target[1])
