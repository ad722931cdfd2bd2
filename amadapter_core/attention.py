"""Augmented self-attention: target queries over their own keys and the exemplars', in bounded memory.

    softmax([q k^T s, q k_ex^T s + bias]) [v; v_ex]          (AM-Adapter, arXiv 2412.03150)

All strategies compute exactly this; they differ in what they keep in memory.

* GROUPED: a class mask leaves a target token few of the exemplars' keys. Tokens with equal bias rows attend
  together, to their own keys and to those left open; masked pairs are never computed, so a mask costs less than
  none.
* FUSED: no bias, or one that a few extra channels can carry. Target tokens fall into J kinds with equal bias rows
  (classes), so a one-hot of the kind beside q and the kinds' bias values beside k put the bias into the product
  itself: q' k'^T = q k^T + bias.
* ROWS: the bias is made for a chunk of queries at a time and given to the fused kernel as its mask.
* MERGED: own keys in one fused pass without a mask; the exemplars' keys by rows; the two joined by their
  log-sum-exp. Saves building and reading the mask's empty half. Needs a kernel that returns the log-sum-exp.
"""

from __future__ import annotations

from enum import Enum

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .matching import Bias

_CHUNK_BYTES = 64 << 20
"""Size of one chunk of bias rows; about three of them are alive at once."""
_CPU_CHUNK_BYTES = 16 << 20
"""The same for inference on a CPU: beyond the C allocator's threshold every chunk would be fresh memory."""

MAX_FOLDED_KINDS = 64
_CHANNEL_MULTIPLE = 8

GROUPED_FROM_TOKENS = 1024
"""Below, the separate calls cost more than the pairs they leave out."""
GROUPED_UP_TO_SHARE = 0.5


class Strategy(str, Enum):
    """How the one formula is computed; see the module."""

    GROUPED = "grouped"
    FUSED = "fused"
    ROWS = "rows"
    MERGED = "merged"


def choose(q: Tensor, bias: Bias | None) -> Strategy:
    """The strategy for queries [B, H, Nq, D] and their bias."""
    if bias is None:
        return Strategy.FUSED
    if _is_static(bias) and q.shape[2] >= GROUPED_FROM_TOKENS and bias.static.open_share <= GROUPED_UP_TO_SHARE:
        return Strategy.GROUPED
    if _folds(bias):
        return Strategy.FUSED
    return Strategy.MERGED if _has_partial(q) else Strategy.ROWS


def _has_partial(q: Tensor) -> bool:
    """Whether a fused kernel returns the log-sum-exp here; torch has a forward-only one for the CPU."""
    return q.device.type == "cpu" and not torch.is_grad_enabled()


def augmented_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    exemplar_k: Tensor | None = None,
    exemplar_v: Tensor | None = None,
    bias: Bias | None = None,
    *,
    scale: float | None = None,
    strategy: Strategy | None = None,
    chunk_bytes: int | None = None,
) -> Tensor:
    """Attend to the target's own tokens and to the exemplars'.

    :param q: [B, H, Nq, D] target queries.
    :param k: [B, H, N, D] own keys; v alike.
    :param exemplar_k: [B or 1, H, M, D] keys of all exemplars, one after the other; exemplar_v alike. None is plain
        self-attention, bit for bit.
    :param bias: what is added to the exemplars' logits.
    :param scale: factor on the logits, D ** -0.5 unless told.
    :param strategy: chosen by size and device unless told.
    :param chunk_bytes: bound on one chunk of bias rows; by device unless told.
    :return: [B, H, Nq, D].
    """
    if exemplar_k is None:
        return F.scaled_dot_product_attention(q, k, v, scale=scale)
    B, _, _, D = q.shape
    scale = D**-0.5 if scale is None else scale
    exemplar_k, exemplar_v = (x.expand(B, -1, -1, -1) for x in (exemplar_k, exemplar_v))
    strategy = choose(q, bias) if strategy is None else Strategy(strategy)
    if strategy in (Strategy.FUSED, Strategy.GROUPED):
        attend = _fused if strategy is Strategy.FUSED else _grouped
        return attend(q, k, v, exemplar_k, exemplar_v, bias, scale)
    if chunk_bytes is None:
        chunk_bytes = _CPU_CHUNK_BYTES if _has_partial(q) else _CHUNK_BYTES
    attend = _rows if strategy is Strategy.ROWS else _merged
    return attend(q, k, v, exemplar_k, exemplar_v, bias, scale, chunk_bytes)


def _is_static(bias: Bias) -> bool:
    """Whether classes and routing decide the bias alone."""
    return not bias.learned and not bias.keeps_mass


def _folds(bias: Bias) -> bool:
    return _is_static(bias) and bias.static.values.shape[1] <= MAX_FOLDED_KINDS


