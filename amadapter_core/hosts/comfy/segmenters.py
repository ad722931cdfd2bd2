"""Segmenters that say which class every pixel of a result shows: the demonstration's, and the user's own."""

from __future__ import annotations

from ...demo import files
from ...label_maps import LabelMap
from ...metrics.segmenter import Segmenter
from . import folders

NONE, DEMONSTRATION = "none", "demonstration (drawn streets)"


def segmenters() -> list[str]:
    """Names that `load_segmenter` takes."""
    shipped = [DEMONSTRATION] if (files.SHIPPED / files.SEGMENTER).is_file() else []
    return [NONE, *shipped, *folders.segmenters()]


def load_segmenter(name: str, labels: LabelMap) -> Segmenter | None:
    """A segmenter that knows the classes of a label map by its ids; None for "none".

    :raises FileNotFoundError: when there is none of that name.
    :raises CheckpointError: when the file is none.
    :raises ValueError: when it names other classes than the label map has.
    """
    if name == NONE:
        return None
    path = files.SHIPPED / files.SEGMENTER if name == DEMONSTRATION else folders.find(folders.FOLDER, name)
    segmenter, palette = Segmenter.load(path), labels.palette
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
    return "" if name in (None, NONE, DEMONSTRATION) else folders.fingerprint(folders.FOLDER, name)
