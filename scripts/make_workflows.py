"""Write the example workflows, `workflows/*.json`, as ComfyUI's frontend saves them.

A workflow is described by what it joins; where its nodes stand follows from the groups they belong to.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

WORKFLOWS = Path(__file__).resolve().parents[1] / "workflows"
PACK = "am-adapter"
CORE = "comfy-core"

COLUMN_GAP, GROUP_GAP, NODE_GAP, MARGIN = 60, 60, 30, 20
TITLE, GROUP_TITLE, SLOT, WIDGET, PADDING = 30, 40, 20, 24, 14
NODE_WIDTH = 310
# What takes more room than its row: text areas, pictures.
TALL = {
    "CLIPTextEncode": 70,
    "MarkdownNote": 280,
    "LoadImage": 300,
    "LoadImageMask": 230,
    "AMAdapterLoadLabelMap": 300,
    "AMAdapterClassRouting": 110,
    "AMAdapterLabelMapToMask": 60,
    "SaveImage": 270,
    "PreviewImage": 260,
    "MaskPreview": 260,
}
WIDE = {"SaveImage": 640}

COLOURS = {"models": "#8AA", "labels": "#88A", "adapter": "#A88", "sampling": "#8A8", "result": "#3f789e"}


@dataclass(frozen=True)
class Schema:
    """A node as the frontend sees it.

    :param inputs: its sockets, `name:TYPE` each; widgets excluded.
    :param widgets: their values where a workflow gives none, in the order in which they are saved.
    :param outputs: `name:TYPE` each.
    """

    inputs: str
    widgets: dict
    outputs: str


SCHEMAS = {
    "CheckpointLoaderSimple": Schema("", {"ckpt_name": ""}, "MODEL:MODEL CLIP:CLIP VAE:VAE"),
    "ControlNetLoader": Schema("", {"control_net_name": ""}, "CONTROL_NET:CONTROL_NET"),
    "LoraLoader": Schema(
        "model:MODEL clip:CLIP",
        {"lora_name": "", "strength_model": 1.0, "strength_clip": 1.0},
        "MODEL:MODEL CLIP:CLIP",
    ),
    "CLIPTextEncode": Schema("clip:CLIP", {"text": ""}, "CONDITIONING:CONDITIONING"),
    "LoadImage": Schema("", {"image": "", "upload": "image"}, "IMAGE:IMAGE MASK:MASK"),
    "LoadImageMask": Schema("", {"image": "", "channel": "red", "upload": "image"}, "MASK:MASK"),
    "Canny": Schema("image:IMAGE", {"low_threshold": 0.2, "high_threshold": 0.5}, "IMAGE:IMAGE"),
    "ControlNetApplyAdvanced": Schema(
        "positive:CONDITIONING negative:CONDITIONING control_net:CONTROL_NET image:IMAGE vae:VAE",
        {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0},
        "positive:CONDITIONING negative:CONDITIONING",
    ),
    "EmptyLatentImage": Schema("", {"width": 512, "height": 512, "batch_size": 1}, "LATENT:LATENT"),
    "VAEEncode": Schema("pixels:IMAGE vae:VAE", {}, "LATENT:LATENT"),
    "VAEDecode": Schema("samples:LATENT vae:VAE", {}, "IMAGE:IMAGE"),
    "SetLatentNoiseMask": Schema("samples:LATENT mask:MASK", {}, "LATENT:LATENT"),
    "GrowMask": Schema("mask:MASK", {"expand": 16, "tapered_corners": True}, "MASK:MASK"),
    "MaskPreview": Schema("mask:MASK", {}, ""),
    "KSampler": Schema(
        "model:MODEL positive:CONDITIONING negative:CONDITIONING latent_image:LATENT",
        {
            "seed": 1,
            "control_after_generate": "fixed",
            "steps": 30,
            "cfg": 7.5,
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": 1.0,
        },
        "LATENT:LATENT",
    ),
    "PreviewImage": Schema("images:IMAGE", {}, ""),
    "SaveImage": Schema("images:IMAGE", {"filename_prefix": "am_adapter"}, ""),
    "MarkdownNote": Schema("", {"text": ""}, ""),
    "AMAdapterLoadControlNeXt": Schema("", {"control_net_name": ""}, "control_net:CONTROL_NET"),
    "AMAdapterLoadMatcher": Schema("", {"matcher_name": ""}, "matcher:AM_MATCHER"),
    "AMAdapterLoadUNet": Schema("", {"unet_name": "", "weight_dtype": "default"}, "model:MODEL"),
    "AMAdapterLoadLabelMap": Schema(
        "",
        {
            "image": "",
            "palette": "ade20k150",
            "reading": "auto",
            "unknown": "error",
            "tolerance": 0.0,
            "offset": 0,
            "void": "",
            "upload": "image",
        },
        "labels:AM_LABEL_MAP colours:IMAGE",
    ),
    "AMAdapterLabelMapToMask": Schema("labels:AM_LABEL_MAP changed_from:AM_LABEL_MAP", {"classes": ""}, "mask:MASK"),
    "AMAdapterClassRouting": Schema("routing:AM_ROUTING", {"rules": ""}, "routing:AM_ROUTING"),
    "AMAdapterRegionPair": Schema(
        "target_mask:MASK exemplar_mask:MASK routing:AM_ROUTING",
        {"strength": 1.0, "exclusive": True},
        "routing:AM_ROUTING",
    ),
    "AMAdapterEncodeExemplar": Schema(
        "model:MODEL vae:VAE image:IMAGE labels:AM_LABEL_MAP conditioning:CONDITIONING control_net:CONTROL_NET",
        {
            "method": "inversion",
            "steps": 20,
            "resize": "keep",
            "width": 512,
            "height": 512,
            "prompt_of_pass": "target's prompt",
            "seed": 0,
            "control_strength": 1.0,
            "control_in_inversion": False,
            "name": "exemplar",
        },
        "exemplar:AM_EXEMPLAR",
    ),
    "AMAdapterApply": Schema(
        "model:MODEL exemplar:AM_EXEMPLAR target_labels:AM_LABEL_MAP matcher:AM_MATCHER mask:MASK routing:AM_ROUTING",
        {
            "mode": "categorical",
            "strength": 1.0,
            "start_percent": 0.0,
            "end_percent": 1.0,
            "keep_mass": False,
            "penalty": 0.0,
            "down_weight": 1.0,
            "mid_weight": 1.0,
            "up_weight": 1.0,
            "variant": "auto",
            "matcher_interval": 1,
        },
        "model:MODEL",
    ),
    "AMAdapterTriplet": Schema(
        "exemplar:IMAGE target_labels:AM_LABEL_MAP result:IMAGE exemplar_labels:AM_LABEL_MAP",
        {"captions": True, "height": 512},
        "triplet:IMAGE",
    ),
}

HUB = "https://huggingface.co"
CONTROLNETS = f"{HUB}/comfyanonymous/ControlNet-v1-1_fp16_safetensors/resolve/main"
CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"
SEGMENTATION = "control_v11p_sd15_seg_fp16.safetensors"
CANNY = "control_v11p_sd15_canny_fp16.safetensors"
DOWNLOADS = {
    CHECKPOINT: ("checkpoints", f"{HUB}/Comfy-Org/stable-diffusion-v1-5-archive/resolve/main/{CHECKPOINT}"),
    SEGMENTATION: ("controlnet", f"{CONTROLNETS}/{SEGMENTATION}"),
    CANNY: ("controlnet", f"{CONTROLNETS}/{CANNY}"),
}

POSITIVE = "a street with houses, trees and cars, detailed"
NEGATIVE = "blurry, low quality, text"


@dataclass
class Node:
    id: int
    type: str
    title: str | None
    widgets: dict
    links: dict[str, int | None] = field(default_factory=dict)
    position: tuple[int, int] = (0, 0)

    @property
    def schema(self) -> Schema:
        return SCHEMAS[self.type]

    @property
    def size(self) -> tuple[int, int]:
        slots = max(len(self.schema.inputs.split()), len(self.schema.outputs.split()))
        height = slots * SLOT + len(self.schema.widgets) * WIDGET + PADDING + TALL.get(self.type, 0)
        return WIDE.get(self.type, NODE_WIDTH), height

    def __getitem__(self, output: str) -> tuple[Node, int]:
        names = [slot.split(":")[0] for slot in self.schema.outputs.split()]
        return self, names.index(output)


@dataclass
class Group:
    title: str
    colour: str
    below: bool
    nodes: list[Node] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int]:
        heights = [node.size[1] + TITLE for node in self.nodes]
        width = max(node.size[0] for node in self.nodes) + 2 * MARGIN
        return width, GROUP_TITLE + sum(heights) + NODE_GAP * (len(heights) - 1) + MARGIN


class Workflow:
    """Nodes, links and groups; a group is a column, or stands below the group before it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[Node] = []
        self.links: list[list] = []
        self.groups: list[Group] = []

    @contextmanager
    def group(self, title: str, colour: str, *, below: bool = False) -> Iterator[None]:
        self.groups.append(Group(title, COLOURS[colour], below))
        yield

    def add(self, kind: str, title: str | None = None, **values: object) -> Node:
        """Add a node to the group at hand; `values` are widget values and, as `node["output"]`, links."""
        schema = SCHEMAS[kind]
        node = Node(len(self.nodes) + 1, kind, title, dict(schema.widgets))
        for slot, entry in enumerate(schema.inputs.split()):
            name, socket = entry.split(":")
            source = values.pop(name, None)
            node.links[name] = None if source is None else self._link(source, node, slot, socket)
        unknown = set(values) - set(node.widgets)
        if unknown:
            raise ValueError(f"{kind} has no widget {', '.join(sorted(unknown))}")
        node.widgets.update(values)
        self.nodes.append(node)
        self.groups[-1].nodes.append(node)
        return node

    def _link(self, source: tuple[Node, int], target: Node, slot: int, socket: str) -> int:
        origin, output = source
        given = origin.schema.outputs.split()[output].split(":")[1]
        if given != socket:
            raise ValueError(f"{origin.type} gives {given}, {target.type} wants {socket}")
        self.links.append([len(self.links) + 1, origin.id, output, target.id, slot, socket])
        return len(self.links)

    def to_json(self) -> dict:
        bounds = self._place()
        return {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{PACK}/{self.name}")),
            "revision": 0,
            "last_node_id": len(self.nodes),
            "last_link_id": len(self.links),
            "nodes": [self._node_json(node, order) for order, node in enumerate(self.nodes)],
            "links": self.links,
            "groups": [
                {"id": i, "title": group.title, "bounding": bounds[i - 1], "color": group.colour, "flags": {}}
                for i, group in enumerate(self.groups, start=1)
            ],
            "config": {},
            "extra": {"ds": {"scale": 0.6, "offset": [60, 120]}},
            "version": 0.4,
        }

    def _place(self) -> list[list[int]]:
        """Set every node's position and return the groups' bounds."""
        bounds = []
        x = y = column_width = 0
        for group in self.groups:
            width, height = group.size
            if not group.below:
                x, y = x + column_width + (COLUMN_GAP if bounds else 0), 0
                column_width = 0
            column_width = max(column_width, width)
            bounds.append([x, y, width, height])
            at = y + GROUP_TITLE + TITLE
            for node in group.nodes:
                node.position = (x + MARGIN, at)
                at += node.size[1] + TITLE + NODE_GAP
            y += height + GROUP_GAP
        return bounds

    def _node_json(self, node: Node, order: int) -> dict:
        outputs = [entry.split(":") for entry in node.schema.outputs.split()]
        entry = {
            "id": node.id,
            "type": node.type,
            "pos": list(node.position),
            "size": list(node.size),
            "flags": {},
            "order": order,
            "mode": 0,
            "inputs": [
                {"name": slot.split(":")[0], "type": slot.split(":")[1], "link": node.links[slot.split(":")[0]]}
                for slot in node.schema.inputs.split()
            ],
            "outputs": [
                {"name": name, "type": kind, "slot_index": slot, "links": self._links_from(node, slot)}
                for slot, (name, kind) in enumerate(outputs)
            ],
            "properties": properties(node),
            "widgets_values": list(node.widgets.values()),
        }
        return entry | ({"title": node.title} if node.title else {})

    def _links_from(self, node: Node, slot: int) -> list[int] | None:
        return [link[0] for link in self.links if link[1:3] == [node.id, slot]] or None


