"""The demonstration without any host: what is measured on what, what is kept, what the figures are made into."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from amadapter_core.demo import seeds
from amadapter_core.demo.__main__ import main
from amadapter_core.demo.files import NEEDED, Files
from amadapter_core.demo.inputs import write_inputs
from amadapter_core.demo.measuring import CODEC, _read
from amadapter_core.demo.pictures import sheet
from amadapter_core.demo.report import best_strengths, gates, tables
from amadapter_core.demo.rows import BOOSTED, CATEGORICAL, IMPLICIT, NONE, PUBLISHED, ROWS, SPATIAL, rows
from amadapter_core.demo.triples import draw
from amadapter_core.demo.words import SPECIALS, words_of, write_tokenizer
from amadapter_core.scenes import VOCABULARY, scene

BOTH_K = (f"{IMPLICIT} + k", f"{CATEGORICAL} + k")


class TestSeeds:
    def test_what_is_measured_was_never_trained_on(self) -> None:
        ranges = [set(part) for part in (seeds.TRAINING, seeds.VALIDATION, seeds.HELD_OUT)]
        assert not ranges[0] & ranges[1] and not ranges[0] & ranges[2] and not ranges[1] & ranges[2]

    def test_a_triple_has_two_layouts_of_its_own_and_one_appearance(self) -> None:
        batch = draw(seeds.HELD_OUT, [0, 5], (32, 48), 4)
        for i, number in enumerate((0, 5)):
            layouts = seeds.HELD_OUT[2 * number], seeds.HELD_OUT[2 * number + 1]
            exemplar, target = (scene(layout, seeds.HELD_OUT[number], (32, 48)) for layout in layouts)
            assert np.array_equal((batch.exemplar[i].permute(1, 2, 0) * 255).round().numpy(), exemplar.image)
            assert np.array_equal((batch.truth[i].permute(1, 2, 0) * 255).round().numpy(), target.image)
            assert np.array_equal(batch.target_labels.ids[i].numpy(), target.ids)
            assert np.array_equal(batch.exemplar_materials[i].numpy(), exemplar.materials)
            assert batch.captions[i] == target.caption == exemplar.caption

    def test_a_triple_is_the_same_in_any_company(self) -> None:
        alone, together = draw(seeds.HELD_OUT, [3], (32, 32), 4), draw(seeds.HELD_OUT, [1, 3], (32, 32), 4)
        assert torch.equal(alone.noise[0], together.noise[1])
        assert torch.equal(alone.truth[0], together.truth[1])
        assert not torch.equal(together.noise[0], together.noise[1])


class TestWords:
    def test_all_words_of_the_captions_have_tokens(self, tmp_path: Path) -> None:
        write_tokenizer(tmp_path, words_of(VOCABULARY))
        tokens = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
        assert [tokens[token] for token in SPECIALS] == [0, 1, 2]
        for appearance in range(40):
            assert set(scene(0, appearance, (32, 32)).caption.split()) <= set(tokens)


class TestFiles:
    def test_without_weights_the_message_says_what_is_missing_and_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="family.json, .*not found in .*demo init.*training.*demo pack"):
            Files(tmp_path)

    def test_a_network_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        for name in NEEDED:
            (tmp_path / name).touch()
        with pytest.raises(FileNotFoundError, match="no matcher_spatial.safetensors"):
            Files(tmp_path).matcher("spatial")
        with pytest.raises(ValueError, match="no matcher 'best'; use one of spatial, published"):
            Files(tmp_path).matcher("best")

    def test_changed_files_have_another_state(self, tmp_path: Path) -> None:
        for name in NEEDED:
            (tmp_path / name).touch()
        before = Files(tmp_path).state()
        (tmp_path / "unet.safetensors").write_bytes(b"new")
        assert Files(tmp_path).state() != before

    def test_the_command_ends_with_the_message(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--weights", str(tmp_path), "--out", str(tmp_path)]) == 2
        assert "Error: the demonstration's weights are not there" in capsys.readouterr().err


class TestRows:
    def test_with_all_there_are_all_rows_of_the_table(self) -> None:
        found = rows({IMPLICIT: 1.5, CATEGORICAL: 0.5, SPATIAL: 0.0}, {"spatial": 1, "published": 1})
        assert [row.name for row in found] == [row.name for row in ROWS]
        assert {row.name: row.log_strength for row in found if row.boosted} == dict(
            zip(BOOSTED, (1.5, 0.5, 0.0), strict=True)
        )
        assert found[2].strength == pytest.approx(np.exp(1.5))

    def test_rows_that_lack_a_strength_or_a_matcher_are_left_out(self) -> None:
        assert [row.name for row in rows({IMPLICIT: 1.0}, {})] == [NONE, IMPLICIT, f"{IMPLICIT} + k", CATEGORICAL]
        assert PUBLISHED in [row.name for row in rows({}, {"published": 1})]


def figures(colour: float, **more: float) -> dict:
    return {
        "colour": colour,
        "loss": 0.5,
        "accuracy": 0.9,
        "class_share": 0.5,
        "object_share": 0.4,
        "classes": {"0": colour, "13": colour + 1},
        "losses": {"100": 0.5},
    } | more


def results(learned: float, layout: float = 0.9, loss: float = 0.5, count: int = 24) -> list[dict]:
    """Triples of different difficulty; the learned row is better or worse by about the same in each."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        base, noise = 20 + rng.normal(), 0.1 * rng.normal()
        better = {"class_share": 0.8, "object_share": 0.7}
        found.append(
            {
                NONE: figures(base + 6),
                IMPLICIT: figures(base + 4),
                BOTH_K[0]: figures(base + 3),
                BOTH_K[1]: figures(base + 3),
                SPATIAL: figures(base + learned + noise, accuracy=layout, loss=loss + noise / 100, **better),
                CODEC: figures(base - 2),
            }
        )
    return found


