"""Plans made of folders: pictures with label maps on one side, label maps on the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..datasets import open_data_set
from ..datasets.finding import maps_in
from ..label_maps import Palette
from ..label_reading import Reading
from ..pairing import ALL, SAME, meetings
from .plan import Plan, Row, Settings

MAPS = "maps"
"""Besides the kinds of data sets: a folder of label maps alone."""


@dataclass(frozen=True)
class Side:
    """The exemplars of a plan, or its targets.

    :param names: places below the folder, without endings.
    :param pictures: none for label maps alone.
    :param labels: the files of each label map.
    """

    names: tuple[str, ...]
    pictures: tuple[Path, ...]
    labels: tuple[tuple[Path, ...], ...]
    reading: Reading

    def first(self, count: int | None) -> Side:
        """The first of them; None is all."""
        return replace(self, names=self.names[:count], pictures=self.pictures[:count], labels=self.labels[:count])


def side(
    kind: str,
    root: str | Path,
    *,
    split: str | None = None,
    palette: str | None = None,
    colours: bool = False,
) -> Side:
    """Find the pairs of a data set, or the label maps of a folder.

    :param kind: see `open_data_set`, or MAPS.
    :param palette: name or JSON file of the class table; a plain folder and label maps alone need one.
    :param colours: label maps of a plain folder hold colours, not ids.
    :raises FileNotFoundError: missing folders.
    :raises ValueError: nothing in them, or pictures without a label map.
    """
    root = Path(root).expanduser()
    if kind == MAPS:
        if palette is None:
            raise ValueError(f"batch: {root} holds label maps alone; say which palette they follow")
        found = maps_in(root)
        if not found:
            raise ValueError(f"batch: no label map in {root.absolute()}")
        reading = Reading(palette, "colours" if colours else "auto").placed(Path())
        return Side(tuple(found), (), tuple((path,) for path in found.values()), reading)
    table = None if palette is None else Palette.load(palette)
    files = open_data_set(kind, root, split=split, palette=table, colours=colours)
    return Side(
        tuple(pair.name for pair in files.pairs),
        tuple(pair.picture for pair in files.pairs),
        tuple(tuple(pair.labels) for pair in files.pairs),
        Reading.of(files, palette).placed(Path()),
    )


def make_plan(
    exemplars: Side,
    targets: Side,
    settings: Settings,
    *,
    pairing: str = ALL,
    retrieved: Mapping[str, Sequence[str]] | None = None,
    count: int | None = None,
    seed: int = 0,
    seeds: str = SAME,
    repeats: int = 1,
) -> Plan:
    """Pair exemplars with targets, see `meetings`.

    :raises ValueError: exemplars without pictures, or names that cannot be paired.
    """
    if not exemplars.pictures:
        raise ValueError("batch: exemplars are pictures with label maps; label maps alone can be targets only")
    same = targets.reading == exemplars.reading
    settings = replace(settings, reading=exemplars.reading, target_reading=None if same else targets.reading)
    met = meetings(
        exemplars.names,
        targets.names,
        pairing=pairing,
        retrieved=retrieved,
        count=count,
        seed=seed,
        seeds=seeds,
        repeats=repeats,
    )
    rows = (
        Row(
            meeting.name,
            str(exemplars.pictures[meeting.exemplar].absolute()),
            tuple(str(path.absolute()) for path in exemplars.labels[meeting.exemplar]),
            tuple(str(path.absolute()) for path in targets.labels[meeting.target]),
            meeting.seed,
            settings,
        )
        for meeting in met
    )
    return Plan(tuple(rows))
