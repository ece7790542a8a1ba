"""Traces: what is sampled, what a request's span tells, and what those that are not sampled cost.

Most tests run for each way that the installed SDK has: transactions, streamed spans.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import warnings
from collections.abc import Iterator
from time import perf_counter, sleep
from typing import Any

import pytest
import sentry_sdk

from sentry_asgi import SentryMiddleware
from sentry_asgi._connection.exclusion import exclusion
from sentry_asgi._scopes import isolation, lazy
from sentry_asgi._scopes.public import PublicScopes
from sentry_asgi._sdk import spans as sdk_spans
from sentry_asgi._tracing import sampling
from sentry_asgi._tracing.streamed import StreamedSpans
from sentry_asgi._tracing.tracing import Tracing
from sentry_asgi._tracing.transactions import Transactions

from .support import (
    SDK_VERSION,
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

WAYS = ["static"] * (SDK_VERSION < (3, 0)) + ["stream"] * (SDK_VERSION >= (2, 75))

TRACE = "0123456789abcdef0123456789abcdef"
PARENT = "fedcba9876543210"


class Traced:
    """An SDK that traces in one of its ways, and what it sent, whichever that is."""

    def __init__(self, sentry: Sentry, way: str) -> None:
        self.sentry, self.way = sentry, way
        self.options: dict[str, Any] = {}
        if way == "stream" and SDK_VERSION < (3, 0):
            self.options = {"trace_lifecycle": "stream"}

    def init(self, **options: Any) -> Any:
        return self.sentry.init(**{"traces_sample_rate": 1.0, **self.options, **options})

    def start_span(self, name: str) -> Any:
        if self.way == "stream":
            return sdk_spans.start_streamed_span(name)
        return sentry_sdk.start_span(op="test", name=name)

    @property
    def spans(self) -> list[dict[str, Any]]:
        """Every span, the requests' own included: name, op, status, data, ids, start and end."""
        if self.way == "stream":
            sentry_sdk.flush()
            batches = self.sentry.transport.items("span")
            return [_from_stream(span) for batch in batches for span in batch["items"]]
        return [
            span
            for event in self.sentry.transport.items("transaction")
            for span in _from_static(event)
        ]

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The requests' own spans."""
        return [span for span in self.spans if span["own"]]

    @property
    def request(self) -> dict[str, Any]:
        (request,) = self.requests
        return request


def _from_stream(span: dict[str, Any]) -> dict[str, Any]:
    data = {name: attribute["value"] for name, attribute in span["attributes"].items()}
    return {
        "own": span["is_segment"],
        "name": span["name"],
        "source": data.get("sentry.segment.name.source"),
        "op": data.get("sentry.op"),
        "status": span["status"],
        "data": data,
        "trace": span["trace_id"],
        "id": span["span_id"],
        "parent": span.get("parent_span_id"),
        "seconds": span["end_timestamp"] - span["start_timestamp"],
    }


def _from_static(event: dict[str, Any]) -> list[dict[str, Any]]:
    from datetime import datetime

    def seconds(span: dict[str, Any]) -> float:
        start, end = (datetime.fromisoformat(span[key]) for key in ("start_timestamp", "timestamp"))
        return (end - start).total_seconds()

    trace = event["contexts"]["trace"]
    own = {**trace, **event, "own": True, "name": event["transaction"], **event["transaction_info"]}
    spans = [own, *({**span, "own": False, "name": span["description"]} for span in event["spans"])]
    return [
        {
            "own": span["own"],
            "name": span["name"],
            "source": span.get("source"),
            "op": trace["op"] if span["own"] else span["op"],
            "status": trace.get("status") if span["own"] else span.get("status"),
            "data": trace.get("data", {}) if span["own"] else span.get("data", {}),
            "trace": span["trace_id"],
            "id": span["span_id"],
            "parent": span.get("parent_span_id"),
            "seconds": seconds(span),
        }
        for span in spans
    ]


@pytest.fixture(params=WAYS)
def traced(request: pytest.FixtureRequest, sentry: Sentry) -> Traced:
    return Traced(sentry, request.param)


