"""What pictures look like, by a CLIP model in transformers' form: pictures and words in one space."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def network_name(patches: Tensor) -> str:
    """
    Tells one vision network from another, whatever file or program it comes from.

    :param patches: the weight of its first layer, which embeds patches of the picture.
    """
    rounded = patches.detach().flatten().half().cpu().contiguous()
    return f"vision:{hashlib.blake2b(rounded.numpy().tobytes(), digest_size=8).hexdigest()}"


class Clip:
    """
    A CLIP model of a transformers folder.

    :param folder: with config, weights and preprocessing; nothing is downloaded.
    :raises ImportError: without the package transformers.
    :raises FileNotFoundError: no such folder.
    """

    def __init__(self, folder: str | Path, device: str = "cpu"):
        try:
            from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel
        except ImportError as error:
            raise ImportError("retrieval: CLIP needs the package transformers: pip install transformers") from error
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"retrieval: no folder {Path(folder).absolute()}; it should hold a CLIP model")
        self.model = CLIPModel.from_pretrained(folder, local_files_only=True).eval().to(device)
        self.processor = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
        self._tokenizer = lambda: AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.device = device
        self.name = network_name(self.model.vision_model.embeddings.patch_embedding.weight)

    @torch.inference_mode()
    def pictures(self, pictures: Sequence[np.ndarray]) -> Tensor:
        """[B, E] of length 1, of pictures [H, W, 3] uint8."""
        values = self.processor(images=list(pictures), return_tensors="pt")["pixel_values"].to(self.device)
        hidden = self.model.vision_model(pixel_values=values).pooler_output
        return _unit(self.model.visual_projection(hidden))

    @torch.inference_mode()
    def words(self, text: str) -> Tensor:
        """[E] of length 1, in the pictures' space."""
        tokens = self._tokenizer()([text], return_tensors="pt", truncation=True).to(self.device)
        hidden = self.model.text_model(**tokens).pooler_output
        return _unit(self.model.text_projection(hidden))[0]


def _unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors.float(), dim=-1).cpu()
