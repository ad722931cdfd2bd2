"""Semantic generators under ComfyUI's memory management, with its progress bars and its Cancel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ...generators.class_table import generator_ids
from ...generators.noise import Seeds
from ...generators.scadm import Unconditional
from ...generators.styles import StyleCodes, restricted, swapped
from ...generators.system import System, load_generator
from ...label_maps import LabelMap
from ...palettes import Palette
from .managed import managed_whole
from .scadm import FirstStageVAE, LayoutModel, conditioning, empty_latent

# Working memory over the weights: 45 kB for each pixel in the widest published network, a clVAE of 490 M parameters.
BYTES_PER_PIXEL = 48_000


@dataclass(frozen=True, eq=False)
class HostGenerator:
    """A generator of any system. What it has to know of a picture it is asked for; nothing in it changes.

    :param core: the core's generator.
    :param patchers: of its networks. SCA-DM's first one is of its UNet as ComfyUI's samplers take it.
    """

    core: Any
    patchers: tuple[ModelPatcher, ...]

    @property
    def system(self) -> System:
        """Which of the three systems it is."""
        return self.core.system

    @property
    def about(self) -> str:
        """One line for people."""
        height, width = self.core.size
        last = self.core.classes - 1
        return f"{self.system.title}: classes 0 to {last}, pictures of {width} x {height} (width x height)"

    def loaded(self) -> Any:
        """The core's generator, with its networks on ComfyUI's device."""
        height, width = self.core.size
        memory = BYTES_PER_PIXEL * height * width
        comfy.model_management.load_models_gpu(list(self.patchers), memory_required=memory, force_full_load=True)
        return self.core

    def ids(self, labels: LabelMap) -> Tensor:
        """[B, H, W] label ids as this generator counts classes.

        :raises ValueError: when its classes are not those of the label map's table.
        """
        return generator_ids(labels, self.core.classes, self.system.title)


@dataclass(frozen=True, eq=False)
class HostStyles:
    """The style codes of some pictures, with the names of their classes.

    :param codes: one for each picture.
    :param palette: where the names come from; None where they are not known.
    """

    codes: tuple[StyleCodes, ...]
    palette: Palette | None = None


@dataclass(frozen=True)
class Drawing:
    """How a picture is made beside its label map, style and seed.

    :param variants: pictures for each label map.
    :param classes: seeds of single classes.
    :param random_classes: ids of classes that take nothing from the style.
    :param background: iPOSE's seed of the noise outside of objects; None takes the seed.
    :param steps: of SCA-DM's sampling, likewise guidance, eta and unconditional.
    """

    variants: int = 1
    classes: Mapping[int, int] = field(default_factory=dict)
    random_classes: tuple[int, ...] = ()
    background: int | None = None
    steps: int = 50
    guidance: float = 1.0
    eta: float = 0.0
    unconditional: Unconditional = Unconditional.EMPTY_STYLE


def load(path: str | Path, **choices: Any) -> HostGenerator:
    """A generator from its file, recognised by its content.

    :param choices: as for `load_generator`; those that are None are not made.
    :raises FileNotFoundError: when there is no such file.
    :raises CheckpointError: when it is of none of the systems, or not complete.
    :raises ValueError: for a choice that the system does not have.
    """
    return hosted(load_generator(path, **{name: value for name, value in choices.items() if value is not None}))


def hosted(core: Any) -> HostGenerator:
    """Put a generator of the core under ComfyUI's memory management."""
    if core.system is System.CLVAE:
        networks = [core.generator, core.encoder]
    elif core.system is System.IPOSE:
        networks = [core.network]
    else:
        networks = [LayoutModel(core.unet, core.betas), core.style_encoder, core.first_stage]
    present = [network for network in networks if network is not None]
    for network in present:
        _heed_cancel(network)
    return HostGenerator(core, tuple(managed_whole(network) for network in present))


