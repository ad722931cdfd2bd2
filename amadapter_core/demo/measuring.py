"""Figures of every triple, written as they come: a run that was ended goes on where it stopped."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoints import load_matcher
from ..exemplar import digest
from ..metrics.appearance import compare_appearance
from ..metrics.layout import compare_layout
from ..metrics.segmenter import Segmenter
from ..metrics.statistics import as_json
from ..whole_files import write_whole
from . import files, triples
from .files import Files
from .rows import Row
from .sampling import TIMES, Sampler
from .triples import Triples
from .weights import pipeline

CODEC = "codec"
"""The row of the ground truth, encoded and decoded: what no way of looking can go below."""

Figures = dict[str, Any]
"""Of one row of one triple, by name; `classes` by label id, `losses` by timestep."""


@dataclass(frozen=True)
class Settings:
    """How triples are measured; results of other settings are not mixed.

    :param size: (H, W) of the pictures in pixels.
    :param steps: of inversion and sampling.
    :param guidance: scale of classifier-free guidance, 1 is none.
    :param prompts: whether the captions of the scenes are given as prompts, or empty ones.
    """

    size: tuple[int, int] = (128, 128)
    steps: int = 20
    guidance: float = 1.0
    prompts: bool = True


class Bench:
    """One set of weights, ready to be measured.

    :param folder: a flat set; None is the one that is shipped.
    :param need: parts without which there is nothing to measure.
    """

    def __init__(self, folder: str | Path | None, settings: Settings, device: torch.device):
        self.flat, self.settings, self.device = Files(folder), settings, device
        dtype = torch.float32
        self.matchers = {
            variant: load_matcher(self.flat.matcher(variant), dtype=dtype).to(device)
            for variant, name in files.MATCHERS.items()
            if (self.flat.folder / name).is_file()
        }
        self.pipeline = pipeline(self.flat.folder, dtype=dtype).to(device)
        self.sampler = Sampler(self.pipeline, self.matchers, steps=settings.steps, guidance=settings.guidance)
        place = self.flat.folder / files.SEGMENTER
        self.segmenter = Segmenter.load(place).to(device) if place.is_file() else None

    def draw(self, seeds: range, numbers: Sequence[int]) -> Triples:
        """Triples of a range of seeds, with the captions that the settings ask for."""
        drawn = triples.draw(seeds, numbers, self.settings.size, self.pipeline.unet.config.in_channels)
        if not self.settings.prompts:
            drawn.captions[:] = [""] * len(drawn)
        return drawn

    def fingerprint(self) -> str:
        """A digest of the networks' weights."""
        networks = [self.pipeline.unet, self.pipeline.vae, self.pipeline.text_encoder, self.pipeline.controlnext]
        networks += [self.matchers[variant] for variant in sorted(self.matchers)]
        networks += [] if self.segmenter is None else [self.segmenter]
        return digest(*(tensor for network in networks for tensor in network.state_dict().values()))

    def measure(
        self, numbers: Sequence[int], rows: Sequence[Row], seeds: range, judged: bool = True
    ) -> list[dict[str, Figures]]:
        """Figures of some triples of a range of seeds, by row; see `figures`."""
        return self.figures(self.draw(seeds, numbers), rows, judged)

    def figures(self, batch: Triples, rows: Sequence[Row], judged: bool = True) -> list[dict[str, Figures]]:
        """Figures of triples, by row.

        :param judged: with held-out loss and matching share.
        """
        sampled = self.sampler.sample(batch, rows)
        figures = {name: self._pictures(batch, result.images, result.seconds) for name, result in sampled.items()}
        if judged:
            for name, result in self.sampler.judge(batch, rows).items():
                shares = {k: getattr(result, k) for k in ("class_share", "object_share", "exemplar_share")}
                for i, entry in enumerate(figures[name]):
                    entry["losses"] = dict(zip(map(str, TIMES), result.losses[i].tolist(), strict=True))
                    entry["loss"] = float(result.losses[i].mean())
                    entry.update({k: float(share[i]) for k, share in shares.items() if share is not None})
        figures[CODEC] = self._pictures(batch, self.sampler.decode(self.sampler.encode(batch.truth)), None)
        return as_json([{name: entries[i] for name, entries in figures.items()} for i in range(len(batch))])

    def _pictures(self, batch: Triples, images: Tensor, seconds: float | None) -> list[Figures]:
        labels = batch.target_labels
        appearances = compare_appearance(
            images, labels.ids, batch.truth, labels.ids, ignore=labels.ignore, corresponding=True
        )
        layouts = [None] * len(batch)
        if self.segmenter is not None:
            layouts = compare_layout(self.segmenter, images, labels.ids, ignore=labels.ignore)
        mse = (images - batch.truth).square().mean((1, 2, 3))
        return [
            {
                "colour": appearance.colour,
                "distribution": appearance.distribution,
                "texture": appearance.texture,
                "pixel": appearance.pixel,
                "psnr": float(-10 * error.clamp_min(1e-10).log10()),
                "classes": {str(label): entry.colour for label, entry in appearance.classes.items()},
                **({} if layout is None else {"accuracy": layout.accuracy, "mean_iou": layout.mean_iou}),
                **({} if seconds is None else {"seconds": seconds}),
            }
            for appearance, layout, error in zip(appearances, layouts, mse, strict=True)
        ]