async def hello(scope: Scope, receive: Any, send: Any) -> None:
    await respond(send)


def answering(status: int) -> Any:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await respond(send, status=status)

    return app


# What a sampled request tells


def test_a_request_tells_what_came_in_and_what_went_out(traced: Traced) -> None:
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        scope["path_template"] = "/items/{id}"
        await receive()
        await respond(send, b"hello", 201)

    headers = [(b"host", b"example.org:8080"), (b"user-agent", b"curl/8")]
    scope = http_scope("/items/1", method="POST", headers=headers)
    run(
        SentryMiddleware(app, transaction_style="route"),
        scope,
        [{"type": "http.request", "body": b"abc"}],
    )
    request = traced.request
    assert (request["name"], request["source"], request["op"]) == (
        "/items/{id}",
        "route",
        "http.server",
    )
    assert request["status"] == "ok"
    facts = {
        "http.request.method": "POST",
        "http.route": "/items/{id}",
        "url.path": "/items/1",
        "server.address": "example.org",
        "server.port": 8080,
        "network.protocol.version": "1.1",
        "user_agent.original": "curl/8",
        "http.response.status_code": 201,
        "http.response.body.size": 5,
        "http.request.body.size": 3,
    }
    assert facts.items() <= request["data"].items()
    assert 0 < request["data"]["http.request.time_to_first_byte"] < 10


