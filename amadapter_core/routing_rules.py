"""Routing as people write it: rules with class names, and masks of any size.

One rule per line, the rest of a line after # is a comment:

    car = 0.5                        how strongly the exemplar serves this class of the target
    * = 0                            the same for every class that no rule names
    tree -> vegetation, terrain      this class of the target looks at these classes of the exemplar
    sky -> none                      this class of the target looks at nothing in the exemplar
    car ~ 0.3                        what other parts of a car count, where parts are told apart; 0 unless said

A class may be a part of one, `car:wheel`, and a rule may hold in some layers of the UNet only: `car @up = 0.5`,
`* @mid, 2 = 0`. Layers are down, mid and up, and 0, 1, 2, 3 by how often the latent is halved there.

What the names mean is settled when the rules meet two label maps: `RoutingRules.route`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from torch import Tensor

from .class_names import names_in
from .label_maps import LabelMap
from .label_resizing import resize_ids
from .part_labels import kind_of
from .routing import Kind, RegionPair, Route
from .rule_lines import EVERY_OTHER, NOTHING, Line, lines_of

Layer = tuple[str, int]
"""Block and level of a site of the UNet, as `sites.Site` has them."""

FORMS = '"class = strength", "* = strength", "class -> class, class", "class -> none" or "class ~ share"'


@dataclass(frozen=True)
class ClassRule:
    """One line.

    :param text: the line, for messages.
    :param target: a class of the target, a part of one, or "*".
    :param strength: factor on the exemplar's share, or None if the rule is about something else.
    :param exemplar: classes or parts of the exemplar, or None likewise.
    :param other_parts: what other parts of the class count, or None likewise.
    :param layers: where in the UNet it holds; none is everywhere.
    """

    text: str
    target: str
    strength: float | None = None
    exemplar: tuple[str, ...] | None = None
    other_parts: float | None = None
    layers: tuple[str, ...] = ()

    def holds_in(self, layer: Layer | None) -> bool:
        """:param layer: None is no layer in particular: what holds in all of them."""
        names = () if layer is None else (layer[0].partition("_")[0], str(layer[1]))
        return not self.layers or any(name in self.layers for name in names)


@dataclass(frozen=True, eq=False)
class RoutingRules:
    """What one exemplar may do, before it is known for which label maps.

    :param classes: where two rules speak of the same class and the same thing, the later one holds.
    :param regions: pairs of masks of any size; where they overlap the later one holds.
    """

    classes: tuple[ClassRule, ...] = ()
    regions: tuple[RegionPair, ...] = ()

    @classmethod
    def parse(cls, text: str) -> RoutingRules:
        """:raises ValueError: a line that is no rule: its number, its text and what was expected."""
        return cls(tuple(_parse(line) for line in lines_of(text, ("->", "=", "~"), FORMS)))

    @property
    def by_layer(self) -> bool:
        """Whether they differ between layers of the UNet."""
        return any(rule.layers for rule in self.classes)

    @classmethod
    def pair(
        cls, target_mask: Tensor, exemplar_mask: Tensor, strength: float = 1.0, exclusive: bool = True
    ) -> RoutingRules:
        """A region pair: pixels of the target that look at given pixels of the exemplar.

        :param target_mask: [1, H, W] or [H, W] float 0..1 over the target, inside where above 0.5.
        :param exemplar_mask: the same over the exemplar.
        :param strength: factor on the pair's share, >= 0.
        :param exclusive: the target region looks nowhere else in this exemplar.
        :raises ValueError: a mask that is a batch or is empty, or a negative strength.
        """
        if not (math.isfinite(strength) and strength >= 0):
            raise ValueError(f"RoutingRules.pair: strength is {strength}, expected a finite number >= 0")
        masks = (_single(target_mask, "target_mask"), _single(exemplar_mask, "exemplar_mask"))
        return cls(regions=(RegionPair(*masks, strength, exclusive),))

    def joined(self, other: RoutingRules) -> RoutingRules:
        """Both sets of rules; the other's hold where they disagree."""
        return RoutingRules(self.classes + other.classes, self.regions + other.regions)

    def route(self, target: LabelMap, exemplar: LabelMap, strength: float = 1.0, layer: Layer | None = None) -> Route:
        """Settle the rules for two label maps.

        :param strength: factor on everything.
        :param layer: where in the UNet; None leaves out the rules that hold in some layers only.
        :return: a route in ids of the target's palette and, on the exemplar's side, of the exemplar's.
        :raises ValueError: a class or part that a label map does not have, or a mask that no pixel of it falls in.
        """
        # By class or part; None stands for every other.
        strengths: dict[Kind | None, float] = {}
        pairs: dict[Kind | None, list[Kind]] = {}
        shares: dict[int | None, float] = {}
        for rule in self.classes:
            kind = None if rule.target == EVERY_OTHER else _kind(rule, rule.target, target, "target")
            looks_at = [_kind(rule, name, exemplar, "exemplar") for name in rule.exemplar or ()]
            if rule.other_parts is not None and isinstance(kind, tuple):
                raise ValueError(f"RoutingRules: rule {rule.text!r}: ~ is for a class with all of its parts")
            if not rule.holds_in(layer):
                continue
            if rule.exemplar is not None:
                pairs[kind] = looks_at
            elif rule.other_parts is not None:
                shares[kind] = rule.other_parts
            else:
                strengths[kind] = rule.strength
        known = {*target.palette.ids, target.ignore} - {None}
        for named, others in ((strengths, known - {*strengths, *pairs}), (shares, known - {*shares})):
            default = named.pop(None, None)
            named |= {} if default is None else dict.fromkeys(others, default)
        regions = [
            RegionPair(
                _over(pair.target, target, f"region pair {number}: the target"),
                _over(pair.exemplar, exemplar, f"region pair {number}: the exemplar"),
                pair.strength,
                pair.exclusive,
            )
            for number, pair in enumerate(self.regions, 1)
        ]
        return Route(strength, strengths, pairs, regions, other_parts=shares)


