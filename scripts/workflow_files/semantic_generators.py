"""clVAE, iPOSE and SCA-DM: pictures of label maps without Stable Diffusion."""

from __future__ import annotations

from .common import (
    Exemplar,
    save,
)
from .graph import Node, Workflow

ADE20K = {"palette": "ade20k150", "read_as": "ade20k150"}
CITYSCAPES = {"palette": "cityscapes19", "read_as": "cityscapes34"}
GENERATOR_FILES = "The file goes to `models/semantic_generators`; choose yours in *Load Semantic Generator*."


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
    return Exemplar(image["IMAGE"], labels["labels"])


def layout(w: Workflow, name: str, palette: str, read_as: str) -> Node:
    with w.group("What is where", "labels"):
        return w.add("AMAdapterLoadLabelMap", "Label map", image=f"am_{name}_{palette}.png", palette=read_as)


def style_of(w: Workflow, generator: Node, source: Exemplar, title: str | None = None) -> Node:
    inputs = {"generator": generator["generator"], "image": source.image, "labels": source.labels}
    return w.add("AMAdapterStyleFromImage", title, **inputs)


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
