"""An MCP server over streamable HTTP, stateless and with JSON. What fails is answered with a 200."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from mcp.server import MCPServer
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.frameworks.failing import fail
from tests.invariants.requests import Request, posted

# A server streams to who listens, not to who asks.
WITHOUT = {"stream", "websocket"}


def request_of(cell: str) -> Request:
    path = "/sub/42/mcp" if cell == "mounted" else "/mcp"
    name = "fine" if cell == "left" else cell
    called = {"method": "tools/call", "params": {"name": name, "arguments": {}}}
    read = {"method": "resources/read", "params": {"uri": "a://resource"}}
    said = {"jsonrpc": "2.0", "id": 1, **(read if cell == "handled" else called)}
    accepted = (b"accept", b"application/json, text/event-stream")
    return posted(cell, path, said, accepted)


def make(startup_fails: bool) -> Any:
    server = MCPServer("server")

    @server.tool(name="raise")
    async def raising() -> str:
        fail("raise")

    @server.tool()
    def sync() -> str:
        fail("sync")

    @server.tool()
    async def mounted() -> str:
        fail("mounted")

    @server.tool()
    async def fine() -> str:
        return "fine"

    # The protocol has an error for it, as it has none for a tool's.
    @server.resource("a://resource")
    async def handled() -> str:
        fail("handled")

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if startup_fails:
            fail("startup")
        async with server.session_manager.run():
            yield

    served = server.streamable_http_app(stateless_http=True, json_response=True, host="0.0.0.0")
    return Starlette(routes=[Mount("/sub/{name}", served), Mount("/", served)], lifespan=lifespan)
