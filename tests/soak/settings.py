"""Random legal values for widgets, from what a server's /object_info says about them.

Any widget has values by its specification alone; the tables here keep runs small, and give texts a meaning.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from .frames import CLASSES, FRAMES, MARK, Frame

Draw = Callable[[random.Random, Frame], Any]

SMALL = {
    "steps": 3,
    "batch_size": 2,
    "amount": 2,
    "samples": 2,
    "count": 2,
    "first": 1,
    "variants": 2,
    "repeats": 2,
    "rows_at_once": 2,
    "samples_every": 2,
    "rank": 4,
}
"""The most that these widgets get, to make a run short."""


def width(rng: random.Random, frame: Frame) -> int:
    return frame.size[1]


def height(rng: random.Random, frame: Frame) -> int:
    return frame.size[0]


def side(rng: random.Random, frame: Frame) -> int:
    return rng.choice((64, 96))


def some_classes(rng: random.Random, frame: Frame) -> str:
    return ", ".join(rng.sample(CLASSES, rng.randint(0, 2)))


def one_class(rng: random.Random, frame: Frame) -> str:
    return rng.choice(CLASSES)


def lines(*choices: str) -> Draw:
    """A text of some of these lines."""
    return lambda rng, frame: "\n".join(rng.sample(choices, rng.randint(0, min(3, len(choices)))))


def one_of(*choices: Any) -> Draw:
    return lambda rng, frame: rng.choice(choices)


def file(kind: str) -> Draw:
    return lambda rng, frame: frame.file(kind, rng.randrange(2))


def seeds(*names: str) -> Draw:
    return lambda rng, frame: "\n".join(f"{name} = {rng.randrange(9)}" for name in rng.sample(names, rng.randint(0, 2)))


def palette(rng: random.Random, frame: Frame) -> str:
    return frame.palette


WIDGETS: dict[str, Draw] = {
    "width": width,
    "height": height,
    "palette": palette,
    "classes": some_classes,
    "random_classes": some_classes,
    "must_have": one_of("", "", "sky"),
    "fill_class": one_class,
    "background": one_class,
    "class_name": one_of("", *CLASSES),
    "void": one_of("", "255"),
    "class_seeds": seeds(*CLASSES),
    "layer_seeds": seeds("0", "3", "4"),
    "layers": one_of("", "0", "1, 4"),
    "text": one_of("", "a street", "a street at night, (rain:1.3)"),
    "prompt": one_of("", "a street"),
    "changes": lines("car -> road", "sky -> none", "* -> building"),
    "folder": lambda rng, frame: frame.folder,
    "kind": one_of("folder"),
    "name": lambda rng, frame: f"{MARK}{frame.number}",
    "filename_prefix": one_of(MARK, f"{MARK}/in a folder"),
    "generator_name": lambda rng, frame: f"{rng.choice(('clvae', 'ipose', 'scadm'))}_{frame.data_set}",
    "max_depth": one_of(0),
}
"""By the widget's name."""

