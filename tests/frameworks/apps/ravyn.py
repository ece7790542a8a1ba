from collections.abc import AsyncIterator
from typing import Any

from lilya.background import Task
from lilya.responses import PlainText, StreamingResponse
from ravyn import Gateway, Include, Ravyn, Request, WebSocketGateway, get, post, websocket
from ravyn.websockets import WebSocket

from ..failing import Handled, fail

ROUTES = {"mounted": "/sub/{name}/raise"}


@get("/raise")
async def raising() -> None:
    fail("raise")


@get("/sync")
def sync() -> None:
    fail("sync")


@get("/{name}/raise")
async def mounted(name: str) -> None:
    fail("mounted")


@websocket("/websocket")
async def connected(socket: WebSocket) -> None:
    await socket.accept()
    fail("websocket")


@get("/background")
async def background() -> PlainText:
    return PlainText("ok", background=Task(fail, "background"))


async def parts() -> AsyncIterator[bytes]:
    yield b"one"
    fail("stream")


@get("/stream")
async def stream() -> StreamingResponse:
    return StreamingResponse(parts())


@get("/handled")
async def handled() -> None:
    raise Handled("handled")


async def answer(request: Request, exception: Exception) -> PlainText:
    return PlainText("sorry", status_code=500)


@post("/left")
async def left(request: Request) -> None:
    await request.body()


def make(startup_fails: bool) -> Any:
    async def start() -> None:
        if startup_fails:
            fail("startup")

    return Ravyn(
        routes=[
            Gateway(handler=raising),
            Gateway(handler=sync),
            Include("/sub", routes=[Gateway(handler=mounted)]),
            WebSocketGateway(handler=connected),
            Gateway(handler=background),
            Gateway(handler=stream),
            Gateway(handler=handled),
            Gateway(handler=left),
        ],
        exception_handlers={Handled: answer},
        on_startup=[start],
    )
