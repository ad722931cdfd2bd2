"""What docs/expectations.md claims: the tests it names exist, and what can be seen in the code alone."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("docs/expectations.md", "ARCHITECTURE.md")
VERDICTS = ("holds", "in part", "does not hold")
IN_COMFYUI = sorted(path for folder in ("nodes", "amadapter_core/hosts/comfy") for path in (ROOT / folder).glob("*.py"))
PACK = sorted(path for folder in ("nodes", "amadapter_core") for path in (ROOT / folder).rglob("*.py"))
CLIENT = "amadapter_core/batch/comfy_client.py"
NETWORK = {"aiohttp.client", "ftplib", "http", "httpx", "huggingface_hub", "requests", "socket", "urllib", "urllib3"}
WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def place(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT).as_posix()}:{node.lineno}"


def named_tests(page: str) -> list[str]:
    return re.findall(r"`(tests/[\w/]+\.py::[\w:]+)`", (ROOT / page).read_text(encoding="utf-8"))


@cache
def defined_in(path: Path) -> set[str]:
    """The tests of a file, those of a class as Class::test."""
    found = set()
    for entry in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(entry, ast.ClassDef):
            found |= {f"{entry.name}::{inner.name}" for inner in entry.body if isinstance(inner, ast.FunctionDef)}
        elif isinstance(entry, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found.add(entry.name)
    return {name for name in found if name.rpartition("::")[2].startswith("test_")}


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_is_named_exists(page: str) -> None:
    names = named_tests(page)
    missing = []
    for name in names:
        file, _, test = name.partition("::")
        if not (ROOT / file).is_file() or test not in defined_in(ROOT / file):
            missing.append(name)
    assert names and not missing, f"{page} names tests that are not there: {missing}"


def test_every_expectation_has_a_verdict_and_tests() -> None:
    here = (ROOT / PAGES[0]).read_text(encoding="utf-8").partition("## Here")[2].partition("## Side by side")[0]
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in here.splitlines() if line[:1] == "|"]
    claims = {int(row[0]): row for row in rows if row[0].isdigit()}
    assert sorted(claims) == list(range(1, 21))
    for number, (_, _, verdict, tests) in claims.items():
        assert verdict.startswith(VERDICTS), f"{number}: {verdict!r}"
        assert "tests/" in tests or verdict.startswith("does not hold"), f"{number} names no test"


def given_away(path: Path) -> Iterator[str]:
    for node in nodes_of(path):
        targets = node.targets if isinstance(node, ast.Assign) else []
        for target in targets:
            if isinstance(target, ast.Attribute) and target.attr in ("forward", "_forward", "__class__"):
                yield place(path, node)


def test_no_module_is_given_another_forward_or_class() -> None:
    assert [found for path in IN_COMFYUI for found in given_away(path)] == []


def test_devices_and_their_memory_are_left_to_comfyui() -> None:
    calls = [
        place(path, node)
        for path in IN_COMFYUI
        for node in nodes_of(path)
        if isinstance(node, ast.Call) and getattr(node.func, "attr", None) in ("cuda", "empty_cache", "set_device")
    ]
    assert calls == []


def imported(path: Path) -> Iterator[str]:
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module


def test_nothing_but_the_batch_client_opens_a_connection() -> None:
    speaking = {
        path.relative_to(ROOT).as_posix()
        for path in PACK
        if any(name in NETWORK or name.split(".")[0] in NETWORK for name in imported(path))
    }
    assert speaking == {CLIENT}


def test_the_pack_asks_for_no_package(environment_script: ModuleType) -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.strip() and not line.startswith("#")] == []
    assert environment_script.read_pyproject()["project"]["dependencies"] == []


def test_the_host_that_is_needed_is_declared_and_tried_in_ci(environment_script: ModuleType) -> None:
    floor = environment_script.read_pyproject()["tool"]["comfy"]["requires-comfyui"].removeprefix(">=")
    ci = "".join(path.read_text(encoding="utf-8") for path in (ROOT / ".github" / "workflows").glob("*.yml"))
    assert f"v{floor}" in ci and "master" in ci


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_example_workflows_say_where_public_models_are(path: Path) -> None:
    """A link for each model that a stock loader names: those are public, ours are the user's own."""
    for node in json.loads(path.read_text(encoding="utf-8"))["nodes"]:
        if node["type"] in ("CheckpointLoaderSimple", "ControlNetLoader"):
            links = {model["name"]: model["url"] for model in node["properties"].get("models", ())}
            assert links.get(node["widgets_values"][0], "").startswith("https://"), node["widgets_values"]
