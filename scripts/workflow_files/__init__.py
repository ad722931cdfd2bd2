"""The example workflows and subgraph blueprints: described by what they join, one file for each kind of feature.

`listing` says which there are; `graph` makes the files of them that ComfyUI's frontend saves.
"""
