"""What the frontend knows of the nodes for semantic generators."""

from __future__ import annotations

from .schema import Schema

NODES = {
    "AMAdapterLoadGenerator": Schema(
        "supports:AM_SUPPORTS",
        {"generator_name": "", "weights": "auto", "width": 0, "height": 0, "encoder_name": "auto"},
        "generator:AM_GENERATOR about:STRING",
    ),
    "AMAdapterGenerate": Schema(
        "generator:AM_GENERATOR labels:AM_LABEL_MAP style:AM_STYLE_CODES parts:AM_PART_MAPS",
        {
            "seed": 1,
            "control_after_generate": "fixed",
            "variants": 1,
            "steps": 50,
            "guidance": 1.0,
            "random_classes": "",
            "class_seeds": "",
            "background_seed": -1,
            "unconditional": "empty_style",
            "eta": 0.0,
        },
        "image:IMAGE",
    ),
    "AMAdapterStyleFromImage": Schema(
        "generator:AM_GENERATOR image:IMAGE labels:AM_LABEL_MAP", {}, "style:AM_STYLE_CODES"
    ),
    "AMAdapterRandomStyle": Schema(
        "generator:AM_GENERATOR labels:AM_LABEL_MAP style:AM_STYLE_CODES",
        {
            "seed": 1,
            "control_after_generate": "fixed",
            "classes": "",
            "layers": "",
            "class_seeds": "",
            "layer_seeds": "",
        },
        "style:AM_STYLE_CODES",
    ),
    "AMAdapterMixStyles": Schema(
        "style_a:AM_STYLE_CODES style_b:AM_STYLE_CODES", {"weight": 0.0, "rules": ""}, "style:AM_STYLE_CODES"
    ),
    "AMAdapterLoadSupports": Schema("", {"supports_name": ""}, "supports:AM_SUPPORTS"),
    "AMAdapterInstancesFromMasks": Schema("masks:MASK", {}, "instances:AM_INSTANCES picture:IMAGE"),
    "AMAdapterPartMaps": Schema(
        "generator:AM_GENERATOR labels:AM_LABEL_MAP instances:AM_INSTANCES supports:AM_SUPPORTS mask:MASK",
        {},
        "parts:AM_PART_MAPS picture:IMAGE",
    ),
}
