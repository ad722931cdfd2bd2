"""Layouts that are edited or painted, and classes that are drawn anew."""

from __future__ import annotations

import base64

from .common import (
    COLOURS_OF_LABEL_MAPS,
    apply,
    control,
    empty_latent,
    encode,
    load_exemplar,
    load_models,
    load_target,
    note,
    prompts,
    sample,
    save,
)
from .family import Family
from .graph import Workflow
from .places import PAINTINGS


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
        applied = apply(w, models.model, encoded, before)
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
        applied = apply(w, models.model, encoded, after)
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
        applied = apply(w, models.model, encoded, target)
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
        applied = apply(w, models.model, encoded, target)
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
