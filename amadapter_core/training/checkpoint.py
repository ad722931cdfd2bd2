"""Checkpoints of a run: folders that appear whole or not at all, the last few of which are kept.

step-00001500/
  model.safetensors, model_1.safetensors     the networks that learn, in the published layout
  state.json                                 step, unfinished sums of the log, settings
  resume/                                    what else is needed to go on: moments, moving average, scaler
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from ..checkpoints import CheckpointError, save, save_tensors
from ..checkpoints.formats import open_file
from ..checkpoints.reading import check_finite
from ..text_files import read_json
from .schedule import Average
from .task import Part, Task

_FORMER = ".former"


@dataclass
class Progress:
    """How far a run is.

    :param step: steps taken.
    :param sums: sums of the values logged since the last row, and how many.
    """

    step: int
    sums: dict[str, float]
    count: int


def checkpoints(folder: Path) -> list[Path]:
    """The finished checkpoints of a run, oldest first."""
    return sorted(path for path in folder.glob("step-*") if (path / "state.json").is_file())


def checkpoint_folder(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step-{step:08d}"


def save_checkpoint(
    folder: Path,
    task: Task,
    progress: Progress,
    optimisers: Mapping[str, Any],
    average: Average | None,
    scaler: Any,
    keep: int,
) -> None:
    """Write a checkpoint beside the others and remove the oldest ones.

    :param folder: of the run's checkpoints.
    :param optimisers: by the name of their turn.
    """
    final = checkpoint_folder(folder, progress.step)
    partial = folder / f".{final.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "resume").mkdir(parents=True)
    metadata = metadata_of(task, progress.step)
    for part in task.parts.values():
        save_part(partial / part.file, part, metadata, task.variant)
    if average is not None:
        save_tensors(partial / "resume" / "average.safetensors", average.state_dict(), metadata)
    for name, optimiser in optimisers.items():
        torch.save(optimiser.state_dict(), partial / "resume" / _optimiser_file(name))
    state = {
        "step": progress.step,
        "sums": progress.sums,
        "count": progress.count,
        "scaler": None if scaler is None else scaler.state_dict(),
        "config": json.loads(task.config.to_json()),
    }
    (partial / "state.json").write_text(json.dumps(state, indent=1), encoding="utf-8")
    former = _aside(final) if final.exists() else None
    os.replace(partial, final)
    if former is not None:
        shutil.rmtree(former)
    for old in checkpoints(folder)[:-keep]:
        shutil.rmtree(_aside(old))


def restore(folder: Path) -> None:
    """Clear up after a process that was killed while it put one checkpoint in the place of another."""
    whole = checkpoints(folder)
    for former in folder.glob(f".step-*{_FORMER}"):
        final = folder / former.name[1:].removesuffix(_FORMER)
        if final.exists() or (whole and whole[-1].name > final.name):  # its removal was broken off
            shutil.rmtree(former)
        else:
            os.replace(former, final)


def _aside(folder: Path) -> Path:
    """Rename a folder, so that nobody takes it for a checkpoint while it is removed file by file."""
    aside = folder.with_name(f".{folder.name}{_FORMER}")
    shutil.rmtree(aside, ignore_errors=True)
    os.replace(folder, aside)
    return aside


def load_checkpoint(
    folder: Path, task: Task, optimisers: Mapping[str, Any], average: Average | None, scaler: Any
) -> Progress:
    """Go on where a checkpoint stopped.

    :param folder: of one checkpoint.
    :param optimisers: by the name of their turn.
    :raises CheckpointError: when it was made by a run with other settings of what is learned.
    """
    state = _read_state(folder / "state.json")
    with _readable(folder / "state.json"):
        _check_same_run(folder, state["config"], task)
    for part in task.parts.values():
        _load_part(folder / part.file, part)
    resume = folder / "resume"
    if average is not None:
        with _readable(path := resume / "average.safetensors"):
            average.load_state_dict(load_file(path))
    for name, optimiser in optimisers.items():
        with _readable(path := resume / _optimiser_file(name)):
            optimiser.load_state_dict(_moments(path))
    if scaler is not None and state["scaler"]:
        with _readable(folder / "state.json"):
            scaler.load_state_dict(state["scaler"])
    return Progress(state["step"], state["sums"], state["count"])


def _read_state(path: Path) -> dict[str, Any]:
    """What `state.json` says.

    :raises CheckpointError: when it is damaged.
    """
    with _readable(path):
        state = read_json(path)
        counts = [state["step"], state["count"]]
        if not all(type(count) is int and count >= 0 for count in counts):
            raise ValueError(f"step and count are {counts}, expected whole numbers of 0 or more")
        sums = {str(name): float(value) for name, value in state["sums"].items()}
        if not isinstance(state["config"], dict) or not isinstance(state["scaler"], dict | None):
            raise ValueError("config or scaler are no settings")
        return state | {"sums": sums}


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Whatever goes wrong within is the file's fault.

    :raises CheckpointError: names it.
    """
    try:
        yield
    except (CheckpointError, MemoryError):
        raise
    # A damaged file can fail in any way inside the unpickler and the optimisers.
    except Exception as error:
        told = str(error).partition("\n")[0] or type(error).__name__
        checkpoint = path.parent.parent if path.parent.name == "resume" else path.parent
        raise CheckpointError(
            f"training: {path} is damaged or of another run ({told}). Remove {checkpoint} to go on from the one before"
        ) from error


