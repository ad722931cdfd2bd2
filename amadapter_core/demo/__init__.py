"""The demonstration family: a Stable Diffusion in miniature on procedural street scenes, shipped with its weights.

`python -m amadapter_core.demo` makes pictures, `... evaluate` the table of measurements. See `family` for what the
family is, `files` for the weights as they are shipped, `weights` for packing and loading them.
"""
