"""On a real uvicorn, requests of one connection share nothing.

With a slowly read upload, or with pipelined requests, uvicorn starts a connection's next request in the context
variables of the one before (Kludex/uvicorn#2167).
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest
import sentry_sdk

from sentry_asgi import SentryMiddleware

from .servers import exchange, uvicorn_serving
from .support import Scope, Sentry

inherited: list[bool] = []
marker: ContextVar[str] = ContextVar("marker", default="")


async def app(scope: Scope, receive: Any, send: Any) -> None:
    """Reads its body slowly, tells Sentry who is asking, and reports."""
    if scope["type"] != "http":
        raise NotImplementedError
    if scope["path"] == "/second":
        # Whether the server did what this test is about.
        inherited.append(marker.get() == "/first")
    marker.set(scope["path"])
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        await asyncio.sleep(0.001)
    if scope["path"] == "/first":
        sentry_sdk.set_user({"id": "alice"})
        sentry_sdk.set_tag("tenant", "alice's")
        sentry_sdk.add_breadcrumb(message="alice was here")
    sentry_sdk.capture_message(scope["path"])
    await respond_with_length(send)


async def respond_with_length(send: Any) -> None:
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


BODY = b"x" * 1_000_000
UPLOAD = b"POST /first HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
FIRST = b"GET /first HTTP/1.1\r\nHost: t\r\n\r\n"
SECOND = b"GET /second HTTP/1.1\r\nHost: t\r\n\r\n"


@pytest.mark.parametrize("http", ["h11", "httptools"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("first", [UPLOAD, FIRST], ids=["slow upload", "pipelined"])
def test_requests_of_one_connection_share_nothing(
    sentry: Sentry, http: str, loop: str, first: bytes
) -> None:
    inherited.clear()
    with uvicorn_serving(SentryMiddleware(app), http=http, loop=loop) as port:
        received = exchange(port, first + SECOND, responses=2)
    assert received.count(b"200 OK") == 2
    alice, bob = sentry.events
    assert alice["user"] == {"id": "alice"}
    assert alice["request"]["url"].endswith("/first")
    assert bob["message"] == "/second"
    assert bob["request"]["url"].endswith("/second")
    assert "user" not in bob
    assert "tags" not in bob
    assert not bob["breadcrumbs"]["values"]


def test_uvicorn_still_does_what_these_tests_are_about(sentry: Sentry) -> None:
    """If this fails, uvicorn gives each request a context of its own, and the tests above prove less."""
    inherited.clear()
    with uvicorn_serving(SentryMiddleware(app), http="h11", loop="asyncio") as port:
        exchange(port, UPLOAD + SECOND, responses=2)
        exchange(port, FIRST + SECOND, responses=2)
    assert any(inherited)
