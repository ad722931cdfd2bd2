"""The command: `python -m amadapter_core.metrics RESULTS --reference FOLDER --labels FOLDER`.

Measures a folder of results against exemplars or ground truth, and against their target label maps; files belong
together when they have the same name without its ending. JSON on the last line.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..label_maps import LabelMap, Palette
from ..label_pictures import READINGS, read_label_picture
from ..whole_files import write_whole
from . import quality, scoring
from .folders import Matched, match, read_picture
from .pretrained import load_segmenter
from .scoring import Score
from .statistics import as_json

QUALITY = ("fid", "kid", "lpips", "clip", "dino")
Extra = Callable[[Tensor, Tensor, str], float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and print its result as JSON; return the exit status."""
    parser = _parser()
    args = parser.parse_args(arguments)
    if "lpips" in args.quality and args.reference_labels is not None:
        parser.error("--quality lpips compares pixels; it needs the ground truth, so no --reference-labels")
    if not 0 < args.level < 1:
        parser.error(f"--level {args.level}: expected a share between 0 and 1")
    try:
        result = _run(args)
    except (ValueError, FileNotFoundError, ImportError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(result))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m amadapter_core.metrics", description=__doc__)
    parser.add_argument("results", type=Path, metavar="RESULTS", help="folder of the generated pictures")
    parser.add_argument(
        "--reference", type=Path, required=True, help="exemplars or ground truth: a folder, or a file for all"
    )
    parser.add_argument("--labels", type=Path, required=True, help="the targets' label maps: a folder, or one file")
    parser.add_argument(
        "--reference-labels",
        type=Path,
        help="the exemplars' label maps; without it the references are the ground truth of the same layout",
    )
    parser.add_argument("--against", type=Path, metavar="RESULTS", help="other results for the same items, paired")
    parser.add_argument("--palette", default="cityscapes19", help="name or JSON file of the class table")
    parser.add_argument("--reading", choices=READINGS, default="auto", help="what label pictures hold")
    parser.add_argument("--unknown", choices=["error", "nearest", "ignore"], default="error", help="other colours")
    parser.add_argument("--segmenter", type=Path, help="measure layout with this file or transformers folder")
    parser.add_argument("--quality", nargs="+", choices=QUALITY, default=[], help="needs the extra 'metrics'")
    parser.add_argument("--prompts", type=Path, help="folder of .txt files: adds the CLIP score")
    parser.add_argument("--inception", type=Path, help="weights for fid and kid")
    parser.add_argument("--clip", default=quality.CLIP, help="folder or cached name of a CLIP model")
    parser.add_argument("--dino", default=quality.DINO, help="folder or cached name of a DINO model")
    parser.add_argument("--level", type=float, default=0.95, help="of the intervals")
    parser.add_argument("--seed", type=int, default=0, help="of the resampling")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every item's figures there")
    return parser


def _run(args: argparse.Namespace) -> dict[str, Any]:
    places = {"results": args.results, "reference": args.reference, "labels": args.labels}
    optional = {"reference_labels": args.reference_labels, "against": args.against, "prompts": args.prompts}
    matched = match(places | {role: place for role, place in optional.items() if place is not None})
    for line in matched.complaints():
        print(line, file=sys.stderr)
    palette = Palette.load(args.palette)
    segmenter = None if args.segmenter is None else load_segmenter(args.segmenter, palette, args.device)
    extras = _extras(args)
    columns = ["results", *(["against"] if args.against is not None else [])]

    scores: dict[str, list[Score]] = {column: [] for column in columns}
    measured, failed = [], {}
    for stem, files in matched.items.items():
        try:
            found = _score(files, columns, palette, segmenter, extras, args)
        except ValueError as error:
            failed[stem] = str(error)
            print(f"left out {stem}: {error}", file=sys.stderr)
            continue
        measured.append(stem)
        for column, one in zip(columns, found, strict=True):
            scores[column].append(one)
    if not measured:
        raise ValueError(f"metrics: none of {len(matched.items)} items could be measured; see above")
    return _report(args, matched, scores, measured, failed)


