from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from nexios import NexiosApp
from nexios.routing import Router

from ..failing import Handled, fail

ROUTES = {"mounted": "/sub/{name}/raise"}
WITHOUT = {"background"}  # has none of its own


def make(startup_fails: bool) -> Any:
    app = NexiosApp()
    part = Router(prefix="/sub")

    @app.on_startup
    async def start() -> None:
        if startup_fails:
            fail("startup")

    @app.get("/raise")
    async def raising(request: Any, response: Any) -> Any:
        fail("raise")

    @app.get("/sync")
    def sync(request: Any, response: Any) -> Any:
        fail("sync")

    @part.get("/{name}/raise")
    async def mounted(request: Any, response: Any, name: str) -> Any:
        fail("mounted")

    @app.ws_route("/websocket")
    async def connected(socket: Any) -> None:
        await socket.accept()
        fail("websocket")

    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        fail("stream")

    @app.get("/stream")
    async def stream(request: Any, response: Any) -> Any:
        return response.stream(parts())

    @app.get("/handled")
    async def handled(request: Any, response: Any) -> Any:
        raise Handled("handled")

    async def answer(request: Any, response: Any, exception: Exception) -> Any:
        return response.text("sorry", status_code=500)

    @app.post("/left")
    async def left(request: Any, response: Any) -> Any:
        return response.text(str(await request.body))

    app.add_exception_handler(Handled, answer)
    app.mount_router(part)
    return app
