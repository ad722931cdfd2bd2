"""One guided step of a full-size SD1.5 MODEL in ComfyUI: plain, and with each matching mode.

The step is the host's own call of its denoiser, conditionings, ControlNeXt, patches and all, within a sampling run.
A *cold* step records the exemplar's keys and values, a *warm* one finds them where the run before left them. *Reused*
is the second of two steps that share one result of the matcher. The first step of each run, which also prepares the
label maps, does not count. ComfyUI runs with the attention it uses on GPUs; the one it takes on a CPU by itself is
slower, so that the plain step would lose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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

    make_comfyui_importable(use_pytorch_cross_attention=True)
    from ..hosts.comfy import bank_store, probe
    from ..hosts.comfy.application import Application
    from ..hosts.comfy.control import LabelMapControl, control_for
    from ..hosts.comfy.exemplar import HostExemplar
    from ..hosts.comfy.managed import managed
    from ..hosts.comfy.patch import apply

    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = probe.sd15(dtype)
    controlnext, network = (
        probe.filled(kind(operations=probe.LAYERS)).to(dtype).eval().requires_grad_(False)
        for kind in (ControlNeXt, Matcher)
    )
    control, matcher = LabelMapControl(controlnext), managed(network, disable_dynamic=True)
    palette = Palette.load("cityscapes19")
    target, labels = (LabelMap(blocky_ids(generator, size), palette) for _ in range(2))
    shape = (1, 4, size[0] // 8, size[1] // 8)
    trajectory = Trajectory.forward_noise(torch.randn(shape, generator=generator), generator)
    exemplar = HostExemplar(Exemplar(trajectory, labels), control_for(control, labels.colours(), 1.0))
    hint = control_for(control, target.colours(), 1.0)
    positive, negative = ([[torch.randn(1, TOKENS, WIDTH, generator=generator), {"control": hint}]] for _ in range(2))
    predictions: dict[str, Tensor] = {}

    def second_step(name: str, model: Any) -> tuple[tuple[float, float], int]:
        """Times and peak memory of a run of two steps; only the second is timed."""
        times: list[tuple[float, float]] = []

        def around(_: int, call: Callable[[], Tensor]) -> None:
            def keep() -> None:
                predictions[name] = call()

            times.append(timed(keep, device))

        with PeakMemory(device) as peak:
            probe.call_denoiser(model, positive, negative, shape, SIGMAS, around)
        return times[1], peak.bytes

    cases: dict[str, Any] = {"plain": model}
    for mode in Mode:
        patched = apply(model, Application(exemplar, target, mode, matcher=matcher if mode is Mode.LEARNED else None))
        cases |= {f"{mode.value}, cold bank": patched, f"{mode.value}, warm bank": patched}
    cases["learned, matcher reused"] = apply(
        model, Application(exemplar, target, Mode.LEARNED, matcher=matcher, interval=2)
    )
    found: dict[str, list[tuple[tuple[float, float], int]]] = {name: [] for name in cases}
    with torch.inference_mode():
        # Round by round, so that what else the machine does meets all cases alike.
        for number in range(repeats):
            print(f"  round {number + 1} of {repeats}", flush=True)
            for name, patched in cases.items():
                if name.endswith("cold bank"):
                    bank_store.clear()
                found[name].append(second_step(name, patched))
    spoilt = [name for name, prediction in predictions.items() if not bool(prediction.isfinite().all())]
    if spoilt:
        raise FloatingPointError(f"bench: predictions of {', '.join(spoilt)} are not finite; their times mean nothing")
    for name, runs in found.items():
        times, peaks = zip(*runs, strict=True)
        yield name, Measurement.of(times, max(peaks))
    effect = (predictions["learned, warm bank"] - predictions["plain"]).norm()
    change = (predictions["learned, matcher reused"] - predictions["learned, warm bank"]).norm() / effect
    print(f"  reusing the matcher changes a prediction by {change:.4f} of the exemplar's whole effect (random weights)")
