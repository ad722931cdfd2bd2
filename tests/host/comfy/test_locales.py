"""The nodes in other languages: every text is translated, and what a translation must not change is unchanged.

After a text of a node has changed: mend `scripts/phrases/*.json`, then run `scripts/make_locales.py`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.host.comfy.pack import ROOT, pack_nodes

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("comfy_modules")]

LANGUAGES = ("ja", "ko", "zh")
every_language = pytest.mark.parametrize("language", LANGUAGES)
# Letters that a sentence of the language has, and hardly a sentence of the others.
LETTERS = {"ja": r"[\u3040-\u30ff]", "ko": r"[\uac00-\ud7af]", "zh": r"[\u4e00-\u9fff]"}
NUMBER = re.compile(r"\d+(?:\.\d+)?")
# Paths, files and ids: models/loras, config.json, .pth, prompt_of_pass.
CODE = re.compile(r"`[^`]+`|\w+(?:[/._]\w+)+|\.[a-z]{2,}\b|\w+/(?!\w)")
SIGNS = ("->", "=", "@", "*", "#", "`", "{", "}", "%")


@pytest.fixture(scope="module")
def nodes(comfy_modules: Path) -> list[dict]:
    """What ComfyUI tells its frontend about each node."""
    return [node.GET_NODE_INFO_V1() for node in pack_nodes()]


@pytest.fixture(scope="module")
def english(make_locales_script: ModuleType, nodes: list[dict]) -> dict[str, dict]:
    """The nodes' texts as the frontend looks for them: `english[node]["inputs"][name]["tooltip"]` and so on."""
    return make_locales_script.in_english(nodes)["nodeDefs.json"]


@pytest.fixture(params=LANGUAGES)
def phrases(request: pytest.FixtureRequest, make_locales_script: ModuleType) -> dict[str, str]:
    return make_locales_script.read_phrases(request.param)


def sockets(english: dict[str, dict]) -> list[dict]:
    return [entry for node in english.values() for side in ("inputs", "outputs") for entry in node[side].values()]


def sentences(english: dict[str, dict]) -> set[str]:
    descriptions = {node["description"] for node in english.values()}
    return descriptions | {entry["tooltip"] for entry in sockets(english)}


def test_there_are_phrase_books_for_these_languages(make_locales_script: ModuleType) -> None:
    assert make_locales_script.languages() == list(LANGUAGES)


@every_language
def test_every_text_of_every_node_is_translated(make_locales_script: ModuleType, nodes: list, language: str) -> None:
    assert make_locales_script.missing(nodes, language) == []


@every_language
def test_no_phrase_is_left_without_a_node(make_locales_script: ModuleType, nodes: list, language: str) -> None:
    assert make_locales_script.unused(nodes, language) == []


def test_the_files_are_what_the_script_writes(make_locales_script: ModuleType, nodes: list) -> None:
    assert make_locales_script.complaints(nodes) == []


def test_numbers_paths_and_signs_survive(english: dict, phrases: dict) -> None:
    """An id that names a socket may be told by the name that the socket has in that language."""
    lost = []
    for text in sentences(english) & set(phrases):
        translation = phrases[text]
        kept = {*NUMBER.findall(text), *CODE.findall(text)}
        lost += [
            (text, part) for part in kept if part not in translation and phrases.get(part, part) not in translation
        ]
        lost += [(text, sign) for sign in SIGNS if text.count(sign) != translation.count(sign)]
    assert lost == []


def test_options_are_called_what_the_menus_call_them(nodes: list, english: dict, phrases: dict) -> None:
    """Combos show their values untranslated: `keep: ...` explains the value `keep`."""
    lost = []
    for node in nodes:
        for side in ("required", "optional"):
            for name, (_, options) in node["input"].get(side, {}).items():
                tooltip = english[node["name"]]["inputs"][name]["tooltip"]
                told = [str(value) for value in options.get("options", ()) if re.search(rf"\b{value}:", tooltip)]
                lost += [(tooltip, value) for value in told if value not in phrases.get(tooltip, value)]
    assert lost == []


