"""What the tests share: an SDK whose envelopes stay here, a judge of events, and bare ASGI."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport
from sentry_sdk.utils import Dsn

import sentry_asgi
from sentry_asgi._scopes.here import connection_here
from sentry_asgi._watch import watches

Scope = dict[str, Any]
Message = dict[str, Any]
App = Callable[..., Any]

PACKAGE = Path(sentry_asgi.__file__).parent
# All modules but those of the inspector, which is an extra.
CORE = sorted(path for path in PACKAGE.rglob("*.py") if "inspector" not in path.parts)

DSN = "https://public@sentry.invalid/1"
THOROUGH = bool(os.environ.get("SENTRY_ASGI_THOROUGH"))
"""Whether the longest tests look at all there is, as `.ci/run` has them do once; else at each third."""
SDK_VERSION = tuple(int(part) for part in sentry_sdk.VERSION.split("b")[0].split(".")[:2])


def pii(*, on: bool) -> dict[str, Any]:
    """The SDK's option that lets personal data through, or not, by the name it has in this version."""
    if SDK_VERSION < (3, 0):
        return {"send_default_pii": on}
    return {"data_collection": {"user_info": on}}


class CapturingTransport(Transport):
    """Keeps every envelope, and has Sentry's own normaliser look at every event."""

    def __init__(self) -> None:
        super().__init__({"dsn": DSN})
        self.envelopes: list[Envelope] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.envelopes.append(envelope)

    def items(self, kind: str) -> list[dict[str, Any]]:
        """The JSON payloads of all items of one type, as the bytes on the wire say."""
        return [
            json.loads(item.payload.get_bytes())
            for envelope in self.envelopes
            for item in envelope.items
            if item.headers.get("type") == kind
        ]


class Sentry:
    """The real SDK, initialised as a user would, with a transport that sends nowhere."""

    def __init__(self) -> None:
        self.transport = CapturingTransport()

    def init(self, **options: Any) -> Any:
        options = {
            "dsn": DSN,
            "transport": self.transport,
            "auto_enabling_integrations": False,
            "auto_session_tracking": False,
            **options,
        }
        self.transport.parsed_dsn = Dsn(options["dsn"])
        sentry_sdk.get_client().close(timeout=0)  # the last one's threads end with it
        sentry_sdk.init(**options)
        return sentry_sdk.get_client()

    def judge(self) -> None:
        """Fails if Sentry would call anything of what was captured invalid, or drop it."""
        for event in self.events + self.transport.items("transaction"):
            assert problems(event) == []

    @property
    def segments(self) -> list[dict[str, Any]]:
        """Streamed spans that are segments, once what waits has been flushed."""
        sentry_sdk.flush()
        spans = [one for batch in self.transport.items("span") for one in batch["items"]]
        return [one for one in spans if one["is_segment"]]

    @property
    def events(self) -> list[dict[str, Any]]:
        """Error and message events, oldest first."""
        return self.transport.items("event")

    @property
    def event(self) -> dict[str, Any]:
        """The one event there is."""
        (event,) = self.events
        return event


def problems(event: dict[str, Any]) -> list[str]:
    """What Sentry would call invalid in an event, or drop from it; empty if all is well."""
    if sys.version_info >= (3, 14):
        return []
    from sentry_relay.processing import StoreNormalizer

    normalizer = StoreNormalizer(project_id=1, remove_other=True, client="sentry.python/2")
    normalized = normalizer.normalize_event(json.loads(json.dumps(event)))
    request = normalized.get("request") or {}
    if request.get("cookies"):  # where the normaliser puts the cookie header
        request["headers"] = [*(request.get("headers") or ()), ["Cookie", "moved"]]
    return [*_invalid(normalized.get("_meta", {}), "_meta"), *_lost(event, normalized, "")]


