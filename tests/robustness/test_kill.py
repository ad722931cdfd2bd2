"""A share of the killing campaign, and that the harness sees half a file."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from .children import FORKS
from .kill import kill
from .writers import WRITERS, Writer

pytestmark = pytest.mark.skipif(not FORKS, reason="needs fork and a signal that cannot be caught")


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.name)
def test_a_killed_writer_leaves_the_old_or_the_new(writer: Writer, tmp_path: Path) -> None:
    row = kill(writer, 2, 0, tmp_path)
    assert row.torn == () and row.kills == 2


def test_the_harness_sees_half_a_file(tmp_path: Path) -> None:
    def write(folder: Path, n: int) -> None:
        with open(folder / "f", "wb", buffering=0) as file:
            for _ in range(8):
                file.write(b"%08d" % n)
                time.sleep(0.002)

    def version(folder: Path) -> int:
        if not (folder / "f").exists():
            return 0
        content = (folder / "f").read_bytes()
        if len(content) != 64 or len({content[i : i + 8] for i in range(0, 64, 8)}) != 1:
            raise ValueError("half a file")
        return int(content[:8])

    row = kill(Writer("in place", write, version), 20, 0, tmp_path)
    assert row.torn and "half a file" in row.torn[0]
