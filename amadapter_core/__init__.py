"""AM-Adapter as a library: exemplar-based semantic image synthesis on torch, without ComfyUI.

Modules here depend on torch, numpy, PIL, safetensors, einops and each other. What binds them to an image
generator lies in `hosts`, and no module that others import reaches for a host.
`tests/unit/test_imports.py` holds that line.
"""

__version__ = "0.2.0"
