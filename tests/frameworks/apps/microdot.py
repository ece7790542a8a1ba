from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from microdot.asgi import Microdot, with_websocket

from ..failing import Handled, fail

ROUTES = {"mounted": "/sub/<name>/raise"}
WITHOUT = {"startup", "background"}  # has neither


def make(startup_fails: bool) -> Any:
    app = Microdot()
    part = Microdot()

    @app.get("/raise")
    async def raising(request: Any) -> Any:
        fail("raise")

    @app.get("/sync")
    def sync(request: Any) -> Any:
        fail("sync")

    @part.get("/<name>/raise")
    async def mounted(request: Any, name: str) -> Any:
        fail("mounted")

    @app.get("/websocket")
    @with_websocket
    async def connected(request: Any, socket: Any) -> None:
        fail("websocket")

    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        fail("stream")

    @app.get("/stream")
    async def stream(request: Any) -> Any:
        return parts()

    @app.get("/handled")
    async def handled(request: Any) -> Any:
        raise Handled("handled")

    @app.errorhandler(Handled)
    async def answer(request: Any, exception: Exception) -> Any:
        return "sorry", 500

    @app.post("/left")
    async def left(request: Any) -> Any:
        return str(request.body)

    app.mount(part, url_prefix="/sub")
    return app
