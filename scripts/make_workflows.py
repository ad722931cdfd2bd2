"""Write the example workflows, `workflows/*.json`, as ComfyUI's frontend saves them.

A workflow is described by what it joins; where its nodes stand follows from the groups they belong to. Each comes on
Stable Diffusion 1.5 and, once its weights are there, as `demo_*.json` on the demonstration family.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = ROOT / "workflows"
PAINTINGS = WORKFLOWS / "paintings"
DEMO_WEIGHTS = ROOT / "amadapter_core" / "demo" / "weights"
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
    "AMAdapterSemanticPainter": 440,
    "AMAdapterClassRouting": 110,
    "AMAdapterLoadGenerator": 70,
    "AMAdapterGenerate": 200,
    "AMAdapterRandomStyle": 160,
    "AMAdapterMixStyles": 110,
    "AMAdapterPartMaps": 260,
    "AMAdapterLabelMapToMask": 60,
    "SaveImage": 270,
    "PreviewImage": 260,
    "MaskPreview": 260,
    "LossGraphNode": 220,
    "AMAdapterTrainStructure": 320,
    "AMAdapterTrainMatcher": 320,
}
WIDE = {"SaveImage": 640, "AMAdapterSemanticPainter": 580}

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


PAIRS = {"folder": "", "palette": "cityscapes19", "reading": "ids", "prompt": "", "width": 512, "height": 512}
COURSE = {"steps": 1000, "learning_rate": 1e-4, "batch_size": 4, "seed": 0}
TECHNICALITIES = {"augment": True, "one_at_a_time": True, "checkpointing": True, "samples_every": 250}

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
    "ImageBatch": Schema("image1:IMAGE image2:IMAGE", {}, "IMAGE:IMAGE"),
    "LossGraphNode": Schema("loss:LOSS_MAP", {"filename_prefix": "loss_graph"}, ""),
    "RescaleCFG": Schema("model:MODEL", {"multiplier": 0.7}, "MODEL:MODEL"),
    "AMAdapterLoadDemo": Schema(
        "",
        {"matcher_variant": "spatial"},
        "model:MODEL clip:CLIP vae:VAE control_net:CONTROL_NET matcher:AM_MATCHER",
    ),
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
    "AMAdapterSemanticPainter": Schema(
        "labels:AM_LABEL_MAP",
        {"palette": "ade20k150", "width": 512, "height": 512, "painting": ""},
        "labels:AM_LABEL_MAP colours:IMAGE",
    ),
    "AMAdapterLabelMapFromColours": Schema(
        "image:IMAGE", {"palette": "cityscapes19", "unknown": "error", "tolerance": 0.0}, "labels:AM_LABEL_MAP"
    ),
    "AMAdapterLabelMapToMask": Schema("labels:AM_LABEL_MAP changed_from:AM_LABEL_MAP", {"classes": ""}, "mask:MASK"),
    "AMAdapterClassRouting": Schema("routing:AM_ROUTING", {"rules": ""}, "routing:AM_ROUTING"),
    "AMAdapterRegionPair": Schema(
        "target_mask:MASK exemplar_mask:MASK routing:AM_ROUTING",
        {"strength": 1.0, "exclusive": True},
        "routing:AM_ROUTING",
    ),
    "AMAdapterClassNoiseModel": Schema(
        "model:MODEL labels:AM_LABEL_MAP",
        {"classes": "", "seed": 0, "control_after_generate": "fixed"},
        "model:MODEL",
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
    "AMAdapterTrainStructure": Schema(
        "model:MODEL clip:CLIP vae:VAE images:IMAGE labels:AM_LABEL_MAP control_net:CONTROL_NET",
        {"name": "my_structure", **PAIRS, **COURSE, "train": "lora", "rank": 16, **TECHNICALITIES},
        "model:MODEL control_net:CONTROL_NET loss_map:LOSS_MAP files:STRING",
    ),
    "AMAdapterTrainMatcher": Schema(
        "model:MODEL clip:CLIP vae:VAE control_net:CONTROL_NET images:IMAGE labels:AM_LABEL_MAP matcher:AM_MATCHER",
        {
            "name": "my_matcher",
            **PAIRS,
            **COURSE,
            "learning_rate": 1e-3,
            "variant": "spatial",
            "exemplar": "view",
            **TECHNICALITIES,
        },
        "matcher:AM_MATCHER loss_map:LOSS_MAP file:STRING",
    ),
    "AMAdapterLoadGenerator": Schema(
        "supports:AM_SUPPORTS",
        {"generator_name": "", "weights": "auto", "width": 0, "height": 0, "encoder_name": "auto"},
        "generator:AM_GENERATOR about:STRING",
    ),
    "AMAdapterGenerate": Schema(
        "generator:AM_GENERATOR labels:AM_LABEL_MAP style:AM_STYLE_CODES parts:AM_PART_MAPS",
        {
            "seed": 1,
            "control_after_generate": "fixed",
            "variants": 1,
            "steps": 50,
            "guidance": 1.0,
            "random_classes": "",
            "class_seeds": "",
            "background_seed": -1,
            "unconditional": "empty_style",
            "eta": 0.0,
        },
        "image:IMAGE",
    ),
    "AMAdapterStyleFromImage": Schema(
        "generator:AM_GENERATOR image:IMAGE labels:AM_LABEL_MAP", {}, "style:AM_STYLE_CODES"
    ),
    "AMAdapterRandomStyle": Schema(
        "generator:AM_GENERATOR labels:AM_LABEL_MAP style:AM_STYLE_CODES",
        {
            "seed": 1,
            "control_after_generate": "fixed",
            "classes": "",
            "layers": "",
            "class_seeds": "",
            "layer_seeds": "",
        },
        "style:AM_STYLE_CODES",
    ),
    "AMAdapterMixStyles": Schema(
        "style_a:AM_STYLE_CODES style_b:AM_STYLE_CODES", {"weight": 0.0, "rules": ""}, "style:AM_STYLE_CODES"
    ),
    "AMAdapterLoadSupports": Schema("", {"supports_name": ""}, "supports:AM_SUPPORTS"),
    "AMAdapterInstancesFromMasks": Schema("masks:MASK", {}, "instances:AM_INSTANCES picture:IMAGE"),
    "AMAdapterPartMaps": Schema(
        "generator:AM_GENERATOR labels:AM_LABEL_MAP instances:AM_INSTANCES supports:AM_SUPPORTS mask:MASK",
        {},
        "parts:AM_PART_MAPS picture:IMAGE",
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


@dataclass(frozen=True)
class Family:
    """The models that a workflow runs on, and what goes with them.

    :param prefix: of the workflows' names; inputs that of the pictures'.
    :param palette: the colours of the label maps.
    :param side: of the pictures in pixels.
    :param positive: prompt by the light of the exemplar.
    :param sampling: values of the sampler, where they are not the usual ones.
    :param cars: of the exemplar, for the right and the left car of the target.
    :param about: a sentence for the notes.
    """

    prefix: str
    inputs: str
    palette: str
    side: int
    positive: dict[str, str]
    negative: str
    sampling: dict
    cars: tuple[str, str]
    about: str

    @property
    def stock(self) -> bool:
        """Whether it is Stable Diffusion 1.5."""
        return not self.prefix


SD15 = Family(
    prefix="",
    inputs="am_",
    palette="ade20k150",
    side=512,
    positive=dict.fromkeys(("day", "dusk"), "a street with houses, trees and cars, detailed"),
    negative="blurry, low quality, text",
    sampling={},
    cars=("white_car", "red_car"),
    about="",
)


def demonstration(side: int) -> Family:
    """The family that comes along.

    :param side: of the pictures it was trained on.
    """
    return Family(
        prefix="demo_",
        inputs="am_demo_",
        palette="cityscapes19",
        side=side,
        positive={"day": "a street by day in clear weather", "dusk": "a street at dusk under clouds"},
        negative="",
        sampling={"steps": 20, "cfg": 2.0},
        cars=("left_car", "right_car"),
        about="\n\nThis runs on the small model that comes with the pack, which knows drawn streets alone: nothing "
        "has to be downloaded.",
    )


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
    matcher: tuple[Node, int] | None = None


def load_models(w: Workflow, family: Family) -> Models:
    if not family.stock:
        demo = w.add("AMAdapterLoadDemo")
        return Models(*(demo[name] for name in ("model", "clip", "vae", "control_net", "matcher")))
    checkpoint = w.add("CheckpointLoaderSimple", ckpt_name=CHECKPOINT)
    control_net = w.add("ControlNetLoader", "Segmentation ControlNet", control_net_name=SEGMENTATION)
    return Models(checkpoint["MODEL"], checkpoint["CLIP"], checkpoint["VAE"], control_net["CONTROL_NET"])


def note(w: Workflow, family: Family, text: str) -> None:
    w.add("MarkdownNote", "About this workflow", text=text + family.about)


@dataclass
class Prompts:
    positive: tuple[Node, int]
    negative: tuple[Node, int]
    empty: tuple[Node, int]


def prompts(w: Workflow, family: Family, models: Models, light: str = "day") -> Prompts:
    with w.group("Prompts", "models", below=True):
        texts = [
            ("Prompt", family.positive[light]),
            ("Negative prompt", family.negative),
            ("Empty prompt for the exemplar", ""),
        ]
        nodes = [w.add("CLIPTextEncode", title, clip=models.clip, text=text) for title, text in texts]
    return Prompts(*(node["CONDITIONING"] for node in nodes))


@dataclass
class Exemplar:
    image: Node
    labels: Node


def load_exemplar(w: Workflow, family: Family, name: str, title: str) -> Exemplar:
    with w.group(title, "labels"):
        image = w.add("LoadImage", "Exemplar", image=f"{family.inputs}{name}.png")
        labels = load_target(w, family, name, "Exemplar's label map")
    return Exemplar(image, labels)


def load_target(w: Workflow, family: Family, name: str, title: str = "Target's label map") -> Node:
    file = f"{family.inputs}{name}_{family.palette}.png"
    return w.add("AMAdapterLoadLabelMap", title, image=file, palette=family.palette)


def empty_latent(w: Workflow, family: Family) -> Node:
    return w.add("EmptyLatentImage", width=family.side, height=family.side)


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


def sample(
    w: Workflow, family: Family, models: Models, model: Node, controlled: Node, latent: tuple[Node, int], **values
) -> Node:
    """Add a sampler and its decoder; return the decoder."""
    sampler = w.add(
        "KSampler",
        model=model["model"],
        positive=controlled["positive"],
        negative=controlled["negative"],
        latent_image=latent,
        **family.sampling,
        **values,
    )
    return w.add("VAEDecode", samples=sampler["LATENT"], vae=models.vae)


def save(w: Workflow, exemplar: Exemplar, target: Node, result: Node) -> None:
    with w.group("Result", "result"):
        triplet = w.add(
            "AMAdapterTriplet",
            exemplar=exemplar.image["IMAGE"],
            target_labels=target["labels"],
            result=(result, 0),
        )
        w.add("SaveImage", images=triplet["triplet"], filename_prefix=f"am_adapter/{w.name}")


# The workflows

COLOURS_OF_LABEL_MAPS = {
    "ade20k150": "Label maps are in the colours of ADE20K, which the segmentation ControlNet was trained on. Other "
    "colours (Cityscapes') still show it the shapes, but not the classes.",
    "cityscapes19": "Label maps are in the colours of Cityscapes, which ControlNeXt was trained on. Other colours "
    "still show it the shapes, but not the classes.",
}


def minimal_exemplar_synthesis(family: Family) -> Workflow:
    w = Workflow(f"{family.prefix}minimal_exemplar_synthesis")
    with w.group("Models", "models"):
        models = load_models(w, family)
        note(
            w,
            family,
            "## Exemplar-based synthesis\n\n"
            "The target's label map says **what is where**, the exemplar says **how it looks**. Mode `categorical`: "
            "road looks at road, car at car; no trained AM-Adapter weights are needed.\n\n"
            f"{COLOURS_OF_LABEL_MAPS[family.palette]}\n\n"
            f"The pictures named `{family.inputs}*.png` come from `workflows/inputs` of this pack: copy them to "
            "ComfyUI's `input` folder.",
        )
    texts = prompts(w, family, models)
    exemplar = load_exemplar(w, family, "exemplar_day", "Exemplar: how it looks")
    with w.group("Target: what is where", "labels"):
        target = load_target(w, family, "target_avenue")
        latent = empty_latent(w, family)
    with w.group("AM-Adapter", "adapter"):
        encoded = encode(w, models, texts, exemplar)
        applied = w.add(
            "AMAdapterApply", model=models.model, exemplar=encoded["exemplar"], target_labels=target["labels"]
        )
    with w.group("Sampling", "sampling"):
        controlled = control(w, models, texts, target)
        result = sample(w, family, models, applied, controlled, latent["LATENT"])
    save(w, exemplar, target, result)
    return w


def lora_and_controlnet(family: Family) -> Workflow:
    w = Workflow(f"{family.prefix}lora_and_controlnet")
    with w.group("Models", "models"):
        models = load_models(w, family)
        canny = w.add("ControlNetLoader", "Canny ControlNet", control_net_name=CANNY)
        lora = w.add("LoraLoader", model=models.model, clip=models.clip, lora_name="your_style_lora.safetensors")
        models.model, models.clip = lora["MODEL"], lora["CLIP"]
        note(
            w,
            family,
            "## With a LoRA and a second ControlNet\n\n"
            "AM-Adapter patches the MODEL, so it goes **after** the LoRA, and both branches, the exemplar's and the "
            "target's, use it. Encode the exemplar with the same MODEL.\n\n"
            "ControlNets are chained as always. Only the segmentation ControlNet is given to *Encode Exemplar*: the "
            "edges belong to the target.\n\n"
            "Choose a LoRA of your own for SD1.5, or bypass the node.",
        )
    texts = prompts(w, family, models)
    exemplar = load_exemplar(w, family, "exemplar_day", "Exemplar: how it looks")
    with w.group("Target: what is where", "labels"):
        target = load_target(w, family, "target_avenue")
        picture = w.add("LoadImage", "Picture with the target's edges", image="am_target_avenue.png")
        latent = empty_latent(w, family)
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
        result = sample(w, family, models, applied, controlled, latent["LATENT"])
    save(w, exemplar, target, result)
    return w


def patched_model_two_controls(family: Family) -> Workflow:
    """What `lora_and_controlnet` shows, for a family that has neither LoRAs nor a second ControlNet."""
    w = Workflow(f"{family.prefix}lora_and_controlnet")
    with w.group("Models", "models"):
        models = load_models(w, family)
        rescaled = w.add("RescaleCFG", model=models.model)
        models.model = rescaled["MODEL"]
        note(
            w,
            family,
            "## With another patch of the MODEL and a second ControlNet\n\n"
            "AM-Adapter goes **after** whatever else patches the MODEL: here *RescaleCFG*, in a workflow on SD1.5 a "
            "LoRA. Encode the exemplar with the same MODEL.\n\n"
            "ControlNets are chained as always. The second one here is the same ControlNeXt once more, weakly and "
            "early: the layout is followed more closely.",
        )
    texts = prompts(w, family, models)
    exemplar = load_exemplar(w, family, "exemplar_day", "Exemplar: how it looks")
    with w.group("Target: what is where", "labels"):
        target = load_target(w, family, "target_avenue")
        latent = empty_latent(w, family)
    with w.group("AM-Adapter", "adapter"):
        encoded = encode(w, models, texts, exemplar)
        applied = w.add(
            "AMAdapterApply", model=models.model, exemplar=encoded["exemplar"], target_labels=target["labels"]
        )
    with w.group("ControlNets", "models"):
        controlled = control(w, models, texts, target, "Apply ControlNeXt")
        controlled = w.add(
            "ControlNetApplyAdvanced",
            "Apply it again, early",
            positive=controlled["positive"],
            negative=controlled["negative"],
            control_net=models.control_net,
            image=target["colours"],
            strength=0.3,
            end_percent=0.4,
        )
    with w.group("Sampling", "sampling"):
        result = sample(w, family, models, applied, controlled, latent["LATENT"])
    save(w, exemplar, target, result)
    return w


def two_exemplars_class_routing(family: Family) -> Workflow:
    w = Workflow(f"{family.prefix}two_exemplars_class_routing")
    with w.group("Models", "models"):
        models = load_models(w, family)
        note(
            w,
            family,
            "## Two exemplars, chosen by class\n\n"
            "Sky and road look like dusk, everything else like day. Each exemplar has its own *Apply AM-Adapter*, "
            "chained through MODEL, and its own *Class Routing* that says which classes it serves and how much.\n\n"
            "One rule per line; `*` stands for every class that no rule names, which otherwise keep strength 1.",
        )
    texts = prompts(w, family, models)
    day = load_exemplar(w, family, "exemplar_day", "Exemplar 1: day")
    dusk = load_exemplar(w, family, "exemplar_dusk", "Exemplar 2: dusk")
    with w.group("Target: what is where", "labels"):
        target = load_target(w, family, "target_park")
        latent = empty_latent(w, family)
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
        result = sample(w, family, models, applied, controlled, latent["LATENT"])
    save(w, dusk, target, result)
    return w


def region_pairs(family: Family) -> Workflow:
    w = Workflow(f"{family.prefix}region_pairs")
    white, red = (car.replace("_", " ") for car in family.cars)
    with w.group("Models", "models"):
        models = load_models(w, family)
        note(
            w,
            family,
            "## This car looks like that car\n\n"
            "A *Region Pair* joins a region of the target with a region of the exemplar; each is a mask. Pairs are "
            "chained. Everything outside the pairs is matched by class.\n\n"
            f"Here the target's right car takes after the exemplar's {white}, the left one after the {red}. Draw "
            "masks of your own with *Open in MaskEditor*, or take them from *Label Map to Mask*.",
        )
    texts = prompts(w, family, models)
    exemplar = load_exemplar(w, family, "exemplar_day", "Exemplar: how it looks")
    with w.group("Target: what is where", "labels"):
        target = load_target(w, family, "target_avenue")
        latent = empty_latent(w, family)
    pairs = []
    for number, (of_target, of_exemplar) in enumerate(zip(("right_car", "left_car"), family.cars, strict=True), 1):
        with w.group(f"Pair {number}", "labels"):
            masks = [
                w.add("LoadImageMask", f"{owner}: {part.replace('_', ' ')}", image=f"{family.inputs}{file}_{part}.png")[
                    "MASK"
                ]
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
        result = sample(w, family, models, applied, controlled, latent["LATENT"])
    save(w, exemplar, target, result)
    return w


def image_to_image(family: Family) -> Workflow:
    w = Workflow(f"{family.prefix}image_to_image")
    with w.group("Models", "models"):
        models = load_models(w, family)
        note(
            w,
            family,
            "## Appearance of X, picture Y\n\n"
            "Sampling starts from the latent of a picture Y and repaints it with the exemplar's appearance. "
            "`denoise` says how far: at 0.5 Y's own colours still show, at 0.9 little but its layout is left.\n\n"
            "The label map must belong to Y.",
        )
    texts = prompts(w, family, models, "dusk")
    exemplar = load_exemplar(w, family, "exemplar_dusk", "Exemplar X: how it looks")
    with w.group("Picture Y: what is where", "labels"):
        picture = w.add("LoadImage", "Picture Y", image=f"{family.inputs}target_avenue.png")
        target = load_target(w, family, "target_avenue", "Y's label map")
    with w.group("AM-Adapter", "adapter"):
        encoded = encode(w, models, texts, exemplar)
        applied = w.add(
            "AMAdapterApply", model=models.model, exemplar=encoded["exemplar"], target_labels=target["labels"]
        )
    with w.group("Sampling", "sampling"):
        controlled = control(w, models, texts, target)
        latent = w.add("VAEEncode", pixels=picture["IMAGE"], vae=models.vae)
        result = sample(w, family, models, applied, controlled, latent["LATENT"], denoise=0.75)
    save(w, exemplar, target, result)
    return w


def segmentation_editing(family: Family) -> Workflow:
    w = Workflow(f"{family.prefix}segmentation_editing")
    with w.group("Models", "models"):
        models = load_models(w, family)
        note(
            w,
            family,
            "## Edit a picture by editing its label map\n\n"
            "The first pass makes a picture from the label map. Then a car and a tree are painted into the label "
            "map; *Label Map to Mask* finds **what changed**, and only that is sampled anew, with the same "
            "exemplar. The rest of the picture stays.\n\n"
            "Grow the mask when seams show.",
        )
    texts = prompts(w, family, models)
    exemplar = load_exemplar(w, family, "exemplar_day", "Exemplar: how it looks")
    with w.group("Target, before the edit", "labels"):
        before = load_target(w, family, "target_avenue", "Label map before")
        latent = empty_latent(w, family)
    with w.group("First picture", "adapter"):
        encoded = encode(w, models, texts, exemplar)
        applied = w.add(
            "AMAdapterApply", model=models.model, exemplar=encoded["exemplar"], target_labels=before["labels"]
        )
    with w.group("First sampling", "sampling"):
        controlled = control(w, models, texts, before)
        first = sample(w, family, models, applied, controlled, latent["LATENT"])
        first_latent = w.nodes[-2]["LATENT"]
        w.add("PreviewImage", "First picture", images=first["IMAGE"])
    with w.group("Target, after the edit", "labels"):
        after = load_target(w, family, "target_avenue_edited", "Label map after")
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
        result = sample(w, family, models, applied, controlled, masked["LATENT"])
    save(w, exemplar, after, result)
    return w


def paint_a_layout(family: Family) -> Workflow:
    w = Workflow(f"{family.prefix}paint_a_layout")
    with w.group("Models", "models"):
        models = load_models(w, family)
        note(
            w,
            family,
            "## Paint what is where\n\n"
            "*Semantic Painter* holds a street that is painted already. Click into it, pick a class in its legend and "
            "paint: brush **B**, fill **F**, eraser **E**, eyedropper **I**, size **[** and **]**, undo **Ctrl+Z**. "
            "What you paint is kept in this workflow.\n\n"
            "*Load* in its bar starts from a picture of yours; a label map that is connected to it is painted over.\n\n"
            f"{COLOURS_OF_LABEL_MAPS[family.palette]}",
        )
    texts = prompts(w, family, models)
    exemplar = load_exemplar(w, family, "exemplar_day", "Exemplar: how it looks")
    with w.group("Target: what is where", "labels"):
        target = w.add(
            "AMAdapterSemanticPainter",
            palette=family.palette,
            width=family.side,
            height=family.side,
            painting=painting(f"street_{family.palette}"),
        )
        latent = empty_latent(w, family)
    with w.group("AM-Adapter", "adapter"):
        encoded = encode(w, models, texts, exemplar)
        applied = w.add(
            "AMAdapterApply", model=models.model, exemplar=encoded["exemplar"], target_labels=target["labels"]
        )
    with w.group("Sampling", "sampling"):
        controlled = control(w, models, texts, target)
        result = sample(w, family, models, applied, controlled, latent["LATENT"])
    save(w, exemplar, target, result)
    return w


def painting(name: str) -> str:
    """What the Semantic Painter keeps of a picture in `workflows/paintings`."""
    return "data:image/png;base64," + base64.b64encode((PAINTINGS / f"{name}.png").read_bytes()).decode("ascii")


def reroll_one_class(family: Family) -> Workflow:
    w = Workflow(f"{family.prefix}reroll_one_class")
    with w.group("Models", "models"):
        models = load_models(w, family)
        note(
            w,
            family,
            "## Another car in the same street\n\n"
            "Both samplers have the same seed. Before the second one *Class Noise for KSampler* draws the initial "
            "noise of the **cars** anew; that of every other pixel stays bit for bit. Change its seed for other cars, "
            "or the class for another sky.\n\n"
            "What is elsewhere may still change a little, since everything looks at everything. To keep it exactly, "
            "sample the first picture's latent again under a mask of the class, as in *segmentation_editing*.",
        )
    texts = prompts(w, family, models)
    exemplar = load_exemplar(w, family, "exemplar_day", "Exemplar: how it looks")
    with w.group("Target: what is where", "labels"):
        target = load_target(w, family, "target_avenue")
        latent = empty_latent(w, family)
    with w.group("AM-Adapter", "adapter"):
        encoded = encode(w, models, texts, exemplar)
        applied = w.add(
            "AMAdapterApply", model=models.model, exemplar=encoded["exemplar"], target_labels=target["labels"]
        )
    with w.group("First sampling", "sampling"):
        controlled = control(w, models, texts, target)
        first = sample(w, family, models, applied, controlled, latent["LATENT"])
        w.add("PreviewImage", "First picture", images=first["IMAGE"])
    with w.group("Second sampling, with other cars", "sampling"):
        redrawn = w.add(
            "AMAdapterClassNoiseModel", model=applied["model"], labels=target["labels"], classes="car", seed=1
        )
        result = sample(w, family, models, redrawn, controlled, latent["LATENT"])
    save(w, exemplar, target, result)
    return w


def learned_picture(w: Workflow, family: Family, models: Models, texts: Prompts, exemplar: Exemplar) -> None:
    """From a matcher and an exemplar to the saved picture."""
    with w.group("Target: what is where", "labels"):
        target = load_target(w, family, "target_avenue")
        latent = empty_latent(w, family)
    with w.group("AM-Adapter", "adapter"):
        encoded = encode(w, models, texts, exemplar)
        applied = w.add(
            "AMAdapterApply",
            model=models.model,
            exemplar=encoded["exemplar"],
            target_labels=target["labels"],
            matcher=models.matcher,
            mode="learned",
        )
    with w.group("Sampling", "sampling"):
        controlled = control(w, models, texts, target)
        result = sample(w, family, models, applied, controlled, latent["LATENT"])
    save(w, exemplar, target, result)


def trained_matcher(family: Family) -> Workflow:
    family = replace(family, palette="cityscapes19")
    w = Workflow(f"{family.prefix}trained_matcher")
    with w.group("Models", "models"):
        models = load_trained(w) if family.stock else load_models(w, family)
        files = (
            "The three files come from training: the UNet and ControlNeXt from stage 1 (`models/diffusion_models`, "
            "`models/controlnet`), the matcher from stage 2 (`models/am_adapter`)."
        )
        note(
            w,
            family,
            "## Trained weights\n\n"
            "Mode `learned`: a matcher decides which part of the exemplar each place of the target looks at, and "
            f"ControlNeXt carries the layout.{f' {files}' if family.stock else ''}\n\n"
            "The label maps must be in the colours the weights were trained on; here those of Cityscapes.",
        )
    texts = prompts(w, family, models, "dusk")
    exemplar = load_exemplar(w, family, "exemplar_dusk", "Exemplar: how it looks")
    learned_picture(w, family, models, texts, exemplar)
    return w


def load_trained(w: Workflow) -> Models:
    """The parts of SD1.5 that stage 1 and stage 2 trained, and those it came with."""
    checkpoint = w.add("CheckpointLoaderSimple", "Text encoder and VAE", ckpt_name=CHECKPOINT)
    unet = w.add("AMAdapterLoadUNet", unet_name="am_adapter_unet.safetensors")
    control_net = w.add("AMAdapterLoadControlNeXt", control_net_name="am_adapter_controlnext.safetensors")
    matcher = w.add("AMAdapterLoadMatcher", matcher_name="am_adapter_matcher.safetensors")
    return Models(unet["model"], checkpoint["CLIP"], checkpoint["VAE"], control_net["control_net"], matcher["matcher"])


def train_on_own_pairs(family: Family) -> Workflow:
    family = replace(family, palette="cityscapes19")
    w = Workflow(f"{family.prefix}train_on_own_pairs")
    with w.group("Models", "models"):
        if family.stock:
            checkpoint = w.add("CheckpointLoaderSimple", ckpt_name=CHECKPOINT)
            model, clip, vae, begin = checkpoint["MODEL"], checkpoint["CLIP"], checkpoint["VAE"], None
        else:
            demo = w.add("AMAdapterLoadDemo")
            model, clip, vae, begin = (demo[name] for name in ("model", "clip", "vae", "control_net"))
        note(
            w,
            family,
            "## Train on your own pairs\n\n"
            "*Train Structure* teaches ControlNeXt, and the model through a LoRA, to follow label maps; then *Train "
            "Matcher* learns which part of an exemplar each place looks at. Both use the pairs of picture and label "
            "map on the left: put in yours, or name a **folder** with `images/` and `labels/`. Two pictures only show "
            "how it works; some hundred are a beginning.\n\n"
            "Cancel whenever you like: the same name goes on from there. What was learned lies in `models/controlnet`, "
            "`models/loras` and `models/am_adapter`, where the loaders find it.",
        )
    with w.group("Your pairs", "labels"):
        names = ("exemplar_day", "exemplar_dusk")
        shown = [w.add("LoadImage", "Picture", image=f"{family.inputs}{name}.png")["IMAGE"] for name in names]
        images = w.add("ImageBatch", "Pictures", image1=shown[0], image2=shown[1])
    with w.group("Their label maps", "labels"):
        files = [f"{family.inputs}{name}_{family.palette}.png" for name in names]
        drawn = [w.add("LoadImage", "Label map in colours", image=file)["IMAGE"] for file in files]
        colours = w.add("ImageBatch", "Label maps, in the pictures' order", image1=drawn[0], image2=drawn[1])
        labels = w.add("AMAdapterLabelMapFromColours", image=colours["IMAGE"], palette=family.palette)
    pairs = {"images": images["IMAGE"], "labels": labels["labels"], "width": family.side, "height": family.side}
    pairs |= {"clip": clip, "vae": vae, "prompt": family.positive["day"]}
    with w.group("Stage 1", "adapter"):
        structure = w.add("AMAdapterTrainStructure", model=model, control_net=begin, **pairs)
        w.add("LossGraphNode", loss=structure["loss_map"])
    model, control_net = structure["model"], structure["control_net"]
    with w.group("Stage 2", "adapter"):
        learned = w.add("AMAdapterTrainMatcher", model=model, control_net=control_net, **pairs)
        w.add("LossGraphNode", loss=learned["loss_map"])
    models = Models(model, clip, vae, control_net, learned["matcher"])
    texts = prompts(w, family, models)
    exemplar = load_exemplar(w, family, "exemplar_day", "Exemplar: how it looks")
    learned_picture(w, family, models, texts, exemplar)
    return w


# Semantic generators


def load_generator(w: Workflow, name: str, about: str, **inputs: object) -> Node:
    generator = w.add("AMAdapterLoadGenerator", generator_name=name, **inputs)
    w.add("MarkdownNote", "About this workflow", text=about)
    return generator


def picture_and_labels(w: Workflow, name: str, palette: str, read_as: str, title: str) -> Exemplar:
    """A picture with its label map.

    :param palette: whose colours the file has; read_as: the table it is read in.
    """
    with w.group(title, "labels"):
        image = w.add("LoadImage", "Picture", image=f"am_{name}.png")
        labels = w.add("AMAdapterLoadLabelMap", "Its label map", image=f"am_{name}_{palette}.png", palette=read_as)
    return Exemplar(image, labels)


def layout(w: Workflow, name: str, palette: str, read_as: str) -> Node:
    with w.group("What is where", "labels"):
        return w.add("AMAdapterLoadLabelMap", "Label map", image=f"am_{name}_{palette}.png", palette=read_as)


def style_of(w: Workflow, generator: Node, source: Exemplar, title: str | None = None) -> Node:
    image, labels = source.image["IMAGE"], source.labels["labels"]
    return w.add("AMAdapterStyleFromImage", title, generator=generator["generator"], image=image, labels=labels)


ADE20K = {"palette": "ade20k150", "read_as": "ade20k150"}
CITYSCAPES = {"palette": "cityscapes19", "read_as": "cityscapes34"}
GENERATOR_FILES = "The file goes to `models/semantic_generators`; choose yours in *Load Semantic Generator*."


def clvae_style_and_editing() -> Workflow:
    w = Workflow("clvae_style_and_editing")
    with w.group("Model", "models"):
        generator = load_generator(
            w,
            "clvae_ade20k_G.pth",
            "## clVAE: a style for each class, a code for each layer\n\n"
            "*Style from Image* reads from a picture how each class looks; classes that it does not show are drawn at "
            "random. *Random Style* then draws **one class** anew, or single **layers** of it (0 is the finest).\n\n"
            "Disconnect `style` and raise `variants` for many pictures of one label map.\n\n"
            f"clVAE for ADE20K: `latest_net_G.pth` with `latest_net_E.pth` beside it. {GENERATOR_FILES}",
        )
    source = picture_and_labels(w, "exemplar_day", **ADE20K, title="How it looks")
    target = layout(w, "target_avenue", **ADE20K)
    with w.group("Style", "adapter"):
        style = style_of(w, generator, source)
        edited = w.add(
            "AMAdapterRandomStyle",
            "The building anew",
            generator=generator["generator"],
            labels=target["labels"],
            style=style["style"],
            classes="building",
        )
    with w.group("Picture", "sampling"):
        inputs = {"generator": generator["generator"], "labels": target["labels"]}
        guided = w.add("AMAdapterGenerate", "Guided by the picture", **inputs, style=style["style"])
        w.add("PreviewImage", "Before the edit", images=guided["image"])
    with w.group("Edited picture", "sampling"):
        result = w.add("AMAdapterGenerate", "With the building anew", **inputs, style=edited["style"])
    save(w, source, target, result)
    return w


def style_mixing() -> Workflow:
    w = Workflow("style_mixing")
    with w.group("Model", "models"):
        generator = load_generator(
            w,
            "clvae_ade20k_G.pth",
            "## Styles of two pictures, put together\n\n"
            "*Mix Styles* takes each class from A or B, something in between (`road = 0.5`), or leaves it to chance "
            "(`tree = random`); `building @0, 1 = B` takes two layers only. `weight` is for all that no rule names: "
            "move it from 0 to 1 to go from one picture's style to the other's.\n\n"
            "The same works with an SCA-DM. *Save Style Codes* keeps a style without its picture.\n\n"
            f"clVAE for ADE20K: `latest_net_G.pth` with `latest_net_E.pth` beside it. {GENERATOR_FILES}",
        )
    day = picture_and_labels(w, "exemplar_day", **ADE20K, title="A: day")
    dusk = picture_and_labels(w, "exemplar_dusk", **ADE20K, title="B: dusk")
    target = layout(w, "target_park", **ADE20K)
    with w.group("Style", "adapter"):
        styles = [style_of(w, generator, source, f"Style of {name}") for source, name in ((day, "A"), (dusk, "B"))]
        mixed = w.add(
            "AMAdapterMixStyles",
            style_a=styles[0]["style"],
            style_b=styles[1]["style"],
            rules="sky = B\nroad = 0.5\nbuilding @0, 1 = B\ntree = random",
        )
    with w.group("Picture", "sampling"):
        result = w.add(
            "AMAdapterGenerate", generator=generator["generator"], labels=target["labels"], style=mixed["style"]
        )
    save(w, day, target, result)
    return w


def ipose_parts() -> Workflow:
    w = Workflow("ipose_parts")
    with w.group("Model", "models"):
        supports = w.add("AMAdapterLoadSupports", supports_name="ipose_supports_00001.safetensors")
        generator = load_generator(
            w,
            "ipose_ade20k_EMA.pth",
            "## iPOSE: objects have parts\n\n"
            "*Part Maps* finds the parts of each object from its shape and from a few examples, and the parts guide "
            "the picture. Each connected piece of a class is one object; *Load Instance Map* or *Instances from Masks* "
            "tell objects apart that touch.\n\n"
            "`seed` draws the look of the whole, `background_seed` the noise outside of objects. The examples come "
            "from the part data set: run *Pack Part Supports* once. *Edit Part Supports* changes them.\n\n"
            f"iPOSE for ADE20K: `best_EMA.pth`. {GENERATOR_FILES}",
            supports=supports["supports"],
        )
    target = layout(w, "target_avenue", **ADE20K)
    with w.group("Parts", "adapter"):
        parts = w.add("AMAdapterPartMaps", generator=generator["generator"], labels=target["labels"])
        w.add("PreviewImage", "Parts", images=parts["picture"])
    with w.group("Picture", "sampling"):
        result = w.add(
            "AMAdapterGenerate", generator=generator["generator"], labels=target["labels"], parts=parts["parts"]
        )
    with w.group("Result", "result"):
        w.add("SaveImage", images=result["image"], filename_prefix=f"am_adapter/{w.name}")
    return w


def scadm_three_modes() -> Workflow:
    w = Workflow("scadm_three_modes")
    with w.group("Model", "models"):
        generator = load_generator(
            w,
            "scadm_cityscapes.ckpt",
            "## SCA-DM: by reference, with random parts, by noise alone\n\n"
            "1. **Reference**: every class looks as in the picture.\n"
            "2. **Reference with random parts**: classes in `random_classes` are left to chance.\n"
            "3. **Noise alone**: no `style` is connected.\n\n"
            "All three start from the same noise; another `seed`, or a line `car = 7` in `class_seeds`, changes what "
            "the style leaves open. The model's own pictures are 512 x 256; here they are square, as these label maps "
            f"are.\n\nSCA-DM for Cityscapes: `last.ckpt`. {GENERATOR_FILES}",
            width=256,
            height=256,
        )
    source = picture_and_labels(w, "exemplar_dusk", **CITYSCAPES, title="How it looks")
    target = layout(w, "target_avenue", **CITYSCAPES)
    with w.group("Style", "adapter"):
        style = style_of(w, generator, source)
    inputs = {"generator": generator["generator"], "labels": target["labels"]}
    with w.group("Random parts", "sampling"):
        parts = w.add("AMAdapterGenerate", "2: random parts", **inputs, style=style["style"], random_classes="car, sky")
        w.add("PreviewImage", "Reference with random parts", images=parts["image"])
    with w.group("Noise alone", "sampling"):
        noise = w.add("AMAdapterGenerate", "3: noise alone", **inputs)
        w.add("PreviewImage", "Noise alone", images=noise["image"])
    with w.group("Reference", "sampling"):
        result = w.add("AMAdapterGenerate", "1: reference", **inputs, style=style["style"])
    save(w, source, target, result)
    return w


GENERATOR_MAKERS = (clvae_style_and_editing, style_mixing, ipose_parts, scadm_three_modes)

MAKERS = (
    minimal_exemplar_synthesis,
    lora_and_controlnet,
    two_exemplars_class_routing,
    region_pairs,
    image_to_image,
    segmentation_editing,
    paint_a_layout,
    reroll_one_class,
    trained_matcher,
    train_on_own_pairs,
)


DEMO_MAKERS = {lora_and_controlnet: patched_model_two_controls}
"""Workflows that the demonstration family needs another of."""


def texts() -> dict[str, str]:
    """Return what the files shall hold, by file name; those of the demonstration once all of it is trained."""
    workflows = [make(SD15) for make in MAKERS] + [make() for make in GENERATOR_MAKERS]
    if (DEMO_WEIGHTS / "matcher_spatial.safetensors").is_file():
        sizes = json.loads((DEMO_WEIGHTS / "family.json").read_text(encoding="utf-8"))
        family = demonstration(8 * sizes["unet"]["sample_size"])
        workflows += [DEMO_MAKERS.get(make, make)(family) for make in MAKERS]
    return {f"{w.name}.json": json.dumps(w.to_json(), indent=1) + "\n" for w in workflows}


def main() -> None:
    for name, text in texts().items():
        (WORKFLOWS / name).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
