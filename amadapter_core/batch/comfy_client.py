"""Talking to a running ComfyUI over HTTP, with the standard library alone."""

from __future__ import annotations

import hashlib
import http.client
import json
import secrets
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

POLL = 0.2


class Refused(Exception):
    """A prompt that the server refused or that failed there; the message names the node."""


class Unreachable(Exception):
    """The server does not answer."""


class Client:
    """
    :param url: as the page's, http://127.0.0.1:8188.
    """

    def __init__(self, url: str):
        self.url = url.rstrip("/")
        self._opener = urllib.request.build_opener()
        if urllib.parse.urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1"):
            # A proxy that the environment names has no part in reaching this computer.
            self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._uploaded: dict[Path, str] = {}

    def upload(self, path: Path, folder: str) -> str:
        """Put a picture into the server's input folder, once.

        :return: its name there, which follows from its content, so that the server knows it again.
        """
        if path not in self._uploaded:
            content = path.read_bytes()
            name = f"{hashlib.sha256(content).hexdigest()[:24]}{path.suffix.lower()}"
            boundary = secrets.token_hex(16)
            fields = {"subfolder": folder, "type": "input", "overwrite": "true"}
            parts = [
                f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
                for field, value in fields.items()
            ]
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'
            body = "".join([*parts, head]).encode() + content + f"\r\n--{boundary}--\r\n".encode()
            kind = f"multipart/form-data; boundary={boundary}"
            answer = json.loads(self._ask("upload/image", body, kind))
            self._uploaded[path] = "/".join(filter(None, [answer.get("subfolder"), answer["name"]]))
        return self._uploaded[path]

    def run(self, prompt: dict[str, Any]) -> dict[str, Any]:
        """Queue a prompt and return its history entry once it is through.

        :raises Refused: when the server refuses it, or a node fails.
        """
        queued = self._json("prompt", {"prompt": prompt})["prompt_id"]
        while (entry := self._history(queued)) is None:
            if not self._is_queued(queued) and self._history(queued) is None:
                raise Unreachable(f"ComfyUI at {self.url} knows nothing of its prompt any more; was it started anew?")
            time.sleep(POLL)
        for event, data in entry["status"]["messages"]:
            if event == "execution_error":
                raise Refused(f"node {data['node_id']} ({data['node_type']}): {data['exception_message'].strip()}")
        if not entry["status"]["completed"]:
            raise Refused("the prompt was interrupted at the server")
        return entry

    def download(self, picture: dict[str, str]) -> bytes:
        """A picture that a prompt saved."""
        return self._ask(f"view?{urllib.parse.urlencode(picture)}")

    def _history(self, queued: str) -> dict[str, Any] | None:
        return self._json(f"history/{queued}").get(queued)

    def _is_queued(self, queued: str) -> bool:
        queue = self._json("queue")
        return any(entry[1] == queued for entry in (*queue["queue_running"], *queue["queue_pending"]))

    def _json(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return json.loads(self._ask(path, None if body is None else json.dumps(body).encode()) or "{}")

    def _ask(self, path: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
        request = urllib.request.Request(f"{self.url}/{path}", body, {"Content-Type": kind})
        try:
            with self._opener.open(request, timeout=60) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            raise Refused(_complaint(error)) from error
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"no ComfyUI answers at {self.url}: {error}") from error


def _complaint(error: urllib.error.HTTPError) -> str:
    try:
        answer = json.loads(error.read())
        for node, complaint in answer.get("node_errors", {}).items():
            first = complaint["errors"][0]
            return f"node {node} ({complaint['class_type']}): {first['message']}: {first['details']}"
        return f"ComfyUI refused the prompt: {answer['error']['message']} {answer['error'].get('details', '')}".strip()
    except (ValueError, KeyError, TypeError, IndexError):
        return f"ComfyUI answered {error.code} {error.reason}"
