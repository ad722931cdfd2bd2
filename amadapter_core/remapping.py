"""From one table of classes to another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .class_names import plain_name
from .label_maps import LabelMap, Palette


@dataclass(frozen=True)
class Remapping:
    """Which class of a target palette every class of a source palette becomes.

    :param classes: ids of the source to ids of the target, each class of the source once; None has no counterpart.
    """

    source: Palette
    target: Palette
    classes: Mapping[int, int | None]

    @staticmethod
    def by_name(source: Palette, target: Palette) -> Remapping:
        """Classes of the same name, see `plain_name`; the others have no counterpart.

        :raises ValueError: when no name is in both.
        """
        ids: dict[str, int] = {}
        for label, name in zip(target.ids, target.names, strict=True):
            ids.setdefault(plain_name(name), label)
        classes = {label: ids.get(plain_name(name)) for label, name in zip(source.ids, source.names, strict=True)}
        if not any(label is not None for label in classes.values()):
            raise ValueError(
                f"palettes {source.name!r} and {target.name!r} have no class name in common; choose another palette"
            )
        return Remapping(source, target, classes)

    def changed(self, changes: Mapping[int, int | None]) -> Remapping:
        """The same table but for some classes."""
        return replace(self, classes={**self.classes, **changes})

    def __call__(self, labels: LabelMap) -> LabelMap:
        """Bring a label map to the target palette; classes without a counterpart are ignored there.

        :raises ValueError: a label map of another palette, or pixels without a counterpart where the target has no
            ignored pixels.
        """
        if (labels.palette.ids, labels.palette.names) != (self.source.ids, self.source.names):
            raise ValueError(
                f"Remapping: the label map is in palette {labels.palette.name!r}, this table is for "
                f"{self.source.name!r}; read it in that palette, or take another table"
            )
        kept, lost = self._kept(labels), self.lost(labels)
        if self.target.ignore is None and bool(lost.any()):
            raise ValueError(
                f"Remapping: {int(lost.sum())} of {lost.numel()} pixels have no class in {self.target.name!r}, where "
                f"every pixel needs one: {', '.join(self.names_lost(labels)) or 'unlabelled'}; map them to a class"
            )
        ids = labels.ids.new_full(labels.ids.shape, 0 if self.target.ignore is None else self.target.ignore)
        for old in labels.ids.unique().tolist():
            if old in kept:
                ids[labels.ids == old] = kept[old]
        return LabelMap(ids, self.target, parts=labels.parts)

    def lost(self, labels: LabelMap) -> Tensor:
        """[B, H, W] bool: pixels that have no class in the target, the ignored ones among them."""
        kept = torch.tensor(list(self._kept(labels)), dtype=torch.int64, device=labels.ids.device)
        return ~torch.isin(labels.ids, kept)

    def names_lost(self, labels: LabelMap) -> list[str]:
        """Names of the classes in a label map that have no counterpart."""
        return [name for name in labels.names_present() if self.classes[self.source.id_of(name)] is None]

    def _kept(self, labels: LabelMap) -> dict[int, int]:
        return {old: new for old, new in self.classes.items() if new is not None and old != labels.ignore}
