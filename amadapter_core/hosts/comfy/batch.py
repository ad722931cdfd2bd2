"""Many exemplars and many targets in ComfyUI: pairs out of folders, rows of lists, results into the output folder."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
import torch
from comfy.cli_args import args
from comfy_execution.graph import ExecutionBlocker
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from ...datasets import open_data_set
from ...datasets.finding import maps_in
from ...exemplar import digest
from ...label_maps import LabelMap
from ...label_pictures import read_label_picture
from ...pairing import meetings
from ...pictures import triplet
from ...result_folder import RECORDS, RESULT, TRIPLET, ResultFolder
from .exemplar import HostExemplar
from .folders import load_palette
from .training_pairs import folder_of

MAPS = "label maps alone"
OWN_TABLE = "the data set's own"
RESULTS, TRIPLETS, BOTH = "results", "triplets", "results and triplets"
KINDS = {RESULTS: (RESULT,), TRIPLETS: (TRIPLET,), BOTH: (RESULT, TRIPLET)}
"""Pictures that are saved of a row, by what the user calls them."""

NOTHING = ExecutionBlocker(None)
"""As an output: whatever depends on it is left out, without an error."""


@dataclass(frozen=True)
class LoadedPair:
    """:param image: [1, H, W, 3] float 0..1; of label maps alone, their colours."""

    name: str
    image: Tensor
    labels: LabelMap


def load_pairs(
    folder: str, kind: str, split: str, palette: str, reading: str, first: int = 0, count: int = 0
) -> list[LoadedPair]:
    """Read pairs of a data set, or label maps alone.

    :param folder: a full path, or a place in ComfyUI's input folder.
    :param kind: one of `datasets.KINDS`, or MAPS.
    :param split: "" is all that have label maps.
    :param palette: OWN_TABLE, or a name that `folders.load_palette` takes.
    :param reading: for plain folders and label maps alone: "ids" or "colours".
    :param count: 0 is all from the first on.
    :raises FileNotFoundError: missing folders.
    :raises ValueError: nothing there, or files that do not fit the palette.
    """
    if not folder.strip():
        raise ValueError("folder is empty; name a folder in ComfyUI's input folder, or a full path")
    root = folder_of(folder)
    table = None if palette == OWN_TABLE else load_palette(palette)
    if kind == MAPS:
        if table is None:
            raise ValueError(f"{root} holds label maps alone; choose the palette that they follow")
        chosen = _slice(list(maps_in(root).items()), first, count, root)
        labels = [(name, read_label_picture(path, table, reading=reading)) for name, path in chosen]
        return [LoadedPair(name, labels.colours(), labels) for name, labels in labels]
    plain = kind == "folder"
    files = open_data_set(
        kind, root, split=split.strip() or None, palette=table, colours=plain and reading == "colours"
    )
    made = []
    for place in _slice(range(len(files)), first, count, root):
        picture, labels = files.read(place)
        made.append(LoadedPair(files.pairs[place].name, torch.from_numpy(picture)[None].float() / 255, labels))
    return made


@dataclass(frozen=True, eq=False)
class BatchRow:
    """What the socket AM_BATCH_ROW carries: one exemplar with one target, and where the result goes.

    :param folder: below ComfyUI's output folder.
    :param save: which pictures are kept, one of KINDS.
    :param image: the exemplar's picture [1, H, W, 3], for triplets.
    :param told: what the manifest says of it.
    """

    name: str
    seed: int
    folder: str
    save: str
    exemplar: HostExemplar
    target: LabelMap
    image: Tensor | None
    told: dict[str, Any]

    @property
    def key(self) -> str:
        """A digest of what is sure of the row. An exemplar's latents are not: GPUs round them anew each time."""
        labels = self.exemplar.exemplar.labels
        maps = digest(labels.ids, labels.part_ids, self.target.ids, self.target.part_ids)
        return f"{maps[:24]}-{self.seed}"


def make_rows(
    exemplars: Sequence[HostExemplar],
    targets: Sequence[LabelMap],
    folder: str,
    *,
    save: str = RESULTS,
    images: Sequence[Tensor] | None = None,
    exemplar_names: Sequence[str] | None = None,
    target_names: Sequence[str] | None = None,
    **pairing: Any,
) -> list[BatchRow]:
    """Pair lists.

    :param targets: of any batch; each picture counts as one.
    :param images: of the exemplars, of any batch.
    :param exemplar_names: None takes what the exemplars are called, with numbers if that is the same.
    :param target_names: None numbers them.
    :param pairing: see `meetings`.
    :raises ValueError: numbers that differ, or what `meetings` raises.
    """
    result_folder(folder)
    if images is None and save != RESULTS:
        raise ValueError("a triplet shows the exemplar's picture; connect exemplar_images, or save results alone")
    targets = [one for labels in targets for one in _single(labels)]
    images = None if images is None else [image for batch in images for image in batch.split(1)]
    own = _names([x.exemplar.name for x in exemplars], exemplar_names, "exemplar")
    theirs = _names([f"target_{number + 1:05}" for number in range(len(targets))], target_names, "target")
    if images is not None and len(images) != len(exemplars):
        raise ValueError(f"{len(images)} exemplar_images for {len(exemplars)} exemplars; connect one for each")
    rows = []
    for number, met in enumerate(meetings(own, theirs, **pairing), 1):
        told = {"number": number, "exemplar": own[met.exemplar], "target": theirs[met.target], "seed": met.seed}
        image = None if images is None else images[met.exemplar]
        rows.append(
            BatchRow(met.name, met.seed, folder, save, exemplars[met.exemplar], targets[met.target], image, told)
        )
    return rows


