"""Routing as people write it: rules with class names, and masks of any size.

One rule per line, the rest of a line after # is a comment:

    car = 0.5                        how strongly the exemplar serves this class of the target
    * = 0                            the same for every class that no rule names
    tree -> vegetation, terrain      this class of the target looks at these classes of the exemplar
    sky -> none                      this class of the target looks at nothing in the exemplar

What the names mean is settled when the rules meet two label maps: `RoutingRules.route`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from .class_names import class_id, names_in
from .label_maps import LabelMap
from .label_resizing import resize_ids
from .routing import RegionPair, Route

EVERY_OTHER = "*"
NOTHING = "none"
FORMS = '"class = strength", "* = strength", "class -> class, class" or "class -> none"'


@dataclass(frozen=True)
class ClassRule:
    """One line.

    :param text: the line, for messages.
    :param target: a class of the target, or "*".
    :param strength: factor on the exemplar's share, or None if the rule is about classes.
    :param exemplar: classes of the exemplar, or None if the rule is about strength.
    """

    text: str
    target: str
    strength: float | None = None
    exemplar: tuple[str, ...] | None = None


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
        lines = ((number, line.partition("#")[0].strip()) for number, line in enumerate(text.splitlines(), 1))
        return cls(tuple(_parse(number, line) for number, line in lines if line))

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

    def route(self, target: LabelMap, exemplar: LabelMap, strength: float = 1.0) -> Route:
        """Settle the rules for two label maps.

        :param strength: factor on everything.
        :return: a route in ids of the target's palette and, on the exemplar's side, of the exemplar's.
        :raises ValueError: a class that a palette does not have, or a mask that no pixel of a label map falls in.
        """
        default: float | None = None
        strengths: dict[int, float] = {}
        pairs: dict[int, list[int]] = {}
        for rule in self.classes:
            if rule.target == EVERY_OTHER:
                default = rule.strength
                continue
            number = _class_of(rule, rule.target, target, "target")
            if rule.exemplar is None:
                strengths[number] = rule.strength
            else:
                pairs[number] = [_class_of(rule, name, exemplar, "exemplar") for name in rule.exemplar]
        if default is not None:
            others = {*target.palette.ids, target.ignore} - {None, *strengths, *pairs}
            strengths |= dict.fromkeys(others, default)
        regions = [
            RegionPair(
                _over(pair.target, target, f"region pair {number}: the target"),
                _over(pair.exemplar, exemplar, f"region pair {number}: the exemplar"),
                pair.strength,
                pair.exclusive,
            )
            for number, pair in enumerate(self.regions, 1)
        ]
        return Route(strength, strengths, pairs, regions)


def _parse(number: int, line: str) -> ClassRule:
    def wrong(why: str) -> ValueError:
        return ValueError(f"RoutingRules: line {number}, {line!r}: {why}; expected {FORMS}")

    arrow = "->" in line
    target, _, value = (part.strip() for part in line.partition("->" if arrow else "="))
    if not target or not value or "->" in value or "=" in (target if arrow else value):
        raise wrong("this is no rule")
    if not arrow:
        try:
            strength = float(value)
        except ValueError:
            raise wrong(f"{value!r} is no number") from None
        if not (math.isfinite(strength) and strength >= 0):
            raise wrong(f"the strength is {value}, and must be a finite number of 0 (off) or more (1 is the method)")
        return ClassRule(line, target, strength=strength)
    if target == EVERY_OTHER:
        raise wrong("* takes a strength only; to switch all other classes off write * = 0")
    names = names_in(value)
    alone = [name.casefold() for name in names] == [NOTHING]
    if not names or (not alone and NOTHING in map(str.casefold, names)):
        raise wrong(f"{NOTHING!r} stands alone")
    return ClassRule(line, target, exemplar=() if alone else tuple(names))


def _class_of(rule: ClassRule, name: str, labels: LabelMap, side: str) -> int:
    try:
        return class_id(name, labels.palette, labels.names_present)
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
