"""Segmenters of transformers, for photographs: SegFormer, UperNet, Mask2Former, OneFormer and their kin.

From a local folder alone; nothing is fetched. Needs the extra `segment`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..palettes import Palette
from .layout import SegmentsImages
from .segmenter import Segmenter

UNKNOWN = -1
"""What pixels get whose class the palette does not have."""


class PretrainedSegmenter:
    """A transformers model behind the interface of `Segmenter`.

    :param folder: of a saved model with its image processor (config.json, model.safetensors,
        preprocessor_config.json).
    :param palette: whose label ids `predict` gives; classes are told by name, in any case, the first of several
        synonyms. None gives the model's own ids.
    :raises FileNotFoundError: no such folder, or no model in it.
    :raises ValueError: a model that does not segment, or shares no class with the palette.
    """

    def __init__(self, folder: str | Path, palette: Palette | None = None, device: torch.device | str = "cpu"):
        self.folder = Path(folder).expanduser()
        if not (self.folder / "config.json").is_file():
            raise FileNotFoundError(
                f"PretrainedSegmenter: no config.json in {self.folder.absolute()}; give the folder of a saved "
                "segmentation model of transformers"
            )
        try:
            import transformers
        except ImportError as error:
            raise ImportError(
                "PretrainedSegmenter: transformers is not installed; pip install 'am-adapter[segment]'"
            ) from error
        config = transformers.AutoConfig.from_pretrained(self.folder, local_files_only=True)
        architecture = (config.architectures or ["an unnamed model"])[0]
        if architecture.endswith("ForSemanticSegmentation"):
            kind = transformers.AutoModelForSemanticSegmentation
        elif architecture.endswith("ForUniversalSegmentation"):
            kind = transformers.AutoModelForUniversalSegmentation
        else:
            raise ValueError(
                f"PretrainedSegmenter: {self.folder} holds {architecture}, expected a model for semantic or universal "
                "segmentation"
            )
        # OneFormer is told its task in words, which its processor, not the image processor, makes tokens of.
        self._task = {"task_inputs": ["semantic"]} if config.model_type == "oneformer" else {}
        processor = transformers.AutoProcessor if self._task else transformers.AutoImageProcessor
        self._processor = processor.from_pretrained(self.folder, local_files_only=True)
        self._model = kind.from_pretrained(self.folder, local_files_only=True)
        self._model.to(device).eval().requires_grad_(False)
        own = {int(number): str(name) for number, name in config.id2label.items()}
        self._table, self.classes = _table(own, palette, self.folder)

    @torch.no_grad()
    def predict(self, images: Tensor, batch: int = 4) -> Tensor:
        """Name the class of every pixel.

        :param images: [B, 3, H, W] in 0..1.
        :param batch: how many go through the network at once.
        :return: [B, H, W] int64 label ids, UNKNOWN where the palette lacks the class; on the pictures' device.
        """
        size = tuple(images.shape[-2:])
        found = []
        for part in images.split(batch):
            pictures = list((part.clamp(0, 1) * 255).round().byte().movedim(1, -1).cpu().numpy())
            task = {name: value * len(pictures) for name, value in self._task.items()}
            inputs = self._processor(images=pictures, return_tensors="pt", **task)
            outputs = self._model(**_on(inputs, self._model.device))
            found += self._processor.post_process_semantic_segmentation(outputs, target_sizes=[size] * len(pictures))
        return self._table[torch.stack(found).long().cpu()].to(images.device)


def load_segmenter(
    path: str | Path, palette: Palette | None = None, device: torch.device | str = "cpu"
) -> SegmentsImages:
    """Load a segmenter of either kind.

    :param path: a .safetensors file of `Segmenter.save`, or the folder of a transformers model.
    :param palette: of the label ids; a `Segmenter` knows its own, see `PretrainedSegmenter`.
    """
    if Path(path).expanduser().is_dir():
        return PretrainedSegmenter(path, palette, device)
    return Segmenter.load(path).to(device)


def _table(own: Mapping[int, str], palette: Palette | None, folder: Path) -> tuple[Tensor, dict[int, str]]:
    """Label id of each of the model's classes [K], and the names of the label ids that can come."""
    table = torch.full((max(own) + 1,), UNKNOWN, dtype=torch.int64)
    if palette is None:
        for number in own:
            table[number] = number
        return table, dict(own)
    by_name: dict[str, int] = {}
    for label, name in zip(palette.ids, palette.names, strict=True):
        by_name.setdefault(_plain(name), label)
    for number, name in own.items():
        table[number] = by_name.get(_plain(name), UNKNOWN)
    names = dict(zip(palette.ids, palette.names, strict=True))
    found = {label: names[label] for label in sorted(set(table.tolist()) - {UNKNOWN})}
    if not found:
        raise ValueError(
            f"PretrainedSegmenter: {folder} shares no class with palette {palette.name!r}; the model knows "
            f"{', '.join(list(own.values())[:10])}, the palette {', '.join(palette.names[:10])}"
        )
    return table, found


def _plain(name: str) -> str:
    """The first of several synonyms, in small letters, without punctuation."""
    return " ".join(re.split(r"[\s_-]+", re.split(r"[,;/]", name)[0].strip().casefold()))


def _on(inputs: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in inputs.items()}
