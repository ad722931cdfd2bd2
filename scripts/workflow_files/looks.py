"""How large nodes are, where they stand and which colours their groups have."""

from __future__ import annotations

COLUMN_GAP, GROUP_GAP, NODE_GAP, MARGIN = 60, 60, 30, 20
TITLE, GROUP_TITLE, SLOT, WIDGET, PADDING = 30, 40, 20, 24, 14
NODE_WIDTH = 310
# What takes more room than its row: text areas, pictures.
TALL = {
    "CLIPTextEncode": 70,
    "MarkdownNote": 280,
    "LoadImage": 300,
    "LoadImageMask": 230,
    "AMAdapterLoadLabelMap": 300,
    "AMAdapterSemanticPainter": 440,
    "AMAdapterClassRouting": 110,
    "AMAdapterLoadGenerator": 70,
    "AMAdapterGenerate": 200,
    "AMAdapterRandomStyle": 160,
    "AMAdapterMixStyles": 110,
    "AMAdapterPartMaps": 260,
    "AMAdapterLabelMapToMask": 60,
    "SaveImage": 270,
    "PreviewImage": 260,
    "MaskPreview": 260,
    "LossGraphNode": 220,
    "AMAdapterBuildIndex": 90,
    "AMAdapterRetrieveExemplars": 330,
    "AMAdapterPairExemplars": 60,
    "AMAdapterSaveBatch": 270,
    "AMAdapterLabelMapPreview": 260,
    "AMAdapterMixExemplars": 90,
    "AMAdapterEvaluate": 330,
    "AMAdapterTrainStructure": 320,
    "AMAdapterTrainMatcher": 320,
}
WIDE = {
    "SaveImage": 640,
    "AMAdapterSaveBatch": 640,
    "AMAdapterSemanticPainter": 580,
    "AMAdapterRetrieveExemplars": 420,
    "AMAdapterEvaluate": 420,
}

COLOURS = {"models": "#8AA", "labels": "#88A", "adapter": "#A88", "sampling": "#8A8", "result": "#3f789e"}
