"""Segmentation models of transformers in miniature, with random weights, saved as their users save them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch


def classes(names: list[str]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(names)), "label2id": {name: number for number, name in enumerate(names)}}


def swin() -> Any:
    from transformers import SwinConfig

    return SwinConfig(
        image_size=32,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=2,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )


def saved_segformer(folder: Path, names: list[str]) -> Path:
    """A random SegFormer of the smallest kind, as users have it on disk."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

    torch.manual_seed(0)
    config = SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[4, 2],
        hidden_sizes=[8, 16],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=16,
        **classes(names),
    )
    SegformerForSemanticSegmentation(config).save_pretrained(folder)
    SegformerImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def saved_mask2former(folder: Path, names: list[str]) -> Path:
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessor,
    )

    torch.manual_seed(0)
    config = Mask2FormerConfig(
        backbone_config=swin(),
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=16,
        encoder_layers=1,
        num_attention_heads=2,
        dim_feedforward=16,
        decoder_layers=2,
        num_queries=5,
        **classes(names),
    )
    Mask2FormerForUniversalSegmentation(config).save_pretrained(folder)
    Mask2FormerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def saved_upernet(folder: Path, names: list[str]) -> Path:
    """As published: with SegFormer's image processor."""
    from transformers import SegformerImageProcessor, UperNetConfig, UperNetForSemanticSegmentation

    torch.manual_seed(0)
    config = UperNetConfig(
        backbone_config=swin(), hidden_size=8, pool_scales=[1, 2], use_auxiliary_head=False, **classes(names)
    )
    UperNetForSemanticSegmentation(config).save_pretrained(folder)
    SegformerImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def saved_oneformer(folder: Path, names: list[str]) -> Path:
    """As published: its image processor names a table of classes that lies on the network."""
    from transformers import CLIPTokenizer, OneFormerConfig, OneFormerForUniversalSegmentation

    torch.manual_seed(0)
    config = OneFormerConfig(
        backbone_config=swin(),
        num_queries=5,
        hidden_dim=32,
        mask_dim=32,
        conv_dim=32,
        encoder_feedforward_dim=16,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        dim_feedforward=16,
        task_seq_len=77,
        text_encoder_width=16,
        text_encoder_num_layers=1,
        text_encoder_vocab_size=60,
        **classes(names),
    )
    OneFormerForUniversalSegmentation(config).save_pretrained(folder)
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(c + "</w>" for c in letters)]
    CLIPTokenizer(vocab={w: i for i, w in enumerate(words)}, merges=[], model_max_length=77).save_pretrained(folder)
    options = {
        "image_processor_type": "OneFormerImageProcessor",
        "processor_class": "OneFormerProcessor",
        "repo_path": "shi-labs/oneformer_demo",
        "class_info_file": "ade20k_panoptic.json",
        "num_text": 3,
        "size": {"height": 64, "width": 64},
        "do_reduce_labels": False,
        "ignore_index": 255,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(options))
    return folder