def posted(traced: Traced, body: bytes) -> Any:
    """The body that is told of a POST."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await respond(send)

    headers = [(b"content-type", b"application/json"), (b"x-api-key", b"k3y-0f-the-cl1ent")]
    run(
        SentryMiddleware(app),
        http_scope("/", method="POST", headers=headers),
        [{"type": "http.request", "body": body}],
    )
    if traced.way == "static":
        (event,) = traced.sentry.transport.items("transaction")
        return event["request"].get("data")
    told = traced.request["data"].get("http.request.body.data")
    return told and json.loads(told)


def test_the_body_is_told_without_its_secrets_and_the_requests(traced: Traced) -> None:
    traced.init()
    told = posted(traced, b'{"name": "tea", "password": "hunter2", "by": ["k3y-0f-the-cl1ent"]}')
    assert told == {"name": "tea", "password": "[Filtered]", "by": ["[Filtered]"]}


@pytest.mark.parametrize("body", [b"", b'""'])
def test_a_body_with_nothing_in_it_is_not_told(traced: Traced, body: bytes) -> None:
    traced.init()
    assert not posted(traced, body)


@pytest.mark.skipif(SDK_VERSION < (2, 75), reason="an SDK without data_collection")
def test_a_body_that_may_not_be_collected_is_not_told(traced: Traced) -> None:
    traced.init(data_collection={"http_bodies": []})
    assert not posted(traced, b'{"name": "tea"}')


STATUSES = {
    200: "ok",
    302: "ok",
    401: "unauthenticated",
    403: "permission_denied",
    404: "not_found",
    429: "resource_exhausted",
    500: "internal_error",
    503: "unavailable",
}


@pytest.mark.parametrize("status", STATUSES)
def test_the_status_is_the_responses(traced: Traced, status: int) -> None:
    traced.init()
    run(SentryMiddleware(answering(status)))
    request = traced.request
    assert request["data"]["http.response.status_code"] == status
    streamed = "error" if status >= 500 else "ok"  # 404 is no error
    assert request["status"] == (streamed if traced.way == "stream" else STATUSES[status])


def test_an_unhandled_exception_without_a_response_is_a_500(traced: Traced) -> None:
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        raise ValueError("nope")

    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(app))
    assert traced.request["data"]["http.response.status_code"] == 500
    assert traced.request["status"] == ("error" if traced.way == "stream" else "internal_error")
    assert traced.sentry.event["contexts"]["trace"]["trace_id"] == traced.request["trace"]
    assert traced.sentry.event["contexts"]["trace"]["span_id"] == traced.request["id"]


def test_a_failure_in_the_middle_of_a_response_is_an_error_whatever_it_began_with(
    traced: Traced,
) -> None:
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        raise ValueError("nope")

    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(app))
    assert traced.request["data"]["http.response.status_code"] == 200
    assert traced.request["status"] == ("error" if traced.way == "stream" else "internal_error")


def outcome(traced: Traced) -> Any:
    request = traced.request
    return (
        request["data"].get("sentry.status.message")
        if traced.way == "stream"
        else request["status"]
    )


def test_a_cancelled_request_is_cancelled(traced: Traced) -> None:
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.create_task(call(SentryMiddleware(app), http_scope()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert outcome(traced) == "cancelled"


def test_a_request_whose_client_left_is_cancelled(traced: Traced) -> None:
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()

    run(SentryMiddleware(app), http_scope(), [{"type": "http.disconnect"}])
    assert outcome(traced) == "cancelled"


def handler() -> None: ...


def test_the_name_is_found_after_routing(traced: Traced) -> None:
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        scope["endpoint"] = handler
        await respond(send)

    run(SentryMiddleware(app))
    assert (traced.request["name"], traced.request["source"]) == (
        f"{__name__}.handler",
        "component",
    )


@pytest.mark.parametrize(("said", "source"), [(None, "custom"), ("task", "task")])
def test_a_name_that_the_app_set_wins(traced: Traced, said: Any, source: str) -> None:
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        scope["endpoint"] = handler
        sentry_sdk.get_current_scope().set_transaction_name("mine", source=said)
        await respond(send)

    run(SentryMiddleware(app))
    assert (traced.request["name"], traced.request["source"]) == ("mine", source)


@pytest.mark.usefixtures("work_after_the_response")
def test_work_after_the_response_is_a_span_of_its_own(traced: Traced) -> None:
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await respond(send)
        await asyncio.sleep(0.05)
        with traced.start_span("background"):
            await asyncio.sleep(0.05)

    began = perf_counter()
    run(SentryMiddleware(app))
    elapsed = perf_counter() - began
    spans = {span["name"]: span for span in traced.spans}
    own = traced.request
    assert own["seconds"] <= elapsed - 0.1
    assert spans["after the response"]["seconds"] >= 0.09
    assert spans["background"]["parent"] == spans["after the response"]["parent"] == own["id"]


@pytest.mark.usefixtures("work_after_the_response")
def test_what_it_takes_to_report_a_failure_is_no_work_after_the_response(traced: Traced) -> None:
    def slow(event: Any, hint: Any) -> Any:
        sleep(0.1)
        return event

    traced.init(before_send=slow)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await respond(send, b"", 500)
        raise ValueError

    with pytest.raises(ValueError):
        run(SentryMiddleware(app))
    assert len(traced.sentry.transport.items("event")) == 1
    assert [span["name"] for span in traced.spans] == ["/"]


def test_a_stream_of_a_thousand_chunks_is_one_span(traced: Traced) -> None:
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        for _ in range(1000):
            await send({"type": "http.response.body", "body": b"data: x\n\n", "more_body": True})
        await send({"type": "http.response.body"})

    run(SentryMiddleware(app))
    assert len(traced.spans) == 1
    assert traced.request["data"]["http.response.body.size"] == 9000


# Concurrent work


def test_children_of_gathered_tasks_are_siblings(traced: Traced) -> None:
    traced.init()

    async def child(name: str) -> None:
        with traced.start_span(name):
            await asyncio.sleep(0.001)
            with traced.start_span(f"{name}'s own"):
                await asyncio.sleep(0.001)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await asyncio.gather(child("a"), child("b"), child("c"))
        with traced.start_span("after"):
            pass
        await respond(send)

    run(SentryMiddleware(app))
    spans = {span["name"]: span for span in traced.spans}
    own = traced.request["id"]
    assert [spans[name]["parent"] for name in ("a", "b", "c", "after")] == [own] * 4
    for name in ("a", "b", "c"):
        assert spans[f"{name}'s own"]["parent"] == spans[name]["id"]


def test_spans_within_new_scopes_nest_as_ever(traced: Traced) -> None:
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        with traced.start_span("outer"), sentry_sdk.new_scope(), traced.start_span("inner"):
            pass
        for _ in range(20):
            with sentry_sdk.new_scope(), traced.start_span("again"):
                pass
        assert lazy._active.get() is None or len(_chain()) <= 1
        await respond(send)

    run(SentryMiddleware(app))
    spans = {span["name"]: span for span in traced.spans}
    assert spans["inner"]["parent"] == spans["outer"]["id"]
    assert spans["outer"]["parent"] == spans["again"]["parent"] == traced.request["id"]


def test_what_is_active_in_an_earlier_requests_context_is_not_kept(traced: Traced) -> None:
    """As on a kept-alive connection whose next request starts in the context of the last one's span."""
    traced.init()

    async def second(scope: Scope, receive: Any, send: Any) -> None:
        with traced.start_span("second"):
            assert [entry.asgi_connection.path for entry in _chain()] == ["/second"]
        await respond(send)

    async def main() -> None:
        contexts: list[contextvars.Context] = []

        async def first(scope: Scope, receive: Any, send: Any) -> None:
            with traced.start_span("first"):
                contexts.append(contextvars.copy_context())
            await respond(send)

        await call(SentryMiddleware(first), http_scope("/first"))
        coroutine = call(SentryMiddleware(second), http_scope("/second"))
        await asyncio.create_task(coroutine, context=contexts[0])

    asyncio.run(main())
    spans = {span["name"]: span for span in traced.spans}
    assert spans["second"]["parent"] == spans["/second"]["id"]
    assert spans["/second"]["trace"] != spans["/first"]["trace"]


