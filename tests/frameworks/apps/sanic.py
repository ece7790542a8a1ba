from __future__ import annotations

import itertools
from typing import Any

from sanic import Blueprint, Request, Sanic, Websocket
from sanic.response import text

from ..failing import Handled, fail

ROUTES = {"mounted": "/sub/<name:str>/raise"}
ALONE = True  # a second application in one process breaks

_numbers = itertools.count()


def make(startup_fails: bool) -> Any:
    app = Sanic(f"matrix{next(_numbers)}")
    part = Blueprint(f"part{next(_numbers)}", url_prefix="/sub")

    @app.before_server_start
    async def start(app: Sanic) -> None:
        if startup_fails:
            fail("startup")

    @app.get("/raise")
    async def raising(request: Request) -> Any:
        fail("raise")

    @app.get("/sync")
    def sync(request: Request) -> Any:
        fail("sync")

    @part.get("/<name:str>/raise")
    async def mounted(request: Request, name: str) -> Any:
        fail("mounted")

    @app.websocket("/websocket")
    async def connected(request: Request, socket: Websocket) -> None:
        fail("websocket")

    async def later() -> None:
        fail("background")

    @app.get("/background")
    async def background(request: Request) -> Any:
        request.app.add_task(later())
        return text("ok")

    @app.get("/stream")
    async def stream(request: Request) -> None:
        response = await request.respond()
        await response.send(b"one")
        fail("stream")

    @app.get("/handled")
    async def handled(request: Request) -> Any:
        raise Handled("handled")

    @app.exception(Handled)
    async def answer(request: Request, exception: Exception) -> Any:
        return text("sorry", status=500)

    @app.post("/left")
    async def left(request: Request) -> Any:
        return text(str(request.body))

    app.blueprint(part)
    return app
