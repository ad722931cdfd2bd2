"""Keys and values of exemplars between queue runs: a seed sweep pays for its exemplar once.

They belong to the AM_EXEMPLAR that ComfyUI keeps as a node's output: when the host lets go of that (another graph,
memory pressure, "free memory"), they go as well. They wait where the host wants intermediate results, in main
memory unless ComfyUI runs with --gpu-only, so no video memory is held between runs.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Hashable
from typing import Any

import comfy.model_management
import torch

from ...exemplar import Bank, Banks, digest
from .exemplar import HostExemplar

BUDGET = 2 << 30
"""Bytes kept at most, all exemplars together: some twenty steps at 512 x 512 in fp32, forty in fp16."""
SHARE_OF_FREE_MEMORY = 0.25

_banks = Banks(BUDGET)
_owners: weakref.WeakSet[HostExemplar] = weakref.WeakSet()
_lock = threading.RLock()  # dropping may come from the garbage collector, in the middle of a put


def fit_budget() -> None:
    """Adapt the budget to the memory that is free now; called when a run starts."""
    device = comfy.model_management.intermediate_device()
    with _lock:
        _banks.device = device
        free = comfy.model_management.get_free_memory(device) + _banks.bytes
        _banks.shrink(min(BUDGET, int(SHARE_OF_FREE_MEMORY * free)))


def get(owner: HostExemplar, key: Hashable) -> Bank | None:
    """Return an exemplar's bank, None if there is none."""
    with _lock:
        return _banks.get((id(owner), key))


def put(owner: HostExemplar, key: Hashable, bank: Bank) -> None:
    """Keep a bank for as long as its exemplar lives, if the budget has room for it."""
    with _lock:
        if owner not in _owners:
            _owners.add(owner)
            weakref.finalize(owner, _drop, id(owner)).atexit = False
        _banks.put((id(owner), key), bank)


def held() -> int:
    """Bytes kept now."""
    return _banks.bytes


def clear() -> None:
    """Let go of all banks."""
    with _lock:
        _banks.clear()


def weights_key(patcher: Any) -> Hashable | None:
    """What names the weights of a MODEL as they are at sampling, LoRA included.

    :param patcher: ModelPatcher.
    :return: None where something has a part in the model that has no name (scheduled LoRA, injections, replaced
        modules); keys and values then last for the run alone.
    """
    others = set(patcher.object_patches) - {"model_sampling"}
    if patcher.current_hooks is not None or patcher.injections or patcher.weight_wrapper_patches or others:
        return None
    sampling = patcher.get_model_object("model_sampling")
    levels = digest(torch.as_tensor(sampling.sigmas))
    return patcher.patches_uuid, patcher.model_dtype(), type(sampling).__name__, levels


def _drop(owner: int) -> None:
    with _lock:
        for key in _banks.keys():  # noqa: SIM118 (not a dict)
            if key[0] == owner:
                _banks.discard(key)
