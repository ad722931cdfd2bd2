"""Errors say which node they come from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from comfy_api.v0_0_2 import io

from ..amadapter_core.checkpoints import CheckpointError


@contextmanager
def naming(node: type[io.ComfyNode]) -> Iterator[None]:
    """Put the node's display name in front of the core's errors: `with naming(cls): ...`.

    :raises ValueError: or CheckpointError or FileNotFoundError, as raised inside, the original as its cause.
    """
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        prefix = f"{node.define_schema().display_name}: "
        if str(error).startswith(prefix):
            raise
        # Not type(error): the likes of UnicodeDecodeError take more than a message.
        kind = next(k for k in (CheckpointError, ValueError, FileNotFoundError) if isinstance(error, k))
        named = kind(f"{prefix}{error}")
        if isinstance(error, CheckpointError):
            named.finding = error.finding
        raise named from error
