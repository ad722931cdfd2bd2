"""Two exemplars shared out class by class: this one, that one, something in between, or neither.

One rule per line, the rest of a line after # is a comment:

    car = A           the first exemplar alone
    sky = B           the second alone
    road = 0.3        seven parts of the first and three of the second
    tree = none       neither: the model's own idea, another with each seed
    * = 0.5           every class that no rule names

In between means shares of one softmax, the logarithm of each added to its exemplar's logits: what one exemplar brings
alone, the two bring together.
"""

from __future__ import annotations

from .routing_rules import ClassRule, RoutingRules
from .rule_lines import EVERY_OTHER, NOTHING, Line, lines_of

FORMS = '"class = A", "class = B", "class = 0.3" (how much of B), "class = none" or the same with *'
_SHARES = {"a": (1.0, 0.0), "b": (0.0, 1.0), NOTHING: (0.0, 0.0)}


def mixed(text: str, share: float = 0.5) -> tuple[RoutingRules, RoutingRules]:
    """Share two exemplars out.

    :param text: the rules; classes may be parts (`car:wheel`), and rules may hold in some layers only (`car @up`).
    :param share: how much of the second there is in classes that no rule names, 0..1.
    :return: the rules of the first and of the second.
    :raises ValueError: a line that is no rule: its number, its text and what was expected; or a share outside 0..1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the share is {share}, expected 0 (the first exemplar alone) to 1 (the second alone)")
    given = [(f"{EVERY_OTHER} = {share}", EVERY_OTHER, (), (1 - share, share))]
    given += [(line.text, line.target, line.layers, _shares(line)) for line in lines_of(text, ["="], FORMS)]
    first, second = (
        tuple(ClassRule(rule, target, strength=shares[side], layers=layers) for rule, target, layers, shares in given)
        for side in (0, 1)
    )
    return RoutingRules(first), RoutingRules(second)


def _shares(line: Line) -> tuple[float, float]:
    known = _SHARES.get(line.value.casefold())
    if known is not None:
        return known
    try:
        second = float(line.value)
    except ValueError:
        raise line.wrong(f"{line.value!r} is neither A, B, none nor a number") from None
    if not 0 <= second <= 1:
        raise line.wrong(f"the share of B is {line.value}, and must lie between 0 and 1")
    return 1 - second, second