def properties(node: Node) -> dict:
    """Return what tells the frontend which pack a node needs and where its model can be downloaded."""
    if node.type == "MarkdownNote":
        return {}
    found = {"Node name for S&R": node.type, "cnr_id": PACK if node.type.startswith("AMAdapter") else CORE}
    models = [
        {"name": name, "url": DOWNLOADS[name][1], "directory": DOWNLOADS[name][0]}
        for name in node.widgets.values()
        if isinstance(name, str) and name in DOWNLOADS
    ]
    return found | ({"models": models} if models else {})


# What the workflows have in common


@dataclass
class Models:
    """The outputs that everything else starts from."""

    model: tuple[Node, int]
    clip: tuple[Node, int]
    vae: tuple[Node, int]
    control_net: tuple[Node, int]


def load_models(w: Workflow) -> Models:
    checkpoint = w.add("CheckpointLoaderSimple", ckpt_name=CHECKPOINT)
    control_net = w.add("ControlNetLoader", "Segmentation ControlNet", control_net_name=SEGMENTATION)
    return Models(checkpoint["MODEL"], checkpoint["CLIP"], checkpoint["VAE"], control_net["CONTROL_NET"])


def note(w: Workflow, text: str) -> None:
    w.add("MarkdownNote", "About this workflow", text=text)