def styles_of(generator: HostGenerator, image: Tensor, labels: LabelMap) -> HostStyles:
    """The styles of pictures.

    :param image: [B, H, W, 3 or 4] in 0..1.
    :param labels: of the same pictures, or one for all.
    :raises ValueError: for a system without styles, or as the core's `styles`.
    """
    _with_styles(generator)
    ids, pictures = generator.ids(labels), image[..., :3].movedim(-1, 1)
    check_count(len(ids), len(pictures), "label maps", "pictures")
    core = generator.loaded()
    ids = ids.expand(len(pictures), -1, -1)
    codes = (core.style(pictures[i : i + 1], ids[i : i + 1]) for i in _counted(len(pictures)))
    return HostStyles(tuple(codes), labels.palette)


def random_styles(
    generator: HostGenerator,
    labels: LabelMap,
    seeds: Seeds,
    classes: Sequence[int] = (),
    layers: Sequence[int] = (),
    base: HostStyles | None = None,
) -> HostStyles:
    """Random styles for label maps, or given ones with some classes and layers drawn anew.

    :param seeds: of the first label map; the n-th takes n more.
    :param classes: which are drawn; none stands for all.
    :param layers: which of their layers; none stands for all. Needs a base.
    :param base: what everything else is taken from; one, or as many as label maps.
    :raises ValueError: for a system without styles, layers without a base, or classes that are not there.
    """
    _with_styles(generator)
    if layers and base is None:
        raise ValueError("single layers are drawn anew in a style; connect the style that has the others")
    ids, core = generator.ids(labels), generator.loaded()
    found = []
    for i in _counted(len(ids)):
        drawn = core.random_style(ids[i : i + 1], Seeds(seeds.seed + i, seeds.classes, seeds.layers))
        if base is not None:
            whole = not classes and not layers
            old = _item(base.codes, i, len(ids), "styles")
            drawn = swapped(old, drawn, classes or None, layers or None, shared=whole)
        elif classes:
            drawn = restricted(drawn, classes)
        found.append(drawn)
    return HostStyles(tuple(found), labels.palette)


def pictures(
    generator: HostGenerator,
    labels: LabelMap,
    seed: int = 0,
    drawing: Drawing | None = None,
    styles: HostStyles | None = None,
    parts: Any = None,
) -> Tensor:
    """Make pictures one after the other, each with a seed one higher than the one before.

    :param styles: one for all label maps or one for each; None draws them.
    :param parts: iPOSE's PartMaps, likewise; None finds objects and their parts.
    :return: [B * variants, H, W, 3] in 0..1 on the CPU, the variants of a label map beside each other.
    :raises ValueError: for what the system does not take, or as the core's `generate`.
    """
    drawing = drawing or Drawing()
    ids = generator.ids(labels)
    _check_taken(generator.system, styles, parts)
    given = [] if styles is None else [_less(codes, drawing.random_classes) for codes in styles.codes]
    core, count = generator.loaded(), len(ids) * drawing.variants
    steps = drawing.steps if generator.system is System.SCADM else 1
    bar, made = comfy.utils.ProgressBar(count * steps), []
    for n in range(count):
        comfy.model_management.throw_exception_if_processing_interrupted()
        i = n // drawing.variants
        item, seeds = ids[i : i + 1], Seeds(seed + n, drawing.classes)
        style = _item(given, i, len(ids), "styles") if given else None
        if generator.system is System.CLVAE:
            picture = core.generate(item, style, seeds)
        elif generator.system is System.IPOSE:
            background = seeds if drawing.background is None else Seeds(drawing.background + n, drawing.classes)
            chosen = None if parts is None else part_maps_item(parts, i, len(ids))
            picture = core.generate(item, chosen, seed + n, background)
        else:
            watch = _steps(bar, n, drawing.steps)
            picture = core.generate(item, style, seeds, watch=watch, **_sampling(drawing))
        made.append(picture.movedim(1, -1).cpu())
        bar.update_absolute((n + 1) * steps, count * steps)
    return torch.cat(made)


