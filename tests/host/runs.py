"""What the tests of training share: small configurations, tables without what no two runs share, a run that dies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from amadapter_core.training.config import Config
from amadapter_core.training.records import read_table
from amadapter_core.training.settings import build


def configured(plain: dict[str, Any], changes: dict[str, Any]) -> Config:
    """A configuration with changes; deeper settings are named with dots as `__`."""
    for name, value in changes.items():
        *path, last = name.split("__")
        target = plain
        for part in path:
            target = target.setdefault(part, {})
        target[last] = value
    return build(Config, plain, "test")


def rows(folder: Path, name: str = "losses.csv") -> list[dict[str, str]]:
    """A table without the seconds, which no two runs share."""
    return [{k: v for k, v in row.items() if k != "seconds_per_step"} for row in read_table(folder / name)]


class Killed(Exception):
    """A process that ends in the middle."""


def killed_at(step: int) -> Callable[[int, Any], None]:
    """For `train` to watch with: ends the run after a step, before what comes next is saved."""

    def watch(done: int, _: Any) -> None:
        if done == step:
            raise Killed

    return watch
