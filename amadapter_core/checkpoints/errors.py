"""The error of this package and the one sentence order all its messages keep."""

from __future__ import annotations

from os import PathLike

AnyPath = str | PathLike[str]

_LONGEST = 2000
"""Characters of a message, which torch's lists of wrong shapes would exceed by far."""


class CheckpointError(ValueError):
    """A weights file cannot be used: which file, what it is, what was expected, what told, what to do.

    finding: what it is alone, as a predicate, for lists of several files; empty when built without `fault`.
    """

    finding: str = ""


def fault(
    path: AnyPath,
    found: str,
    *,
    expected: str = "",
    evidence: str = "",
    action: str = "",
) -> CheckpointError:
    """Build a CheckpointError in the fixed order file, finding, expectation, evidence, remedy.

    :param path: the file or folder at fault.
    :param found: a predicate that follows the path, e.g. `is a LoRA`.
    :param expected: a noun phrase, e.g. `a ControlNeXt network`.
    :param evidence: the keys, shapes or sizes that told.
    :param action: a whole sentence without its full stop.
    :return: the error, on one line.
    """
    parts = [f"AM-Adapter: {path} {found}"]
    if expected:
        parts.append(f"Expected {expected}")
    if evidence:
        parts.append(f"Seen: {evidence}")
    if action:
        parts.append(action)
    # Keys come from files of any origin: no line breaks, no control characters for a terminal.
    text = " ".join(". ".join(parts).split())
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]} ..."
    error = CheckpointError("".join(char if char.isprintable() else "?" for char in text) + ".")
    error.finding = found
    return error
