from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from ..failing import Handled, fail, lifespan_of

ROUTES = {"mounted": "/sub/{name}/raise"}


async def raising(request: Request) -> Response:
    fail("raise")


def sync(request: Request) -> Response:
    fail("sync")


async def mounted(request: Request) -> Response:
    fail("mounted")


async def websocket(socket: WebSocket) -> None:
    await socket.accept()
    fail("websocket")


async def background(request: Request) -> Response:
    return PlainTextResponse("ok", background=BackgroundTask(fail, "background"))


async def parts() -> AsyncIterator[bytes]:
    yield b"one"
    fail("stream")


async def stream(request: Request) -> Response:
    return StreamingResponse(parts())


async def handled(request: Request) -> Response:
    raise Handled("handled")


async def answer(request: Request, exception: Exception) -> Response:
    return PlainTextResponse("sorry", status_code=500)


async def left(request: Request) -> Response:
    return PlainTextResponse(await request.body())


def make(startup_fails: bool) -> Any:
    return Starlette(
        routes=[
            Route("/raise", raising),
            Route("/sync", sync),
            Mount("/sub/{name}", routes=[Route("/raise", mounted)]),
            WebSocketRoute("/websocket", websocket),
            Route("/background", background),
            Route("/stream", stream),
            Route("/handled", handled),
            Route("/left", left, methods=["POST"]),
        ],
        exception_handlers={Handled: answer},
        lifespan=lifespan_of(startup_fails),
    )
