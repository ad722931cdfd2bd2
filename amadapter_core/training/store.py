"""Arrays kept on disk and mapped into memory: pairs drawn or decoded once, latents encoded once.

A store is a folder that appears whole or not at all; its name is a digest of what its contents depend on, so that
a changed setting makes another store and never reads a stale one. The processes of a run fill it together.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

Shapes = Mapping[str, tuple[str, tuple[int, ...]]]


def store_folder(root: str | Path, description: Any) -> Path:
    """Where the store of these contents lies: named by their digest."""
    text = json.dumps(description, sort_keys=True, default=str)
    return Path(root) / hashlib.sha256(text.encode()).hexdigest()[:16]


def open_store(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of a finished store, mapped read-only.

    :raises ValueError: a damaged file.
    """
    try:
        return {file.stem: np.load(file, mmap_mode="r") for file in sorted(folder.glob("*.npy"))}
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise ValueError(
            f"training: the prepared pairs in {folder} are damaged ({error}); remove the folder"
        ) from error


def fill_store(
    folder: Path,
    shapes: Shapes,
    fill: Callable[[dict[str, np.ndarray], Sequence[int]], None],
    count: int,
    rank: int = 0,
    ranks: int = 1,
    wait: Callable[[], None] = lambda: None,
) -> dict[str, np.ndarray]:
    """Make a store unless it is there, each process its share of the rows.

    :param shapes: dtype and shape of each array; the first axis is that of the `count` rows.
    :param fill: writes the given rows into the arrays.
    :param wait: returns when all processes have come to the same point.
    """
    from filelock import FileLock

    wait()
    if rank == 0:
        folder.parent.mkdir(parents=True, exist_ok=True)
    # Of two runs that want the same store one fills it, the other waits.
    with FileLock(folder.with_name(f".{folder.name}.lock")) if rank == 0 else nullcontext():
        wait()
        if not folder.is_dir():
            _fill(folder, shapes, fill, range(rank, count, ranks), rank == 0, wait)
    return open_store(folder)


def _fill(
    folder: Path,
    shapes: Shapes,
    fill: Callable[[dict[str, np.ndarray], Sequence[int]], None],
    rows: Sequence[int],
    leads: bool,
    wait: Callable[[], None],
) -> None:
    partial = folder.with_name(f".{folder.name}.partial")
    if leads:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        for name, (dtype, shape) in shapes.items():
            np.lib.format.open_memmap(partial / f"{name}.npy", "w+", dtype, shape)
    wait()
    arrays = {name: np.lib.format.open_memmap(partial / f"{name}.npy", "r+") for name in shapes}
    fill(arrays, rows)
    for array in arrays.values():
        array.flush()
    del arrays
    wait()
    if leads:
        os.replace(partial, folder)
    wait()
