"""The tokenizer of the demonstration family: one token per word of a small closed vocabulary.

It is written as `tokenizer.json`, the format of the `tokenizers` library, which diffusers and ComfyUI both read.
Everything that is not a letter separates words; a word outside the vocabulary becomes `UNKNOWN`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..whole_files import write_whole

START, END, UNKNOWN = SPECIALS = ("<start>", "<end>", "<unknown>")
LENGTH = 16
"""Tokens of a prompt, start and end included; as in Stable Diffusion, the end token fills what is left."""
FILE = "tokenizer.json"


def words_of(phrases: Iterable[str]) -> tuple[str, ...]:
    """The distinct words of some phrases, in order."""
    return tuple(dict.fromkeys(word for phrase in phrases for word in phrase.lower().split()))


def write_tokenizer(folder: Path, words: Iterable[str]) -> None:
    """Write `tokenizer.json` into a folder."""
    vocabulary = {word: number for number, word in enumerate((*SPECIALS, *words))}
    start, end = ({"SpecialToken": {"id": token, "type_id": 0}} for token in (START, END))
    sequence = [start, {"Sequence": {"id": "A", "type_id": 0}}, end]
    description = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": vocabulary[token],
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for token in SPECIALS
        ],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"Regex": "[^a-z]+"},
            "behavior": "Removed",
            "invert": False,
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": sequence,
            "pair": [*sequence, {"Sequence": {"id": "B", "type_id": 0}}, end],
            "special_tokens": {
                token: {"id": token, "ids": [vocabulary[token]], "tokens": [token]} for token in (START, END)
            },
        },
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": UNKNOWN},
    }
    write_whole(Path(folder, FILE), json.dumps(description, indent=1).encode())


def read_tokenizer(folder: str | Path, **_: Any) -> Any:
    """The tokenizer of a folder that holds `tokenizer.json`, as a class of transformers."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_file=str(Path(folder, FILE)),
        bos_token=START,
        eos_token=END,
        unk_token=UNKNOWN,
        pad_token=END,
        model_max_length=LENGTH,
        model_input_names=["input_ids", "attention_mask"],
    )
