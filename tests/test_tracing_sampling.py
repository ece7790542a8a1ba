"""The decision: taken once, before any span is made, by what the SDK would take it by."""

from __future__ import annotations

import asyncio
import importlib
import warnings
from typing import Any

import httpx
import pytest
import sentry_sdk
from sentry_sdk.integrations.asgi import SentryAsgiMiddleware
from sentry_sdk.integrations.httpx import HttpxIntegration

from sentry_asgi import SentryMiddleware
from sentry_asgi._scopes import isolation
from sentry_asgi._scopes.public import PublicScopes
from sentry_asgi._sdk import scopes as sdk_scopes, spans as sdk_spans
from sentry_asgi._tracing import sampling

from .support import SDK_VERSION, Message, Scope, Sentry, http_scope, respond, run, websocket_scope
from .test_tracing import PARENT, TRACE, WAYS, Traced, hello, lost

TRACED = (b"sentry-trace", f"{TRACE}-{PARENT}".encode())


@pytest.fixture(params=WAYS)
def traced(request: pytest.FixtureRequest, sentry: Sentry) -> Traced:
    return Traced(sentry, request.param)


@pytest.fixture
def no_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever makes a span fails."""

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("a span was made")

    for name in ("Transaction", "StreamedSpan", "UnsampledSpan", "start_streamed_span"):
        if getattr(sdk_spans, name) is not None:
            monkeypatch.setattr(sdk_spans, name, never)


REFUSED: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "rate": ({"traces_sample_rate": 0.0}, []),
    "parent": ({"traces_sample_rate": 1.0}, [(b"sentry-trace", TRACED[1] + b"-0")]),
    "parent, with an organisation": (
        {"traces_sample_rate": 1.0},
        [(b"sentry-trace", TRACED[1] + b"-0"), (b"baggage", b"sentry-org_id=1")],
    ),
    "undecided parent": ({"traces_sample_rate": 0.0}, [TRACED]),
    "traceparent": (
        {"traces_sample_rate": 0.0},
        [(b"traceparent", f"00-{TRACE}-{PARENT}-00".encode())],
    ),
    "sampler": ({"traces_sampler": lambda context: 0}, []),
    "sampler, against the parent": (
        {"traces_sampler": lambda context: 0.0},
        [(b"sentry-trace", TRACED[1] + b"-1")],
    ),
    "sampler that raises": ({"traces_sampler": lambda context: 1 / 0}, []),
    "sampler, no rate": ({"traces_sampler": lambda context: "often"}, []),
    "sampler, nothing": ({"traces_sampler": lambda context: None}, []),
    "sampler, no number": ({"traces_sampler": lambda context: float("nan")}, []),
    "rate, none": ({"traces_sample_rate": 7.0}, []),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_what_is_not_sampled_makes_no_span(
    traced: Traced, no_spans: None, name: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    options, headers = REFUSED[name]
    traced.init(**{"traces_sample_rate": None, **options})
    counted = lost(traced)
    headers = [(b"host", b"example.org"), *headers]

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if kind == "websocket":
            await send({"type": "websocket.accept"})
        else:
            await respond(send)

    scope = http_scope(headers=headers) if kind == "http" else websocket_scope(headers=headers)
    run(SentryMiddleware(app), scope)
    assert "starting a span failed" not in caplog.text
    reason = "sample_rate"
    if name == "sampler that raises" and traced.way == "stream":
        reason = "callback_error"
    assert (reason, "span") in counted
    assert len(counted) == (1 if traced.way == "stream" else 2)


def test_a_sampler_is_asked_once(traced: Traced) -> None:
    asked: list[float] = []
    answers = iter([0.0, 1.0])

    def sampler(context: Any) -> float:
        asked.append(next(answers))
        return asked[-1]

    traced.init(traces_sampler=sampler)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        header = sentry_sdk.get_traceparent()
        assert header is not None
        assert header.endswith(str(int(asked[-1])))
        with traced.start_span("child"):
            await respond(send)

    wrapped = SentryMiddleware(app)
    run(wrapped)
    run(wrapped)
    assert asked == [0.0, 1.0]
    assert len(traced.requests) == 1


@pytest.mark.parametrize("rate", [True, 1, 0.75])
@pytest.mark.parametrize("flag", ["", "-0", "-1"])
def test_a_sampler_goes_before_the_parent(traced: Traced, rate: Any, flag: str) -> None:
    traced.init(traces_sampler=lambda context: rate)
    baggage = f"sentry-trace_id={TRACE},sentry-sample_rand=0.5,sentry-sample_rate=0.01".encode()
    headers = [(b"sentry-trace", f"{TRACE}-{PARENT}{flag}".encode()), (b"baggage", baggage)]
    seen: list[Any] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        seen.append(sentry_sdk.get_baggage())
        await respond(send)

    run(SentryMiddleware(app), http_scope(headers=headers))
    assert traced.request["trace"] == TRACE
    assert f"sentry-sample_rate={float(rate)}" in seen[0]


def contexts_of(traced: Traced, wrap: Any, headers: list[Any]) -> dict[str, Any]:
    seen: list[dict[str, Any]] = []

    def sampler(context: dict[str, Any]) -> float:
        seen.append(context)
        return 1.0

    traced.init(traces_sampler=sampler, traces_sample_rate=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(wrap(hello), http_scope("/items/1", headers=headers))
    (context,) = seen
    return context


@pytest.mark.skipif(SDK_VERSION < (2, 75), reason="the SDK that is compared with")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("headers", [[], [TRACED], [(b"sentry-trace", TRACED[1] + b"-1")]])
def test_a_sampler_is_told_what_the_sdks_middleware_tells(
    traced: Traced, headers: list[Any]
) -> None:
    headers = [(b"host", b"example.org"), *headers]
    theirs = contexts_of(traced, SentryAsgiMiddleware, headers)
    ours = contexts_of(traced, SentryMiddleware, headers)
    assert ours.keys() == theirs.keys()
    assert ours["asgi_scope"]["path"] == theirs["asgi_scope"]["path"] == "/items/1"
    assert ours["parent_sampled"] == theirs["parent_sampled"]
    mine, other = ours["transaction_context"], theirs["transaction_context"]
    # The SDK's has a tag that tells the type of the scope, which `asgi_scope` does.
    assert mine.keys() == other.keys() - {"tags"}
    differing = {key for key in mine if mine[key] != other[key]}
    made_anew = {"span_id", "start_timestamp"} | (set() if len(headers) > 1 else {"trace_id"})
    # Ours is named after the path, not the server's address; `origin` says whose it is.
    named = {"name", "description", "origin", "data"}
    assert differing <= made_anew | named
    if traced.way == "static":
        assert mine["data"].keys() == other["data"].keys()


def test_the_span_is_the_one_that_the_sampler_was_told_of(sentry: Sentry) -> None:
    if "static" not in WAYS:
        pytest.skip("transactions")
    traced = Traced(sentry, "static")
    context = contexts_of(traced, SentryMiddleware, [])
    assert traced.request["id"] == context["transaction_context"]["span_id"]
    assert traced.request["trace"] == context["transaction_context"]["trace_id"]


@pytest.mark.parametrize("number", [0.3, 0.05])
def test_backpressure_counts_as_the_sdk_counts_it(
    traced: Traced, monkeypatch: pytest.MonkeyPatch, number: float
) -> None:
    """A transaction that is lost while the SDK is under pressure is lost to that; of streamed spans, the dice tell."""
    client = traced.init(traces_sample_rate=0.2)
    client.monitor._downsample_factor = 3
    monkeypatch.setattr(sampling, "random", lambda: number)
    counted = lost(traced)
    run(SentryMiddleware(hello))
    rate = traced.way == "stream" and number > 0.2
    assert ("sample_rate" if rate else "backpressure", "span") in counted


@pytest.mark.skipif(SDK_VERSION < (2, 75), reason="the option is younger")
def test_ignored_spans_are_the_sdks_to_tell(sentry: Sentry) -> None:
    traced = Traced(sentry, "stream")
    traced.init(ignore_spans=["/health"])
    counted = lost(traced)
    app = SentryMiddleware(hello, websocket_message_spans=True)
    run(app, http_scope("/health"))
    run(app, http_scope("/other"))

    async def accepting(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await receive()

    run(
        SentryMiddleware(accepting, websocket_message_spans=True),
        websocket_scope("/ws"),
        [{"type": "websocket.receive", "text": "x"}],
    )
    assert sorted(request["name"] for request in traced.requests) == ["/other", "/ws"]
    assert counted == [("ignored", "span")]


@pytest.mark.skipif("static" not in WAYS, reason="transactions")
def test_where_opentelemetry_makes_the_spans_there_are_none_of_the_sdks(sentry: Sentry) -> None:
    traced = Traced(sentry, "static")
    traced.init(instrumenter="otel")
    counted = lost(traced)
    assert run(SentryMiddleware(hello))[1]["body"] == b"ok"
    assert traced.spans == []
    assert counted == []


def test_of_several_parents_the_sdk_tells_which_decides(traced: Traced) -> None:
    traced.init()
    parents = [(TRACED[0], TRACED[1] + flag) for flag in (b"-1", b"-0")]
    run(SentryMiddleware(hello), http_scope(headers=parents))
    assert len(traced.requests) == 1  # the last alone would have dropped it


@pytest.mark.skipif(SDK_VERSION < (2, 75), reason="streamed spans")
def test_an_sdk_that_takes_no_decision_decides_itself(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sdk_spans, "StreamedSpan", None)
    traced = Traced(sentry, "stream")
    for rate in (0.0, 1.0):
        traced.init(traces_sample_rate=rate)
        run(SentryMiddleware(hello))
    traced.init(traces_sampler=lambda context: context["asgi_scope"]["path"] == "/yes")
    for path in ("/yes", "/no"):
        run(SentryMiddleware(hello), http_scope(path))
    assert sorted(request["name"] for request in traced.requests) == ["/", "/yes"]


def test_a_class_that_takes_other_arguments_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sdk_spans._made_of(("Nothing",), frozenset({"name"})) is None
    if SDK_VERSION >= (2, 75):
        name = "Span" if SDK_VERSION >= (3, 0) else "StreamedSpan"
        assert sdk_spans._made_of((name,), frozenset({"colour"})) is None
        assert sdk_spans._made_of(("Nothing", name), frozenset({"name"})) is not None


def test_the_names_of_the_sdks_that_decisions_need_are_there() -> None:
    """Fails where an SDK has moved them, so that it is seen here before it is slow everywhere."""
    if SDK_VERSION >= (2, 75):
        assert sdk_spans.StreamedSpan is not None
        assert sdk_spans.UnsampledSpan is not None
    assert importlib.import_module("sentry_sdk.tracing_utils")._generate_sample_rand("x") == (
        sdk_spans._made_of_id("x")
    )
    if "static" in WAYS:
        assert hasattr(sdk_spans.Transaction, "init_span_recorder")


class Copying:
    """A span of an SDK that shows its attributes as a copy."""

    def __init__(self) -> None:
        self.attributes: dict[str, Any] = {}

    def get_attributes(self) -> dict[str, Any]:
        return dict(self.attributes)

    def set_attributes(self, attributes: dict[str, Any]) -> None:
        self.attributes.update(attributes)


def test_attributes_arrive_where_they_are_shown_as_a_copy() -> None:
    span = Copying()
    sdk_spans.set_attributes(span, {"a": 1})
    assert span.attributes == {"a": 1}


class Odd:
    """A trace with somebody's baggage."""

    trace_id = TRACE

    def __init__(self, sample_rand: Any) -> None:
        self.baggage = sdk_spans.Baggage({"sample_rand": sample_rand})


