"""The SDK's own ASGI middleware and this one, on the same requests: the same traces, but for what is listed.

Each case is run beneath both, with the installed SDK's ways of tracing. What must agree: whether the request is sent, its
trace, its parent, what goes out to further services, and what the client reports count. Where this middleware
differs, the case says so, and why it is right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.integrations.asgi import SentryAsgiMiddleware

from sentry_asgi import SentryMiddleware

from .support import SDK_VERSION, Message, Scope, Sentry, http_scope, respond, run, websocket_scope
from .test_tracing import PARENT, TRACE, WAYS, Traced

INCOMING = f"{TRACE}-{PARENT}"
RATED = f"sentry-trace_id={TRACE},sentry-sample_rand=0.5,sentry-sample_rate=0.55"
BAGGAGE = f"sentry-trace_id={TRACE},sentry-sample_rand=0.5,sentry-environment=elsewhere"


@dataclass(frozen=True)
class Case:
    """A request, how it is sampled, and in what the two may differ: what ours says instead, and why."""

    status: int = 200
    method: str = "GET"
    trace: str | None = None
    baggage: str | None = None
    options: dict[str, Any] = field(default_factory=lambda: {"traces_sample_rate": 1.0})
    raises: bool = False
    streams: bool = False
    asks: bool = True
    endpoint: bool = False
    websocket: bool = False
    mounted: bool = False
    ours: dict[str, Any] = field(default_factory=dict)
    why: str = ""


def rate(value: float) -> dict[str, Any]:
    return {"traces_sample_rate": value}


def sampler(decide: Callable[[Any], Any]) -> dict[str, Any]:
    return {"traces_sampler": decide}


ANYTHING = object()  # the two differ, in what is made anew each time
# SDK 3's beta writes 1.0 or 0.0 over it, as SDK 2 did once.
KEPT: dict[str, Any] = {"baggage": ANYTHING} if SDK_VERSION >= (3, 0) else {}
RATE_IS_KEPT = "a decision that is followed has the rate of whoever took it"
TRACE_GOES_ON = (
    "not traced, as the SDK has it; but what is reported and called has the incoming trace"
)

CASES = {
    "plain": Case(),
    "not sampled": Case(options=rate(0.0)),
    "not sampled, nobody asks": Case(options=rate(0.0), asks=False),
    "tracing off": Case(options={}),
    "tracing off, incoming": Case(options={}, trace=f"{INCOMING}-1", baggage=BAGGAGE),
    "incoming, sampled": Case(trace=f"{INCOMING}-1", baggage=BAGGAGE, options=rate(0.0)),
    "incoming, not sampled": Case(trace=f"{INCOMING}-0", baggage=BAGGAGE),
    "incoming, not sampled, nobody asks": Case(trace=f"{INCOMING}-0", asks=False),
    "incoming, undecided": Case(trace=INCOMING, baggage=BAGGAGE),
    "incoming, undecided, rate 0": Case(trace=INCOMING, baggage=BAGGAGE, options=rate(0.0)),
    "incoming, below its number": Case(trace=INCOMING, baggage=BAGGAGE, options=rate(0.4)),
    "incoming, above its number": Case(trace=INCOMING, baggage=BAGGAGE, options=rate(0.6)),
    "incoming without baggage": Case(trace=f"{INCOMING}-1"),
    "incoming without baggage, not sampled": Case(trace=f"{INCOMING}-0"),
    "incoming without baggage, undecided": Case(trace=INCOMING, options=rate(0.5)),
    "incoming, with a rate": Case(
        trace=f"{INCOMING}-1", baggage=RATED, options=rate(0.4), ours=KEPT, why=RATE_IS_KEPT
    ),
    "incoming, with a rate, undecided": Case(trace=INCOMING, baggage=RATED, options=rate(0.6)),
    "incoming, with a rate, not sampled": Case(
        trace=f"{INCOMING}-0", baggage=RATED, ours=KEPT, why=RATE_IS_KEPT
    ),
    "incoming, with a rate, sampler": Case(
        trace=f"{INCOMING}-0", baggage=RATED, options=sampler(lambda context: 0.75)
    ),
    "incoming, inconsistent": Case(
        trace=f"{INCOMING}-1",
        baggage=f"sentry-trace_id={TRACE},sentry-sample_rate=0.1",
        ours=KEPT,
        why=RATE_IS_KEPT,
    ),
    "incoming, another organisation's": Case(
        trace=f"{INCOMING}-1",
        baggage=f"{BAGGAGE},sentry-org_id=2",
        options={**rate(1.0), "dsn": "https://key@o1.ingest.sentry.invalid/1"},
    ),
    "incoming, strict": Case(
        trace=f"{INCOMING}-1",
        baggage=BAGGAGE,
        options={
            **rate(1.0),
            "dsn": "https://key@o1.ingest.sentry.invalid/1",
            "strict_trace_continuation": True,
        },
    ),
    "incoming, huge": Case(trace="0" * 100_000, baggage="sentry-x=" + "y" * 100_000),
    "incoming, hostile": Case(trace=f"{'g' * 32}-{PARENT}-1", baggage="sentry-sample_rand=nan,=,;"),
    "sampler, a boolean": Case(options=sampler(lambda context: True)),
    "sampler, nothing": Case(options=sampler(lambda context: None)),
    "sampler, too much": Case(options=sampler(lambda context: 1.5)),
    "sampler, no number": Case(options=sampler(lambda context: float("nan"))),
    "sampler, nobody asks": Case(options=sampler(lambda context: 0.0), asks=False),
    "sampler, by the parent": Case(
        options=sampler(lambda context: context["parent_sampled"]), trace=f"{INCOMING}-1"
    ),
    "mounted": Case(mounted=True),
    "others' baggage": Case(trace=f"{INCOMING}-1", baggage="other=value"),
    "malformed": Case(trace="nonsense", baggage="also;nonsense"),
    "POST": Case(method="POST"),
    "DELETE": Case(method="DELETE", trace=f"{INCOMING}-1"),
    "404": Case(status=404),
    "500": Case(status=500),
    "raising": Case(raises=True),
    "raising, not sampled": Case(raises=True, options=rate(0.0)),
    "raising, incoming": Case(raises=True, trace=f"{INCOMING}-1", baggage=BAGGAGE),
    "streaming": Case(streams=True),
    "sampler, keeps": Case(options=sampler(lambda context: 1.0)),
    "sampler, drops": Case(options=sampler(lambda context: 0.0)),
    "sampler, against the parent": Case(options=sampler(lambda context: 0), trace=f"{INCOMING}-1"),
    "sampler, by the path": Case(
        options=sampler(lambda context: context["asgi_scope"]["path"] == "/items/1")
    ),
    "sampler, raises": Case(options=sampler(lambda context: 1 / 0)),
    "sampler, invalid": Case(options=sampler(lambda context: "often")),
    "invalid rate": Case(options=rate(7.0)),
    "endpoint": Case(endpoint=True),
    "HEAD": Case(
        method="HEAD",
        ours={"baggage": ANYTHING} if SDK_VERSION < (3, 0) else {},
        why=TRACE_GOES_ON,
    ),
    "OPTIONS": Case(
        method="OPTIONS",
        trace=f"{INCOMING}-1",
        ours={"out": TRACE, "baggage": ANYTHING},
        why=TRACE_GOES_ON,
    ),
    "websocket": Case(
        websocket=True,
        ours={"flag": None, "baggage": ANYTHING},
        why="the span is the handshake; what the open connection calls has the trace, and decides anew",
    ),
}


def observe(traced: Traced, wrap: Any, case: Case) -> dict[str, Any]:
    """What of a request's trace anybody can see."""
    traced.init(**case.options)
    traced.sentry.transport.envelopes.clear()
    counted: list[tuple[str, str]] = []

    def record(
        reason: str, data_category: Any = None, item: Any = None, *, quantity: int = 1
    ) -> None:
        counted.extend([(reason, data_category)] * quantity)

    traced.sentry.transport.record_lost_event = record  # type: ignore[method-assign]
    out: dict[str, Any] = {}

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if case.endpoint:
            scope["endpoint"] = observe
        if case.mounted:  # as Starlette does it
            scope = {
                **scope,
                "root_path": "/items",
                "app_root_path": "",
                "path_params": {"id": "1"},
            }
        if case.websocket:
            await receive()
            await send({"type": "websocket.accept"})
        if case.asks:
            out["header"], out["baggage"] = sentry_sdk.get_traceparent(), sentry_sdk.get_baggage()
        if case.raises:
            raise ValueError("nope")
        if case.streams:
            await send({"type": "http.response.start", "status": case.status})
            for _ in range(3):
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await send({"type": "http.response.body"})
        elif not case.websocket:
            await respond(send, status=case.status)

    headers = [(b"host", b"example.org")]
    headers += [(b"sentry-trace", case.trace.encode())] if case.trace is not None else []
    headers += [(b"baggage", case.baggage.encode())] if case.baggage is not None else []
    scope = http_scope("/items/1", method=case.method, headers=headers)
    messages: list[Message] = []
    if case.websocket:
        scope, messages = (
            websocket_scope("/items/1", headers=headers),
            [{"type": "websocket.connect"}],
        )
    try:
        run(wrap(app), scope, messages)
    except ValueError:
        assert case.raises
    requests = traced.requests
    request = requests[0] if requests else {}
    parts = (out.get("header") or "").split("-")
    baggage = dict(item.split("=") for item in (out.get("baggage") or "").split(",") if item)
    # Made anew for each request: that they are there is what can be compared.
    made = {"sentry-trace_id", "sentry-sample_rand"} if parts[0] != TRACE else set()
    baggage.pop("sentry-transaction", None)  # by the name, which the tests of names are about
    return {
        "sent": len(requests) == 1,
        "trace": request.get("trace"),
        "parent": request.get("parent"),
        "out": parts[0],
        "flag": parts[2] if len(parts) == 3 else None,
        "baggage": {key: None if key in made else value for key, value in baggage.items()},
        "reports": sorted(counted),
        "errors": [event["contexts"]["trace"]["trace_id"] for event in traced.sentry.events],
    }


