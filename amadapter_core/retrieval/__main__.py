"""The command: `python -m amadapter_core.retrieval build | query | bench | scenes`.

`build` writes the index of a data set or brings it up to date, and goes on where it was broken off. `query` finds
exemplars for target label maps and writes them as the published JSON. `bench` measures an index of made label maps,
`scenes` what retrieval brings over chance on procedural scenes. JSON on the last line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, ItemsView, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..datasets import KINDS, open_data_set, pictures_in
from ..label_maps import LabelMap, Palette
from ..label_pictures import READINGS, read_label_picture
from ..picture_files import read_rgb
from .appearance import Clip
from .bench import compare_with_chance, measure
from .building import build
from .candidates import ENGINES
from .finding import NEAR_DUPLICATE, Finder, Wishes
from .index import Index
from .made import SIZE
from .overlap import PENALTY
from .published import write_retrieval
from .segmented import segment_folder
from .sheets import contact_sheet


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and print its result as JSON; return the exit status."""
    args = _parser().parse_args(arguments)
    try:
        result = args.run(args)
    except (ValueError, FileNotFoundError, ImportError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(result))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m amadapter_core.retrieval", description=__doc__)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("build", help="write an index or bring it up to date")
    one.set_defaults(run=_build)
    one.add_argument("root", type=Path, help="folder of the data set")
    one.add_argument("index", type=Path, help="file to write, INDEX.safetensors")
    one.add_argument("--kind", choices=KINDS, default="folder", help="how the data set is unpacked")
    one.add_argument("--split", help="of the data set; all that have label maps if left out")
    one.add_argument("--palette", help="name or JSON file of the class table; a plain folder needs it")
    one.add_argument("--colours", action="store_true", help="label maps of a plain folder hold colours, not ids")
    one.add_argument("--segmenter", type=Path, help="draws the label maps that a plain folder lacks")
    one.add_argument("--clip", type=Path, metavar="FOLDER", help="CLIP model (transformers): what pictures look like")
    one.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="threads that read files")
    one.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="of the models")

    two = commands.add_parser("query", help="find exemplars")
    two.set_defaults(run=_query)
    two.add_argument("index", type=Path)
    two.add_argument("targets", type=Path, nargs="+", help="label maps, or folders of them")
    two.add_argument("--root", type=Path, help="where the index's files lie now, if they were moved")
    two.add_argument("--palette", help="class table of the targets; the index's if left out")
    two.add_argument("--reading", choices=READINGS, default="auto", help="what the targets hold")
    two.add_argument("--count", type=int, default=4, help="exemplars for each target")
    two.add_argument("--must-have", nargs="+", default=[], metavar="CLASS", help="classes that each must show")
    two.add_argument("--exclude", nargs="+", default=[], metavar="NAME", help="entries that are not wanted")
    two.add_argument("--penalty", type=float, default=PENALTY, help="for classes of the target that are lacking")
    two.add_argument("--near-duplicate", type=float, default=NEAR_DUPLICATE, help="equal cells from which on to skip")
    two.add_argument("--diversity", type=float, default=0.0, help="0 the best .. 1 the most unlike each other")
    two.add_argument("--variation", type=float, default=0.0, help="0 the best; above, also by chance")
    two.add_argument("--seed", type=int, default=0, help="of that chance")
    look = two.add_mutually_exclusive_group()
    look.add_argument("--like", type=Path, metavar="PICTURE", help="what exemplars should look like")
    look.add_argument("--words", help="the same in words: 'a street at night'")
    two.add_argument("--share", type=float, default=0.25, help="of the index, that looks most like it")
    two.add_argument("--clip", type=Path, metavar="FOLDER", help="the CLIP model that the index was built with")
    two.add_argument("--engine", choices=ENGINES, default="auto")
    two.add_argument("--json", type=Path, metavar="OUT", help="write {target: [exemplar, ...]}")
    two.add_argument("--sheet", type=Path, metavar="OUT.png", help="draw the first target's exemplars")
    two.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="of the model")

    three = commands.add_parser("bench", help="measure on made label maps")
    three.set_defaults(run=_bench)
    three.add_argument("--count", type=int, default=5000, help="label maps")
    three.add_argument("--size", type=int, nargs=2, default=SIZE, metavar=("H", "W"))
    three.add_argument("--queries", type=int, default=200)
    three.add_argument("--exact-queries", type=int, default=50, help="of these, for the recall")
    three.add_argument("--engine", choices=ENGINES, default="auto")
    three.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    three.add_argument("--folder", type=Path, help="keep the label maps there; a temporary one if left out")

    four = commands.add_parser("scenes", help="compare with chance on procedural scenes")
    four.set_defaults(run=_scenes)
    four.add_argument("--count", type=int, default=500, help="scenes in the index")
    four.add_argument("--targets", type=int, default=50)
    four.add_argument("--size", type=int, default=128, help="side in pixels")
    four.add_argument("--seed", type=int, default=0, help="of the random exemplars")
    four.add_argument("--folder", type=Path, help="keep the scenes there; a temporary one if left out")
    return parser


