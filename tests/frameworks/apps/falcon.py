from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import falcon
import falcon.asgi

from ..failing import Handled, fail

ROUTES = {"mounted": "/sub/{name}/raise"}


class Resource:
    def __init__(self, name: str) -> None:
        self.name = name

    async def on_get(self, request: Any, response: Any, **parameters: Any) -> None:
        fail(self.name)

    async def on_websocket(self, request: Any, socket: Any) -> None:
        await socket.accept()
        fail("websocket")


class Sync:
    async def on_get(self, request: Any, response: Any) -> None:
        await falcon.util.sync_to_async(fail, "sync")


class Background:
    async def on_get(self, request: Any, response: Any) -> None:
        response.text = "ok"
        response.schedule(self.later)

    async def later(self) -> None:
        fail("background")


class Stream:
    async def on_get(self, request: Any, response: Any) -> None:
        response.stream = self.parts()

    async def parts(self) -> AsyncIterator[bytes]:
        yield b"one"
        fail("stream")


class HandledResource:
    async def on_get(self, request: Any, response: Any) -> None:
        raise Handled("handled")


class Left:
    async def on_post(self, request: Any, response: Any) -> None:
        response.data = await request.stream.read()


async def answer(request: Any, response: Any, exception: Any, parameters: Any) -> None:
    response.status = falcon.HTTP_500
    response.text = "sorry"


class Startup:
    async def process_startup(self, scope: Any, event: Any) -> None:
        fail("startup")


def make(startup_fails: bool) -> Any:
    app = falcon.asgi.App(middleware=[Startup()] if startup_fails else [])
    app.add_route("/raise", Resource("raise"))
    app.add_route("/sync", Sync())
    app.add_route("/sub/{name}/raise", Resource("mounted"))
    app.add_route("/websocket", Resource("websocket"))
    app.add_route("/background", Background())
    app.add_route("/stream", Stream())
    app.add_route("/handled", HandledResource())
    app.add_route("/left", Left())
    app.add_error_handler(Handled, answer)
    return app
