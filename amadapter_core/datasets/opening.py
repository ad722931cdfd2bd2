"""Opening a data set by its kind."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path, PurePosixPath

from ..palettes import Palette
from .celebamaskhq import Faces
from .finding import captions_in
from .layouts import Layout
from .pairs import Pair, PairedFiles
from .reading import Colours, Ids, Parts

NEIGHBOURS = 10
"""Cityscapes' pictures of one city come in the order they were taken; so many in a row count as one appearance."""

_BDD = {"palette": "bdd100k19", "splits": ("train", "val")}
_ADE = {"train": "training", "val": "validation"}
_COCO = {
    "palette": "cocostuff182",
    # The files hold id - 1, and 255 where nothing is labelled.
    "reader": Ids(offset=1, void=(255,)),
    "splits": ("train2017", "val2017"),
    "split_names": {"train": "train2017", "val": "val2017"},
}


def _cityscapes(labels: str, kind: str, splits: tuple[str, ...]) -> Layout:
    table = "cityscapes19" if kind == "labelTrainIds" else "cityscapes34"
    return Layout(
        "leftImg8bit/{split}",
        f"{labels}/{{split}}",
        table,
        Ids(table=table),
        picture_ending="_leftImg8bit",
        label_ending=f"_{labels}_{kind}",
        splits=splits,
    )


LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "folder": (Layout("images", "labels", None),),
    "bdd100k": (
        Layout("images/10k/{split}", "labels/sem_seg/masks/{split}", **_BDD),
        # The first release.
        Layout("seg/images/{split}", "seg/labels/{split}", label_ending="_train_id", **_BDD),
    ),
    "cityscapes": (
        _cityscapes("gtFine", "labelTrainIds", ("train", "val")),
        _cityscapes("gtFine", "labelIds", ("train", "val")),
        _cityscapes("gtCoarse", "labelTrainIds", ("train_extra",)),
        _cityscapes("gtCoarse", "labelIds", ("train_extra",)),
    ),
    "ade20k": (
        Layout(
            "images/{split}",
            "annotations/{split}",
            "ade20k150",
            splits=("training", "validation"),
            split_names=_ADE,
        ),
    ),
    "cocostuff": (
        Layout("images/{split}", "annotations/{split}", **_COCO),
        Layout("{split}", "stuffthingmaps/{split}", **_COCO),
        Layout("images/{split}", "stuffthingmaps/{split}", **_COCO),
        Layout("{split}", "annotations/{split}", **_COCO),
        Layout("{split}_img", "{split}_label", "cocostuff182", _COCO["reader"], splits=("train", "val")),
    ),
    "nyu": (
        Layout("{split}/rgb", "{split}/labels_40", "nyu40", splits=("train", "test")),
        Layout("RGB", "Label", "nyu40", splits=("train", "test"), lists=True),
    ),
    "celebamaskhq": (
        Faces("CelebA-HQ-img", "CelebAMask-HQ-mask-anno", "celebamaskhq19", Parts(), fit=True),
        Faces("CelebA-HQ-img", "CelebAMask-HQ-mask", "celebamaskhq19", fit=True),
        Layout("{split}_img", "{split}_label", "celebamaskhq19", splits=("train", "val", "test"), fit=True),
    ),
}
"""The ways in which each kind of data set is unpacked, the usual one first."""

KINDS = tuple(LAYOUTS)

ARCHIVES = {
    "bdd100k": "bdd100k",
    "ade20k": "ADEChallengeData2016",
    "cocostuff": "dataset",
    "nyu": "NYUDepthv2",
    "celebamaskhq": "CelebAMask-HQ",
}
"""The folder that the archives of a data set make; the one around it may be named as well."""

FOREIGN = {
    "ade20k": {
        "index_ade20k.pkl": "the index of the full ADE20K; its benchmark of 150 classes is ADEChallengeData2016.zip"
    },
    "nyu": {
        "nyu_depth_v2_labeled.mat": "not unpacked; export pictures to train/rgb and test/rgb, and label maps of the 40 "
        "classes to train/labels_40 and test/labels_40"
    },
}
"""What lies in folders that hold a data set in another form."""


