"""The example workflows at work: offered in the browser, or run once for a picture. Only the standard library."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import host_client
import workflow
from environment import ROOT

WORKFLOWS = ROOT / "workflows"
MINIMAL = WORKFLOWS / "minimal_exemplar_synthesis.json"
MINIMAL_OF_DEMONSTRATION = MINIMAL.with_name(f"demo_{MINIMAL.name}")
# The one that runs on what is there; it comes with the demonstration's weights.
DEFAULT_WORKFLOW = MINIMAL_OF_DEMONSTRATION if MINIMAL_OF_DEMONSTRATION.is_file() else MINIMAL
TINY_PACK = ROOT / "tests" / "packs" / "tiny_sd15"


def copy_inputs(folder: Path) -> None:
    """Put the workflows' pictures and folders of them into ComfyUI's input folder; what is there stays."""
    folder.mkdir(parents=True, exist_ok=True)
    inputs = WORKFLOWS / "inputs"
    for picture in inputs.rglob("*.png"):
        own = folder / picture.relative_to(inputs)
        if not own.exists():
            own.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(picture, own)


def offer_workflow(base: Path, pack: str) -> str:
    """Put the default workflow among the user's own, unless one of its name is there.

    :return: the query that makes ComfyUI's page open it, "" when the user has met it before.
    """
    own = base / "user" / "default" / "workflows" / DEFAULT_WORKFLOW.name
    if own.exists():
        return ""
    own.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(DEFAULT_WORKFLOW, own)
    return f"/?template={DEFAULT_WORKFLOW.stem}&source={pack}"


def write_model_folders(file: Path, folders: list[Path]) -> None:
    """Write the configuration that makes ComfyUI look for models in further folders; JSON is YAML as well."""
    entries = {
        f"folder_{number}": {"base_path": str(folder)}
        | {sub.name: sub.name for sub in folder.iterdir() if has_models(sub)}
        for number, folder in enumerate(folders)
    }
    file.write_text(json.dumps(entries, indent=1), encoding="utf-8")


def has_models(folder: Path) -> bool:
    """Whether a folder has more in it than the placeholder that ComfyUI comes with."""
    return any(path.is_file() and not path.name.startswith("put_") for path in folder.rglob("*"))


def make_picture(url: str, graph: dict, output: Path, *, tiny: bool) -> None:
    """Run a workflow and write the first picture it saves.

    :param graph: the workflow as the frontend saves it.
    :param tiny: run it on the tests' tiny model.
    :raises WorkflowError: when it saves no picture; PromptError when it fails.
    """
    start = time.monotonic()
    prompt = workflow.to_prompt(graph, host_client.ask(f"{url}/object_info"))
    pictures = host_client.saved_pictures(host_client.run(url, workflow.on_tiny_model(prompt) if tiny else prompt))
    if not pictures:
        raise workflow.WorkflowError("the workflow ran but saved no picture; add a Save Image node.")
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = output.with_name(f".{output.name}.unfinished")
    unfinished.write_bytes(host_client.download(url, pictures[0]))
    unfinished.replace(output)
    print(f"{output} after {time.monotonic() - start:.1f} s", flush=True)
