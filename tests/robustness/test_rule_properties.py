"""Rules as people write them: whatever is typed is taken at its word or refused with its line, never anything else."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from amadapter_core.exemplar_mix import mixed
from amadapter_core.generators.style_rules import mixed as mixed_styles
from amadapter_core.generators.style_rules import seeds_by_class
from amadapter_core.generators.styles import StyleCodes
from amadapter_core.generators.system import System
from amadapter_core.label_maps import LabelMap, Palette
from amadapter_core.mappings import changes_in
from amadapter_core.pairing import ALL, SEEDS, file_names, meetings
from amadapter_core.remapping import Remapping
from amadapter_core.routing_rules import RoutingRules

NAMES = ("car", "tree", "Sky", "road", "pole, post")
PALETTE = Palette("p", "", NAMES, (0, 1, 2, 7, -1), ((0, 0, 0),) * 5, 255)
MAP = LabelMap(torch.tensor([[list(PALETTE.ids) + [255]]]), PALETTE)

pieces = ["car", "tree", "sky", "7", "-1", "*", "none", "A", "b", "=", "->", "~", "@", "up", "0", "0.5", "nan", "inf"]
pieces += ["1e999", "-1", ",", ":", "#", "\n", " ", "\t", "\0", "²", "٣", "random", "shared", "9" * 5000]
typed = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(pieces), max_size=12).map("".join))
STYLES = StyleCodes(System.CLVAE, {0: torch.zeros(5, 2), 7: torch.ones(5, 2)}, torch.zeros(3))


@settings(max_examples=150, deadline=None)
@given(typed)
@example("car = ²")
@example("² = 3")
def test_whatever_is_typed_is_read_or_refused_with_its_line(text: str) -> None:
    readers = (
        RoutingRules.parse,
        mixed,
        lambda text: changes_in(text, Remapping.by_name(PALETTE, PALETTE)),
        lambda text: seeds_by_class(text, PALETTE),
        lambda text: seeds_by_class(text),
        lambda text: mixed_styles(STYLES, STYLES, 0.0, text, PALETTE),
    )
    for read in readers:
        try:
            read(text)
        except ValueError as error:
            assert str(error).startswith("rules: "), (text, error)


classes = st.sampled_from([*NAMES[:4], "7", "-1", "CAR", "sky"])
ids = {**{name.casefold(): label for name, label in zip(NAMES, PALETTE.ids, strict=True)}, "7": 7, "-1": -1}
numbers = st.sampled_from([0.0, 0.25, 1.0, 3.5])
lines = st.one_of(
    st.tuples(classes, st.just("="), numbers),
    st.tuples(classes, st.just("->"), st.lists(classes, max_size=3)),
    st.tuples(st.just("*"), st.just("="), numbers),
)


def told(line: tuple) -> str:
    target, operator, value = line
    return f"  {target}{operator} {', '.join(value) or 'NONE' if operator == '->' else value} # {value}"


@settings(max_examples=80, deadline=None)
@given(st.lists(lines, max_size=6), numbers)
def test_rules_do_what_they_say_and_the_later_one_holds(rules: list[tuple], strength: float) -> None:
    route = RoutingRules.parse("\n\n".join(map(told, rules))).route(MAP, MAP, strength)
    strengths = {ids[t.casefold()]: value for t, operator, value in rules if operator == "=" and t != "*"}
    pairs = {ids[t.casefold()]: {ids[n.casefold()] for n in value} for t, operator, value in rules if operator == "->"}
    rest = [value for t, _, value in rules if t == "*"]
    if rest:
        strengths |= {label: rest[-1] for label in (*PALETTE.ids, 255) if label not in {*strengths, *pairs}}
    assert route.strength == strength
    assert dict(route.class_strength) == strengths
    assert {label: set(looks_at) for label, looks_at in route.pairs.items()} == pairs


shares = st.dictionaries(st.sampled_from(NAMES[:4]), st.sampled_from(["A", "B", "none", "0.25", "1"]), max_size=4)


@settings(max_examples=60, deadline=None)
@given(shares, st.floats(0, 1))
def test_two_exemplars_share_each_class_between_them(rules: dict[str, str], share: float) -> None:
    text = "\n".join(f"{name} = {value}" for name, value in rules.items())
    first, second = (side.route(MAP, MAP).class_strength for side in mixed(text, share))
    known = {"A": (1, 0), "B": (0, 1), "none": (0, 0), "0.25": (0.75, 0.25), "1": (0, 1)}
    for name, label in zip(NAMES, PALETTE.ids, strict=True):
        assert (first[label], second[label]) == pytest.approx(known.get(rules.get(name), (1 - share, share)))


named = st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=5, unique=True)


@settings(max_examples=80, deadline=None)
@given(named, named, st.sampled_from(SEEDS), st.integers(1, 3), st.integers(0, 1 << 31))
def test_everybody_meets_everybody_once_under_a_name_of_its_own(
    exemplars: list[str], targets: list[str], seeds: str, repeats: int, seed: int
) -> None:
    made = meetings(exemplars, targets, pairing=ALL, seeds=seeds, repeats=repeats, seed=seed)
    times = Counter((m.exemplar, m.target) for m in made)
    assert times == {(e, t): repeats for e in range(len(exemplars)) for t in range(len(targets))}
    assert len({m.name.casefold() for m in made}) == len(made)
    assert [m.exemplar for m in made] == sorted(m.exemplar for m in made)


@settings(max_examples=60, deadline=None)
@given(named, named, st.text(min_size=1, max_size=12), st.sampled_from(SEEDS))
def test_a_seed_stays_when_others_are_added(exemplars: list[str], targets: list[str], more: str, seeds: str) -> None:
    assume(more not in targets)
    few = {(m.exemplar, m.target): m.seed for m in meetings(exemplars, targets, seeds=seeds)}
    many = {(m.exemplar, m.target): m.seed for m in meetings(exemplars, [*targets, more], seeds=seeds)}
    assert few == {pair: many[pair] for pair in few}


@settings(max_examples=80, deadline=None)
@given(st.lists(st.text(max_size=100), max_size=8))
def test_file_names_differ_as_the_names_do(names: list[str]) -> None:
    made = file_names(names)
    assert len({name.casefold() for name in made}) == len(set(names))
    assert all(name and name.strip("._-") and "/" not in name and "\0" not in name for name in made)
    assert [made[names.index(name)] for name in names] == made