def _extras(args: argparse.Namespace) -> dict[str, Extra]:
    """The measures of single pictures that need further packages: result, reference and prompt to a figure."""
    extras: dict[str, Extra] = {}
    clip = quality.Clip(args.clip, args.device) if "clip" in args.quality or args.prompts else None
    if "lpips" in args.quality:
        extras["lpips"] = lambda image, reference, _: quality.lpips(image, reference, device=args.device)[0]
    if "clip" in args.quality:
        extras["clip"] = lambda image, reference, _: clip.similarity(image, reference)[0]
    if args.prompts is not None:
        extras["clip_score"] = lambda image, _, prompt: clip.score(image, [prompt])[0]
    if "dino" in args.quality:
        dino = quality.Dino(args.dino, args.device)
        extras["dino"] = lambda image, reference, _: dino.similarity(image, reference)[0]
    return extras


def _score(
    files: dict[str, Path],
    columns: Sequence[str],
    palette: Palette,
    segmenter: Any,
    extras: dict[str, Extra],
    args: argparse.Namespace,
) -> list[Score]:
    """One item: its result, and the other one if there are two."""

    def labels(role: str) -> LabelMap:
        return read_label_picture(files[role], palette, reading=args.reading, unknown=args.unknown)

    target, reference = labels("labels"), read_picture(files["reference"])
    theirs = labels("reference_labels") if "reference_labels" in files else None
    prompt = files["prompts"].read_text(encoding="utf-8").strip() if "prompts" in files else ""
    found = []
    for column in columns:
        image = read_picture(files[column])
        (one,) = scoring.score(image, target, reference, theirs, segmenter=segmenter)
        one.values.update({name: measure(image, reference, prompt) for name, measure in extras.items()})
        found.append(one)
    return found


def _report(
    args: argparse.Namespace,
    matched: Matched,
    scores: dict[str, list[Score]],
    measured: Sequence[str],
    failed: dict[str, str],
) -> dict[str, Any]:
    options = {"level": args.level, "seed": args.seed}
    summaries = {column: scoring.summarise(found, **options) for column, found in scores.items()}
    against = scoring.compare(scores["results"], scores["against"], **options) if "against" in scores else None
    print(f"{len(measured)} items, intervals of {args.level:.0%} over items\n")
    print(scoring.table(summaries, against))
    print(f"\n{scoring.class_table(scores['results'])}\n")
    result: dict[str, Any] = {
        "items": len(measured),
        "missing": {role: len(stems) for role, stems in matched.missing.items()},
        "failed": len(failed),
    }
    result |= {column: scoring.plain(found, **options) for column, found in scores.items()}
    if against is not None:
        result["paired"] = as_json(against)
    sets = {column: _sets(args, matched, column, measured) for column in scores}
    for column, figures in sets.items():
        if figures:
            print(f"{column}: {', '.join(f'{name} {value:.4g}' for name, value in figures.items())}")
            result[column]["sets"] = as_json(figures)
    if args.json is not None:
        items = {stem: {column: found[i].values for column, found in scores.items()} for i, stem in enumerate(measured)}
        _write(args.json, result | {"values": as_json(items), "missing": matched.missing, "failed": failed})
    return result


def _sets(args: argparse.Namespace, matched: Matched, column: str, measured: Sequence[str]) -> dict[str, float]:
    """FID and KID, which compare sets."""
    wanted = [name for name in ("fid", "kid") if name in args.quality]
    if not wanted:
        return {}
    network = quality.inception(args.inception).to(args.device)

    def pictures(role: str) -> Iterator[Tensor]:
        return (read_picture(matched.items[stem][role]) for stem in measured)

    figures = {}
    if "fid" in wanted:
        figures["fid"] = quality.fid(pictures(column), pictures("reference"), network)
    if "kid" in wanted:
        figures["kid"], figures["kid_deviation"] = quality.kid(pictures(column), pictures("reference"), network)
    return figures


def _write(path: Path, value: object) -> None:
    write_whole(path, (json.dumps(value, indent=1) + "\n").encode())


if __name__ == "__main__":
    sys.exit(main())
