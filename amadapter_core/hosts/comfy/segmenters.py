"""Segmenters that say which class every pixel of a result shows: the demonstration's, the user's own, transformers'."""

from __future__ import annotations

from ...demo import files
from ...label_maps import LabelMap
from ...metrics.layout import SegmentsImages
from ...metrics.segmenter import Segmenter
from . import folders, segmentation

NONE, DEMONSTRATION = "none", "demonstration (drawn streets)"
NETWORK = f"{segmentation.FOLDER}/"
"""What stands before the names of networks in `models/segmentation`."""


def segmenters() -> list[str]:
    """Names that `load_segmenter` takes."""
    shipped = [DEMONSTRATION] if (files.SHIPPED / files.SEGMENTER).is_file() else []
    return [NONE, *shipped, *folders.segmenters(), *(NETWORK + name for name in segmentation.networks())]


def load_segmenter(name: str, labels: LabelMap) -> SegmentsImages | None:
    """A segmenter that knows the classes of a label map by its ids; None for "none".

    :raises FileNotFoundError: when there is none of that name.
    :raises CheckpointError: when the file is none.
    :raises ValueError: when it names other classes than the label map has.
    """
    if name == NONE:
        return None
    segmenter, palette = _open(name, labels), labels.palette
    names = dict(zip(palette.ids, palette.names, strict=True))
    foreign = [names[i] for i in labels.ids.unique().tolist() if i in names and segmenter.classes.get(i) != names[i]]
    if foreign:
        raise ValueError(
            f"the segmenter {name!r} does not know {', '.join(foreign)} of the palette {palette.name!r}; it knows "
            f"{', '.join(segmenter.classes.values())}. Read the label maps in its palette, or choose another segmenter"
        )
    return segmenter


def segmenter_state(name: str | None) -> str:
    """What tells a changed file from the one that was loaded."""
    if name in (None, NONE, DEMONSTRATION):
        return ""
    if name.startswith(NETWORK):
        return segmentation.state(name.removeprefix(NETWORK))
    return folders.fingerprint(folders.FOLDER, name)


def _open(name: str, labels: LabelMap) -> SegmentsImages:
    if name.startswith(NETWORK):
        return segmentation.load(name.removeprefix(NETWORK), labels.palette)
    return Segmenter.load(
        files.SHIPPED / files.SEGMENTER if name == DEMONSTRATION else folders.find(folders.FOLDER, name)
    )
