"""Whatever the core offers says what it is: every public module, class and function has a docstring."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = sorted((ROOT / "amadapter_core").rglob("*.py"))
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def is_public(name: str) -> bool:
    return not name.startswith("_")


def methods(kind: ast.ClassDef) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """The public methods and properties of a class, by name."""
    found = (entry for entry in kind.body if isinstance(entry, DEFINITIONS[:2]))
    return {entry.name: entry for entry in found if is_public(entry.name)}


def bases(kind: ast.ClassDef) -> set[str]:
    """Names of the base classes, without their modules and parameters."""
    plain = (base.value if isinstance(base, ast.Subscript) else base for base in kind.bases)
    return {base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "") for base in plain}


class Declared:
    """What the core's classes say of their methods, for those that carry them out."""

    def __init__(self, trees: list[ast.Module]) -> None:
        kinds = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        self.by_name = {kind.name: kind for kind in kinds}
        self.protocols = [kind for kind in kinds if "Protocol" in bases(kind)]

    def documents(self, kind: ast.ClassDef, method: str) -> bool:
        """Whether a base of the class, or a protocol that it has all methods of, documents the method."""
        own = methods(kind)
        kept = [protocol for protocol in self.protocols if methods(protocol).keys() <= own.keys()]
        kept += [self.by_name[name] for name in bases(kind) if name in self.by_name]
        for parent in kept:
            if parent is kind:
                continue
            declaration = methods(parent).get(method)
            if (declaration is not None and ast.get_docstring(declaration)) or self.documents(parent, method):
                return True
        return False


def undocumented(tree: ast.Module, declared: Declared) -> Iterator[tuple[str, int]]:
    """Yield name and line of whatever is public in a file and says nothing of itself."""
    if tree.body and not ast.get_docstring(tree):
        yield "the module", 1
    for entry in tree.body:
        if not isinstance(entry, DEFINITIONS) or not is_public(entry.name):
            continue
        if not ast.get_docstring(entry):
            yield entry.name, entry.lineno
        if isinstance(entry, ast.ClassDef):
            for name, method in methods(entry).items():
                if not ast.get_docstring(method) and not declared.documents(entry, name):
                    yield f"{entry.name}.{name}", method.lineno


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in CORE}


def test_everything_public_has_a_docstring(trees: dict[Path, ast.Module]) -> None:
    declared = Declared(list(trees.values()))
    silent = [
        f"{path.relative_to(ROOT).as_posix()}:{line}: {name} has no docstring"
        for path, tree in trees.items()
        for name, line in undocumented(tree, declared)
    ]
    assert not silent, "\n".join([f"{len(silent)} public definitions say nothing of themselves:", *silent])


SILENT_METHOD = """
class A(P):
    '''A.'''
    def f(self): pass
"""
DECLARES_F = """
class P(Protocol):
    '''P.'''
    def f(self):
        '''F.'''
"""
DECLARES_G = """
    def g(self):
        '''G.'''
"""


def found_in(source: str) -> list[str]:
    tree = ast.parse(source)
    return [name for name, _ in undocumented(tree, Declared([tree]))]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("def f(): pass", ["the module", "f"]),
        ("'M.'\nclass A:\n    def f(self): pass", ["A", "A.f"]),
        ("'M.'\nclass A:\n    'A.'\n    @property\n    def size(self): pass", ["A.size"]),
        ("'M.'" + SILENT_METHOD, ["A.f"]),
        ("'M.'" + DECLARES_F + DECLARES_G + SILENT_METHOD.replace("(P)", ""), ["A.f"]),
    ],
)
def test_the_check_sees_what_is_silent(source: str, names: list[str]) -> None:
    assert found_in(source) == names


@pytest.mark.parametrize(
    "source",
    [
        "",
        "'M.'\ndef _f(): pass\nclass _A:\n    def f(self): pass",
        "'M.'" + DECLARES_F.replace("(Protocol)", "") + SILENT_METHOD,
        "'M.'" + DECLARES_F + SILENT_METHOD.replace("(P)", ""),
    ],
)
def test_the_check_lets_private_things_and_kept_promises_pass(source: str) -> None:
    assert found_in(source) == []
