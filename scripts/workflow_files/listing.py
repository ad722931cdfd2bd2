"""Which workflows there are, and on which models."""

from __future__ import annotations

import json

from . import chains, data, editing, learned, measuring, routing, semantic_generators, transfer
from .family import SD15, shipped_demonstration

ON_ANY_FAMILY = (
    transfer.minimal_exemplar_synthesis,
    transfer.lora_and_controlnet,
    routing.two_exemplars_class_routing,
    routing.mix_exemplars,
    routing.region_pairs,
    routing.parts_of_objects,
    transfer.image_to_image,
    editing.segmentation_editing,
    editing.paint_a_layout,
    editing.reroll_one_class,
    data.retrieve_exemplars,
    data.exemplars_times_targets,
    measuring.where_it_looks,
    measuring.measure_the_result,
    learned.trained_matcher,
    learned.train_on_own_pairs,
)
ON_STOCK_MODELS = (data.photographs_without_label_maps,)
ON_DEMONSTRATION = (learned.ways_of_looking,)
OF_GENERATORS = (
    semantic_generators.clvae_style_and_editing,
    semantic_generators.style_mixing,
    semantic_generators.ipose_parts,
    semantic_generators.scadm_three_modes,
)
DEMO_TWINS = {transfer.lora_and_controlnet: transfer.patched_model_two_controls}
"""Workflows that the demonstration family needs another of."""


def workflow_texts() -> dict[str, str]:
    """Return what the files shall hold, by file name; those of the demonstration once all of it is trained."""
    workflows = [make(SD15) for make in (*ON_ANY_FAMILY, *ON_STOCK_MODELS)] + [make() for make in OF_GENERATORS]
    if (family := shipped_demonstration()) is not None:
        workflows += [DEMO_TWINS.get(make, make)(family) for make in (*ON_ANY_FAMILY, *ON_DEMONSTRATION)]
    return {f"{w.name}.json": json.dumps(w.to_json(), indent=1) + "\n" for w in workflows}


def blueprint_texts() -> dict[str, str]:
    """Return what the files of the subgraph blueprints shall hold, by file name."""
    blueprints = [make() for make in chains.CHAINS]
    return {f"{b.name}.json": json.dumps(b.to_json(), indent=1) + "\n" for b in blueprints}
