"""Who may import whom: nodes -> hosts/comfy -> core modules <- hosts/diffusers, and nothing the other way."""

from __future__ import annotations

import ast
import graphlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACK_FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("__init__.py", "nodes/**/*.py", "amadapter_core/**/*.py")
    for path in ROOT.glob(pattern)
)
CORE_FILES = [name for name in PACK_FILES if name.startswith("amadapter_core/")]

COMMON = {"torch", "numpy", "PIL", "safetensors", "einops", *sys.stdlib_module_names}
DIFFUSERS = {"diffusers", "transformers", "accelerate", "peft"}
# ComfyUI's own top-level names, `nodes` among them, and the web server it runs on.
COMFY = {
    "aiohttp",
    "app",
    "comfy",
    "comfy_api",
    "comfy_config",
    "comfy_execution",
    "comfy_extras",
    "execution",
    "folder_paths",
    "latent_preview",
    "node_helpers",
    "nodes",
    "server",
}
# A package that goes by another name than its distribution.
IMPORTED_AS = {"faiss_cpu": "faiss", "pillow": "PIL", "pyyaml": "yaml"}
# Commands choose a host when they run, so they may reach for one inside a function.
COMMANDS = ("batch", "bench", "demo", "parity")
# A command as well; a host may run it in its own process, where its packages are there.
TRAINING = "training"
# What a host has to know of the demonstration: where its weights lie, and how words become tokens.
OF_DEMO_CORE = ("files", "words")


@dataclass(frozen=True)
class Layer:
    """What the files of one part may import at the top of a file, and besides that inside functions only."""

    packages: frozenset[str] = frozenset()
    layers: frozenset[str] = frozenset()
    deferred_packages: frozenset[str] = frozenset()
    deferred_layers: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Import:
    """One imported name; inside the pack its dotted place there, else the package's full name."""

    target: str
    line: int
    relative: bool
    deferred: bool


def layers(optional: set[str]) -> dict[str, Layer]:
    """Return the rules. `optional` are the packages that an extra of pyproject.toml brings."""
    core = frozenset({"core"})
    command = Layer(
        packages=frozenset(COMMON),
        layers=core | {"command", TRAINING},
        deferred_packages=frozenset(optional),
        deferred_layers=frozenset({"hosts.comfy", "hosts.diffusers"}),
    )
    return {
        "pack": Layer(packages=frozenset({"__future__"}), deferred_layers=frozenset({"nodes"})),
        "nodes": Layer(
            packages=frozenset(COMMON | {"comfy_api", "typing_extensions"}),
            layers=frozenset({"nodes", "hosts.comfy", "core"}),
        ),
        "hosts.comfy": Layer(
            packages=frozenset(COMMON | COMFY | {"typing_extensions"}),
            layers=frozenset({"hosts.comfy", "core"}),
            deferred_packages=frozenset(optional - {"diffusers"}),
            deferred_layers=frozenset({TRAINING}),
        ),
        "hosts.diffusers": Layer(
            packages=frozenset(COMMON | DIFFUSERS),
            layers=frozenset({"hosts.diffusers", "core"}),
            deferred_packages=frozenset(optional),
        ),
        "command": command,
        TRAINING: command,
        "hosts": Layer(packages=frozenset(COMMON)),
        "core": Layer(
            packages=frozenset(COMMON),
            layers=core,
            deferred_packages=frozenset(optional - {"diffusers"}),
        ),
    }


def layer_of(place: tuple[str, ...]) -> str:
    """Return the part of the pack that a dotted place belongs to."""
    if place[:1] == ("nodes",):
        return "nodes"
    if place[:1] != ("amadapter_core",):
        return "pack"
    if place[1:2] == ("hosts",):
        return f"hosts.{place[2]}" if place[2:3] in (("comfy",), ("diffusers",)) else "hosts"
    if place[1:2] == ("demo",) and place[2:3] and place[2] in OF_DEMO_CORE:
        return "core"
    if place[1:2] and place[1] in COMMANDS:
        return "command"
    if place[1:2] == (TRAINING,):
        return TRAINING
    return "core"


def package_of(name: str) -> tuple[str, ...]:
    """Return where a file's relative imports start: its folder, as a dotted place."""
    return PurePosixPath(name).parent.parts


def imports_of(name: str, source: str) -> Iterator[Import]:
    """Yield every import of a file, marking those that do not run when the file is loaded."""

    def visit(node: ast.AST, deferred: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, relative=False, deferred=deferred)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield Import(target_of(name, node, alias.name), node.lineno, node.level > 0, deferred)
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for child in node.body:
                yield from visit(child, True)
            for child in node.orelse:
                yield from visit(child, deferred)
        else:
            inner = deferred or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            for child in ast.iter_child_nodes(node):
                yield from visit(child, inner)

    return visit(ast.parse(source), False)


