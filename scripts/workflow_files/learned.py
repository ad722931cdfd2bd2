"""Trained weights, and training."""

from __future__ import annotations

from dataclasses import replace

from .common import (
    Exemplar,
    Models,
    Prompts,
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
from .downloads import CHECKPOINT
from .family import Family
from .graph import Workflow


def learned_picture(w: Workflow, family: Family, models: Models, texts: Prompts, exemplar: Exemplar) -> None:
    """From a matcher and an exemplar to the saved picture."""
    with w.group("Target: what is where", "labels"):
        target = load_target(w, family, "target_avenue")
        latent = empty_latent(w, family)
    with w.group("AM-Adapter", "adapter"):
        encoded = encode(w, models, texts, exemplar)
        applied = apply(w, models.model, encoded, target, matcher=models.matcher, mode="learned")
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
    # Runs on different models go by different names: a name goes on with its own.
    mine = "my" if family.stock else "my_demo"
    with w.group("Stage 1", "adapter"):
        structure = w.add("AMAdapterTrainStructure", model=model, control_net=begin, name=f"{mine}_structure", **pairs)
        w.add("LossGraphNode", loss=structure["loss_map"])
    model, control_net = structure["model"], structure["control_net"]
    with w.group("Stage 2", "adapter"):
        learned = w.add("AMAdapterTrainMatcher", model=model, control_net=control_net, name=f"{mine}_matcher", **pairs)
        w.add("LossGraphNode", loss=learned["loss_map"])
    models = Models(model, clip, vae, control_net, learned["matcher"])
    texts = prompts(w, family, models)
    exemplar = load_exemplar(w, family, "exemplar_day", "Exemplar: how it looks")
    learned_picture(w, family, models, texts, exemplar)
    return w


def ways_of_looking(family: Family) -> Workflow:
    w = Workflow(f"{family.prefix}ways_of_looking")
    with w.group("Models", "models"):
        models = load_models(w, family)
        note(
            w,
            family,
            "## Three ways of looking at an exemplar\n\n"
            "From above: `implicit` lets every place of the target look wherever it likes, `categorical` at its own "
            "class only, `learned` where the trained matcher says. Seed, prompt and exemplar are the same.\n\n"
            "Only the last one needs a matcher.",
        )
    texts = prompts(w, family, models, "dusk")
    exemplar = load_exemplar(w, family, "exemplar_dusk", "Exemplar: how it looks")
    with w.group("Target: what is where", "labels"):
        target = load_target(w, family, "target_avenue")
        latent = empty_latent(w, family)
    with w.group("Exemplar and layout", "adapter"):
        encoded = encode(w, models, texts, exemplar)
        controlled = control(w, models, texts, target)
    results = []
    for mode, matcher in (("implicit", None), ("categorical", None), ("learned", models.matcher)):
        with w.group(mode, "sampling"):
            applied = apply(w, models.model, encoded, target, mode=mode, matcher=matcher)
            results.append(sample(w, family, models, applied, controlled, latent["LATENT"])["IMAGE"])
    with w.group("Side by side", "result"):
        both = w.add("ImageBatch", image1=results[0], image2=results[1])
        result = w.add("ImageBatch", image1=both["IMAGE"], image2=results[2])
    save(w, exemplar, target, result)
    return w
