from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from lilya.apps import Lilya
from lilya.background import Task
from lilya.requests import Request
from lilya.responses import PlainText, Response, StreamingResponse
from lilya.routing import Include, Path, WebSocketPath
from lilya.websockets import WebSocket

from ..failing import Handled, fail, lifespan_of

ROUTES = {"mounted": "/sub/{name}/raise"}


async def raising(request: Request) -> Response:
    fail("raise")


def sync(request: Request) -> Response:
    fail("sync")


async def mounted(request: Request) -> Response:
    fail("mounted")


async def connected(websocket: WebSocket) -> None:
    await websocket.accept()
    fail("websocket")


async def background(request: Request) -> Response:
    return PlainText("ok", background=Task(fail, "background"))


async def parts() -> AsyncIterator[bytes]:
    yield b"one"
    fail("stream")


async def stream(request: Request) -> Response:
    return StreamingResponse(parts())


async def handled(request: Request) -> Response:
    raise Handled("handled")


async def answer(request: Request, exception: Exception) -> Response:
    return PlainText("sorry", status_code=500)


async def left(request: Request) -> Response:
    return PlainText(str(await request.body()))


def make(startup_fails: bool) -> Any:
    return Lilya(
        routes=[
            Path("/raise", raising),
            Path("/sync", sync),
            Include("/sub/{name}", routes=[Path("/raise", mounted)]),
            WebSocketPath("/websocket", connected),
            Path("/background", background),
            Path("/stream", stream),
            Path("/handled", handled),
            Path("/left", left, methods=["POST"]),
        ],
        exception_handlers={Handled: answer},
        lifespan=lifespan_of(startup_fails),
    )