def test_a_span_set_on_an_untouched_scope_is_active_there(sentry: Sentry) -> None:
    span = object()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        current: Any = sentry_sdk.get_current_scope()
        current._span = span
        assert current._span is span
        current._span = None
        assert current._span is None
        await respond(send)

    run(SentryMiddleware(app))


def test_a_span_that_cannot_be_started_when_it_is_asked_for_is_none(
    traced: Traced, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("broken")

    traced.init(traces_sample_rate=0.0)
    for way in (Transactions, StreamedSpans):
        monkeypatch.setattr(way, "_started", fail)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        assert sentry_sdk.get_current_scope()._span is None  # type: ignore[attr-defined, unused-ignore]
        await respond(send)

    assert run(SentryMiddleware(app))[1]["body"] == b"ok"
    assert "starting a span failed" in caplog.text


def _chain() -> list[Any]:
    entries, entry = [], lazy._active.get()
    while entry is not None:
        entries.append(entry[0])
        entry = entry[2]
    return entries


# Sampling


def test_a_request_that_is_not_sampled_has_no_span_until_somebody_asks(traced: Traced) -> None:
    traced.init(traces_sample_rate=0.0)
    seen: list[Any] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        seen.append(exchange_here().trace.span)
        await respond(send)

    run(SentryMiddleware(app))
    assert seen == [None]
    assert traced.spans == []


def test_a_span_that_is_asked_for_is_the_sdks_own_unsampled_one(traced: Traced) -> None:
    traced.init(traces_sample_rate=0.0)
    seen: dict[str, Any] = {}

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        seen["header"] = sentry_sdk.get_traceparent()
        seen["baggage"] = sentry_sdk.get_baggage()
        with traced.start_span("child") as child:
            seen["child"] = child.sampled
        await respond(send)

    run(SentryMiddleware(app))
    assert seen["header"].endswith("-0")
    assert "sentry-sampled=false" in seen["baggage"]
    assert "sentry-sample_rate=0.0" in seen["baggage"]
    assert not seen["child"]
    assert traced.spans == []


def lost(traced: Traced) -> list[tuple[str, str]]:
    """What the client reports will say was not sent: (reason, category)."""
    counted: list[tuple[str, str]] = []

    def record(
        reason: str, data_category: Any = None, item: Any = None, *, quantity: int = 1
    ) -> None:
        counted.extend([(reason, data_category)] * quantity)

    traced.sentry.transport.record_lost_event = record  # type: ignore[method-assign]
    return counted


@pytest.mark.parametrize("asked", [False, True])
def test_client_reports_count_what_was_not_sampled(
    traced: Traced, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    traced.init(traces_sample_rate=0.0)
    counted = lost(traced)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if asked:
            sentry_sdk.get_traceparent()
        await respond(send)

    run(SentryMiddleware(app))
    expected = [("sample_rate", "span")] + [("sample_rate", "transaction")] * (
        traced.way == "static"
    )
    if SDK_VERSION >= (2, 75):
        assert sorted(counted) == expected
    else:
        assert ("sample_rate", "transaction") in counted


def test_about_as_many_are_sampled_as_the_rate_says_and_the_sdk_agrees(
    traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced.init(traces_sample_rate=0.25)
    numbers = iter([0.1, 0.25, 0.2499999, 0.9, 0.0])
    monkeypatch.setattr(sampling, "random", lambda: next(numbers))
    decided: list[str] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        header, baggage = sentry_sdk.get_traceparent(), sentry_sdk.get_baggage()
        assert header is not None
        assert baggage is not None
        decided.append(header[-1])
        assert "sentry-sample_rate=0.25" in baggage
        assert "sentry-sample_rand=0." in baggage
        await respond(send)

    app_under_test = SentryMiddleware(app)
    for _ in range(5):
        run(app_under_test)
    assert decided == ["1", "0", "1", "0", "1"]
    assert len(traced.requests) == 3


def test_backpressure_lowers_the_rate(traced: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    client = traced.init(traces_sample_rate=1.0)
    client.monitor._downsample_factor = 2
    monkeypatch.setattr(sampling, "random", lambda: 0.3)
    counted = lost(traced)
    run(SentryMiddleware(hello))
    assert traced.spans == []
    assert ("backpressure", "span") in counted


def test_a_sampler_decides_by_the_request(traced: Traced) -> None:
    contexts: list[dict[str, Any]] = []

    def sampler(context: dict[str, Any]) -> float:
        contexts.append(context)
        return 0.0 if context["asgi_scope"]["path"] == "/health" else 1.0

    traced.init(traces_sampler=sampler)
    app = SentryMiddleware(hello)
    run(app, http_scope("/health"))
    run(app, http_scope("/x", headers=[(b"sentry-trace", f"{TRACE}-{PARENT}-0".encode())]))
    assert [request["name"] for request in traced.requests] == ["/x"]
    assert len(contexts) == 2
    assert contexts[0]["parent_sampled"] is None
    assert contexts[1]["parent_sampled"] is False
    assert contexts[1]["transaction_context"]["name"] == "/x"
    assert contexts[1]["transaction_context"]["op"] == "http.server"


def test_a_sampler_that_raises_is_no_problem_of_the_apps(traced: Traced) -> None:
    def sampler(context: Any) -> float:
        raise RuntimeError("broken")

    traced.init(traces_sampler=sampler)
    assert run(SentryMiddleware(hello))[1]["body"] == b"ok"
    assert traced.spans == []


@pytest.mark.parametrize("rate", [7, -1.0, "often", float("nan")])
def test_a_rate_that_is_none_is_the_sdks_to_judge(traced: Traced, rate: Any) -> None:
    traced.init(traces_sample_rate=rate)
    assert run(SentryMiddleware(hello))[1]["body"] == b"ok"
    assert traced.spans == []


# The incoming trace


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_the_incoming_trace_is_continued_whatever_the_method(traced: Traced, method: str) -> None:
    traced.init(traces_sample_rate=0.0)  # the parent decides
    headers = [(b"sentry-trace", f"{TRACE}-{PARENT}-1".encode())]
    run(SentryMiddleware(hello, exclude=()), http_scope(method=method, headers=headers))
    assert (traced.request["trace"], traced.request["parent"]) == (TRACE, PARENT)


def outgoing(traced: Traced, headers: list[Any], **options: Any) -> tuple[str, str]:
    """What a request with these headers hands on to the services that it calls."""
    traced.init(**options)
    seen: list[Any] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        seen.extend([sentry_sdk.get_traceparent(), sentry_sdk.get_baggage()])
        await respond(send)

    run(SentryMiddleware(app), http_scope(headers=headers))
    return seen[0], seen[1]


@pytest.mark.parametrize("rate", [None, 0.0, 1.0])
@pytest.mark.parametrize("flag", ["", "-0", "-1"])
def test_what_goes_out_continues_what_came_in(traced: Traced, rate: Any, flag: str) -> None:
    baggage = b"other=x,sentry-trace_id=" + TRACE.encode() + b",sentry-sample_rand=0.5"
    sent = [(b"sentry-trace", f"{TRACE}-{PARENT}{flag}".encode()), (b"baggage", baggage)]
    header, handed_on = outgoing(traced, sent, traces_sample_rate=rate)
    assert header.startswith(TRACE)
    assert "sentry-sample_rand=0.5" in handed_on
    if rate is not None:
        decided = flag[-1:] or str(int(rate))
        assert header.endswith("-" + decided)


@pytest.mark.parametrize(
    ("flags", "sampled"), [("01", "1"), ("03", "1"), ("00", None), ("02", None)]
)
@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_w3c_traceparent_is_continued(
    traced: Traced, flags: str, sampled: Any, rate: float
) -> None:
    sent = [(b"traceparent", f"00-{TRACE}-{PARENT}-{flags}".encode())]
    header, _ = outgoing(traced, sent, traces_sample_rate=rate)
    assert header.startswith(TRACE)
    assert header[-1] == (sampled or str(int(rate)))


def test_sentry_trace_goes_before_traceparent(traced: Traced) -> None:
    other = "f" * 32
    sent = [
        (b"sentry-trace", f"{TRACE}-{PARENT}-1".encode()),
        (b"traceparent", f"00-{other}-{PARENT}-00".encode()),
    ]
    header, _ = outgoing(traced, sent)
    assert header.startswith(TRACE)


@pytest.mark.parametrize(
    "value",
    [
        b"", b"00", b"\xff" * 100, b"0" * 100_000, b"00-" + b"0" * 32 + b"-" + b"1" * 16 + b"-01",
        b"00-" + b"1" * 32 + b"-" + b"0" * 16 + b"-01", b"ff-" + b"1" * 32 + b"-" + b"1" * 16 + b"-01",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", [b"traceparent", b"sentry-trace", b"baggage"])
def test_hostile_trace_headers_start_a_new_trace(traced: Traced, name: bytes, value: bytes) -> None:
    header, _ = outgoing(traced, [(name, value)])
    assert len(header.split("-")[0]) == 32
    assert not header.startswith(("0" * 32, "1" * 32))


@pytest.mark.skipif(SDK_VERSION < (2, 75), reason="the option is younger")
@pytest.mark.parametrize("flag", ["0", "1"])
def test_strict_trace_continuation_is_honoured(traced: Traced, flag: str) -> None:
    sent = [
        (b"sentry-trace", f"{TRACE}-{PARENT}-{flag}".encode()),
        (b"baggage", b"sentry-org_id=2"),
    ]
    dsn = "https://key@o1.ingest.sentry.io/1"
    strict = {"dsn": dsn, "strict_trace_continuation": True}
    header, _ = outgoing(traced, sent, **strict)
    assert not header.startswith(TRACE)
    assert header.endswith("-1")
    header, _ = outgoing(traced, sent, dsn=dsn)
    assert not header.startswith(TRACE)  # another organisation's is never followed


@pytest.mark.skipif(SDK_VERSION < (2, 75), reason="the option is younger")
@pytest.mark.parametrize("strict", [False, True])
def test_an_outsiders_flag_forces_no_sampling_where_traces_are_continued_strictly(
    traced: Traced, strict: bool
) -> None:
    dsn = "https://key@o1.ingest.sentry.io/1"
    traced.init(traces_sample_rate=0.0, strict_trace_continuation=strict, dsn=dsn)
    run(
        SentryMiddleware(hello),
        http_scope(headers=[(b"sentry-trace", f"{TRACE}-{PARENT}-1".encode())]),
    )
    assert len(traced.requests) == (not strict)  # as the SDK has it: the doctor says so


# Websockets


def talk(app: Any, incoming: list[Message]) -> None:
    run(SentryMiddleware(app), websocket_scope("/ws"), incoming)


def test_a_websockets_span_is_its_handshake(traced: Traced) -> None:
    traced.init()
    during: list[int] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        during.append(len(traced.requests))
        assert exchange_here().trace is None
        await asyncio.sleep(0.1)
        sentry_sdk.capture_message("on the connection")
        await send({"type": "websocket.close", "code": 1000})

    began = perf_counter()
    talk(app, [{"type": "websocket.connect"}])
    elapsed = perf_counter() - began
    assert during == [1]
    request = traced.request
    assert request["op"] == "websocket.server"
    assert request["data"]["http.response.status_code"] == 101
    assert request["seconds"] <= elapsed - 0.1
    assert request["status"] == "ok"
    assert traced.sentry.event["contexts"]["trace"]["trace_id"] == request["trace"]


def test_a_refused_websocket_is_a_403(traced: Traced) -> None:
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "websocket.close"})

    talk(app, [])
    assert traced.request["data"]["http.response.status_code"] == 403


def test_a_websocket_that_fails_before_its_handshake_is_a_500(traced: Traced) -> None:
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        raise ValueError("nope")

    with pytest.raises(ValueError, match="nope"):
        talk(app, [])
    assert traced.request["data"]["http.response.status_code"] == 500


# Exclusion


def test_excluded_paths_are_not_traced_and_their_errors_are_reported(traced: Traced) -> None:
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if scope["path"].endswith("fail"):
            raise ValueError("nope")
        await respond(send)

    wrapped = SentryMiddleware(app, exclude=["/health", "/static/*"])
    for path in ("/health", "/static/a/b", "/healthy", "/"):
        run(wrapped, http_scope(path))
    with pytest.raises(ValueError, match="nope"):
        run(wrapped, http_scope("/static/fail"))
    assert {request["name"] for request in traced.requests} == {"/healthy", "/"}
    assert len(traced.sentry.events) == 1


@pytest.mark.parametrize(
    ("patterns", "error", "message"),
    [
        ("/health", TypeError, "must be a list of patterns"),
        ([7], TypeError, "must be a string"),
        (["health"], ValueError, "begins with"),
        (["OPTIONS health"], ValueError, "begins with"),
        (["O /health"], ValueError, "begins with"),
        (["OPTIONS"], ValueError, "begins with"),
    ],
)
def test_patterns_that_cannot_be_meant_are_refused(patterns: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        SentryMiddleware(hello, exclude=patterns)


@pytest.mark.parametrize(
    ("exclude", "excluded"),
    [
        (None, {"HEAD /a", "OPTIONS /a"}),
        ([], set()),
        (["head *"], {"HEAD /a"}),
        (["GET /a", "/b*"], {"GET /a", "GET /b"}),
        (["POST /a"], set()),
    ],
)
def test_methods_are_excluded_like_paths(traced: Traced, exclude: Any, excluded: set[str]) -> None:
    """By default preflights and probes, as the SDK leaves them out."""
    traced.init(traces_sample_rate=1.0)
    given = {} if exclude is None else {"exclude": exclude}
    app = SentryMiddleware(hello, **given)
    asked = ["GET /a", "GET /b", "HEAD /a", "OPTIONS /a"]
    traces = {}
    for number, one in enumerate(asked):
        method, path = one.split()
        traces[f"{number:032x}"] = one
        headers = [(b"sentry-trace", f"{number:032x}-{PARENT}-1".encode())]
        run(app, http_scope(path, method=method, headers=headers))
    assert {traces[request["trace"]] for request in traced.requests} == set(asked) - excluded


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/a*", "/a", True),
        ("/a*a", "/a", False),
        ("/a*a", "/aa", True),
        ("*/health", "/v1/health", True),
        ("*/health", "/health/x", False),
        ("/*/v*/x", "/a/v1/x", True),
        ("/*/v*/x", "/a/x", False),
        ("*", "/anything", True),
        ("/a**b", "/ab", True),
        ("/x*y*z", "/xzy", False),
    ],
)
def test_a_star_stands_for_anything(pattern: str, path: str, matches: bool) -> None:
    _, excluded = exclusion([pattern])
    assert excluded is not None
    assert excluded("GET", path) is matches


def test_many_stars_take_time_that_grows_with_the_path() -> None:
    _, excluded = exclusion(["*/v*/health/*/ping"])
    assert excluded is not None
    # Backtracking would take hours.
    assert not excluded("GET", "/v/health/" * 50_000)


# Clients


def test_the_way_is_chosen_again_when_the_client_changes(traced: Traced) -> None:
    app = SentryMiddleware(hello)
    traced.init(traces_sample_rate=None)
    run(app)
    assert traced.spans == []
    traced.init()
    run(app)
    assert len(traced.requests) == 1


def test_the_public_scopes_trace_the_same(traced: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "_chosen", lambda: PublicScopes)
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        with traced.start_span("child"):
            await respond(send)

    run(SentryMiddleware(app))
    child = next(span for span in traced.spans if not span["own"])
    assert child["parent"] == traced.request["id"]
    traced.init(traces_sample_rate=0.0)
    run(SentryMiddleware(app))
    assert len(traced.requests) == 1


@pytest.mark.parametrize("broken", ["start", "end"])
def test_a_tracing_that_fails_is_no_problem_of_the_apps(
    traced: Traced, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("broken")

    traced.init()
    monkeypatch.setattr(Tracing, "start" if broken == "start" else "_ended", fail, raising=False)
    for way in (Transactions, StreamedSpans):
        monkeypatch.setattr(way, "_started" if broken == "start" else "_ended", fail)
    assert run(SentryMiddleware(hello))[1]["body"] == b"ok"
    assert f"{broken}ing a span failed".replace("endinging", "ending") in caplog.text


@pytest.mark.skipif("static" not in WAYS or SDK_VERSION < (2, 75), reason="transactions")
@pytest.mark.usefixtures("no_collection")
def test_profiles_are_taken_of_sampled_requests(sentry: Sentry) -> None:
    import time

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        sentry.init(traces_sample_rate=1.0, profiles_sample_rate=1.0)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            sum(range(1000))
        await respond(send)

    run(SentryMiddleware(app))
    assert len(sentry.transport.items("profile")) == 1


# Another tracer, which the SDK follows


@pytest.fixture
def span() -> Iterator[contextvars.ContextVar[Any]]:
    """Hold the ids of the trace and the span that another tracer has in a context."""
    held: contextvars.ContextVar[Any] = contextvars.ContextVar("span", default=None)
    sentry_sdk.scope.register_external_propagation_context(held.get)
    yield held
    sentry_sdk.scope.remove_external_propagation_context()


def reports(scope: Any) -> None:
    sentry_sdk.capture_message("within")


@pytest.mark.parametrize("within", [reports, lambda scope: None])
def test_what_is_reported_when_the_span_of_another_tracer_is_over_is_in_its_trace(
    sentry: Sentry, span: contextvars.ContextVar[Any], within: Any
) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        token = span.set((TRACE, PARENT))
        try:
            within(scope)
            await respond(send, status=500)
            raise ValueError("nope")
        finally:
            span.reset(token)

    for _ in range(2):
        with pytest.raises(ValueError, match="nope"):
            run(SentryMiddleware(app))
    traces = {event["contexts"]["trace"]["trace_id"] for event in sentry.events}
    assert traces == {TRACE}


def test_without_lazy_scopes_what_begins_within_the_span_is_in_its_trace(
    sentry: Sentry, span: contextvars.ContextVar[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        span.set(None)
        sentry_sdk.capture_message("after it")
        await respond(send)

    monkeypatch.setattr(isolation, "_chosen", lambda: PublicScopes)
    token = span.set((TRACE, PARENT))
    run(SentryMiddleware(app))
    span.reset(token)
    assert sentry.event["contexts"]["trace"]["trace_id"] == TRACE
