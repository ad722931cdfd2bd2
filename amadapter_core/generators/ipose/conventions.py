"""What iPOSE's published models know of their data sets: classes, sizes, part categories.

A part category is a kind of object with parts of its own: 1..20 in the order of PASCAL-Part, 24..33 with Cityscapes'
ids, and a few more. A label map names classes; `Convention.by_class` says which of them are of which category.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from ...text_files import parse_json

CATEGORY_NAMES = {
    1: "airplane", 2: "bicycle", 3: "bird", 4: "boat", 5: "bottle", 6: "bus", 7: "car", 8: "cat", 9: "chair",
    10: "cow", 11: "table", 12: "dog", 13: "horse", 14: "motorbike", 15: "person", 16: "plant", 17: "sheep",
    18: "sofa", 19: "train", 20: "tv", 24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train",
    32: "motorcycle", 33: "bicycle", 36: "washer", 37: "stop sign", 38: "microwave", 39: "van",
    40: "zebra",
}  # fmt: skip

SUPPORTED_BY = {6: 28, 7: 26, 15: 24, 25: 24, 31: 19, 32: 14, 33: 2, 35: 26, 39: 7, 40: 13}
"""Categories that look at another one's supports, by the folder these lie in."""


@dataclass(frozen=True)
class Convention:
    """A data set as a model was trained on it.

    :param classes: N, channels of the label map.
    :param size: (H, W) of the model's pictures.
    :param by_class: part category by label id; other classes have no parts.
    :param by_instance_class: part category by the numbers of instances that are counted apart from the label ids.
    :param whole_ids: whether an instance map holds category * 1000 + count, as Cityscapes has it, and not a count
        alone.
    :param restore_aspect: whether shapes are shown to the part network at the aspect of the original picture.
    """

    name: str
    classes: int
    size: tuple[int, int]
    by_class: Mapping[int, int]
    by_instance_class: Mapping[int, int] = field(default_factory=dict)
    whole_ids: bool = False
    restore_aspect: bool = True

    @property
    def categories(self) -> tuple[int, ...]:
        """The part categories that occur, ascending."""
        return tuple(sorted({*self.by_class.values(), *self.by_instance_class.values()}))

    def to_json(self) -> str:
        """As text, for metadata."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Convention:
        """Read what `to_json` wrote.

        :raises ValueError: when it is something else.
        """
        try:
            values = parse_json(text, "iPOSE")
            by_class, by_instance_class = values.pop("by_class"), values.pop("by_instance_class", {})
            tables = ({int(k): int(v) for k, v in table.items()} for table in (by_class, by_instance_class))
            height, width = values.pop("size")
            named = dict(zip(("by_class", "by_instance_class"), tables, strict=True))
            return cls(**values, **named, size=(int(height), int(width)))
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"iPOSE: {text[:80]!r} is no convention of a data set ({error})") from error


ADE20K = Convention(
    name="ade20k",
    classes=151,
    size=(256, 256),
    by_class={
        13: 24, 16: 11, 20: 9, 21: 26, 24: 18, 77: 4, 81: 28, 84: 27, 90: 20, 91: 1, 99: 5, 103: 39, 108: 36,
        117: 14, 125: 38, 128: 2,
    },
    by_instance_class={
        4: 24, 6: 11, 8: 9, 9: 26, 11: 18, 48: 4, 50: 28, 53: 27, 58: 20, 59: 1, 64: 5, 65: 39, 68: 36, 74: 14,
        80: 38, 83: 2,
    },
)  # fmt: skip

CITYSCAPES = Convention(
    name="cityscapes",
    classes=35,
    size=(256, 512),
    by_class={label: label for label in (24, 25, 26, 27, 28, 31, 32, 33)},
    whole_ids=True,
    restore_aspect=False,
)

COCO = Convention(
    name="coco",
    classes=183,
    size=(256, 256),
    by_class={
        1: 24, 2: 2, 3: 26, 4: 14, 5: 1, 6: 28, 7: 19, 8: 27, 9: 4, 13: 37, 16: 3, 17: 8, 18: 12, 19: 13, 20: 17,
        21: 10, 24: 40, 44: 5, 62: 9, 72: 20, 78: 38,
    },
)  # fmt: skip

CONVENTIONS = {convention.name: convention for convention in (ADE20K, CITYSCAPES, COCO)}


def convention_for(classes: int, given: str | Convention | None = None) -> Convention:
    """The convention of a model with so many classes, or the one given.

    :raises ValueError: when none of the published ones has that number, the name is unknown, or the two disagree.
    """
    known = ", ".join(f"{c.name} ({c.classes})" for c in CONVENTIONS.values())
    if given is None:
        found = next((c for c in CONVENTIONS.values() if c.classes == classes), None)
        if found is None:
            raise ValueError(
                f"iPOSE: the model has {classes} classes, which is none of the published ones: {known}. Give its "
                "convention: size of its pictures and part category of each class"
            )
        return found
    if isinstance(given, str) and given not in CONVENTIONS:
        raise ValueError(f"iPOSE: unknown data set {given!r}; there are {known}")
    found = CONVENTIONS[given] if isinstance(given, str) else given
    if found.classes != classes:
        raise ValueError(
            f"iPOSE: the model has {classes} classes and {found.name} has {found.classes}; use the data set that the "
            f"model was trained on: {known}"
        )
    return found


def category_name(category: int) -> str:
    """For messages: the number and, where it is known, the name."""
    name = CATEGORY_NAMES.get(category)
    return str(category) if name is None else f"{category} ({name})"
