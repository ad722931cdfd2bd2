"""The parts of the campaign, each on a running server: random runs, damage, two clients, interrupts.

Each part yields or returns rows; what is wrong says so in its judgement, see `WRONG`.
"""

from __future__ import annotations

import copy
import random
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from .catalogue import TRAINING, Catalogue
from .clients import Client
from .damage import damaged, damaged_workflow
from .frames import FRAMES, Frame
from .graphs import Graph, grow
from .reports import Row
from .server import DONE, FAILED, INTERRUPTED, REFUSED, Outcome, Server

FINE, CLEAR, HOST, NOT_TAKEN = "fine", "clear error", "the host's own error", "stayed legal"
UNCLEAR, REFUSAL, CHANGED, FOREIGN = "UNCLEAR ERROR", "LEGAL BUT REFUSED", "RESULT CHANGED", "ANOTHER CLIENT'S RESULT"
WRONG = (UNCLEAR, REFUSAL, CHANGED, FOREIGN)
"""Judgements that are defects."""
REPEATED = 0.2
BYPASSED = ("AMAdapterApply", "AMAdapterClassNoiseModel")
SLOW = {"steps": 5, "samples": 4}
"""What makes a run long enough to be interrupted in its middle."""
MANY = 22
"""Nodes of a graph that runs again and again at most."""


