"""Networks made of published state dicts, strictly: nothing missing, nothing left over, every shape as it must be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from ..checkpoints.errors import AnyPath, fault
from ..checkpoints.reading import check_finite

AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)


def built(make: Callable[[], AnyNetwork], weights: Mapping[str, Tensor], path: AnyPath, what: str) -> AnyNetwork:
    """Build a network without memory of its own and give it the weights.

    :param make: builds it, here on the meta device; buffers that are not saved have to be made in its forward.
    :param weights: under the network's own names; floats of any precision, kept as fp32. Meta tensors do, too.
    :param path: the file, for messages.
    :param what: the network as a noun phrase, for messages, e.g. `clVAE's generator`.
    :return: in evaluation mode, without gradients, where the weights are.
    :raises CheckpointError: names tensors that are missing, left over, of another shape, or not finite.
    """
    with torch.device("meta"):
        network = make()
    expected = network.state_dict()
    missing, extra = (list(dict.fromkeys(a.keys() - b.keys())) for a, b in ((expected, weights), (weights, expected)))
    if missing or extra:
        lists = [f"{word} {_some(keys)}" for word, keys in (("missing", missing), ("left over", extra)) if keys]
        raise fault(
            path,
            f"is {what}, but not a complete one",
            expected=f"{len(expected)} tensors",
            evidence="; ".join(lists),
            action="Use the whole state dict of one network",
        )
    for key, tensor in expected.items():
        if tensor.shape != weights[key].shape:
            raise fault(
                path,
                f"is {what}, but its shapes do not fit together",
                expected=f"{key} {list(tensor.shape)}",
                evidence=f"{key} {list(weights[key].shape)}",
                action="Use the whole state dict of one network",
            )
    if not any(tensor.is_meta for tensor in weights.values()):
        check_finite(path, weights, "The training diverged or the file is damaged: use another one")
    floats = {key: value.float() if value.is_floating_point() else value for key, value in weights.items()}
    network.load_state_dict(floats, strict=True, assign=True)
    return network.requires_grad_(False).eval()


def _some(keys: list[str], limit: int = 3) -> str:
    return ", ".join(sorted(keys)[:limit]) + (f" and {len(keys) - limit} more" if len(keys) > limit else "")
