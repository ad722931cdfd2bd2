"""Finding exemplars: the wishes, the published JSON, the command."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from amadapter_core.datasets import Pair, PairedFiles, open_data_set
from amadapter_core.datasets.reading import Ids
from amadapter_core.label_maps import LabelMap, Palette
from amadapter_core.retrieval.__main__ import main
from amadapter_core.retrieval.building import build
from amadapter_core.retrieval.finding import Finder, Wishes
from amadapter_core.retrieval.index import Index
from amadapter_core.retrieval.layouts import Layouts
from amadapter_core.retrieval.made import made_labels
from amadapter_core.retrieval.overlap import agreement, fit
from amadapter_core.retrieval.published import read_retrieval, write_retrieval
from amadapter_core.retrieval.sheets import contact_sheet

CITY = Palette.load("cityscapes19")
SIZE = (64, 128)
COUNT = 250


def labels(seed: int) -> LabelMap:
    return LabelMap(torch.from_numpy(made_labels(seed, SIZE)).long()[None], CITY)


def index_of(maps: list[LabelMap], names: list[str] | None = None, embeddings: torch.Tensor | None = None) -> Index:
    """An index without files."""
    names = names or [f"street/{number:03}" for number in range(len(maps))]
    pairs = tuple(Pair(name, Path(f"{name}.jpg"), (Path(f"{name}.png"),)) for name in names)
    layouts = Layouts.join([Layouts.of(one) for one in maps])
    digests = torch.zeros(len(maps), 16, dtype=torch.uint8)
    files = PairedFiles("folder", CITY, pairs, Ids())
    return Index(files, Path(), layouts, digests, digests, "" if embeddings is None else "test", embeddings)


@pytest.fixture(scope="module")
def finder() -> Finder:
    return Finder(index_of([labels(seed) for seed in range(COUNT)]))


def names(found: list) -> list[str]:
    return [one.name for one in found]


def test_the_best_fits_come_first_with_what_they_lack(finder: Finder) -> None:
    target = labels(1000)
    found = finder.find(target, Wishes(count=8))
    exact = fit(Layouts.of(target), finder.index.layouts)
    best = exact.topk(8)
    assert [one.row for one in found] == best.indices.tolist()
    assert [one.score for one in found] == pytest.approx(best.values.tolist())
    for one in found:
        shown = set(CITY.names[k] for k in finder.index.layouts.present()[one.row].nonzero().flatten().tolist())
        assert set(one.lacking) == set(target.names_present()) - shown
    assert names(finder.find(target, Wishes(count=3))) == names(found)[:3]


def test_the_target_itself_and_its_near_duplicates_are_left_out(finder: Finder) -> None:
    target = labels(7)
    assert finder.find(target, Wishes(count=1, near_duplicate=1.01))[0].name == "street/007"
    found = finder.find(target, Wishes(count=5))
    assert "street/007" not in names(found) and len(found) == 5
    strict = finder.find(target, Wishes(count=5, near_duplicate=0.7))
    alike = agreement(Layouts.of(target), finder.index.layouts[torch.tensor([one.row for one in strict])])
    assert float(alike.max()) < 0.7


def test_duplicates_that_fill_the_candidates_are_looked_past(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amadapter_core.retrieval.finding._CANDIDATES", 8)
    film = Finder(index_of([labels(5)] * 40 + [labels(seed) for seed in (6, 8, 9)]))
    assert sorted(one.row for one in film.find(labels(5), Wishes(count=3))) == [40, 41, 42]
    still = Finder(index_of([labels(5)] * 3))
    with pytest.raises(ValueError, match=r"no exemplar is left of 3 in the index; 3 with the target's own layout"):
        still.find(labels(5))


def test_must_have_classes_are_shown_by_each_and_named_when_none_does(finder: Finder) -> None:
    found = finder.find(labels(1000), Wishes(count=10, must_have=("bus", "bicycle")))
    assert len(found) == 10
    present = finder.index.layouts.present()
    assert all(present[one.row, CITY.names.index(name)] for one in found for name in ("bus", "bicycle"))
    with pytest.raises(ValueError, match=r"250 in the index, 0 with train; ask for less"):
        finder.find(labels(1000), Wishes(must_have=("train",)))
    with pytest.raises(ValueError, match="no class named 'buss'"):
        finder.find(labels(1000), Wishes(must_have=("buss",)))


def test_fewer_come_where_no_more_meet_the_wishes(finder: Finder) -> None:
    few = {f"street/{number:03}" for number in range(COUNT - 2)}
    assert sorted(names(finder.find(labels(1000), Wishes(count=5, exclude=frozenset(few))))) == [
        "street/248",
        "street/249",
    ]


def test_a_larger_penalty_lacks_less(finder: Finder) -> None:
    def lacking(penalty: float) -> float:
        found = [one for seed in range(20) for one in finder.find(labels(500 + seed), Wishes(3, penalty=penalty))]
        return sum(len(one.lacking) for one in found) / len(found)

    assert lacking(3.0) < lacking(0.5) < lacking(0.0)


def test_diversity_makes_exemplars_unlike_each_other_and_begins_with_the_best(finder: Finder) -> None:
    def likeness(diversity: float) -> float:
        total = 0.0
        for seed in range(10):
            rows = [one.row for one in finder.find(labels(500 + seed), Wishes(5, diversity=diversity))]
            assert rows[0] == finder.find(labels(500 + seed), Wishes(1))[0].row and len(set(rows)) == 5
            chosen = finder.index.layouts[torch.tensor(rows)]
            total += sum(float(agreement(chosen[slice(i, i + 1)], chosen).sum()) - 1 for i in range(5)) / 20
        return total / 10

    assert likeness(1.0) < likeness(0.5) < likeness(0.0)


def test_variation_draws_by_seed_and_stays_near_the_best(finder: Finder) -> None:
    target = labels(1000)

    def find(variation: float, seed: int) -> list:
        return finder.find(target, Wishes(4, variation=variation, seed=seed))

    assert names(find(0, 1)) == names(find(0, 2))
    assert names(find(0.05, 1)) == names(find(0.05, 1)) != names(find(0.05, 2))

    def mean(variation: float) -> float:
        return float(np.mean([one.score for seed in range(20) for one in find(variation, seed)]))

    assert mean(0.0) > mean(0.02) > mean(0.2) > mean(1.0)
    assert mean(0.0) - mean(0.02) < 0.1


def test_appearance_searches_the_share_that_looks_most_like_it() -> None:
    maps = [labels(seed) for seed in range(60)]
    angles = torch.linspace(0, math.pi / 2, 60)[torch.randperm(60, generator=torch.Generator().manual_seed(0))]
    embeddings = torch.stack([angles.cos(), angles.sin()], 1).half()
    finder = Finder(index_of(maps, embeddings=embeddings))
    night = torch.tensor([0.0, 1.0])
    wishes = Wishes(count=6, appearance=night, appearance_share=0.1)
    found = finder.find(labels(1000), wishes)
    assert {one.row for one in found} == set(angles.topk(6).indices.tolist())
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True)
    unlike = finder.find(labels(1000), Wishes(count=2, diversity=1.0))
    assert abs(float(angles[unlike[0].row] - angles[unlike[1].row])) > 0.5
    with pytest.raises(ValueError, match=r"a vector of 3, those of the index have 2 \(test\)"):
        finder.find(labels(1000), Wishes(appearance=torch.ones(3)))
    with pytest.raises(ValueError, match="knows nothing of appearance"):
        Finder(index_of(maps)).find(labels(1000), wishes)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"count": 0}, "count must be 1 or more"),
        ({"penalty": -1}, "penalty must be 0..100"),
        ({"diversity": 1.5}, "diversity must be 0..1"),
        ({"variation": -0.1}, "variation must be"),
        ({"appearance_share": 0}, "appearance_share must be above 0"),
    ],
)
def test_wishes_out_of_range_are_refused(options: dict, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Wishes(**options)


def test_one_target_at_a_time_in_the_classes_of_the_index(finder: Finder) -> None:
    with pytest.raises(ValueError, match="one target at a time, got a label map of batch 2"):
        finder.find(labels(0).expand(2))
    other = Palette.load("ade20k150")
    with pytest.raises(ValueError, match="bring both to one table"):
        finder.find(LabelMap(torch.full((1, 64, 64), other.id_of("bed")), other))


def test_names_are_found_whole_or_by_their_last_part() -> None:
    finder = Finder(index_of([labels(0)] * 3, ["val/a", "train/a", "train/b"]))
    assert [finder.row_of(name) for name in ("val/a", "train/a", "b")] == [0, 1, 2]
    with pytest.raises(ValueError, match=r"'a' is not in the index \(2 entries end like it\)"):
        finder.row_of("a")
    with pytest.raises(ValueError, match=r"'c' is not in the index \(nothing is called so\)"):
        finder.score(labels(1), ["b", "c"])
    assert names(finder.score(labels(0), ["b", "val/a"])) == ["train/b", "val/a"]


def test_the_published_json_is_read_and_written(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "pairs.json"
    pairs = {"7d06fefd-f7be05a6": ["7d15b18b-1e0d6e3f", "a"], "été": ["b"]}
    write_retrieval(path, pairs)
    assert json.loads(path.read_text(encoding="utf-8")) == pairs == read_retrieval(path)
    assert [file.name for file in path.parent.iterdir()] == ["pairs.json"]
    for text, told in (
        ("{", "not a JSON file"),
        ("[]", "expected {target: .* got list"),
        ('{"a": "b"}', "'a': expected a list of at least one name, got 'b'"),
        ('{"a": []}', "at least one name"),
        ('{"a": [1]}', "at least one name"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=told):
            read_retrieval(path)
    with pytest.raises(FileNotFoundError, match="should map targets"):
        read_retrieval(tmp_path / "none.json")


def test_the_contact_sheet_has_a_column_for_each_exemplar() -> None:
    picture = np.full((*SIZE, 3), 200, np.uint8)
    two = contact_sheet(labels(0), [("a very long place/of a file", 0.71, picture, labels(1))] * 2, height=64)
    three = contact_sheet(labels(0), [("a", 0.71, picture, labels(1))] * 3, height=64)
    assert three.width - two.width == 128 + 6 and three.height == two.height
    assert two.getpixel((128 + 3 * 6, 20)) == (200, 200, 200)


@pytest.fixture
def street_folder(tmp_path: Path) -> Path:
    root = tmp_path / "streets"
    for number in range(12):
        ids = made_labels(number, SIZE)
        for kind, array in (("images", np.full((*SIZE, 3), 20 * number, np.uint8)), ("labels", ids)):
            (root / kind / "town").mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(root / kind / "town" / f"{number:02}.png")
    return root


def run(capsys: pytest.CaptureFixture, *arguments: object) -> dict:
    assert main([str(argument) for argument in arguments]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_the_command_builds_and_queries(street_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    index = tmp_path / "index.safetensors"
    (street_folder / "labels" / "town" / "03.png").unlink()
    built = run(capsys, "build", street_folder, index, "--palette", "cityscapes19")
    assert (built["items"], built["described"], built["left_out"]) == (11, 11, 1)
    assert run(capsys, "build", street_folder, index, "--palette", "cityscapes19")["described"] == 0
    targets, sheet, pairs = street_folder / "labels" / "town", tmp_path / "sheet.png", tmp_path / "pairs.json"
    options = ("--count", 3, "--reading", "ids", "--json", pairs, "--sheet", sheet, "--exclude", "town/05")
    assert run(capsys, "query", index, targets, *options)["targets"] == 11
    finder = Finder(Index.load(index))
    listed = read_retrieval(pairs)
    assert list(listed)[:3] == ["00", "01", "02"] and Image.open(sheet).width > 500
    wishes = Wishes(count=3, exclude=frozenset({"town/05"}))
    assert listed["02"] == names(finder.find(labels(2), wishes)) and "town/02" not in listed["02"]
    assert main(["query", str(index), str(targets / "02.png"), "--words", "night"]) == 1
    assert "need --clip" in capsys.readouterr().err
    assert main(["query", str(tmp_path / "no.safetensors"), str(targets / "02.png")]) == 1
    assert "build it first" in capsys.readouterr().err


def saved_clip(folder: Path) -> Path:
    """A CLIP of transformers in miniature, with random weights."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

    torch.manual_seed(0)
    small = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    words = ["<|startoftext|>", "<|endoftext|>", *(f"{chr(c)}{end}" for c in range(97, 123) for end in ("", "</w>"))]
    text = CLIPTextConfig(vocab_size=len(words), bos_token_id=0, eos_token_id=1, pad_token_id=1, **small)
    vision = CLIPVisionConfig(image_size=32, patch_size=16, **small)
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=8)
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    CLIPTokenizer(vocab={w: i for i, w in enumerate(words)}, merges=[], model_max_length=16).save_pretrained(folder)
    return folder


