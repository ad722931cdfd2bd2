"""What the frontend knows of the nodes for the method."""

from __future__ import annotations

from .schema import Schema

PAIRS = {"folder": "", "palette": "cityscapes19", "reading": "ids", "prompt": "", "width": 512, "height": 512}
COURSE = {"steps": 1000, "learning_rate": 1e-4, "batch_size": 4, "seed": 0}
TECHNICALITIES = {"augment": True, "one_at_a_time": True, "checkpointing": True, "samples_every": 250}
NODES = {
    "AMAdapterLoadDemo": Schema(
        "",
        {"matcher_variant": "spatial"},
        "model:MODEL clip:CLIP vae:VAE control_net:CONTROL_NET matcher:AM_MATCHER",
    ),
    "AMAdapterLoadControlNeXt": Schema("", {"control_net_name": ""}, "control_net:CONTROL_NET"),
    "AMAdapterLoadMatcher": Schema("", {"matcher_name": ""}, "matcher:AM_MATCHER"),
    "AMAdapterLoadUNet": Schema("", {"unet_name": "", "weight_dtype": "default"}, "model:MODEL"),
    "AMAdapterLoadLabelMap": Schema(
        "",
        {
            "image": "",
            "palette": "ade20k150",
            "reading": "auto",
            "unknown": "error",
            "tolerance": 0.0,
            "offset": 0,
            "void": "",
            "upload": "image",
        },
        "labels:AM_LABEL_MAP colours:IMAGE",
    ),
    "AMAdapterSemanticPainter": Schema(
        "labels:AM_LABEL_MAP",
        {"palette": "ade20k150", "width": 512, "height": 512, "painting": ""},
        "labels:AM_LABEL_MAP colours:IMAGE",
    ),
    "AMAdapterLabelMapFromColours": Schema(
        "image:IMAGE", {"palette": "cityscapes19", "unknown": "error", "tolerance": 0.0}, "labels:AM_LABEL_MAP"
    ),
    "AMAdapterLabelMapToMask": Schema("labels:AM_LABEL_MAP changed_from:AM_LABEL_MAP", {"classes": ""}, "mask:MASK"),
    "AMAdapterClassRouting": Schema("routing:AM_ROUTING", {"rules": ""}, "routing:AM_ROUTING"),
    "AMAdapterRegionPair": Schema(
        "target_mask:MASK exemplar_mask:MASK routing:AM_ROUTING",
        {"strength": 1.0, "exclusive": True},
        "routing:AM_ROUTING",
    ),
    "AMAdapterMixExemplars": Schema("", {"rules": "", "share": 0.5}, "routing_a:AM_ROUTING routing_b:AM_ROUTING"),
    "AMAdapterLabelMapParts": Schema(
        "labels:AM_LABEL_MAP parts:AM_LABEL_MAP,AM_PART_MAPS,MASK",
        {"classes": ""},
        "labels:AM_LABEL_MAP picture:IMAGE",
    ),
    "AMAdapterMatchView": Schema(
        "model:MODEL positive:CONDITIONING latent:LATENT exemplar_image:IMAGE",
        {
            "x": 0.5,
            "y": 0.5,
            "class_name": "",
            "start_percent": 0.3,
            "end_percent": 0.8,
            "samples": 4,
            "layers": "all",
            "exemplar_index": 0,
            "seed": 0,
        },
        "heat_map:IMAGE warped:IMAGE share:MASK",
    ),
    "AMAdapterEvaluate": Schema(
        "result:IMAGE target_labels:AM_LABEL_MAP reference:IMAGE reference_labels:AM_LABEL_MAP",
        {"segmenter": "none"},
        "appearance_error:FLOAT texture_error:FLOAT report:STRING layout_agreement:FLOAT",
    ),
    "AMAdapterClassNoiseModel": Schema(
        "model:MODEL labels:AM_LABEL_MAP",
        {"classes": "", "seed": 0, "control_after_generate": "fixed"},
        "model:MODEL",
    ),
    "AMAdapterEncodeExemplar": Schema(
        "model:MODEL vae:VAE image:IMAGE labels:AM_LABEL_MAP conditioning:CONDITIONING control_net:CONTROL_NET",
        {
            "method": "inversion",
            "steps": 20,
            "resize": "keep",
            "width": 512,
            "height": 512,
            "prompt_of_pass": "target's prompt",
            "seed": 0,
            "control_strength": 1.0,
            "control_in_inversion": False,
            "name": "exemplar",
        },
        "exemplar:AM_EXEMPLAR",
    ),
    "AMAdapterApply": Schema(
        "model:MODEL exemplar:AM_EXEMPLAR target_labels:AM_LABEL_MAP matcher:AM_MATCHER mask:MASK routing:AM_ROUTING",
        {
            "mode": "categorical",
            "strength": 1.0,
            "start_percent": 0.0,
            "end_percent": 1.0,
            "keep_mass": False,
            "penalty": 0.0,
            "down_weight": 1.0,
            "mid_weight": 1.0,
            "up_weight": 1.0,
            "variant": "auto",
            "matcher_interval": 1,
        },
        "model:MODEL",
    ),
    "AMAdapterTrainStructure": Schema(
        "model:MODEL clip:CLIP vae:VAE images:IMAGE labels:AM_LABEL_MAP control_net:CONTROL_NET",
        {"name": "my_structure", **PAIRS, **COURSE, "train": "lora", "rank": 16, **TECHNICALITIES},
        "model:MODEL control_net:CONTROL_NET loss_map:LOSS_MAP files:STRING",
    ),
    "AMAdapterTrainMatcher": Schema(
        "model:MODEL clip:CLIP vae:VAE control_net:CONTROL_NET images:IMAGE labels:AM_LABEL_MAP matcher:AM_MATCHER",
        {
            "name": "my_matcher",
            **PAIRS,
            **COURSE,
            "learning_rate": 1e-3,
            "variant": "spatial",
            "exemplar": "view",
            **TECHNICALITIES,
        },
        "matcher:AM_MATCHER loss_map:LOSS_MAP file:STRING",
    ),
    "AMAdapterTriplet": Schema(
        "exemplar:IMAGE target_labels:AM_LABEL_MAP result:IMAGE exemplar_labels:AM_LABEL_MAP",
        {"captions": True, "height": 512},
        "triplet:IMAGE",
    ),
}
