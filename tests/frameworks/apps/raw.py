from __future__ import annotations

from typing import Any

from ..failing import Handled, fail

ROUTES = {"mounted": "/sub/42/raise"}
WITHOUT = {"sync", "background"}


def make(startup_fails: bool) -> Any:
    async def lifespan(receive: Any, send: Any) -> None:
        await receive()
        if startup_fails:
            fail("startup")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def respond(send: Any, status: int, *parts: bytes) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})

    async def handled(send: Any) -> None:
        try:
            raise Handled("handled")
        except Handled:
            await respond(send, 500, b"sorry")
            await send({"type": "http.response.body"})

    async def left(receive: Any, send: Any) -> None:
        while (message := await receive()).get("more_body"):
            pass
        if message["type"] == "http.request":
            await respond(send, 200, b"ok")
            await send({"type": "http.response.body"})

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await lifespan(receive, send)
        path = scope["path"]
        if path == "/websocket":
            await receive()
            await send({"type": "websocket.accept"})
            fail("websocket")
        if path == "/stream":
            await respond(send, 200, b"one")
            fail("stream")
        if path == "/handled":
            return await handled(send)
        if path == "/left":
            return await left(receive, send)
        fail("mounted" if path.startswith("/sub/") else "raise")

    return app
