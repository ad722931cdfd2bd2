"""What a training step costs: seconds and memory of a few steps of a configuration."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from statistics import median
from typing import Any

import torch

from .config import Config, Data, Validation


def bench(config: Config, steps: int = 3, random: bool = False) -> dict[str, Any]:
    """Take one step to warm up and a few that are measured; nothing is written.

    :param random: networks of SD1.5's shape with random weights, and scenes for pictures, so that nothing need be
        there; for the diffusion stages.
    :return: seconds and processor seconds per step, peak memory in GB, and what was measured.
    """
    from .loop import Run
    from .networks import Networks

    config = replace(config, validation=Validation(), workers=0, resume=False, steps=max(config.steps, steps + 1))
    networks = None
    if random:
        data = config.data
        scenes = Data(size=data.size, short_side=data.short_side, flip=data.flip, colour=data.colour, appearances=100)
        config, networks = replace(config, data=scenes), Networks.random_sd15()
    run = Run(config, networks, write=False)
    device, batches = run.place.device, run.batches()
    times, losses = [], []
    for _ in range(steps + 1):
        started = time.perf_counter(), time.process_time()
        losses.append(run.step(batches)["loss"])
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append((time.perf_counter() - started[0], time.process_time() - started[1]))
    seconds, cpu_seconds = (round(median(values), 3) for values in zip(*times[1:] or times, strict=True))
    return {
        "task": config.task,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "processes": run.place.ranks,
        "precision": config.precision,
        "size": config.data.size,
        "batch": config.batch,
        "learning_parameters": sum(parameter.numel() for parameter in run.stepper.learning),
        "seconds_per_step": seconds,
        "cpu_seconds_per_step": cpu_seconds,
        "first_step_seconds": round(times[0][0], 3),
        "peak_gb": round(_peak_bytes(device) / 1e9, 2),
        "loss": [round(loss, 5) for loss in losses],
    }


def _peak_bytes(device: torch.device) -> int:
    """On a GPU what was allocated at most; else the process's largest resident size."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024
