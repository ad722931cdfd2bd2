"""A share of the campaign of tests/soak: random legal runs, damage, two clients and interrupts on a real ComfyUI."""

from __future__ import annotations

import pytest

from tests.soak.campaign import CHANGED, CLEAR, FINE, HOST, WRONG, Campaign
from tests.soak.frames import FRAMES, write_pictures
from tests.soak.graphs import Graph
from tests.soak.reports import Row
from tests.soak.server import DONE, INTERRUPTED, Outcome, Server

pytestmark = [pytest.mark.host, pytest.mark.slow]

AIMS = ("AMAdapterApply", "AMAdapterMixExemplars", "AMAdapterClassNoise", "AMAdapterLabelMapParts", "AMAdapterGenerate")


@pytest.fixture(scope="module")
def campaign(host_server) -> Campaign:
    write_pictures(host_server.base, FRAMES[:2])
    return Campaign(Server(host_server), seed=3, frames=FRAMES[:2])


@pytest.fixture(scope="module")
def references(campaign: Campaign) -> list[tuple[Graph, Outcome]]:
    return campaign.references(2, ("AMAdapterApply", "AMAdapterGenerate"))


def wrong(rows: list[Row]) -> list[str]:
    return [f"{row.kind} {row.aim}: {row.judgement} {row.message}" for row in rows if row.judgement in WRONG]


def test_random_legal_runs_succeed_or_say_clearly_why_not(campaign: Campaign) -> None:
    rows = list(campaign.legal(12, AIMS))
    assert wrong(rows) == []
    assert sum(row.state == DONE for row in rows) >= 4
    assert any(row.kind == "repeated" for row in rows)


def test_damaged_prompts_are_refused_by_the_node_s_name_and_leave_nothing(campaign: Campaign, references) -> None:
    rows = list(campaign.damaged(10, references[0]))
    assert wrong(rows) == []
    assert sum(row.judgement in (CLEAR, HOST) for row in rows) >= 5


def test_two_clients_get_each_their_own(campaign: Campaign, references) -> None:
    rows = list(campaign.two_clients(references))
    assert wrong(rows) == []
    assert [row.judgement for row in rows] == [FINE] * 4


def test_after_interrupts_everything_is_as_before(campaign: Campaign, references) -> None:
    rows = list(campaign.storm(8, references))
    assert wrong(rows) == []
    assert any(row.state == INTERRUPTED for row in rows)
    assert campaign.server.strays() == []


def test_a_result_that_changes_is_noticed(campaign: Campaign, references) -> None:
    graph, _ = references[0]
    other = Outcome(DONE, "of another picture", "", (), 0.0)
    assert campaign.compared("afterwards", graph, other).judgement == CHANGED
