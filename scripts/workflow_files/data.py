"""From what users have to pictures: photographs without label maps, folders of exemplars, lists of targets."""

from __future__ import annotations

from .common import (
    Exemplar,
    apply,
    control,
    empty_latent,
    encode,
    load_models,
    load_target,
    note,
    prompts,
    sample,
    save,
)
from .family import Family
from .graph import Node, Workflow

SEGFORMER = "segformer-b0-finetuned-ade-512-512"


def photographs_without_label_maps(family: Family) -> Workflow:
    w = Workflow(f"{family.prefix}photographs_without_label_maps")
    with w.group("Models", "models"):
        models = load_models(w, family)
        note(
            w,
            family,
            "## Photographs without label maps\n\n"
            "*Label Map from Segmentation Model* finds what is where, in the exemplar and in a picture whose layout is "
            "taken over. Put photographs of yours in place of the two drawings.\n\n"
            "The model is a folder in `models/segmentation`, as transformers saves it: `config.json`, "
            "`preprocessor_config.json` and `model.safetensors`, here those of "
            f"[nvidia/{SEGFORMER}](https://huggingface.co/nvidia/{SEGFORMER}). SegFormer, Mask2Former, OneFormer and "
            "UperNet work; one that knows ADE20K's classes fits the segmentation ControlNet, others need *Remap "
            "Classes*.",
        )
    texts = prompts(w, family, models)
    labelled = {}
    for name, title in (("exemplar_day", "Exemplar: how it looks"), ("target_avenue", "Target: what is where")):
        with w.group(title, "labels"):
            picture = w.add("LoadImage", "Photograph", image=f"{family.inputs}{name}.png")
            labels = segmented(w, family, picture)
            labelled[name] = picture, labels
    with w.group("AM-Adapter", "adapter"):
        picture, labels = labelled["exemplar_day"]
        exemplar = Exemplar(picture["IMAGE"], labels["labels"])
        encoded = encode(w, models, texts, exemplar)
        target = labelled["target_avenue"][1]
        applied = apply(w, models.model, encoded, target)
    with w.group("Sampling", "sampling"):
        controlled = control(w, models, texts, target)
        latent = empty_latent(w, family)
        result = sample(w, family, models, applied, controlled, latent["LATENT"])
    save(w, exemplar, target, result)
    return w


def segmented(w: Workflow, family: Family, picture: Node) -> Node:
    """The label map of a picture, shown over it."""
    labels = w.add(
        "AMAdapterLabelMapFromSegmentation", image=picture["IMAGE"], model_name=SEGFORMER, palette=family.palette
    )
    w.add("AMAdapterLabelMapPreview", labels=labels["labels"], image=picture["IMAGE"])
    return labels


def retrieve_exemplars(family: Family) -> Workflow:
    w = Workflow(f"{family.prefix}retrieve_exemplars")
    with w.group("Models", "models"):
        models = load_models(w, family)
        note(
            w,
            family,
            "## The exemplars that fit the target\n\n"
            "*Build Exemplar Index* reads a folder of pictures (`images/`) and label maps (`labels/`) once; "
            "*Retrieve Exemplars* finds those whose layout is most like the target's, and shows them with their "
            "scores. Each of them gives a picture: what comes as a list runs once for each.\n\n"
            "`must_have` names classes that they must show, `diversity` keeps them unlike each other. A folder of a "
            "hundred thousand pictures works alike; *Load Exemplar Index* opens its index later.\n\n"
            f"The folder `{family.inputs}streets` comes from `workflows/inputs`: copy it to ComfyUI's `input` folder.",
        )
    texts = prompts(w, family, models)
    with w.group("Target: what is where", "labels"):
        target = load_target(w, family, "target_avenue")
        latent = empty_latent(w, family)
    with w.group("The exemplars that fit", "labels"):
        index = w.add(
            "AMAdapterBuildIndex",
            name=f"{family.inputs}streets",
            folder=f"{family.inputs}streets",
            palette=family.palette,
        )
        found = w.add("AMAdapterRetrieveExemplars", index=index["index"], target_labels=target["labels"], count=2)
    with w.group("AM-Adapter", "adapter"):
        exemplar = Exemplar(found["images"], found["labels"])
        encoded = encode(w, models, texts, exemplar)
        applied = apply(w, models.model, encoded, target)
    with w.group("Sampling", "sampling"):
        controlled = control(w, models, texts, target)
        result = sample(w, family, models, applied, controlled, latent["LATENT"])
    save(w, exemplar, target, result)
    return w


def exemplars_times_targets(family: Family) -> Workflow:
    w = Workflow(f"{family.prefix}exemplars_times_targets")
    with w.group("Models", "models"):
        models = load_models(w, family)
        note(
            w,
            family,
            "## Every exemplar with every target\n\n"
            "*Load Pairs from Folder* gives lists; *Pair Exemplars with Targets* makes a row of each pair and hands on "
            "those that have no result yet, `rows_at_once` at a time. Queue the workflow again, or set the queue to "
            "repeat, until its report says that none is left: what is finished stays, also when it was broken off.\n\n"
            "Results lie in `output/am_adapter_batch` with a manifest of exemplars, targets and seeds. `in order` "
            "instead of the pairing takes what *Retrieve Exemplars* found for each target.\n\n"
            f"The folder `{family.inputs}streets` comes from `workflows/inputs`: copy it to ComfyUI's `input` folder.",
        )
    texts = prompts(w, family, models)
    folder = f"{family.inputs}streets"
    with w.group("Two exemplars", "labels"):
        exemplars = w.add("AMAdapterLoadPairs", "Exemplars", folder=folder, palette=family.palette, count=2)
        encoded = encode(w, models, texts, Exemplar(exemplars["images"], exemplars["labels"]))
    with w.group("Two targets", "labels"):
        targets = w.add(
            "AMAdapterLoadPairs",
            "Targets",
            folder=f"{folder}/labels",
            kind="label maps alone",
            palette=family.palette,
            first=2,
            count=2,
        )
        latent = empty_latent(w, family)
    with w.group("Rows", "adapter"):
        rows = w.add(
            "AMAdapterPairExemplars",
            exemplars=encoded["exemplar"],
            target_labels=targets["labels"],
            exemplar_images=exemplars["images"],
            exemplar_names=exemplars["names"],
            target_names=targets["names"],
            folder=w.name,
            save="triplets",
        )
        applied = w.add("AMAdapterApply", model=models.model, exemplar=rows["exemplar"], target_labels=rows["target"])
    with w.group("Sampling", "sampling"):
        colours = w.add("AMAdapterLabelMapToImage", labels=rows["target"])
        controlled = control(w, models, texts, colours)
        result = sample(w, family, models, applied, controlled, latent["LATENT"], seed=rows["row_seed"])
    with w.group("Results", "result"):
        w.add("AMAdapterSaveBatch", result=result["IMAGE"], row=rows["row"])
    return w
