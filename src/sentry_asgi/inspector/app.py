"""The inspector as an ASGI app: takes envelopes, shows pages, tells what is new.

The rules:

- The event loop only moves bytes. Decompressing, parsing, the store and pages work in threads.
- What is refused gets a 4xx with `{"detail": ...}`, and the store is as it was before.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection
from http import HTTPStatus
from pathlib import Path
from typing import Any

from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from sentry_asgi import __version__

from .envelope import BadEnvelopeError, Limits
from .guard import LOOPBACK, Guard
from .intake import Intake, Parcel
from .live import BEAT, Live
from .pages import Pages, Wanted, entry_url, number
from .store import Listed, Store
from .values import clean

NAME = "sentry-asgi inspector"
MAX_TOLD = 500
_HERE = Path(__file__).parent
_DEFAULT_LIMITS = Limits()


class InspectorApp(Starlette):
    """An inspector; `live` is to be closed before its server waits for connections to end."""

    live: Live


def create_app(
    store: Store,
    *,
    hosts: Collection[str] = LOOPBACK,
    limits: Limits = _DEFAULT_LIMITS,
    editor: str = "vscode",
    beat: float = BEAT,
) -> InspectorApp:
    """An inspector over `store`, which the caller opens and closes.

    It answers for the names in `hosts` (and for numeric addresses) only, takes no more than
    `limits` in one request, links source lines to `editor` (a name of `editor.EDITORS`), and tells
    listeners at least every `beat` seconds that it is there.
    """
    live = Live(beat=beat)
    inspector = _Inspector(store, limits, editor, live)
    take, get = ["POST"], ["GET"]
    app = InspectorApp(
        routes=[
            Route("/", inspector.overview, methods=get),
            Route("/events/{event_id}", inspector.event, methods=get),
            Route("/events/{event_id}/markdown", inspector.markdown, methods=get),
            Route("/traces/{trace_id}", inspector.trace, methods=get),
            Route("/envelopes/{number}", inspector.envelope, methods=get),
            Route("/envelopes/{number}/raw", inspector.raw, methods=get),
            Route("/entries", inspector.entries, methods=get),
            Route("/live", inspector.changes, methods=get),
            Route("/clear", inspector.clear, methods=take),
            Route("/health", inspector.health, methods=get),
            Route("/api/{project}/envelope/", inspector.take_envelope, methods=take),
            Route("/api/{project}/envelope", inspector.take_envelope, methods=take),
            Route("/api/{project}/store/", inspector.take_event, methods=take),
            Route("/api/{project}/store", inspector.take_event, methods=take),
            # Spotlight's address: what `sentry_sdk.init(spotlight=True)` posts to.
            Route("/stream", inspector.take_envelope, methods=take),
            Mount("/static", StaticFiles(directory=_HERE / "static")),
        ],
        middleware=[Middleware(Guard, hosts=hosts)],
        exception_handlers={
            BadEnvelopeError: _bad_envelope,
            HTTPException: _http_error,
            sqlite3.Error: _store_error,
        },
    )
    app.live = live
    return app


class _Inspector:
    def __init__(self, store: Store, limits: Limits, editor: str, live: Live) -> None:
        self._store = store
        self._limits = limits
        self._live = live
        self._intake = Intake(store, limits, live.notify)
        self._pages = Pages(store, editor)

    # What SDKs send.

    async def take_envelope(self, request: Request) -> Response:
        return await self._take(request, bare=False)

    async def take_event(self, request: Request) -> Response:
        return await self._take(request, bare=True)

    async def _take(self, request: Request, *, bare: bool) -> Response:
        project = clean(request.path_params.get("project", "spotlight"), 60)
        encoding = request.headers.get("content-encoding", "")
        body = await self._body(request)
        event_id = await self._intake.take(Parcel(project, body, encoding, bare))
        return JSONResponse({} if event_id is None else {"id": event_id})

    async def _body(self, request: Request) -> bytes:
        body = bytearray()
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > self._limits.body:
                    raise BadEnvelopeError(
                        f"The request is larger than {self._limits.body} bytes.",
                        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    )
        except ClientDisconnect:
            raise BadEnvelopeError("The request ended before its body was complete.") from None
        return bytes(body)

    # What people look at.

    async def overview(self, request: Request) -> Response:
        wanted = Wanted.of(request.query_params)
        if "fragment" in request.query_params:
            return HTMLResponse(await to_thread.run_sync(self._pages.fragment, wanted))
        page = await to_thread.run_sync(self._pages.overview, wanted, str(request.base_url))
        return HTMLResponse(page)

    async def event(self, request: Request) -> Response:
        return await self._page(self._pages.event, request.path_params["event_id"])

    async def trace(self, request: Request) -> Response:
        return await self._page(self._pages.trace, request.path_params["trace_id"])

    async def envelope(self, request: Request) -> Response:
        return await self._page(self._pages.envelope, request.path_params["number"])

    async def _page(self, make: Callable[[str], str | None], name: str) -> Response:
        page = await to_thread.run_sync(make, name)
        if page is None:
            return HTMLResponse(self._pages.missing(), HTTPStatus.NOT_FOUND)
        return HTMLResponse(page)

    async def markdown(self, request: Request) -> Response:
        text = await to_thread.run_sync(self._pages.markdown, request.path_params["event_id"])
        if text is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such event.")
        return PlainTextResponse(text)

    async def raw(self, request: Request) -> Response:
        name = request.path_params["number"]
        data = await to_thread.run_sync(self._pages.raw, name)
        if data is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such envelope.")
        saved = {"content-disposition": f'attachment; filename="{int(name)}.envelope"'}
        return Response(data, media_type="application/x-sentry-envelope", headers=saved)

    async def clear(self, _request: Request) -> Response:
        await to_thread.run_sync(self._store.clear)
        self._live.notify()
        return RedirectResponse("/", HTTPStatus.SEE_OTHER)

    # What programs read.

    async def health(self, _request: Request) -> Response:
        envelopes, size = await to_thread.run_sync(self._store.totals)
        return JSONResponse(
            {
                "name": NAME,
                "status": "ok",
                "version": __version__,
                "envelopes": envelopes,
                "bytes": size,
            }
        )

    async def entries(self, request: Request) -> Response:
        after = number(request.query_params.get("after")) or 0
        full = "full" in request.query_params
        rows = await to_thread.run_sync(self._told, after, full)
        return Response(json.dumps(rows), media_type="application/json")

    def _told(self, after: int, full: bool) -> list[dict[str, Any]]:  # noqa: FBT001
        """The entries after that number, oldest first."""
        found = self._store.entries(limit=MAX_TOLD, after=after, oldest_first=True)
        events = {one.item for one in found if full and one.event_id}
        payloads = self._store.payloads(events)
        return [_told(one, payloads.get(one.item)) for one in found]

    async def changes(self, _request: Request) -> Response:
        headers = {"cache-control": "no-store"}
        return StreamingResponse(self._news(), media_type="text/event-stream", headers=headers)

    async def _news(self) -> AsyncIterator[str]:
        async for happened in self._live.changes():
            if happened:
                yield f"data: {await to_thread.run_sync(self._state)}\n\n"
            else:
                yield ": still here\n\n"

    def _state(self) -> str:
        return json.dumps({"newest": self._store.newest(), "counts": self._pages.counts()})


def _told(listed: Listed, payload: bytes | None) -> dict[str, Any]:
    about = listed.summary
    told = {
        "number": listed.number,
        "kind": listed.kind,
        "when": about.when,
        "received": listed.received,
        "project": listed.project,
        "level": about.level,
        "title": about.title,
        "detail": about.detail,
        "place": about.transaction,
        "status": listed.status,
        "duration": listed.duration,
        "event_id": listed.event_id,
        "trace_id": listed.trace_id,
        "span_id": listed.span_id,
        "path": entry_url(listed),
    }
    return told if payload is None else {**told, "event": json.loads(payload)}


async def _bad_envelope(_request: Request, error: Exception) -> Response:
    assert isinstance(error, BadEnvelopeError)
    return JSONResponse({"detail": error.detail}, error.status)


async def _store_error(_request: Request, error: Exception) -> Response:
    detail = f"The inspector's file cannot be used now: {error}."
    return JSONResponse({"detail": detail}, HTTPStatus.SERVICE_UNAVAILABLE)


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, error.status_code, error.headers)