def open_data_set(
    kind: str,
    root: str | Path,
    *,
    split: str | None = None,
    palette: Palette | None = None,
    colours: bool = False,
    strict: bool = True,
) -> PairedFiles:
    """Find the pairs of a data set.

    :param kind: one of KINDS. "folder" is `images/` and `labels/` with the same names inside; pictures of one
        sub-folder share their appearance.
    :param root: its folder, or the one in which its archive was unpacked.
    :param split: as the data set calls it, or "train" and "val"; None takes all that have label maps. A plain folder
        has none.
    :param palette: class table of the label maps instead of the data set's own; a plain folder needs one. Cityscapes
        is brought to it by the names of its classes, of any other data set it must have the ids.
    :param colours: label maps of a plain folder hold colours, not ids.
    :param strict: refuse pictures without a label map; they are listed in `alone` otherwise.
    :raises FileNotFoundError: missing folders, with what was expected.
    :raises ValueError: an empty folder, pictures without a label map, or an unknown kind.
    """
    if kind not in LAYOUTS:
        raise ValueError(f"data set: kind is {kind!r}, expected one of {', '.join(KINDS)}")
    if colours and kind != "folder":
        raise ValueError(f"data set: {kind} has files of ids; label maps in colours are for plain folders")
    root, layout = _layout(kind, Path(root).expanduser(), split)
    if palette is None:
        if layout.palette is None:
            raise ValueError(f"data set: {root} is a plain folder; say which palette its label maps follow")
        palette = Palette.load(layout.palette)
    found = layout.find(root, split)
    if not found:
        raise ValueError(f"data set: no picture of {kind} in {root.absolute()}, split {split}")
    alone = tuple(picture for _, picture, files in found if not files)
    if alone and (strict or len(alone) == len(found)):
        labels = layout.folders(root, split)[1] if split or not layout.splits else root
        raise ValueError(
            f"data set: {len(alone)} of {len(found)} pictures in {alone[0].parent} have no label map of their name in "
            f"{labels}: {', '.join(path.name for path in alone[:5])}{' ...' if len(alone) > 5 else ''}; add them, or "
            "remove the pictures"
        )
    found = [entry for entry in found if entry[2]]
    groups = _groups(kind, [name for name, _, _ in found])
    pairs = tuple(Pair(*entry, group) for entry, group in zip(found, groups, strict=True))
    reader = Colours() if colours else layout.reader
    return PairedFiles(kind, palette, pairs, reader, alone, layout.fit, captions_in(root))


def _layout(kind: str, root: Path, split: str | None) -> tuple[Path, Layout]:
    """Where the data set lies, and the way in which it is unpacked.

    :raises FileNotFoundError: when it is none of the known ones.
    """
    choices = LAYOUTS[kind]
    for place in (root, root / ARCHIVES.get(kind, "")):
        for layout in choices:
            if layout.is_there(place, split):
                return place, layout
    for name, told in FOREIGN.get(kind, {}).items():
        if (root / name).exists():
            raise FileNotFoundError(f"data set: {root / name} is {told}")
    for layout in choices:
        # What is missing is said when it is looked for.
        if len(choices) == 1 or layout.folders(root, split)[0].is_dir():
            return root, layout
    told = dict.fromkeys(f"{place.pictures} with {place.labels}" for place in choices)
    raise FileNotFoundError(f"data set: no {kind} in {root.absolute()}; expected {', or '.join(told)}")


def _groups(kind: str, names: list[str]) -> list[str | None]:
    """Which pictures share their appearance."""
    if kind == "folder":
        return [name.rpartition("/")[0] or None for name in names]
    if kind != "cityscapes":
        return [None] * len(names)
    groups, taken = [], defaultdict(int)
    for name in names:
        city = PurePosixPath(name).parent.name
        groups.append(f"{city} {taken[city] // NEIGHBOURS}")
        taken[city] += 1
    return groups
