from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import muffin
from muffin import ResponseStream

from ..failing import Handled, fail

ROUTES = {"mounted": "/sub/{name}/raise"}


def make(startup_fails: bool) -> Any:
    app = muffin.Application()
    part = muffin.Application()

    @app.on_startup
    async def start() -> None:
        if startup_fails:
            fail("startup")

    @app.route("/raise")
    async def raising(request: Any) -> Any:
        fail("raise")

    @app.route("/sync")
    def sync(request: Any) -> Any:
        fail("sync")

    @part.route("/{name}/raise")
    async def mounted(request: Any) -> Any:
        fail("mounted")

    @app.route("/websocket")
    async def connected(request: Any) -> Any:
        socket = muffin.ResponseWebSocket(request)
        await socket.accept()
        fail("websocket")

    async def later() -> None:
        fail("background")

    @app.route("/background")
    async def background(request: Any) -> Any:
        app.run_after_response(later())
        return "ok"

    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        fail("stream")

    @app.route("/stream")
    async def stream(request: Any) -> Any:
        return ResponseStream(parts())

    @app.route("/handled")
    async def handled(request: Any) -> Any:
        raise Handled("handled")

    @app.on_error(Handled)
    async def answer(request: Any, exception: Exception) -> Any:
        return muffin.ResponseText("sorry", status_code=500)

    @app.route("/left", methods=["POST"])
    async def left(request: Any) -> Any:
        return str(await request.body())

    app.route("/sub")(part)
    return app
