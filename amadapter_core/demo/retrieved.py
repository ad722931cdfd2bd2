"""What retrieval brings to the picture: the exemplar it finds against one by chance, for the same target.

Each held-out triple gets a gallery of further layouts in its own appearance, so the ground truth stays the same
whichever of them becomes the exemplar: what differs is only how well its layout fits the target's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from ..label_maps import LabelMap
from ..metrics.statistics import as_json, bootstrap, markdown_table, paired
from ..retrieval.layouts import Layouts
from ..retrieval.overlap import fit
from ..scenes import scene
from .measuring import Bench, Figures
from .report import COLUMNS
from .rows import Row
from .seeds import HELD_OUT
from .triples import Triples, pictures, stack

RETRIEVED, RANDOM = "retrieved", "random"
WAYS = (RETRIEVED, RANDOM)


def compare_exemplars(
    bench: Bench,
    row: Row,
    count: int,
    *,
    gallery: int = 24,
    batch: int = 8,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Measure a way of looking with retrieved and with random exemplars, print the table.

    :param count: held-out triples, all of them with the same noise for both exemplars.
    :param gallery: layouts among which an exemplar is retrieved or drawn.
    :return: all figures as JSON values.
    """
    found: dict[str, list[Figures]] = {way: [] for way in WAYS}
    for start in range(0, count, batch):
        numbers = range(start, min(start + batch, count))
        drawn = bench.draw(HELD_OUT, numbers)
        chosen = [_choose(bench, drawn, i, gallery) for i in range(len(drawn))]
        for way in WAYS:
            exemplars = [choice[way] for choice in chosen]
            with_exemplars = _with_exemplars(drawn, [drawing for drawing, _ in exemplars])
            for figures, (_, score) in zip(bench.figures(with_exemplars, [row]), exemplars, strict=True):
                found[way].append(figures[row.name] | {"fit": score})
        progress(len(found[RANDOM]), count)

    names = ("fit", *(column.name for column in COLUMNS if column.name != "seconds"))
    higher = {"fit"} | {column.name for column in COLUMNS if column.higher}
    values = {way: {name: [figures.get(name) for figures in found[way]] for name in names} for way in WAYS}
    means = {way: {name: bootstrap(values[way][name]) for name in names} for way in WAYS}
    differences = {name: paired(values[RETRIEVED][name], values[RANDOM][name], higher=name in higher) for name in names}
    print(f"\n## {row.title}: {count} held-out targets, the best of {gallery} exemplars against any of them\n")
    lines = ([name, *(means[way][name].text(3) for way in WAYS), differences[name].text(3)] for name in names)
    print(markdown_table(["measure", *WAYS, "difference"], lines))
    return as_json({"targets": count, "gallery": gallery, "row": row.title, "means": means, "paired": differences})


def _choose(bench: Bench, drawn: Triples, item: int, gallery: int) -> dict[str, tuple[Any, float]]:
    """Of a triple's gallery the layout that fits best and one by chance, each with its fit."""
    number, palette = drawn.numbers[item], drawn.target_labels.palette
    last = HELD_OUT[-1] - number * gallery  # from the end of the range: the triples take theirs from its beginning
    drawings = [scene(last - i, HELD_OUT[number], bench.settings.size) for i in range(gallery)]
    layouts = Layouts.of(LabelMap(stack([drawing.ids for drawing in drawings]), palette))
    scores = fit(Layouts.of(LabelMap(drawn.target_labels.ids[item : item + 1], palette)), layouts)
    chance = int(torch.randint(gallery, (), generator=torch.Generator().manual_seed(number)))
    rows = {RETRIEVED: int(scores.argmax()), RANDOM: chance}
    return {way: (drawings[at], float(scores[at])) for way, at in rows.items()}


def _with_exemplars(drawn: Triples, drawings: Sequence[Any]) -> Triples:
    return replace(
        drawn,
        exemplar=pictures([drawing.image for drawing in drawings]),
        exemplar_labels=LabelMap(stack([drawing.ids for drawing in drawings]), drawn.exemplar_labels.palette),
        exemplar_materials=stack([drawing.materials for drawing in drawings]),
    )