@dataclass
class Prompts:
    positive: tuple[Node, int]
    negative: tuple[Node, int]
    empty: tuple[Node, int]


def prompts(w: Workflow, models: Models, positive: str = POSITIVE) -> Prompts:
    with w.group("Prompts", "models", below=True):
        texts = [("Prompt", positive), ("Negative prompt", NEGATIVE), ("Empty prompt for the exemplar", "")]
        nodes = [w.add("CLIPTextEncode", title, clip=models.clip, text=text) for title, text in texts]
    return Prompts(*(node["CONDITIONING"] for node in nodes))


@dataclass
class Exemplar:
    image: Node
    labels: Node


def load_exemplar(w: Workflow, name: str, title: str, palette: str = "ade20k150") -> Exemplar:
    with w.group(title, "labels"):
        image = w.add("LoadImage", "Exemplar", image=f"am_{name}.png")
        labels = w.add(
            "AMAdapterLoadLabelMap", "Exemplar's label map", image=f"am_{name}_{palette}.png", palette=palette
        )
    return Exemplar(image, labels)


def load_target(w: Workflow, name: str, title: str = "Target's label map", palette: str = "ade20k150") -> Node:
    return w.add("AMAdapterLoadLabelMap", title, image=f"am_{name}_{palette}.png", palette=palette)


