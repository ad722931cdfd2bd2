"""Spectral normalisation as published checkpoints hold it, and its baking into plain weights.

A normalised layer X is stored as `X.weight_orig` with the vectors `X.weight_u` and `X.weight_v`; what it computes
with is weight_orig / (u . W v), W being weight_orig with all axes but the first flattened. The stored vectors belong
to the weights: the true norm of W is another number. https://arxiv.org/abs/1802.05957 - appendix A.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

_ORIGINAL, _U, _V = "weight_orig", "weight_u", "weight_v"


def normalised(layer: nn.Module) -> nn.Module:
    """Give a layer spectral normalisation under the published names, as training needs it."""
    # The newer parametrisation of torch has other names.
    return nn.utils.spectral_norm(layer)


def baked(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replace `X.weight_orig`, `X.weight_u`, `X.weight_v` by `X.weight`; the rest stays as it is.

    :param state_dict: meta tensors do, too.
    :return: in the same order; baked weights are fp32.
    :raises ValueError: names the first layer of which a part is missing, does not fit, or gives no finite norm.
    """
    result: dict[str, Tensor] = {}
    for key, value in state_dict.items():
        layer, _, name = key.rpartition(".")
        dot = f"{layer}." if layer else ""
        if name == _ORIGINAL:
            if f"{dot}weight" in state_dict:
                raise ValueError(f"spectral normalisation of {layer}: both weight and {_ORIGINAL} are there")
            result[f"{dot}weight"] = _bake(layer, value, state_dict.get(dot + _U), state_dict.get(dot + _V))
        elif name in (_U, _V):
            if dot + _ORIGINAL not in state_dict:
                raise ValueError(f"spectral normalisation of {layer}: {name} is there, {_ORIGINAL} is not")
        else:
            result[key] = value
    return result


def _bake(layer: str, weight: Tensor, u: Tensor | None, v: Tensor | None) -> Tensor:
    # Sums depend on how their terms lie in memory; copies lie alike, whatever file or network they are of.
    matrix, u, v = weight.float().clone().flatten(1), *(None if x is None else x.float().clone() for x in (u, v))
    for name, vector, length in ((_U, u, matrix.shape[0]), (_V, v, matrix.shape[1])):
        if vector is None or tuple(vector.shape) != (length,):
            found = "is missing" if vector is None else f"has shape {list(vector.shape)}"
            raise ValueError(
                f"spectral normalisation of {layer}: {name} {found}, expected [{length}] for {_ORIGINAL} "
                f"{list(weight.shape)}"
            )
    norm = torch.dot(u, torch.mv(matrix, v))
    if not norm.is_meta and not (bool(norm.isfinite()) and float(norm) != 0):
        raise ValueError(f"spectral normalisation of {layer}: u and v give the norm {float(norm)}; the file is damaged")
    return matrix.div_(norm).view(weight.shape)
