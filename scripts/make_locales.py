"""Write `locales/<language>/*.json`: the nodes as ComfyUI's frontend shows them in other languages.

English lies in the nodes' schemas, and only there: the frontend shows it wherever a language says nothing. Other
languages lie in phrase books, `scripts/phrases/<language>.json`, one entry per text: {"English": "translation"}. A new
language is a new phrase book, named by the frontend's code for it (zh, zh-TW, ja, ko, fr ...).

`--missing LANGUAGE` lists what a phrase book lacks, `--check` says what is out of date.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PHRASES = Path(__file__).with_name("phrases")
LOCALES = ROOT / "locales"
# The frontend has words for these; a pack's would take their place in every node's category.
CORE_CATEGORIES = frozenset({"batch", "loaders", "noise", "training"})
# What vue-i18n, which reads names and descriptions, takes for syntax. Tooltips are shown as they are.
SYNTAX = re.compile(r"[@{}|%]")


def read_nodes() -> list[dict]:
    """What ComfyUI tells its frontend about each node of the pack."""
    sys.path.insert(0, str(ROOT))
    from amadapter_core.hosts.comfy.locate import make_comfyui_importable
    from tests.host.comfy.pack import pack_nodes

    make_comfyui_importable()
    return [node.GET_NODE_INFO_V1() for node in pack_nodes()]


def in_english(nodes: list[dict]) -> dict[str, dict]:
    """The files of a language by name, with the schemas' own texts in them."""
    categories = {part for node in nodes for part in node["category"].split("/")} - CORE_CATEGORIES
    return {
        "main.json": {"nodeCategories": {category: category for category in sorted(categories)}},
        "nodeDefs.json": {node["name"]: definition(node) for node in nodes},
    }


def definition(node: dict) -> dict:
    """A node's texts where the frontend looks for them. Combos' options are stored in workflows and have none."""
    options = {
        name: entry[1] for side in ("required", "optional") for name, entry in node["input"].get(side, {}).items()
    }
    outputs = zip(node["output_name"], node["output_tooltips"], strict=True)
    return {
        "display_name": node["display_name"],
        "description": node["description"],
        "inputs": {
            name: {"name": entry.get("display_name") or name, "tooltip": entry["tooltip"]}
            for name, entry in options.items()
        },
        "outputs": {str(place): {"name": name, "tooltip": tooltip} for place, (name, tooltip) in enumerate(outputs)},
    }


def leaves(tree: dict | str) -> Iterator[str]:
    """All texts in nested dictionaries."""
    if isinstance(tree, str):
        yield tree
    else:
        for branch in tree.values():
            yield from leaves(branch)


def languages() -> list[str]:
    """Those with a phrase book."""
    return sorted(path.stem for path in PHRASES.glob("*.json"))


def read_phrases(language: str) -> dict[str, str]:
    """The phrase book of a language; an empty one where there is none yet."""
    path = PHRASES / f"{language}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def translated(tree: dict | str, phrases: dict[str, str], place: str = "") -> dict | str:
    """Nested English texts in another language, without those that it has no words for.

    :param place: the key of `tree` in what it comes from; texts called `tooltip` are not escaped.
    """
    if isinstance(tree, dict):
        branches = {key: translated(branch, phrases, key) for key, branch in tree.items()}
        return {key: branch for key, branch in branches.items() if branch}
    text = phrases.get(tree, "")
    return text if place == "tooltip" else SYNTAX.sub(lambda sign: f"{{'{sign[0]}'}}", text)


def locale_texts(nodes: list[dict]) -> dict[Path, str]:
    """What belongs into each file of `locales/`."""
    english = in_english(nodes)
    return {
        LOCALES / language / name: json.dumps(translated(tree, phrases), ensure_ascii=False, indent=2) + "\n"
        for language in languages()
        for phrases in [read_phrases(language)]
        for name, tree in english.items()
    }


def missing(nodes: list[dict], language: str) -> list[str]:
    """English texts that a language has no words for."""
    return sorted(set(leaves(in_english(nodes))) - set(read_phrases(language)))


def unused(nodes: list[dict], language: str) -> list[str]:
    """Entries of a phrase book for texts that no node has any more."""
    return sorted(set(read_phrases(language)) - set(leaves(in_english(nodes))))


def complaints(nodes: list[dict]) -> list[str]:
    """What is to be done before phrase books, schemas and `locales/` agree, one sentence each."""
    texts = locale_texts(nodes)
    found = {path for path in LOCALES.glob("*/*") if path.is_file()}
    return [
        *(f"phrases/{each}.json lacks: {text}" for each in languages() for text in missing(nodes, each)),
        *(f"phrases/{each}.json has what no node says: {text}" for each in languages() for text in unused(nodes, each)),
        *(
            f"locales/{path.relative_to(LOCALES).as_posix()} is out of date: run scripts/make_locales.py"
            for path, text in texts.items()
            if path not in found or path.read_text(encoding="utf-8") != text
        ),
        *(f"locales/{path.relative_to(LOCALES).as_posix()} has no phrase book" for path in sorted(found - set(texts))),
    ]


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="write nothing; say what is out of date")
    what.add_argument("--missing", metavar="LANGUAGE", help="print the texts without a translation, as JSON")
    asked = parser.parse_args(arguments)
    nodes = read_nodes()
    if asked.missing:
        print(json.dumps(missing(nodes, asked.missing), ensure_ascii=False, indent=1))
        return 0
    if not asked.check:
        for path, text in locale_texts(nodes).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    found = complaints(nodes)
    print(*found, sep="\n", end="\n" if found else "")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
