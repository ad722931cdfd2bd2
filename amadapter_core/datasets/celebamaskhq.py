"""CelebAMask-HQ as unpacked: faces in CelebA-HQ-img, one mask per part of a face in CelebAMask-HQ-mask-anno."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from ..text_files import read_text
from .finding import files_in, pictures_in
from .layouts import Found, Layout

MAPPING = "CelebA-HQ-to-CelebA-mapping.txt"
FIRST_OF_VALIDATION, FIRST_OF_TEST = 162771, 182638
"""Numbers in CelebA, whose split CelebAMask-HQ keeps (its g_partition.py)."""


@dataclass(frozen=True)
class Faces(Layout):
    """Pictures are 12.jpg, masks NN/00012_hair.png, or 12.png where they were put together; the split is by number."""

    def find(self, root: Path, split: str | None) -> Found:
        """Pair the pictures with the masks of their parts; without a split, all of them."""
        pictures, masks = self.folders(root, split)
        wanted = None if split is None else _split_of(root, split)
        faces = {path.stem: path for path in pictures_in(pictures)}
        if not masks.is_dir():
            raise FileNotFoundError(f"data set: no folder {masks.absolute()}; it should hold the masks of the parts")
        parts = defaultdict(list)
        for place in files_in(masks, (".png",)):
            number = os.path.basename(place).partition("_")[0].removesuffix(".png")
            if number.isdecimal():
                parts[int(number)].append(masks / place)
        numbered = sorted((int(name), name) for name in faces if name.isdecimal())
        return [
            (name, faces[name], tuple(parts.get(number, ())))
            for number, name in numbered
            if wanted is None or number in wanted
        ]


def _split_of(root: Path, split: str) -> set[int]:
    """Numbers of the pictures of a split, from the list that comes with the data set: "idx orig_idx orig_file"."""
    path = root / MAPPING
    if split not in ("train", "val", "test"):
        raise ValueError(f"data set: split is {split!r}, CelebAMask-HQ has train, val and test")
    if not path.is_file():
        raise FileNotFoundError(
            f"data set: no file {path.absolute()}; it comes with CelebAMask-HQ and says which faces are of {split!r}"
        )
    rows = [line.split()[:2] for line in read_text(path, f"data set: {path}").splitlines()]
    found = {"train": set(), "val": set(), "test": set()}
    for row in rows:
        if len(row) == 2 and row[0].isdecimal() and row[1].isdecimal():
            number, original = map(int, row)
            name = "train" if original < FIRST_OF_VALIDATION else "val" if original < FIRST_OF_TEST else "test"
            found[name].add(number)
    return found[split]