def _grouped(q: Tensor, k: Tensor, v: Tensor, ek: Tensor, ev: Tensor, bias: Bias, scale: float) -> Tensor:
    if not _is_static(bias) or not bias.static.groups:
        raise ValueError("augmented_attention: this bias has no groups of equal rows; use another strategy")
    out = torch.empty_like(q)
    for group in bias.static.groups:
        keys, values = (torch.cat([own, other[:, :, group.keys]], 2) for own, other in ((k, ek), (v, ev)))
        mask = None
        if group.values is not None:
            mask = F.pad(group.values.to(q.dtype), (k.shape[2], 0)).expand(len(q), q.shape[1], len(group.tokens), -1)
        out[:, :, group.tokens] = F.scaled_dot_product_attention(
            q[:, :, group.tokens], keys, values, attn_mask=mask, scale=scale
        )
    return out


def _fused(q: Tensor, k: Tensor, v: Tensor, ek: Tensor, ev: Tensor, bias: Bias | None, scale: float) -> Tensor:
    keys, values = torch.cat([k, ek], 2), torch.cat([v, ev], 2)
    if bias is None:
        return F.scaled_dot_product_attention(q, keys, values, scale=scale)
    if not _folds(bias):
        raise ValueError("augmented_attention: this bias does not fold into channels; use strategy 'rows' or 'merged'")
    B, H, N, D = q.shape
    static = bias.static
    kinds = static.values.shape[1]
    width = -(-(D + kinds) // _CHANNEL_MULTIPLE) * _CHANNEL_MULTIPLE
    wide_q, wide_k, wide_v = (x.new_zeros(B, H, x.shape[2], width) for x in (q, keys, values))
    wide_q[..., :D], wide_k[..., :D], wide_v[..., :D] = q, keys, values
    wide_q[..., D : D + kinds] = F.one_hot(static.kind, kinds)[:, None].to(q)
    wide_k[:, :, k.shape[2] :, D : D + kinds] = (static.values / scale).transpose(1, 2)[:, None].to(q)
    return F.scaled_dot_product_attention(wide_q, wide_k, wide_v, scale=scale)[..., :D]


def _rows(
    q: Tensor, k: Tensor, v: Tensor, ek: Tensor, ev: Tensor, bias: Bias, scale: float, chunk_bytes: int
) -> Tensor:
    keys, values = torch.cat([k, ek], 2), torch.cat([v, ev], 2)

    def attend(start: int, stop: int) -> Tensor:
        mask = F.pad(bias_rows(q, ek, bias, scale, start, stop), (k.shape[2], 0))
        return F.scaled_dot_product_attention(q[:, :, start:stop], keys, values, attn_mask=mask, scale=scale)

    chunks = _chunks(q, keys.shape[2], chunk_bytes)
    if torch.is_grad_enabled() and len(chunks) > 1:  # what a chunk needs for its gradient is made again then
        return torch.cat([checkpoint(attend, *chunk, use_reentrant=False) for chunk in chunks], 2)
    return torch.cat([attend(*chunk) for chunk in chunks], 2)


def _merged(
    q: Tensor, k: Tensor, v: Tensor, ek: Tensor, ev: Tensor, bias: Bias, scale: float, chunk_bytes: int
) -> Tensor:
    out, own = _partial(q, k, v, None, scale)
    for start, stop in _chunks(q, ek.shape[2], chunk_bytes):
        rows = bias_rows(q, ek, bias, scale, start, stop)
        other, theirs = _partial(q[:, :, start:stop], ek, ev, rows, scale)
        share = torch.sigmoid(theirs - own[:, :, start:stop])[..., None].to(q.dtype)
        out[:, :, start:stop].lerp_(other, share)
    return out


def _partial(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
    """Attention over part of the keys: [B, H, Nq, D], and the log-sum-exp of its logits [B, H, Nq] fp32."""
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, attn_mask=mask, scale=scale)


def bias_rows(q: Tensor, ek: Tensor, bias: Bias, scale: float, start: int, stop: int) -> Tensor:
    """The bias of target tokens start..stop, with what keeps the exemplar's share of the softmax: [B, H or 1, c, M]."""
    rows = bias.rows(start, stop, q.dtype)
    if not bias.keeps_mass:
        return rows
    static, q = bias.static, q[:, :, start:stop]
    mask = static.rows(static.mask, start, stop)
    lost = _log_sum(q, ek, None, scale) - _log_sum(q, ek, mask, scale)
    return rows + torch.where(static.reachable(start, stop), lost, 0.0)[..., None].to(q.dtype)


def _log_sum(q: Tensor, k: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Log-sum-exp of the logits over the keys: [B, H, c] fp32."""
    if _has_partial(q):
        mask = None if mask is None else mask.to(q.dtype).expand(*q.shape[:3], k.shape[2])
        return _partial(q, k, k, mask, scale)[1]
    logits = (q @ k.transpose(-1, -2)).float() * scale
    return (logits if mask is None else logits + mask).logsumexp(-1)


def _chunks(q: Tensor, keys: int, chunk_bytes: int) -> list[tuple[int, int]]:
    B, H, N, _ = q.shape
    step = max(1, min(N, chunk_bytes // (B * H * keys * q.element_size())))
    return [(start, min(start + step, N)) for start in range(0, N, step)]
