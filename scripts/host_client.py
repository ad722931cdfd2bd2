"""Ask a running ComfyUI over HTTP: queue a prompt, wait for it, fetch its pictures. Only the standard library."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request

from environment import SetupError

POLL = 0.1

# The server runs on this computer; a proxy that the environment names has no part in reaching it.
LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class PromptError(SetupError):
    """A prompt that the server refused or that failed; the message names the node.

    :param node: id of the node, where one is to blame.
    """

    def __init__(self, message: str, node: str | None = None) -> None:
        super().__init__(message)
        self.node = node


def ask(url: str, body: dict | None = None) -> dict:
    """GET an address, or POST a body to it, and return the JSON of the answer."""
    with LOCAL.open(request(url, body), timeout=30) as answer:
        text = answer.read()
    return json.loads(text) if text else {}


def request(url: str, body: dict | None) -> urllib.request.Request:
    data = None if body is None else json.dumps(body).encode()
    return urllib.request.Request(url, data, {"Content-Type": "application/json"})


def run(url: str, prompt: dict, timeout: float = 3600.0) -> dict:
    """Queue a prompt and return its history entry once it is through.

    :raises PromptError: when the server refuses it, a node fails, or the time is over.
    """
    return wait(url, queue(url, prompt), timeout)


def queue(url: str, prompt: dict) -> str:
    """Queue a prompt and return its id.

    :raises PromptError: when the server refuses it, with its first complaint.
    """
    try:
        return ask(f"{url}/prompt", {"prompt": prompt})["prompt_id"]
    except urllib.error.HTTPError as error:
        raise refusal(json.load(error)) from error


def refusal(answer: dict) -> PromptError:
    for node, complaint in answer.get("node_errors", {}).items():
        first = complaint["errors"][0]
        return PromptError(f"node {node} ({complaint['class_type']}): {first['message']}: {first['details']}", node)
    error = answer["error"]
    return PromptError(f"ComfyUI refused the prompt: {error['message']} {error.get('details', '')}".strip())


def wait(url: str, prompt_id: str, timeout: float = 3600.0) -> dict:
    """Return the history entry of a prompt once it is through.

    :raises PromptError: when a node failed, or it takes longer than `timeout` seconds.
    """
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        entry = ask(f"{url}/history/{prompt_id}").get(prompt_id)
        if entry is not None:
            for event, data in entry["status"]["messages"]:
                if event == "execution_error":
                    raise failure(data)
            if not entry["status"]["completed"]:
                raise PromptError("the prompt was interrupted")
            return entry
        time.sleep(POLL)
    raise PromptError(f"the prompt was not through within {timeout:.0f} s")


def failure(data: dict) -> PromptError:
    message = f"node {data['node_id']} ({data['node_type']}): {data['exception_message'].strip()}"
    return PromptError(message, data["node_id"])


def saved_pictures(entry: dict) -> list[dict]:
    """Return where the pictures are that a prompt saved; previews are no results."""
    found = (picture for output in entry["outputs"].values() for picture in output.get("images", ()))
    return [picture for picture in found if picture["type"] == "output"]


def download(url: str, picture: dict) -> bytes:
    """Return the bytes of one of `saved_pictures`."""
    with LOCAL.open(f"{url}/view?{urllib.parse.urlencode(picture)}", timeout=30) as answer:
        return answer.read()
