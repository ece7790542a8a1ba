"""Requests that the dice did not choose, kept for how they ended: slow, or failed."""

from __future__ import annotations

import asyncio
import contextvars
import re
import threading
from datetime import UTC, datetime
from time import sleep
from typing import Any

import pytest
import sentry_sdk

from sentry_asgi import Keep, SentryMiddleware, Watch
from sentry_asgi._scopes import isolation
from sentry_asgi._scopes.public import PublicScopes
from sentry_asgi._sdk import undecided
from sentry_asgi._tracing import recording, sampling
from sentry_asgi._tracing.recording import Held, Recording

from .support import (
    SDK_VERSION,
    Scope,
    Sentry,
    call,
    exchange_here,
    http_scope,
    respond,
    run,
    websocket_scope,
)
from .test_tracing import PARENT, TRACE, WAYS, Traced, hello, lost
from .test_watch_blocks import end_watches

NOT_SAMPLED = (b"sentry-trace", f"{TRACE}-{PARENT}-0".encode())
SLOW = 0.3
KEEP = Keep(slower_than=SLOW)


@pytest.fixture(params=WAYS)
def traced(request: pytest.FixtureRequest, sentry: Sentry) -> Traced:
    one = Traced(sentry, request.param)
    one.options["traces_sample_rate"] = 0.0
    return one


@pytest.fixture(autouse=True)
def nothing_is_held_afterwards() -> Any:
    yield
    assert recording.held.spans == 0


async def slow(scope: Scope, receive: Any, send: Any) -> None:
    await asyncio.sleep(SLOW)
    await respond(send)


async def broken(scope: Scope, receive: Any, send: Any) -> None:
    await respond(send, status=503)


async def failing(scope: Scope, receive: Any, send: Any) -> None:
    raise ValueError("nope")


def serve(app: Any, scope: Scope | None = None, **options: Any) -> None:
    keep = options.pop("keep", KEEP)
    try:
        run(SentryMiddleware(app, keep=keep, **options), scope)
    except ValueError:
        assert app is not slow


async def stuck(scope: Scope, receive: Any, send: Any) -> None:
    await asyncio.sleep(1.0)
    await respond(send)


async def blocking(scope: Scope, receive: Any, send: Any) -> None:
    sleep(0.8)
    await respond(send)


def why(traced: Traced) -> list[Any]:
    return [one["data"].get("sentry_asgi.kept") for one in traced.requests]


# What is kept


@pytest.mark.parametrize("app", [stuck, blocking])
def test_a_request_that_was_stuck_or_has_blocked_the_loop_counts_as_failed(
    traced: Traced, app: Any
) -> None:
    traced.init()
    watch = Watch(blocked_after=0.2, stuck_after=0.2)
    serve(app, keep=Keep(slower_than=None), watch=watch)
    serve(app, keep=Keep(slower_than=None), watch=None)
    end_watches()
    assert why(traced) == ["failed"]


@pytest.mark.parametrize(
    ("app", "reason"), [(slow, "slow"), (broken, "failed"), (failing, "failed"), (hello, None)]
)
def test_what_was_slow_or_failed_is_sent_whole(
    traced: Traced, app: Any, reason: str | None
) -> None:
    traced.init()

    async def busy(scope: Scope, receive: Any, send: Any) -> None:
        with traced.start_span("outer"):
            inner = traced.start_span("inner")
            with inner:
                await app(scope, receive, send)

    serve(busy, http_scope("/here"))
    if reason is None:
        assert traced.spans == []
        return
    root = traced.request
    assert root["data"]["sentry_asgi.kept"] == reason
    spans = {one["name"]: one for one in traced.spans}
    assert spans.keys() == {"/here", "outer", "inner"}
    assert spans["inner"]["parent"] == spans["outer"]["id"]
    assert spans["outer"]["parent"] == root["id"]
    assert root["seconds"] >= spans["outer"]["seconds"]
    for event in traced.sentry.events:
        assert event["contexts"]["trace"]["trace_id"] == root["trace"]
        assert event["contexts"]["trace"]["span_id"] in {spans["inner"]["id"], root["id"]}


