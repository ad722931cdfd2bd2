"""Damaged files against every reader: each case loads, or is refused with an error that names the file.

Cases run in child processes, so that crashes, endless loops and memory bombs are failures like others and the campaign
goes on behind them. A case is told by reader, seed and number, and comes again from these.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import torch

from .children import limit_memory
from .mutations import SENTINEL
from .readers import READERS, Reader

CPU_SECONDS = 5.0
"""After so much computing a case hangs."""
WALL_SECONDS = 120.0
"""After so long it waits for something that never comes."""
MEMORY = 2 << 30
"""Bytes that a reader of files of some KiB may take at once."""
MESSAGE = 4000
"""Characters of a message that somebody is to read."""

LOADED, REFUSED = "loaded", "refused"


@dataclass
class Row:
    """What became of a reader's cases; failures by their number."""

    reader: Reader
    counts: dict[str, int] = field(default_factory=lambda: {LOADED: 0, REFUSED: 0})
    failures: dict[int, str] = field(default_factory=dict)

    @property
    def cases(self) -> int:
        return sum(self.counts.values()) + len(self.failures)


def good_file(reader: Reader, folder: Path) -> bytes:
    """Write a reader's good file and what lies beside it; the file's bytes, the same each time."""
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    reader.make(folder)
    return (folder / reader.file).read_bytes()


def damaged(reader: Reader, good: bytes, seed: int, number: int) -> bytes:
    """The bytes of a case."""
    rng = Random(f"{seed} {reader.name} {number}")
    return rng.choice(reader.damages)(good, rng)


def outcome(reader: Reader, folder: Path) -> str:
    """Read a folder: LOADED, REFUSED, or what is wrong with how it failed."""
    try:
        reader.read(folder)
    except (ValueError, FileNotFoundError) as error:
        text, parts = str(error), Path(reader.file).parts
        # The file, or the folder that it is a part of.
        if reader.named and parts[0] not in text and parts[-1] not in text:
            return f"{type(error).__name__} does not name {parts[-1]}: {text[:300]}"
        if len(text) > MESSAGE:
            return f"{type(error).__name__} of {len(text)} characters: {text[:300]}"
        found = REFUSED
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:300]}"
    else:
        found = LOADED
    return found


def fuzz(reader: Reader, numbers: Sequence[int], seed: int, folder: Path) -> Row:
    """Run cases of one reader, in as many child processes as it crashes, and one more.

    :param folder: that the files are written into.
    """
    row = Row(reader)
    good, waiting = good_file(reader, folder), list(numbers)
    while waiting:
        ending = "ended without a word"
        for number, found in _in_child(reader, waiting, seed, folder, good):
            if number is None:
                ending = found
                break
            waiting.remove(number)
            if found in row.counts:
                row.counts[found] += 1
            else:
                row.failures[number] = found
        else:
            continue
        row.failures[waiting.pop(0)] = ending
    return row


def _in_child(
    reader: Reader, numbers: Sequence[int], seed: int, folder: Path, good: bytes
) -> Iterator[tuple[int | None, str]]:
    """Number and outcome of each case; a last one without a number says how the child ended, if not as it should."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(reader, numbers, seed, folder, good, theirs), daemon=True)
    child.start()
    theirs.close()
    done = 0
    try:
        while done < len(numbers):
            if not ours.poll(WALL_SECONDS):
                yield None, f"waited for more than {WALL_SECONDS:.0f} s"
                return
            yield ours.recv()
            done += 1
    except EOFError:
        child.join()
        code = -(child.exitcode or 0)
        hung = f"computed for more than {CPU_SECONDS:.0f} s"
        name = signal.Signals(code).name if code in set(signal.Signals) else f"exit status {-code}"
        yield None, hung if code == signal.SIGPROF else f"crashed: {name}"
    finally:
        child.kill()
        child.join()


def _work(reader: Reader, numbers: Sequence[int], seed: int, folder: Path, good: bytes, pipe: object) -> None:
    faulthandler.disable()  # which has a way past what follows
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
    limit_memory(MEMORY)
    for number in numbers:
        (folder / reader.file).write_bytes(damaged(reader, good, seed, number))
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        found = outcome(reader, folder)
        signal.setitimer(signal.ITIMER_PROF, 0)
        if os.path.lexists(SENTINEL):
            found = "code in the file was run"
            os.rmdir(SENTINEL) if os.path.isdir(SENTINEL) else os.unlink(SENTINEL)
        pipe.send((number, found))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.robustness.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=20000, help="in all, shared out among the readers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="readers whose name has this in it")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir(), "am_adapter_fuzz"), help="of failures")
    options = parser.parse_args()
    readers = [reader for reader in READERS if options.only is None or options.only in reader.name]
    if not readers:
        parser.error(f"no reader is called {options.only!r}; there are {', '.join(reader.name for reader in READERS)}")
    each = max(1, options.cases // len(readers))
    rows = []
    _say(f"{'reader':32}{'cases':>8}{'loaded':>8}{'refused':>8}{'failures':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for number, reader in enumerate(readers):
            row = fuzz(reader, range(each), options.seed, Path(folder, str(number)))
            rows.append(row)
            _say(f"{reader.name:32}{row.cases:8}{row.counts[LOADED]:8}{row.counts[REFUSED]:8}{len(row.failures):9}")
            _keep(row, options.seed, Path(folder, f"{number}-good"), options.keep)
    told = {
        "cases": sum(row.cases for row in rows),
        "loaded": sum(row.counts[LOADED] for row in rows),
        "refused": sum(row.counts[REFUSED] for row in rows),
        "failures": sum(len(row.failures) for row in rows),
        "seed": options.seed,
    }
    _say(json.dumps(told))
    return 1 if told["failures"] else 0


def _keep(row: Row, seed: int, scratch: Path, folder: Path) -> None:
    """Tell the failures, and keep their files."""
    if not row.failures:
        return
    good = good_file(row.reader, scratch)
    place = folder / row.reader.name.replace(" ", "_").replace(",", "")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    known: dict[str, int] = {}
    for number, text in row.failures.items():
        kind = text[:60]
        known[kind] = known.get(kind, 0) + 1
        if known[kind] == 1:
            _say(f"    case {number}: {text}")
        (place / f"{seed}-{number}-{Path(row.reader.file).name}").write_bytes(damaged(row.reader, good, seed, number))
    _say(f"    files kept in {place}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
