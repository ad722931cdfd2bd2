"""Running ComfyUIs as workers: a workflow is queued once per row, its pictures and numbers exchanged for the row's.

The workflow is a prompt in ComfyUI's API format (Workflow > Export (API)). Nodes are found by their titles: the loaders
called "exemplar", "exemplar labels" and "target labels" get the row's files, texts called "prompt" and "negative
prompt" the row's words, and what is called "seed", or else every sampler, the row's seed. The picture is the one saved
by the node called "result", or the only one. All other settings are the workflow's.
"""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from pathlib import Path
from typing import Any

from ..result_folder import RESULT
from ..text_files import read_json
from .comfy_client import Client, Refused, Unreachable
from .plan import Row
from .running import Outcome

FILES = {"exemplar": "exemplar", "exemplar labels": "exemplar_labels", "target labels": "target_labels"}
TEXTS = {"prompt": "prompt", "negative prompt": "negative_prompt"}
RESULT_TITLE = "result"
SEED_TITLE = "seed"
SAMPLERS = ("KSampler", "KSamplerAdvanced", "SamplerCustom", "RandomNoise")
SEEDS = ("seed", "noise_seed", "value")
"""Names under which nodes hold a seed."""
FOLDER = "am_adapter_batch"
"""Below the server's input folder."""


class Workflow:
    """
    :param path: a prompt in the API format.
    :raises ValueError: something else, or one without the nodes that a plan needs.
    """

    def __init__(self, path: str | Path):
        path = Path(path)
        try:
            prompt = read_json(path, f"batch: {path}")
        except FileNotFoundError as error:
            raise FileNotFoundError(f"batch: no workflow {path.absolute()}") from error
        if isinstance(prompt, dict) and "nodes" in prompt:
            raise ValueError(
                f"batch: {path} is a workflow as the page saves it; export it with Workflow > Export (API)"
            )
        nodes = prompt.values() if isinstance(prompt, dict) else ()
        if not nodes or not all(map(_is_node, nodes)):
            raise ValueError(f"batch: {path} is no prompt in ComfyUI's API format")
        self.prompt: dict[str, Any] = prompt
        self.titles: dict[str, list[str]] = {}
        for key, node in prompt.items():
            title = str(node.get("_meta", {}).get("title", "")).strip().lower()
            self.titles.setdefault(title, []).append(key)
        if "target labels" not in self.titles:
            raise ValueError(
                f"batch: no node of {path} is called 'target labels'; give the loaders the titles {', '.join(FILES)}, "
                f"and what takes the row's words {', '.join(TEXTS)}"
            )

    def filled(self, row: Row, places: dict[str, str]) -> dict[str, Any]:
        """The prompt of a row.

        :param places: names of the row's files on the server, by role.
        """
        prompt = copy.deepcopy(self.prompt)
        for title, role in FILES.items():
            for key in self.titles.get(title, ()):
                prompt[key]["inputs"]["image"] = places[role]
        for title, name in TEXTS.items():
            for key in self.titles.get(title, ()):
                prompt[key]["inputs"]["text"] = getattr(row.settings, name)
        samplers = [key for key, node in prompt.items() if node["class_type"] in SAMPLERS]
        for key in self.titles.get(SEED_TITLE, samplers):
            for name in SEEDS:
                if isinstance(prompt[key]["inputs"].get(name), int):
                    prompt[key]["inputs"][name] = row.seed
        return prompt

    def result(self, outputs: dict[str, Any]) -> dict[str, str]:
        """Where the row's picture is, in the history of its prompt.

        :raises ValueError: none was saved, or several.
        """
        titled = self.titles.get(RESULT_TITLE, ())
        saved = [
            picture
            for key, output in outputs.items()
            if not titled or key in titled
            for picture in output.get("images", ())
            if picture["type"] == "output"
        ]
        if len(saved) != 1:
            raise ValueError(
                f"the workflow saved {len(saved)} pictures, expected one; call the Save Image node that counts "
                f"{RESULT_TITLE!r}, and make one picture at a time"
            )
        return saved[0]

    def made_by(self) -> str:
        """A digest of it."""
        return hashlib.sha256(json.dumps(self.prompt, sort_keys=True).encode()).hexdigest()[:24]


class ServerPool:
    """
    :param urls: of running ComfyUIs; each makes one row at a time.
    :param root: folder that the rows' paths start from.
    """

    def __init__(self, urls: Sequence[str], workflow: Workflow, root: Path):
        self.clients = [Client(url) for url in urls]
        self.workflow, self.root = workflow, root
        self._threads = ThreadPoolExecutor(len(self.clients))
        self._running: dict[Future[Outcome], tuple[int, Row]] = {}
        self._lost: set[int] = set()

    @property
    def busy(self) -> int:
        return len(self._running)

    def free(self) -> list[int]:
        at_work = {worker for worker, _ in self._running.values()}
        return [worker for worker in range(len(self.clients)) if worker not in at_work | self._lost]

    def start(self, worker: int, row: Row) -> None:
        self._running[self._threads.submit(self._attempt, self.clients[worker], row)] = worker, row

    def wait(self) -> list[tuple[Row, Outcome]]:
        if not self._running:
            raise RuntimeError("batch: no ComfyUI answers any more; start them again, then give this command again")
        done, _ = wait_for(self._running, return_when=FIRST_COMPLETED)
        through = []
        for future in done:
            worker, row = self._running.pop(future)
            try:
                through.append((row, future.result()))
            except Unreachable as error:
                self._lost.add(worker)
                through.append((row, Outcome(message=str(error), again=True)))
        return through

    def close(self) -> None:
        """Let the rows under way end and take no more."""
        self._threads.shutdown(cancel_futures=True)

    def _attempt(self, client: Client, row: Row) -> Outcome:
        start = time.perf_counter()
        try:
            places = {role: client.upload(self.root / path, FOLDER) for role, path in row.files}
            history = client.run(self.workflow.filled(row, places))
            picture = client.download(self.workflow.result(history["outputs"]))
        except (Refused, ValueError, FileNotFoundError) as error:
            return Outcome(seconds=time.perf_counter() - start, message=str(error))
        told = {"server": client.url}
        return Outcome({RESULT: picture}, time.perf_counter() - start, told=told)


def _is_node(value: Any) -> bool:
    kinds = {"class_type": str, "inputs": dict, "_meta": dict}
    return isinstance(value, dict) and all(isinstance(({"_meta": {}} | value).get(k), t) for k, t in kinds.items())