@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize(("app", "reason"), [(slow, "slow"), (broken, "failed")])
def test_a_root_that_nobody_asked_for_has_its_true_start(
    traced: Traced, monkeypatch: pytest.MonkeyPatch, app: Any, reason: str, public: bool
) -> None:
    if public:
        monkeypatch.setattr(isolation, "_chosen", lambda: PublicScopes)
    traced.init()
    began = datetime.now(UTC)
    serve(app, http_scope("/here"))
    root = traced.request
    assert (root["name"], root["data"]["sentry_asgi.kept"]) == ("/here", reason)
    assert root["seconds"] >= (SLOW if app is slow else 0)
    if traced.way == "stream":
        (span,) = traced.sentry.segments
        start = span["start_timestamp"]
    else:
        (event,) = traced.sentry.transport.items("transaction")
        start = datetime.fromisoformat(event["start_timestamp"]).timestamp()
    assert abs(start - began.timestamp()) < 1
    assert start <= began.timestamp() + 1


@pytest.mark.parametrize("app", [slow, broken])
def test_the_sdks_own_scopes_keep_the_root_and_what_a_transaction_recorded(
    traced: Traced, monkeypatch: pytest.MonkeyPatch, app: Any
) -> None:
    monkeypatch.setattr(isolation, "_chosen", lambda: PublicScopes)
    traced.init()
    told: list[Any] = []

    async def busy(scope: Scope, receive: Any, send: Any) -> None:
        told.append(sentry_sdk.get_traceparent())
        with traced.start_span("child"):
            await app(scope, receive, send)

    serve(busy)
    serve(hello)
    names = {one["name"] for one in traced.spans}
    assert names == ({"/", "child"} if traced.way == "static" else {"/"})
    assert told[0].split("-")[1] == traced.request["id"]


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        (Keep(failed=False, slower_than=SLOW), ["slow"]),
        (Keep(slower_than=None), ["failed", "failed"]),
        (Keep(slower_than=SLOW * 100), ["failed", "failed"]),
        (None, []),
    ],
)
def test_each_reason_can_be_off(traced: Traced, keep: Keep | None, kept: list[str]) -> None:
    traced.init()
    for app in (slow, broken, failing, hello):
        serve(app, keep=keep)
    assert why(traced) == kept


def test_what_the_dice_chose_is_as_ever(traced: Traced) -> None:
    traced.init(traces_sample_rate=1.0)
    for app in (slow, broken, failing, hello):
        serve(app)
    assert why(traced) == [None] * 4


def test_an_exception_that_the_app_reported_is_a_failure(traced: Traced) -> None:
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        try:
            raise KeyError("x")
        except KeyError:
            sentry_sdk.capture_exception()
        await respond(send)

    serve(app)
    assert why(traced) == ["failed"]
    assert traced.sentry.event["contexts"]["trace"]["span_id"] == traced.request["id"]


