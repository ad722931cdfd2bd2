"""Make the pictures that ComfyUI's templates show, `workflows/NAME.jpg`: `make_thumbnails.py [NAME ...]`.

Each workflow of the demonstration family runs on a server of its own and is shown by its result, with the exemplar and
the target's label map in the corners, or two exemplars; its twin on Stable Diffusion 1.5 gets the same picture. What
has no such twin, and what trains, is shown by its inputs. Needs Pillow: run it in `.venv`.
"""

from __future__ import annotations

import argparse
import io
import sys
import uuid
from collections.abc import Sequence

import environment
import examples
import host_client
import run
import workflow
from environment import SetupError
from PIL import Image, ImageOps

SIDE = 448
INSET, FRAME = 124, 3
LARGEST = 60_000
"""Bytes of a file."""
QUALITIES = (90, 80, 70, 50, 30)
DEMO = "demo_"
TRAINING = ("AMAdapterTrainStructure", "AMAdapterTrainMatcher")
LOADERS = ("LoadImage", "AMAdapterLoadLabelMap")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="workflows, with or without demo_; by default all")
    parser.add_argument("--url", help="of a running ComfyUI with this pack and its inputs, instead of a new one")
    options = parser.parse_args()
    there = {path.stem.removeprefix(DEMO) for path in examples.WORKFLOWS.glob("*.json")}
    wanted = sorted({name.removeprefix(DEMO) for name in options.names} or there)
    if unknown := set(wanted) - there:
        raise SetupError(f"no workflow is called {', '.join(sorted(unknown))}; there are {', '.join(sorted(there))}.")
    runs = [name for name in wanted if can_run(name)]
    for name in wanted:
        if name not in runs:
            write(name, *inputs_of(name))
    if runs and options.url:
        show_results(options.url, runs)
    elif runs:
        with_server(runs)
    return 0


def can_run(name: str) -> bool:
    """Whether a workflow has a twin on the demonstration family that makes a picture in seconds."""
    path = examples.WORKFLOWS / f"{DEMO}{name}.json"
    return path.is_file() and not any(node["type"] in TRAINING for node in workflow.read(path)["nodes"])


def with_server(names: Sequence[str]) -> None:
    """Start a ComfyUI with this pack for as long as the workflows run."""
    prepared = environment.prepare(use_venv=False)
    port = run.free_port("127.0.0.1")
    with run.base_directory(temporary=True) as base:
        run.link_pack(base / "custom_nodes" / run.PACK)
        examples.copy_inputs(run.INPUTS)
        command = run.host_command(prepared, base, "127.0.0.1", port)
        with run.Host(command, prepared.comfyui, echo=False) as host:
            url = run.local_url("127.0.0.1", port)
            host.wait_until_ready(url)
            run.report_pack(host.lines, url)
            show_results(url, names)


def show_results(url: str, names: Sequence[str]) -> None:
    nodes = host_client.ask(f"{url}/object_info")
    for name in names:
        prompt = workflow.to_prompt(workflow.read(examples.WORKFLOWS / f"{DEMO}{name}.json"), nodes)
        for node in prompt.values():
            if node["class_type"] == "AMAdapterPairExemplars":  # which leaves out what lies in its folder already
                node["inputs"]["folder"] = f"thumbnails/{uuid.uuid4().hex}"
        saved = shown_nodes(prompt)
        history = host_client.run(url, prompt | saved)
        pictures = {
            key: [fetch(url, place) for place in history["outputs"][key]["images"]]
            for key in saved
            if key in history["outputs"]
        }
        results, exemplars = pictures["result"], pictures.get("exemplar", [])
        if len(exemplars) < 2:
            exemplars += pictures.get("target", [])[:1]
        write(name, results, exemplars)


def shown_nodes(prompt: dict) -> dict:
    """Nodes that save what a thumbnail shows: the result, and where it comes from if that is one picture."""
    shown = {}
    for node in prompt.values():
        inputs = node["inputs"]
        if node["class_type"] == "AMAdapterSaveBatch":
            shown["result"] = inputs["result"]
        if node["class_type"] == "AMAdapterTriplet":
            shown |= {"result": inputs["result"], "exemplar": inputs["exemplar"], "target": ["target_colours", 0]}
            labels = inputs["target_labels"]
    made = {
        key: {"class_type": "SaveImage", "inputs": {"images": source, "filename_prefix": f"thumbnails/{key}"}}
        for key, source in shown.items()
    }
    if "target" in made:
        made["target_colours"] = {"class_type": "AMAdapterLabelMapToImage", "inputs": {"labels": labels}}
    return made


def fetch(url: str, place: dict) -> Image.Image:
    return Image.open(io.BytesIO(host_client.download(url, place))).convert("RGB")


def inputs_of(name: str) -> tuple[list[Image.Image], list[Image.Image]]:
    """The pictures that a workflow loads: four as they are, or the last one, which is the target, with the others."""
    nodes = workflow.read(examples.WORKFLOWS / f"{name}.json")["nodes"]
    files = dict.fromkeys(node["widgets_values"][0] for node in nodes if node["type"] in LOADERS)
    pictures = [Image.open(examples.WORKFLOWS / "inputs" / file).convert("RGB") for file in files]
    return (pictures[:4], []) if len(pictures) > 3 else (pictures[-1:], pictures[:-1])


def write(name: str, pictures: Sequence[Image.Image], insets: Sequence[Image.Image]) -> None:
    """Write the thumbnail of a workflow and of its twin."""
    content = encoded(arranged(pictures, insets))
    for stem in (name, f"{DEMO}{name}"):
        path = examples.WORKFLOWS / f"{stem}.jpg"
        if path.with_suffix(".json").is_file():
            unfinished = path.with_name(f".{path.name}.unfinished")
            unfinished.write_bytes(content)
            unfinished.replace(path)
            print(f"{path.name}: {len(content) / 1000:.0f} kB", flush=True)


def arranged(pictures: Sequence[Image.Image], insets: Sequence[Image.Image]) -> Image.Image:
    """Pictures as columns, four of them as a square; insets in the lower corners, from the left."""
    columns, rows = (2, 2) if len(pictures) == 4 else (len(pictures), 1)
    page = Image.new("RGB", (SIDE, SIDE), "white")
    for number, picture in enumerate(pictures):
        left, right = (round(SIDE * at / columns) for at in (number % columns, number % columns + 1))
        top, bottom = (round(SIDE * at / rows) for at in (number // columns, number // columns + 1))
        page.paste(ImageOps.fit(picture, (right - left - (right < SIDE), bottom - top - (bottom < SIDE))), (left, top))
    for number, picture in enumerate(insets):
        framed = ImageOps.expand(ImageOps.fit(picture, (INSET, INSET)), FRAME, "white")
        page.paste(framed, ((SIDE - framed.width) * number, SIDE - framed.height))
    return page


def encoded(page: Image.Image) -> bytes:
    """JPEG in the best quality that is small enough."""
    for quality in QUALITIES:
        stream = io.BytesIO()
        page.save(stream, "JPEG", quality=quality, optimize=True)
        if stream.tell() < LARGEST:
            break
    return stream.getvalue()


if __name__ == "__main__":
    sys.exit(environment.run_command(main))
