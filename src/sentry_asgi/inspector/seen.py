"""What one request of the app under `dev` asked and answered, as it passes. In the app's process.

The rules:

- Messages are handed on as they are; of bodies the first `MAX_BODY` bytes are kept, and how many there were.
- Bodies that are no text (uploads, images) are told by their size alone.
- What is told of it holds no secrets: those that its events would not show, wherever they recur.
- Events that the app reports meanwhile are noted by their ids, from whichever thread they come.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from contextvars import Context, ContextVar, copy_context
from typing import Any

from sentry_asgi._connection.exchange import Exchange as Connection
from sentry_asgi._scopes.here import connection_here, trace_here
from sentry_asgi.privacy import scrub

MAX_BODY = 16 * 1024
_TEXTS = re.compile(
    r"(text/|application/([^/;]*\+)?(json|xml|javascript|x-www-form-urlencoded|graphql))",
    re.IGNORECASE,
)

current: ContextVar[Seen | None] = ContextVar("sentry_asgi_seen", default=None)


def note(envelope: Any) -> None:
    """Note an event that is being sent, for the request that it belongs to."""
    seen = current.get()
    if seen is None:
        return
    for item in envelope.items:
        if item.headers.get("type") == "event":
            seen.event_ids.append(str(envelope.headers.get("event_id") or ""))


class Body:
    """The beginning of a body, and its size."""

    def __init__(self) -> None:
        self.start = bytearray()
        self.size = 0

    def add(self, chunk: Any) -> None:
        """Take what passes; what is no bytes is the server's to refuse."""
        if isinstance(chunk, bytes | bytearray | memoryview):
            self.size += len(chunk)
            self.start += chunk[: MAX_BODY - len(self.start)]

    def text(self, headers: Iterable[tuple[str, str]]) -> str | None:
        """It as a text, if it is one by its type."""
        kind = next((value for name, value in headers if name == "content-type"), "")
        if not self.size or not _TEXTS.match(kind):
            return None
        return self.start.decode("utf-8", "replace")


class Seen:
    """One request and its response."""

    def __init__(self, scope: Any) -> None:
        """Begin with the request's scope."""
        self.method = str(scope.get("method", ""))
        self.path = str(scope.get("path", ""))  # frameworks change it in place
        self.query = _text(scope.get("query_string", b""))
        self.headers = _pairs(scope.get("headers"))
        self.asked, self.answered = Body(), Body()
        self.status: int | None = None
        self.response_headers: list[tuple[str, str]] = []
        self.event_ids: list[str] = []
        self.trace_id = self.span_id = ""
        self.began = time.perf_counter()
        self.took: float | None = None
        self._context: Context | None = None

    def received(self, message: Any) -> None:
        """Take a message of the client's."""
        self._look()
        if message.get("type") == "http.request":
            self.asked.add(message.get("body", b""))

    def sent(self, message: Any) -> None:
        """Take a message of the app's."""
        self._look()
        if message.get("type") == "http.response.start":
            self.status = message.get("status")
            self.response_headers = _pairs(message.get("headers"))
        elif message.get("type") == "http.response.body":
            self.answered.add(message.get("body", b""))

    def end(self) -> None:
        """The app is done with it."""
        self.took = time.perf_counter() - self.began

    def _look(self) -> None:
        """Where the app is called, the middleware further in says which span is the request's."""
        here = connection_here()
        if self._context is not None or not isinstance(here, Connection):
            return
        self._context = copy_context()
        span = here.trace.span if here.trace is not None else None
        self.trace_id, _ = trace_here()
        self.span_id = "" if span is None else span.span_id

    def record(self) -> dict[str, Any]:
        """What the inspector is told, without secrets."""
        record = {
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "request_headers": dict(self.headers),
            "request_body": self.asked.text(self.headers),
            "request_body_size": self.asked.size,
            "status": self.status,
            "response_headers": dict(self.response_headers),
            "response_body": self.answered.text(self.response_headers),
            "response_body_size": self.answered.size,
        }
        context = self._context or copy_context()
        return {
            **context.run(scrub, record),
            "trace_id": self.trace_id,
            "span_id": self.span_id,
            "event_id": self.event_ids[0] if self.event_ids else "",
            "duration_ms": None if self.took is None else round(self.took * 1000, 2),
        }


def _pairs(headers: Any) -> list[tuple[str, str]]:
    return [(_text(name).lower(), _text(value)) for name, value in headers or ()]


def _text(value: Any) -> str:
    return bytes(value).decode("latin-1")
