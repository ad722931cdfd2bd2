"""Which samples a process takes, and how they come to it."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from .config import Config
from .task import Batch, Place


def share(config: Config, ranks: int) -> int:
    """Samples of one part of one process's batch.

    :raises ValueError: when the batch cannot be shared evenly, or a process would have nothing to validate.
    """
    parts = ranks * config.accumulate
    if config.batch % parts:
        raise ValueError(
            f"training: a batch of {config.batch} cannot be shared by {ranks} processes in {config.accumulate} parts "
            f"each; set batch to a multiple of {parts}"
        )
    if config.validation.data is not None and config.validation.items < ranks:
        raise ValueError(f"training: validation.items is {config.validation.items}, expected one per process ({ranks})")
    return config.batch // parts


def feed(samples: Sequence[Batch], config: Config, micro: int, step: int, place: Place) -> DataLoader[Any]:
    """The batches of one process from a step on, one for each accumulated part.

    :param micro: samples in each.
    """
    workers: dict[str, Any] = {"num_workers": config.workers}
    if config.workers:
        workers |= {"prefetch_factor": 4, "worker_init_fn": _start_worker}
    slots = _Slots(step, config.steps, config.batch, micro, config.accumulate, place)
    return DataLoader(_Indexed(samples), batch_sampler=slots, pin_memory=place.device.type == "cuda", **workers)


class _Slots:
    """The slots of this process's share of each batch, from a step on, one list per part of a batch."""

    def __init__(self, first: int, last: int, batch: int, micro: int, parts: int, place: Place):
        self.first, self.last, self.batch, self.micro, self.parts = first, last, batch, micro, parts
        self.start = place.rank * micro * parts

    def __len__(self) -> int:
        return (self.last - self.first) * self.parts

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first, self.last):
            for part in range(self.parts):
                start = step * self.batch + self.start + part * self.micro
                yield list(range(start, start + self.micro))


class _Indexed(Dataset):
    def __init__(self, samples: Sequence[Batch]):
        self.samples = samples

    def __getitem__(self, slot: int) -> Batch:
        return self.samples[slot]


def _start_worker(_: int) -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the training process decides when to stop
