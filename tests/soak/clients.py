"""A client as the frontend is one: it queues prompts under an id of its own and listens on a websocket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import aiohttp

from .graphs import Graph
from .server import Outcome, Server


class Client:
    """Queues graphs and keeps what it is told.

    :param host: tests/conftest.py's `HostServer`.
    """

    def __init__(self, host: Any, client_id: str) -> None:
        self.server = Server(host, client_id)
        self.outcomes: dict[str, Outcome] = {}
        self.heard: list[tuple[str, dict]] = []
        self.error: BaseException | None = None

    def work(self, references: Sequence[tuple[Graph, Outcome]]) -> None:
        """Queue all graphs, then wait for them in their order; for a thread of its own."""
        try:
            asyncio.run(self._work(references))
        except BaseException as error:  # the thread's starter raises it
            self.error = error

    def told_of(self, prompt_id: str) -> bool:
        """Whether the server told that a prompt of ours is through."""
        return any(event == "execution_success" and data.get("prompt_id") == prompt_id for event, data in self.heard)

    def foreign(self) -> list[tuple[str, dict]]:
        """Messages about prompts of others."""
        return [(event, data) for event, data in self.heard if data.get("prompt_id") not in (None, *self.outcomes)]

    async def _work(self, references: Sequence[tuple[Graph, Outcome]]) -> None:
        url = f"{self.server.host.url}/ws?clientId={self.server.client_id}"
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            listening = asyncio.create_task(self._listen(socket))
            queued = [(await asyncio.to_thread(self.server.queue, graph.prompt))[0] for graph, _ in references]
            for prompt_id in queued:
                self.outcomes[prompt_id] = await asyncio.to_thread(self.server.wait, prompt_id)
            await asyncio.sleep(0.5)  # the last messages
            listening.cancel()

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type == aiohttp.WSMsgType.TEXT:  # others are previews
                told = json.loads(message.data)
                self.heard.append((told["type"], told["data"]))
