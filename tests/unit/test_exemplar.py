"""Exemplar: where its latent is at any sigma, how it is inverted, kept and saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from amadapter_core.checkpoints import CheckpointError
from amadapter_core.exemplar import Banks, Exemplar, KeysValues, Trajectory, ddim_move, invert, sigma_of
from amadapter_core.label_maps import LabelMap, Palette


def exemplar(context: torch.Tensor | None = None) -> Exemplar:
    ids = torch.randint(19, (1, 12, 16), generator=torch.Generator().manual_seed(0))
    trajectory = Trajectory(torch.tensor([0.0, 0.5, 14.6]), torch.randn(3, 4, 6, 8))
    return Exemplar(trajectory, LabelMap(ids, Palette.load("cityscapes19")), context, "a street")


def test_trajectory_is_linear_between_nodes_and_goes_on_above() -> None:
    trajectory = Trajectory(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0.0, 1.0, 5.0])[:, None, None, None])
    wanted = {0.1: 0.0, 1.0: 0.0, 1.25: 0.25, 2.0: 1.0, 3.0: 3.0, 4.0: 5.0, 5.0: 7.0}
    assert {s: trajectory.at(s).item() for s in wanted} == pytest.approx(wanted)


def test_forward_noise_is_one_straight_line() -> None:
    latent = torch.randn(1, 4, 5, 3)
    trajectory = Trajectory.forward_noise(latent, torch.Generator().manual_seed(1))
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(1))
    for sigma in (0.0, 0.3, 14.6):
        assert torch.allclose(trajectory.at(sigma), latent + sigma * noise, atol=1e-4)


@pytest.mark.parametrize("sigmas", [[1.0], [2.0, 1.0], [1.0, 1.0]])
def test_a_trajectory_that_does_not_ascend_is_refused(sigmas: list[float]) -> None:
    with pytest.raises(ValueError, match="ascend|at least 2"):
        Trajectory(torch.tensor(sigmas), torch.zeros(len(sigmas), 1, 1, 1))


def test_inversion_of_a_known_field_is_exact() -> None:
    """With constant noise the path is x0 + sigma * noise, whatever the steps."""
    latent, noise = torch.randn(1, 4, 3, 3), torch.randn(1, 4, 3, 3)
    alphas = [0.99, 0.7, 0.1, 0.01]
    seen: list[float] = []
    trajectory = invert(
        latent, lambda x, t: noise, [1, 250, 500, 750], alphas, progress=lambda i, n, x: seen.append(i / n)
    )
    assert seen == [0.25, 0.5, 0.75, 1.0]
    assert trajectory.sigmas.tolist() == pytest.approx([0, *(sigma_of(a) for a in alphas)])
    for sigma in trajectory.sigmas:
        assert torch.allclose(trajectory.at(sigma), latent + sigma * noise, atol=1e-4)


def test_inversion_predicts_at_the_arrival_timestep_on_the_departure_latent() -> None:
    calls: list[tuple[float, float]] = []

    def predict(x: torch.Tensor, t: float) -> torch.Tensor:
        calls.append((t, x.item()))
        return torch.zeros_like(x)

    invert(torch.ones(1, 1, 1, 1), predict, [10, 20], [0.64, 0.36])
    assert calls == [(10, 1.0), (20, pytest.approx(0.8))]


def test_ddim_moves_back_where_it_came_from() -> None:
    x, eps = torch.randn(1, 4, 2, 2), torch.randn(1, 4, 2, 2)
    assert torch.allclose(ddim_move(ddim_move(x, eps, 0.9, 0.2), eps, 0.2, 0.9), x, atol=1e-5)


@pytest.mark.parametrize("context", [None, torch.randn(1, 77, 8)])
def test_an_exemplar_comes_back_from_its_file(tmp_path: Path, context: torch.Tensor | None) -> None:
    saved = exemplar(context)
    saved.save(tmp_path / "deep" / "x.safetensors")
    loaded = Exemplar.load(tmp_path / "deep" / "x.safetensors")
    assert torch.equal(loaded.trajectory.latents, saved.trajectory.latents)
    assert torch.equal(loaded.labels.ids, saved.labels.ids)
    assert (loaded.labels.palette, loaded.name, loaded.size) == (saved.labels.palette, "a street", (6, 8))
    assert loaded.fingerprint() == saved.fingerprint()
    assert (loaded.context is None) if context is None else torch.equal(loaded.context, context)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["x.safetensors"]


def test_fingerprint_tells_exemplars_apart() -> None:
    one = exemplar()
    other = Exemplar(one.trajectory, LabelMap(one.labels.ids.flip(1), one.labels.palette))
    assert one.fingerprint() != other.fingerprint() != exemplar(torch.zeros(1, 77, 8)).fingerprint()


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        Exemplar.load(tmp_path / "absent.safetensors")
    save_file({"weight": torch.zeros(1)}, tmp_path / "lora.safetensors")
    with pytest.raises(CheckpointError, match=r"no exemplar file \(format None, tensors weight\)"):
        Exemplar.load(tmp_path / "lora.safetensors")
    exemplar().save(tmp_path / "x.safetensors")
    whole = (tmp_path / "x.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="cut.safetensors is a truncated safetensors file"):
        Exemplar.load(tmp_path / "cut.safetensors")
    (tmp_path / "evil.safetensors").write_bytes(b"\x80\x04cposix\nsystem\n")
    with pytest.raises(CheckpointError, match="evil.safetensors is a pickle"):
        Exemplar.load(tmp_path / "evil.safetensors")


def bank(tokens: int) -> dict[str, KeysValues]:
    return {"site": KeysValues(torch.zeros(1, 1, tokens, 1), torch.zeros(1, 1, tokens, 1))}


def test_banks_stay_within_their_budget_and_drop_the_least_used() -> None:
    banks = Banks(budget=3 * 8 * 10)
    for key in "abc":
        banks.put(key, bank(10))
    assert banks.get("a") is not None
    banks.put("d", bank(10))
    assert banks.get("b") is None and [banks.get(k) is not None for k in "acd"] == [True] * 3
    banks.put("huge", bank(1000))
    assert banks.get("huge") is None and len(banks) == 3
    banks.put("a", bank(5))
    assert banks.bytes == 200
    banks.clear()
    assert (len(banks), banks.bytes) == (0, 0)


def test_a_smaller_budget_lets_go_of_the_least_used_at_once() -> None:
    banks = Banks(budget=3 * 8 * 10)
    for key in "abc":
        banks.put(key, bank(10))
    banks.get("a")
    banks.shrink(8 * 10)
    assert (banks.keys(), banks.bytes, banks.budget) == (["a"], 80, 80)


def test_a_pooled_conditioning_is_kept_and_told_from_a_context(tmp_path: Path) -> None:
    one, text = exemplar(), torch.ones(1, 8)
    pooled, context = replace(one, pooled=text), replace(one, context=text)
    assert len({one.fingerprint(), pooled.fingerprint(), context.fingerprint()}) == 3
    pooled.save(tmp_path / "pooled.safetensors")
    again = Exemplar.load(tmp_path / "pooled.safetensors")
    assert again.context is None and torch.equal(again.pooled, text)
    assert again.fingerprint() == pooled.fingerprint()
