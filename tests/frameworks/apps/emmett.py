from __future__ import annotations

from typing import Any

from emmett import App, request

from ..failing import fail

ROUTES = {"mounted": "/sub/<str:name>/raise"}
# Has no lifespan events, background tasks or handlers for single exceptions; its websockets need its own server.
WITHOUT = {"websocket", "startup", "background", "handled", "stream"}


def make(startup_fails: bool) -> Any:
    app = App(__name__)
    part = app.module(__name__, "part", url_prefix="sub")

    @app.route("/raise")
    async def raising() -> Any:
        fail("raise")

    @app.route("/sync")
    def sync() -> Any:
        fail("sync")

    @part.route("/<str:name>/raise")
    async def mounted(name: str) -> Any:
        fail("mounted")

    @app.route("/left", methods="post")
    async def left() -> Any:
        return str(await request.body_params)

    return app