def target_of(name: str, node: ast.ImportFrom, imported: str) -> str:
    """Return what a from-import names: a place in the pack if it is relative, "" if it leaves the pack."""
    parts = tuple(node.module.split(".")) if node.module else ()
    if node.level == 0:
        return ".".join((*parts, imported))
    package = package_of(name)
    climbed = node.level - 1
    if climbed > len(package):
        return ""
    return ".".join((*package[: len(package) - climbed], *parts, imported))


def violations(name: str, source: str, optional: set[str]) -> list[str]:
    """Return a line for each import of a file that breaks a rule."""
    own_layer = layer_of((*package_of(name), PurePosixPath(name).stem))
    rules = layers(optional)[own_layer]
    found = []
    for entry in imports_of(name, source):
        complaint = relative_complaint(entry, rules) if entry.relative else absolute_complaint(entry, rules)
        if complaint:
            found.append(f"{name}:{entry.line}: {complaint}")
    return found


def relative_complaint(entry: Import, rules: Layer) -> str | None:
    if not entry.target:
        return "leaves the pack"
    layer = layer_of(tuple(entry.target.split(".")))
    if layer in rules.layers or (entry.deferred and layer in rules.deferred_layers):
        return None
    when = "only inside a function" if layer in rules.deferred_layers else "not from here"
    return f"{entry.target} belongs to {layer}: {when}"


def absolute_complaint(entry: Import, rules: Layer) -> str | None:
    package = entry.target.split(".")[0]
    if package == "amadapter_core":
        return "amadapter_core by its full name; import it relatively"
    if package in rules.packages or (entry.deferred and package in rules.deferred_packages):
        return None
    when = "only inside a function" if package in rules.deferred_packages else "not from here"
    return f"{package}: {when}"


@pytest.fixture(scope="session")
def optional(environment_script: ModuleType) -> set[str]:
    """The packages that the extras name, the tests' own tools left out."""
    names = set()
    for extra in environment_script.read_pyproject()["project"]["optional-dependencies"]:
        if extra != "test":
            names |= {re.match(r"[\w.-]+", entry)[0] for entry in environment_script.read_extra(extra)}
    modules = {name.lower().replace("-", "_") for name in names}
    return {IMPORTED_AS.get(module, module) for module in modules} - COMMON


