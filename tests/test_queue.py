"""How long a request waited in front of the application, as a proxy's header tells."""

from __future__ import annotations

import time
from typing import Any

import pytest
import sentry_sdk

from sentry_asgi import SentryMiddleware
from sentry_asgi._connection import queue
from sentry_asgi._connection.exchange import Exchange, now

from .support import (
    Scope,
    Sentry,
    exchange_here,
    failing,
    http_scope,
    respond,
    run,
    websocket_scope,
)
from .test_tracing import Traced, hello, traced  # noqa: F401 - a fixture

HOST = (b"host", b"example.org")
NAME = "http.server.request.time_in_queue"


def ago(seconds: float, unit: int = 1, digits: int = 0) -> bytes:
    """The time so many seconds ago, in units of which a second has so many."""
    return f"{(time.time() - seconds) * unit:.{digits}f}".encode()


def told_by(*headers: Any) -> float | None:
    return queue.milliseconds(exchange(http_scope(headers=[HOST, *headers])))


def exchange(scope: Scope) -> Exchange:
    async def nothing(*_: Any) -> None: ...

    return Exchange(scope, nothing, nothing)


@pytest.mark.parametrize("name", [b"x-request-start", b"X-Request-Start", b"x-queue-start"])
@pytest.mark.parametrize("prefix", [b"", b"t=", b" t="])
@pytest.mark.parametrize(
    ("unit", "digits"), [(1, 3), (1, 6), (1_000, 0), (1_000, 2), (1_000_000, 0)]
)
def test_the_time_in_the_queue_is_told_in_milliseconds_whatever_the_headers_unit(
    name: bytes, prefix: bytes, unit: int, digits: int
) -> None:
    told = told_by((name, prefix + ago(2.5, unit, digits)))
    assert told is not None
    assert 2_499 < told < 4_000


def test_whole_seconds_are_a_time_too() -> None:
    told = told_by((b"x-request-start", ago(10)))
    assert told is not None
    assert 9_000 < told < 12_000


def test_of_two_headers_the_first_that_tells_a_time_counts() -> None:
    told = told_by((b"x-queue-start", ago(60, digits=3)), (b"x-request-start", b"soon"))
    assert told is not None
    assert told > 59_000
    told = told_by((b"x-queue-start", ago(60, digits=3)), (b"x-request-start", ago(5, digits=3)))
    assert told is not None
    assert told < 50_000


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"t=",
        b"now",
        b"t=-1700000000",
        b"-1",
        b"0",
        b"nan",
        b"inf",
        b"1e9",
        b"t=t=1700000000",
        b"1700000000",  # years ago
        b"4700000000",  # years ahead
        b"9999999999999999",
        b"99999999999",  # none of the units
        b"1" * 8_000,
        b"t=" + b" " * 8_000,
        ("\u0661\u0667" + "\u0660" * 8).encode(),
        "\u0661\u0667" + "\u0660" * 8,
        "\uff11\uff17" + "\uff10" * 8,
        b"\xb2" * 10,
        b"\x00\xff",
        b"1700000000.",
        b"1700000000.1.2",
        b"1700000000." + b"1" * 8_000,
        b"1700000000\n",
    ],
)
def test_what_is_no_time_or_none_of_a_queue_is_ignored(value: Any) -> None:
    assert told_by((b"x-request-start", value)) is None


def test_a_header_that_came_twice_says_nothing() -> None:
    """One of them may be anybody's."""
    one = (b"x-request-start", ago(1, digits=3))
    assert told_by(one, one) is None


def test_nothing_is_negative_or_longer_than_an_hour() -> None:
    assert told_by((b"x-request-start", ago(-5, digits=3))) is None
    assert told_by((b"x-request-start", ago(3_605, digits=3))) is None
    told = told_by((b"x-request-start", ago(3_590, digits=3)))
    assert told is not None
    assert told > 3_589_000


def test_the_wait_ends_when_the_application_got_the_request_whenever_somebody_asks() -> None:
    waiting = exchange(http_scope(headers=[(b"x-request-start", ago(1, digits=6))]))
    waiting.started_at = now() - 0.75  # and has been at work since
    told = queue.milliseconds(waiting)
    assert told is not None
    assert 200 < told < 900


@pytest.mark.parametrize("headers", [None, 5, "text", [b"x"], iter(()), [(b"x-request-start", 5)]])
def test_odd_headers_tell_nothing(headers: Any) -> None:
    assert queue.milliseconds(exchange(http_scope(headers=headers))) is None


def test_an_error_tells_how_long_its_request_waited(sentry: Sentry) -> None:
    headers = [HOST, (b"x-request-start", b"t=" + ago(3, digits=3))]
    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(failing), http_scope(headers=headers))
    assert 2_990 < sentry.event["contexts"]["asgi"]["time_in_queue_ms"] < 10_000


def test_an_error_of_a_request_that_no_proxy_marked_does_not(sentry: Sentry) -> None:
    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(failing))
    assert "time_in_queue_ms" not in sentry.event["contexts"]["asgi"]


def test_a_requests_span_tells_how_long_it_waited(traced: Traced) -> None:  # noqa: F811
    traced.init()
    headers = [HOST, (b"x-request-start", b"t=" + ago(3, 1_000))]
    run(SentryMiddleware(hello), http_scope(headers=headers))
    assert 2_990 < traced.request["data"][NAME] < 10_000
    assert isinstance(traced.request["data"][NAME], float)


def test_a_span_of_a_request_that_no_proxy_marked_does_not(traced: Traced) -> None:  # noqa: F811
    traced.init()
    run(SentryMiddleware(hello))
    assert NAME not in traced.request["data"]


def test_a_handshake_waited_and_its_messages_did_not(traced: Traced) -> None:  # noqa: F811
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    headers = [HOST, (b"x-request-start", ago(3, 1_000_000))]
    incoming = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "hello"}]
    wrapped = SentryMiddleware(app, websocket_message_spans=True)
    run(wrapped, websocket_scope(headers=headers), incoming)
    handshake, message = traced.requests
    assert handshake["data"][NAME] > 2_990
    assert NAME not in message["data"]


def test_a_request_that_reports_nothing_is_not_asked_for_it(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(queue, "_seconds", lambda *given: asked.append(given))

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        assert not hasattr(exchange_here(), "_headers")
        await respond(send)

    headers = [HOST, (b"x-request-start", ago(3))]
    run(SentryMiddleware(app), http_scope(headers=headers))
    assert asked == []
    sentry_sdk.capture_message("outside")
    assert asked == []
