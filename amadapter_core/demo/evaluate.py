"""The table on held-out triples, and the choice of strengths on validation triples."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..metrics.statistics import as_json
from .files import Files
from .measuring import Bench, Settings, run
from .report import best_strengths, comparisons, gates, split, summary, tables
from .rows import BOOSTED, ROWS, SPATIAL, Row, rows
from .seeds import HELD_OUT, VALIDATION
from .weights import set_strengths

CANDIDATES = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
"""Log strengths among which the best is chosen."""


def evaluate(
    folders: Sequence[Path | None],
    settings: Settings,
    out: Path,
    *,
    count: int = 256,
    batch: int = 8,
    workers: int = 1,
    strengths: Mapping[str, float] | None = None,
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """Measure sets of weights on held-out triples and print their tables.

    :param folders: flat sets, such as one per training seed; None is the one that is shipped.
    :param out: where results are kept while they are made; the same call goes on with them.
    :param strengths: log strength k by the row it boosts; None takes what each set has chosen.
    :param workers: processes that share the work on a CPU.
    :return: all figures as JSON values.
    """
    report: dict[str, Any] = {
        "triples": count,
        "workers": workers,
        "threads": 1 if workers > 1 else torch.get_num_threads(),
        "device": str(device),
        "sets": [],
    }
    for number, folder in enumerate(folders):
        bench = Bench(folder, settings, torch.device(device))
        chosen = bench.flat.description.get("log_strengths", {}) if strengths is None else strengths
        if absent := [row for row in BOOSTED.values() if row not in chosen]:
            print(f"no log strength k is known for {', '.join(absent)}: run choose-k first, or give --k", flush=True)
        compared = rows(chosen, bench.matchers)
        path = out / f"held_out_{number}.jsonl"
        results = run(bench, compared, HELD_OUT, count, path, batch=batch, workers=workers, progress=_progress(path))
        passed = gates(results)
        print(f"\n## {bench.flat.folder}: {count} held-out triples\n")
        print(tables(results, {row.name: row.title for row in compared}))
        for name, gate in passed.items():
            figure = gate["paired"].text(4) if "paired" in gate else f"{gate['closed']:.2f}"
            print(f"\n{'passed' if gate['passed'] else 'MISSED'}: {name} ({figure})", end="")
        print(flush=True)
        report["sets"].append(
            {
                "weights": str(bench.flat.folder),
                "log_strengths": {row.boosted: row.log_strength for row in compared if row.boosted},
                "rows": summary(results),
                "classes": split(results, "classes"),
                "losses": split(results, "losses"),
                "paired": comparisons(results, SPATIAL) if SPATIAL in results[0] else {},
                "gates": passed,
            }
        )
    return as_json(report)


def choose_strengths(
    folder: Path | None,
    settings: Settings,
    out: Path,
    *,
    count: int = 48,
    batch: int = 8,
    workers: int = 1,
    candidates: Sequence[float] = CANDIDATES,
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """Find the log strengths of least appearance error on validation triples and write them into `family.json`.

    :return: what was chosen, and the mean error of each candidate.
    """
    bench = Bench(folder, settings, torch.device(device))
    tried: dict[str, tuple[str, float]] = {}
    compared = []
    for row in ROWS:
        if row.boosted is None or (row.boosted == SPATIAL and "spatial" not in bench.matchers):
            continue
        for k in candidates:
            compared.append(Row(f"{row.boosted} {k:+g}", row.mode, row.variant, row.boosted, float(k)))
            tried[compared[-1].name] = (row.boosted, float(k))
    path = out / "validation.jsonl"
    results = run(
        bench, compared, VALIDATION, count, path, batch=batch, workers=workers, judged=False, progress=_progress(path)
    )
    chosen = best_strengths(results, tried)
    set_strengths(bench.flat.folder, chosen)
    print(tables(results, {}))
    errors = {name: row["colour"] for name, row in summary(results).items()}
    return as_json({"weights": str(bench.flat.folder), "triples": count, "log_strengths": chosen, "errors": errors})


def trained_size(folder: Path | None) -> tuple[int, int]:
    """(H, W) of the pictures that a set of weights was trained on."""
    side = 8 * Files(folder).description["unet"]["sample_size"]
    return side, side


def _progress(path: Path) -> Any:
    def show(done: int, total: int) -> None:
        print(f"{path.name}: {done} of {total} triples", file=sys.stderr, flush=True)

    return show
