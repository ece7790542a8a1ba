from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from litestar import Litestar, MediaType, Request, Response, Router, WebSocket, get, post, websocket
from litestar.background_tasks import BackgroundTask
from litestar.response import Stream

from ..failing import Handled, fail

ROUTES = {"mounted": "/sub/{name}/raise"}


@get("/raise")
async def raising() -> None:
    fail("raise")


@get("/sync", sync_to_thread=True)
def sync() -> None:
    fail("sync")


@get("/{name:str}/raise")
async def mounted(name: str) -> None:
    fail("mounted")


@websocket("/websocket")
async def connected(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    fail("websocket")


async def later() -> None:
    fail("background")


@get("/background", media_type=MediaType.TEXT)
async def background() -> Response[str]:
    return Response("ok", background=BackgroundTask(later))


async def parts() -> AsyncIterator[bytes]:
    yield b"one"
    fail("stream")


@get("/stream")
async def stream() -> Stream:
    return Stream(parts())


@get("/handled")
async def handled() -> None:
    raise Handled("handled")


def answer(request: Request[Any, Any, Any], exception: Exception) -> Response[str]:
    return Response("sorry", status_code=500, media_type=MediaType.TEXT)


@post("/left")
async def left(request: Request[Any, Any, Any]) -> None:
    await request.body()


def make(startup_fails: bool, middleware: Any = ()) -> Any:
    async def start() -> None:
        if startup_fails:
            fail("startup")

    return Litestar(
        [
            raising,
            sync,
            Router("/sub", route_handlers=[mounted]),
            connected,
            background,
            stream,
            handled,
            left,
        ],
        exception_handlers={Handled: answer},
        on_startup=[start],
        middleware=middleware,
    )
