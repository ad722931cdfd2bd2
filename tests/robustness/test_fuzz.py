"""A share of the fuzzing campaign, and that the harness sees what it is there to see."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .children import FORKS
from .fuzz import LOADED, REFUSED, fuzz, good_file, outcome
from .mutations import SENTINEL, cut
from .readers import READERS, Reader

pytestmark = pytest.mark.skipif(not FORKS, reason="needs fork and limits of memory")

CASES = 8


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_damaged_file_loads_or_is_refused_by_its_name(reader: Reader, tmp_path: Path) -> None:
    good_file(reader, tmp_path / "good")
    assert outcome(reader, tmp_path / "good") == LOADED
    row = fuzz(reader, range(CASES), 0, tmp_path / "damaged")
    assert row.failures == {} and row.cases == CASES


def reader(read: Callable[[Path], Any]) -> Reader:
    return Reader("made up", "f.bin", lambda folder: (folder / "f.bin").write_bytes(b"good"), read, (cut,))


def fail(error: Exception) -> Any:
    raise error


def endless() -> None:
    while True:
        pass


@pytest.mark.parametrize(
    ("read", "complaint"),
    [
        (lambda folder: fail(KeyError("x")), "KeyError"),
        (lambda folder: fail(ValueError("it is damaged")), "does not name f.bin"),
        (lambda folder: fail(ValueError("f.bin" + "x" * 9999)), "of 10004 characters"),
        (lambda folder: bytearray(16 << 30), "MemoryError"),
        (lambda folder: os._exit(3), "exit status 3"),
        (lambda folder: os.abort(), "crashed: SIGABRT"),
        (lambda folder: endless(), "computed for more than"),
        (lambda folder: Path(SENTINEL).touch(), "code in the file was run"),
    ],
)
def test_the_harness_sees_what_is_wrong_and_goes_on(
    read: Callable[[Path], Any], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(fuzz.__globals__, "CPU_SECONDS", 0.3)
    row = fuzz(reader(read), range(2), 0, tmp_path)
    assert [complaint in text for text in row.failures.values()] == [True, True], row.failures
    assert not os.path.exists(SENTINEL)


def test_the_harness_sees_who_waits_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fuzz.__globals__, "WALL_SECONDS", 0.5)
    row = fuzz(reader(lambda folder: time.sleep(60)), range(1), 0, tmp_path)
    assert list(row.failures) == [0] and "waited for more than" in row.failures[0]


def test_good_readers_are_counted(tmp_path: Path) -> None:
    def read(folder: Path) -> None:
        if (folder / "f.bin").read_bytes() != b"good":
            raise ValueError("f.bin is damaged")

    row = fuzz(reader(read), range(30), 0, tmp_path)
    assert row.failures == {} and row.counts[LOADED] > 0 and row.counts[REFUSED] > 0
