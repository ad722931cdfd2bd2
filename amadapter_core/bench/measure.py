"""Time and peak memory of a call."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

_SAMPLE_SECONDS = 0.002


@dataclass(frozen=True)
class Measurement:
    """:param seconds: wall time, median of the runs.
    :param cpu_seconds: processor time of all threads, median of the runs.
    :param peak_bytes: most memory over what was in use before, over all runs.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int

    @classmethod
    def of(cls, times: Sequence[tuple[float, float]], peak_bytes: int) -> Measurement:
        """The medians of runs timed by `timed`."""
        return cls(*(median(values) for values in zip(*times, strict=True)), peak_bytes)


def timed(call: Callable[[], Any], device: torch.device) -> tuple[float, float]:
    """Wall time and processor time of one call."""
    _wait(device)
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    _wait(device)
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(
    call: Callable[[], Any],
    device: torch.device | str = "cpu",
    repeats: int = 3,
    before: Callable[[], Any] | None = None,
) -> Measurement:
    """Run `call` once to warm up and then `repeats` times.

    :param before: run before each, not measured.
    """
    device = torch.device(device)
    times = []
    with PeakMemory(device) as peak:
        for _ in range(repeats + 1):
            if before is not None:
                before()
            times.append(timed(call, device))
    return Measurement.of(times[1:], peak.bytes)


class PeakMemory:
    """Most memory in use within the block over what was in use before it, in `bytes`.

    CUDA counts allocations; elsewhere a thread samples the process's resident memory, which includes what the
    allocator keeps, so it is an upper bound.
    """

    def __init__(self, device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        self.bytes = 0

    def __enter__(self) -> PeakMemory:
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            self._before = torch.cuda.memory_allocated()
            return self
        import psutil

        _return_free_memory()
        self._process = psutil.Process()
        self._before = self._process.memory_info().rss
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
            self.bytes = torch.cuda.max_memory_allocated() - self._before
            return
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._done.wait(_SAMPLE_SECONDS):
            self.bytes = max(self.bytes, self._process.memory_info().rss - self._before)


def _return_free_memory() -> None:
    """Give back what the C allocator keeps, so that reusing it does not hide from the count."""
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
