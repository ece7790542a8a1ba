"""Every page as `.md` and `.json`, and questions that no page answers: for programs and assistants.

The rules:

- The same address as the page's, with the ending: `/events/<id>.md`, `/traces/<id>.json`, `/index.md`.
- A question that makes no sense is a 400 that says what does; what is not here is a 404.
- `wait` answers when something comes, or after its time with a 404: it holds no thread meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from importlib import import_module
from typing import Any

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from .answers import Answers
from .digest import Data
from .entries import ERROR, REQUEST
from .live import Live
from .pages import Pages
from .questions import QuestionError
from .resend import Apps
from .responses import response_of
from .sending import sending_routes
from .store import Store
from .uploads import Uploads

MAX_WAIT = 600.0
DEFAULT_WAIT = 30.0
# Its request's transaction comes a moment after an error: with it, the SQL.
_TRACE_WAIT = 0.8
_LOOK = 0.1

GONE = "It never arrived, or it has made room for newer ones."


class Plain:
    """Questions, by name, asked of one store; `live` tells when something is new."""

    def __init__(self, answers: Answers, live: Live, apps: Apps) -> None:
        self._answers = answers
        self._apps = apps
        self._live = live

    async def ask(self, question: str, params: Mapping[str, Any]) -> Data:
        """The answer to a question; of kind `nothing` where there is none. Raises QuestionError."""
        if question == "wait":
            return await self._wait(params)
        if question == "again":
            form = params.get("form")  # bytes, of a page alone
            edit = form if isinstance(form, bytes) else b""
            sent = await to_thread.run_sync(self._apps.send, str(params.get("id") or ""), edit)
            return sent or _nothing("There is no such request of which `dev` told.")
        ask = getattr(self._answers, question)
        given = (params["id"],) if "id" in params else (params,)
        answer = await to_thread.run_sync(ask, *given)
        return answer or _nothing(GONE)

    async def _wait(self, params: Mapping[str, Any]) -> Data:
        kind, seconds = _kind(params), _seconds(params)
        after = await to_thread.run_sync(self._answers.since_number, params)
        least = str(params.get("level") or "error")
        found: Data | None = None
        try:
            async with asyncio.timeout(seconds):
                async for _ in self._live.changes():
                    found = await to_thread.run_sync(self._answers.next, kind, after, least)
                    if found is not None:
                        break
        except TimeoutError:
            pass
        if found is None:
            return _nothing(f"No {kind} came within {seconds:g} s.")
        return await self._with_trace(found)

    async def _with_trace(self, found: Data) -> Data:
        """The same when its request has ended, if that does not take long."""
        if found["kind"] != ERROR or not found["trace_id"]:
            return found
        for _ in range(round(_TRACE_WAIT / _LOOK)):
            if found["request_id"]:
                break
            await asyncio.sleep(_LOOK)
            again = await to_thread.run_sync(self._answers.show, found["event_id"])
            found = again or found
        return found

    def routes(self) -> list[Route]:
        """All of them, to stand before those of the pages."""
        pages = {
            "/events/{id}": "show",
            "/requests/{id}": "request",
            "/traces/{id}": "trace",
            "/envelopes/{id}": "envelope",
            "/show/{id}": "show",
            "/index": "index",
            "/errors": "errors",
            "/requests": "requests",
            "/logs": "logs",
            "/findings": "findings",
            "/figures": "figures",
            "/wait": "wait",
        }
        return [
            Route(f"{path}.{ending}", self._endpoint(question, ending), methods=["GET"])
            for path, question in pages.items()
            for ending in ("md", "json")
        ]

    def _endpoint(self, question: str, ending: str) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            params = {**request.query_params, **request.path_params}
            try:
                answer = await self.ask(question, params)
            except QuestionError as error:
                return JSONResponse({"detail": str(error)}, HTTPStatus.BAD_REQUEST)
            return response_of(answer, ending, str(request.base_url).rstrip("/"))

        return endpoint


def plain_routes(
    store: Store, live: Live, uploads: Uploads, apps: Apps, pages: Pages
) -> list[BaseRoute]:
    """Routes over a store, to stand before those of the pages; `/mcp` among them."""
    plain = Plain(Answers(store), live, apps)
    return [
        *plain.routes(),
        *sending_routes(plain.ask, apps, pages, uploads),
        Route("/mcp", _Mcp(plain), methods=["POST"]),
    ]


class _Mcp:
    """The Model Context Protocol over HTTP; the package for it is imported when somebody asks."""

    def __init__(self, plain: Plain) -> None:
        self._plain = plain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            module: Any = await to_thread.run_sync(import_module, f"{__package__}.mcp_server")
        except ModuleNotFoundError as error:
            why = f"This needs {error.name}; run: pip install 'sentry-asgi[mcp]'"
            await JSONResponse({"detail": why}, HTTPStatus.NOT_IMPLEMENTED)(scope, receive, send)
            return
        url = str(Request(scope).base_url).rstrip("/")
        await module.serve_request(self._plain.ask, url, scope, receive, send)


def _nothing(why: str) -> Data:
    return {"kind": "nothing", "detail": why}


def _kind(params: Mapping[str, Any]) -> str:
    kind = str(params.get("for") or ERROR)
    if kind not in {ERROR, REQUEST}:
        raise QuestionError(f"for must be error or request, got {kind[:40]!r}.")
    return kind


def _seconds(params: Mapping[str, Any]) -> float:
    given = params.get("timeout")
    try:
        seconds = DEFAULT_WAIT if given in {None, ""} else float(given or 0)
    except (TypeError, ValueError):
        seconds = -1
    if not 0 <= seconds <= MAX_WAIT:
        raise QuestionError(f"timeout must be seconds from 0 to {MAX_WAIT:g}, got {given!r}.")
    return seconds
