"""Random graphs that are put together by their sockets' types, from what a server says about its nodes.

A graph is grown around an aim: what the aim needs is asked for upstream, and what it gives is led on downstream until
there is a picture, a latent or a text. Nodes that a pack gains are taken up by themselves.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .catalogue import OF_A_FAMILY, TRAINING, Catalogue, is_widget
from .frames import MARK, Frame
from .settings import drawn

Link = list
"""[node id, slot]"""

ENDS = {"IMAGE": "PreviewImage", "LATENT": "SaveLatent", "STRING": "PreviewAny", "FLOAT": "PreviewAny"}
"""What shows a result."""
ONWARD = {
    "MASK": ("MaskToImage",),
    "MODEL": ("KSampler", "KSampler", "CFGGuider"),
    "GUIDER": ("SamplerCustomAdvanced",),
    "NOISE": ("SamplerCustomAdvanced",),
    "CONTROL_NET": ("ControlNetApplyAdvanced", "AMAdapterEncodeExemplar"),
    "CONDITIONING": ("KSampler",),
    "LOSS_MAP": ("LossGraphNode",),
    "AM_EXEMPLAR": ("AMAdapterApply",),
    "AM_ROUTING": ("AMAdapterApply",),
    "AM_MATCHER": ("AMAdapterApply",),
    "AM_STYLE_CODES": ("AMAdapterGenerate",),
    "AM_GENERATOR": ("AMAdapterGenerate",),
    "AM_PART_MAPS": ("AMAdapterGenerate",),
    "AM_LABEL_MAP": ("AMAdapterLabelMapPreview", "AMAdapterLabelMapToImage", "AMAdapterLabelMapToMask"),
}
"""Where a type goes from here; of others, any node that takes it."""
CHOSEN = {
    ("AMAdapterLabelMapFromColours", "image"): ("AMAdapterLabelMapToImage", 0),
    ("AMAdapterLabelMapFromIds", "image"): ("LoadImage", 0),
    ("AMAdapterMatchView", "model"): ("AMAdapterApply", 0),
    ("AMAdapterMatchView", "latent"): ("KSampler", 0),
    ("AMAdapterEncodeExemplar", "image"): ("LoadImage", 0),
    ("KSampler", "model"): ("AMAdapterApply", 0),
}
"""Inputs that only some of their type make sense for."""
USUAL = {
    "AM_LABEL_MAP": ("AMAdapterLoadLabelMap", 0.75),
    "AM_EXEMPLAR": ("AMAdapterEncodeExemplar", 0.7),
    "AM_ROUTING": ("AMAdapterClassRouting", 0.5),
    "AM_GENERATOR": ("TinyGenerator", 0.8),
    "AM_SUPPORTS": ("TinySupports", 0.8),
    "IMAGE": ("LoadImage", 0.8),
    "MASK": ("SolidMask", 0.6),
    "MODEL": ("TinySD15Checkpoint", 0.6),
    "CONDITIONING": ("CLIPTextEncode", 0.6),
    "LATENT": ("EmptyLatentImage", 0.7),
    "CONTROL_NET": ("TinyControlNeXt", 0.4),
}
"""Where a type comes from mostly, and how often: the longer the way, the less of it fits together."""
NOT_LINKED = (
    ("AMAdapterRetrieveExemplars", "appearance"),
    ("AMAdapterEditSupports", "image"),
    ("AMAdapterPairExemplars", "exemplar_names"),
    ("AMAdapterPairExemplars", "target_names"),
    *((node, name) for node in TRAINING for name in ("images", "labels")),
)
"""Optional inputs that ask for what no node here gives, or that a folder of pairs stands for."""
SHARED = {"AM_GENERATOR": 1.0, "CLIP": 1.0, "VAE": 1.0, "AM_EXEMPLAR_INDEX": 1.0, "MODEL": 0.5, "AM_MATCHER": 0.8}
"""How likely an input takes what the graph has already, and so is of one family with the rest."""
SYSTEMS = {"AM_STYLE_CODES": ("clvae", "scadm"), "AM_PART_MAPS": ("ipose",), "AM_INSTANCES": ("ipose",)}
"""Which generators have to do with a type."""
ONCE = (*TRAINING, "AMAdapterPairExemplars")
"""Nodes that go on from what there is already, and so do not give the same again."""
SAVING = (*ONCE, "AMAdapterSaveExemplar", "AMAdapterSaveStyle", "AMAdapterPackSupports", "AMAdapterBuildIndex")
"""Nodes whose texts tell of files that there are already."""
DEPTH = 6
OPTIONAL = 0.3


@dataclass(frozen=True)
class Graph:
    """A prompt, and what to expect of it.

    :param aim: the node it was grown around.
    :param repeatable: whether it gives the same again.
    """

    prompt: dict[str, dict]
    aim: str
    frame: Frame
    repeatable: bool


@dataclass
class Grower:
    """Grows one graph; see `grow`."""

    catalogue: Catalogue
    rng: random.Random
    frame: Frame
    prompt: dict[str, dict] = field(default_factory=dict)
    made: dict[str, list[Link]] = field(default_factory=lambda: defaultdict(list))
    system: str | None = None

    def add(self, node: str, depth: int, fixed: dict[str, Any]) -> str:
        """Put a node with all that it needs into the graph, and return its id."""
        inputs = {}
        for name, spec, required in self.catalogue.inputs(node):
            if name in fixed:
                inputs[name] = fixed[name]
            elif is_widget(spec):
                inputs[name] = drawn(self.rng, self.frame, node, name, spec)
            elif (node, name) in NOT_LINKED:
                continue
            elif required or self.rng.random() < (0.95 if name == "matcher" else OPTIONAL):
                link = self.give(spec[0], depth - 1, CHOSEN.get((node, name)), needed=required)
                if link:
                    inputs[name] = link
        self.fit(node, inputs)
        key = f"{len(self.prompt)}"
        self.prompt[key] = {"class_type": node, "inputs": inputs}
        for slot, kind in enumerate(self.catalogue.info[node]["output"]):
            if node not in OF_A_FAMILY:
                self.made[kind].append([key, slot])
        return key

    def fit(self, node: str, inputs: dict[str, Any]) -> None:
        """Bring inputs together that make sense only with each other."""
        if node == "TinyGenerator" and self.system:
            inputs["generator_name"] = f"{self.system}_{self.frame.data_set}"
        if node == "AMAdapterLoadGenerator" and self.system:
            inputs["generator_name"] = f"{MARK}_{self.system}.safetensors"
        if node == "AMAdapterLabelMapFromIds":
            self.prompt[inputs["image"][0]]["inputs"]["image"] = self.frame.file("ids", 0)
        if inputs.get("variant") == "published" and node == "AMAdapterApply":
            inputs |= {name: 1.0 for name in ("strength", "down_weight", "mid_weight", "up_weight")}
            inputs |= {"keep_mass": False}
            for name in ("mask", "routing"):
                inputs.pop(name, None)
        if node == "AMAdapterLabelMapFromMasks" and "over" in inputs:
            inputs["background"] = ""

    def give(self, kinds: str, depth: int, chosen: tuple[str, int] | None, *, needed: bool) -> Link | None:
        """A link of one of these types (separated by commas), from what is there or from new nodes."""
        offered = [kind for kind in kinds.split(",") if self.catalogue.producers.get(kind)]
        if not offered:
            return None
        kind = self.rng.choice(offered)
        if chosen is None or depth <= 0:
            if self.made[kind] and (depth <= -2 or self.rng.random() < SHARED.get(kind, 0.3)):
                return self.rng.choice(self.made[kind])
            heights = self.catalogue.heights
            fitting = [entry for entry in self.catalogue.producers[kind] if heights[entry[0]] <= depth]
            if not fitting and not needed:
                return None
            least = min(heights[name] for name, _ in self.catalogue.producers[kind])
            fitting = fitting or [e for e in self.catalogue.producers[kind] if heights[e[0]] == least]
            usual, often = USUAL.get(kind, ("", 0.0))
            chosen = next((entry for entry in fitting if entry[0] == usual), None)
            if chosen is None or self.rng.random() >= often:
                chosen = self.rng.choice(fitting)
        node, slot = chosen
        return [self.add(node, depth, {}), slot]

    def lead_on(self, link: Link, kind: str, hops: int) -> None:
        """Let something come of an output: a picture, a latent, a text."""
        if kind in ENDS:
            name = "source" if ENDS[kind] == "PreviewAny" else next(n for n, *_ in self.catalogue.links(ENDS[kind]))
            self.add(ENDS[kind], 0, {name: link})
            if kind == "LATENT" and self.made["VAE"]:
                self.lead_on(
                    [self.add("VAEDecode", 0, {"samples": link, "vae": self.made["VAE"][0]}), 0], "IMAGE", hops
                )
            return
        takers = self.catalogue.consumers.get(kind, [])
        preferred = [(node, self.input_of(node, kind)) for node in ONWARD.get(kind, ())]
        if not (preferred or takers) or hops == 0:
            return
        node, name = self.rng.choice(preferred or takers)
        key = self.add(node, 3, {name: link})
        self.finish(key, node, hops - 1)

    def input_of(self, node: str, kind: str) -> str:
        return next(name for name, spec, _ in self.catalogue.links(node) if kind in spec[0].split(","))

    def finish(self, key: str, node: str, hops: int) -> None:
        outputs = list(enumerate(self.catalogue.info[node]["output"]))
        if node in OF_A_FAMILY or hops < 3:
            outputs = outputs[:1]
        if node in SAVING:
            outputs = [(slot, kind) for slot, kind in outputs if kind != "STRING"]
        for slot, kind in outputs:
            self.lead_on([key, slot], kind, hops)


def grow(catalogue: Catalogue, rng: random.Random, aim: str, frames: Sequence[Frame]) -> Graph:
    """A random graph around a node."""
    frame = rng.choice(list(frames))
    grower = Grower(catalogue, rng, frame)
    kinds = {kind for _, spec, _ in catalogue.links(aim) for kind in spec[0].split(",")}
    kinds |= set(catalogue.info[aim]["output"])
    fitting = [systems for kind, systems in SYSTEMS.items() if kind in kinds and aim != "AMAdapterGenerate"]
    if aim == "AMAdapterSCADMForSampler":
        fitting = [("scadm",)]
    grower.system = rng.choice(fitting[0]) if fitting else None
    key = grower.add(aim, DEPTH, {})
    if aim in OF_A_FAMILY:
        _sample(grower, key, aim)
    else:
        grower.finish(key, aim, 4)
    repeatable = not any(node["class_type"] in ONCE for node in grower.prompt.values())
    return Graph(grower.prompt, aim, frame, repeatable)


def _sample(grower: Grower, key: str, aim: str) -> None:
    """Sample with the outputs that belong together."""
    outputs = {kind: [key, slot] for slot, kind in reversed(list(enumerate(grower.catalogue.info[aim]["output"])))}
    names = grower.catalogue.info[aim]["output_name"]
    if "CLIP" in outputs:
        grower.made["CLIP"] = [outputs["CLIP"]]
        positive = negative = [grower.add("CLIPTextEncode", 0, {}), 0]
        latent = [grower.add("EmptyLatentImage", 0, {}), 0]
    else:
        positive, negative = ([key, names.index(name)] for name in ("positive", "negative"))
        latent = outputs["LATENT"]
    fixed = {"model": outputs["MODEL"], "positive": positive, "negative": negative, "latent_image": latent}
    sampled = [grower.add("KSampler", 0, fixed), 0]
    decoded = [grower.add("VAEDecode", 0, {"samples": sampled, "vae": outputs["VAE"]}), 0]
    grower.made["VAE"] = []
    grower.lead_on(sampled, "LATENT", 1)
    grower.lead_on(decoded, "IMAGE", 1)
