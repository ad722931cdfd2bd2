"""The method as it is, and beside what else patches a model, guides it or starts it."""

from __future__ import annotations

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
from .downloads import CANNY
from .family import Family
from .graph import Workflow


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
        applied = apply(w, models.model, encoded, target)
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
        applied = apply(w, models.model, encoded, target)
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
        applied = apply(w, models.model, encoded, target)
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
        applied = apply(w, models.model, encoded, target)
    with w.group("Sampling", "sampling"):
        controlled = control(w, models, texts, target)
        latent = w.add("VAEEncode", pixels=picture["IMAGE"], vae=models.vae)
        result = sample(w, family, models, applied, controlled, latent["LATENT"], denoise=0.75)
    save(w, exemplar, target, result)
    return w