def encode(w: Workflow, models: Models, texts: Prompts, exemplar: Exemplar, name: str = "exemplar") -> Node:
    return w.add(
        "AMAdapterEncodeExemplar",
        model=models.model,
        vae=models.vae,
        image=exemplar.image["IMAGE"],
        labels=exemplar.labels["labels"],
        conditioning=texts.empty,
        control_net=models.control_net,
        name=name,
    )


def control(w: Workflow, models: Models, texts: Prompts, target: Node, title: str | None = None) -> Node:
    return w.add(
        "ControlNetApplyAdvanced",
        title,
        positive=texts.positive,
        negative=texts.negative,
        control_net=models.control_net,
        image=target["colours"],
    )


def sample(w: Workflow, models: Models, model: Node, controlled: Node, latent: tuple[Node, int], **values) -> Node:
    """Add a sampler and its decoder; return the decoder."""
    sampler = w.add(
        "KSampler",
        model=model["model"],
        positive=controlled["positive"],
        negative=controlled["negative"],
        latent_image=latent,
        **values,
    )
    return w.add("VAEDecode", samples=sampler["LATENT"], vae=models.vae)


def save(w: Workflow, exemplar: Exemplar, target: Node, result: Node) -> None:
    with w.group("Result", "result"):
        triplet = w.add(
            "AMAdapterTriplet",
            exemplar=exemplar.image["IMAGE"],
            target_labels=target["labels"],
            result=result["IMAGE"],
        )
        w.add("SaveImage", images=triplet["triplet"], filename_prefix=f"am_adapter/{w.name}")


# The workflows


