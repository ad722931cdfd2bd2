"""A ComfyUI to ask: what a prompt comes to, how much memory the server has, which files it leaves."""

from __future__ import annotations

import hashlib
import json
import time
import urllib.error
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from PIL import Image
from safetensors.torch import load_file

from .catalogue import PACK

REFUSED, FAILED, INTERRUPTED, DONE = "refused", "failed", "interrupted", "done"
UNFINISHED = ("*.part", "*.unfinished", "*.tmp")


@dataclass(frozen=True)
class Outcome:
    """What became of a prompt.

    :param state: REFUSED by the server, FAILED in a node, INTERRUPTED, or DONE.
    :param digest: of all results, "" where there are none.
    :param message: what the user is told where it failed.
    :param nodes: to whom the message is put down.
    """

    state: str
    digest: str
    message: str
    nodes: tuple[str, ...]
    seconds: float


class Server:
    """A client of a running ComfyUI.

    :param host: tests/conftest.py's `HostServer`.
    """

    def __init__(self, host: Any, client_id: str | None = None) -> None:
        self.host, self.client_id = host, client_id
        self.process = psutil.Process(host.pid)

    def object_info(self, node: str = "") -> dict:
        """What the server says about a node, or about all of them."""
        return self.host.client.ask(f"{self.host.url}/object_info/{node}".rstrip("/"))

    def titles(self) -> list[str]:
        """Display names of our nodes; every error of ours begins with one."""
        return [node["display_name"] for node in self.host.object_info.values() if node.get("python_module") == PACK]

    def rss(self) -> float:
        """Resident memory of the server in MiB."""
        return self.process.memory_info().rss / 2**20

    def post(self, what: str, **body: Any) -> None:
        self.host.client.ask(f"{self.host.url}/{what}", body)

    def queue(self, prompt: dict) -> tuple[str | None, dict]:
        """Queue a prompt.

        :return: its id, None when it is refused; and what the server says about its nodes.
        """
        body = {"prompt": prompt} | ({"client_id": self.client_id} if self.client_id else {})
        try:
            answer = self.host.client.ask(f"{self.host.url}/prompt", body)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            if error.code != 400:
                return None, {"error": {"message": f"{error.code}: {text}"}, "node_errors": {}}
            return None, json.loads(text)
        return answer["prompt_id"], answer

    def run(self, prompt: dict, timeout: float = 300.0) -> Outcome:
        """Queue a prompt and wait for it; a part that the server refuses counts as all refused."""
        start = time.monotonic()
        prompt_id, answer = self.queue(prompt)
        refused = refusal(answer)
        if prompt_id is None:
            return Outcome(REFUSED, "", refused[0], refused[1], time.monotonic() - start)
        outcome = self.wait(prompt_id, timeout)
        if refused[1]:
            outcome = Outcome(REFUSED, "", refused[0], refused[1], outcome.seconds)
        return outcome

    def wait(self, prompt_id: str, timeout: float = 300.0) -> Outcome:
        """What becomes of a prompt that is queued.

        :raises TimeoutError: when it takes longer than `timeout` seconds.
        """
        start = time.monotonic()
        while (outcome := self.seen(prompt_id, time.monotonic() - start)) is None:
            if time.monotonic() - start > timeout:
                raise TimeoutError(f"prompt {prompt_id} was not through within {timeout:.0f} s")
            time.sleep(0.1)
        return outcome

    def seen(self, prompt_id: str, seconds: float = 0.0) -> Outcome | None:
        """What became of a prompt, None while it waits or runs."""
        entry = self.host.client.ask(f"{self.host.url}/history/{prompt_id}").get(prompt_id)
        return None if entry is None else self.outcome(entry, seconds)

    def outcome(self, entry: dict, seconds: float) -> Outcome:
        """Read a history entry."""
        for event, data in entry["status"]["messages"]:
            if event == "execution_error":
                message = f"{data['exception_type']}: {data['exception_message'].strip()}"
                return Outcome(FAILED, "", message, (data["node_id"],), seconds)
            if event == "execution_interrupted":
                return Outcome(INTERRUPTED, "", "", (), seconds)
        digest = hashlib.sha256()
        for line in sorted(self.results(entry)):
            digest.update(line.encode())
        return Outcome(DONE, digest.hexdigest()[:16], "", (), seconds)

    def results(self, entry: dict) -> Iterator[str]:
        """A line for each picture, latent and text that a prompt gave."""
        kinds = {key: node["class_type"] for key, node in entry["prompt"][2].items()}
        for node, output in entry["outputs"].items():
            for place in output.get("images", ()):
                with Image.open(self.path(place)) as picture:
                    yield f"{node} {picture.size} {hashlib.sha256(picture.tobytes()).hexdigest()}"
            for place in output.get("latents", ()):
                latent = load_file(self.path(place))["latent_tensor"].contiguous()
                yield f"{node} {tuple(latent.shape)} {hashlib.sha256(latent.numpy().tobytes()).hexdigest()}"
            if kinds[node] == "PreviewAny":
                yield f"{node} {output['text']}"

    def path(self, place: dict) -> Path:
        return self.host.base / place["type"] / place.get("subfolder", "") / place["filename"]

    def strays(self) -> list[str]:
        """Files that no result of the history names in the temp folder, and unfinished ones anywhere."""
        history = self.host.client.ask(f"{self.host.url}/history")
        places = (p for entry in history.values() for o in entry["outputs"].values() for p in o.get("images", ()))
        named = {self.path(place) for place in places}
        temp = {path for path in (self.host.base / "temp").rglob("*") if path.is_file()}
        unfinished = {path for pattern in UNFINISHED for path in self.host.base.rglob(pattern)}
        return sorted(str(path.relative_to(self.host.base)) for path in (temp - named) | unfinished)


def refusal(answer: dict) -> tuple[str, tuple[str, ...]]:
    """What the server says against a prompt, and about which nodes."""
    errors = answer.get("node_errors") or {}
    told = [f"{e['message']}: {e['details']}" for node in errors.values() for e in node["errors"]]
    if answer.get("error") and not told:
        told = [f"{answer['error']['message']} {answer['error'].get('details', '')}".strip()]
        about = answer["error"].get("extra_info", {}).get("node_id")
        return told[0], (about,) if about else ()
    return "; ".join(told), tuple(errors)
