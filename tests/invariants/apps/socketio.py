"""Socket.IO around the matrix's Starlette application: a handler of an event fails, in a task of its own."""

from __future__ import annotations

from typing import Any

import socketio

from tests.frameworks.apps import starlette
from tests.frameworks.failing import fail
from tests.invariants import requests
from tests.invariants.requests import Request

# Of the SDK's integrations, those that tell of what failed: nobody asks for the task's exception, which asyncio logs.
TOLD_BY = {"websocket": {"logging"}}


def request_of(cell: str) -> Request:
    if cell != "websocket":
        return requests.request_of(cell)
    packets = [{"type": "websocket.receive", "text": text} for text in ("40", '42["fail"]')]
    gone = {"type": "websocket.disconnect", "code": 1000}
    messages = [{"type": "websocket.connect"}, *packets, gone]
    headers = [(b"connection", b"upgrade"), (b"upgrade", b"websocket")]
    return Request("/socket.io/", messages, query="&EIO=4&transport=websocket", headers=headers)


def make(startup_fails: bool) -> Any:
    server = socketio.AsyncServer(async_mode="asgi")

    @server.on("fail")
    async def failing(sid: str) -> None:
        fail("websocket")

    return socketio.ASGIApp(server, starlette.make(startup_fails))
