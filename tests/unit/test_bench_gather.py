"""What the benchmark of SCA-DM's masked cross-attention compares, and how it counts memory."""

from __future__ import annotations

import torch

from amadapter_core.bench import gather
from amadapter_core.bench.live import live_bytes

MEGABYTE = 10**6


def test_live_bytes_are_those_alive_at_once() -> None:
    x = torch.zeros(250_000)

    def one_after_the_other() -> None:
        for _ in range(5):
            made = x + 1
            del made

    cases = {
        lambda: x.view(500, 500): 0,
        lambda: x.add_(1): 0,
        lambda: x + 1: 1,
        lambda: ((x + 1) + 1) + 1: 2,
        lambda: [x + 1, x + 2, x + 3]: 3,
        one_after_the_other: 1,
    }
    with torch.inference_mode():
        assert [live_bytes(call) for call in cases] == [expected * MEGABYTE for expected in cases.values()]


def test_the_gather_holds_less_than_the_literal_formula() -> None:
    measured = dict(gather.bench((16, 16), torch.device("cpu"), torch.float32, 1))
    assert set(measured) == {"literal formula", "gather", "gather, 1 in 5 two classes"}
    assert all(row.seconds > 0 for row in measured.values())
    assert measured["gather"].peak_bytes < measured["literal formula"].peak_bytes / 2
