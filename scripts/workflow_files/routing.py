"""Who may look at whom: exemplars by class, regions at regions."""

from __future__ import annotations

from .common import (
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
from .graph import Node, Workflow


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
        applied = apply(w, models.model, day_encoded, target, routing=day_rules["routing"])
    with w.group("Dusk, sky and road only", "adapter"):
        dusk_encoded = encode(w, models, texts, dusk, "dusk")
        dusk_rules = w.add("AMAdapterClassRouting", rules="sky = 1\nroad = 1\n* = 0")
        applied = apply(w, applied["model"], dusk_encoded, target, routing=dusk_rules["routing"])
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
        applied = apply(w, models.model, encoded, target, routing=pairs[-1]["routing"])
    with w.group("Sampling", "sampling"):
        controlled = control(w, models, texts, target)
        result = sample(w, family, models, applied, controlled, latent["LATENT"])
    save(w, exemplar, target, result)
    return w


def mix_exemplars(family: Family) -> Workflow:
    w = Workflow(f"{family.prefix}mix_exemplars")
    with w.group("Models", "models"):
        models = load_models(w, family)
        note(
            w,
            family,
            "## Two exemplars, mixed class by class\n\n"
            "*Mix Exemplars* shares the classes out with one rule per line: `sky = B` is the second exemplar alone, "
            "`car = A` the first, `road = 0.5` half of each, `person = none` neither. `share` is for all that no rule "
            "names: move it from 0 to 1 to go from one exemplar to the other.\n\n"
            "Its two outputs belong to the two *Apply AM-Adapter*, chained through MODEL.",
        )
    texts = prompts(w, family, models)
    day = load_exemplar(w, family, "exemplar_day", "A: day")
    dusk = load_exemplar(w, family, "exemplar_dusk", "B: dusk")
    with w.group("Target: what is where", "labels"):
        target = load_target(w, family, "target_avenue")
        latent = empty_latent(w, family)
    with w.group("Exemplars", "adapter"):
        encoded = [encode(w, models, texts, source, name) for source, name in ((day, "day"), (dusk, "dusk"))]
        mixed = w.add("AMAdapterMixExemplars", rules="sky = B\nroad = 0.5\ncar = A", share=0.0)
    with w.group("AM-Adapter", "adapter"):
        applied = apply(w, models.model, encoded[0], target, routing=mixed["routing_a"])
        applied = apply(w, applied["model"], encoded[1], target, routing=mixed["routing_b"])
    with w.group("Sampling", "sampling"):
        controlled = control(w, models, texts, target)
        result = sample(w, family, models, applied, controlled, latent["LATENT"])
    save(w, day, target, result)
    return w


def parts_of_objects(family: Family) -> Workflow:
    w = Workflow(f"{family.prefix}parts_of_objects")
    with w.group("Models", "models"):
        models = load_models(w, family)
        note(
            w,
            family,
            "## Windows look at windows\n\n"
            "*Label Map with Parts* tells the parts of objects apart in matching: here the windows of houses and cars, "
            "each from a mask. ControlNets and pictures go on seeing the classes alone.\n\n"
            "A batch of masks gives a part for each; a label map in a table of parts, or iPOSE's *Part Maps*, "
            "works as well. In *Class Routing* a part is written `car:part 1`.",
        )
    texts = prompts(w, family, models)
    exemplar = load_exemplar(w, family, "exemplar_day", "Exemplar: how it looks")
    with w.group("Target: what is where", "labels"):
        target = load_target(w, family, "target_avenue")
        latent = empty_latent(w, family)
    with w.group("Exemplar's parts", "labels"):
        exemplar.labels = windows(w, family, "exemplar_day", exemplar.labels)["labels"]
    with w.group("Target's parts", "labels"):
        refined = windows(w, family, "target_avenue", target["labels"])
    with w.group("AM-Adapter", "adapter"):
        encoded = encode(w, models, texts, exemplar)
        applied = apply(w, models.model, encoded, refined)
    with w.group("Sampling", "sampling"):
        controlled = control(w, models, texts, target)
        result = sample(w, family, models, applied, controlled, latent["LATENT"])
    save(w, exemplar, target, result)
    return w


def windows(w: Workflow, family: Family, name: str, labels: tuple[Node, int]) -> Node:
    """Tell the windows of houses and cars apart from the rest of them."""
    mask = w.add("LoadImageMask", "Windows", image=f"{family.inputs}{name}_windows.png")
    refined = w.add("AMAdapterLabelMapParts", labels=labels, parts=mask["MASK"], classes="building, car")
    w.add("PreviewImage", "Parts", images=refined["picture"])
    return refined
