"""How far the appearance of a result lies from the exemplar's, or from the ground truth: class by class.

Over the classes that both pictures have with at least 0.5 % of their pixels, and a mean over these classes, so that
the road does not drown the cars:

* colour: distance of the class means in CIELAB (Delta E 1976);
* distribution: 2-Wasserstein distance of the Gaussians with the means and covariances of the class, in CIELAB;
* texture: distance of the histograms of filter responses within the class, free of the mean colour (see `texture`);
* pixel: mean Delta E of pixels at the same place, where the two share a layout.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..label_resizing import resize_ids
from . import texture
from .colour import lab

LEAST = 0.005
"""A class counts from this share of the pixels on."""


@dataclass(frozen=True)
class ClassAppearance:
    """One class of one result.

    :param share: of the result's pixels that are not ignored; reference_share of the reference's.
    """

    colour: float
    distribution: float
    texture: float
    pixel: float | None
    share: float
    reference_share: float


@dataclass(frozen=True)
class Appearance:
    """One result against its reference.

    :param classes: by label id, in ascending order.
    :param pixel: over all pixels not ignored; None where pixels do not correspond.
    """

    classes: dict[int, ClassAppearance]
    pixel: float | None = None

    @property
    def colour(self) -> float:
        """Mean over classes; nan where the two share none. So are the others."""
        return _mean([c.colour for c in self.classes.values()])

    @property
    def distribution(self) -> float:
        """Mean over classes."""
        return _mean([c.distribution for c in self.classes.values()])

    @property
    def texture(self) -> float:
        """Mean over classes."""
        return _mean([c.texture for c in self.classes.values()])


def compare_appearance(
    images: Tensor,
    ids: Tensor,
    references: Tensor,
    reference_ids: Tensor,
    *,
    ignore: int | None = None,
    least: float = LEAST,
    corresponding: bool = False,
) -> list[Appearance]:
    """Compare results with their references.

    Label maps of another size than their pictures are resized to them by the nearest pixel. References of another
    size are brought to the results' scale first, since texture depends on it.

    :param images: [B, 3, H, W] in 0..1.
    :param ids: [1 or B, h, w] label ids of the results, which is to say of the target.
    :param references: [1 or B, 3, H', W'] exemplars or ground truth; reference_ids [1 or B, h', w'] in the same
        table of classes.
    :param ignore: a label id that is left out.
    :param least: the share of its pixels a class must have in both pictures.
    :param corresponding: pixels at the same place show the same thing (ground truth): adds `pixel`.
    :raises ValueError: pictures or label maps of the wrong form, batches that do not fit.
    """
    images, references = _pictures(images, "images"), _pictures(references, "references")
    batch = len(images)
    height, width = images.shape[-2:]
    if not 0 <= least <= 1:
        raise ValueError(f"compare_appearance: least is {least}, expected a share of the pixels in 0..1")
    if corresponding and references.shape[-2:] != images.shape[-2:]:
        raise ValueError(
            f"compare_appearance: results are {height} x {width} and references {references.shape[-2]} x "
            f"{references.shape[-1]} (height x width); pixels correspond only at the same size"
        )
    factor = min(height, width) / min(references.shape[-2:])
    if factor != 1:
        size = tuple(max(1, round(side * factor)) for side in references.shape[-2:])
        references = F.interpolate(references, size=size, mode="bilinear", antialias=True, align_corners=False)
    ids = _ids(ids, images, batch, "ids").expand(batch, -1, -1)
    reference_ids = _ids(reference_ids, references, batch, "reference_ids").expand(batch, -1, -1)
    colours, reference_colours = lab(images), lab(references).expand(batch, -1, -1, -1)
    return [
        _compare(*item, ignore, least, corresponding)
        for item in zip(colours, ids, reference_colours, reference_ids, strict=True)
    ]


def bures(covariance: Tensor, other: Tensor) -> float:
    """Return the squared 2-Wasserstein distance of two centred Gaussians, tr(A + B - 2 (A^1/2 B A^1/2)^1/2).

    :param covariance: [D, D] symmetric, positive or singular; other alike.
    """
    root = _square_root(covariance.double())
    crossed = torch.linalg.eigvalsh(root @ other.double() @ root).clamp_min(0).sqrt().sum()
    return max(0.0, float(covariance.double().trace() + other.double().trace() - 2 * crossed))


def _compare(
    colours: Tensor,
    ids: Tensor,
    reference: Tensor,
    reference_ids: Tensor,
    ignore: int | None,
    least: float,
    corresponding: bool,
) -> Appearance:
    """:param colours: [3, H, W] CIELAB; ids [H, W]."""
    shares, reference_shares = _shares(ids, ignore), _shares(reference_ids, ignore)
    scales = texture.octaves(tuple(colours.shape[-2:]))
    difference = (colours - reference).norm(dim=0) if corresponding else None
    classes = {}
    for label in sorted(shares.keys() & reference_shares.keys()):
        if min(shares[label], reference_shares[label]) < least:
            continue
        mask, reference_mask = ids == label, reference_ids == label
        mean, covariance = _moments(colours[:, mask])
        reference_mean, reference_covariance = _moments(reference[:, reference_mask])
        colour = float((mean - reference_mean).norm())
        both = mask & reference_mask if corresponding else mask
        classes[label] = ClassAppearance(
            colour=colour,
            distribution=math.sqrt(colour**2 + bures(covariance, reference_covariance)),
            texture=texture.distance(
                texture.responses(colours, mask, scales), texture.responses(reference, reference_mask, scales)
            ),
            pixel=_mean_of(difference, both),
            share=shares[label],
            reference_share=reference_shares[label],
        )
    kept = torch.ones_like(ids, dtype=torch.bool) if ignore is None else ids != ignore
    return Appearance(classes, _mean_of(difference, kept))


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [3] and covariance [3, 3] of [3, n], fp64."""
    x = x.double()
    mean = x.mean(1)
    centred = x - mean[:, None]
    return mean, centred @ centred.T / x.shape[1]