@pytest.mark.parametrize("value", [None, "", "x", "1.0", "-0.1", "nan", "inf"])
def test_a_number_that_is_none_is_made_of_the_traces_id(value: Any) -> None:
    assert sdk_spans.sample_rand(Odd(value)) == sdk_spans._made_of_id(TRACE)


def test_a_number_that_is_one_is_taken() -> None:
    assert sdk_spans.sample_rand(Odd("0.25")) == 0.25


# Scopes, which a span that is sent does not fill


def tags(traced: Traced) -> list[dict[str, Any]]:
    """What the scopes have put on each request's span."""
    if traced.way == "static":
        return [event.get("tags", {}) for event in traced.sentry.transport.items("transaction")]
    return [request["data"] for request in traced.requests]


def mark(name: str, *, current: bool = False) -> None:
    scope = sentry_sdk.get_current_scope() if current else sentry_sdk.get_isolation_scope()
    scope.set_tag(name, name)
    if hasattr(scope, "set_attribute"):
        scope.set_attribute(name, name)


@pytest.mark.parametrize("touches", [False, True])
@pytest.mark.parametrize("public", [False, True])
def test_what_the_process_and_the_app_have_set_is_on_the_span(
    traced: Traced, monkeypatch: pytest.MonkeyPatch, touches: bool, public: bool
) -> None:
    if public:
        monkeypatch.setattr(isolation, "_chosen", lambda: PublicScopes)
        monkeypatch.setattr(sdk_scopes, "LAZY_SCOPES", None)
    traced.init()
    mark("process")

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if touches:
            mark("app")
            mark("app.current", current=True)
        await respond(send)

    run(SentryMiddleware(app))
    (found,) = tags(traced)
    wanted = {"process": "process"} | (
        {"app": "app", "app.current": "app.current"} if touches else {}
    )
    assert wanted.items() <= found.items()
    assert touches or "app" not in found


