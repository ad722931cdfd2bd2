"""What an index keeps of label maps, how exemplars are scored, and the vectors that find candidates."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from amadapter_core.label_maps import LabelMap, Palette
from amadapter_core.retrieval.candidates import Faiss, Matrix, candidates
from amadapter_core.retrieval.layouts import GRID, PRESENT, Layouts, in_table
from amadapter_core.retrieval.made import made_labels
from amadapter_core.retrieval.overlap import PENALTY, agreement, class_weights, fit
from amadapter_core.retrieval.vectors import BLOCKS, dense_vectors, sparse_vectors, target_vector

CITY = Palette.load("cityscapes19")
ROAD, POLE, SKY, CAR, IGNORE = 0, 5, 10, 13, 255


def labels(ids: torch.Tensor) -> LabelMap:
    return LabelMap(ids if ids.ndim == 3 else ids[None], CITY)


def halves(top: int, bottom: int, size: int = 64, border: int | None = None) -> torch.Tensor:
    ids = torch.full((size, size), top)
    ids[size // 2 if border is None else border :] = bottom
    return ids


def layout(ids: torch.Tensor) -> Layouts:
    return Layouts.of(labels(ids))


@pytest.fixture(scope="module")
def many() -> Layouts:
    """Layouts of 300 made streets."""
    ids = torch.stack([torch.from_numpy(made_labels(seed, (64, 128))) for seed in range(300)])
    return Layouts.of(labels(ids.long()))


def test_a_layout_is_the_majority_of_each_cell_and_the_area_of_each_class() -> None:
    ids = torch.stack([torch.from_numpy(made_labels(seed, (90, 130))) for seed in range(3)]).long()
    found, drawn = Layouts.of(labels(ids)), labels(ids)
    assert torch.allclose(found.areas, drawn.histogram())
    rows = torch.tensor([*CITY.ids, IGNORE])[found.grids.long()]
    # A pixel counts for the cell of its centre here, by the area it shares there: they part at borders alone.
    assert (rows == drawn.resize(GRID, GRID, "majority").ids).float().mean() > 0.97
    exact = labels(ids[:, :64, :128])
    rows = torch.tensor([*CITY.ids, IGNORE])[Layouts.of(exact).grids.long()]
    assert torch.equal(rows, exact.resize(GRID, GRID, "majority").ids)


def test_ignored_pixels_vote_last_and_have_no_area() -> None:
    ids = torch.full((64, 64), IGNORE)
    ids[0, 0], ids[:, 32:] = CAR, ROAD
    found = layout(ids)
    grid = found.grids[0]
    assert int(grid[0, 0]) == CITY.ids.index(CAR) and int(grid[0, 1]) == len(CITY) and int(grid[5, 20]) == 0
    assert found.areas[0].sum() == pytest.approx(1) and found.areas[0, 0] == pytest.approx(2048 / 2049)


def test_maps_smaller_than_the_grid_fill_it() -> None:
    grid = layout(halves(SKY, ROAD, 4)).grids[0]
    assert torch.equal(grid, layout(halves(SKY, ROAD)).grids[0])


def test_ids_that_the_table_lacks_are_named() -> None:
    with pytest.raises(ValueError, match=r"'cityscapes19' does not have the ids 19, 77$"):
        layout(torch.tensor([[19, 77], [0, 0]]))


def test_layouts_change_tables_by_the_names_of_classes() -> None:
    other = Palette.load("cityscapes34")
    ids = torch.full((1, 64, 64), other.id_of("road"))
    ids[:, :32] = other.id_of("sky")
    moved = in_table(Layouts.of(LabelMap(ids, other)), other, CITY)
    own = layout(halves(SKY, ROAD))
    assert torch.equal(moved.grids, own.grids) and torch.allclose(moved.areas, own.areas)
    ids[:, :32] = other.id_of("tunnel")
    with pytest.raises(ValueError, match=r"classes \(cityscapes34\) tunnel are not among those of the index"):
        in_table(Layouts.of(LabelMap(ids, other)), other, CITY)


def test_the_same_layout_fits_wholly_and_nothing_in_common_costs_the_penalty(many: Layouts) -> None:
    for row in range(20):
        one = many[slice(row, row + 1)]
        assert float(fit(one, one)) == pytest.approx(1)
    assert float(fit(layout(halves(SKY, ROAD)), layout(halves(CAR, CAR)), penalty=0.7)) == pytest.approx(-0.7)


def test_the_fit_is_the_weighted_overlap_of_classes_less_what_is_lacking() -> None:
    target = layout(halves(SKY, ROAD))
    # Sky 16 of 32 rows, here 24 of them: IoU 16/24; road 8/16.
    assert float(fit(target, layout(halves(SKY, ROAD, border=48)))) == pytest.approx((2 / 3 + 1 / 2) / 2)
    # Sky is the same, road is lacking.
    assert float(fit(target, layout(halves(SKY, CAR)), penalty=0.5)) == pytest.approx((1 - 0.5) / 2)
    # A car somewhere else overlaps with nothing, but is there.
    car, elsewhere = halves(ROAD, ROAD), halves(ROAD, ROAD)
    car[:8, :8], elsewhere[-8:, -8:] = CAR, CAR
    none = fit(layout(car), layout(halves(ROAD, ROAD)))
    assert float(fit(layout(car), layout(elsewhere))) > float(none)
    classes, weights = class_weights(layout(car))
    assert classes.tolist() == [ROAD, CAR] and weights[1] / weights[0] == pytest.approx((1 / 63) ** 0.5)


def test_a_class_too_thin_for_a_cell_counts_by_its_presence() -> None:
    thin = halves(ROAD, ROAD, 512)
    thin[0, :100] = POLE
    assert thin.numel() * PRESENT < 100 and POLE not in layout(thin).grids
    assert float(fit(layout(thin), layout(thin))) == pytest.approx(1)
    weights = class_weights(layout(thin))[1]
    plain = float(fit(layout(thin), layout(halves(ROAD, ROAD)), penalty=1))
    assert plain == pytest.approx(float(weights[0] - weights[1]))


def test_what_the_target_ignores_does_not_count() -> None:
    half = halves(IGNORE, ROAD)
    assert float(fit(layout(half), layout(halves(CAR, ROAD)))) == pytest.approx(1)
    assert float(agreement(layout(half), layout(halves(CAR, ROAD)))) == 1
    with pytest.raises(ValueError, match="shows no class"):
        fit(layout(halves(IGNORE, IGNORE)), layout(half))


def test_agreement_is_the_share_of_equal_cells() -> None:
    assert float(agreement(layout(halves(SKY, ROAD)), layout(halves(SKY, ROAD, border=48)))) == pytest.approx(0.75)


def test_vectors_hold_each_class_s_shares_of_the_blocks_and_whether_it_is_shown() -> None:
    found = layout(halves(SKY, ROAD))
    (vector,) = next(dense_vectors(found))
    blocks = vector[: len(CITY) * BLOCKS * BLOCKS].view(len(CITY), BLOCKS, BLOCKS)
    assert blocks[ROAD, : BLOCKS // 2].sum() == 0 and blocks[ROAD].norm() == pytest.approx(1)
    assert vector[len(CITY) * BLOCKS * BLOCKS :].nonzero().flatten().tolist() == [ROAD, SKY]
    assert torch.equal(sparse_vectors(found).to_dense()[0], vector)
    # With its own vector a layout has the full product: every class's weight, and nothing lacking.
    assert float(vector @ target_vector(found, 0.5)) == pytest.approx(1.5)


def test_parts_of_many_vectors_are_those_of_all(many: Layouts, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = torch.cat(list(dense_vectors(many)))
    monkeypatch.setattr("amadapter_core.retrieval.vectors._VALUES_AT_ONCE", 7 * len(CITY) * BLOCKS * BLOCKS)
    assert len(list(dense_vectors(many))) == 43
    assert torch.equal(torch.cat(list(dense_vectors(many))), whole)
    assert torch.equal(sparse_vectors(many).to_dense(), whole)


FAISS = importlib.util.find_spec("faiss") is not None
engines = pytest.mark.parametrize(
    "engine", [Matrix, pytest.param(Faiss, marks=pytest.mark.skipif(not FAISS, reason="needs faiss-cpu"))]
)


@engines
def test_the_best_fits_are_among_the_candidates(engine: type, many: Layouts) -> None:
    searched, kept = engine(many), 0
    for row in range(20):
        target = many[slice(row, row + 1)]
        rows = searched.search(target_vector(target, PENALTY), 60)
        assert len(rows) == 60 == len(set(rows.tolist()))
        kept += len(set(fit(target, many).topk(10).indices.tolist()) & set(rows.tolist()))
    assert kept >= 190


@engines
def test_only_allowed_rows_are_candidates(engine: type, many: Layouts) -> None:
    allowed = torch.arange(len(many)) % 10 == 3
    rows = engine(many).search(target_vector(many[slice(0, 1)], PENALTY), 100, allowed)
    assert sorted(rows.tolist()) == list(range(3, 300, 10))


def test_faiss_is_taken_for_many_layouts_if_it_is_there(many: Layouts, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(candidates(many), Matrix)
    monkeypatch.setattr("amadapter_core.retrieval.candidates.MANY", 100)
    assert isinstance(candidates(many), Faiss if FAISS else Matrix)
    with pytest.raises(ValueError, match="engine must be one of auto, matrix, faiss, got 'hnsw'"):
        candidates(many, "hnsw")


def test_faiss_that_is_not_installed_is_named(many: Layouts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(ImportError, match="pip install faiss-cpu"):
        candidates(many, "faiss")