def unfinished(rows: Sequence[BatchRow]) -> list[BatchRow]:
    """The rows whose results are not in their folder yet.

    :raises ValueError: when the folder has results of other inputs under their names.
    """
    results = ResultFolder(result_folder(rows[0].folder))
    keys = {row.name: row.key for row in rows}
    if clashes := results.clashes(keys):
        raise ValueError(
            f"{results.folder} has results of other exemplars, targets or seeds under {len(clashes)} of these names "
            f"({', '.join(clashes[:5])}); name another folder"
        )
    return [row for row in rows if not results.is_finished(row.name, keys[row.name], KINDS[row.save])]


def save_row(row: BatchRow, result: Tensor, metadata: dict[str, Any]) -> list[Path]:
    """Write a row's pictures into its folder and bring the manifest up to date.

    :param result: [1, H, W, 3] float 0..1.
    :param metadata: written into the pictures, as ComfyUI does.
    :return: the pictures, by their places in ComfyUI's output folder.
    """
    if len(result) != 1:
        raise ValueError(
            f"the row {row.name} has {len(result)} results, expected one; sample with batch size 1, and use repeats of "
            "Pair Exemplars with Targets for more"
        )
    text = PngInfo()
    for key, value in ({} if args.disable_metadata else metadata).items():
        text.add_text(key, json.dumps(value))
    pictures = {}
    if RESULT in KINDS[row.save]:
        pictures[RESULT] = _png(result, text)
    if TRIPLET in KINDS[row.save]:
        labels = row.exemplar.exemplar.labels
        drawn = triplet(row.image, row.target, result, exemplar_labels=labels, height=result.shape[1])
        pictures[TRIPLET] = _png(drawn, text)
    root = result_folder(row.folder)
    results = ResultFolder(root)
    record = results.keep(row.name, row.key, pictures, **row.told)
    known = sorted(results.records.values(), key=lambda one: one.get("number", 0))
    results.write_manifest(known)
    output = Path(folder_paths.get_output_directory()).resolve()
    return [(root / place).relative_to(output) for place, _ in record["files"].values()]


def result_folder(name: str) -> Path:
    """Where results go.

    :raises ValueError: no name, or one that leaves ComfyUI's output folder.
    """
    output = Path(folder_paths.get_output_directory()).resolve()
    path = (output / name.strip()).resolve()
    if not name.strip() or path == output or not path.is_relative_to(output):
        raise ValueError(f"folder is {name!r}; expected a name, or folders with / between, in ComfyUI's output folder")
    return path


def results_state(name: str | None) -> str:
    """What changes when results are added or taken away."""
    if not name or not name.strip():
        return ""
    folder = result_folder(name)
    records = folder / RECORDS
    written = records.stat().st_mtime_ns if records.is_file() else 0
    return f"{folder}:{written}:{sum(1 for _ in folder.glob('*s/**/*.png'))}"


def _single(labels: LabelMap) -> list[LabelMap]:
    return [labels.changed(lambda ids, row=row: ids[row : row + 1]) for row in range(labels.batch)]


def _names(present: Sequence[str], given: Sequence[str] | None, role: str) -> list[str]:
    if given is None:
        if len(set(present)) > 1:
            return list(present)
        # Nobody has named them.
        return [f"{name}_{number:05}" if len(present) > 1 else name for number, name in enumerate(present, 1)]
    names = [line.strip() for text in given for line in text.splitlines() if line.strip()]
    if len(names) != len(present):
        raise ValueError(f"{len(names)} {role}_names for {len(present)} {role}s; connect one for each")
    return names


def _slice(items: Sequence[Any], first: int, count: int, root: Path) -> Sequence[Any]:
    chosen = items[first : first + count if count else None]
    if not chosen:
        raise ValueError(f"{root} has {len(items)} pairs or label maps, none from number {first} on")
    return chosen


def _png(image: Tensor, text: PngInfo) -> bytes:
    content = io.BytesIO()
    values = (image[0, ..., :3].float().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    Image.fromarray(np.ascontiguousarray(values)).save(content, format="PNG", pnginfo=text, compress_level=4)
    return content.getvalue()
