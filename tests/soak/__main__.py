"""Run the campaign on a ComfyUI of its own and write down what came of it."""

from __future__ import annotations

import argparse
import collections
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import ROOT, load_script, started_server

from .campaign import WRONG, Campaign
from .catalogue import TRAINING
from .frames import write_models, write_pictures
from .reports import Row, slope, write_curve, write_table
from .server import Server

GROWTH = 40.0
"""MiB per 100 runs that memory may seem to grow by: above it, something is kept."""
REFERENCES = ("AMAdapterApply", "AMAdapterGenerate")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    command = parser.add_subparsers(required=True).add_parser("run", help="all parts of the campaign")
    command.add_argument("--runs", type=int, default=200, help="random legal runs, default %(default)s")
    command.add_argument("--damaged", type=int, default=80, help="default %(default)s")
    command.add_argument("--interrupts", type=int, default=50, help="default %(default)s")
    command.add_argument("--clients", type=int, default=5, help="graphs that two clients queue at once")
    command.add_argument("--seed", type=int, default=0, help="default %(default)s")
    command.add_argument("--output", type=Path, required=True, help="folder for runs.csv and memory.png")
    return run(parser.parse_args())


def run(options: argparse.Namespace) -> int:
    options.output.mkdir(parents=True, exist_ok=True)
    environment, script = load_script("environment"), load_script("run")
    comfyui = environment.find_host()
    if comfyui is None:
        sys.exit("no ComfyUI: run python scripts/test.py, or set COMFYUI_PATH")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", scratch)
        with started_server(script, comfyui) as host:
            write_pictures(host.base)
            write_models(host.base)
            server = Server(host)
            try:
                for row in all_parts(Campaign(server, options.seed), options, host.workflow):
                    rows.append(row)
                    print(f"{row.run} {row.kind} {row.aim}: {row.state}, {row.judgement} {row.message}", flush=True)
                    write_table(options.output / "runs.csv", rows)
            except KeyboardInterrupt:
                print("broken off: what there is so far", flush=True)
            strays = server.strays() + sorted(os.listdir(scratch))
    return report(rows, strays, options.output)


def all_parts(campaign: Campaign, options: argparse.Namespace, tools: ModuleType) -> Iterator[Row]:
    """The campaign's rows, part by part."""
    yield from campaign.legal(options.runs)
    references = campaign.references(4, REFERENCES)
    workflows = [tools.read(path) for path in sorted((ROOT / "workflows").glob("*.json"))]
    ours = [graph for graph in workflows if not any(node["type"] in TRAINING for node in graph["nodes"])]
    yield from campaign.damaged(options.damaged, references[0], ours)
    yield from campaign.two_clients(campaign.references(options.clients, REFERENCES))
    training = options.interrupts // 10
    yield from campaign.training_storm(training)
    yield from campaign.storm(options.interrupts - training, references)


def report(rows: list[Row], strays: list[str], output: Path) -> int:
    """Say what came of it; the exit code is 1 when anything was wrong."""
    legal = [row.rss for row in rows if row.kind in ("legal", "repeated")]
    storm = [row.rss for row in rows if row.kind in ("interrupted", "after interrupt")]
    if rows:
        write_curve(output / "memory.png", [row.rss for row in rows])
    wrong = [row for row in rows if row.judgement in WRONG]
    for kind in dict.fromkeys(row.kind for row in rows):
        told = collections.Counter(row.judgement for row in rows if row.kind == kind)
        print(f"{kind}: {sum(told.values())}, " + ", ".join(f"{n} {what}" for what, n in told.most_common()))
    grown = {"legal runs": slope(legal), "interrupts": slope(storm)}
    for name, values in (("legal runs", legal), ("interrupts", storm)):
        if values:
            told = f"{values[0]:.0f} MiB at first, {values[-1]:.0f} at last, {max(values):.0f} at most"
            print(f"memory in {name}: {told}, {grown[name]:+.1f} MiB per 100 runs after the warm-up")
    print(f"files that should not be there: {', '.join(strays) or 'none'}")
    for row in wrong:
        print(f"WRONG {row.run} {row.kind} {row.aim}: {row.judgement} {row.message}")
    return int(bool(wrong or strays or any(value > GROWTH for value in grown.values())))


if __name__ == "__main__":
    sys.exit(main())
