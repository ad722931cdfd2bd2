"""Pairs in files, as training takes them; `datasets` finds and reads them.

What is wrong with a data set is said when it is opened, or when the file at fault is read, with its name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..datasets import PairedFiles, open_data_set
from ..palettes import Palette
from .config import Data
from .pairs import Example, Pairs


class Files(Pairs):
    """Pictures and label maps in files."""

    def __init__(self, data: Data, found: PairedFiles):
        self.data, self.found, self.palette = data, found, found.palette
        self.pairs = found.pairs[: data.limit]
        self._groups: dict[str, list[int]] = defaultdict(list)
        for index, pair in enumerate(self.pairs):
            if pair.group is not None:
                self._groups[pair.group].append(index)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Example:
        image, labels = self.found.read(index)
        ids = labels.ids[0].numpy()
        ids = ids.astype(np.uint8 if 0 <= ids.min() and ids.max() < 256 else np.int32)
        caption = self.found.caption(index)
        return Example(image, ids, str(self.pairs[index].picture), self.data.caption if caption is None else caption)

    def partners(self, index: int) -> Sequence[int]:
        group = self.pairs[index].group
        return [] if group is None else [i for i in self._groups[group] if i != index]

    def describe(self) -> dict[str, Any]:
        stamps = [[str(p), p.stat().st_mtime_ns, p.stat().st_size] for pair in self.pairs for p in pair.files]
        return {"kind": self.data.kind, "palette": self.palette.to_dict(), "labels": self.data.labels, "files": stamps}


def open_files(data: Data) -> Files:
    """The data set of files that the settings name; see `datasets.open_data_set`."""
    found = open_data_set(
        data.kind,
        data.root,
        split=data.split,
        palette=Palette.load(data.palette),
        colours=data.labels == "colours",
    )
    return Files(data, found)
