"""The inspector as an ASGI app: takes envelopes, shows pages, tells what is new.

The rules:

- The event loop only moves bytes. Decompressing, parsing, the store and pages work in threads.
- What is refused gets a 4xx with `{"detail": ...}`, or 503 while there is no room for it; and the
  store is as it was before. A browser that looks for a page gets one that says so.
- Answers are bounded by bytes, whatever is kept; what is larger comes in pieces, or is left out.
- What listeners are told is worked out once, however many they are.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import Any

from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
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

from .entries import LOG
from .envelope import MAX_JSON, MEBIBYTE, BadEnvelopeError, Limits
from .exchanges import keep_exchange, read_exchange
from .guard import LOOPBACK, Guard
from .intake import Intake, Submission
from .lists import Batches, Wanted, entry_url, number
from .live import BEAT, Live
from .pages import Pages
from .plain import plain_routes
from .resend import Apps
from .starts import keep_start, read_start
from .store import Listed, Store
from .uploads import Uploads
from .values import as_id, clean

NAME = "sentry-asgi inspector"
MAX_TOLD = 500
MAX_TOLD_BYTES = 8 * MEBIBYTE
_GONE = "It never arrived, or it has made room for newer ones."
_HERE = Path(__file__).parent
_DEFAULT_LIMITS = Limits()


class InspectorApp(Starlette):
    """An inspector; `close` is to be called before its server waits for connections to end."""

    live: Live
    uploads: Uploads

    def close(self) -> None:
        """End what would keep connections open, in the event loop of the server."""
        self.live.close()
        self.uploads.close()


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
    uploads = Uploads(limits.body)
    apps = Apps(store)
    inspector = _Inspector(store, limits, Pages(store, editor, apps), live, uploads)
    take, get = ["POST"], ["GET"]
    app = InspectorApp(
        routes=[
            *plain_routes(store, live, uploads, apps, inspector.pages),
            Route("/", inspector.overview, methods=get),
            Route("/events/{event_id}", inspector.event, methods=get),
            Route("/events/{event_id}/markdown", inspector.markdown, methods=get),
            Route("/events/{event_id}/export", inspector.export, methods=get),
            Route("/requests/{span_id}", inspector.request, methods=get),
            Route("/profiles/{number}", inspector.profile, methods=get),
            Route("/figures", inspector.figures, methods=get),
            Route("/traces/{trace_id}", inspector.trace, methods=get),
            Route("/envelopes/{number}", inspector.envelope, methods=get),
            Route("/envelopes/{number}/raw", inspector.raw, methods=get),
            Route("/entries", inspector.entries, methods=get),
            Route("/live", inspector.changes, methods=get),
            Route("/clear", inspector.clear, methods=take),
            Route("/health", inspector.health, methods=get),
            # What `dev` tells beside the events of its app.
            Route("/api/local/exchange", inspector.take_exchange, methods=take),
            Route("/api/local/start", inspector.take_start, methods=take),
            Route("/api/{project}/envelope/", inspector.take_envelope, methods=take),
            Route("/api/{project}/envelope", inspector.take_envelope, methods=take),
            Route("/api/{project}/store/", inspector.take_event, methods=take),
            Route("/api/{project}/store", inspector.take_event, methods=take),
            # Spotlight's address: what `sentry_sdk.init(spotlight=True)` posts to.
            Route("/stream", inspector.take_envelope, methods=take),
            # A service may have its name in the address.
            Route("/stream/{project}", inspector.take_envelope, methods=take),
            Route("/{project}/api/{number}/envelope/", inspector.take_envelope, methods=take),
            Mount("/static", StaticFiles(directory=_HERE / "static")),
        ],
        middleware=[Middleware(Guard, hosts=hosts)],
        exception_handlers={
            BadEnvelopeError: inspector.refused,
            HTTPException: inspector.not_served,
            sqlite3.Error: inspector.unusable,
        },
    )
    app.live, app.uploads = live, uploads
    return app


class _Inspector:
    def __init__(
        self, store: Store, limits: Limits, pages: Pages, live: Live, uploads: Uploads
    ) -> None:
        self._store = store
        self._live = live
        self._uploads = uploads
        self._state: tuple[tuple[int, int], str] = ((-1, 0), "")
        self._counting = asyncio.Lock()
        self._intake = Intake(store, limits, live.notify)
        self.pages = pages

    # What SDKs send.

    async def take_envelope(self, request: Request) -> Response:
        return await self._take(request, bare=False)

    async def take_event(self, request: Request) -> Response:
        return await self._take(request, bare=True)

    async def _take(self, request: Request, *, bare: bool) -> Response:
        project = clean(request.path_params.get("project", "spotlight"), 60)
        encoding = request.headers.get("content-encoding", "")
        async with self._uploads.body(request) as body:
            event_id = await self._intake.take(Submission(project, body, encoding, bare))
        return JSONResponse({} if event_id is None else {"id": event_id})

    async def take_exchange(self, request: Request) -> Response:
        async with self._uploads.body(request) as body:
            told = await to_thread.run_sync(read_exchange, body)
        await to_thread.run_sync(keep_exchange, self._store, told, time.time())
        self._live.notify()
        return JSONResponse({})

    async def take_start(self, request: Request) -> Response:
        async with self._uploads.body(request) as body:
            service = read_start(body)
        await to_thread.run_sync(keep_start, self._store, service, time.time())
        return JSONResponse({})

    # What people look at.

    async def overview(self, request: Request) -> Response:
        wanted = Wanted.of(request.query_params)
        if "fragment" in request.query_params:
            return HTMLResponse(await to_thread.run_sync(self.pages.fragment, wanted))
        page = await to_thread.run_sync(self.pages.overview, wanted, str(request.base_url))
        return HTMLResponse(page)

    async def event(self, request: Request) -> Response:
        return await self._page(self.pages.event, request.path_params["event_id"])

    async def export(self, request: Request) -> Response:
        event_id = request.path_params["event_id"]
        page = await to_thread.run_sync(self.pages.export, event_id)
        if page is None:
            return HTMLResponse(self.pages.missing(_GONE), HTTPStatus.NOT_FOUND)
        name = as_id(event_id)[:8]
        headers = {"content-disposition": f'attachment; filename="error-{name}.html"'}
        return HTMLResponse(page, headers=headers)

    async def request(self, request: Request) -> Response:
        was, lacks = request.query_params.get("was", ""), "lacks" in request.query_params
        return await self._page(
            lambda name: self.pages.request(name, was, lacks=lacks), request.path_params["span_id"]
        )

    async def profile(self, request: Request) -> Response:
        return await self._page(self.pages.profile, request.path_params["number"])

    async def figures(self, _request: Request) -> Response:
        return HTMLResponse(await to_thread.run_sync(self.pages.figures))

    async def trace(self, request: Request) -> Response:
        return await self._page(self.pages.trace, request.path_params["trace_id"])

    async def envelope(self, request: Request) -> Response:
        return await self._page(self.pages.envelope, request.path_params["number"])

    async def _page(self, make: Callable[[str], str | None], name: str) -> Response:
        page = await to_thread.run_sync(make, name)
        if page is None:
            return HTMLResponse(self.pages.missing(_GONE), HTTPStatus.NOT_FOUND)
        return HTMLResponse(page)

    async def markdown(self, request: Request) -> Response:
        text = await to_thread.run_sync(self.pages.markdown, request.path_params["event_id"])
        if text is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such event.")
        return PlainTextResponse(text)

    async def raw(self, request: Request) -> Response:
        name = request.path_params["number"]
        found = await to_thread.run_sync(self.pages.raw, name)
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such envelope.")
        size, chunks = found
        headers = {
            "content-disposition": f'attachment; filename="{int(name)}.envelope"',
            "content-length": str(size),
        }
        return StreamingResponse(
            chunks, media_type="application/x-sentry-envelope", headers=headers
        )

    async def clear(self, _request: Request) -> Response:
        await to_thread.run_sync(self._store.clear)
        self._live.notify()
        return RedirectResponse("/", HTTPStatus.SEE_OTHER)

    # What is refused, and why.

    async def refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, BadEnvelopeError)
        return self._explain(request, error.detail, error.status)

    async def not_served(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return self._explain(request, error.detail, error.status_code, error.headers)

    async def unusable(self, request: Request, error: Exception) -> Response:
        detail = f"The inspector's file cannot be used now: {error}."
        return self._explain(request, detail, HTTPStatus.SERVICE_UNAVAILABLE)

    def _explain(
        self, request: Request, detail: str, status: int, headers: Mapping[str, str] | None = None
    ) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(self.pages.missing(detail), status, headers)
        return JSONResponse({"detail": detail}, status, headers)

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
        return Response(b"[%b]" % b",".join(rows), media_type="application/json")

    def _told(self, after: int, full: bool) -> list[bytes]:  # noqa: FBT001
        """The entries after that number, oldest first, as many as fit: one at least."""
        found = self._store.entries(limit=MAX_TOLD, after=after, oldest_first=True)
        return list(self._whole(found) if full else map(_told, found))

    def _whole(self, found: list[Listed]) -> Iterator[bytes]:
        """Entries with what was sent of them."""
        room = MAX_TOLD_BYTES
        carried = dict.fromkeys(one.item for one in found if one.event_id or one.kind == LOG)
        first = self._store.payloads(islice(carried, 1), most=MAX_JSON)
        payloads = first | self._store.payloads(carried, most=room)
        batches = Batches(payloads)
        for place, one in enumerate(found):
            if one.item in carried and one.item not in payloads:
                return
            told = _told(one)
            if one.event_id:  # as it came: to read and write it again costs much more
                told = b'%b, "event": %b}' % (told[:-1], payloads[one.item])
            elif one.kind == LOG:
                told = b'%b, "attributes": %b}' % (told[:-1], _json(batches.attributes(one)))
            room -= len(told)
            if room < 0 and place:
                return
            yield told

    async def changes(self, _request: Request) -> Response:
        headers = {"cache-control": "no-store"}
        return StreamingResponse(self._news(), media_type="text/event-stream", headers=headers)

    async def _news(self) -> AsyncIterator[str]:
        async for happened in self._live.changes():
            if happened:
                yield f"data: {await self._news_now()}\n\n"
            else:
                yield ": still here\n\n"

    async def _news_now(self) -> str:
        async with self._counting:
            # Another process may have written to the file: what is a second old is looked up again.
            now = self._live.version, int(time.monotonic())
            if self._state[0] != now:
                self._state = now, await to_thread.run_sync(self._count)
            return self._state[1]

    def _count(self) -> str:
        return json.dumps({"newest": self._store.newest(), "counts": self.pages.counts()})


def _told(listed: Listed) -> bytes:
    about = listed.summary
    return _json({
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
    })  # fmt: skip


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
