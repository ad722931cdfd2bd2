"""Nodes for many exemplars and many targets: lists in, lists out, results into a folder that can be gone on with."""

from __future__ import annotations

from typing import Any

from comfy_api.v0_0_2 import io, ui
from torch import Tensor
from typing_extensions import override

from ..amadapter_core.datasets import KINDS
from ..amadapter_core.hosts.comfy import batch
from ..amadapter_core.hosts.comfy.exemplar import HostExemplar
from ..amadapter_core.hosts.comfy.folders import palettes
from ..amadapter_core.hosts.comfy.training_pairs import folder_state
from ..amadapter_core.label_maps import LabelMap
from ..amadapter_core.pairing import PAIRINGS, SEEDS
from .errors import naming
from .sockets import BatchRowType, ExemplarType, LabelMapType

CATEGORY = "AM-Adapter/batch"
_SEED = 0xFFFFFFFFFFFFFFFF


class AMAdapterLoadPairs(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterLoadPairs",
            display_name="Load Pairs from Folder",
            category=CATEGORY,
            description="Loads pictures with their label maps, or label maps alone, as lists: what follows runs once "
            "for each.",
            search_aliases=["batch", "folder", "data set", "dataset", "load images", "list", "BDD100K", "AM-Adapter"],
            inputs=[
                io.String.Input("folder", default="", tooltip="A folder in ComfyUI's input folder, or a full path."),
                io.Combo.Input(
                    "kind",
                    options=[*KINDS, batch.MAPS],
                    tooltip="How the data set is unpacked. folder: images/ and labels/ with files of the same names; "
                    "label maps alone: any folder of them, for targets.",
                ),
                io.String.Input(
                    "split", default="", tooltip="train, val or the like; empty takes all that have label maps."
                ),
                io.Combo.Input(
                    "palette",
                    options=[batch.OWN_TABLE, *palettes()],
                    default=batch.OWN_TABLE,
                    tooltip="The table of class names and ids. A plain folder has none of its own: choose one for it.",
                ),
                io.Combo.Input(
                    "reading",
                    options=["ids", "colours"],
                    tooltip="Whether label maps in a plain folder hold class ids or colours.",
                ),
                io.Int.Input("first", default=0, min=0, max=10_000_000, tooltip="Number of the first one; 0 is it."),
                io.Int.Input(
                    "count",
                    default=16,
                    min=0,
                    max=100_000,
                    tooltip="How many are loaded at once, all of them into memory; 0 is all there are.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "images", is_output_list=True, tooltip="A list of the pictures; of label maps alone, their colours."
                ),
                LabelMapType.Output("labels", is_output_list=True, tooltip="A list of their label maps."),
                io.String.Output(
                    "names", is_output_list=True, tooltip="A list of their names: places in the folder, without ending."
                ),
            ],
        )

    @classmethod
    @override
    def fingerprint_inputs(cls, folder: str | None = None, **_: Any) -> str:
        return folder_state(folder or "")

    @classmethod
    @override
    def execute(
        cls, folder: str, kind: str, split: str, palette: str, reading: str, first: int, count: int
    ) -> io.NodeOutput:
        with naming(cls):
            pairs = batch.load_pairs(folder, kind, split, palette, reading, first, count)
        return io.NodeOutput(
            [pair.image for pair in pairs], [pair.labels for pair in pairs], [pair.name for pair in pairs]
        )