class TestGates:
    def test_a_matcher_that_earns_its_place_passes_all(self) -> None:
        found = gates(results(learned=1.0))
        assert [name for name, gate in found.items() if not gate["passed"]] == []
        assert found["closes half of the distance to the codec"]["closed"] == pytest.approx(5 / 8, abs=0.01)
        assert len(found) == 9

    @pytest.mark.parametrize(
        ("change", "missed"),
        [
            (
                {"learned": 3.5},
                {f"colour beats {row}" for row in BOTH_K} | {"closes half of the distance to the codec"},
            ),
            ({"learned": 1.0, "layout": 0.85}, {f"layout within 0.03 of {NONE}"}),
            ({"learned": 1.0, "loss": 0.52}, {f"loss no worse than {IMPLICIT}"}),
        ],
    )
    def test_each_can_be_missed(self, change: dict, missed: set) -> None:
        assert {name for name, gate in gates(results(**change)).items() if not gate["passed"]} == missed

    def test_a_few_triples_prove_nothing(self) -> None:
        assert not gates(results(learned=1.0, count=4))[f"colour beats {BOTH_K[0]}"]["passed"]

    def test_without_the_matcher_there_is_nothing_to_ask(self) -> None:
        assert gates([{NONE: figures(1.0)}]) == {}


class TestReport:
    def test_the_tables_have_all_rows_classes_and_timesteps(self) -> None:
        text = tables(results(learned=1.0), {BOTH_K[0]: "implicit + k = 1.5"})
        assert "| implicit + k = 1.5 |" in text and f"| {SPATIAL} " in text
        assert "| road |" in text and "|  car |" in text
        assert "p < 0.001, 24 of 24" in text

    def test_the_strength_of_the_least_error_is_chosen_for_each_row(self) -> None:
        tried = {f"{row} {k:+g}": (row, k) for row in (IMPLICIT, SPATIAL) for k in (0.0, 1.0, 2.0)}
        errors = {IMPLICIT: {0.0: 3.0, 1.0: 1.0, 2.0: 2.0}, SPATIAL: {0.0: 1.0, 1.0: 2.0, 2.0: 3.0}}
        triples = [{name: {"colour": errors[row][k]} for name, (row, k) in tried.items()}] * 3
        assert best_strengths(triples, tried) == {IMPLICIT: 1.0, SPATIAL: 0.0}


class TestResults:
    HEAD = {"weights": "a", "rows": ["implicit"]}

    def write(self, path: Path, *lines: str) -> None:
        path.write_text("\n".join([json.dumps(self.HEAD), *lines]), encoding="utf-8")

    def test_a_line_that_was_cut_off_is_taken_off_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "r.jsonl"
        self.write(path, '{"triple": 4, "figures": {"implicit": {}}}', '{"triple": 5, "fig')
        assert _read(path, self.HEAD) == {4: {"implicit": {}}}
        assert path.read_text(encoding="utf-8").endswith("}}}\n")

    def test_results_of_something_else_are_not_mixed_in(self, tmp_path: Path) -> None:
        path = tmp_path / "r.jsonl"
        self.write(path, "")
        with pytest.raises(ValueError, match="results of other weights; name another folder with --out"):
            _read(path, self.HEAD | {"weights": "b"})

    def test_a_new_file_begins_with_what_is_measured(self, tmp_path: Path) -> None:
        assert _read(tmp_path / "new" / "r.jsonl", self.HEAD) == {}
        assert json.loads((tmp_path / "new" / "r.jsonl").read_text(encoding="utf-8")) == self.HEAD


class TestPictures:
    def test_a_sheet_shows_every_picture_twice_as_large(self) -> None:
        red = torch.tensor([1.0, 0, 0])[None, :, None, None].expand(2, 3, 16, 24)
        page = sheet({"a": red, "b": red}, ["first", "second"])
        pixels = np.asarray(page)
        assert (pixels == (255, 0, 0)).all(-1).sum() == 4 * (2 * 16) * (2 * 24)

    def test_the_workflows_inputs_fit_each_other(self, tmp_path: Path) -> None:
        names = write_inputs(tmp_path, (64, 64))
        from PIL import Image

        read = {name: np.asarray(Image.open(tmp_path / name)) for name in names}
        car = (0, 0, 142)
        for name in ("exemplar_day", "target_avenue"):
            labels = read[f"am_demo_{name}_cityscapes19.png"]
            for side in ("left", "right"):
                mask = read[f"am_demo_{name}_{side}_car.png"][..., 0] > 0
                assert mask.sum() > 20 and (labels[mask] == car).all()
        before, after = (read[f"am_demo_target_avenue{x}_cityscapes19.png"] for x in ("", "_edited"))
        assert 0.02 < (before != after).any(-1).mean() < 0.6
