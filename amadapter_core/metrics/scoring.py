"""Everything that can be said about one result, and about many of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..label_maps import LabelMap, check_same_aspect, check_same_classes
from .appearance import LEAST, compare_appearance
from .layout import SegmentsImages, compare_layout
from .statistics import Interval, Paired, as_json, bootstrap, markdown_table, paired


@dataclass(frozen=True)
class Measure:
    """What a figure is.

    :param title: for tables.
    :param higher: whether higher is better.
    """

    title: str
    higher: bool = False


MEASURES = {
    "colour": Measure("colour error (dE)"),
    "distribution": Measure("colour distribution error"),
    "texture": Measure("texture error"),
    "pixel": Measure("pixel error (dE)"),
    "accuracy": Measure("layout accuracy", higher=True),
    "mean_iou": Measure("layout mIoU", higher=True),
    "lpips": Measure("LPIPS"),
    "clip": Measure("CLIP similarity", higher=True),
    "clip_score": Measure("CLIP score", higher=True),
    "dino": Measure("DINO similarity", higher=True),
}
"""In the order of tables. Errors and LPIPS are better when lower."""


@dataclass(frozen=True)
class Score:
    """One result.

    :param values: by measure; nan where it could not be measured.
    :param classes: by class name, by measure.
    """

    values: dict[str, float]
    classes: dict[str, dict[str, float]]


def score(
    images: Tensor,
    labels: LabelMap,
    references: Tensor,
    reference_labels: LabelMap | None = None,
    *,
    segmenter: SegmentsImages | None = None,
    least: float = LEAST,
) -> list[Score]:
    """Measure appearance and, with a segmenter, layout.

    :param images: [B, 3, H, W] results in 0..1.
    :param labels: the target's, of batch 1 or B.
    :param references: [1 or B, 3, H', W'] exemplars, or the ground truth.
    :param reference_labels: the exemplars', of batch 1 or B. None: the references are ground truth, with the target's
        label map, and pixels correspond.
    :param segmenter: whose label ids are those of the target's palette.
    :param least: see `compare_appearance`.
    :raises ValueError: label maps of other classes or another aspect than their pictures.
    """
    truth = reference_labels is None
    if truth:
        reference_labels = labels
    check_same_classes(labels, reference_labels, "the reference")
    check_same_aspect("the result", images.shape[-2:], labels, 1)
    check_same_aspect("the reference", references.shape[-2:], reference_labels, 1)
    ignored = {labels.ignore, reference_labels.ignore}
    if len(ignored) > 1:
        raise ValueError(f"score: the label maps ignore different ids, {ignored}; read both in one palette")
    found = compare_appearance(
        images,
        labels.ids,
        references,
        reference_labels.ids,
        ignore=labels.ignore,
        least=least,
        corresponding=truth,
    )
    scores = []
    for item in found:
        values = {"colour": item.colour, "distribution": item.distribution, "texture": item.texture}
        values |= {"pixel": item.pixel} if truth else {}
        classes = {}
        for label, one in item.classes.items():
            classes[labels.palette.name_of(label)] = {
                measure: getattr(one, measure) for measure in values if getattr(one, measure) is not None
            }
        scores.append(Score(values, classes))
    if segmenter is not None:
        names = dict(zip(labels.palette.ids, labels.palette.names, strict=True))
        layouts = compare_layout(segmenter, images, labels.ids, classes=names, ignore=labels.ignore)
        for one, layout in zip(scores, layouts, strict=True):
            one.values.update(accuracy=layout.accuracy, mean_iou=layout.mean_iou)
            for label, iou in layout.iou.items():
                one.classes.setdefault(names[label], {})["iou"] = iou
    return scores


def summarise(scores: Sequence[Score], *, level: float = 0.95, seed: int = 0) -> dict[str, Interval]:
    """Mean and interval of each measure over the results."""
    return {
        name: bootstrap(_column(scores, name), level=level, seed=seed)
        for name in MEASURES
        if any(name in one.values for one in scores)
    }


def summarise_classes(scores: Sequence[Score]) -> dict[str, dict[str, float]]:
    """Mean of each measure over the results that have a class, by class name; "items" says how many those are."""
    found: dict[str, dict[str, list[float]]] = {}
    for one in scores:
        for name, values in one.classes.items():
            for measure, value in values.items():
                found.setdefault(name, {}).setdefault(measure, []).append(value)
    return {
        name: {measure: sum(values) / len(values) for measure, values in columns.items()}
        | {"items": max(len(values) for values in columns.values())}
        for name, columns in sorted(found.items())
    }


def compare(
    scores: Sequence[Score], others: Sequence[Score], *, level: float = 0.95, seed: int = 0
) -> dict[str, Paired]:
    """Each measure of some results against that of others for the same items, in the same order."""
    return {
        name: paired(_column(scores, name), _column(others, name), higher=measure.higher, level=level, seed=seed)
        for name, measure in MEASURES.items()
        if any(name in one.values for one in (*scores, *others))
    }


def table(summaries: Mapping[str, Mapping[str, Interval]], paired_with: Mapping[str, Paired] | None = None) -> str:
    """Draw measures as rows.

    :param summaries: by the name of the column.
    :param paired_with: the first column against the second: one column more.
    """
    names = [name for name in MEASURES if any(name in column for column in summaries.values())]
    header = ["measure", *summaries, *(["difference, p, wins"] if paired_with else [])]
    rows = []
    for name in names:
        measure = MEASURES[name]
        digits = 3 if measure.higher else 2
        cells = [column[name].text(digits) if name in column else "-" for column in summaries.values()]
        if paired_with:
            cells.append(paired_with[name].text(digits))
        rows.append([f"{measure.title}{', higher is better' if measure.higher else ''}", *cells])
    return markdown_table(header, rows)


def class_table(scores: Sequence[Score]) -> str:
    """Draw classes as rows, those with the largest colour error first."""
    classes = summarise_classes(scores)
    measures = [m for m in (*MEASURES, "iou") if any(m in values for values in classes.values())]

    def order(name: str) -> tuple[float, str]:
        return -classes[name].get("colour", -math.inf), name

    rows = [
        [name, *(classes[name].get(measure, math.nan) for measure in measures), str(classes[name]["items"])]
        for name in sorted(classes, key=order)
    ]
    return markdown_table(["class", *measures, "items"], rows)


def report(scores: Sequence[Score]) -> str:
    """Both tables, as text."""
    return f"{table({'results': summarise(scores)})}\n\n{class_table(scores)}"


def plain(scores: Sequence[Score], *, level: float = 0.95, seed: int = 0) -> object:
    """Summary and classes as plain values for JSON."""
    return as_json({"measures": summarise(scores, level=level, seed=seed), "classes": summarise_classes(scores)})


def _column(scores: Sequence[Score], name: str) -> list[float]:
    return [one.values.get(name, math.nan) for one in scores]
