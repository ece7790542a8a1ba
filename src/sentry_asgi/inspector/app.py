"""The inspector as an ASGI app: takes envelopes, shows pages.

The rules:

- The event loop only moves bytes. Decompressing, parsing and the store run in worker threads.
- What is refused gets a 4xx with `{"detail": ...}`, and the store is as it was before.
- A page is made from views alone, by templates that escape everything.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import jinja2
from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from sentry_asgi import __version__

from .envelope import BadEnvelopeError, Limits, decompress, parse
from .guard import LOOPBACK, Guard
from .records import records
from .store import Listed, Store
from .views import event_view

PAGE_SIZE = 50
_HERE = Path(__file__).parent
_DEFAULT_LIMITS = Limits()


def create_app(
    store: Store, *, hosts: Collection[str] = LOOPBACK, limits: Limits = _DEFAULT_LIMITS
) -> Starlette:
    """An inspector over `store`, which the caller opens and closes.

    It answers for the names in `hosts` only, and takes no more than `limits` in one request.
    """
    inspector = _Inspector(store, limits)
    return Starlette(
        routes=[
            Route("/", inspector.first_page, methods=["GET"]),
            Route("/events/{event_id}", inspector.event_page, methods=["GET"]),
            Route("/health", inspector.health, methods=["GET"]),
            Route("/api/{project}/envelope/", inspector.take_envelope, methods=["POST"]),
            # Spotlight's address: what `sentry_sdk.init(spotlight=True)` posts to.
            Route("/stream", inspector.take_envelope, methods=["POST"]),
            Mount("/static", StaticFiles(directory=_HERE / "static")),
        ],
        middleware=[Middleware(Guard, hosts=hosts)],
        exception_handlers={BadEnvelopeError: _bad_envelope, HTTPException: _http_error},
    )


class _Inspector:
    def __init__(self, store: Store, limits: Limits) -> None:
        self._store = store
        self._limits = limits
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["moment"] = _moment

    async def take_envelope(self, request: Request) -> Response:
        body = await self._body(request)
        project = request.path_params.get("project", "spotlight")
        encoding = request.headers.get("content-encoding", "")
        event_id = await to_thread.run_sync(self._keep, project, body, encoding)
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

    def _keep(self, project: str, body: bytes, encoding: str) -> str | None:
        data = decompress(body, encoding, self._limits.decompressed)
        kept = records(parse(data, max_items=self._limits.items))
        self._store.add(project, kept, time.time())
        return kept.event_id

    async def health(self, _request: Request) -> Response:
        envelopes, size = await to_thread.run_sync(self._store.totals)
        return JSONResponse(
            {"status": "ok", "version": __version__, "envelopes": envelopes, "bytes": size}
        )

    async def first_page(self, request: Request) -> Response:
        before = _number(request.query_params.get("before"))
        page = await to_thread.run_sync(self._render_list, before, str(request.base_url))
        return HTMLResponse(page)

    def _render_list(self, before: int | None, base_url: str) -> str:
        found = self._store.errors(limit=PAGE_SIZE + 1, before=before)
        rows = found[:PAGE_SIZE]
        older = rows[-1].number if len(found) > PAGE_SIZE else None
        return self._render(
            "errors.html", rows=rows, older=older, dsn=_dsn(base_url), newest=before is None
        )

    async def event_page(self, request: Request) -> Response:
        page = await to_thread.run_sync(self._render_event, request.path_params["event_id"])
        if page is None:
            return HTMLResponse(self._render("missing.html"), HTTPStatus.NOT_FOUND)
        return HTMLResponse(page)

    def _render_event(self, event_id: str) -> str | None:
        stored = self._store.event(event_id.replace("-", "").lower())
        if stored is None:
            return None
        event = event_view(json.loads(stored.payload))
        return self._render("event.html", listed=stored.listed, event=event)

    def _render(self, template: str, **values: Any) -> str:
        return self._templates.get_template(template).render(version=__version__, **values)


def _moment(listed: Listed) -> dict[str, str]:
    """When it happened, for people and for machines; when it arrived, if the event doesn't tell."""
    text = listed.summary.when
    arrived = datetime.fromtimestamp(listed.received, UTC)
    moment = datetime.fromisoformat(text) if text else arrived
    return {
        "machine": moment.isoformat(timespec="milliseconds"),
        "day": moment.strftime("%Y-%m-%d"),
        "time": moment.strftime("%H:%M:%S"),
    }


def _dsn(base_url: str) -> str:
    return f"{base_url.replace('://', '://dev@').rstrip('/')}/1"


def _number(text: str | None) -> int | None:
    """A number of a list's row; anything else, and numbers that no row has, are no number."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None  # noqa: PLR2004


async def _bad_envelope(_request: Request, error: Exception) -> Response:
    assert isinstance(error, BadEnvelopeError)
    return JSONResponse({"detail": error.detail}, error.status)


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, error.status_code, error.headers)