@pytest.mark.parametrize("name", PACK_FILES)
def test_each_file_imports_only_what_its_part_may(name: str, optional: set[str]) -> None:
    assert violations(name, (ROOT / name).read_text(encoding="utf-8"), optional) == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("__init__.py", "from .nodes import AMAdapterExtension"),
        ("nodes/apply.py", "import comfy.utils"),
        ("nodes/apply.py", "def f():\n    import folder_paths"),
        ("nodes/apply.py", "from nodes import KSampler"),
        ("nodes/apply.py", "from ..amadapter_core.hosts.diffusers import pipeline"),
        ("nodes/apply.py", "from ...elsewhere import thing"),
        ("amadapter_core/matching.py", "import comfy.model_management"),
        ("amadapter_core/matching.py", "def f():\n    import nodes"),
        ("amadapter_core/matching.py", "from .hosts.comfy import patch"),
        ("amadapter_core/matching.py", "def f():\n    from .hosts import diffusers"),
        ("amadapter_core/matching.py", "from ..nodes import apply"),
        ("amadapter_core/matching.py", "from . import bench"),
        ("amadapter_core/matching.py", "import transformers"),
        ("amadapter_core/matching.py", "class A:\n    import faiss"),
        ("amadapter_core/matching.py", "try:\n    import faiss\nexcept ImportError:\n    faiss = None"),
        ("amadapter_core/matching.py", "def f():\n    import diffusers"),
        ("amadapter_core/matching.py", "def f():\n    import not_in_any_extra"),
        ("amadapter_core/matching.py", "from amadapter_core.matcher import Matcher"),
        ("amadapter_core/retrieval/index.py", "from ..hosts.comfy import patch"),
        ("amadapter_core/hosts/__init__.py", "from .comfy import patch"),
        ("amadapter_core/hosts/comfy/patch.py", "from ..diffusers import pipeline"),
        ("amadapter_core/hosts/comfy/patch.py", "def f():\n    import diffusers"),
        ("amadapter_core/hosts/comfy/training.py", "from ...training import loop"),
        ("amadapter_core/hosts/comfy/training.py", "def f():\n    from ... import bench"),
        ("nodes/training.py", "def f():\n    from ..amadapter_core.training import loop"),
        ("amadapter_core/hosts/comfy/patch.py", "from ....nodes import apply"),
        ("amadapter_core/hosts/diffusers/pipeline.py", "import comfy"),
        ("amadapter_core/hosts/diffusers/pipeline.py", "from ..comfy import patch"),
        ("amadapter_core/bench.py", "from .hosts.diffusers import pipeline"),
        ("amadapter_core/training/stage1.py", "import accelerate"),
    ],
)
def test_the_check_sees_an_import_that_breaks_the_rules(name: str, source: str, optional: set[str]) -> None:
    assert len(violations(name, source, optional)) == 1


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("__init__.py", "async def comfy_entrypoint():\n    from .nodes import AMAdapterExtension"),
        ("nodes/apply.py", "from comfy_api.v0_0_2 import io"),
        ("nodes/apply.py", "from ..amadapter_core.hosts.comfy import patch"),
        ("nodes/apply.py", "from ..amadapter_core import label_maps"),
        ("amadapter_core/matching.py", "import math, numpy as np, torch.nn.functional as F"),
        ("amadapter_core/matching.py", "from .matcher import Matcher"),
        ("amadapter_core/matching.py", "def f():\n    import transformers"),
        ("amadapter_core/matching.py", "if TYPE_CHECKING:\n    import faiss"),
        ("amadapter_core/retrieval/index.py", "from .. import label_maps\nfrom . import descriptors"),
        ("amadapter_core/hosts/comfy/patch.py", "import comfy.ops, folder_paths, nodes"),
        ("amadapter_core/hosts/comfy/patch.py", "from ...attention import attend"),
        ("amadapter_core/hosts/comfy/training.py", "def f():\n    from ...training import loop"),
        ("amadapter_core/hosts/diffusers/pipeline.py", "from diffusers import DDIMScheduler"),
        ("amadapter_core/bench.py", "def f():\n    from .hosts import comfy, diffusers"),
        ("amadapter_core/training/stage1.py", "def f():\n    import accelerate, diffusers"),
    ],
)
def test_the_check_lets_the_right_imports_pass(name: str, source: str, optional: set[str]) -> None:
    assert violations(name, source, optional) == []


def module_graph(sources: dict[str, str]) -> dict[str, set[str]]:
    """Return which files import which when they are loaded."""
    files = {".".join(PurePosixPath(name).with_suffix("").parts): name for name in sources}
    files |= {name.removesuffix(".__init__"): file for name, file in files.items()}
    graph: dict[str, set[str]] = {}
    for name, source in sources.items():
        at_load = (entry for entry in imports_of(name, source) if entry.relative and not entry.deferred)
        targets = [entry.target for entry in at_load]
        # `from .a import b` names a module b of the package a, or else something in the module a.
        places = [target if target in files else target.rpartition(".")[0] for target in targets]
        graph[name] = {files[place] for place in places if place in files} - {name}
    return graph


def cycle_in(graph: dict[str, set[str]]) -> list[str]:
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def test_modules_import_each_other_downward_only() -> None:
    sources = {name: (ROOT / name).read_text(encoding="utf-8") for name in CORE_FILES}
    assert cycle_in(module_graph(sources)) == []


def test_a_circle_of_imports_is_seen() -> None:
    sources = {
        "amadapter_core/attention.py": "from .matching import cost",
        "amadapter_core/matching.py": "from . import matcher",
        "amadapter_core/matcher.py": "from .attention import attend",
    }
    assert len(set(cycle_in(module_graph(sources)))) == 3


IMPORT_CORE = """
import importlib, json, sys, time
import torch
start = time.perf_counter()
for name in {modules!r}:
    importlib.import_module(name)
seconds = time.perf_counter() - start
heavy = [name for name in {heavy!r} if name in sys.modules]
print(json.dumps({{"seconds": seconds, "heavy": heavy}}))
"""


def import_core() -> dict:
    """Import the core in a fresh interpreter and return what that cost."""
    modules = [
        ".".join(PurePosixPath(name).with_suffix("").parts).removesuffix(".__init__")
        for name in CORE_FILES
        if not name.startswith("amadapter_core/hosts/") and not name.endswith("__main__.py")
    ]
    code = IMPORT_CORE.format(modules=modules, heavy=sorted(DIFFUSERS | COMFY))
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.slow
def test_the_core_loads_fast_and_without_any_host() -> None:
    # The better of two: the first may have to compile, and a busy machine is no fault of ours.
    costs = [import_core(), import_core()]
    assert costs[0]["heavy"] == []
    assert min(cost["seconds"] for cost in costs) < 2.0