def minimal_exemplar_synthesis() -> Workflow:
    w = Workflow("minimal_exemplar_synthesis")
    with w.group("Models", "models"):
        models = load_models(w)
        note(
            w,
            "## Exemplar-based synthesis\n\n"
            "The target's label map says **what is where**, the exemplar says **how it looks**. Mode `categorical`: "
            "road looks at road, car at car; no trained AM-Adapter weights are needed.\n\n"
            "Label maps are in the colours of ADE20K, which the segmentation ControlNet was trained on. Other "
            "colours (Cityscapes') still show it the shapes, but not the classes.\n\n"
            "The pictures named `am_*.png` come from `workflows/inputs` of this pack: copy them to ComfyUI's "
            "`input` folder.",
        )
    texts = prompts(w, models)
    exemplar = load_exemplar(w, "exemplar_day", "Exemplar: how it looks")
    with w.group("Target: what is where", "labels"):
        target = load_target(w, "target_avenue")
        latent = w.add("EmptyLatentImage")
    with w.group("AM-Adapter", "adapter"):
        encoded = encode(w, models, texts, exemplar)
        applied = w.add(
            "AMAdapterApply", model=models.model, exemplar=encoded["exemplar"], target_labels=target["labels"]
        )
    with w.group("Sampling", "sampling"):
        controlled = control(w, models, texts, target)
        result = sample(w, models, applied, controlled, latent["LATENT"])
    save(w, exemplar, target, result)
    return w


def lora_and_controlnet() -> Workflow:
    w = Workflow("lora_and_controlnet")
    with w.group("Models", "models"):
        models = load_models(w)
        canny = w.add("ControlNetLoader", "Canny ControlNet", control_net_name=CANNY)
        lora = w.add("LoraLoader", model=models.model, clip=models.clip, lora_name="your_style_lora.safetensors")
        models.model, models.clip = lora["MODEL"], lora["CLIP"]
        note(
            w,
            "## With a LoRA and a second ControlNet\n\n"
            "AM-Adapter patches the MODEL, so it goes **after** the LoRA, and both branches, the exemplar's and the "
            "target's, use it. Encode the exemplar with the same MODEL.\n\n"
            "ControlNets are chained as always. Only the segmentation ControlNet is given to *Encode Exemplar*: the "
            "edges belong to the target.\n\n"
            "Choose a LoRA of your own for SD1.5, or bypass the node.",
        )
    texts = prompts(w, models)
    exemplar = load_exemplar(w, "exemplar_day", "Exemplar: how it looks")
    with w.group("Target: what is where", "labels"):
        target = load_target(w, "target_avenue")
        picture = w.add("LoadImage", "Picture with the target's edges", image="am_target_avenue.png")
        latent = w.add("EmptyLatentImage")
    with w.group("AM-Adapter", "adapter"):
        encoded = encode(w, models, texts, exemplar)
        applied = w.add(
            "AMAdapterApply", model=models.model, exemplar=encoded["exemplar"], target_labels=target["labels"]
        )
    with w.group("ControlNets", "models"):
        controlled = control(w, models, texts, target, "Apply segmentation")
        edges = w.add("Canny", image=picture["IMAGE"])
        controlled = w.add(
            "ControlNetApplyAdvanced",
            "Apply edges",
            positive=controlled["positive"],
            negative=controlled["negative"],
            control_net=canny["CONTROL_NET"],
            image=edges["IMAGE"],
            strength=0.5,
            end_percent=0.6,
        )
    with w.group("Sampling", "sampling"):
        result = sample(w, models, applied, controlled, latent["LATENT"])
    save(w, exemplar, target, result)
    return w


def two_exemplars_class_routing() -> Workflow:
    w = Workflow("two_exemplars_class_routing")
    with w.group("Models", "models"):
        models = load_models(w)
        note(
            w,
            "## Two exemplars, chosen by class\n\n"
            "Sky and road look like dusk, everything else like day. Each exemplar has its own *Apply AM-Adapter*, "
            "chained through MODEL, and its own *Class Routing* that says which classes it serves and how much.\n\n"
            "One rule per line; `*` stands for every class that no rule names, which otherwise keep strength 1.",
        )
    texts = prompts(w, models)
    day = load_exemplar(w, "exemplar_day", "Exemplar 1: day")
    dusk = load_exemplar(w, "exemplar_dusk", "Exemplar 2: dusk")
    with w.group("Target: what is where", "labels"):
        target = load_target(w, "target_park")
        latent = w.add("EmptyLatentImage")
    with w.group("Day, without sky and road", "adapter"):
        day_encoded = encode(w, models, texts, day, "day")
        day_rules = w.add("AMAdapterClassRouting", rules="sky = 0\nroad = 0")
        applied = w.add(
            "AMAdapterApply",
            model=models.model,
            exemplar=day_encoded["exemplar"],
            target_labels=target["labels"],
            routing=day_rules["routing"],
        )
    with w.group("Dusk, sky and road only", "adapter"):
        dusk_encoded = encode(w, models, texts, dusk, "dusk")
        dusk_rules = w.add("AMAdapterClassRouting", rules="sky = 1\nroad = 1\n* = 0")
        applied = w.add(
            "AMAdapterApply",
            model=applied["model"],
            exemplar=dusk_encoded["exemplar"],
            target_labels=target["labels"],
            routing=dusk_rules["routing"],
        )
    with w.group("Sampling", "sampling"):
        controlled = control(w, models, texts, target)
        result = sample(w, models, applied, controlled, latent["LATENT"])
    save(w, dusk, target, result)
    return w


