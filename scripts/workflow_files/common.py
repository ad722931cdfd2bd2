"""What the workflows on diffusion models have in common."""

from __future__ import annotations

from dataclasses import dataclass

from .downloads import CHECKPOINT, SEGMENTATION
from .family import Family
from .graph import Node, Workflow

COLOURS_OF_LABEL_MAPS = {
    "ade20k150": "Label maps are in the colours of ADE20K, which the segmentation ControlNet was trained on. Other "
    "colours (Cityscapes') still show it the shapes, but not the classes.",
    "cityscapes19": "Label maps are in the colours of Cityscapes, which ControlNeXt was trained on. Other colours "
    "still show it the shapes, but not the classes.",
}


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
    """A picture and its label map, or lists of them."""

    image: tuple[Node, int]
    labels: tuple[Node, int]


def load_exemplar(w: Workflow, family: Family, name: str, title: str) -> Exemplar:
    with w.group(title, "labels"):
        image = w.add("LoadImage", "Exemplar", image=f"{family.inputs}{name}.png")
        labels = load_target(w, family, name, "Exemplar's label map")
    return Exemplar(image["IMAGE"], labels["labels"])


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
        image=exemplar.image,
        labels=exemplar.labels,
        conditioning=texts.empty,
        control_net=models.control_net,
        name=name,
    )


def apply(w: Workflow, model: tuple[Node, int], encoded: Node, target: Node, **values: object) -> Node:
    """Let a model look at an exemplar; `values` go to the node."""
    labels = target["labels"]
    return w.add("AMAdapterApply", model=model, exemplar=encoded["exemplar"], target_labels=labels, **values)


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
            exemplar=exemplar.image,
            target_labels=target["labels"],
            result=(result, 0),
        )
        w.add("SaveImage", images=triplet["triplet"], filename_prefix=f"am_adapter/{w.name}")