def sampling_parts(
    generator: HostGenerator,
    labels: LabelMap,
    styles: HostStyles | None = None,
    random_classes: Sequence[int] = (),
    unconditional: Unconditional = Unconditional.EMPTY_STYLE,
) -> tuple[ModelPatcher, list, list, FirstStageVAE, dict[str, Tensor]]:
    """An SCA-DM as ComfyUI's samplers take it: MODEL, positive and negative CONDITIONING, VAE, LATENT.

    :raises ValueError: for another system, or as the core's `conditioning`.
    """
    if generator.system is not System.SCADM:
        raise ValueError(f"{generator.system.title} is no diffusion model; use Generate from Label Map")
    ids, core = generator.ids(labels), generator.loaded()
    codes = None if styles is None else [_less(code, random_classes) for code in styles.codes]
    model, _, first_stage = generator.patchers
    entries = conditioning(core, ids, codes, unconditional)
    return model.clone(), *entries, FirstStageVAE(core, first_stage), empty_latent(core, len(ids))


def part_maps_item(parts: Any, i: int, count: int) -> Any:
    """The part maps of one picture of a batch; where there are those of one only, these."""
    of_one = [type(parts)(*each) for each in _rows(parts)]
    return _item(of_one, i, count, "part maps")


def _rows(parts: Any) -> Iterator[tuple]:
    for i, instances in enumerate(parts.instances):
        row = slice(i, i + 1)
        yield parts.logits[row], parts.features[row], (instances,), parts.inside[row]


def check_count(given: int, wanted: int, what: str, of: str = "label maps") -> None:
    """:raises ValueError: when it is neither one for all nor one for each."""
    if given not in (1, wanted):
        raise ValueError(f"there are {given} {what} for {wanted} {of}; give one for all or one for each")


def _item(items: Sequence[Any], i: int, count: int, what: str) -> Any:
    check_count(len(items), count, what)
    return items[0 if len(items) == 1 else i]


def _less(codes: StyleCodes, random_classes: Sequence[int]) -> StyleCodes:
    return restricted(codes, set(codes.codes) - set(random_classes))


def _sampling(drawing: Drawing) -> dict[str, Any]:
    return {name: getattr(drawing, name) for name in ("steps", "guidance", "eta", "unconditional")}


def _steps(bar: comfy.utils.ProgressBar, before: int, steps: int) -> Callable[[int, int, Tensor], None]:
    """Shows the share of one picture's steps, of which there may be more than asked for."""

    def watch(done: int, count: int, _: Tensor) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update_absolute(before * steps + done * steps // count)

    return watch


def _counted(count: int) -> Iterator[int]:
    """0 to count - 1 under a progress bar."""
    bar = comfy.utils.ProgressBar(count)
    for i in range(count):
        comfy.model_management.throw_exception_if_processing_interrupted()
        yield i
        bar.update_absolute(i + 1)


def _heed_cancel(network: nn.Module) -> None:
    """Let Cancel stop a network between two layers: one call can take a minute on a CPU."""

    def stop(*_: Any) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()

    for module in network.modules():
        module.register_forward_pre_hook(stop)


def _with_styles(generator: HostGenerator) -> None:
    if generator.system is System.IPOSE:
        raise ValueError(
            "iPOSE has no style codes; its pictures vary with the seed, the background's seed and the part maps. Style "
            "codes are of clVAE and SCA-DM"
        )


def _check_taken(system: System, styles: HostStyles | None, parts: Any) -> None:
    if system is System.IPOSE and styles is not None:
        raise ValueError("iPOSE takes no style codes; disconnect style, or load a clVAE or SCA-DM")
    if system is not System.IPOSE and parts is not None:
        raise ValueError(f"{system.title} takes no part maps, only iPOSE does; disconnect parts, or load an iPOSE")