def region_pairs() -> Workflow:
    w = Workflow("region_pairs")
    with w.group("Models", "models"):
        models = load_models(w)
        note(
            w,
            "## This car looks like that car\n\n"
            "A *Region Pair* joins a region of the target with a region of the exemplar; each is a mask. Pairs are "
            "chained. Everything outside the pairs is matched by class.\n\n"
            "Here the target's right car takes after the exemplar's white car, the left one after the red car. Draw "
            "masks of your own with *Open in MaskEditor*, or take them from *Label Map to Mask*.",
        )
    texts = prompts(w, models)
    exemplar = load_exemplar(w, "exemplar_day", "Exemplar: how it looks")
    with w.group("Target: what is where", "labels"):
        target = load_target(w, "target_avenue")
        latent = w.add("EmptyLatentImage")
    pairs = []
    for title, of_target, of_exemplar in (("Pair 1", "right_car", "white_car"), ("Pair 2", "left_car", "red_car")):
        with w.group(title, "labels"):
            masks = [
                w.add("LoadImageMask", f"{owner}: {part.replace('_', ' ')}", image=f"am_{file}_{part}.png")["MASK"]
                for owner, file, part in (
                    ("Target", "target_avenue", of_target),
                    ("Exemplar", "exemplar_day", of_exemplar),
                )
            ]
            earlier = pairs[-1]["routing"] if pairs else None
            pairs.append(w.add("AMAdapterRegionPair", target_mask=masks[0], exemplar_mask=masks[1], routing=earlier))
    with w.group("AM-Adapter", "adapter"):
        encoded = encode(w, models, texts, exemplar)
        applied = w.add(
            "AMAdapterApply",
            model=models.model,
            exemplar=encoded["exemplar"],
            target_labels=target["labels"],
            routing=pairs[-1]["routing"],
        )
    with w.group("Sampling", "sampling"):
        controlled = control(w, models, texts, target)
        result = sample(w, models, applied, controlled, latent["LATENT"])
    save(w, exemplar, target, result)
    return w


def image_to_image() -> Workflow:
    w = Workflow("image_to_image")
    with w.group("Models", "models"):
        models = load_models(w)
        note(
            w,
            "## Appearance of X, picture Y\n\n"
            "Sampling starts from the latent of a picture Y and repaints it with the exemplar's appearance. "
            "`denoise` says how far: at 0.5 Y's own colours still show, at 0.9 little but its layout is left.\n\n"
            "The label map must belong to Y.",
        )
    texts = prompts(w, models)
    exemplar = load_exemplar(w, "exemplar_dusk", "Exemplar X: how it looks")
    with w.group("Picture Y: what is where", "labels"):
        picture = w.add("LoadImage", "Picture Y", image="am_target_avenue.png")
        target = load_target(w, "target_avenue", "Y's label map")
    with w.group("AM-Adapter", "adapter"):
        encoded = encode(w, models, texts, exemplar)
        applied = w.add(
            "AMAdapterApply", model=models.model, exemplar=encoded["exemplar"], target_labels=target["labels"]
        )
    with w.group("Sampling", "sampling"):
        controlled = control(w, models, texts, target)
        latent = w.add("VAEEncode", pixels=picture["IMAGE"], vae=models.vae)
        result = sample(w, models, applied, controlled, latent["LATENT"], denoise=0.75)
    save(w, exemplar, target, result)
    return w


