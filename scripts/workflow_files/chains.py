"""The chains that most workflows have, as blueprints."""

from __future__ import annotations

from .blueprint import Blueprint

PALETTE = "ade20k150"


def load_exemplar_pair() -> Blueprint:
    b = Blueprint(
        "Load Exemplar Pair (AM-Adapter)",
        "model:MODEL vae:VAE conditioning:CONDITIONING control_net:CONTROL_NET picture:COMBO label_map:COMBO "
        "palette:COMBO",
        "Loads a picture with its label map and encodes the two as an exemplar.",
    )
    into = b.inlet
    with b.group("Picture and label map", "labels"):
        picture = b.add("LoadImage", image="am_exemplar_day.png")
        labels = b.add("AMAdapterLoadLabelMap", image=f"am_exemplar_day_{PALETTE}.png", palette=PALETTE)
    with b.group("Exemplar", "adapter"):
        encoded = b.add(
            "AMAdapterEncodeExemplar",
            image=picture["IMAGE"],
            labels=labels["labels"],
            **{name: into[name] for name in ("model", "vae", "conditioning", "control_net")},
        )
    b.show(picture, image="picture")
    b.show(labels, image="label_map", palette="palette")
    b.give(exemplar=encoded["exemplar"], image=picture["IMAGE"], labels=labels["labels"])
    return b


def label_map_to_hint() -> Blueprint:
    b = Blueprint(
        "Label Map to ControlNet Hint (AM-Adapter)",
        "positive:CONDITIONING negative:CONDITIONING control_net:CONTROL_NET label_map:COMBO palette:COMBO "
        "strength:FLOAT",
        "Loads a target's label map and lets its colours guide the prompts through a ControlNet.",
    )
    into = b.inlet
    with b.group("Label map", "labels"):
        labels = b.add("AMAdapterLoadLabelMap", image=f"am_target_avenue_{PALETTE}.png", palette=PALETTE)
    with b.group("Hint", "models"):
        guided = b.add(
            "ControlNetApplyAdvanced",
            image=labels["colours"],
            **{name: into[name] for name in ("positive", "negative", "control_net")},
        )
    b.show(labels, image="label_map", palette="palette")
    b.show(guided, strength="strength")
    b.give(positive=guided["positive"], negative=guided["negative"], labels=labels["labels"])
    return b


def sample_with_exemplar() -> Blueprint:
    b = Blueprint(
        "Sample with Exemplar (AM-Adapter)",
        "model:MODEL exemplar:AM_EXEMPLAR target_labels:AM_LABEL_MAP positive:CONDITIONING negative:CONDITIONING "
        "latent_image:LATENT vae:VAE matcher:AM_MATCHER routing:AM_ROUTING mode:COMBO strength:FLOAT seed:INT "
        "steps:INT cfg:FLOAT",
        "Lets the model look at an exemplar, samples and decodes the picture.",
    )
    into = b.inlet
    with b.group("AM-Adapter", "adapter"):
        applied = b.add(
            "AMAdapterApply",
            **{name: into[name] for name in ("model", "exemplar", "target_labels", "matcher", "routing")},
        )
    with b.group("Sampling", "sampling"):
        sampler = b.add(
            "KSampler",
            model=applied["model"],
            **{name: into[name] for name in ("positive", "negative", "latent_image")},
        )
        decoded = b.add("VAEDecode", samples=sampler["LATENT"], vae=into["vae"])
    b.show(applied, mode="mode", strength="strength")
    b.show(sampler, seed="seed", steps="steps", cfg="cfg")
    b.give(image=decoded["IMAGE"])
    return b


CHAINS = (load_exemplar_pair, label_map_to_hint, sample_with_exemplar)
