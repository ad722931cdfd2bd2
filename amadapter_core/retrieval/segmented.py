"""Pictures without label maps: a segmentation model draws them once, and the folder becomes a data set."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from ..datasets import pictures_in
from ..label_maps import LabelMap
from ..picture_files import read_rgb
from ..whole_files import write_whole

PICTURES, LABELS = "images", "labels"

Segment = Callable[[np.ndarray], LabelMap]
"""Takes a picture [H, W, 3] uint8, gives its label map of batch 1 and the same size."""


def segment_folder(
    root: str | Path,
    segment: Segment,
    progress: Callable[[int, int], None] = lambda done, count: None,
) -> dict[str, str]:
    """
    Draw the label maps that pictures in `images/` lack, into `labels/`, as PNG files of ids.

    What is there stays, so the work can be broken off and gone on with.

    :param root: folder of the data set; afterwards `open_data_set("folder", root, palette=...)` reads it.
    :param progress: called after each picture; may raise to break off.
    :return: pictures that could not be read, and why.
    :raises FileNotFoundError: when there is no folder `images`.
    :raises ValueError: when it holds no picture, or the model's label map is of another form.
    """
    pictures, labels = Path(root) / PICTURES, Path(root) / LABELS
    broken: dict[str, str] = {}
    waiting = []
    for picture in pictures_in(pictures):
        place = labels / picture.relative_to(pictures).with_suffix(".png")
        if not place.is_file():
            waiting.append((picture, place))
    for done, (picture, place) in enumerate(waiting, 1):
        try:
            image = read_rgb(picture)
        except (OSError, ValueError) as error:
            broken[picture.relative_to(root).as_posix()] = str(error)
        else:
            _write(segment(image), image.shape[:2], place)
        progress(done, len(waiting))
    return broken


def _write(labels: LabelMap, size: tuple[int, int], place: Path) -> None:
    """Write ids whole or not at all."""
    if labels.batch != 1 or labels.size != tuple(size):
        raise ValueError(
            f"segment_folder: the model's label map is {[labels.batch, *labels.size]}, expected {[1, *size]}"
        )
    low, high = (int(value) for value in labels.ids.aminmax())
    if low < 0 or high > 65535:
        raise ValueError(f"segment_folder: ids {low}..{high} do not fit a PNG file; use a palette of ids 0..65535")
    ids = labels.ids[0].cpu().numpy().astype(np.uint16 if high > 255 else np.uint8)
    content = io.BytesIO()
    Image.fromarray(ids).save(content, "PNG")
    write_whole(place, content.getvalue())
