"""Nodes for iPOSE's parts: instances, examples of parts, part maps."""

from __future__ import annotations

import torch
from comfy_api.v0_0_2 import io, ui
from torch import Tensor
from typing_extensions import override

from ..amadapter_core.generators.ipose import Supports, load_supports, pack_supports
from ..amadapter_core.generators.ipose.conventions import CATEGORY_NAMES
from ..amadapter_core.generators.ipose.part_maps import PALETTE
from ..amadapter_core.generators.ipose.supports import PUBLISHED_COUNT
from ..amadapter_core.hosts.comfy import folders
from ..amadapter_core.hosts.comfy.generators import HostGenerator
from ..amadapter_core.hosts.comfy.part_maps import (
    READINGS,
    HostInstances,
    instances_of_masks,
    part_maps,
    read_instances,
)
from ..amadapter_core.hosts.comfy.pictures import input_pictures, picture_fingerprint, picture_path
from ..amadapter_core.label_maps import LabelMap
from .errors import naming
from .generators import LABELS_TOOLTIP
from .label_map_inputs import unknown_input
from .sockets import GeneratorType, InstancesType, LabelMapType, PartMapsType, SupportsType

CATEGORY = "AM-Adapter/generators"
SHOWN_LARGER = 4
CATEGORIES = [f"{number} {name}" for number, name in CATEGORY_NAMES.items()]


def supports_output() -> io.Output:
    return SupportsType.Output("supports", tooltip="Connect to Load Semantic Generator or Part Maps.")


class AMAdapterLoadInstances(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterLoadInstances",
            display_name="Load Instance Map",
            category=CATEGORY,
            description="Loads a picture that says which pixels are one object, 16 bit files included.",
            search_aliases=["instances", "instanceIds", "panoptic", "iPOSE", "AM-Adapter"],
            inputs=[
                io.Combo.Input(
                    "image",
                    options=input_pictures(),
                    upload=io.UploadType.image,
                    tooltip="A picture in the input folder, as the data set has it.",
                ),
                io.Combo.Input(
                    "reading",
                    options=list(READINGS),
                    tooltip="counts: values number the objects, 0 is none. cityscapes: category * 1000 + count, as in "
                    "instanceIds. ade20k: count in green, class in red, as in annotations_instance.",
                ),
            ],
            outputs=[
                InstancesType.Output("instances", tooltip="Connect to Part Maps."),
                io.Image.Output("picture", tooltip="Each object in a colour of its own."),
            ],
        )

    @classmethod
    @override
    def fingerprint_inputs(cls, image: str | None, reading: str | None) -> str:
        return picture_fingerprint(image)

    @classmethod
    @override
    def execute(cls, image: str, reading: str) -> io.NodeOutput:
        with naming(cls):
            instances = read_instances(picture_path(image), reading)
        return io.NodeOutput(instances, instances.picture())


class AMAdapterInstancesFromMasks(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterInstancesFromMasks",
            display_name="Instances from Masks",
            category=CATEGORY,
            description="Takes each mask of a batch for one object of one picture.",
            search_aliases=["instances", "object masks", "iPOSE", "AM-Adapter"],
            inputs=[
                io.Mask.Input("masks", tooltip="A mask for each object; where two overlap the later one lies above.")
            ],
            outputs=[
                InstancesType.Output("instances", tooltip="Connect to Part Maps."),
                io.Image.Output("picture", tooltip="Each object in a colour of its own."),
            ],
        )

    @classmethod
    @override
    def execute(cls, masks: Tensor) -> io.NodeOutput:
        with naming(cls):
            instances = instances_of_masks(masks)
        return io.NodeOutput(instances, instances.picture())