def _square_root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp_min(0).sqrt() @ vectors.T


def _shares(ids: Tensor, ignore: int | None) -> dict[int, float]:
    """Share of each label id among the pixels not ignored."""
    labels, counts = torch.unique(ids if ignore is None else ids[ids != ignore], return_counts=True)
    total = int(counts.sum())
    return {label: count / total for label, count in zip(labels.tolist(), counts.tolist(), strict=True)}


def _mean_of(difference: Tensor | None, mask: Tensor) -> float | None:
    return None if difference is None else float(difference[mask].double().mean())


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _pictures(images: Tensor, name: str) -> Tensor:
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape or not images.is_floating_point():
        raise ValueError(
            f"compare_appearance: {name} must be float [B, 3, H, W] in 0..1 and not empty, got "
            f"{list(images.shape)} of {images.dtype}"
        )
    spoilt = int((~images.isfinite()).sum())
    if spoilt:
        raise ValueError(f"compare_appearance: {spoilt} of {images.numel()} values of {name} are NaN or infinite")
    return images.float()


def _ids(ids: Tensor, images: Tensor, batch: int, name: str) -> Tensor:
    if ids.ndim != 3 or ids.is_floating_point() or 0 in ids.shape:
        raise ValueError(
            f"compare_appearance: {name} must be integers [B, H, W] and not empty, got {list(ids.shape)} of {ids.dtype}"
        )
    for given, what in ((len(ids), name), (len(images), "references")):
        if given not in (1, batch):
            raise ValueError(
                f"compare_appearance: {what} of batch {given} cannot serve {batch} results; give 1 or {batch}"
            )
    return resize_ids(ids.to(images.device), tuple(images.shape[-2:]))
