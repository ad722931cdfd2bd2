"""What a server says about its nodes: who takes part in random graphs, who gives and who takes which type."""

from __future__ import annotations

from collections import defaultdict

from .settings import choices, options

PACK = "custom_nodes.ComfyUI-AM-Adapter"
STOCK = (
    *("TinySD15Checkpoint", "TinyControlNet", "TinyControlNeXt", "TinyMatcher", "TinyGenerator", "TinySupports"),
    *("CLIPTextEncode", "ConditioningCombine", "ControlNetApplyAdvanced", "ConditioningZeroOut"),
    *("EmptyLatentImage", "KSampler", "SamplerCustomAdvanced", "VAEEncode", "VAEDecode", "SetLatentNoiseMask"),
    *("RandomNoise", "KSamplerSelect", "BasicScheduler", "CFGGuider", "BasicGuider"),
    *("LoraLoaderModelOnly", "FreeU", "HyperTile", "PerturbedAttentionGuidance", "SelfAttentionGuidance", "RescaleCFG"),
    *("LoadImage", "RepeatImageBatch", "SolidMask", "InvertMask"),
)
"""The host's nodes, and the test pack's, that take part."""

TRAINING = ("AMAdapterTrainMatcher", "AMAdapterTrainStructure")
OF_A_FAMILY = ("AMAdapterSCADMForSampler", "AMAdapterLoadDemo")
"""Nodes whose outputs belong together."""
AT_AN_END = ("AMAdapterBuildIndex", "AMAdapterRetrieveExemplars", "AMAdapterPairExemplars")
"""Nodes that end a graph and whose outputs are asked for all the same."""


class Catalogue:
    """The nodes that take part, by what they give and take."""

    def __init__(self, object_info: dict) -> None:
        ours = [name for name, node in object_info.items() if node.get("python_module") == PACK]
        self.info = object_info
        self.known = {name for name in (*ours, *STOCK) if name in object_info and self._can_be_set(name)}
        self.heights = self._heights()
        self.aims = sorted(name for name in ours if name in self.heights)
        self.producers: dict[str, list[tuple[str, int]]] = defaultdict(list)
        self.consumers: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for name in sorted(self.heights):
            if name in (*OF_A_FAMILY, *TRAINING):
                continue  # aims, and nothing else asks for them
            if name in AT_AN_END or not self.info[name]["output_node"]:
                for slot, kind in enumerate(self.info[name]["output"]):
                    self.producers[kind].append((name, slot))
            for entry, spec, _ in self.links(name):
                for kind in spec[0].split(","):
                    self.consumers[kind].append((name, entry))

    def inputs(self, node: str) -> list[tuple[str, list, bool]]:
        """Name, specification and whether it is required, of all inputs."""
        given = self.info[node]["input"]
        return [
            (n, s, group == "required") for group in ("required", "optional") for n, s in given.get(group, {}).items()
        ]

    def links(self, node: str) -> list[tuple[str, list, bool]]:
        return [entry for entry in self.inputs(node) if not is_widget(entry[1])]

    def without_choice(self) -> list[str]:
        """Our nodes that lack a file to choose."""
        ours = (name for name, node in self.info.items() if node.get("python_module") == PACK)
        return sorted(name for name in ours if not self._can_be_set(name))

    def _can_be_set(self, node: str) -> bool:
        return all(choices(spec) != [] for _, spec, required in self.inputs(node) if required)

    def _heights(self) -> dict[str, int]:
        """How many nodes have to stand above each at least; those that cannot be supplied are left out."""
        heights: dict[str, int] = {}
        while True:
            given = {
                k: heights[n] for n in sorted(heights, key=heights.get, reverse=True) for k in self.info[n]["output"]
            }
            new = {}
            for name in self.known:
                wanted = [spec[0].split(",") for _, spec, required in self.links(name) if required]
                if all(any(kind in given for kind in kinds) for kinds in wanted):
                    nearest = [min(given[k] for k in kinds if k in given) for kinds in wanted]
                    new[name] = 1 + max(nearest, default=0)
            if new == heights:
                return heights
            heights = new


def is_widget(spec: list) -> bool:
    return (isinstance(spec[0], list) or spec[0] in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")) and not options(
        spec
    ).get("forceInput")
