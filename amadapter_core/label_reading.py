"""How the files of a label map are read, as plain values that a plan can hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from .datasets import PairedFiles
from .datasets.reading import Colours, Ids, Parts
from .label_maps import LabelMap, Palette
from .label_pictures import read_label_picture


@dataclass(frozen=True)
class Reading:
    """A way of reading.

    :param palette: name or JSON file of the class table.
    :param holds: what the files hold; "auto" looks, "parts" is one mask per part, with the part's name in the file's.
    :param offset: for ids, see `LabelMap.from_ids`; likewise `void`.
    :param table: palette whose ids the files hold, where they are to be brought to `palette` by the names of classes.
    """

    palette: str = "cityscapes19"
    holds: Literal["auto", "colours", "ids", "parts"] = "auto"
    offset: int = 0
    void: tuple[int, ...] = ()
    table: str | None = None

    @classmethod
    def of(cls, files: PairedFiles, palette: str | None = None) -> Reading:
        """How a data set reads its files.

        :param palette: the name or file that its palette was loaded from, if it is not a built-in one.
        """
        name = palette or files.palette.name
        match files.reader:
            case Ids(offset, void, table):
                return cls(name, "ids", offset, tuple(void), table)
            case Colours():
                return cls(name, "colours")
            case Parts():
                return cls(name, "parts")
        raise ValueError(f"Reading: files of a {type(files.reader).__name__} cannot be told in a plan")

    def placed(self, root: Path) -> Reading:
        """The same with its palette, if that is a file, found from a folder."""
        if self.palette in Palette.builtin_names():
            return self
        return replace(self, palette=str((root / Path(self.palette).expanduser()).absolute()))

    def check(self) -> None:
        """:raises FileNotFoundError: or ValueError, when there is no such palette."""
        Palette.load(self.palette)
        if self.table is not None:
            Palette.load(self.table)

    def __call__(self, files: Sequence[str | Path]) -> LabelMap:
        """Read one label map, of batch 1.

        :raises ValueError: what does not fit the palette, or no picture; the message names the file.
        """
        palette, paths = Palette.load(self.palette), [Path(file) for file in files]
        try:
            if self.holds == "parts":
                return Parts()(paths, palette)
            if self.table is not None:
                return Ids(self.offset, self.void, self.table)(paths, palette)
            return read_label_picture(paths[0], palette, reading=self.holds, offset=self.offset, void=self.void)
        except ValueError as error:
            if str(paths[0]) in str(error):
                raise
            raise ValueError(f"{paths[0]}: {error}") from error
