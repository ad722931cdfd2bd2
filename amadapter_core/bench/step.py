"""One guided sampling step of a full-size SD1.5 UNet on diffusers: plain, and with each matching mode.

Random weights: speed and memory do not depend on them. A *cold* step records the exemplar's keys and values, a
*warm* one finds them in the bank, as every step does from the second picture on.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ..controlnext import ControlNeXt
from ..exemplar import Banks, Exemplar, Trajectory
from ..label_maps import LabelMap, Palette
from ..matcher import Matcher
from ..matching import Mode, SpatialMatching
from .attention import blocky_ids
from .measure import Measurement, measure

TIMESTEP = 501
CONTEXT = (77, 768)


def bench(
    size: tuple[int, int], device: torch.device, dtype: torch.dtype, repeats: int
) -> Iterator[tuple[str, Measurement]]:
    """:param size: (H, W) of the picture in pixels."""
    from diffusers import DDIMScheduler, UNet2DConditionModel

    from ..hosts.diffusers import Augmentation, LabelControl, NoiseSchedule, Source

    torch.manual_seed(0)
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=CONTEXT[1], attention_head_dim=8)
    unet = unet.to(device).eval().requires_grad_(False)
    if dtype != unet.dtype:
        unet = unet.to(dtype)
    schedule = NoiseSchedule(
        DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)
    )
    network = ControlNeXt().to(device, dtype).eval().requires_grad_(False)
    matcher = Matcher().to(device, dtype).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    palette = Palette.load("cityscapes19")
    target, labels = (LabelMap(blocky_ids(generator, size), palette) for _ in range(2))
    latent_size = tuple(side // 8 for side in size)
    latent = torch.randn(1, 4, *latent_size, generator=generator)
    exemplar = Exemplar(Trajectory.forward_noise(latent, generator), labels)
    rows = torch.randn(2, 4, *latent_size, generator=generator).to(device, dtype)
    context = torch.randn(2, *CONTEXT, generator=generator).to(device, dtype)
    control = LabelControl.of(network, target, size)
    source = Source(exemplar, context[1:], LabelControl.of(network, labels, size))

    def call() -> torch.Tensor:
        return unet(rows, TIMESTEP, encoder_hidden_states=context, return_dict=False)[0]

    with torch.inference_mode():
        plain = Augmentation(unet, schedule, SpatialMatching(target.ids, []), [], target_control=control)
        with plain.attached():
            yield "plain", measure(call, device, repeats)
        for mode in Mode:
            matching = SpatialMatching(target.ids, [labels.ids], mode, matcher=matcher)
            banks = Banks()
            augmentation = Augmentation(unet, schedule, matching, [source], target_control=control, banks=banks)
            with augmentation.attached():
                yield f"{mode.value}, cold bank", measure(call, device, repeats, before=banks.clear)
                yield f"{mode.value}, warm bank", measure(call, device, repeats)