def test_nodes_are_called_what_their_titles_say(english: dict, phrases: dict) -> None:
    titles = sorted((node["display_name"] for node in english.values()), key=len, reverse=True)
    titles = [title for title in titles if " " in title and title in phrases]
    lost = []
    for text in sentences(english) & set(phrases):
        rest = text
        for title in titles:
            if re.search(rf"\b{title}\b", rest) and phrases[title] not in phrases[text]:
                lost.append((text, phrases[title]))
            rest = rest.replace(title, "")
    assert lost == []


def test_titles_are_unique(english: dict, phrases: dict) -> None:
    titles = [phrases.get(node["display_name"], node["display_name"]) for node in english.values()]
    assert len(set(titles)) == len(titles)


def test_sockets_of_one_side_of_a_node_have_different_names(english: dict, phrases: dict) -> None:
    for name, node in english.items():
        for side in ("inputs", "outputs"):
            called = [phrases.get(entry["name"], entry["name"]) for entry in node[side].values()]
            assert len(set(called)) == len(called), (name, called)


def test_names_are_words_and_not_ids(english: dict, phrases: dict) -> None:
    names = {entry["name"] for entry in sockets(english)} & set(phrases)
    assert [phrases[name] for name in names if "_" in phrases[name]] == []


@every_language
def test_sentences_are_in_the_language(make_locales_script: ModuleType, english: dict, language: str) -> None:
    phrases = make_locales_script.read_phrases(language)
    told = sentences(english) & set(phrases)
    assert told
    assert [phrases[text] for text in told if not re.search(LETTERS[language], phrases[text])] == []


def test_what_the_frontend_takes_for_syntax_is_escaped_where_it_reads_it(make_locales_script: ModuleType) -> None:
    tree = {"description": "a", "inputs": {"x": {"name": "a", "tooltip": "a"}}, "outputs": {"0": {"name": "b"}}}
    assert make_locales_script.translated(tree, {"a": "{1|2} @up"}) == {
        "description": "{'{'}1{'|'}2{'}'} {'@'}up",
        "inputs": {"x": {"name": "{'{'}1{'|'}2{'}'} {'@'}up", "tooltip": "{1|2} @up"}},
    }


def test_the_check_names_what_is_out_of_date(
    make_locales_script: ModuleType,
    nodes: list,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    book = dict.fromkeys(make_locales_script.missing(nodes, "none"), "?")
    (tmp_path / "phrases").mkdir()
    path = tmp_path / "phrases" / "fr.json"
    path.write_text(json.dumps(book), encoding="utf-8")
    monkeypatch.setattr(make_locales_script, "PHRASES", path.parent)
    monkeypatch.setattr(make_locales_script, "LOCALES", tmp_path / "locales")
    monkeypatch.setattr(make_locales_script, "read_nodes", lambda: nodes)
    assert make_locales_script.main(["--check"]) == 1
    assert "locales/fr/nodeDefs.json is out of date" in capsys.readouterr().out
    assert make_locales_script.main([]) == make_locales_script.main(["--check"]) == 0
    assert capsys.readouterr().out == ""

    del book["Apply AM-Adapter"]
    path.write_text(json.dumps({**book, "of old": "?"}), encoding="utf-8")
    assert make_locales_script.main(["--missing", "fr"]) == 0
    assert json.loads(capsys.readouterr().out) == ["Apply AM-Adapter"]
    assert make_locales_script.main([]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told == ["phrases/fr.json lacks: Apply AM-Adapter", "phrases/fr.json has what no node says: of old"]
    written = json.loads((tmp_path / "locales" / "fr" / "nodeDefs.json").read_text(encoding="utf-8"))
    assert "display_name" not in written["AMAdapterApply"]

    path.rename(tmp_path / "fr.json")
    assert make_locales_script.main(["--check"]) == 1
    assert "locales/fr/nodeDefs.json has no phrase book" in capsys.readouterr().out


def test_the_pack_brings_them_along() -> None:
    """The registry publishes what `.comfyignore` does not name."""
    ignored = (ROOT / ".comfyignore").read_text(encoding="utf-8").splitlines()
    assert not {"locales", "locales/", "/locales/", "*.json"} & set(ignored)