OF_NODES: dict[tuple[str, str], Draw] = {
    ("LoadImage", "image"): file("picture"),
    ("AMAdapterLoadLabelMap", "image"): file("labels"),
    ("AMAdapterLoadLabelMap", "reading"): one_of("auto", "colours"),
    ("AMAdapterLoadInstances", "image"): file("ids"),
    ("AMAdapterLoadInstances", "reading"): one_of("counts", "cityscapes"),
    ("AMAdapterLabelMapFromIds", "offset"): one_of(0),
    ("AMAdapterApply", "variant"): one_of("auto", "auto", "auto", "spatial", "spatial", "published"),
    ("AMAdapterCutRegion", "classes"): one_class,
    ("AMAdapterClassNoise", "classes"): one_class,
    ("AMAdapterClassNoiseModel", "classes"): one_class,
    ("AMAdapterLoadGenerator", "weights"): one_of("auto"),
    ("AMAdapterEditSupports", "category"): one_of("24 person", "26 car"),
    ("AMAdapterRemapClasses", "left_out"): one_of("ignore", "ignore", "ignore", "error"),
    ("AMAdapterRetrieveExemplars", "near_duplicate"): one_of(1.01, 1.01, 1.01, 0.97),
    ("AMAdapterRetrieveExemplars", "count"): one_of(1),
    ("AMAdapterLabelMapFromMasks", "classes"): one_class,
    ("AMAdapterClassRouting", "rules"): lines(
        "car = 0.5", "building -> sky, road", "sky -> none", "* = 0.8", "car @up = 2", "road @down, mid = 0"
    ),
    ("AMAdapterMixExemplars", "rules"): lines("car = A", "sky = B", "road = 0.3", "building = none"),
    ("AMAdapterMixStyles", "rules"): lines("car = B", "sky = 0.5", "road @0, 1 = B", "building = random", "* = 0.3"),
    ("AMAdapterRemapClasses", "palette"): one_of(*sorted({frame.palette for frame in FRAMES})),
    ("AMAdapterBuildIndex", "reading"): one_of("ids"),
    ("AMAdapterLoadPairs", "reading"): one_of("ids"),
    ("AMAdapterBuildIndex", "segmenter"): one_of("none"),
    ("AMAdapterLoadIndex", "folder"): one_of(""),
    ("AMAdapterPackSupports", "folder"): one_of(f"{MARK}_no_such_folder"),
    ("AMAdapterPairExemplars", "folder"): lambda rng, frame: f"{MARK}_batch_{rng.randrange(10**6)}",
    ("AMAdapterTrainMatcher", "reading"): one_of("ids"),
    ("AMAdapterTrainStructure", "reading"): one_of("ids"),
    ("AMAdapterTrainMatcher", "width"): one_of(64),
    ("AMAdapterTrainMatcher", "height"): one_of(64),
    ("AMAdapterTrainStructure", "width"): one_of(64),
    ("AMAdapterTrainStructure", "height"): one_of(64),
    ("AMAdapterTrainMatcher", "name"): lambda rng, frame: f"{MARK}_run_{rng.randrange(10**6)}",
    ("AMAdapterTrainStructure", "name"): lambda rng, frame: f"{MARK}_run_{rng.randrange(10**6)}",
    ("AMAdapterLoadGenerator", "width"): one_of(0),
    ("AMAdapterLoadGenerator", "height"): one_of(0),
    ("AMAdapterLoadGenerator", "encoder_name"): one_of("auto"),
    ("AMAdapterTriplet", "height"): side,
    ("AMAdapterMergeRegion", "x"): lambda rng, frame: rng.randint(-32, 32),
    ("AMAdapterMergeRegion", "y"): lambda rng, frame: rng.randint(-32, 32),
    ("AMAdapterMergeRegion", "scale"): one_of(0.3, 1.0, 2.0),
    ("TinySD15Checkpoint", "seed"): one_of(0),
}
"""By the node and the widget's name; these come first."""


def choices(spec: list) -> list | None:
    """What a widget offers; of files, those that are ours.

    :param spec: a widget's entry in /object_info.
    :return: None for a widget that is no choice.
    """
    given = spec[0] if isinstance(spec[0], list) else options(spec).get("options")
    if given is None:
        return None
    return [entry for entry in given if "." not in str(entry) or str(entry).startswith(MARK)]


def options(spec: list) -> dict:
    return spec[1] if len(spec) > 1 else {}


def drawn(rng: random.Random, frame: Frame, node: str, name: str, spec: list) -> Any:
    """A legal value for a widget."""
    offered = choices(spec)
    draw = OF_NODES.get((node, name)) or WIDGETS.get(name)
    value = draw(rng, frame) if draw else None
    if draw and (offered is None or value in offered):
        return value
    if offered is not None:
        return rng.choice(offered)
    if spec[0] == "BOOLEAN":
        return rng.random() < 0.5
    if spec[0] in ("INT", "FLOAT"):
        return _number(rng, name, spec[0] == "INT", options(spec))
    return options(spec).get("default", "")


def _number(rng: random.Random, name: str, whole: bool, limits: dict) -> int | float:
    low, high = limits.get("min", 0), min(limits.get("max", 1), SMALL.get(name, float("inf")))
    chance = rng.random()
    if chance < 0.3 and low <= limits.get("default", low) <= high:
        return limits.get("default", low)
    if chance < 0.5:
        return rng.choice((low, high))
    if whole:
        return rng.randint(low, high)
    return round(rng.uniform(low, high), 3)