class AMAdapterPairExemplars(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterPairExemplars",
            display_name="Pair Exemplars with Targets",
            category=CATEGORY,
            description="Makes rows of a list of exemplars and a list of targets, and gives those that have no result "
            "yet, a few each time it is queued: what follows runs once for each.",
            search_aliases=["batch", "M x N", "all pairs", "product", "grid", "queue", "resume", "list", "AM-Adapter"],
            is_input_list=True,
            is_output_node=True,
            inputs=[
                ExemplarType.Input("exemplars", tooltip="A list, as Encode Exemplar gives for a list of images."),
                LabelMapType.Input("target_labels", tooltip="A list of label maps, or a batch."),
                io.String.Input(
                    "folder",
                    default="am_adapter_batch",
                    tooltip="Of the results, in ComfyUI's output folder. Rows that are finished there are left out; "
                    "other settings need another folder.",
                ),
                io.Combo.Input(
                    "pairing",
                    options=list(PAIRINGS),
                    tooltip="in order: as many exemplars as targets, or a multiple, the first of them for the first "
                    "target: what Retrieve Exemplars gives.",
                ),
                io.Int.Input(
                    "seed", default=0, min=0, max=_SEED, control_after_generate=False, tooltip="Of the sampler."
                ),
                io.Combo.Input(
                    "seeds",
                    options=list(SEEDS),
                    tooltip="Which rows have the same seed. Others are drawn from names, so they stay when exemplars "
                    "or targets are added.",
                ),
                io.Int.Input(
                    "repeats", default=1, min=1, max=1000, tooltip="Rows of each pair, each with the next seed."
                ),
                io.Int.Input(
                    "rows_at_once",
                    default=4,
                    min=1,
                    max=100_000,
                    tooltip="How many rows one run of the queue makes. Results are saved when all of them are sampled, "
                    "so few lose little when it breaks off.",
                ),
                io.Combo.Input(
                    "save",
                    options=list(batch.KINDS),
                    tooltip="What Save Batch Results keeps: the pictures, triplets of exemplar, label maps and "
                    "picture, or both. A row is finished when it is there.",
                ),
                io.Image.Input(
                    "exemplar_images", optional=True, tooltip="The exemplars' pictures, for triplets: one for each."
                ),
                io.String.Input(
                    "exemplar_names",
                    optional=True,
                    force_input=True,
                    tooltip="A list of names, one for each; otherwise what Encode Exemplar was told.",
                ),
                io.String.Input(
                    "target_names",
                    optional=True,
                    force_input=True,
                    tooltip="A list of names, one for each; otherwise targets are numbered.",
                ),
            ],
            outputs=[
                ExemplarType.Output("exemplar", is_output_list=True, tooltip="A list: the exemplar of each row."),
                LabelMapType.Output("target", is_output_list=True, tooltip="A list: the label map of each row."),
                io.Int.Output("row_seed", is_output_list=True, tooltip="A list: the seed of each row, for KSampler."),
                io.String.Output("name", is_output_list=True, tooltip="A list: EXEMPLAR/TARGET of each row."),
                BatchRowType.Output("row", is_output_list=True, tooltip="A list, for Save Batch Results."),
                io.String.Output("report", tooltip="How many rows there are, are finished, and are made now."),
            ],
        )

    @classmethod
    @override
    def fingerprint_inputs(cls, folder: list[str] | str | None = None, **_: Any) -> str:
        return batch.results_state(folder[0] if isinstance(folder, list) else folder)

    @classmethod
    @override
    def execute(
        cls,
        exemplars: list[HostExemplar],
        target_labels: list[LabelMap],
        folder: list[str],
        pairing: list[str],
        seed: list[int],
        seeds: list[str],
        repeats: list[int],
        rows_at_once: list[int],
        save: list[str],
        exemplar_images: list[Tensor] | None = None,
        exemplar_names: list[str] | None = None,
        target_names: list[str] | None = None,
    ) -> io.NodeOutput:
        with naming(cls):
            rows = batch.make_rows(
                exemplars,
                target_labels,
                folder[0],
                save=save[0],
                images=exemplar_images,
                exemplar_names=exemplar_names,
                target_names=target_names,
                pairing=pairing[0],
                seed=seed[0],
                seeds=seeds[0],
                repeats=repeats[0],
            )
            left = batch.unfinished(rows)
        now = left[: rows_at_once[0]]
        report = f"{len(rows)} rows, {len(rows) - len(left)} finished, {len(now)} now, {len(left) - len(now)} later"
        lists = zip(*((row.exemplar, row.target, row.seed, row.name, row) for row in now), strict=True)
        outputs = map(list, lists) if now else [batch.NOTHING] * 5
        return io.NodeOutput(*outputs, report, ui=ui.PreviewText(report))


class AMAdapterSaveBatch(io.ComfyNode):
    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="AMAdapterSaveBatch",
            display_name="Save Batch Results",
            category=CATEGORY,
            description="Writes the result of each row under its name into the folder that Pair Exemplars with Targets "
            "names, with a manifest of exemplars, targets and seeds.",
            search_aliases=["batch", "save images", "manifest", "triplets", "resume", "AM-Adapter"],
            is_output_node=True,
            inputs=[
                io.Image.Input("result", tooltip="The picture of the row, one for each."),
                BatchRowType.Input("row", tooltip="From Pair Exemplars with Targets."),
            ],
            outputs=[
                io.String.Output("file", tooltip="Where the picture is, below ComfyUI's output folder."),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
        )

    @classmethod
    @override
    def execute(cls, result: Tensor, row: batch.BatchRow) -> io.NodeOutput:
        metadata = {"prompt": cls.hidden.prompt, **(cls.hidden.extra_pnginfo or {})} if cls.hidden else {}
        with naming(cls):
            files = batch.save_row(row, result, metadata)
        shown = [ui.SavedResult(file.name, file.parent.as_posix(), io.FolderType.output) for file in files]
        return io.NodeOutput(files[0].as_posix(), ui=ui.SavedImages(shown))


NODES: tuple[type[io.ComfyNode], ...] = (AMAdapterLoadPairs, AMAdapterPairExemplars, AMAdapterSaveBatch)
