"""What the frontend knows of the nodes for data: folders, retrieval, batches, label maps of photographs."""

from __future__ import annotations

from .schema import Schema

DATA_SET = {"folder": "", "kind": "folder", "split": "", "palette": "cityscapes19", "reading": "colours"}

NODES = {
    "AMAdapterBuildIndex": Schema(
        "clip_vision:CLIP_VISION",
        {"name": "my_exemplars", **DATA_SET, "segmenter": "none"},
        "index:AM_EXEMPLAR_INDEX report:STRING",
    ),
    "AMAdapterRetrieveExemplars": Schema(
        "index:AM_EXEMPLAR_INDEX target_labels:AM_LABEL_MAP appearance:IMAGE clip_vision:CLIP_VISION",
        {
            "count": 4,
            "must_have": "",
            "penalty": 0.5,
            "near_duplicate": 0.97,
            "diversity": 0.0,
            "variation": 0.0,
            "seed": 0,
            "appearance_share": 0.25,
            "retrieval_json": "",
            "target_name": "target",
        },
        "images:IMAGE labels:AM_LABEL_MAP scores:FLOAT names:STRING found_json:STRING",
    ),
    "AMAdapterLoadPairs": Schema(
        "", {**DATA_SET, "first": 0, "count": 16}, "images:IMAGE labels:AM_LABEL_MAP names:STRING"
    ),
    "AMAdapterPairExemplars": Schema(
        "exemplars:AM_EXEMPLAR target_labels:AM_LABEL_MAP exemplar_images:IMAGE exemplar_names:STRING "
        "target_names:STRING",
        {
            "folder": "am_adapter_batch",
            "pairing": "every exemplar with every target",
            "seed": 0,
            "seeds": "the same",
            "repeats": 1,
            "rows_at_once": 4,
            "save": "results",
        },
        "exemplar:AM_EXEMPLAR target:AM_LABEL_MAP row_seed:INT name:STRING row:AM_BATCH_ROW report:STRING",
    ),
    "AMAdapterSaveBatch": Schema("result:IMAGE row:AM_BATCH_ROW", {}, "file:STRING"),
    "AMAdapterLabelMapFromSegmentation": Schema(
        "image:IMAGE", {"model_name": "", "palette": "the model's own"}, "labels:AM_LABEL_MAP colours:IMAGE"
    ),
    "AMAdapterLabelMapPreview": Schema(
        "labels:AM_LABEL_MAP image:IMAGE", {"opacity": 0.5}, "colours:IMAGE overlay:IMAGE legend:IMAGE"
    ),
    "AMAdapterLabelMapToImage": Schema("labels:AM_LABEL_MAP", {}, "colours:IMAGE"),
}
