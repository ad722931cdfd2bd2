"""Make networks of weights files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .errors import AnyPath, CheckpointError, fault
from .kinds import UNETS, Kind
from .reading import BY_BLOCK, Checkpoint, read_as
from .recognition import expected_keys

if TYPE_CHECKING:
    from ..controlnext import ControlNeXt
    from ..matcher import Matcher

_WEIGHT_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def load_controlnext(
    path: AnyPath,
    *,
    operations: Any = torch.nn,
    dtype: torch.dtype | None = None,
    folders: Iterable[AnyPath] = (),
) -> ControlNeXt:
    """Build a ControlNeXt with the weights of a file, strictly.

    :param path: the file, or its name inside one of `folders`.
    :param operations: the layer classes, e.g. `comfy.ops.manual_cast`.
    :param dtype: of the parameters; None keeps the file's.
    :return: in evaluation mode, without gradients, on the CPU.
    :raises FileNotFoundError: with the folders searched.
    :raises CheckpointError: when the file holds something else or not all of it.
    """
    from ..controlnext import ControlNeXt

    checkpoint = read_as(path, [Kind.CONTROLNEXT], folders=folders)
    check_complete(checkpoint)
    return _build(ControlNeXt, checkpoint, operations, dtype)


def load_matcher(
    path: AnyPath,
    *,
    operations: Any = torch.nn,
    dtype: torch.dtype | None = None,
    heads: int | None = 8,
    folders: Iterable[AnyPath] = (),
) -> Matcher:
    """Build a matcher with the weights of a file, strictly.

    :param path: the file, or its name inside one of `folders`.
    :param operations: the layer classes, e.g. `comfy.ops.manual_cast`.
    :param dtype: of the parameters; None keeps the file's.
    :param heads: attention heads of the UNet, 8 throughout SD1.5; None takes any matcher.
    :return: in evaluation mode, without gradients, on the CPU; `variant` and `by_block` are what it was
        trained with.
    :raises FileNotFoundError: with the folders searched.
    :raises CheckpointError: when the file holds something else, not all of it, or another number of heads.
    """
    from ..matcher import Matcher

    checkpoint = read_as(path, [Kind.MATCHER], folders=folders)
    check_complete(checkpoint)
    found = checkpoint.details["heads"]
    if heads is not None and found != heads:
        raise fault(
            checkpoint.path,
            f"is a matcher for {found} attention heads",
            expected=f"one for the UNet's {heads}",
            evidence=checkpoint.evidence,
            action="Use the matcher that was trained with this UNet",
        )
    matcher = _build(Matcher, checkpoint, operations, dtype)
    matcher.variant = checkpoint.variant
    matcher.by_block = checkpoint.metadata.get(BY_BLOCK) == "true"
    return matcher


def load_unet_state_dict(path: AnyPath, *, folders: Iterable[AnyPath] = ()) -> tuple[dict[str, Tensor], str]:
    """Read an SD1.5 type UNet from a file, also from inside a full checkpoint.

    :param path: the file, or its name inside one of `folders`.
    :return: the state dict in the file's dtype, and its naming, "diffusers" or "ldm"; the host converts.
    :raises FileNotFoundError: with the folders searched.
    :raises CheckpointError: when the file holds something else.
    """
    checkpoint = read_as(path, UNETS, folders=folders)
    _check_dtypes(checkpoint)
    return checkpoint.state_dict, "diffusers" if checkpoint.kind is Kind.UNET_DIFFUSERS else "ldm"


def check_complete(checkpoint: Checkpoint) -> None:
    """Refuse a ControlNeXt or matcher with keys missing or left over, or in a dtype not to be computed with.

    :raises CheckpointError: names them, the first three of each.
    """
    _check_dtypes(checkpoint)
    expected = expected_keys(checkpoint.kind, checkpoint.state_dict)
    if not expected:
        return
    missing, extra = (
        sorted(expected - set(checkpoint.state_dict)),
        sorted(set(checkpoint.state_dict) - expected),
    )
    if missing or extra:
        lists = [f"{word} {_some(keys)}" for word, keys in (("missing", missing), ("left over", extra)) if keys]
        raise fault(
            checkpoint.path,
            f"is {checkpoint.kind.description}, but not a complete one",
            expected=f"{len(expected)} tensors",
            evidence="; ".join(lists),
            action="Save it again with its whole state_dict()",
        )
    details = checkpoint.details
    if checkpoint.kind is Kind.MATCHER and details["in_channels"] != details["heads"] + 1:
        raise fault(
            checkpoint.path,
            f"is a matcher with {details['in_channels']} inputs and {details['heads']} outputs",
            expected="one input per head and one for the class flag, one output per head",
            evidence=checkpoint.evidence,
        )


def _check_dtypes(checkpoint: Checkpoint) -> None:
    for key, tensor in checkpoint.state_dict.items():
        if tensor.is_floating_point() and tensor.dtype not in _WEIGHT_DTYPES:
            raise _bad_dtype(checkpoint, key, tensor)
        # Whole networks stored as integers are quantised; a counter among the buffers of a UNet is not.
        if not tensor.is_floating_point() and key.endswith(".weight"):
            raise _bad_dtype(checkpoint, key, tensor)


def _bad_dtype(checkpoint: Checkpoint, key: str, tensor: Tensor) -> CheckpointError:
    return fault(
        checkpoint.path,
        f"is {checkpoint.kind.description} stored as {str(tensor.dtype).removeprefix('torch.')}",
        expected="fp32, fp16 or bf16",
        evidence=f"{key} {list(tensor.shape)}",
        action="Use a version that is not quantised",
    )


def _build(network: Any, checkpoint: Checkpoint, operations: Any, dtype: torch.dtype | None) -> Any:
    try:
        module = network.from_state_dict(checkpoint.state_dict, operations=operations)
    except (RuntimeError, ValueError, KeyError, IndexError) as error:
        raise fault(
            checkpoint.path,
            f"is {checkpoint.kind.description}, but its shapes do not fit together",
            evidence=str(error),
            action="Save it again with its whole state_dict()",
        ) from error
    return module.to(dtype or _common_dtype(checkpoint.state_dict)).requires_grad_(False).eval()


def _common_dtype(network: Mapping[str, Tensor]) -> torch.dtype:
    """The dtype of all weights, or the widest: a layer cannot multiply two dtypes."""
    dtypes = {tensor.dtype for tensor in network.values() if tensor.is_floating_point()}
    result = dtypes.pop()
    for dtype in dtypes:
        result = torch.promote_types(result, dtype)
    return result


def _some(keys: list[str], limit: int = 3) -> str:
    return ", ".join(keys[:limit]) + (f" and {len(keys) - limit} more" if len(keys) > limit else "")