def test_a_client_that_left_and_a_cancelled_request_have_not_failed(traced: Traced) -> None:
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        raise ConnectionError("gone")

    wrapped = SentryMiddleware(app, keep=Keep())
    with pytest.raises(ConnectionError):
        run(wrapped, http_scope("/left"), [{"type": "http.disconnect"}])

    async def cancelled() -> None:
        task = asyncio.ensure_future(call(SentryMiddleware(forever, keep=Keep()), http_scope()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def forever(scope: Scope, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    asyncio.run(cancelled())
    assert [one["name"] for one in traced.requests] == ["/left"] * len(traced.sentry.events)


def test_an_answer_of_a_framework_around_is_no_failure(traced: Traced) -> None:
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.routing import Mount

    traced.init()

    async def raises(scope: Scope, receive: Any, send: Any) -> None:
        raise HTTPException(404 if "missing" in scope["path"] else 500)

    app = Starlette(routes=[Mount("/in", app=SentryMiddleware(raises, keep=Keep()))])
    for path in ("/in/missing", "/in/broken"):
        run(app, http_scope(path))
    assert [one["data"]["url.path"] for one in traced.requests] == ["/in/broken"]


def test_a_group_that_is_no_exception_is_a_failure_by_what_is_in_it(traced: Traced) -> None:
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        raise BaseExceptionGroup("both", [ValueError("x"), KeyboardInterrupt()])

    with pytest.raises(BaseExceptionGroup):
        run(SentryMiddleware(app, keep=Keep(slower_than=None)))
    assert why(traced) == ["failed"]


def test_a_request_in_trouble_has_failed(traced: Traced) -> None:
    """Whoever finds that it is stuck says so where its failures are held."""
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        exchange_here().trouble = True
        await respond(send)

    serve(app)
    assert why(traced) == ["failed"]


def test_a_failure_beyond_the_budget_is_kept(traced: Traced) -> None:
    traced.init()
    app = SentryMiddleware(failing, keep=Keep(), error_budget=1)
    for _ in range(3):
        with pytest.raises(ValueError, match="nope"):
            run(app)
    assert len(traced.sentry.events) == 1
    assert why(traced) == ["failed"] * 3


# Who has a say


SAYS: dict[str, tuple[dict[str, Any], list[Any], bool]] = {
    "rate": ({}, [], True),
    "parent": ({"traces_sample_rate": 1.0}, [NOT_SAMPLED], True),
    "sampler that follows its parent": (
        {"traces_sampler": lambda context: context["parent_sampled"]},
        [NOT_SAMPLED],
        True,
    ),
    "sampler, rarely": ({"traces_sampler": lambda context: 1e-9}, [], True),
    "sampler, never": ({"traces_sampler": lambda context: 0}, [], False),
    "sampler that raises": ({"traces_sampler": lambda context: 1 / 0}, [], True),
}


@pytest.mark.parametrize("name", SAYS)
@pytest.mark.parametrize("asked", [False, True])
def test_only_the_application_says_that_nothing_is_kept(
    traced: Traced, name: str, asked: bool
) -> None:
    options, headers, kept = SAYS[name]
    traced.init(**options)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if asked:
            with traced.start_span("child"):
                pass
        await broken(scope, receive, send)

    serve(app, http_scope(headers=headers))
    assert why(traced) == ["failed"] * kept
    assert len(traced.spans) == (1 + asked) * kept


def test_what_is_excluded_is_not_kept(traced: Traced) -> None:
    traced.init()
    serve(broken, http_scope("/health"), exclude=["/health"])
    assert traced.spans == []


@pytest.mark.parametrize("asked", [False, True])
def test_backpressure_stops_keeping(traced: Traced, asked: bool) -> None:
    traced.init().monitor._downsample_factor = 1
    counted = lost(traced)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if asked:
            with traced.start_span("child"):
                pass
        await broken(scope, receive, send)

    serve(app)
    assert traced.spans == []
    assert ("backpressure", "span") in counted


def test_backpressure_that_begins_later_lets_go_of_what_was_recorded(
    traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "FACTOR_HOLDS", 0.0)
    client = traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        with traced.start_span("child"):
            client.monitor._downsample_factor = 1
        await broken(scope, receive, send)

    serve(app)
    assert traced.spans == []


def test_backpressure_that_ends_lets_the_root_be_kept(
    traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "FACTOR_HOLDS", 0.0)
    client = traced.init()
    client.monitor._downsample_factor = 1

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        with traced.start_span("child"):
            client.monitor._downsample_factor = 0
        await broken(scope, receive, send)

    serve(app)
    assert [one["name"] for one in traced.spans] == ["/"]


@pytest.mark.skipif(SDK_VERSION < (2, 75), reason="streamed spans")
def test_where_the_sdk_decides_or_no_segment_can_be_held_nothing_is_kept(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    traced = Traced(sentry, "stream")
    traced.init(traces_sample_rate=0.0, ignore_spans=["/health"])
    serve(broken)
    assert traced.spans == []
    assert "keep" not in caplog.text
    monkeypatch.setattr(undecided, "UndecidedSpan", None)
    traced.init(traces_sample_rate=0.0)
    serve(broken)
    assert traced.spans == []
    assert "keep" in caplog.text


@pytest.mark.parametrize("moved", [*undecided._PRIVATE, "_capture_span"])
def test_where_the_sdk_has_moved_what_holding_stands_on_nothing_is_held(moved: str) -> None:
    names = dict.fromkeys((*undecided._PRIVATE, "_capture_span"))
    whole = type("Base", (), names)
    assert undecided._undecided(whole, print) is undecided._Undecided
    del names[moved]
    capture = None if moved == "_capture_span" else print
    assert undecided._undecided(type("Base", (), names), capture) is None


def test_without_tracing_nothing_is_kept(sentry: Sentry) -> None:
    sentry.init()
    serve(broken)
    assert sentry.transport.envelopes == []


# What is told of it


@pytest.mark.parametrize("headers", [[], [NOT_SAMPLED], "head"])
def test_downstream_the_heads_decision_stands_and_what_is_sent_weighs_one(
    traced: Traced, headers: Any
) -> None:
    traced.init(traces_sample_rate=0.01 if headers else 0.0)
    if headers == "head":
        baggage = f"other=1,sentry-trace_id={TRACE},sentry-sample_rate=0.01,sentry-sampled=false"
        headers = [NOT_SAMPLED, (b"baggage", baggage.encode())]
    told: list[Any] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        with traced.start_span("child"):
            told.append((sentry_sdk.get_traceparent(), sentry_sdk.get_baggage()))
        await respond(send, status=500)
        told.append((sentry_sdk.get_traceparent(), sentry_sdk.get_baggage()))

    serve(app, http_scope(headers=headers))
    sentry_sdk.flush()
    assert len(traced.requests) == 1
    for parent, baggage in told:
        assert parent.endswith("-0")
        assert "sampled=true" not in baggage
        assert "sample_rate=1" not in baggage
    kind = "span" if traced.way == "stream" else "transaction"
    traces = [
        envelope.headers["trace"]
        for envelope in traced.sentry.transport.envelopes
        if any(item.headers["type"] == kind for item in envelope.items)
    ]
    assert {one["sample_rate"] for one in traces} == {"1.0"}
    assert {one["sampled"] for one in traces} == {"true"}


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("app", [hello, broken])
def test_client_reports_count_each_request_once(traced: Traced, app: Any, asked: bool) -> None:
    traced.init()
    counted = lost(traced)

    async def busy(scope: Scope, receive: Any, send: Any) -> None:
        if asked:
            with traced.start_span("child"):
                pass
        await app(scope, receive, send)

    serve(busy)
    if app is broken:
        assert (len(traced.requests), counted) == (1, [])
        return
    spans = [one for one in counted if one == ("sample_rate", "span")]
    if SDK_VERSION >= (2, 75):
        assert len(spans) == (2 if asked and traced.way == "stream" else 1)
    assert len(counted) - len(spans) == (traced.way == "static")


def test_a_kept_request_is_named_by_its_route_and_so_are_its_children(traced: Traced) -> None:
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        with traced.start_span("child"):
            scope["path_template"] = "/items/{id}"
        await broken(scope, receive, send)

    serve(app, http_scope("/items/1"), transaction_style="route")
    assert traced.request["name"] == "/items/{id}"
    if traced.way == "stream":
        assert {one["data"]["sentry.segment.name"] for one in traced.spans} == {"/items/{id}"}


@pytest.mark.usefixtures("work_after_the_response")
def test_work_after_the_response_is_of_the_kept_trace(traced: Traced) -> None:
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await broken(scope, receive, send)
        with traced.start_span("late"):
            await asyncio.sleep(0.11)

    serve(app)
    assert {one["name"] for one in traced.spans} == {"/", "late", "after the response"}


def test_a_user_sees_in_the_hooks_only_what_is_sent(traced: Traced) -> None:
    seen: list[Any] = []

    def hook(one: Any, hint: Any) -> Any:
        seen.append(one)
        return one

    name = "before_send_span" if traced.way == "stream" else "before_send_transaction"
    option: dict[str, Any] = {name: hook}
    if traced.way == "stream" and SDK_VERSION < (3, 0):
        option = {"_experiments": {name: hook}}
    traced.init(**option)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        with traced.start_span("child"):
            pass
        await (broken if scope["path"] == "/broken" else hello)(scope, receive, send)

    serve(app)
    assert seen == []
    serve(app, http_scope("/broken"))
    assert len(seen) == (2 if traced.way == "stream" else 1)


# Bounds


def test_a_request_keeps_its_last_thousand_spans_and_says_how_many_it_lost(traced: Traced) -> None:
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        for number in range(1_203):
            with traced.start_span(str(number)):
                pass
        await broken(scope, receive, send)

    serve(app)
    names = [one["name"] for one in traced.spans if not one["own"]]
    assert names == [str(number) for number in range(203, 1_203)]
    assert traced.request["data"]["sentry_asgi.spans_dropped"] == 203


def test_the_process_holds_so_many_and_drops_the_oldest_first(
    traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "IN_THE_PROCESS", 10)
    traced.init()

    async def both() -> None:
        first_is_full, over = asyncio.Event(), asyncio.Event()

        async def app(scope: Scope, receive: Any, send: Any) -> None:
            first = scope["path"] == "/first"
            if not first:
                await first_is_full.wait()
            for number in range(8):
                with traced.start_span(f"{scope['path']} {number}"):
                    pass
            first_is_full.set()
            await (over.wait() if first else asyncio.sleep(0))
            assert recording.held.spans <= 10
            await broken(scope, receive, send)
            over.set()

        wrapped = SentryMiddleware(app, keep=Keep())
        await asyncio.gather(*(call(wrapped, http_scope(path)) for path in ("/first", "/second")))

    asyncio.run(both())
    dropped = {one["name"]: one["data"].get("sentry_asgi.spans_dropped") for one in traced.requests}
    assert dropped == {"/first": 6, "/second": None}
    assert len(traced.spans) == 2 + 2 + 8


def test_a_recording_that_is_emptied_by_others_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "IN_THE_PROCESS", 1)
    held = Held()
    monkeypatch.setattr(recording, "held", held)
    one, other = Recording(), Recording()
    one.add("a")
    other.add("b")
    assert (list(one.spans), one.dropped_spans, held.spans) == ([], 1, 1)
    one.add("c")
    assert (list(one.close()), list(other.close()), held.spans) == (["c"], [], 0)
    assert not one.add("d")


def test_threads_of_one_request_and_late_ones_lose_nothing_that_is_held(traced: Traced) -> None:
    traced.init()
    counted = lost(traced)
    over = threading.Event()

    def work(number: int, late: bool) -> None:
        with traced.start_span(f"{number}"):
            if late:
                over.wait(5)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        loop = asyncio.get_running_loop()
        from sentry_asgi.executor import ContextPreservingExecutor

        with ContextPreservingExecutor(max_workers=4) as pool:
            await asyncio.gather(
                *(loop.run_in_executor(pool, work, number, False) for number in range(40))
            )
        await (broken if scope["path"] == "/broken" else hello)(scope, receive, send)

    keep = Keep(slower_than=None)  # threads take their time
    serve(app, keep=keep)
    assert len([one for one in counted if one[1] == "span"]) in {1, 41}
    serve(app, http_scope("/broken"), keep=keep)
    assert len(traced.spans) == 41


@pytest.mark.parametrize("kept", [False, True])
def test_a_span_that_ends_after_its_request_goes_the_way_of_it(traced: Traced, kept: bool) -> None:
    traced.init()
    counted = lost(traced)

    async def serving() -> None:
        over = asyncio.Event()
        tasks = []

        async def background() -> None:
            with traced.start_span("late"):
                await over.wait()

        async def app(scope: Scope, receive: Any, send: Any) -> None:
            tasks.append(asyncio.create_task(background()))
            await asyncio.sleep(0)
            await (broken if kept else hello)(scope, receive, send)

        await call(SentryMiddleware(app, keep=Keep()), http_scope())
        over.set()
        await asyncio.gather(*tasks)

    asyncio.run(serving())
    names = [one["name"] for one in traced.spans]
    if traced.way == "stream":
        assert sorted(names) == (["/", "late"] if kept else [])
        assert len(counted) == (0 if kept else 2)
    else:
        assert names == (["/"] if kept else [])


# Websockets


def test_a_handshake_that_fails_is_kept(traced: Traced) -> None:
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        raise ValueError("nope")

    serve(app, websocket_scope("/ws"))
    assert why(traced) == ["failed"]
    assert traced.request["op"] == "websocket.server"


def test_of_a_websocket_the_handshake_is_slow_or_the_message(traced: Traced) -> None:
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            if message["text"] == "slow":
                sleep(SLOW)
            if message["text"] == "asks":
                with traced.start_span("child"):
                    sleep(SLOW)
            if message["text"] == "reports":
                try:
                    raise KeyError("x")
                except KeyError:
                    sentry_sdk.capture_exception()
            if message["text"] == "fails":
                raise ValueError("nope")

    texts = ["fine", "slow", "asks", "reports", "fine", "fails"]
    incoming = [{"type": "websocket.receive", "text": one} for one in texts]
    wrapped = SentryMiddleware(app, keep=KEEP, websocket_message_spans=True)
    with pytest.raises(ValueError, match="nope"):
        run(wrapped, websocket_scope("/ws"), [{"type": "websocket.connect"}, *incoming])
    sizes = [one["data"].get("messaging.message.body.size") for one in traced.requests]
    assert list(zip(why(traced), sizes, strict=True)) == [
        ("slow", 4),
        ("slow", 4),
        ("failed", 7),
        ("failed", 5),
    ]
    assert [one["name"] for one in traced.spans if not one["own"]] == ["child"]
    assert all(one["seconds"] >= SLOW for one in traced.requests[:2])


# The option


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"failed": 1}, "failed must be True or False, got 1"),
        ({"slower_than": "1"}, "slower_than must be None or a number of seconds, got '1'"),
        ({"slower_than": True}, "slower_than must be None or a number of seconds, got True"),
        ({"slower_than": -1}, "slower_than must be None or 0 seconds or more, got -1"),
        ({"slower_than": float("nan")}, "slower_than must be None or 0 seconds or more, got nan"),
        ({"failed": False, "slower_than": None}, "keeps nothing"),
    ],
)
def test_an_odd_option_is_told(arguments: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        Keep(**arguments)


def test_the_option_takes_a_keep() -> None:
    with pytest.raises(TypeError, match=r"keep must be None or a sentry_asgi.Keep, got True"):
        SentryMiddleware(hello, keep=True)  # type: ignore[arg-type]
    assert Keep() == Keep(failed=True, slower_than=1.0)


def test_what_fails_while_it_is_decided_is_logged_and_the_request_is_as_if_not_kept(
    traced: Traced, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    traced.init()

    class Broken:
        def __contains__(self, status: object) -> bool:
            raise RuntimeError("statuses")

    monkeypatch.setattr(undecided, "keep", None)
    if undecided.UndecidedSpan is not None:
        monkeypatch.setattr(undecided.UndecidedSpan, "keep", None)
    serve(broken)
    serve(hello, failed_request_status_codes=Broken())
    assert traced.spans == []
    assert "keeping a request" in caplog.text


# Odd ends


def test_a_group_beyond_the_budget_is_a_failure_though_it_is_no_exception(traced: Traced) -> None:
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        raise BaseExceptionGroup("both", [ValueError("x"), KeyboardInterrupt()])

    wrapped = SentryMiddleware(app, keep=Keep(slower_than=None), error_budget=1)
    for _ in range(2):
        with pytest.raises(BaseExceptionGroup):
            run(wrapped)
    assert why(traced) == ["failed"] * 2


def test_a_report_that_cannot_be_counted_is_logged(
    traced: Traced, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = traced.init()

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("counting")

    monkeypatch.setattr(client.transport, "record_lost_event", broken)
    serve(hello)
    assert "keeping a request" in caplog.text


def test_an_abandoned_request_that_is_closed_elsewhere_is_not_kept(traced: Traced) -> None:
    traced.init()
    app = SentryMiddleware(hello_later, keep=Keep(slower_than=0.0))
    serving = call(app, http_scope())
    contextvars.copy_context().run(serving.send, None)
    serving.close()
    assert traced.spans == []


async def hello_later(scope: Scope, receive: Any, send: Any) -> None:
    await _Never()


class _Never:
    def __await__(self) -> Any:
        yield None


def test_a_message_that_is_received_elsewhere_is_not_kept(traced: Traced) -> None:
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        task = asyncio.get_running_loop().create_task(receive(), context=contextvars.Context())
        await task

    incoming = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "x"}]
    wrapped = SentryMiddleware(app, keep=KEEP, websocket_message_spans=True)
    run(wrapped, websocket_scope("/ws"), incoming)
    assert traced.spans == []


@pytest.mark.skipif(SDK_VERSION < (2, 75), reason="streamed spans")
def test_where_the_sdk_decides_a_stream_of_events_is_as_ever(sentry: Sentry) -> None:
    traced = Traced(sentry, "stream")
    traced.init(traces_sample_rate=1.0, ignore_spans=["/health"])

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        headers = [(b"x-other", b"1"), (b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    serve(app)
    assert [one["op"] for one in traced.spans] == ["http.server"]


def test_a_client_that_is_closed_meanwhile_gets_nothing(traced: Traced) -> None:
    client = traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        with traced.start_span("child"):
            pass
        client.transport = None
        await respond(send)

    serve(app)
    assert traced.sentry.transport.items("span") == []


def test_a_transaction_that_records_nothing_is_left_as_it_is() -> None:
    """Of an SDK that has moved its recorder."""

    class Moved:
        sampled, sample_rate = False, None

        def init_span_recorder(self, maxlen: int) -> None:
            """Record nothing."""

    moved = Moved()
    undecided.record(moved, Recording())
    undecided.discard(moved)
    assert vars(moved) == {}
    undecided.keep(moved, 1_000)
    assert vars(moved) == {"sampled": True, "sample_rate": 1.0}