def segmentation_editing() -> Workflow:
    w = Workflow("segmentation_editing")
    with w.group("Models", "models"):
        models = load_models(w)
        note(
            w,
            "## Edit a picture by editing its label map\n\n"
            "The first pass makes a picture from the label map. Then a car and a tree are painted into the label "
            "map; *Label Map to Mask* finds **what changed**, and only that is sampled anew, with the same "
            "exemplar. The rest of the picture stays.\n\n"
            "Grow the mask when seams show.",
        )
    texts = prompts(w, models)
    exemplar = load_exemplar(w, "exemplar_day", "Exemplar: how it looks")
    with w.group("Target, before the edit", "labels"):
        before = load_target(w, "target_avenue", "Label map before")
        latent = w.add("EmptyLatentImage")
    with w.group("First picture", "adapter"):
        encoded = encode(w, models, texts, exemplar)
        applied = w.add(
            "AMAdapterApply", model=models.model, exemplar=encoded["exemplar"], target_labels=before["labels"]
        )
    with w.group("First sampling", "sampling"):
        controlled = control(w, models, texts, before)
        first = sample(w, models, applied, controlled, latent["LATENT"])
        first_latent = w.nodes[-2]["LATENT"]
        w.add("PreviewImage", "First picture", images=first["IMAGE"])
    with w.group("Target, after the edit", "labels"):
        after = load_target(w, "target_avenue_edited", "Label map after")
        changed = w.add("AMAdapterLabelMapToMask", labels=after["labels"], changed_from=before["labels"])
        grown = w.add("GrowMask", mask=changed["mask"])
        w.add("MaskPreview", "What is sampled anew", mask=grown["MASK"])
    with w.group("Second picture", "adapter"):
        applied = w.add(
            "AMAdapterApply", model=models.model, exemplar=encoded["exemplar"], target_labels=after["labels"]
        )
        controlled = control(w, models, texts, after)
        masked = w.add("SetLatentNoiseMask", samples=first_latent, mask=grown["MASK"])
    with w.group("Second sampling", "sampling", below=True):
        result = sample(w, models, applied, controlled, masked["LATENT"])
    save(w, exemplar, after, result)
    return w


def trained_matcher() -> Workflow:
    palette = "cityscapes19"
    w = Workflow("trained_matcher")
    with w.group("Models", "models"):
        checkpoint = w.add("CheckpointLoaderSimple", "Text encoder and VAE", ckpt_name=CHECKPOINT)
        unet = w.add("AMAdapterLoadUNet", unet_name="am_adapter_unet.safetensors")
        control_net = w.add("AMAdapterLoadControlNeXt", control_net_name="am_adapter_controlnext.safetensors")
        matcher = w.add("AMAdapterLoadMatcher", matcher_name="am_adapter_matcher.safetensors")
        note(
            w,
            "## Trained weights\n\n"
            "Mode `learned`: a matcher decides which part of the exemplar each place of the target looks at, and "
            "ControlNeXt carries the layout. The three files come from training: the UNet and ControlNeXt from "
            "stage 1 (`models/diffusion_models`, `models/controlnet`), the matcher from stage 2 "
            "(`models/am_adapter`).\n\n"
            "The label maps must be in the colours the weights were trained on; here those of Cityscapes.",
        )
    models = Models(unet["model"], checkpoint["CLIP"], checkpoint["VAE"], control_net["control_net"])
    texts = prompts(w, models)
    exemplar = load_exemplar(w, "exemplar_dusk", "Exemplar: how it looks", palette)
    with w.group("Target: what is where", "labels"):
        target = load_target(w, "target_avenue", palette=palette)
        latent = w.add("EmptyLatentImage")
    with w.group("AM-Adapter", "adapter"):
        encoded = encode(w, models, texts, exemplar)
        applied = w.add(
            "AMAdapterApply",
            model=models.model,
            exemplar=encoded["exemplar"],
            target_labels=target["labels"],
            matcher=matcher["matcher"],
            mode="learned",
        )
    with w.group("Sampling", "sampling"):
        controlled = control(w, models, texts, target)
        result = sample(w, models, applied, controlled, latent["LATENT"])
    save(w, exemplar, target, result)
    return w


MAKERS = (
    minimal_exemplar_synthesis,
    lora_and_controlnet,
    two_exemplars_class_routing,
    region_pairs,
    image_to_image,
    segmentation_editing,
    trained_matcher,
)


def texts() -> dict[str, str]:
    """Return what the files shall hold, by file name."""
    workflows = (make() for make in MAKERS)
    return {f"{w.name}.json": json.dumps(w.to_json(), indent=1) + "\n" for w in workflows}


def main() -> None:
    for name, text in texts().items():
        (WORKFLOWS / name).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