@pytest.mark.skipif("static" not in WAYS, reason="transactions")
@pytest.mark.parametrize("where", ["isolation", "current", "global"])
def test_the_processs_own_processors_see_the_transaction(sentry: Sentry, where: str) -> None:
    traced = Traced(sentry, "static")
    traced.init()
    seen: list[Any] = []

    def processor(event: Any, hint: Any) -> Any:
        sentry_sdk.get_isolation_scope().set_tag("by", "processor")
        seen.append(event["type"])
        return event

    scope: Any = getattr(sentry_sdk, f"get_{where}_scope")()
    scope.add_event_processor(processor)
    app = SentryMiddleware(hello)
    try:
        run(app)  # has the SDK start threads, which copy the scopes
        run(app)
    finally:
        scope._event_processors.remove(processor)
    assert seen == ["transaction"] * 2
    sentry_sdk.capture_message("outside")
    assert "tags" not in sentry.event


@pytest.mark.parametrize("option", ["before_send_transaction", "before_send_span"])
def test_what_is_set_while_a_span_is_sent_is_on_the_connection(traced: Traced, option: str) -> None:
    """Of a websocket, whose scopes live on after the handshake's span."""
    if SDK_VERSION < (2, 75) and option == "before_send_span":
        pytest.skip("streamed spans")
    if (option == "before_send_span") != (traced.way == "stream"):
        pytest.skip("the other way's")

    def watch(event: Any, hint: Any) -> Any:
        sentry_sdk.set_tag("seen", "sent")
        return event

    traced.init(**{option: watch})

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        sentry_sdk.capture_message("later")

    run(SentryMiddleware(app), websocket_scope())
    assert traced.sentry.event["tags"] == {"seen": "sent"}
    sentry_sdk.capture_message("outside")
    assert "tags" not in traced.sentry.events[-1]


