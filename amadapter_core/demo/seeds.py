"""Which seeds of layouts and appearances serve what: nothing is measured on a scene that was trained on.

Training draws from TRAINING, strengths and checkpoints are chosen on VALIDATION, tables are made on HELD_OUT.
"""

from __future__ import annotations

TRAINING = range(0, 1_000_000)
VALIDATION = range(1_000_000, 2_000_000)
HELD_OUT = range(2_000_000, 3_000_000)