def _invalid(meta: Any, path: str) -> Iterable[str]:
    if not isinstance(meta, dict):
        return
    for key, value in meta.items():
        if key == "err":
            yield f"invalid: {path}: {value}"
        else:
            yield from _invalid(value, f"{path}/{key}")


# Moved by the normaliser, not lost: the server's name becomes a tag, the message a logentry, formatted.
_MOVED = {"/server_name", "/message", "/logentry/message", "/_meta", "/_metrics", "/logger"}


def _lost(sent: Any, kept: Any, path: str) -> Iterable[str]:
    if (
        path in _MOVED
        or path.endswith("/same_process_as_parent")
        or sent in (None, "", [], {}, {"values": []})
    ):
        return
    if path == "/tags":
        kept = dict(kept or [])
    elif path in {"/request/headers", "/request/cookies", "/contexts/response/headers"}:
        kept = {key.lower(): value for key, value in kept or []}
        sent = {key.lower(): value for key, value in sent.items()}
    elif path == "/request/query_string":
        sent = bool(sent)
        kept = bool(kept)
    if isinstance(sent, dict):
        for key, value in sent.items():
            kept_value = kept.get(key) if isinstance(kept, dict) else None
            yield from _lost(value, kept_value, f"{path}/{key}")
    elif isinstance(sent, list):
        if not isinstance(kept, list) or len(kept) != len(sent):
            yield f"lost: {path}: {sent!r}"
            return
        for index, value in enumerate(sent):
            yield from _lost(value, kept[index], f"{path}/{index}")
    elif kept is None:
        yield f"lost: {path}: {sent!r}"


# Bare ASGI: scopes, and a caller that plays the server.


def http_scope(path: str = "/", /, **changes: Any) -> Scope:
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(errors="replace"),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"example.org")],
        "client": ("203.0.113.7", 50000),
        "server": ("127.0.0.1", 8000),
    }
    return {**scope, **changes}


def websocket_scope(path: str = "/", /, **changes: Any) -> Scope:
    scope = http_scope(path, type="websocket", scheme="ws", subprotocols=[])
    del scope["method"]
    return {**scope, **changes}


async def call(app: App, scope: Scope, messages: Iterable[Message] = ()) -> list[Message]:
    """Calls an ASGI 3 app with the given incoming messages; returns what it sent."""
    incoming = list(messages) or [{"type": "http.request", "body": b"", "more_body": False}]
    sent: list[Message] = []

    async def receive() -> Message:
        if incoming:
            return incoming.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


def run(app: App, scope: Scope | None = None, messages: Iterable[Message] = ()) -> list[Message]:
    """As call(), in an event loop of its own."""
    return asyncio.run(call(app, http_scope() if scope is None else scope, messages))


own_time = getattr(time, "thread_time", time.process_time)
"""Seconds of the processor that this thread has used; in Pyodide, which has no others, the process."""


def share(things: Iterable[Any]) -> list[Any]:
    """All of them, or each third: see `THOROUGH`."""
    return list(things)[:: 1 if THOROUGH else 3]


async def respond(
    send: Callable[[Message], Awaitable[None]], body: bytes = b"ok", status: int = 200
) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def failing(scope: Scope, receive: Any, send: Any) -> None:
    raise ValueError("nope")


def exception_values(event: dict[str, Any]) -> list[tuple[str, str]]:
    """Type and message of each exception of an event, as Sentry orders them: innermost first."""
    return [(value["type"], value["value"]) for value in event["exception"]["values"]]


def exchange_here() -> Any:
    """Return what the middleware knows of the connection in whose context this runs."""
    return connection_here()


def end_all_watches() -> None:
    """End the threads that watch loops, also those of loops that stay open; forget those that could not say so."""
    for watch in watches.watched():
        watch.end()
    for thread in threading.enumerate():
        if thread.name == "sentry-asgi.watch":
            thread.join(5)
            assert not thread.is_alive()
    for watch in watches.watched():
        watches._ended(watch)