def _build(args: argparse.Namespace) -> dict[str, Any]:
    palette = None if args.palette is None else Palette.load(args.palette)
    broken = {}
    if args.segmenter is not None:
        if args.kind != "folder" or palette is None or args.colours:
            raise ValueError("retrieval: --segmenter draws ids for a plain folder; it goes with --palette alone")
        broken = segment_folder(args.root, _segment(args.segmenter, palette, args.device), _Told("segmented"))
    files = open_data_set(args.kind, args.root, split=args.split, palette=palette, colours=args.colours, strict=False)
    embedder = None if args.clip is None else Clip(args.clip, args.device)
    start = time.perf_counter()
    built = build(
        args.index,
        files,
        args.root,
        embedder=embedder,
        workers=args.workers,
        progress=_Told("described"),
        broken=broken,
    )
    for place, reason in built.index.broken.items():
        print(f"left out {place}: {reason}", file=sys.stderr)
    return {
        "index": str(args.index),
        "items": len(built.index),
        "described": built.read,
        "dropped": built.dropped,
        "left_out": len(built.index.broken),
        "bytes": args.index.stat().st_size,
        "seconds": round(time.perf_counter() - start, 2),
    }


def _query(args: argparse.Namespace) -> dict[str, Any]:
    index = Index.load(args.index, args.root)
    finder = Finder(index, args.engine)
    palette = index.palette if args.palette is None else Palette.load(args.palette)
    wishes = Wishes(
        args.count,
        tuple(args.must_have),
        args.penalty,
        args.near_duplicate,
        args.diversity,
        args.variation,
        args.seed,
        frozenset(args.exclude),
        _appearance(args, index),
        args.share,
    )
    found = {}
    for name, path in _targets(args.targets):
        target = read_label_picture(path, palette, reading=args.reading)
        try:
            answer = finder.find(target, wishes)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        told = ", ".join(f"{one.name} {one.score:.3f}" for one in answer)
        print(f"{name}: {told}", flush=True)
        if args.sheet is not None and not found:
            columns = [(one.name, one.score, *index.files.read(one.row)) for one in answer]
            args.sheet.parent.mkdir(parents=True, exist_ok=True)
            contact_sheet(target, columns).save(args.sheet)
        found[name] = [one.name for one in answer]
    if args.json is not None:
        write_retrieval(args.json, found)
    return {"targets": len(found), "index": len(index), "json": None if args.json is None else str(args.json)}


def _targets(places: Sequence[Path]) -> ItemsView[str, Path]:
    """Name and file of each target; in a folder the name is the place below it without the ending."""
    found: dict[str, Path] = {}
    for place in places:
        files = pictures_in(place) if place.is_dir() else [place]
        for file in files:
            name = file.relative_to(place).with_suffix("").as_posix() if place.is_dir() else file.stem
            if name in found:
                raise ValueError(f"retrieval: {found[name]} and {file} are both called {name!r}; give one at a time")
            found[name] = file
    return found.items()


def _appearance(args: argparse.Namespace, index: Index) -> torch.Tensor | None:
    if args.like is None and args.words is None:
        return None
    if args.clip is None:
        raise ValueError("retrieval: --like and --words need --clip, the model that the index was built with")
    clip = Clip(args.clip, args.device)
    if clip.name != index.embedder:
        raise ValueError(f"retrieval: {args.clip} is {clip.name}, the index was built with {index.embedder or 'none'}")
    return clip.words(args.words) if args.like is None else clip.pictures([read_rgb(args.like)])[0]


def _segment(path: Path, palette: Palette, device: str) -> Callable[[np.ndarray], LabelMap]:
    from ..metrics.pretrained import UNKNOWN, load_segmenter

    segmenter = load_segmenter(path, palette, device)

    def segment(image: np.ndarray) -> LabelMap:
        ids = segmenter.predict(torch.from_numpy(image).movedim(-1, 0)[None].to(device).float() / 255).cpu()
        if palette.ignore is not None:
            ids = ids.masked_fill(ids == UNKNOWN, palette.ignore)
        return LabelMap(ids, palette)

    return segment


def _bench(args: argparse.Namespace) -> dict[str, Any]:
    with _folder(args.folder) as folder:
        return measure(
            Path(folder),
            args.count,
            queries=args.queries,
            exact_queries=args.exact_queries,
            size=tuple(args.size),
            engine=args.engine,
            workers=args.workers,
            progress=_Told(),
        )


def _scenes(args: argparse.Namespace) -> dict[str, Any]:
    with _folder(args.folder) as folder:
        size = (args.size, args.size)
        return compare_with_chance(Path(folder), args.count, args.targets, size=size, seed=args.seed, progress=_Told())


def _folder(kept: Path | None) -> Any:
    """A context: the folder that is to be kept, or a temporary one."""
    return tempfile.TemporaryDirectory() if kept is None else contextlib.nullcontext(kept)


class _Told:
    """Prints progress now and then: `what` first, if it is not said each time."""

    def __init__(self, *what: str):
        self.what, self.last = what, time.monotonic()

    def __call__(self, *step: Any) -> None:
        *what, done, count = (*self.what, *step)
        if done == count or time.monotonic() - self.last >= 5:
            print(f"{done} of {count} {' '.join(what)}", flush=True)
            self.last = time.monotonic()


if __name__ == "__main__":
    sys.exit(main())