@pytest.mark.skipif(SDK_VERSION < (2, 75), reason="the SDK that is compared with")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CASES)
def test_both_say_the_same_of_a_trace(sentry: Sentry, name: str, way: str) -> None:
    case, traced = CASES[name], Traced(sentry, way)
    theirs = observe(traced, SentryAsgiMiddleware, case)
    ours = observe(traced, SentryMiddleware, case)
    if not ours["out"].startswith(TRACE):  # each its own trace
        for seen in (theirs, ours):
            same = {seen["trace"], *seen["errors"]} - {None}
            assert same <= {seen["out"]} or not seen["out"]
            seen.update(trace=seen["trace"] is not None, out=None, errors=len(seen["errors"]))
    differing = {key: ours[key] for key in ours if ours[key] != theirs[key]}
    assert differing.keys() == case.ours.keys()
    assert all(value is ANYTHING or differing[key] == value for key, value in case.ours.items())


def attributes_beneath(sentry: Sentry, wrap: Any, options: dict[str, Any]) -> dict[str, Any]:
    """What a streamed segment and a span within it say of the request, without what differs from run to run."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        with sentry_sdk.traces.start_span(name="child"):
            pass
        await respond(send)

    way = {"trace_lifecycle": "stream"} if SDK_VERSION < (3, 0) else {}
    sentry.init(traces_sample_rate=1.0, **way, **options)
    sentry.transport.envelopes.clear()
    headers = [(b"host", b"example.org"), (b"user-agent", b"Tea/1"), (b"accept", b"text/html")]
    scope = http_scope("/a", query_string=b"page=2", headers=headers, client=("198.51.100.1", 5))
    run(wrap(app), scope)
    sentry_sdk.flush()
    spans = [one for batch in sentry.transport.items("span") for one in batch["items"]]
    found = {
        "segment" if one["is_segment"] else one["name"]: one["attributes"]
        for one in spans
        if one["is_segment"] or one["name"] == "child"
    }
    return {
        f"{span} {name}": value
        for span, attributes in found.items()
        for name, value in attributes.items()
        if not name.startswith(("sentry.segment", "thread.", "process."))
    }


@pytest.mark.skipif(SDK_VERSION < (2, 75), reason="streamed spans are younger")
@pytest.mark.parametrize("pii", [True, False])
def test_a_streamed_request_tells_all_that_the_sdks_own_does(sentry: Sentry, pii: bool) -> None:
    options = {"data_collection": {"user_info": pii}} if pii or SDK_VERSION >= (3, 0) else {}
    theirs = attributes_beneath(sentry, SentryAsgiMiddleware, options)
    ours = attributes_beneath(sentry, SentryMiddleware, options)
    assert theirs.keys() - ours.keys() == set()
    assert any(name.startswith("segment http.request.header.") for name in theirs)
    # The origin is each one's own. The server's address is the one that was asked for, not the machine's name.
    differing = {name for name in theirs if theirs[name] != ours[name]}
    assert differing == {"segment sentry.origin", "segment server.address"}
