"""The training loop, one for all tasks: accelerate on one process or many, resumable at any step.

Which samples a step sees, how they are augmented and which noise they get are functions of (seed, step, place in
the batch); nothing depends on what came before, nor on how many processes share the batch. So a run that was
stopped goes on with the losses it would have had, and two processes give the losses of one.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..picture_files import write_picture
from .checkpoint import Progress, checkpoint_folder, checkpoints, load_checkpoint, restore, save_checkpoint
from .config import Config
from .feeding import feed, share
from .interrupts import interruptible
from .networks import Networks
from .records import Records
from .schedule import Average
from .stepping import NotFinite, Stepper, placed
from .task import Batch, Place
from .tasks import ADVERSARIAL, make_task

logger = logging.getLogger(__name__)

Watch = Callable[[int, Mapping[str, float]], bool | None]

STORE_PATIENCE = timedelta(hours=6)
"""How long processes wait for each other: the first of them may be drawing scenes or pictures."""


class TrainingError(RuntimeError):
    """A run cannot go on; what it had is saved."""


def train(config: Config, watch: Watch | None = None) -> Path:
    """Run a training to its end, or until it is interrupted.

    :param config: see `config.load`.
    :param watch: called after every step with its number and its values; returning True stops the run as an
        interrupt does: the state is saved, and a later call goes on.
    :return: the folder with what was learned, or, when stopped early, the last checkpoint.
    :raises TrainingError: when the loss is not finite any more; the last good checkpoint stays.
    """
    return Run(config).train(watch)


class Run:
    """One training run and all it consists of, ready to take steps.

    :param networks: for the diffusion stages, instead of those of the model folder.
    :param write: whether the run goes on from its folder and writes into it.
    """

    def __init__(self, config: Config, networks: Networks | None = None, write: bool = True):
        from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
        from accelerate.state import AcceleratorState
        from accelerate.utils import set_seed

        # A process may train more than once, as hosts and notebooks do, each time in another precision.
        AcceleratorState._reset_state()
        self.config, self.folder = config, Path(config.output)
        self.accelerator = Accelerator(
            mixed_precision=config.precision,
            cpu=not _has_accelerator(),
            kwargs_handlers=[
                InitProcessGroupKwargs(timeout=STORE_PATIENCE),
                # Who does not learn in a turn has no gradients in it.
                DistributedDataParallelKwargs(
                    gradient_as_bucket_view=True, find_unused_parameters=config.task in ADVERSARIAL
                ),
            ],
        )
        self.place = Place(
            self.accelerator.process_index,
            self.accelerator.num_processes,
            self.accelerator.wait_for_everyone,
            self.accelerator.device,
        )
        self.micro = share(config, self.place.ranks)
        set_seed(config.seed)  # of networks that are made here; all else has draws of its own
        self.task = make_task(config, self.place, networks).to(self.place.device)
        self.stepper = Stepper(self.accelerator, self.task, config)
        self.average = None
        if config.optimiser.ema:
            self.average = Average(self.task, config.optimiser.ema, self.task.averaged)
        self.progress = Progress(0, {}, 0)
        self.checkpoint: Path | None = None
        self.records: Records | None = None
        if write:
            self._resume()
        if write and self.main:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.records = Records(self.folder, self.progress.step, config.log.tensorboard)

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.accelerator.is_main_process

    def train(self, watch: Watch | None = None) -> Path:
        """Take the steps that are missing.

        :param watch: called after each step; see the function `train`.
        :return: the folder of the exported networks, or the checkpoint where the run was stopped.
        """
        config, progress = self.config, self.progress
        self._say("%s: step %d of %d, %d processes", config.task, progress.step, config.steps, self.place.ranks)
        with interruptible() as interrupted, _closing(self.records):
            if progress.step == 0:
                self._look(0)
            batches = self.batches()
            since, first = time.perf_counter(), progress.step
            while progress.step < config.steps:
                values, stop = self._step(batches, interrupted())
                self._count(values)
                if watch is not None:
                    stop = self._agree(bool(watch(progress.step, values))) or stop
                if progress.step % config.log.every == 0:
                    self._log((time.perf_counter() - since) / (progress.step - first))
                    since, first = time.perf_counter(), progress.step
                due, finished = progress.step % config.checkpoints.every == 0, progress.step == config.steps
                self._look(progress.step, finished)
                if stop or due or finished:
                    self._save()
                if stop and not finished:
                    self._say("stopped at step %d; the same command goes on from there", progress.step)
                    return self.checkpoint
                if config.checkpoints.export_every and progress.step % config.checkpoints.export_every == 0:
                    self.export()
            return self.export()

    def step(self, batches: Iterator[Batch]) -> dict[str, float]:
        """Take one optimisation step and return its values; for measuring."""
        values, _ = self._step(batches, False)
        self._count(values)
        return values

    def batches(self) -> Iterator[Batch]:
        """The batches from the present step on."""
        return iter(feed(self.task.samples, self.config, self.micro, self.progress.step, self.place))

    def _step(self, batches: Iterator[Batch], stop: bool) -> tuple[dict[str, float], bool]:
        step = self.progress.step
        parts = [next(batches) for _ in range(self.config.accumulate)]
        try:
            values, stop = self.stepper.step(parts, step, stop)
        except NotFinite as error:
            self._fail(step, str(error))
        if self.average is not None:
            self.average.update(step)
        self.progress.step += 1
        return values, stop

    def _count(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.progress.sums[name] = self.progress.sums.get(name, 0.0) + value
        self.progress.count += 1

    def _log(self, seconds: float) -> None:
        progress = self.progress
        row = {name: value / progress.count for name, value in progress.sums.items()}
        progress.sums, progress.count = {}, 0
        if self.records is not None:
            self.records.log(progress.step, row | {"seconds_per_step": seconds})
            left = timedelta(seconds=round(seconds * (self.config.steps - progress.step)))
            logger.info("step %d  loss %.5f  %.3f s/step  %s left", progress.step, row["loss"], seconds, left)

    def _look(self, step: int, last: bool = False) -> None:
        """Validate and draw samples when they are due."""
        settings = self.config.validation
        measure = self.task.held_out is not None and (last or step % settings.every == 0)
        draw = settings.pictures > 0 and (last or (step > 0 and step % settings.pictures_every == 0))
        if not measure and not draw:
            return
        self.task.eval()
        with torch.no_grad(), self.average.applied() if self.average is not None else nullcontext():
            if measure:
                self._validate(step)
            if draw and self.main:
                picture = self.task.picture()
                if picture is not None:
                    write_picture(picture, self.folder / "pictures" / f"step-{step:08d}.png")
        self.place.wait()

    def _validate(self, step: int) -> None:
        items, (rank, ranks) = self.config.validation.items, (self.place.rank, self.place.ranks)
        indices = range(rank, items, ranks)
        sums: dict[str, Tensor] = {}
        for start in range(0, len(indices), self.micro):
            batch = torch.utils.data.default_collate(
                [self.task.held_out[i] for i in indices[start : start + self.micro]]
            )
            for name, values in self.task.validate(placed(batch, self.place.device)).items():
                sums[name] = sums.get(name, 0) + values.float().sum()
        total = self.accelerator.reduce(torch.stack(list(sums.values())), "sum").tolist()
        values = {name: value / items for name, value in zip(sums, total, strict=True)}
        if self.records is not None:
            self.records.log_validation(step, values)
            told = "  ".join(f"{name} {value:.5g}" for name, value in values.items())
            logger.info("step %d  held out: %s", step, told)

    def _save(self) -> None:
        folder = self.folder / "checkpoints"
        self.checkpoint = checkpoint_folder(folder, self.progress.step)
        if self.main:
            save_checkpoint(
                folder,
                self.task,
                self.progress,
                self.stepper.optimisers,
                self.average,
                self.accelerator.scaler,
                self.config.checkpoints.keep,
            )
            self.records.plot(self.task.headline)
        self.place.wait()

    def _resume(self) -> None:
        if self.main:
            restore(self.folder / "checkpoints")
        self.place.wait()
        found = checkpoints(self.folder / "checkpoints")
        if not found:
            return
        if not self.config.resume:
            raise ValueError(
                f"training: {self.folder} holds a run at {found[-1].name} and resume is false; name another output, "
                "or remove that folder"
            )
        self.checkpoint = found[-1]
        self.progress = load_checkpoint(
            found[-1], self.task, self.stepper.optimisers, self.average, self.accelerator.scaler
        )

    def export(self) -> Path:
        """Write the model folder of the run, by the averaged weights where there are any."""
        folder = self.folder / "model"
        if self.main:
            partial, former = self.folder / ".model.partial", self.folder / ".model.former"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            self.task.eval()
            with torch.no_grad(), self.average.applied() if self.average is not None else nullcontext():
                self.task.export(partial, self.progress.step)
            shutil.rmtree(former, ignore_errors=True)
            if folder.exists():
                os.replace(folder, former)
            os.replace(partial, folder)
            shutil.rmtree(former, ignore_errors=True)
            logger.info("step %d  written to %s", self.progress.step, folder)
        self.place.wait()
        return folder

    def _agree(self, stop: bool) -> bool:
        flag = torch.tensor(float(stop), device=self.place.device)
        return float(self.accelerator.reduce(flag, "sum")) > 0

    def _fail(self, step: int, what: str) -> None:
        batch = self.config.batch
        names = [self.task.name_of(step * batch + i) for i in range(min(batch, 4))]
        kept = f"the last checkpoint is {self.checkpoint}" if self.checkpoint else "there is no checkpoint yet"
        raise TrainingError(
            f"training {self.config.task}: at step {step} {what}; nothing of that step was kept, {kept}. "
            f"The batch begins with {', '.join(names)}. Lower optimiser.rate, set optimiser.clip, or use "
            "precision: bf16 instead of fp16"
        )

    def _say(self, text: str, *values: Any) -> None:
        if self.main:
            logger.info(text, *values)


def _has_accelerator() -> bool:
    return torch.cuda.is_available() or torch.backends.mps.is_available()


@contextmanager
def _closing(records: Records | None) -> Iterator[None]:
    try:
        yield
    finally:
        if records is not None:
            records.close()