def run(
    bench: Bench,
    rows: Sequence[Row],
    seeds: range,
    count: int,
    path: Path,
    *,
    batch: int = 8,
    workers: int = 1,
    judged: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[dict[str, Figures]]:
    """Measure the first triples of a range of seeds, those that a file does not hold yet.

    :param path: a JSONL file: what was measured and how, then one line per triple.
    :param workers: processes that share the work on a CPU, one thread each; 1 stays in this process.
    :param progress: called with (done, total).
    :return: figures of the triples in order, by row.
    :raises ValueError: when the file holds results of other weights, rows or settings.
    """
    head = {
        "weights": bench.fingerprint(),
        "rows": [row.title for row in rows],
        "settings": json.loads(json.dumps(asdict(bench.settings))),
        "seeds": [seeds.start, seeds.stop],
        "judged": judged,
    }
    done = _read(path, head)
    missing = [number for number in range(count) if number not in done]
    batch = max(1, min(batch, -(-len(missing) // workers)))
    parts = [missing[start : start + batch] for start in range(0, len(missing), batch)]
    with ExitStack() as stack:
        file = stack.enter_context(path.open("a", encoding="utf-8"))
        for numbers, measured in _measured(stack, bench, rows, seeds, parts, judged, workers):
            for number, figures in zip(numbers, measured, strict=True):
                done[number] = figures
                file.write(json.dumps({"triple": number, "figures": figures}) + "\n")
            file.flush()
            os.fsync(file.fileno())
            progress(sum(number < count for number in done), count)
    return [done[number] for number in range(count)]


def _measured(
    stack: ExitStack,
    bench: Bench,
    rows: Sequence[Row],
    seeds: range,
    parts: Sequence[Sequence[int]],
    judged: bool,
    workers: int,
) -> Iterator[tuple[Sequence[int], list[dict[str, Figures]]]]:
    """Each part with its figures, in whatever order they are ready."""
    if workers == 1 or len(parts) < 2:
        yield from ((part, bench.measure(part, rows, seeds, judged)) for part in parts)
        return
    arguments = (bench.flat.folder, bench.settings, bench.device)
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _open, arguments)
    stack.callback(pool.shutdown, cancel_futures=True)
    waiting = {pool.submit(_measure, part, rows, seeds, judged): part for part in parts}
    for future in as_completed(waiting):
        yield waiting[future], future.result()


_bench: Bench | None = None
"""Of a worker process."""


def _open(*arguments: Any) -> None:
    global _bench
    torch.set_num_threads(1)
    _bench = Bench(*arguments)


def _measure(part: Sequence[int], rows: Sequence[Row], seeds: range, judged: bool) -> list[dict[str, Figures]]:
    return _bench.measure(part, rows, seeds, judged)


def _read(path: Path, head: Mapping[str, Any]) -> dict[int, dict[str, Figures]]:
    """Results so far, by triple; a line that was not written to its end is taken off.

    :raises ValueError: when they are of something else.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    whole = [line for line in lines if line.endswith("\n")]
    if whole:
        former = json.loads(whole[0])
        if differing := [name for name in head if former.get(name) != head[name]]:
            raise ValueError(
                f"demo evaluate: {path} holds results of other {', '.join(differing)}; name another folder with --out, "
                "or remove the file"
            )
    else:
        whole = [json.dumps(head) + "\n"]
    if whole != lines:
        write_whole(path, "".join(whole).encode())
    results = (json.loads(line) for line in whole[1:])
    return {result["triple"]: result["figures"] for result in results}
