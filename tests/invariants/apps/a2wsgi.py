"""Flask, mounted in Starlette by a2wsgi's middleware, which has it run in threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from a2wsgi import WSGIMiddleware
from flask import Flask, request
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.frameworks.failing import Handled, fail, lifespan_of

# All of Flask is a `def`. It has no websockets.
WITHOUT = {"raise", "websocket"}


def flask() -> Any:
    app = Flask(__name__)

    @app.get("/sync")
    def sync() -> str:
        fail("sync")

    @app.get("/raise")
    def mounted() -> str:
        fail("mounted")

    def parts() -> Iterator[bytes]:
        yield b"one"
        fail("stream")

    @app.get("/stream")
    def stream() -> Any:
        return parts()

    @app.get("/handled")
    def handled() -> str:
        raise Handled("handled")

    @app.errorhandler(Handled)
    def answer(exception: Exception) -> Any:
        return "sorry", 500

    @app.post("/left")
    def left() -> str:
        return str(request.get_data())

    return app


def make(startup_fails: bool) -> Any:
    served: Any = WSGIMiddleware(flask())
    return Starlette(
        routes=[Mount("/sub/{name}", served), Mount("/", served)],
        lifespan=lifespan_of(startup_fails),
    )
