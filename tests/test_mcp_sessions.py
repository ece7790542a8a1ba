"""MCP sessions whose task outlives the request that opens them, as those of mcp 1.x do: tests/rpc has the real ones."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import sysconfig
import types
from contextvars import ContextVar
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sentry_asgi import SentryMiddleware
from sentry_asgi._connection.exchange import Exchange
from sentry_asgi._frameworks import mcp

from .support import Sentry, call, exception_values, http_scope

SECRET = "hunter2-the-secret"
LIBRARY = """
import logging

async def answer(number, tool):
    try:
        await tool()
    except Exception as error:
        logging.getLogger("mcp.server").debug("failed", exc_info=True)
        return {"jsonrpc": "2.0", "id": number, "result": {"isError": True}}

async def logs(number, tool):
    try:
        await tool()
    except Exception:
        logging.getLogger("mcp.server").exception("failed")
        return {"jsonrpc": "2.0", "id": number, "error": {"code": 0, "message": "failed"}}

def refuse():
    raise ValueError("unknown tool")

def refuse_arguments():
    from pydantic import TypeAdapter
    try:
        TypeAdapter(int).validate_python("none")
    except ValueError as error:
        raise ToolError("no such argument") from error

async def wrap(tool):
    try:
        await tool()
    except Exception as error:
        raise ToolError("failed") from error

class ToolError(Exception):
    pass

async def refuses(number, tool):
    try:
        refuse()
    except Exception:
        logging.getLogger("mcp.server").exception("refused")
    try:
        refuse_arguments()
    except Exception:
        logging.getLogger("mcp.server").exception("refused")
        return {"jsonrpc": "2.0", "id": number, "error": {"code": 0, "message": "refused"}}

async def wraps(number, tool):
    try:
        await wrap(tool)
    except Exception:
        logging.getLogger("mcp.server").exception("failed")
        return {"jsonrpc": "2.0", "id": number, "error": {"code": 0, "message": "failed"}}
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module that lies where mcp's does, and has what mcp 1.x has."""
    name = "mcp.server.lowlevel.server"
    module: Any = types.ModuleType(name)
    path = f"{sysconfig.get_paths()['purelib']}/mcp/server/lowlevel/server.py"
    exec(compile(LIBRARY, path, "exec"), vars(module))
    module.request_ctx = ContextVar("request_ctx")
    monkeypatch.setitem(sys.modules, name, module)
    return module


class Session:
    """What opens with its first request, and does the work of the others in the task that started then."""

    def __init__(self, server: Any, how: str) -> None:
        self._server, self._answer = server, getattr(server, how)
        self._calls: asyncio.Queue[Any] = asyncio.Queue()
        self.task: asyncio.Task[None] | None = None

    async def endpoint(self, request: Request) -> Any:
        said = await request.json()
        if self.task is None:
            self.task = asyncio.create_task(self._work())
            return JSONResponse({"jsonrpc": "2.0", "id": 0, "result": {}})
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        await self._calls.put((request, said, answered))
        return JSONResponse(await answered)

    async def _work(self) -> None:
        while True:
            request, said, answered = await self._calls.get()

            async def tool(said: Any = said) -> None:
                if said["params"]["name"] == "validates":
                    from pydantic import TypeAdapter

                    TypeAdapter(int).validate_python("none")
                raise KeyError(f"{said['params']['name']} of {SECRET}")

            self._server.request_ctx.set(types.SimpleNamespace(request=request))
            answered.set_result(await self._answer(said["id"], tool))


def post(said: Any) -> Any:
    headers = [(b"content-type", b"application/json"), (b"host", b"example.org")]
    scope = http_scope("/mcp", method="POST", headers=headers)
    return scope, [{"type": "http.request", "body": json.dumps(said).encode()}]


def wrapped(session: Session, middleware: Any = ()) -> Any:
    routes = [Route("/mcp", session.endpoint, methods=["POST"])]
    return SentryMiddleware(Starlette(routes=routes, middleware=middleware))


async def serve(app: Any, session: Session, *tools: str) -> None:
    await call(app, *post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {}}))
    for number, tool in enumerate(tools, 1):
        params = {"name": tool, "password": SECRET}
        said = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
        await call(app, *post(said))
    assert session.task is not None
    session.task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await session.task


class Replaying:
    """Wraps `receive` in a function, as mcp's own middlewares do."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        unset: Any

        async def replay() -> Any:
            if False:
                return unset
            return await receive()

        await self._app(scope, replay, send)
        unset = None


async def passes(request: Any, call_next: Any) -> Any:
    return await call_next(request)


AROUND = {
    "nothing": [],
    "a function": [Middleware(Replaying)],
    "BaseHTTPMiddleware": [Middleware(BaseHTTPMiddleware, dispatch=passes)],
}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is of 3.12")
@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("how", ["answer", "logs"])
def test_a_failing_tool_is_an_event_of_the_request_that_called_it(
    sentry: Sentry, server: Any, how: str, around: str
) -> None:
    session = Session(server, how)
    asyncio.run(serve(wrapped(session, AROUND[around]), session, "price", "stock"))
    told = [exception_values(one) for one in sentry.events]
    assert told == [[("KeyError", f"'{tool} of [Filtered]'")] for tool in ("price", "stock")]
    assert [one["contexts"]["rpc"]["tool"] for one in sentry.events] == ["price", "stock"]
    assert SECRET not in json.dumps(sentry.events)


def test_what_the_library_itself_refuses_is_the_callers_mistake(
    sentry: Sentry, server: Any
) -> None:
    session = Session(server, "refuses")
    asyncio.run(serve(wrapped(session), session, "unknown"))
    assert sentry.events == []


def test_a_tool_that_fails_is_no_refusal_whatever_is_raised_around_it(
    sentry: Sentry, server: Any
) -> None:
    session = Session(server, "wraps")
    asyncio.run(serve(wrapped(session), session, "price"))
    assert exception_values(sentry.event)[0][0] == "KeyError"


@pytest.mark.parametrize("how", ["logs", "wraps"])
def test_what_a_tool_itself_validates_is_no_refusal(sentry: Sentry, server: Any, how: str) -> None:
    pytest.importorskip("pydantic")
    session = Session(server, how)
    asyncio.run(serve(wrapped(session), session, "validates"))
    assert exception_values(sentry.event)[0][0] == "ValidationError"


@pytest.mark.parametrize(
    "context",
    [
        types.SimpleNamespace(request=None),
        types.SimpleNamespace(request=types.SimpleNamespace(receive=None)),
        types.SimpleNamespace(request=types.SimpleNamespace(receive=asyncio.sleep)),
        None,
    ],
)
def test_without_a_request_of_ours_nothing_is_found(server: Any, context: Any) -> None:
    server.request_ctx.set(context)
    assert mcp.served_here(Exchange) is None


def test_without_such_a_server_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "mcp.server.lowlevel.server", raising=False)
    assert mcp.served_here(Exchange) is None


def test_a_receive_that_is_wrapped_without_end_is_let_be(server: Any) -> None:
    class Endless:
        def receive(self) -> None:
            """Its own owner's."""

    server.request_ctx.set(types.SimpleNamespace(request=Endless()))
    assert mcp.served_here(Exchange) is None
