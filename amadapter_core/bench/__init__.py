"""Seconds and memory, side by side in one run: `python -m amadapter_core.bench`."""