def _moments(path: Path) -> dict[str, Any]:
    try:
        open_file(path)  # refuses what would take all memory
    except CheckpointError as error:
        raise ValueError(f"it {error.finding}") from error
    return torch.load(path, map_location="cpu", weights_only=True)


def _optimiser_file(turn: str) -> str:
    return f"optimiser_{turn}.pt" if turn else "optimiser.pt"


def save_part(path: Path, part: Part, metadata: dict[str, str], variant: str | None = None) -> None:
    """Write one network: by its kind where the pack's loaders know it, else as plain tensors."""
    state = part.state_dict()
    if part.kind is None:
        save_tensors(path, state, metadata)
    else:
        by_block = {"am_adapter.by_block": "true"} if getattr(part.network, "by_block", False) else {}
        save(path, state, part.kind, metadata | by_block, variant=variant)


def metadata_of(task: Task, step: int) -> dict[str, str]:
    """What the header of a trained file says of its training."""
    return {
        "am_adapter.task": task.config.task,
        "am_adapter.step": str(step),
        "am_adapter.config": task.config.to_json(),
        **task.metadata,
    }


def _load_part(path: Path, part: Part) -> None:
    if not path.is_file():
        raise CheckpointError(f"training: {path.parent} has no {path.name}; it belongs to another task, or is damaged")
    with _readable(path):
        state: dict[str, Tensor] = load_file(path)
        check_finite(path, state, "The training diverged, or the file is damaged")
    missing = part.state_dict().keys() - state.keys()
    if missing:
        raise CheckpointError(f"training: {path} lacks {len(missing)} tensors, first {sorted(missing)[0]}")
    try:
        part.network.load_state_dict(state, strict=part.whole)
    except RuntimeError as error:
        raise CheckpointError(f"training: {path} does not fit the network of this run: {error}") from error


def _check_same_run(folder: Path, former: dict[str, Any], task: Task) -> None:
    """The settings that decide what the next step computes have to be the same.

    Settings that came into being after the checkpoint was written had their defaults then.
    """
    present = json.loads(task.config.to_json())
    networks = ("autoencoder", "structure", "matcher", "segmenter", "clvae", "ipose_parts", "ipose", "scadm")
    changed = [
        f"{name} was {former[name]} and is {present[name]}"
        for name in ("task", "model", "seed", "batch")
        if former.get(name) != present[name]
    ]
    for name in ("data", *networks):
        defaults = json.loads(json.dumps(asdict(type(getattr(task.config, name))())))
        section = defaults | former.get(name, {})
        changed += [
            f"{name}.{key} was {section[key]} and is {value}"
            for key, value in present[name].items()
            if section[key] != value
        ]
    if changed:
        told = "; ".join(changed)
        raise CheckpointError(
            f"training: {folder} was made with other settings ({told}). Go on with the former ones, or name "
            "another output"
        )