def _parse(line: Line) -> ClassRule:
    rule = ClassRule(line.text, line.target, layers=line.layers)
    if line.operator == "->":
        if line.target == EVERY_OTHER:
            raise line.wrong("* takes a number only; to switch all other classes off write * = 0")
        names = names_in(line.value)
        alone = [name.casefold() for name in names] == [NOTHING]
        if not names or (not alone and NOTHING in map(str.casefold, names)):
            raise line.wrong(f"{NOTHING!r} stands alone")
        return replace(rule, exemplar=() if alone else tuple(names))
    try:
        value = float(line.value)
    except ValueError:
        raise line.wrong(f"{line.value!r} is no number") from None
    if line.operator == "~":
        if not 0 <= value <= 1:
            raise line.wrong(f"the share is {line.value}, and must lie between 0 (not at all) and 1 (as its own part)")
        return replace(rule, other_parts=value)
    if not (math.isfinite(value) and value >= 0):
        raise line.wrong(
            f"the strength is {line.value}, and must be a finite number of 0 (off) or more (1 is the method)"
        )
    return replace(rule, strength=value)


def _kind(rule: ClassRule, name: str, labels: LabelMap, side: str) -> Kind:
    try:
        return kind_of(name, labels)
    except ValueError as error:
        raise ValueError(f"RoutingRules: rule {rule.text!r}: the {side}'s {error}") from error


def _single(mask: Tensor, name: str) -> Tensor:
    """[H, W] truth values of one mask."""
    if mask.ndim not in (2, 3) or (mask.ndim == 3 and len(mask) != 1):
        raise ValueError(
            f"RoutingRules.pair: {name} is {list(mask.shape)}, expected one mask [1, H, W]; pick one of a batch, or "
            "join them into one, and make one region pair for each pair of masks"
        )
    inside = mask.reshape(mask.shape[-2:]) > 0.5
    if not bool(inside.any()):
        raise ValueError(f"RoutingRules.pair: {name} is empty: no pixel is above 0.5; nothing could be matched with it")
    return inside


def _over(mask: Tensor, labels: LabelMap, name: str) -> Tensor:
    """A mask at the size of a label map."""
    resized = resize_ids((mask > 0.5).long()[None], labels.size)[0] > 0
    if not bool(resized.any()):
        raise ValueError(
            f"RoutingRules: {name} mask of {mask.shape[0]}x{mask.shape[1]} is so thin that no pixel of the label map "
            f"of {labels.size[0]}x{labels.size[1]} falls in it (height x width); draw it larger"
        )
    return resized
