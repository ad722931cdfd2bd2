"""The measuring tools measure."""

from __future__ import annotations

import time

import torch

from amadapter_core.bench.measure import PeakMemory, measure


def test_peak_memory_sees_what_was_held_and_let_go() -> None:
    with PeakMemory() as peak:
        held = torch.ones(50 << 20)  # 200 MiB
        time.sleep(0.05)
        del held
    assert 195 << 20 < peak.bytes < 260 << 20


def test_measure_takes_the_median_after_a_warm_up() -> None:
    pauses = iter([0.3, 0.05, 0.2, 0.01])
    prepared = []
    measured = measure(lambda: time.sleep(next(pauses)), repeats=3, before=lambda: prepared.append(1))
    assert 0.05 <= measured.seconds < 0.15
    assert measured.cpu_seconds < measured.seconds
    assert len(prepared) == 4
