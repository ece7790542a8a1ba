from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from blacksheep import Application, Content, Request, Response, StreamedContent, WebSocket, text

from ..failing import Handled, fail

ROUTES = {"mounted": "/sub/{name}/raise"}
WITHOUT = {"background"}  # has none


def make(startup_fails: bool) -> Any:
    app = Application()
    router: Any = app.router

    @app.on_start
    async def start(app: Application) -> None:
        if startup_fails:
            fail("startup")

    async def raising(request: Request) -> Response:
        fail("raise")

    def sync(request: Request) -> Response:
        fail("sync")

    async def mounted(request: Request) -> Response:
        fail("mounted")

    async def connected(socket: WebSocket) -> None:
        await socket.accept()
        fail("websocket")

    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        fail("stream")

    async def stream(request: Request) -> Response:
        return Response(200, content=StreamedContent(b"text/plain", parts))

    async def handled(request: Request) -> Response:
        raise Handled("handled")

    async def answer(app: Any, request: Request, exception: Exception) -> Response:
        return Response(500, content=Content(b"text/plain", b"sorry"))

    async def left(request: Request) -> Response:
        return text(str(await request.read()))

    router.add_get("/raise", raising)
    router.add_get("/sync", sync)
    router.add_get("/sub/{name}/raise", mounted)
    router.add_ws("/websocket", connected)
    router.add_get("/stream", stream)
    router.add_get("/handled", handled)
    router.add_post("/left", left)
    app.exceptions_handlers[Handled] = answer
    return app
