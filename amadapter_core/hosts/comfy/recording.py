"""The Appearance branch: the exemplar's pass through the UNet, recorded where the target will look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...exemplar import Bank, KeysValues, Trajectory, rounded_as_published
from .sites import Key, Sites


@dataclass(frozen=True)
class Conditions:
    """What the model takes beside latent and sigma, one row per pass.

    :param arguments: of `BaseModel._apply_model`: c_crossattn, c_concat, y ...
    """

    arguments: dict[str, Tensor]

    def stacked(self, other: Conditions) -> Conditions:
        """Two rows; arguments that only one has are left out."""
        shared = self.arguments.keys() & other.arguments.keys()
        rows = {}
        for key in shared:
            mine, theirs = self.arguments[key], other.arguments[key]
            if key == "c_crossattn" and mine.shape[1] != theirs.shape[1]:
                tokens = torch.lcm(torch.tensor(mine.shape[1]), torch.tensor(theirs.shape[1])).item()
                mine, theirs = (x.repeat(1, tokens // x.shape[1], 1) for x in (mine, theirs))
            rows[key] = torch.cat([mine, theirs])
        return Conditions(rows)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[B, N, C] to [B, H, N, D]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """[B, H, N, D] to [B, N, C]."""
    return x.transpose(1, 2).flatten(2)


def record(
    model: Any, sites: Sites, trajectory: Trajectory, sigma: Tensor, conditions: Conditions, control: Any
) -> Bank:
    """Run the exemplar at one noise level and keep its keys and values.

    :param model: BaseModel, loaded.
    :param sigma: scalar tensor on the device of the run.
    :param control: a ControlBase that is ready to run, or None.
    """
    bank: Bank = {}

    def keep(key: Key):
        def replace(q: Tensor, k: Tensor, v: Tensor, extra: dict[str, Any]) -> Tensor:
            q, k, v = (split_heads(x, extra["n_heads"]) for x in (q, k, v))
            bank[sites.by_key[key].name] = KeysValues(k, v)
            if key == sites.last:  # nobody will see what comes of it
                return torch.zeros_like(merge_heads(q))
            return merge_heads(F.scaled_dot_product_attention(q, k, v))

        return replace

    _run(model, trajectory, sigma, conditions, control, {key: keep(key) for key in sites.by_key}, {})
    return bank


def record_published(
    model: Any, sites: Sites, trajectory: Trajectory, sigma: Tensor, conditions: Conditions, control: Any
) -> dict[Key, Tensor]:
    """The published recording: normalised hidden states of all rows, rounded to fp16: [R, N, C] by site."""
    hidden: dict[Key, Tensor] = {}

    def keep(n: Tensor, context: Tensor, value: Tensor, extra: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        hidden[(*extra["block"], extra["block_index"])] = rounded_as_published(n)
        return n, context, value

    _run(model, trajectory, sigma, conditions, control, {}, {"attn1_patch": [keep]})
    return hidden


def _run(
    model: Any,
    trajectory: Trajectory,
    sigma: Tensor,
    conditions: Conditions,
    control: Any,
    replacements: dict,
    patches: dict,
) -> None:
    rows = len(conditions.arguments["c_crossattn"])
    x = trajectory.at(float(sigma)).to(sigma.device).expand(rows, -1, -1, -1)
    sigmas = sigma.expand(rows)
    # A dictionary of its own: patches and wrappers of the target's graph must not see the exemplar.
    options = {
        "cond_or_uncond": list(range(rows)),
        "uuids": [],
        "sigmas": sigmas[:1],
        "patches": dict(patches),
        "patches_replace": {"attn1": replacements},
    }
    given = dict(conditions.arguments)
    if control is not None:
        given["control"] = control.get_control(x, sigmas, dict(given), rows, options)
    model._apply_model(x, sigmas, transformer_options=options, **given)
