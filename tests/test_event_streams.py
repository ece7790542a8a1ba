"""Streams of events: the request's span ends when they begin, and the stream is a child of its own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import sentry_sdk

from sentry_asgi import Keep, SentryMiddleware
from sentry_asgi._tracing import tracing
from sentry_asgi._tracing.sampling import Trace

from .support import Message, Scope, Sentry, call, http_scope, run
from .test_tracing import WAYS, Traced, lost

LASTS = 0.2
EVENTS = b"text/event-stream; charset=utf-8"


@pytest.fixture(params=WAYS)
def traced(request: pytest.FixtureRequest, sentry: Sentry) -> Traced:
    return Traced(sentry, request.param)


def streaming(content_type: bytes = EVENTS, parts: int = 3, fails: bool = False) -> Any:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        headers = [(b"Content-Type", content_type)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number in range(parts):
            with traced_span(f"part {number}"):
                await asyncio.sleep(LASTS / parts)
            await send({"type": "http.response.body", "body": b"data: x\n\n", "more_body": True})
        if fails:
            raise ValueError("nope")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return app


def traced_span(name: str) -> Any:
    return TRACED[0].start_span(name)


TRACED: list[Traced] = []


@pytest.fixture(autouse=True)
def spans(traced: Traced) -> None:
    TRACED[:] = [traced]


def test_the_requests_span_ends_when_the_stream_begins(traced: Traced) -> None:
    traced.init()
    run(SentryMiddleware(streaming(), transaction_style="route"), http_scope("/chat"))
    request, stream = sorted(traced.requests, key=lambda one: one["op"])
    assert (request["op"], request["name"]) == ("http.server", "/chat")
    assert (stream["op"], stream["name"]) == ("http.server.stream", "/chat stream")
    assert request["seconds"] < LASTS / 2 + 0.1
    assert stream["seconds"] >= LASTS / 2
    assert stream["parent"] == request["id"]
    assert stream["trace"] == request["trace"]
    assert stream["data"]["http.response.body.size"] == 27
    assert stream["data"]["sentry_asgi.stream_ended_by"] == "app"
    assert "http.response.status_code" not in stream["data"]
    parents = {one["name"]: one["parent"] for one in traced.spans if not one["own"]}
    assert parents == {
        "part 0": request["id"],
        "part 1": stream["id"],
        "part 2": stream["id"],
    }


@pytest.mark.parametrize("content_type", [b"application/json", b"application/octet-stream"])
def test_another_response_in_parts_is_one_span(traced: Traced, content_type: bytes) -> None:
    traced.init()
    run(SentryMiddleware(streaming(content_type)))
    assert traced.request["seconds"] >= LASTS


def test_a_stream_that_sends_nothing_is_none_of_the_requests_time(traced: Traced) -> None:
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        headers = [(b"content-type", EVENTS)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await asyncio.sleep(LASTS)
        await send({"type": "http.response.body", "body": b""})

    run(SentryMiddleware(app))
    assert traced.request["seconds"] < LASTS


def test_who_ended_it_is_told(traced: Traced) -> None:
    traced.init()

    async def left(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        headers = [(b"content-type", EVENTS)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: x\n\n", "more_body": True})
        assert (await receive())["type"] == "http.disconnect"

    incoming: list[Message] = [{"type": "http.request", "body": b""}, {"type": "http.disconnect"}]
    run(SentryMiddleware(left), http_scope("/left"), incoming)

    async def stop() -> None:
        async def endless(scope: Scope, receive: Any, send: Any) -> None:
            await streaming()(scope, receive, send_all_but_the_last(send))
            await asyncio.Event().wait()

        def send_all_but_the_last(send: Any) -> Any:
            async def sends(message: Any) -> None:
                if message.get("body") != b"":
                    await send(message)

            return sends

        task = asyncio.create_task(call(SentryMiddleware(endless), http_scope("/stopped")))
        await asyncio.sleep(LASTS * 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(stop())
    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(streaming(fails=True)), http_scope("/failed"))
    ended = {
        one["data"]["url.path"]: one["data"]["sentry_asgi.stream_ended_by"]
        for one in traced.requests
        if one["op"] == "http.server.stream"
    }
    assert ended == {"/left": "client", "/stopped": "server", "/failed": "app"}


def test_one_that_the_app_has_named_keeps_its_name(traced: Traced) -> None:
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        async def sends(message: Any) -> None:
            await send(message)
            span: Any = sentry_sdk.get_current_scope()._span
            if message.get("more_body") and span is not None:
                span.name = "mine"

        await streaming()(scope, receive, sends)

    run(SentryMiddleware(app))
    assert "mine" in [one["name"] for one in traced.requests]


@pytest.mark.parametrize("asked", [False, True])
def test_a_stream_that_is_not_sampled_counts_and_sends_nothing(traced: Traced, asked: bool) -> None:
    traced.init(traces_sample_rate=0.0)
    counted = lost(traced)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if asked:
            sentry_sdk.get_traceparent()
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-type", EVENTS)]}
        )
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    run(SentryMiddleware(app))
    assert traced.spans == []
    assert len([one for one in counted if one == ("sample_rate", "span")]) in {0, 2}


def test_keeping_does_not_take_a_stream_for_slow_but_sees_it_fail(traced: Traced) -> None:
    traced.init(traces_sample_rate=0.0)
    keep = Keep(slower_than=LASTS * 0.9)
    run(SentryMiddleware(streaming(), keep=keep), http_scope("/fine"))
    run(SentryMiddleware(streaming(parts=0), keep=keep), http_scope("/nothing"))
    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(streaming(fails=True), keep=keep), http_scope("/failed"))
    assert [(one["name"], one["data"]["sentry_asgi.kept"]) for one in traced.requests] == [
        ("/failed stream", "failed")
    ]
    names = [one["name"] for one in traced.spans if not one["own"]]
    assert names == ["part 1", "part 2"]


def test_a_stream_whose_span_cannot_begin_is_logged_and_sent(
    traced: Traced, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[Any] = []

    def trace(way: Any) -> Any:
        if made:
            raise RuntimeError("broken")
        made.append(way)
        return Trace(way)

    traced.init()
    monkeypatch.setattr(tracing, "Trace", trace)
    assert len(run(SentryMiddleware(streaming()), http_scope("/chat"))) == 5
    assert "starting a span failed" in caplog.text
    assert [one["op"] for one in traced.requests if one["op"]] == ["http.server"]
