"""Does attention look at the right place: the share of the exemplar's attention mass that lands where it should.

A target token that belongs to a class should look at that class in the exemplar, and where the true correspondence is
known (materials of procedural scenes) at the same object. The probabilities are those of the attention itself, made
and reduced in bounded memory as in `match_view`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from ..label_resizing import resize_ids
from ..match_view import probabilities
from ..matcher import BLOCKS
from ..matching import Bias
from ..resampling import Grid
from ..sites import Look, Site


@dataclass(frozen=True)
class Kinds:
    """What sorts the pixels of target and exemplar: their classes, or their materials.

    :param target: [1 or B, H, W] ids of the target.
    :param exemplar: [1 or B, He, We] ids of the exemplar; equal ids belong together.
    :param ignore: an id that belongs to nothing.
    """

    target: Tensor
    exemplar: Tensor
    ignore: int | None = None

    def at(self, target: Grid, exemplar: Grid) -> tuple[Tensor, Tensor, Tensor]:
        """Sort the tokens of two grids by majority of area, as the matching does.

        :return: kind of each target token [1 or B, Nq] int64, one-hot kind of each exemplar token [1 or B, M, K],
            whether a target token's kind is among the exemplar's tokens [1 or B, Nq].
        """
        ids = [
            resize_ids(ids.cpu(), grid, "majority", ignore=self.ignore).flatten(1).long()
            for ids, grid in ((self.target, target), (self.exemplar, exemplar))
        ]
        present, numbers = torch.unique(torch.cat([x.flatten() for x in ids]), return_inverse=True)
        rows, columns = (part.view_as(x) for part, x in zip(numbers.split([x.numel() for x in ids]), ids, strict=True))
        one_hot = F.one_hot(columns, len(present)).float()
        if self.ignore is not None:
            one_hot[..., present == self.ignore] = 0
        batch = max(len(rows), len(columns))
        among = one_hot.amax(1).expand(batch, -1).gather(1, rows.expand(batch, -1)) > 0
        return rows, one_hot, among


@dataclass
class Landing:
    """Attention mass, a mean over target tokens, summed over what was observed.

    :param mass: [B] what tokens give the exemplar whose kind it has.
    :param right: [B] the part of it that lands in their own kind.
    """

    mass: Tensor
    right: Tensor

    def __add__(self, other: Landing) -> Landing:
        return Landing(self.mass + other.mass, self.right + other.right)

    @property
    def share(self) -> Tensor:
        """[B] in 0..1; nan where the exemplar has none of the target's kinds or gets no mass."""
        return torch.where(self.mass > 0, self.right / self.mass, math.nan)


