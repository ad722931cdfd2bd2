"""One guided step of a full-size SD1.5 MODEL in ComfyUI: plain, and with each matching mode.

The step is the host's own call of its denoiser, conditionings, ControlNeXt, patches and all, within a sampling run.
A *cold* step records the exemplar's keys and values, a *warm* one finds them where the run before left them. *Reused*
is the second of two steps that share one result of the matcher.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ..controlnext import ControlNeXt
from ..exemplar import Exemplar, Trajectory
from ..label_maps import LabelMap, Palette
from ..matcher import Matcher
from ..matching import Mode
from .attention import blocky_ids
from .measure import Measurement, PeakMemory, timed

SIGMAS = (2.9, 2.5)
TOKENS, WIDTH = 77, 768


def bench(
    size: tuple[int, int], device: torch.device, dtype: torch.dtype, repeats: int
) -> Iterator[tuple[str, Measurement]]:
    """:param size: (H, W) of the picture in pixels."""
    from ..hosts.comfy.locate import make_comfyui_importable

    make_comfyui_importable()
    from ..hosts.comfy import bank_store, probe
    from ..hosts.comfy.application import Application
    from ..hosts.comfy.control import LabelMapControl, control_for
    from ..hosts.comfy.exemplar import HostExemplar
    from ..hosts.comfy.managed import managed
    from ..hosts.comfy.patch import apply

    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = probe.sd15(dtype)
    control = LabelMapControl(ControlNeXt(operations=probe.LAYERS).to(dtype).eval().requires_grad_(False))
    matcher = managed(Matcher(operations=probe.LAYERS).to(dtype).eval().requires_grad_(False), disable_dynamic=True)
    palette = Palette.load("cityscapes19")
    target, labels = (LabelMap(blocky_ids(generator, size), palette) for _ in range(2))
    shape = (1, 4, size[0] // 8, size[1] // 8)
    trajectory = Trajectory.forward_noise(torch.randn(shape, generator=generator), generator)
    exemplar = HostExemplar(Exemplar(trajectory, labels), control_for(control, labels.colours(), 1.0))
    hint = control_for(control, target.colours(), 1.0)
    positive, negative = ([[torch.randn(1, TOKENS, WIDTH, generator=generator), {"control": hint}]] for _ in range(2))
    predictions: dict[str, Tensor] = {}

    def last_call(
        name: str, model: Any, sigmas: Sequence[float], before: Callable[[], None] = lambda: None
    ) -> Measurement:
        """Measure the last call of sampling runs that make one at each sigma."""
        times: list[tuple[float, float]] = []

        def around(number: int, call: Callable[[], Tensor]) -> None:
            def keep() -> None:
                predictions[name] = call()

            spent = timed(keep, device)
            if number == len(sigmas) - 1:
                times.append(spent)

        with PeakMemory(device) as peak:
            for _ in range(repeats + 1):
                before()
                probe.call_denoiser(model, positive, negative, shape, sigmas, around)
        return Measurement.of(times[1:], peak.bytes)

    with torch.inference_mode():
        yield "plain", last_call("plain", model, SIGMAS[1:])
        for mode in Mode:
            patched = apply(
                model, Application(exemplar, target, mode, matcher=matcher if mode is Mode.LEARNED else None)
            )
            yield f"{mode.value}, cold bank", last_call(mode.value, patched, SIGMAS[1:], bank_store.clear)
            yield f"{mode.value}, warm bank", last_call(mode.value, patched, SIGMAS[1:])
        reusing = apply(model, Application(exemplar, target, Mode.LEARNED, matcher=matcher, interval=2))
        yield "learned, matcher reused", last_call("reused", reusing, SIGMAS)
    effect = (predictions["learned"] - predictions["plain"]).norm()
    change = (predictions["reused"] - predictions["learned"]).norm() / effect
    print(
        f"  reusing the matcher changes the prediction by {change:.4f} of what the exemplar changes it (random weights)"
    )
