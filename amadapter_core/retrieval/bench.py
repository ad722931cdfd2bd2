"""What retrieval costs on made label maps, and what it brings on procedural scenes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

from ..datasets import Pair, PairedFiles, open_data_set
from ..datasets.reading import Ids
from ..label_maps import LabelMap, Palette
from ..picture_files import write_picture
from ..scenes import PALETTE as SCENES_PALETTE
from ..scenes import scene
from ..scenes.folders import write_folder
from .building import build
from .finding import Finder, Wishes
from .index import Index
from .layouts import Layouts
from .made import PALETTE, SIZE, made_labels
from .overlap import fit

DEPTH = 10
"""Recall is of so many exemplars."""

_ANY_LAYOUT = 2.0
Progress = Callable[[str, int, int], None]


def measure(
    folder: Path,
    count: int,
    *,
    queries: int = 200,
    exact_queries: int = 50,
    size: tuple[int, int] = SIZE,
    engine: str = "auto",
    workers: int = 1,
    progress: Progress = lambda what, done, count: None,
) -> dict[str, object]:
    """
    Index made label maps and query them with others.

    :param folder: where label maps and index are written; label maps that are there stay, the index is built anew.
    :param exact_queries: for how many queries every map is scored, to know the recall.
    :param size: (H, W) of the label maps.
    :return: figures; beside times on the clock processor times, which other work on the machine hardly touches.
    """
    files = _made(folder, count, size, progress)
    path = folder / "made.safetensors"
    path.unlink(missing_ok=True)
    start, start_cpu = time.perf_counter(), time.process_time()
    build(path, files, folder, workers=workers, progress=lambda done, of: progress("described", done, of))
    built, built_cpu = time.perf_counter() - start, time.process_time() - start_cpu
    start = time.perf_counter()
    build(path, files, folder, workers=workers)
    renewed = time.perf_counter() - start
    start = time.perf_counter()
    index = Index.load(path)
    loaded = time.perf_counter() - start
    finder = Finder(index, engine)
    opened = time.perf_counter() - start

    palette = Palette.load(PALETTE)
    targets = [LabelMap(torch.from_numpy(made_labels(count + i, size))[None], palette) for i in range(queries)]
    wishes = Wishes(count=DEPTH, near_duplicate=_ANY_LAYOUT)
    finder.find(targets[0], wishes)  # whatever is slow once
    latencies, work, answers = [], [], []
    for target in targets:
        start, start_cpu = time.perf_counter(), time.process_time()
        answers.append(finder.find(target, wishes))
        latencies.append(time.perf_counter() - start)
        work.append(time.process_time() - start_cpu)
    recalls, exact_seconds = [], []
    for number, (target, answer) in enumerate(zip(targets[:exact_queries], answers, strict=False), 1):
        start = time.perf_counter()
        best = fit(Layouts.of(target), index.layouts).topk(min(DEPTH, count)).values
        exact_seconds.append(time.perf_counter() - start)
        # By score, since equal fits are equally right.
        recalls.append(sum(found.score >= float(best[-1]) - 1e-6 for found in answer) / len(best))
        progress("scored exactly", number, exact_queries)
    return {
        "items": len(index),
        "engine": type(finder.candidates).__name__,
        "workers": workers,
        "build_s_per_1000": round(1000 * built / count, 2),
        "build_cpu_s_per_1000": round(1000 * built_cpu / count, 2),
        "update_unchanged_s_per_1000": round(1000 * renewed / count, 3),
        "bytes_per_item": round(path.stat().st_size / len(index), 1),
        "load_s": round(loaded, 2),
        "open_s": round(opened, 2),
        "query_median_ms": round(1000 * statistics.median(latencies), 2),
        "query_p99_ms": round(1000 * float(torch.tensor(latencies).quantile(0.99)), 2),
        "query_cpu_median_ms": round(1000 * statistics.median(work), 2),
        "exact_median_ms": round(1000 * statistics.median(exact_seconds), 1) if exact_seconds else None,
        f"recall_at_{DEPTH}": round(statistics.fmean(recalls), 4) if recalls else None,
    }


def compare_with_chance(
    folder: Path,
    count: int,
    targets: int,
    *,
    size: tuple[int, int] = (128, 128),
    seed: int = 0,
    progress: Progress = lambda what, done, count: None,
) -> dict[str, object]:
    """
    On procedural scenes, the overlap of the exemplar that retrieval finds with the target against that of any one.

    :param folder: where scenes and index are written; what is there stays.
    :param count: scenes in the index; targets have layouts of their own.
    :return: means over targets; "overlap" is the fit without the penalty, "lacking" the share of targets, weighted as
        in the fit, whose class the exemplar does not show.
    """
    write_folder(folder, count, size, progress=lambda done, of: progress("scenes", done, of))
    files = open_data_set("bdd100k", folder, palette=Palette.load(SCENES_PALETTE))
    index = build(folder / "scenes.safetensors", files, folder).index
    finder, palette = Finder(index), index.palette
    dice = torch.Generator().manual_seed(seed)
    found: dict[str, list[float]] = {}
    for number in range(targets):
        drawn = scene(count + number, count + number, size)
        target = LabelMap(torch.from_numpy(drawn.ids)[None], palette)
        retrieved = finder.find(target, Wishes(count=1))[0].row
        chance = int(torch.randint(len(index), (), generator=dice))
        rows = torch.tensor([retrieved, chance])
        score, overlap = (fit(Layouts.of(target), index.layouts[rows], penalty) for penalty in (1.0, 0.0))
        for name, row in (("retrieved", 0), ("random", 1)):
            found.setdefault(f"{name}_overlap", []).append(float(overlap[row]))
            found.setdefault(f"{name}_lacking", []).append(float(overlap[row] - score[row]))
        progress("targets", number + 1, targets)
    better = [a > b for a, b in zip(found["retrieved_overlap"], found["random_overlap"], strict=True)]
    means = {name: round(statistics.fmean(values), 4) for name, values in found.items()}
    return {"scenes": len(index), "targets": targets, **means, "retrieved_is_better": statistics.fmean(better)}


def _made(folder: Path, count: int, size: tuple[int, int], progress: Progress) -> PairedFiles:
    """Made label maps as files; a map serves as its own picture, which costs as much to read."""
    pairs = []
    for seed in range(count):
        name = f"{seed // 1000:04}/{seed:07}"
        path = folder / f"{name}.png"
        if not path.is_file():
            write_picture(Image.fromarray(made_labels(seed, size)), path)
        pairs.append(Pair(name, path, (path,)))
        progress("made", seed + 1, count)
    return PairedFiles("folder", Palette.load(PALETTE), tuple(pairs), Ids())
