"""The settings of a training run, read from a YAML file with `key=value` overrides."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from ..text_files import read_yaml
from .clvae_settings import ClVAE
from .ipose_settings import IPose, IPoseParts
from .scadm_settings import ScaDM
from .settings import build, override

BUILT_IN = Path(__file__).parent / "configs"

Kinds = Literal["scenes", "folder", "bdd100k", "cityscapes", "ade20k", "cocostuff", "nyu", "celebamaskhq"]


@dataclass(frozen=True)
class Data:
    """Which pairs of picture and label map; see `pairs`.

    :param kind: scenes are drawn on the fly, the others are read from `root`.
    :param size: (H, W) of a training picture in pixels.
    :param short_side: to which the short side is resized before the random crop; None takes that of `size`.
    :param palette: class table of the label maps, built-in or a JSON file.
    :param split: of data sets that are divided; a plain folder is not.
    :param labels: in a plain folder, whether label maps hold class ids or colours.
    :param caption: prompt of pictures that have none of their own.
    :param appearances: how many appearances of scenes.
    :param layouts: how many scenes of each appearance.
    :param first: seed of the first appearance and of the first layout; those below never occur.
    :param limit: how many pairs at most, the first ones; None takes all.
    :param cache: folder where drawn scenes are kept, shared by all machines of a run; None draws them anew each time.
    :param flip: share of pictures mirrored.
    :param colour: strength of the random change of colours; 0 is none, 1 strong.
    """

    kind: Kinds = "scenes"
    root: str | None = None
    size: tuple[int, int] = (128, 128)
    short_side: int | None = None
    palette: str = "cityscapes19"
    split: str = "train"
    labels: Literal["ids", "colours"] = "ids"
    caption: str = ""
    appearances: int = 1000
    layouts: int = 4
    first: int = 0
    limit: int | None = None
    cache: str | None = None
    flip: float = 0.5
    colour: float = 0.0


@dataclass(frozen=True)
class Optimiser:
    """AdamW and its learning rate over the run.

    :param schedule: after the warm-up: "constant", or "cosine" down to `floor` times the rate.
    :param warmup: steps of linear rise.
    :param hold: share of the run at the full rate before the cosine begins.
    :param clip: largest norm of all gradients together; 0 does not clip.
    :param ema: decay of the moving average of the weights; 0 keeps none.
    """

    rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-2
    epsilon: float = 1e-8
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: int = 0
    hold: float = 0.0
    floor: float = 0.0
    clip: float = 1.0
    ema: float = 0.0


@dataclass(frozen=True)
class Checkpoints:
    """:param every: steps between two checkpoints.
    :param keep: how many of the last ones stay.
    :param export: which networks the model folder of a run gets: "trained" ones, or "all" it needs to be used.
    :param export_every: steps between two exports; 0 exports at the end alone.
    :param half: whether exported weights are fp16.
    """

    every: int = 500
    keep: int = 2
    export: Literal["trained", "all"] = "all"
    export_every: int = 0
    half: bool = False


@dataclass(frozen=True)
class Validation:
    """Held-out pictures, always the same with the same noise.

    :param data: the held-out pairs; None validates nothing.
    :param every: steps between two validations.
    :param items: how many pairs.
    :param pictures: how many samples the contact sheet has; 0 draws none.
    :param pictures_every: steps between two contact sheets.
    :param timesteps: noise levels of the held-out denoising loss.
    :param steps: sampling steps of the contact sheet.
    :param guidance: scale of classifier-free guidance of the contact sheet.
    """

    data: Data | None = None
    every: int = 500
    items: int = 64
    pictures: int = 8
    pictures_every: int = 1000
    timesteps: tuple[int, ...] = (100, 300, 500, 700, 850, 950)
    steps: int = 20
    guidance: float = 3.0


@dataclass(frozen=True)
class Log:
    """:param every: steps between two rows of the log.
    :param tensorboard: whether to write TensorBoard's files beside the CSV ones.
    """

    every: int = 10
    tensorboard: bool = False


@dataclass(frozen=True)
class Autoencoder:
    """Weights of the autoencoder's losses on pictures in -1..1.

    :param gradient: L1 between the differences of neighbouring pixels.
    :param kl: of the latent distribution against a normal one, per latent value.
    :param crop: (H, W) of the crops it is trained on; None takes the pictures whole.
    :param train: "decoder" leaves the latents as they are, for an autoencoder that a UNet was trained on.
    """

    train: Literal["all", "decoder"] = "all"
    mse: float = 2.0
    l1: float = 0.5
    gradient: float = 0.5
    kl: float = 2e-4
    crop: tuple[int, int] | None = None


@dataclass(frozen=True)
class Structure:
    """Stage 1: the UNet and ControlNeXt.

    :param train: what of the UNet learns: "all", "lora" adapters, its "attention", or nothing beside ControlNeXt.
    :param text_encoder: whether the text encoder learns too.
    :param prompt_dropout: share of empty prompts, so that guidance works.
    :param rank: of the LoRA.
    :param control: a ControlNeXt file to begin with; None takes the model folder's, or makes one for the UNet.
    :param checkpointing: gradient checkpointing: less memory, about a third more time.
    :param latents: folder where the encoded pairs are kept, shared by all machines of a run; None encodes each
        time. Pictures are encoded once, so crops are central and colours do not change.
    """

    train: Literal["all", "lora", "attention", "controlnext"] = "all"
    text_encoder: bool = False
    prompt_dropout: float = 0.1
    rank: int = 16
    control: str | None = None
    checkpointing: bool = False
    latents: str | None = None


@dataclass(frozen=True)
class Matcher:
    """Stage 2: the matcher alone.

    :param variant: the right method, or the authors' code number for number.
    :param exemplar: "scene" is another picture of the same appearance, "view" another crop of the same picture.
    :param noise: where the exemplar's noisy latent comes from: forward noise, or DDIM inversion.
    :param inversion_steps: of the inversion up to the highest timestep.
    :param start: a matcher file to begin with; None begins without any preference, see `start.neutral`.
    :param by_block: whether each kind of block has its own encoder; the authors' code uses one for all.
    :param matching: weight of the loss on the true correspondence, scenes only; 0 is the published objective.
    :param control: ControlNeXt file; None takes the model folder's.
    :param latents: as in stage 1.
    :param timesteps: range the timesteps are drawn from.
    :param checkpointing: gradient checkpointing of the UNet: less memory, about a third more time.
    """

    variant: Literal["spatial", "published"] = "spatial"
    exemplar: Literal["scene", "view"] = "scene"
    noise: Literal["forward", "inversion"] = "forward"
    inversion_steps: int = 20
    start: str | None = None
    by_block: bool = False
    matching: float = 0.0
    control: str | None = None
    latents: str | None = None
    timesteps: tuple[int, int] = (0, 1000)
    checkpointing: bool = False


@dataclass(frozen=True)
class Segmenter:
    """:param width: of the finest level.
    :param start: a segmenter file to begin with.
    """

    width: int = 16
    start: str | None = None


@dataclass(frozen=True)
class Config:
    """One training run.

    :param task: which networks learn, and from what.
    :param output: folder of the run: checkpoints, logs, pictures, and the model folder at the end.
    :param model: diffusers model folder to begin from.
    :param batch: pictures per step, over all processes and accumulated parts together.
    :param accumulate: in how many parts each process takes its share of a batch.
    :param precision: of the computation; the weights stay fp32.
    :param workers: data loading processes per training process.
    :param resume: whether to go on from the last checkpoint in `output`.
    :param discriminator: the optimiser of the adversary, where a task has one; see `adversarial`.
    """

    task: Literal["autoencoder", "structure", "matcher", "segmenter", "clvae", "ipose_parts", "ipose", "scadm"]
    output: str
    steps: int
    model: str | None = None
    seed: int = 0
    batch: int = 16
    accumulate: int = 1
    precision: Literal["no", "fp16", "bf16"] = "no"
    workers: int = 1
    resume: bool = True
    data: Data = field(default_factory=Data)
    optimiser: Optimiser = field(default_factory=Optimiser)
    discriminator: Optimiser = field(default_factory=Optimiser)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    validation: Validation = field(default_factory=Validation)
    log: Log = field(default_factory=Log)
    autoencoder: Autoencoder = field(default_factory=Autoencoder)
    structure: Structure = field(default_factory=Structure)
    matcher: Matcher = field(default_factory=Matcher)
    segmenter: Segmenter = field(default_factory=Segmenter)
    clvae: ClVAE = field(default_factory=ClVAE)
    ipose_parts: IPoseParts = field(default_factory=IPoseParts)
    ipose: IPose = field(default_factory=IPose)
    scadm: ScaDM = field(default_factory=ScaDM)

    def __post_init__(self) -> None:
        _at_least("steps", self.steps, 1)
        _at_least("batch", self.batch, 1)
        _at_least("accumulate", self.accumulate, 1)
        _at_least("workers", self.workers, 0)
        _at_least("log.every", self.log.every, 1)
        _at_least("checkpoints.every", self.checkpoints.every, 1)
        _at_least("checkpoints.keep", self.checkpoints.keep, 1)
        _at_least("validation.every", self.validation.every, 1)
        _at_least("validation.pictures_every", self.validation.pictures_every, 1)
        if not 0 <= self.optimiser.ema < 1:
            raise ValueError(f"training config: optimiser.ema is {self.optimiser.ema}, expected 0 to below 1")

    def to_json(self) -> str:
        """As text, for metadata."""
        return json.dumps(asdict(self))


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration.

    :param path: a YAML file, or the name of one in `configs/`, with or without its ending.
    :param overrides: `key=value`, the key with dots for what lies deeper, the value in YAML.
    :raises FileNotFoundError: with the places searched and the built-in names.
    :raises ValueError: for a setting that is unknown, missing, or of another type.
    """
    path = _find(Path(path))
    settings = read_yaml(path, f"training config: {path}") or {}
    if not isinstance(settings, dict):
        raise ValueError(f"training config: {path} holds {settings!r}, expected settings as `key: value`")
    for text in overrides:
        override(settings, text)
    return build(Config, settings, str(path))


def _find(path: Path) -> Path:
    built_in = sorted(file.stem for file in BUILT_IN.glob("*.yaml"))
    for candidate in (path, BUILT_IN / path, BUILT_IN / f"{path}.yaml"):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(
        f"training config: no file {path.absolute()}, and none of the built-in ones "
        f"({', '.join(built_in)}) has that name"
    )


def _at_least(name: str, value: float, least: float) -> None:
    if value < least:
        raise ValueError(f"training config: {name} is {value}, expected {least} or more")
