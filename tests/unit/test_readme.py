"""What the README and its pages say is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(
    path for pattern in ("*.md", "docs/*.md", "workflows/*.md", "web/docs/*.md") for path in ROOT.glob(pattern)
)
GAP = "..."
"""Stands in a message for what differs from time to time."""


@cache
def texts() -> list[str]:
    """Every text in the code, its filled-in parts as gaps."""
    found = []
    for folder in ("amadapter_core", "nodes"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = (part.value if isinstance(part, ast.Constant) else GAP for part in node.values)
                    found.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return found


def messages() -> list[str]:
    """Those of Troubleshooting, and of the page on label maps."""
    section = README.partition("## Troubleshooting")[2].partition("\n## ")[0]
    page = (ROOT / "docs" / "label_maps.md").read_text(encoding="utf-8").partition("## Messages")[2]
    return re.findall(r"^\| `(.+?)` \|", section, re.MULTILINE) + re.findall(r"\| `(.+?)` \|$", page, re.MULTILINE)


def test_there_are_messages_to_check() -> None:
    assert len(messages()) >= 20


@pytest.mark.parametrize("message", sorted(set(messages())))
def test_the_messages_of_the_pages_are_those_of_the_code(message: str) -> None:
    fragments = [fragment.strip() for fragment in message.split(GAP) if fragment.strip(" ,;:()")]
    pattern = re.compile(".*?".join(map(re.escape, fragments)), re.DOTALL)
    assert any(pattern.search(text) for text in texts()), f"no message of the code reads {message!r}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}, which is not there"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_modules_that_are_run_exist(page: Path) -> None:
    for module in re.findall(r"-m (amadapter_core[\w.]*)", page.read_text(encoding="utf-8")):
        place = ROOT.joinpath(*module.split("."))
        assert (place / "__main__.py").is_file() or place.with_suffix(".py").is_file(), f"no module {module}"


def test_every_node_is_in_the_table() -> None:
    names = []
    for path in (ROOT / "nodes").glob("*.py"):
        names += re.findall(r'display_name="([^"]+)"', path.read_text(encoding="utf-8"))
    table = README.partition("## Nodes")[2].partition("\n## ")[0]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("|")]
    words = [set(re.findall(r"[\w-]+", row)) for row in rows]
    missing = [name for name in names if not any(set(re.findall(r"[\w-]+", name)) <= row for row in words)]
    assert len(names) > 40 and not missing, f"the table of nodes lacks {missing}"