def test_the_command_asks_for_an_appearance_by_picture_or_by_words(
    street_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    from amadapter_core.retrieval.appearance import Clip

    index, clip = tmp_path / "index.safetensors", saved_clip(tmp_path / "clip")
    built = run(capsys, "build", street_folder, index, "--palette", "cityscapes19", "--clip", clip, "--device", "cpu")
    assert built["items"] == 12
    target, pairs = street_folder / "labels" / "town" / "02.png", tmp_path / "pairs.json"
    like = street_folder / "images" / "town" / "09.png"
    options = ("--clip", clip, "--share", 1 / 12, "--count", 1, "--json", pairs, "--reading", "ids", "--device", "cpu")
    run(capsys, "query", index, target, "--like", like, *options)
    model, entries = Clip(clip), Index.load(index)
    assert entries.embedder == model.name and entries.embeddings.shape == (12, 8)
    vector = model.pictures([entries.files.picture(9)])[0]
    assert read_retrieval(pairs)["02"] == [entries.names[int((entries.embeddings.float() @ vector).argmax())]]
    words = model.words("night")
    assert words.shape == (8,) and float(words.norm()) == pytest.approx(1, abs=1e-5)
    run(capsys, "query", index, target, "--words", "night", *options)
    assert read_retrieval(pairs)["02"] == [entries.names[int((entries.embeddings.float() @ words).argmax())]]
    run(capsys, "build", street_folder, index, "--palette", "cityscapes19")
    assert main(["query", str(index), str(target), "--words", "night", "--clip", str(clip)]) == 1
    assert "the index was built with none" in capsys.readouterr().err


def test_the_command_measures(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    options = ("--size", 32, 64, "--queries", 4, "--exact-queries", 3, "--workers", 1)
    figures = run(capsys, "bench", "--count", 60, *options)
    assert figures["items"] == 60 and figures["recall_at_10"] == 1 and figures["bytes_per_item"] > 1024
    folder = tmp_path / "scenes"
    compared = run(capsys, "scenes", "--count", 24, "--targets", 5, "--size", 32, "--folder", folder)
    assert compared["retrieved_overlap"] > compared["random_overlap"] and compared["scenes"] == 24
    files = open_data_set("bdd100k", folder, palette=CITY)
    assert build(folder / "scenes.safetensors", files, folder).read == 0
