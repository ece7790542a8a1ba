from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, BackgroundTasks, FastAPI, Request, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse

from ..failing import Handled, fail, lifespan_of

ROUTES = {"mounted": "/sub/{name}/raise"}


def make(startup_fails: bool) -> Any:
    app = FastAPI(lifespan=lifespan_of(startup_fails))
    router = APIRouter()

    @app.get("/raise")
    async def raising() -> None:
        fail("raise")

    @app.get("/sync")
    def sync() -> None:
        fail("sync")

    @router.get("/{name}/raise")
    async def mounted(name: str) -> None:
        fail("mounted")

    @app.websocket("/websocket")
    async def websocket(socket: WebSocket) -> None:
        await socket.accept()
        fail("websocket")

    @app.get("/background")
    async def background(tasks: BackgroundTasks) -> str:
        tasks.add_task(fail, "background")
        return "ok"

    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        fail("stream")

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(parts())

    @app.get("/handled")
    async def handled() -> None:
        raise Handled("handled")

    @app.exception_handler(Handled)
    async def answer(request: Request, exception: Exception) -> PlainTextResponse:
        return PlainTextResponse("sorry", status_code=500)

    @app.post("/left")
    async def left(request: Request) -> str:
        return str(await request.body())

    app.include_router(router, prefix="/sub")
    return app