class Campaign:
    """Random work for one server, the same for the same seed."""

    def __init__(self, server: Server, seed: int, frames: Sequence[Frame] = FRAMES) -> None:
        self.server, self.frames = server, frames
        self.rng = random.Random(seed)
        self.titles = server.titles()
        self.object_info = server.object_info()
        self.catalogue = Catalogue(self.object_info)
        self.count = 0

    # Random legal runs

    def legal(self, count: int, aims: Sequence[str] = ()) -> Iterator[Row]:
        """Runs of random graphs around each node in turn; some come again later and have to give the same."""
        waiting: list[tuple[Graph, Outcome]] = []
        left: list[str] = []
        for number in range(count):
            if waiting and number % round(1 / REPEATED) == 0 and number > count // 4:
                graph, before = waiting.pop(self.rng.randrange(len(waiting)))
                if self.rng.random() < 0.5:
                    self.server.host.forget()
                outcome = self.server.run(graph.prompt)
                same = (outcome.state, outcome.digest) == (before.state, before.digest)
                yield self.row("repeated", graph.aim, graph.prompt, outcome, FINE if same else CHANGED)
                continue
            if not left:
                self.refresh()
                left = list(aims) or list(self.catalogue.aims)
                self.rng.shuffle(left)
            graph = self.grown(left.pop())
            outcome = self.server.run(graph.prompt)
            if graph.repeatable and outcome.state == DONE:
                waiting.append((graph, outcome))
            yield self.row("legal", graph.aim, graph.prompt, outcome, self.judged(graph.prompt, outcome))

    def refresh(self) -> None:
        """Ask again about the nodes that had nothing to offer: by now there may be files of ours."""
        for name in self.catalogue.without_choice():
            self.object_info |= self.server.object_info(name)
        self.catalogue = Catalogue(self.object_info)

    def grown(self, aim: str) -> Graph:
        return grow(self.catalogue, random.Random(self.rng.random()), aim, self.frames)

    def references(self, count: int, aims: Sequence[str]) -> list[tuple[Graph, Outcome]]:
        """Repeatable graphs that succeed, with what they give.

        :raises RuntimeError: when hardly any graph around these aims does.
        """
        found: list[tuple[Graph, Outcome]] = []
        for _ in range(40 * count):
            graph = self.grown(aims[len(found) % len(aims)])
            if len(graph.prompt) > MANY:
                continue
            slowed(graph.prompt)
            outcome = self.server.run(graph.prompt)
            if graph.repeatable and outcome.state == DONE and outcome.digest:
                found.append((graph, outcome))
            if len(found) == count:
                return found
        raise RuntimeError(f"of {40 * count} random graphs around {', '.join(aims)}, {len(found)} succeeded")

    # Damage

    def damaged(self, count: int, reference: tuple[Graph, Outcome], workflows: Sequence[dict] = ()) -> Iterator[Row]:
        """Spoilt prompts and workflows; after each few, the reference has to come out as before."""
        bases = [reference[0].prompt]
        for number in range(count):
            if workflows and number % 6 == 5:
                yield self.damaged_workflow(self.rng.choice(workflows))
            else:
                if number % 3 == 0:
                    bases.append(self.grown(self.rng.choice(self.catalogue.aims)).prompt)
                damage = damaged(self.rng, self.rng.choice(bases[-5:]), self.object_info)
                outcome = self.server.run(damage.prompt)
                judgement = self.judged(damage.prompt, outcome, damaged=True)
                yield self.row("damaged", damage.what, damage.prompt, outcome, judgement)
            if number % 10 == 9 or number == count - 1:
                yield self.compared("after damage", *reference)

    def damaged_workflow(self, workflow: dict) -> Row:
        tools = self.server.host.workflow
        spoilt, what = damaged_workflow(self.rng, workflow)
        try:
            prompt = tools.on_tiny_model(tools.to_prompt(spoilt, self.object_info))
        except tools.WorkflowError as error:
            return self.row("workflow", what, {}, Outcome(REFUSED, "", str(error), (), 0.0), CLEAR)
        outcome = self.server.run(prompt)
        return self.row("workflow", what, prompt, outcome, self.judged(prompt, outcome, damaged=True))

    # Interrupts

    def storm(self, count: int, references: Sequence[tuple[Graph, Outcome]]) -> Iterator[Row]:
        """Interrupt runs at random moments, sometimes with nothing in the cache, sometimes while models are unloaded.

        Every few, what was interrupted runs undisturbed and has to give what it gave before.
        """
        for number in range(count):
            graph, before = references[number % len(references)]
            if self.rng.random() < 0.3:
                self.server.host.forget()
            yield self.interrupted(graph.aim, reseeded(self.rng, graph.prompt), before.seconds)
            if number % 4 == 3 or number == count - 1:
                yield self.compared("after interrupt", graph, before)

    def training_storm(self, count: int) -> Iterator[Row]:
        """Interrupt training runs that would take long."""
        for number in range(count):
            graph = self.grown(TRAINING[number % len(TRAINING)])
            for node in graph.prompt.values():
                if node["class_type"] in TRAINING:
                    node["inputs"] |= {"steps": 2000, "samples_every": 0, "batch_size": 1}
            yield self.interrupted(graph.aim, graph.prompt, 5.0)

    def interrupted(self, aim: str, prompt: dict, seconds: float) -> Row:
        """Run a prompt and interrupt it within so many seconds; again and again, if it has not begun yet."""
        prompt_id, _ = self.server.queue(prompt)
        time.sleep(self.rng.uniform(0, seconds))
        if self.rng.random() < 0.3:
            self.server.post("free", unload_models=True, free_memory=True)
        self.server.post("interrupt")
        while (outcome := self.server.seen(prompt_id)) is None:
            time.sleep(0.5)
            self.server.post("interrupt")
        known = outcome.state in (INTERRUPTED, DONE) or self.judged(prompt, outcome) == CLEAR
        return self.row("interrupted", aim, prompt, outcome, FINE if known else UNCLEAR)

    def compared(self, kind: str, graph: Graph, before: Outcome) -> Row:
        outcome = self.server.run(graph.prompt)
        same = (outcome.state, outcome.digest) == (before.state, before.digest)
        return self.row(kind, graph.aim, graph.prompt, outcome, FINE if same else CHANGED)

    # Two clients

    def two_clients(self, references: Sequence[tuple[Graph, Outcome]]) -> Iterator[Row]:
        """Two clients queue the same graphs in opposite orders at once; each gets its own results and nothing else."""
        orders = (list(references), list(reversed(references)))
        clients = [Client(self.server.host, f"soak-{name}") for name in ("first", "second")]
        threads = [threading.Thread(target=c.work, args=(o,)) for c, o in zip(clients, orders, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for client, order in zip(clients, orders, strict=True):
            if client.error:
                raise client.error
            for (graph, before), (prompt_id, outcome) in zip(order, client.outcomes.items(), strict=True):
                judgement = FINE if (outcome.state, outcome.digest) == (before.state, before.digest) else CHANGED
                if client.foreign() or not client.told_of(prompt_id):
                    judgement = FOREIGN
                yield self.row("two clients", graph.aim, graph.prompt, outcome, judgement)

    # What to make of it

    def judged(self, prompt: dict, outcome: Outcome, *, damaged: bool = False) -> str:
        """Whether an outcome is one that users should meet."""
        if outcome.state == DONE:
            return NOT_TAKEN if damaged else FINE
        if outcome.state == REFUSED:
            return (CLEAR if outcome.nodes and outcome.message else UNCLEAR) if damaged else REFUSAL
        text = outcome.message.partition(": ")[2]
        if outcome.state == FAILED and any(text.startswith(f"{title}: ") for title in self.titles):
            return CLEAR
        if outcome.nodes and self.is_the_hosts(prompt, outcome):
            return HOST
        return UNCLEAR

    def is_the_hosts(self, prompt: dict, outcome: Outcome) -> bool:
        """Whether a node that is not ours fails on the plain model just so."""
        (node,) = outcome.nodes
        if prompt[node]["class_type"].startswith("AMAdapter"):
            return False
        twin = self.server.run(bypassed(prompt))
        return (twin.state, twin.message) == (outcome.state, outcome.message)

    def row(self, kind: str, aim: str, prompt: dict, outcome: Outcome, judgement: str) -> Row:
        self.count += 1
        message = " | ".join(outcome.message.split("\n"))[:400]
        if outcome.nodes and prompt:
            message = f"node {outcome.nodes[0]}: {message}"
        given = (outcome.seconds, self.server.rss(), outcome.state, judgement, outcome.digest, message)
        return Row(self.count, kind, aim, len(prompt), *given)


def bypassed(prompt: dict) -> dict:
    """The same graph without what we put on models."""
    plain = copy.deepcopy(prompt)
    for key, node in plain.items():
        if node["class_type"] in BYPASSED:
            # What the node itself is led by may have been another of ours, so it is read as it is by now.
            source = node["inputs"]["model"]
            for other in plain.values():
                other["inputs"].update({name: source for name, value in other["inputs"].items() if value == [key, 0]})
    return {key: node for key, node in plain.items() if node["class_type"] not in BYPASSED}


def slowed(prompt: dict) -> None:
    for node in prompt.values():
        for name, value in SLOW.items():
            if isinstance(node["inputs"].get(name), int):
                node["inputs"][name] = value


def reseeded(rng: random.Random, prompt: dict) -> dict:
    """The same graph with other seeds of noise: nothing of it waits in the server's cache from there on."""
    other = copy.deepcopy(prompt)
    for node in other.values():
        for name in ("seed", "noise_seed"):
            value: Any = node["inputs"].get(name)
            if isinstance(value, int) and not node["class_type"].startswith("Tiny"):
                node["inputs"][name] = rng.randrange(2**31)
    return other
