"""kill -9 at any moment of every writer: what lies there is the old or the new version, never half of one.

A child process writes version after version, with pauses around what makes a file appear, and is killed; the next one
goes on in the same folder, beside what its forerunner left.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random

from .writers import ELSEWHERE, WRITERS, Writer

PAUSE = 0.004
"""Seconds at most before and after each rename, removal and fsync."""
SLOWED = ((os, "replace"), (os, "fsync"), (os, "unlink"), (os, "rmdir"), (shutil, "rmtree"))


@dataclass
class Row:
    """What was found after each kill: the version before, the one that was being written, or neither."""

    writer: Writer
    old: int = 0
    new: int = 0
    torn: tuple[str, ...] = ()
    left: int = 0

    @property
    def kills(self) -> int:
        return self.old + self.new + len(self.torn)


def kill(writer: Writer, rounds: int, seed: int, folder: Path) -> Row:
    """Kill a writer some times.

    :param folder: empty.
    :raises RuntimeError: when the writer fails without being killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    row, rng, whole = Row(writer), Random(f"{seed} {writer.name}"), 0
    for _ in range(rounds):
        done = _killed(writer, whole, rng, folder)
        try:
            found = writer.version(folder)
        except Exception as error:
            found, row.torn = None, (*row.torn, f"after version {done}: {type(error).__name__}: {error}")
        if found == done:
            row.old += 1
        elif found == done + 1:
            row.new += 1
        elif found is not None:
            row.torn = (*row.torn, f"version {found} lies there after version {done} was finished")
        if row.torn:  # what follows would be its consequence
            break
        whole = found
    row.left = sum(1 for path in folder.rglob("*") if path.is_file() and any(p[:1] == "." for p in path.parts[-3:]))
    return row


def _killed(writer: Writer, version: int, rng: Random, folder: Path) -> int:
    """Let a child write on from a version, and kill it while it writes; the last version that it had finished."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_write, args=(writer, version, rng.random(), folder, theirs), daemon=True)
    child.start()
    theirs.close()
    try:
        for _ in range(rng.randrange(1, 3)):
            ours.recv()
            begun = time.monotonic()
            version = ours.recv()
            took = time.monotonic() - begun
        ours.recv()
    except EOFError:
        raise RuntimeError(f"{writer.name} fails by itself after version {version}") from None
    time.sleep(rng.random() * 1.1 * took)
    child.kill()
    child.join()
    try:
        while ours.poll():
            version = ours.recv() or version
    except EOFError:
        pass
    return version


def _write(writer: Writer, version: int, seed: float, folder: Path, pipe: object) -> None:
    rng = Random(seed)
    for module, name in SLOWED:
        setattr(module, name, _slowed(getattr(module, name), rng))
    for n in count(version + 1):
        pipe.send(None)
        writer.write(folder, n)
        pipe.send(n)


def _slowed(function: Callable, rng: Random) -> Callable:
    def slow(*arguments: object, **options: object) -> object:
        time.sleep(rng.random() * PAUSE)
        result = function(*arguments, **options)
        time.sleep(rng.random() * PAUSE)
        return result

    return slow


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.robustness.kill", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="kills of each writer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="writers whose name has this in it")
    options = parser.parse_args()
    rows = []
    _say(f"{'writer':32}{'kills':>7}{'old':>6}{'new':>6}{'torn':>6}{'leftovers':>11}")
    with tempfile.TemporaryDirectory() as folder:
        for number, writer in enumerate(writer for writer in WRITERS if options.only in writer.name):
            row = kill(writer, options.rounds, options.seed, Path(folder, str(number)))
            rows.append(row)
            _say(f"{writer.name:32}{row.kills:7}{row.old:6}{row.new:6}{len(row.torn):6}{row.left:11}")
            for text in row.torn:
                _say(f"    {text}")
    for name, place in ELSEWHERE.items():
        _say(f"{name:32} killed in {place}")
    told = {name: sum(getattr(row, name) for row in rows) for name in ("kills", "old", "new")}
    torn = sum(len(row.torn) for row in rows)
    _say(json.dumps(told | {"torn": torn, "seed": options.seed}))
    return 1 if torn else 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
