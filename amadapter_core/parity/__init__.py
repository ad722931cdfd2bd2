"""Number-for-number comparison with recorded tensors of the published systems.

`python -m amadapter_core.parity DIR...` checks every golden folder of a known layout and prints the largest
absolute and relative error of each quantity, a JSON summary on the last line; exit status 1 above tolerance.
"""

from __future__ import annotations

from .report import Check, Report, check_folder

__all__ = ["Check", "Report", "check_folder"]