class MatchShare:
    """Gathers, over attention sites and steps, where one exemplar is looked at. It is an attention observer.

    Every site has the same say, whatever its number of tokens; coarse sites hardly tell small classes apart, so
    `blocks` or `by_site` may choose. Nothing is changed and no gradient is kept.

    :param target: [1 or B, H, W] class ids of the target.
    :param exemplar: [1 or B, He, We] class ids of the exemplar, in the same table of classes.
    :param ignore: a class id that counts as nothing.
    :param target_materials: [1 or B, H, W] ids of the true correspondence: what of the target and of the exemplar
        has the same id is the same object; exemplar_materials [1 or B, He, We] alike. None measures classes alone.
    :param ignore_material: a material id that counts as nothing.
    :param index: which exemplar, where the target looks at several.
    :param blocks: of the UNet, that count.
    """

    def __init__(
        self,
        target: Tensor,
        exemplar: Tensor,
        *,
        ignore: int | None = None,
        target_materials: Tensor | None = None,
        exemplar_materials: Tensor | None = None,
        ignore_material: int | None = None,
        index: int = 0,
        blocks: Collection[str] = BLOCKS,
    ):
        if (target_materials is None) != (exemplar_materials is None):
            raise ValueError("MatchShare: give the materials of both target and exemplar, or of neither")
        self.index, self.blocks = index, tuple(blocks)
        self._kinds = {"class": Kinds(target, exemplar, ignore)}
        if target_materials is not None:
            self._kinds["object"] = Kinds(target_materials, exemplar_materials, ignore_material)
        self._at: dict[tuple, tuple[Tensor, ...]] = {}
        self._landings: dict[str, dict[str, Landing]] = {}
        self._shares: dict[str, tuple[Tensor, int]] = {}

    def __call__(
        self, site: Site, look: Look, q: Tensor, k: Tensor, keys: Sequence[Tensor], bias: Bias | None, scale: float
    ) -> None:
        """Observe one site, as `sites.Observer` says."""
        active = look.matching.active
        if site.block in self.blocks and self.index in active:
            place = active.index(self.index)
            grids = site.grid(look.target), site.grid(look.exemplars[place])
            self.add(q, k, keys, bias, scale, place, *grids, name=site.name)

    @torch.no_grad()
    def add(
        self,
        q: Tensor,
        k: Tensor,
        keys: Sequence[Tensor],
        bias: Bias | None,
        scale: float,
        index: int,
        target: Grid,
        exemplar: Grid,
        name: str = "",
    ) -> None:
        """Look at one attention site, as in `match_view.probabilities`.

        :param target: (h, w) of the queries; exemplar of the keys at `index`.
        :param name: of the site, for `by_site`.
        """
        batch, tokens = len(q), q.shape[2]
        given = torch.zeros(batch, dtype=torch.float64)
        sums = {kind: Landing(given.clone(), given.clone()) for kind in self._kinds}
        for part, p in probabilities(q, k, keys, bias, scale, index):
            mass = p.sum(-1)  # [B, c]
            given += _mean(mass, tokens)
            for kind, landing in sums.items():
                rows, one_hot, among = self._sorted(kind, target, exemplar, q.device)
                chosen = rows[:, part].expand(batch, -1)[..., None]
                right = (p @ one_hot).gather(2, chosen)[..., 0]  # [B, c, K] to [B, c]
                counted = among[:, part]
                landing.mass += _mean(mass * counted, tokens)
                landing.right += _mean(right * counted, tokens)
        former, seen = self._shares.get(name, (0.0, 0))
        self._shares[name] = former + given, seen + 1
        at_site = self._landings.setdefault(name, {})
        for kind, landing in sums.items():
            before = at_site.get(kind)
            at_site[kind] = landing if before is None else before + landing

    @property
    def empty(self) -> bool:
        """Whether nothing was observed yet."""
        return not self._shares

    @property
    def exemplar_share(self) -> Tensor:
        """[B] fp64, the share of the softmax that goes to the exemplar: mean over all target tokens and sites."""
        self._check()
        total = sum(given for given, _ in self._shares.values())
        return total / sum(seen for _, seen in self._shares.values())

    @property
    def class_share(self) -> Tensor:
        """[B] fp64, of the exemplar's mass the part in the right class, over tokens whose class the exemplar has."""
        return self._share("class")

    @property
    def object_share(self) -> Tensor | None:
        """[B] fp64, the same of objects; None without materials."""
        return self._share("object") if "object" in self._kinds else None

    @property
    def by_site(self) -> dict[str, dict[str, Tensor]]:
        """By the sites' names: "exemplar", "class" and, with materials, "object", [B] each."""
        return {
            name: {"exemplar": given / seen} | {kind: x.share for kind, x in self._landings[name].items()}
            for name, (given, seen) in self._shares.items()
        }

    def _share(self, kind: str) -> Tensor:
        self._check()
        return reduce(Landing.__add__, (at_site[kind] for at_site in self._landings.values())).share

    def _check(self) -> None:
        if self.empty:
            raise ValueError(
                f"MatchShare: nothing was observed at exemplar {self.index} in {', '.join(self.blocks)}; run a model "
                "that looks at an exemplar with this as its observer"
            )

    def _sorted(self, kind: str, target: Grid, exemplar: Grid, device: torch.device) -> tuple[Tensor, ...]:
        key = (kind, target, exemplar, device)
        if key not in self._at:
            self._at[key] = tuple(t.to(device) for t in self._kinds[kind].at(target, exemplar))
        return self._at[key]


def _mean(x: Tensor, tokens: int) -> Tensor:
    """Part of a mean over all tokens: [B, c] to [B] fp64, on the CPU since not every device has fp64."""
    return x.sum(1).cpu().double() / tokens
