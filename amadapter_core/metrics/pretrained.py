"""Segmenters of transformers, for photographs: SegFormer, UperNet, Mask2Former, OneFormer and their kin.

From a local folder alone; nothing is fetched. Needs the extra `segment`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from ..class_names import plain_name
from ..palettes import Palette
from .layout import SegmentsImages
from .segmenter import Segmenter

UNKNOWN = -1
"""What pixels get whose class the palette does not have."""


class PretrainedSegmenter:
    """A transformers model behind the interface of `Segmenter`; `network` is the model itself.

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
        try:
            self._read(transformers)
        except (OSError, RuntimeError, SafetensorError, json.JSONDecodeError) as error:
            raise ValueError(
                f"PretrainedSegmenter: {self.folder} cannot be read: {error}; it should hold config.json, "
                "preprocessor_config.json and model.safetensors of one model, complete"
            ) from error
        self.network.to(device).eval().requires_grad_(False)
        self._table, self.classes = _table(self._own, palette, self.folder)

    def _read(self, transformers: ModuleType) -> None:
        local = {"local_files_only": True, "trust_remote_code": False}
        config = transformers.AutoConfig.from_pretrained(self.folder, **local)
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
        self._own = {int(number): str(name) for number, name in config.id2label.items()}
        self._task: dict[str, list[str]] = {}
        if config.model_type == "oneformer":
            # It is told its task in words.
            self._task = {"task_inputs": ["semantic"]}
            self._processor = _oneformer_processor(transformers, self.folder, self._own)
        else:
            self._processor = transformers.AutoImageProcessor.from_pretrained(self.folder, **local)
        self.network = kind.from_pretrained(self.folder, **local)

    def in_palette(self, palette: Palette | None) -> PretrainedSegmenter:
        """The same model with other label ids, see above."""
        other = copy.copy(self)
        other._table, other.classes = _table(self._own, palette, self.folder)
        return other

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
            outputs = self.network(**_on(inputs, self.network.device))
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
        by_name.setdefault(plain_name(name), label)
    for number, name in own.items():
        table[number] = by_name.get(plain_name(name), UNKNOWN)
    names = dict(zip(palette.ids, palette.names, strict=True))
    found = {label: names[label] for label in sorted(set(table.tolist()) - {UNKNOWN})}
    if not found:
        raise ValueError(
            f"PretrainedSegmenter: {folder} shares no class with palette {palette.name!r}; the model knows "
            f"{', '.join(list(own.values())[:10])}, the palette {', '.join(palette.names[:10])}"
        )
    return table, found


def _oneformer_processor(transformers: ModuleType, folder: Path, classes: Mapping[int, str]) -> Any:
    """OneFormer's processor. Left to itself, its image processor fetches a table of classes from the network."""
    options, _ = transformers.OneFormerImageProcessor.get_image_processor_dict(folder, local_files_only=True)
    with TemporaryDirectory() as place:
        info = {str(number): {"name": name, "isthing": 0} for number, name in classes.items()}
        Path(place, "classes.json").write_text(json.dumps(info), encoding="utf-8")
        images = transformers.OneFormerImageProcessor(
            **options | {"repo_path": place, "class_info_file": "classes.json"}
        )
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return transformers.OneFormerProcessor(images, tokenizer)


def _on(inputs: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in inputs.items()}
