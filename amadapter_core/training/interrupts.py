"""Stopping a run in between two steps."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

ECHO_SECONDS = 5.0
"""Within this time a second SIGINT is taken for the first one's echo."""


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Within the block, SIGINT and SIGTERM ask for a stop after the step; a later SIGINT is the usual one.

    A launcher passes on what the terminal has sent already, so that the same wish comes twice. Signals can be
    handled in the main thread alone; elsewhere (inside a host) `watch` is the way to stop.
    """
    asked: list[float] = []
    former: dict[int, Any] = {}

    def handle(number: int, frame: Any) -> None:
        now = time.monotonic()
        if number == signal.SIGINT and asked and now - asked[0] > ECHO_SECONDS:
            raise KeyboardInterrupt
        asked.append(now)

    if threading.current_thread() is threading.main_thread():
        former = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
