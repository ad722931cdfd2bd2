"""Workers on the GPUs and machines of a Ray cluster, each with a model of its own.

Only the machine that was given the command writes results: workers send their pictures there. They read exemplars and
label maps themselves, so these must lie in the same place everywhere, and the package must be importable there.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .model import Model
from .plan import Row
from .running import Outcome

logger = logging.getLogger(__name__)

PATIENCE = 300.0
"""Seconds in which a worker has to come up when none is at work."""
_PACKAGE = Path(__file__).resolve().parents[2]


class Worker:
    """What runs in a Ray actor."""

    def __init__(self, *arguments: Any, **options: Any):
        from .synthesis import Synthesiser

        self.synthesiser = Synthesiser(*arguments, **options)

    def ready(self) -> None:
        """Answered once the model is loaded."""

    def attempt(self, row: Row) -> Outcome:
        """Make one row on this worker's device."""
        return self.synthesiser.attempt(row)


@contextmanager
def cluster(address: str | None, cpus: int) -> Iterator[None]:
    """A running Ray while inside.

    :param address: "auto" or HOST:PORT of one that runs; None starts one on this machine.
    :param cpus: that this one may use.
    :raises ValueError: when ray is not installed, or there is none at the address.
    """
    try:
        # No figures go out unless the user asks for it.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray
    except ImportError as error:
        raise ValueError('batch: workers need Ray: pip install "ray>=2.9", or leave out --workers') from error
    if ray.is_initialized():
        yield
        return
    local: dict[str, Any] = {}
    if address is None:
        paths = [str(_PACKAGE), *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)  # its workers inherit it
        local = {"num_cpus": cpus, "include_dashboard": False}
    try:
        ray.init(address, logging_level="warning", log_to_driver=False, **local)
    except ConnectionError as error:
        raise ValueError(f"batch: no Ray at {address}: {error}; start one with ray start --head") from error
    try:
        yield
    finally:
        ray.shutdown()


class RayPool:
    """
    :param count: workers.
    :param gpus: of each; 0 computes on CPUs.
    :param cpus: of each.
    :param options: of `Synthesiser`.
    """

    def __init__(self, count: int, model: Model, device: str, root: Path, *, gpus: float, cpus: int, **options: Any):
        import ray

        self._ray = ray
        actor = ray.remote(num_gpus=gpus, num_cpus=cpus, max_restarts=0)(Worker)
        self._make = lambda: actor.remote(model, device, root, **options)
        self._needs = f"{count} workers with {gpus:g} GPUs and {cpus} CPUs each"
        self._workers: dict[int, Any] = {}
        self._starting: dict[Any, int] = {}
        self._running: dict[Any, tuple[int, Row]] = {}
        self._free: list[int] = []
        for number in range(count):
            self._hire(number)

    @property
    def busy(self) -> int:
        return len(self._running)

    def free(self) -> list[int]:
        return list(self._free)

    def start(self, worker: int, row: Row) -> None:
        self._free.remove(worker)
        self._running[self._workers[worker].attempt.remote(row)] = worker, row

    def wait(self) -> list[tuple[Row, Outcome]]:
        patience = None if self._running else PATIENCE
        ready, _ = self._ray.wait([*self._running, *self._starting], timeout=patience)
        if not ready:
            raise RuntimeError(
                f"batch: no worker came up within {PATIENCE:.0f} s; wanted are {self._needs}, the cluster has "
                f"{self._ray.cluster_resources()}"
            )
        through = []
        for reference in ready:
            if reference in self._starting:
                self._welcome(reference)
            else:
                through.append(self._result(reference))
        return through

    def close(self) -> None:
        """Let the workers go."""
        for worker in self._workers.values():
            self._ray.kill(worker)

    def _hire(self, number: int) -> None:
        self._workers[number] = self._make()
        self._starting[self._workers[number].ready.remote()] = number

    def _welcome(self, reference: Any) -> None:
        number = self._starting.pop(reference)
        try:
            self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            raise RuntimeError(f"batch: a worker could not start: {error}") from error
        self._free.append(number)

    def _result(self, reference: Any) -> tuple[Row, Outcome]:
        number, row = self._running.pop(reference)
        try:
            outcome = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            # Its process or machine is gone; another takes its place, when there is room for one.
            logger.warning("worker %d was lost at row %s: %s", number, row.name, error)
            self._hire(number)
            return row, Outcome(message=f"the worker was lost: {error}", again=True)
        self._free.append(number)
        return row, outcome