def test_a_request_in_another_context_is_sent_with_what_is_in_force_there(traced: Traced) -> None:
    """A websocket's handshake can be answered in a task that is none of the connection's."""
    import contextvars

    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        accept: Message = {"type": "websocket.accept"}
        await asyncio.create_task(send(accept), context=contextvars.Context())

    run(SentryMiddleware(app), websocket_scope("/ws"))
    assert traced.request["name"] == "/ws"


# What goes out, and profiles


def test_pages_carry_the_trace(traced: Traced) -> None:
    traced.init()
    pages: list[str] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        pages.append(sentry_sdk.get_current_scope().trace_propagation_meta())
        await respond(send)

    headers = [(b"sentry-trace", TRACED[1] + b"-1"), (b"baggage", b"sentry-sample_rand=0.5")]
    run(SentryMiddleware(app), http_scope(headers=headers))
    assert f'<meta name="sentry-trace" content="{TRACE}-' in pages[0]
    assert "sentry-sample_rand=0.5" in pages[0]


@pytest.mark.parametrize("client", ["http.client", "httpx"])
@pytest.mark.parametrize("rate", [None, 0.0, 1.0])
def test_calls_to_other_services_carry_the_trace(traced: Traced, rate: Any, client: str) -> None:
    import http.client
    import socketserver
    import threading
    from http.server import BaseHTTPRequestHandler

    received: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            received.append(self.headers)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    traced.init(traces_sample_rate=rate, integrations=[HttpxIntegration()])
    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()

        async def app(scope: Scope, receive: Any, send: Any) -> None:
            port = server.server_address[1]
            if client == "httpx":
                async with httpx.AsyncClient(trust_env=False) as asking:
                    await asking.get(f"http://127.0.0.1:{port}/")
            else:  # as requests and urllib3 do
                connection = http.client.HTTPConnection("127.0.0.1", port)
                connection.request("GET", "/")
                connection.getresponse().read()
                connection.close()
            await respond(send)

        run(SentryMiddleware(app), http_scope(headers=[TRACED]))
        thread.join()
    assert received[0]["sentry-trace"].startswith(TRACE)
    assert received[0]["sentry-trace"].endswith(
        {None: received[0]["sentry-trace"][-1], 0.0: "-0", 1.0: "-1"}[rate]
    )


@pytest.mark.usefixtures("no_collection")
@pytest.mark.skipif(SDK_VERSION < (2, 75), reason="one SDK is enough")
def test_the_continuous_profiler_follows_traces(traced: Traced) -> None:
    import time

    traced.init(profile_session_sample_rate=1.0, profile_lifecycle="trace")

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        deadline = time.monotonic() + 0.2
        while time.monotonic() < deadline:
            sum(range(1000))
        await respond(send)

    run(SentryMiddleware(app))
    sentry_sdk.flush()
    deadline = time.monotonic() + 10
    while not traced.sentry.transport.items("profile_chunk") and time.monotonic() < deadline:
        time.sleep(0.05)
        sentry_sdk.profiler.stop_profiler()
    assert traced.sentry.transport.items("profile_chunk")
    assert traced.request["data"].get("profiler_id") or traced.request["data"].get(
        "sentry.profiler_id"
    )


def test_what_is_not_sampled_after_the_client_was_closed_is_counted_nowhere(
    traced: Traced, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        sentry_sdk.get_client().close(timeout=0)
        await respond(send)

    traced.init(traces_sample_rate=0.0)
    served = SentryMiddleware(app)
    run(served)
    run(served)
    assert caplog.text == ""
