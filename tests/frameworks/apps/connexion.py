from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from connexion import AsyncApp, request
from connexion.lifecycle import ConnexionRequest, ConnexionResponse
from starlette.background import BackgroundTask
from starlette.responses import PlainTextResponse, StreamingResponse

from ..failing import Handled, fail, lifespan_of

ROUTES = {"mounted": "/sub/{name}/raise"}
WITHOUT = {"websocket"}  # has none

OPERATION = """
  {path}:
    {method}:
      operationId: tests.frameworks.apps.connexion.{name}
      {parameters}
      responses:
        "200":
          description: ok
"""
PARAMETER = "parameters: [{in: path, name: name, required: true, schema: {type: string}}]"
HEAD = "openapi: 3.0.0\ninfo: {title: matrix, version: '1'}\npaths:"


async def raising() -> Any:
    fail("raise")


def sync() -> Any:
    fail("sync")


async def mounted(name: str) -> Any:
    fail("mounted")


async def handled() -> Any:
    raise Handled("handled")


async def background() -> Any:
    return PlainTextResponse("ok", background=BackgroundTask(fail, "background"))


async def parts() -> AsyncIterator[bytes]:
    yield b"one"
    fail("stream")


async def stream() -> Any:
    return StreamingResponse(parts())


async def left() -> Any:
    return str(await request.body())


def answer(request: ConnexionRequest, exception: Exception) -> ConnexionResponse:
    return ConnexionResponse(status_code=500, body="sorry")


def make(startup_fails: bool) -> Any:
    def operation(path: str, name: str, parameters: str = "", method: str = "get") -> str:
        return OPERATION.format(path=path, method=method, name=name, parameters=parameters)

    directory = Path(tempfile.mkdtemp())
    (directory / "main.yaml").write_text(
        HEAD
        + operation("/raise", "raising")
        + operation("/sync", "sync")
        + operation("/handled", "handled")
        + operation("/background", "background")
        + operation("/stream", "stream")
        + operation("/left", "left", method="post")
    )
    (directory / "part.yaml").write_text(HEAD + operation("/{name}/raise", "mounted", PARAMETER))
    app = AsyncApp(__name__, specification_dir=str(directory), lifespan=lifespan_of(startup_fails))
    app.add_api("main.yaml")
    app.add_api("part.yaml", base_path="/sub")
    app.add_error_handler(Handled, answer)
    return app
