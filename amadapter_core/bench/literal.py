"""The method as its formulas read, every map whole: what speed, memory and exactness are measured against.

    A = [q k^T, q k_ex^T] s;  A_ex += up(r - max(r)/4),  r = matcher([down(A_ex), flags]);  softmax(A) [v; v_ex]

All resizing is done on the 4D map (target row, column, exemplar row, column), grids divisible by the factor.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..matcher import Encoder, Matcher
from ..resampling import MATCHER_SIDE, Grid


def learned_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    ek: Tensor,
    ev: Tensor,
    target: Grid,
    exemplar: Grid,
    target_ids: Tensor,
    exemplar_ids: Tensor,
    matcher: Matcher,
) -> Tensor:
    """One conditional item, one exemplar, Variant.SPATIAL.

    :param q: [1, H, N, D]; k, v alike; ek, ev [1, H, M, D].
    :param target_ids: [h', w'] classes at the matcher's grid of the target; exemplar_ids of the exemplar.
    :return: [1, H, N, D].
    """
    N, scale = q.shape[2], q.shape[-1] ** -0.5
    logits = q @ torch.cat([k, ek], 2).transpose(-1, -2) * scale  # [1, H, N, N + M]
    whole = logits[0, :, :, N:].unflatten(1, target).unflatten(3, exemplar)  # [H, h, w, he, we]
    coarse = _average(whole.flatten(0, 2), exemplar).unflatten(0, (whole.shape[0], *target))
    coarse = _average(coarse.permute(0, 3, 4, 1, 2).flatten(0, 2), target)
    coarse = coarse.unflatten(0, (whole.shape[0], *exemplar_ids.shape)).permute(0, 3, 4, 1, 2)
    flags = (target_ids[:, :, None, None] == exemplar_ids).to(q.dtype)
    refined = _encode(matcher.encoders[0], torch.cat([coarse, flags[None]]))
    bias = refined - refined.max() / 4
    bias = _bilinear(bias.flatten(0, 2), exemplar).unflatten(0, (whole.shape[0], *target_ids.shape))
    bias = _bilinear(bias.permute(0, 3, 4, 1, 2).flatten(0, 2), target)
    bias = bias.unflatten(0, (whole.shape[0], *exemplar)).permute(0, 3, 4, 1, 2)
    logits[0, :, :, N:] += bias.flatten(3, 4).flatten(1, 2)
    return logits.softmax(-1) @ torch.cat([v, ev], 2)


def _encode(encoder: Encoder, cost: Tensor) -> Tensor:
    """The published layers, two convolutions each: [C, h, w, he, we] to [H, h, w, he, we]."""
    h, w = cost.shape[1:3]
    x = cost.permute(1, 2, 0, 3, 4).flatten(0, 1)
    for conv, norm in encoder.conv4d:
        x = conv.query_conv(x) + conv.supp_conv(x)
        x = F.relu(F.group_norm(x.transpose(0, 1)[None], 1, norm.weight, norm.bias, norm.eps)[0].transpose(0, 1))
    return x.unflatten(0, (h, w)).permute(2, 0, 1, 3, 4)


def _average(x: Tensor, grid: Grid) -> Tensor:
    """[R, h, w] to the matcher's grid."""
    factor = -(-max(grid) // MATCHER_SIDE)
    return F.avg_pool2d(x[:, None], factor)[:, 0] if factor > 1 else x


def _bilinear(x: Tensor, grid: Grid) -> Tensor:
    """[R, h', w'] to [R, h, w]."""
    return F.interpolate(x[:, None], size=grid, mode="bilinear")[:, 0]
