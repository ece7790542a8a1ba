"""MCP servers over streamable HTTP, and JSON-RPC by hand: one event for each failing tool, none for callers' mistakes."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from sentry_asgi import SentryMiddleware
from tests.rpc.calls import call, post, started, told
from tests.support import Sentry

PROTOCOL = "2025-06-18"


class Broken(Exception):
    """What a tool raises."""


def fail() -> Any:
    raise Broken("nope")


def _tools(server: Any) -> None:
    @server.tool(name="later")
    async def later() -> str:
        fail()

    @server.tool(name="sync")
    def sync(number: int) -> str:
        fail()

    @server.tool(name="fine")
    async def fine() -> str:
        return "fine"

    @server.resource("a://resource")
    async def resource() -> str:
        fail()

    @server.prompt(name="prompt")
    def prompt() -> str:
        fail()


def mcp(*, stateless: bool, as_json: bool) -> Any:
    library = pytest.importorskip("mcp.server", reason="nox -s rpc")
    options: Any = {"stateless_http": stateless, "json_response": as_json, "host": "0.0.0.0"}
    if hasattr(library, "MCPServer"):
        server = library.MCPServer("server")
        _tools(server)
        return server.streamable_http_app(**options)
    from mcp.server import fastmcp as before_2  # type: ignore[attr-defined]

    server = before_2.FastMCP("server", **options)
    _tools(server)
    return server.streamable_http_app()


def fastmcp(*, stateless: bool, as_json: bool) -> Any:
    library = pytest.importorskip("fastmcp", reason="nox -s rpc")
    server = library.FastMCP("server")
    _tools(server)
    return server.http_app(stateless_http=stateless, json_response=as_json)


async def _session(app: Any) -> Any:
    client = {"protocolVersion": PROTOCOL, "capabilities": {}}
    client["clientInfo"] = {"name": "client", "version": "1"}
    said = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": client}
    sent = await call(app, *post("/mcp", said))
    headers = dict(sent[0]["headers"])
    session = [
        (b"mcp-session-id", headers[b"mcp-session-id"]),
        (b"mcp-protocol-version", PROTOCOL.encode()),
    ]
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    await call(app, *post("/mcp", ready, session))
    return session


FAILING: list[tuple[str, Any, dict[str, str]]] = [
    ("tools/call", {"name": "later", "arguments": {}}, {"tool": "later"}),
    ("tools/call", {"name": "sync", "arguments": {"number": 1}}, {"tool": "sync"}),
    ("resources/read", {"uri": "a://resource"}, {}),
    ("prompts/get", {"name": "prompt"}, {"prompt": "prompt"}),
]
MISTAKES: list[tuple[str, Any]] = [
    ("tools/call", {"name": "sync", "arguments": {"number": "none"}}),
    ("tools/call", {"name": "unknown", "arguments": {}}),
    ("tools/call", {"name": "fine", "arguments": {}}),  # none at all
    ("unknown/method", {}),
]


@pytest.mark.parametrize("integrated", [False, True], ids=["plain", "integrations"])
@pytest.mark.parametrize("as_json", [False, True], ids=["events", "json"])
@pytest.mark.parametrize("stateless", [False, True], ids=["stateful", "stateless"])
@pytest.mark.parametrize("make", [mcp, fastmcp])
@pytest.mark.filterwarnings("ignore")
def test_each_failing_tool_is_one_event_that_names_it(
    sentry: Sentry, make: Any, stateless: bool, as_json: bool, integrated: bool
) -> None:
    sentry.init(auto_enabling_integrations=integrated)
    app = SentryMiddleware(make(stateless=stateless, as_json=as_json))

    async def ask() -> None:
        session = () if stateless else await _session(app)
        for number, (method, parameters, names) in enumerate(FAILING, 1):
            said = {"jsonrpc": "2.0", "id": number, "method": method, "params": parameters}
            (one,) = await told(sentry, app, "/mcp", said, session)
            assert "Broken" in one.types, method
            assert one.handled
            assert one.rpc == {"system": "mcp", "method": method, **names}
            assert one.transaction.endswith(next(iter(names.values()), "a://resource")) or (
                one.transaction.endswith(method)
            )
        for number, (method, parameters) in enumerate(MISTAKES, 10):
            said = {"jsonrpc": "2.0", "id": number, "method": method, "params": parameters}
            assert await told(sentry, app, "/mcp", said, session) == [], (method, parameters)

    asyncio.run(started(app, ask))


@pytest.mark.parametrize("integrated", [False, True], ids=["plain", "integrations"])
@pytest.mark.parametrize("make", [mcp, fastmcp])
@pytest.mark.filterwarnings("ignore")
def test_an_unknown_resource_is_the_callers_mistake(
    sentry: Sentry, make: Any, integrated: bool
) -> None:
    """Though the SDK's integration reports it."""
    sentry.init(auto_enabling_integrations=integrated)
    app = SentryMiddleware(make(stateless=True, as_json=True))

    async def ask() -> None:
        read = {"method": "resources/read", "params": {"uri": "a://unknown"}}
        assert await told(sentry, app, "/mcp", {"jsonrpc": "2.0", "id": 1, **read}) == []

    asyncio.run(started(app, ask))


def by_hand() -> Any:
    """JSON-RPC as people write it: the methods raise, and the framework's handler makes the answer."""
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    class Unknown(Exception):
        pass

    async def endpoint(request: Any) -> Any:
        said = await request.json()
        if said["method"] == "broken":
            fail()
        if said["method"] != "fine":
            raise Unknown
        return JSONResponse({"jsonrpc": "2.0", "id": said["id"], "result": "fine"})

    def answer(code: int) -> Any:
        async def handler(request: Any, exception: Exception) -> Any:
            error = {"code": code, "message": str(exception)}
            return JSONResponse({"jsonrpc": "2.0", "id": 1, "error": error})

        return handler

    handlers = {Broken: answer(-32000), Unknown: answer(-32601)}
    routes = [Route("/rpc", endpoint, methods=["POST"])]
    return Starlette(routes=routes, exception_handlers=handlers)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is of 3.12")
def test_a_method_of_json_rpc_by_hand_is_one_event(sentry: Sentry) -> None:
    sentry.init(auto_enabling_integrations=True)
    app = SentryMiddleware(by_hand())

    async def ask() -> None:
        said = {"jsonrpc": "2.0", "id": 1, "method": "broken"}
        (one,) = await told(sentry, app, "/rpc", said)
        assert (one.types, one.handled) == (("Broken",), True)
        assert one.rpc == {"system": "jsonrpc", "method": "broken"}
        for method in ("fine", "unknown"):
            assert await told(sentry, app, "/rpc", {**said, "method": method}) == []

    asyncio.run(ask())
