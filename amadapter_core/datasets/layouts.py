"""How the files of data sets lie when they are unpacked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..text_files import read_text
from .finding import maps_in, pictures_in, stem
from .reading import Ids, Reader

Found = list[tuple[str, Path, tuple[Path, ...]]]
"""Name, picture and files of the label map; no files where there is none."""


@dataclass(frozen=True)
class Layout:
    """Folders and names of one way in which a data set is unpacked.

    :param pictures: folder of the pictures, {split} stands for the split.
    :param labels: folder of the label maps.
    :param palette: name of the table that the label maps follow; None where the user says which.
    :param picture_ending: what the name of a picture has and that of its label map has not.
    :param label_ending: what the name of a label map has and that of its picture has not.
    :param splits: those with label maps; none where pictures are not divided.
    :param split_names: other names of the splits.
    :param lists: a split is a list of names, SPLIT.txt, instead of a folder.
    :param fit: see `PairedFiles`.
    """

    pictures: str
    labels: str
    palette: str | None
    reader: Reader = field(default_factory=Ids)
    picture_ending: str = ""
    label_ending: str = ""
    splits: tuple[str, ...] = ()
    split_names: Mapping[str, str] = field(default_factory=dict)
    lists: bool = False
    fit: bool = False

    def folders(self, root: Path, split: str | None) -> tuple[Path, Path]:
        """Folders of the pictures and of the label maps of a split."""
        split = self.split_names.get(split, split)
        return root / self.pictures.format(split=split), root / self.labels.format(split=split)

    def is_there(self, root: Path, split: str | None) -> bool:
        """Whether a data set lies like this: its folders, with label maps of the ending."""
        for name in [split] if split is not None or not self.splits else self.splits:
            pictures, labels = self.folders(root, name)
            if pictures.is_dir() and labels.is_dir():
                return not self.label_ending or next(labels.rglob(f"*{self.label_ending}.*"), None) is not None
        return False

    def find(self, root: Path, split: str | None) -> Found:
        """Pair the pictures of a split, or all of them, with their label maps.

        :raises FileNotFoundError: a folder or list that is not there.
        :raises ValueError: no picture.
        """
        if split is not None or not self.splits or self.lists:
            return self._in_split(root, split)
        there = [name for name in self.splits if all(folder.is_dir() for folder in self.folders(root, name))]
        # With none there, the first says what is missing.
        every = [(name, self._in_split(root, name)) for name in there or self.splits[:1]]
        return [(f"{split}/{name}", *files) for split, found in every for name, *files in found]

    def _in_split(self, root: Path, split: str | None) -> Found:
        pictures, folder = self.folders(root, split)
        found = [(stem(str(path.relative_to(pictures))), path) for path in pictures_in(pictures)]
        listed = self._listed(root, split)
        if listed is not None:
            found = [(name, path) for name, path in found if name in listed]
        labels = maps_in(folder)
        pairs = []
        for name, path in found:
            if name.endswith(self.picture_ending):
                name = name.removesuffix(self.picture_ending)
                label = labels.get(name + self.label_ending)
                pairs.append((name, path, () if label is None else (label,)))
        return pairs

    def _listed(self, root: Path, split: str | None) -> set[str] | None:
        """Names in the list of a split, whose lines are "RGB/12.jpg Label/12.png" or "12"; None is no list."""
        if not self.lists or split is None:
            return None
        path = root / f"{self.split_names.get(split, split)}.txt"
        if not path.is_file():
            raise FileNotFoundError(f"data set: no file {path.absolute()}; it should list the pictures of the split")
        lines = read_text(path, f"data set: {path}").splitlines()
        return {stem(line.split()[0]).rpartition("/")[2] for line in lines if line.strip()}
