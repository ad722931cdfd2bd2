"""A loaded iPOSE and all that can be done with it: instances, part maps, pictures of both."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...label_resizing import resize_ids
from ..noise import Seeds, noise_by_class, normal
from ..semantic import check_ids, one_hot, resize_nearest
from ..system import System
from .conventions import Convention
from .instances import InstanceMap, from_instances, from_labels
from .networks import IPoseNetwork
from .part_maps import PartMaps, categories_of, predict, remember
from .supports import Supports


class PartGuidedGenerator:
    """Pictures of label maps whose objects have parts.

    Three things vary a picture and can be chosen apart: the style noise of the whole, the local noise outside of
    objects, and the parts inside of them, which follow from the instances and the supports.

    :param supports: examples of parts; see `supports`. None where there are none: pictures without parts remain.
    """

    system = System.IPOSE

    def __init__(self, network: IPoseNetwork, convention: Convention, supports: Supports | None = None):
        self.network, self.convention, self.supports = network, convention, supports

    @property
    def classes(self) -> int:
        """K: label ids are 0..K-1."""
        return self.network.classes

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the pictures it makes."""
        return self.convention.size

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.network.device

    def to(self, device: torch.device | str) -> PartGuidedGenerator:
        """Move the networks."""
        self.network.to(device)
        return self

    def instances(
        self, ids: Tensor, instances: Tensor | None = None, instance_classes: Tensor | None = None
    ) -> list[InstanceMap]:
        """Find the objects that have parts.

        :param ids: [B, H, W] of any size. Its aspect is the one that the part network sees shapes at.
        :param instances: [B, H, W] as the data set has them, see `instances`; None takes connected pieces.
        :param instance_classes: [B, H, W], ADE20K's numbers of instance classes; None goes by the label ids.
        :return: one map of the model's size for each item.
        :raises ValueError: for label values without a class, or maps of different sizes.
        """
        ids = check_ids(ids, self.classes, "iPOSE")
        for name, given in (("instance map", instances), ("map of instance classes", instance_classes)):
            if given is not None and given.shape != ids.shape:
                raise ValueError(
                    f"iPOSE: the {name} is {list(given.shape)}, the label map {list(ids.shape)}; they have to be equal"
                )
        original = (ids.shape[1], ids.shape[2])
        ids, counts, kinds = (
            None if x is None else resize_ids(x, self.size) for x in (ids, instances, instance_classes)
        )
        if counts is None:
            return [from_labels(item, self.convention, original) for item in ids]
        kinds = [None] * len(ids) if kinds is None else kinds
        return [
            from_instances(values, item, self.convention, original, kind)
            for values, item, kind in zip(counts, ids, kinds, strict=True)
        ]

    def parts(self, instances: Sequence[InstanceMap], supports: Supports | None = None) -> PartMaps:
        """Find the parts of objects.

        :param instances: of each item, as `instances` finds them.
        :param supports: other ones than the generator's own.
        :raises ValueError: when there are objects and no supports, or none of a category.
        """
        network = self.network.partnet.model
        supports = self.supports if supports is None else supports
        return predict(network, instances, remember(network, categories_of(instances), supports))

    def without_parts(self, batch: int) -> PartMaps:
        """Part maps of no objects, for pictures that noise alone guides."""
        nothing = InstanceMap(torch.zeros(self.size, dtype=torch.int64), ())
        return predict(self.network.partnet.model, [nothing] * batch, {})

    def style_noise(self, batch: int, seed: int = 0) -> Tensor:
        """[B, z_channels] normal noise of the whole picture, each item's a draw of its own."""
        return torch.stack([normal((self.network.z_channels,), seed, item) for item in range(batch)])

    def local_noise(self, ids: Tensor, seeds: int | Seeds = 0) -> Tensor:
        """[B, 31, h, w] normal noise of places, each class's a draw of its own.

        :param ids: [B, H, W].
        :param seeds: one for all, or others for single classes.
        """
        channels, *grid = self.network.noise_shape(self.size)
        return noise_by_class(resize_nearest(resize_ids(ids, self.size), grid), channels, Seeds.of(seeds))

    @torch.no_grad()
    def generate(
        self,
        ids: Tensor,
        parts: PartMaps | None = None,
        seed: int = 0,
        local: int | Seeds | None = None,
        *,
        z: Tensor | None = None,
        z_part: Tensor | None = None,
    ) -> Tensor:
        """Make pictures.

        :param ids: [B, H, W] in 0..K-1; maps of another size are resized to the model's, as its data set was.
        :param parts: of the same items; None finds objects by connected pieces, and their parts by the supports.
        :param seed: of the style noise.
        :param local: seed or seeds of the local noise; None takes `seed`.
        :param z: [B or 1, z_channels], instead of drawn style noise; z_part [B or 1, 31, H/32, W/32] alike.
        :return: [B, 3, H, W] in 0..1 of the model's size.
        :raises ValueError: for label values without a class, or parts and noise of another form.
        """
        ids = check_ids(ids, self.classes, "iPOSE")
        parts = self.parts(self.instances(ids)) if parts is None else parts
        batch = len(ids)
        if len(parts.instances) != batch or parts.size != self.size:
            raise ValueError(
                f"iPOSE: the part maps are of {len(parts.instances)} pictures of {parts.size}, expected {batch} of "
                f"{self.size}; find them for this label map with this model"
            )
        z = self.style_noise(batch, seed) if z is None else z
        z_part = self.local_noise(ids, seed if local is None else local) if z_part is None else z_part
        z = self._checked("style noise", z, (batch, self.network.z_channels))
        z_part = self._checked("local noise", z_part, (batch, *self.network.noise_shape(self.size)))
        hot = one_hot(resize_ids(ids, self.size).to(self.device), self.classes, self.network.dtype)
        made = self.network(hot, parts.features.to(hot), parts.inside.to(hot), z, z_part)
        return (made.float() + 1) / 2

    def _checked(self, name: str, noise: Tensor, shape: tuple[int, ...]) -> Tensor:
        if noise.ndim != len(shape) or noise.shape[0] not in (1, shape[0]) or tuple(noise.shape[1:]) != shape[1:]:
            raise ValueError(f"iPOSE: the {name} is {list(noise.shape)}, expected {list(shape)}, or 1 for all items")
        return noise.to(self.device, self.network.dtype).expand(shape)
