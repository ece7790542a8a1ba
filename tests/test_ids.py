"""Responses that tell their ids: the trace's on every one, the event's on those that fail."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest
import sentry_sdk
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from sentry_asgi import SentryMiddleware
from sentry_asgi._scopes import isolation
from sentry_asgi._scopes.isolation import LazyScopes
from sentry_asgi._scopes.public import PublicScopes
from sentry_asgi._tracing import ids

from .support import (
    Message,
    Scope,
    Sentry,
    call,
    exchange_here,
    http_scope,
    respond,
    run,
    websocket_scope,
)
from .test_own_failures import logged
from .test_tracing import PARENT, TRACE, Traced, traced  # noqa: F401 - a fixture


@pytest.fixture(params=[LazyScopes, PublicScopes], ids=["lazy", "public"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(isolation, "_chosen", lambda: request.param)
    return request.param


def headers(sent: list[Message]) -> dict[bytes, bytes]:
    return dict(sent[0]["headers"])


def trace_id(event: dict[str, Any]) -> bytes:
    told: str = event["contexts"]["trace"]["trace_id"]
    return told.encode()


async def captures(scope: Scope, receive: Any, send: Any) -> None:
    sentry_sdk.capture_message("here")
    await respond(send)


def starting(**start: Any) -> Any:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, **start})
        await send({"type": "http.response.body"})

    return app


def test_every_response_carries_the_trace_that_its_events_have(sentry: Sentry, way: Any) -> None:
    sent = run(SentryMiddleware(captures, id_headers=True))
    assert headers(sent) == {b"x-trace-id": trace_id(sentry.event)}
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_traced_or_not_and_the_span_has_it_too(traced: Traced, way: Any, rate: float) -> None:  # noqa: F811
    traced.init(traces_sample_rate=rate)
    sent = run(SentryMiddleware(captures, id_headers=True))
    assert headers(sent) == {b"x-trace-id": trace_id(traced.sentry.event)}
    assert [one["trace"].encode() for one in traced.requests] == list(headers(sent).values()) * int(
        rate
    )


def test_the_callers_trace_goes_on(sentry: Sentry) -> None:
    incoming = [(b"traceparent", f"00-{TRACE}-{PARENT}-01".encode())]
    sent = run(SentryMiddleware(captures, id_headers=True), http_scope(headers=incoming))
    assert headers(sent)[b"x-trace-id"] == TRACE.encode()


def test_a_failing_response_carries_both(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        try:
            raise ValueError("nope")
        except ValueError:
            await respond(send, status=500)

    sent = run(SentryMiddleware(app, id_headers=True))
    assert headers(sent) == {
        b"x-trace-id": trace_id(sentry.event),
        b"x-sentry-event-id": sentry.event["event_id"].encode(),
    }


def test_excluded_requests_carry_it_too(sentry: Sentry) -> None:
    sent = run(SentryMiddleware(captures, id_headers=True), http_scope(method="HEAD"))
    assert headers(sent) == {b"x-trace-id": trace_id(sentry.event)}


def test_requests_at_the_same_time_carry_their_own(sentry: Sentry, way: Any) -> None:
    app = SentryMiddleware(captures, id_headers=True)

    async def main() -> list[list[Message]]:
        return await asyncio.gather(*(call(app, http_scope()) for _ in range(20)))

    told = {headers(sent)[b"x-trace-id"] for sent in asyncio.run(main())}
    assert len(told) == 20
    assert told == set(map(trace_id, sentry.events))


def test_without_the_option_nothing_is_in_the_way(sentry: Sentry) -> None:
    app = starting(headers=[])
    wrapped = SentryMiddleware(app)
    assert wrapped._serve is app
    assert headers(run(wrapped)) == {}


def test_without_a_client_the_app_runs_as_if_bare() -> None:
    assert headers(run(SentryMiddleware(starting(headers=[]), id_headers=True))) == {}


def test_what_the_app_says_by_that_name_stays(sentry: Sentry) -> None:
    for name in (b"x-trace-id", b"X-Trace-Id"):
        app = starting(headers=[(b"a", b"b"), (name, b"own")])
        sent = run(SentryMiddleware(app, id_headers=True))
        assert sent[0]["headers"] == [(b"a", b"b"), (name, b"own")]


def test_the_apps_message_and_headers_are_not_written_to(sentry: Sentry) -> None:
    kept: list[Any] = [(b"a", b"b")]
    start: Message = {"type": "http.response.start", "status": 200, "headers": kept}

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send(start)

    (sent,) = run(SentryMiddleware(app, id_headers=True))
    assert start == {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]}
    assert [name for name, _ in sent["headers"]] == [b"a", b"x-trace-id"]


def test_a_start_without_headers_gets_some(sentry: Sentry) -> None:
    assert list(headers(run(SentryMiddleware(starting(), id_headers=True)))) == [b"x-trace-id"]


@pytest.mark.parametrize("odd", [5, "text", iter([(b"a", b"b")]), {b"a": b"b"}, None])
def test_odd_headers_pass_as_they_are(sentry: Sentry, odd: Any) -> None:
    sent = run(SentryMiddleware(starting(headers=odd), id_headers=True))
    assert sent[0]["headers"] is odd


@pytest.mark.parametrize("odd", [None, 5, {}, {"type": []}, {"type": None}, object()])
def test_what_is_no_message_passes_in_silence(
    sentry: Sentry, caplog: pytest.LogCaptureFixture, odd: Any
) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send(odd)

    (sent,) = run(SentryMiddleware(app, id_headers=True))
    assert sent is odd
    assert caplog.messages == []


@pytest.mark.parametrize("pair", [None, 5, (b"a",), (5, 6), ("x-trace-id", "own"), b"ab"])
def test_odd_pairs_pass_as_they_are(sentry: Sentry, pair: Any) -> None:
    sent = run(SentryMiddleware(starting(headers=[pair]), id_headers=True))
    assert sent[0]["headers"][0] is pair
    assert len(sent[0]["headers"]) == (1 if pair == ("x-trace-id", "own") else 2)


def test_of_two_nested_middlewares_the_outermost_tells(sentry: Sentry) -> None:
    for outer in (True, False):
        inner = SentryMiddleware(starting(headers=[]), id_headers=True)
        sent = run(SentryMiddleware(inner, id_headers=outer))
        assert [name for name, _ in sent[0]["headers"]] == [b"x-trace-id"] * outer


def test_what_sends_in_another_context_tells_the_requests_trace(sentry: Sentry, way: Any) -> None:
    import contextvars

    empty = contextvars.Context()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        sentry_sdk.capture_message("here")
        loop = asyncio.get_running_loop()
        await loop.create_task(respond(send), context=empty)

    sent = run(SentryMiddleware(app, id_headers=True))
    assert headers(sent) == {b"x-trace-id": trace_id(sentry.event)}


def test_an_sdk_that_tells_no_trace_adds_nothing(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ids, "trace_here", lambda: ("", ""))
    assert headers(run(SentryMiddleware(starting(headers=[]), id_headers=True))) == {}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("trace_here", "telling a response's ids failed"),
        ("connection_here", "looking for a response's connection failed"),
    ],
)
def test_what_fails_in_here_is_said_and_the_response_passes(
    sentry: Sentry,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    said: str,
) -> None:
    def broken() -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(ids, name, broken)
    assert headers(run(SentryMiddleware(starting(headers=[]), id_headers=True))) == {}
    assert said in logged(caplog)[0]


def test_a_denied_websocket_is_answered_with_the_ids_and_an_accepted_one_is_not(
    sentry: Sentry,
) -> None:
    async def denies(scope: Scope, receive: Any, send: Any) -> None:
        sentry_sdk.capture_message("here")
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
        await send({"type": "websocket.http.response.body"})

    async def accepts(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})

    scope, connect = websocket_scope(), {"type": "websocket.connect"}
    sent = run(SentryMiddleware(denies, id_headers=True), dict(scope), [connect])
    assert headers(sent) == {b"x-trace-id": trace_id(sentry.event)}
    sent = run(SentryMiddleware(accepts, id_headers=True), dict(scope), [connect])
    assert sent == [{"type": "websocket.accept"}, {"type": "websocket.close"}]


def test_a_client_that_has_left_is_told_to_the_app_as_ever(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        with pytest.raises(BrokenPipeError):
            await respond(send)
        assert exchange_here().client_left

    async def gone(_message: Message) -> None:
        raise BrokenPipeError

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    asyncio.run(SentryMiddleware(app, id_headers=True)(http_scope(), receive, gone))
    assert sentry.events == []


def test_an_exception_leaves_as_it_came_and_no_frame_in_between_shows_variables(
    sentry: Sentry,
) -> None:
    error = ValueError("nope")

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        raise error

    with pytest.raises(ValueError, match="nope") as raised:
        run(SentryMiddleware(app, id_headers=True))
    assert raised.value is error
    (value,) = sentry.event["exception"]["values"]
    frames = value["stacktrace"]["frames"]
    ours = [frame for frame in frames if frame["module"] == "sentry_asgi._tracing.ids"]
    assert ours
    assert not any("vars" in frame for frame in ours)


def test_nothing_keeps_a_finished_request_alive(sentry: Sentry) -> None:
    kept: list[weakref.ref[Any]] = []

    class Body(bytes):
        pass

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        kept.append(weakref.ref(scope["state"]))
        await respond(send)

    class State:
        pass

    async def main() -> None:
        gc.disable()
        try:
            await call(SentryMiddleware(app, id_headers=True), http_scope(state=State()))
            assert kept[0]() is None
        finally:
            gc.enable()

    asyncio.run(main())


def test_starlettes_responses_carry_it(sentry: Sentry) -> None:
    async def text(request: Any) -> PlainTextResponse:
        return PlainTextResponse("text")

    async def stream(request: Any) -> StreamingResponse:
        return StreamingResponse(iter([b"a", b"b"]))

    class Passes(BaseHTTPMiddleware):
        async def dispatch(self, request: Any, call_next: Any) -> Any:
            return await call_next(request)

    app = Starlette(
        routes=[Route("/text", text), Route("/stream", stream)], middleware=[Middleware(Passes)]
    )
    for path in ("/text", "/stream", "/missing"):
        sent = run(SentryMiddleware(app, id_headers=True), http_scope(path))
        assert len(headers(sent)[b"x-trace-id"]) == 32