class AMAdapterPartMaps(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterPartMaps",
            display_name="Part Maps",
            category=CATEGORY,
            description="Finds the parts of objects from their shapes with iPOSE's part network: wheels of cars, legs "
            "of people.",
            search_aliases=["part segmentation", "part map", "iPOSE", "AM-Adapter"],
            inputs=[
                GeneratorType.Input("generator", tooltip="An iPOSE from Load Semantic Generator."),
                LabelMapType.Input("labels", tooltip=LABELS_TOOLTIP),
                InstancesType.Input(
                    "instances",
                    optional=True,
                    tooltip="Which pixels are one object. Without it each connected piece of a class is one.",
                ),
                SupportsType.Input(
                    "supports",
                    optional=True,
                    tooltip="Examples of parts in place of the generator's own: other examples, other parts.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="1 where parts guide the picture; where it is 0 noise does, in objects as well.",
                ),
            ],
            outputs=[
                PartMapsType.Output("parts", tooltip="Connect to Generate from Label Map, or to Label Map with Parts."),
                io.Image.Output("picture", tooltip="The parts in colours, at the generator's size."),
            ],
        )

    @classmethod
    @override
    def execute(
        cls,
        generator: HostGenerator,
        labels: LabelMap,
        instances: HostInstances | None = None,
        supports: Supports | None = None,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        with naming(cls):
            parts = part_maps(generator, labels, instances, supports, mask)
            picture = parts.picture()
            return io.NodeOutput(parts, picture, ui=ui.PreviewImage(picture, cls=cls))


class AMAdapterLoadSupports(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterLoadSupports",
            display_name="Load Part Supports",
            category=CATEGORY,
            description="Loads a pack of examples of parts, which iPOSE's part network looks at.",
            search_aliases=["support pack", "few-shot parts", "iPOSE", "AM-Adapter"],
            inputs=[
                io.Combo.Input(
                    "supports_name",
                    options=folders.supports(),
                    tooltip="A support pack of the semantic_generators folder. Pack Part Supports makes one of the "
                    "part data set.",
                ),
            ],
            outputs=[supports_output()],
        )

    @classmethod
    @override
    def fingerprint_inputs(cls, supports_name: str) -> str:
        return folders.fingerprint(folders.GENERATORS, supports_name)

    @classmethod
    @override
    def execute(cls, supports_name: str) -> io.NodeOutput:
        with naming(cls):
            return io.NodeOutput(load_supports(folders.find(folders.GENERATORS, supports_name)))


class AMAdapterPackSupports(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterPackSupports",
            display_name="Pack Part Supports",
            category=CATEGORY,
            description="Gathers the example pictures of iPOSE's part data set into one small file of the "
            "semantic_generators folder.",
            search_aliases=["support pack", "Full_Parts", "support_shape", "iPOSE", "AM-Adapter"],
            is_output_node=True,
            inputs=[
                io.String.Input(
                    "folder",
                    default="",
                    tooltip="The part data set on the machine that ComfyUI runs on: Full_Parts, its support_shape, or "
                    "the folder in it with one folder per category.",
                ),
                io.Int.Input(
                    "count", default=PUBLISHED_COUNT, min=1, max=64, tooltip="Examples per category, the first by name."
                ),
                io.String.Input(
                    "filename_prefix",
                    default="ipose_supports",
                    tooltip="Name of the file, may begin with sub folders; a number is added.",
                ),
            ],
            outputs=[
                supports_output(),
                io.String.Output("file", tooltip="The name under which Load Part Supports lists it."),
            ],
        )

    @classmethod
    @override
    def execute(cls, folder: str, count: int, filename_prefix: str) -> io.NodeOutput:
        with naming(cls):
            if not folder.strip():
                raise ValueError("folder is empty; give the folder Full_Parts of the part data set")
            supports = pack_supports(folder.strip(), count=count)
            path, name = folders.new_file(filename_prefix, folders.GENERATORS)
            supports.save(path)
        told = ", ".join(CATEGORY_NAMES[category] for category in supports.categories)
        return io.NodeOutput(supports, name, ui=ui.PreviewText(f"saved as {name}: {told}"))


class AMAdapterEditSupports(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterEditSupports",
            display_name="Edit Part Supports",
            category=CATEGORY,
            description="Shows the examples of one category, and puts others in their place: what the examples call "
            "parts, iPOSE finds in its objects.",
            search_aliases=["edit parts", "support shapes", "iPOSE", "AM-Adapter"],
            inputs=[
                SupportsType.Input("supports", tooltip="The examples to look at or to change."),
                io.Combo.Input("category", options=CATEGORIES, default="26 car", tooltip="Kind of object."),
                unknown_input("colours", ["error", "nearest"]),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="New examples, one picture each, in the colours of the output picture. Left out: nothing "
                    "is changed.",
                ),
            ],
            outputs=[
                supports_output(),
                io.Image.Output("picture", tooltip="The category's examples in the colours of parts, to paint over."),
            ],
        )

    @classmethod
    @override
    def execute(cls, supports: Supports, category: str, unknown: str, image: Tensor | None = None) -> io.NodeOutput:
        with naming(cls):
            number = int(category.partition(" ")[0])
            if image is not None:
                painted = LabelMap.from_colours(image, PALETTE, unknown=unknown)
                supports = supports.replaced(number, painted.ids)
            (examples,) = supports.of([number])
        larger = examples.repeat_interleave(SHOWN_LARGER, 1).repeat_interleave(SHOWN_LARGER, 2)
        picture = LabelMap(larger.to(torch.int64), PALETTE).colours()
        return io.NodeOutput(supports, picture, ui=ui.PreviewImage(picture, cls=cls))


NODES: tuple[type[io.ComfyNode], ...] = (
    AMAdapterPartMaps,
    AMAdapterLoadInstances,
    AMAdapterInstancesFromMasks,
    AMAdapterLoadSupports,
    AMAdapterPackSupports,
    AMAdapterEditSupports,
)
