from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import quart
from quart import Blueprint, Quart, request, websocket

from ..failing import Handled, fail

ROUTES = {"mounted": "/sub/<name>/raise"}


def make(startup_fails: bool) -> Any:
    app = Quart(__name__)
    part = Blueprint("part", __name__)

    @app.before_serving
    async def start() -> None:
        if startup_fails:
            fail("startup")

    @app.get("/raise")
    async def raising() -> str:
        fail("raise")

    @app.get("/sync")
    def sync() -> str:
        fail("sync")

    @part.get("/<name>/raise")
    async def mounted(name: str) -> str:
        fail("mounted")

    @app.websocket("/websocket")
    async def connected() -> None:
        await websocket.accept()
        fail("websocket")

    async def later() -> None:
        fail("background")

    @app.get("/background")
    async def background() -> str:
        quart.current_app.add_background_task(later)
        return "ok"

    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        fail("stream")

    @app.get("/stream")
    async def stream() -> Any:
        return parts()

    @app.get("/handled")
    async def handled() -> str:
        raise Handled("handled")

    @app.errorhandler(Handled)
    async def answer(exception: Exception) -> Any:
        return "sorry", 500

    @app.post("/left")
    async def left() -> str:
        return str(await request.get_data())

    app.register_blueprint(part, url_prefix="/sub")
    return app
