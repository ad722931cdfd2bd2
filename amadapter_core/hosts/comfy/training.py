"""Small training runs inside ComfyUI, on the MODEL, CLIP, VAE and CONTROL_NET that are connected.

The training package does the work, as on the command line. A run has its folder in ComfyUI's output folder, by its
name: another run of the same name goes on there, and what was learned is copied to the model folders at its end.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.model_management as management
import comfy.sd
import torch
from PIL import Image
from safetensors.torch import load_file

from ...checkpoints import Kind, save
from . import folders
from .loading import load_control, load_matcher
from .training_files import LORA, RunPlace
from .training_networks import Given, gather, require
from .training_pairs import PairSource
from .training_progress import Watch, picture_of, rows_of

EXEMPLARS, VARIANTS, TRAINED = ("view", "scene"), ("spatial", "published"), (LORA, "controlnext")

_VIEW = 1.25
"""Of two crops of one picture: its short side over theirs, so that they show different parts."""
_COLOUR = 0.3
_CHECKPOINT_EVERY, _WARMUP, _SAMPLES, _SAMPLING_STEPS = 250, 50, 2, 12


@dataclass(frozen=True)
class Order:
    """What both kinds of training are asked for.

    :param name: of the run and of the files it makes; may begin with sub-folders.
    :param prompt: of pictures that have no caption of their own.
    :param size: (H, W) of the training pictures in pixels.
    :param steps: of the whole run, those of earlier calls included.
    :param batch: pictures per step.
    :param augment: random crops and changes of colours; without them pictures are encoded once.
    :param one_at_a_time: a batch is computed picture by picture.
    :param checkpointing: gradient checkpointing of the UNet.
    :param samples_every: steps between two sample pictures; 0 makes none.
    """

    name: str
    model: Any
    clip: Any
    vae: Any
    pairs: PairSource
    prompt: str
    size: tuple[int, int]
    steps: int
    rate: float
    batch: int
    seed: int
    augment: bool = True
    one_at_a_time: bool = True
    checkpointing: bool = True
    samples_every: int = 250


@dataclass(frozen=True)
class Trained:
    """What came of a run.

    :param files: in the model folders, by what they are.
    :param losses: one mean per row of the run's log, from its first step on.
    :param picture: the loss and the last samples.
    """

    files: dict[str, Path]
    losses: list[float]
    picture: Image.Image


def train_matcher(
    order: Order, control_net: Any, variant: str, exemplar: str, matcher: Any = None
) -> tuple[Any, Trained]:
    """Stage 2.

    :param control_net: a CONTROL_NET with ControlNeXt.
    :param exemplar: "view" is another crop of the target's picture, "scene" another picture of its appearance.
    :param matcher: AM_MATCHER to begin with; None begins without any preference.
    :return: the AM_MATCHER, and what came of the run.
    :raises ValueError: when something is missing, does not fit, or the loss is not finite any more.
    :raises InterruptProcessingException: when ComfyUI was told to cancel; what was learned until then is kept.
    """
    require("diffusers", "accelerate")
    if control_net is None:
        raise ValueError("the matcher learns beside ControlNeXt; connect Load ControlNeXt or Train Structure")
    augment = order.augment or exemplar == "view"
    data = {"colour": _COLOUR if order.augment else 0.0}
    if exemplar == "view":
        data["short_side"] = round(_VIEW * min(order.size))
    place = RunPlace("matcher", order.name, {"matcher.safetensors": (folders.FOLDER, "matcher")})

    def settings(given: Given) -> dict[str, Any]:
        start = None if matcher is None else _keep_start(matcher, place.folder)
        by_block = matcher is not None and matcher.model.by_block
        stored = None if augment else str(place.folder / f"latents-{given.latents}")
        return {
            "variant": variant,
            "exemplar": exemplar,
            "start": start,
            "by_block": by_block,
            "latents": stored,
            "checkpointing": order.checkpointing,
        }

    trained = _train(order, place, control_net, data, settings)
    return load_matcher(trained.files["matcher"]), trained


def train_structure(order: Order, control_net: Any, what: str, rank: int) -> tuple[Any, Any, Trained]:
    """Stage 1, as far as it is a small run: ControlNeXt, with or without a LoRA on the UNet's attention.

    :param control_net: a CONTROL_NET with ControlNeXt to begin with; None begins with a new one.
    :param what: LORA trains both, "controlnext" that alone.
    :return: the MODEL with the LoRA, the CONTROL_NET, and what came of the run.
    :raises ValueError: when something is missing, does not fit, or the loss is not finite any more.
    :raises InterruptProcessingException: when ComfyUI was told to cancel; what was learned until then is kept.
    """
    require("diffusers", "accelerate", *(["peft"] if what == LORA else []))
    outcome = {"controlnext.safetensors": ("controlnet", "controlnext")}
    if what == LORA:
        outcome["pytorch_lora_weights.safetensors"] = ("loras", LORA)
    place = RunPlace("structure", order.name, outcome)

    def settings(given: Given) -> dict[str, Any]:
        stored = None if order.augment else str(place.folder / f"latents-{given.latents}")
        return {"train": what, "rank": rank, "latents": stored, "checkpointing": order.checkpointing}

    trained = _train(order, place, control_net, {}, settings)
    model = order.model
    if what == LORA:
        model, _ = comfy.sd.load_lora_for_models(model, None, load_file(trained.files[LORA]), 1.0, 0)
    return model, load_control(trained.files["controlnext"]), trained


def _train(order: Order, place: RunPlace, control_net: Any, data: Mapping[str, Any], settings: Any) -> Trained:
    """Run a training and copy its result to the model folders.

    :param data: settings of the data set beside the usual ones.
    :param settings: of the task, by what the training begins from.
    """
    cancelled = False
    try:
        # ComfyUI runs nodes in inference mode, whose tensors cannot be learned from.
        with torch.inference_mode(False), _on_comfys_device():
            cancelled = _run(order, place, control_net, data, settings)
            place.publish()
    finally:
        gc.collect()
        management.soft_empty_cache()
    if cancelled:
        management.interrupt_current_processing(False)
        raise management.InterruptProcessingException()
    rows = rows_of(place.folder)
    return Trained(place.files, [loss for _, loss in rows], picture_of(place.folder, rows))


def _run(order: Order, place: RunPlace, control_net: Any, data: Mapping[str, Any], settings: Any) -> bool:
    """:return: whether it was cancelled."""
    from ...training.config import Config, Data
    from ...training.datasets import open_pairs
    from ...training.loop import Run, TrainingError
    from ...training.settings import build

    plain: dict[str, Any] = {"kind": "folder", "size": list(order.size), "caption": order.prompt}
    plain |= {**order.pairs.settings(place.folder), **data}
    pairs = open_pairs(build(Data, plain, place.task))
    texts = sorted({"", order.prompt, *pairs.found.captions.values()})
    given = gather(order.model, order.clip, order.vae, control_net, texts, order.seed)
    every, shown = order.samples_every, min(_SAMPLES, len(pairs)) if order.samples_every else 0
    config = build(
        Config,
        {
            "task": place.task,
            "output": str(place.folder),
            "model": given.identity,
            "steps": order.steps,
            "seed": order.seed,
            "batch": order.batch,
            "accumulate": order.batch if order.one_at_a_time else 1,
            "precision": _precision(),
            "workers": 0,
            "data": plain,
            "optimiser": {"rate": order.rate, "warmup": _WARMUP},
            "checkpoints": {"every": _CHECKPOINT_EVERY, "export": "trained"},
            # Nothing is held out in so small a run: what is drawn has been learned from, and is hardly measured.
            "validation": {
                "data": {**plain, "flip": 0.0, "colour": 0.0} if shown else None,
                "every": order.steps,
                "items": shown or 1,
                "timesteps": [500],
                "pictures": shown,
                "pictures_every": every or order.steps,
                "steps": _SAMPLING_STEPS,
            },
            "log": {"every": max(1, min(10, order.steps // 50))},
            place.task: settings(given),
        },
        place.task,
    )
    run = Run(config, given.networks)
    given.cancel.holding = True
    try:
        run.train(Watch(place.folder, order.steps, given.cancel))
        if given.cancel.asked:
            run.export()
    except TrainingError as error:
        raise ValueError(str(error)) from error
    return given.cancel.asked


def _keep_start(matcher: Any, folder: Path) -> str:
    """Write the matcher to begin with beside the run, under a name that follows from its weights."""
    from ...training.given import digest

    network = matcher.model
    path = folder / f"start-{digest(network)}.safetensors"
    if not path.exists():
        state = {key: value.to("cpu", torch.float32, copy=True) for key, value in network.state_dict().items()}
        save(path, state, Kind.MATCHER, variant=network.variant)
    return str(path)


def _precision() -> str:
    device = management.get_torch_device()
    if device.type != "cuda":
        return "no"
    return "bf16" if management.should_use_bf16(device) else "fp16"


@contextmanager
def _on_comfys_device() -> Iterator[None]:
    """accelerate looks for a device by itself; this names ComfyUI's."""
    name = "ACCELERATE_TORCH_DEVICE"
    former = os.environ.get(name)
    os.environ[name] = str(management.get_torch_device())
    try:
        yield
    finally:
        os.environ.pop(name)
        if former is not None:
            os.environ[name] = former
