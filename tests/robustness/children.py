"""Doing something in a child process that has little memory, so that taking too much of it fails and harms nobody."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

FORKS = os.name == "posix" and Path("/proc/self/statm").exists()
"""Whether this system has what the harness needs."""


def limit_memory(more: int) -> None:
    """Let this process take so many bytes more than it has; files that are mapped read-only count for nothing."""
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[5])
    resource.setrlimit(resource.RLIMIT_DATA, (pages * resource.getpagesize() + more,) * 2)


def in_child(action: Callable[[], Any], memory: int, mapped: int = 0, seconds: float = 120.0) -> tuple[str, str]:
    """Type and text of the error that an action ends with; empty where it ends well.

    :param memory: bytes that it may take.
    :param mapped: bytes of files that it may map besides, which take no memory until they are read.
    """
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)

    def work() -> None:
        limit_memory(memory + mapped)
        before = _resident()
        try:
            action()
        except BaseException as error:
            ending = (type(error).__name__, str(error))
        else:
            ending = ("", "")
        taken = _resident() - before
        theirs.send(ending if taken <= memory else ("TooMuchMemory", f"{taken} bytes"))

    child = context.Process(target=work, daemon=True)
    child.start()
    theirs.close()
    try:
        return ours.recv() if ours.poll(seconds) else ("Timeout", f"after {seconds} s")
    except EOFError:
        return "Crash", ""
    finally:
        child.kill()
        child.join()


def _resident() -> int:
    """The most bytes that this process has held at a time."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
