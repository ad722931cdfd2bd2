"""What a picture took from its exemplar: where it looked, and how near it comes."""

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
from .graph import Workflow

SEGMENTER_OF_DEMONSTRATION = "demonstration (drawn streets)"


def where_it_looks(family: Family) -> Workflow:
    w = Workflow(f"{family.prefix}where_it_looks")
    with w.group("Models", "models"):
        models = load_models(w, family)
        note(
            w,
            family,
            "## Where the picture looked\n\n"
            "*Match View* asks the model once more about the finished picture: a heat map over the exemplar says what "
            "the **cars** looked at; the exemplar, moved to the target's places, shows what each place took from it; "
            "the mask says how much of its attention it gave to the exemplar at all.\n\n"
            "Name another class, or leave `class_name` empty and choose a point with `x` and `y`. With mode `implicit` "
            "in *Apply AM-Adapter* the heat map shows more than cars.",
        )
    texts = prompts(w, family, models)
    exemplar = load_exemplar(w, family, "exemplar_day", "Exemplar: how it looks")
    with w.group("Target: what is where", "labels"):
        target = load_target(w, family, "target_avenue")
        latent = empty_latent(w, family)
    with w.group("AM-Adapter", "adapter"):
        encoded = encode(w, models, texts, exemplar)
        applied = apply(w, models.model, encoded, target)
    with w.group("Sampling", "sampling"):
        controlled = control(w, models, texts, target)
        result = sample(w, family, models, applied, controlled, latent["LATENT"])
    sampled = w.nodes[-2]["LATENT"]
    with w.group("Where it looked", "result"):
        view = w.add(
            "AMAdapterMatchView",
            model=applied["model"],
            positive=controlled["positive"],
            latent=sampled,
            exemplar_image=exemplar.image,
            class_name="car",
        )
        w.add("PreviewImage", "What the cars looked at", images=view["heat_map"])
    with w.group("What it took", "result"):
        w.add("PreviewImage", "The exemplar in the target's places", images=view["warped"])
        w.add("MaskPreview", "How much it looked at the exemplar", mask=view["share"])
    save(w, exemplar, target, result)
    return w


def measure_the_result(family: Family) -> Workflow:
    w = Workflow(f"{family.prefix}measure_the_result")
    about_layout = (
        "The demonstration's segmenter says how well both keep to the label map."
        if not family.stock
        else "With a segmenter for your classes in `models/am_adapter` they also say how well the label map is kept."
    )
    with w.group("Models", "models"):
        models = load_models(w, family)
        note(
            w,
            family,
            "## How near does it come?\n\n"
            "The same seed twice: without the exemplar and with it. *Evaluate AM-Adapter* measures how far colours "
            "and textures of each class lie from the exemplar's; lower is better, a colour distance below 2 is hardly "
            f"seen. {about_layout}\n\n"
            "Where the true picture is known, connect it as `reference` and leave `reference_labels` out.",
        )
    texts = prompts(w, family, models, "dusk")
    exemplar = load_exemplar(w, family, "exemplar_dusk", "Exemplar: how it looks")
    with w.group("Target: what is where", "labels"):
        target = load_target(w, family, "target_avenue")
        latent = empty_latent(w, family)
    with w.group("AM-Adapter", "adapter"):
        encoded = encode(w, models, texts, exemplar)
        applied = apply(w, models.model, encoded, target)
        controlled = control(w, models, texts, target)
    with w.group("Without the exemplar", "sampling"):
        plain = sample(w, family, models, {"model": models.model}, controlled, latent["LATENT"])
        w.add("PreviewImage", "Without the exemplar", images=plain["IMAGE"])
    with w.group("With the exemplar", "sampling"):
        result = sample(w, family, models, applied, controlled, latent["LATENT"])
    segmenter = "none" if family.stock else SEGMENTER_OF_DEMONSTRATION
    given = {"target_labels": target["labels"], "reference": exemplar.image, "reference_labels": exemplar.labels}
    with w.group("Distances", "result"):
        for title, picture in (("Without the exemplar", plain), ("With the exemplar", result)):
            w.add("AMAdapterEvaluate", title, result=picture["IMAGE"], segmenter=segmenter, **given)
    save(w, exemplar, target, result)
    return w
