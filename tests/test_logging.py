"""What a log line tells of the request that it was logged in; and that to ask changes nothing."""

from __future__ import annotations

import asyncio
import contextvars
import io
import json
import logging
import logging.handlers
import pickle
import queue
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
import structlog
from loguru import logger as loguru_logger
from sentry_sdk.scope import Scope as SentryScope

import sentry_asgi.logging
from sentry_asgi import SentryMiddleware, detached
from sentry_asgi._scopes import isolation as _isolation, lazy as _lazy
from sentry_asgi._scopes.isolation import LazyScopes
from sentry_asgi._scopes.public import PublicScopes
from sentry_asgi._sdk import spans as sdk_spans
from sentry_asgi.executor import ContextPreservingExecutor
from sentry_asgi.logging import RequestFilter, request_facts

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
from .test_tracing import PARENT, TRACE, Traced, traced  # noqa: F401 - a fixture

PAGE = Path(__file__).parent.parent / "docs" / "logging.md"
RECIPES = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
NOTHING = {"trace_id": "", "span_id": "", "method": "", "path": ""}
COPIES = sys.version_info >= (3, 12)

from_2_75 = pytest.mark.skipif(SDK_VERSION < (2, 75), reason="the SDK logged less")


pytestmark = pytest.mark.usefixtures("logging_as_it_was")

# None of the process's: it leaves nothing behind.
new_logger = logging.Logger


@pytest.fixture(params=[LazyScopes, PublicScopes], ids=["lazy", "public"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(_isolation, "_chosen", lambda: request.param)
    return request.param


class Lines:
    """A logger of which a filtered handler keeps each record, as it is formatted."""

    def __init__(self) -> None:
        self.records: list[logging.LogRecord] = []
        self.logger = new_logger("shop")
        lines = self

        class BodyBuffer(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                lines.records.append(record)

        self.handler = BodyBuffer()
        self.handler.addFilter(RequestFilter())
        self.logger.addHandler(self.handler)

    @property
    def facts(self) -> list[dict[str, str]]:
        return [{name: getattr(one, name) for name in NOTHING} for one in self.records]


def logs(lines: Lines, *, capture: bool = True) -> Any:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        lines.logger.warning("here")
        if capture:
            sentry_sdk.capture_message("here")
        await respond(send)

    return SentryMiddleware(app)


def trace_of(event: dict[str, Any]) -> tuple[str, str]:
    trace = event["contexts"]["trace"]
    return trace["trace_id"], trace["span_id"]


# What a record tells


def test_a_record_tells_the_request_and_the_trace_that_its_events_carry(
    sentry: Sentry, way: Any
) -> None:
    lines = Lines()
    run(logs(lines), http_scope("/items/7", method="post"))
    (facts,) = lines.facts
    assert (facts["method"], facts["path"]) == ("POST", "/items/7")
    assert (facts["trace_id"], facts["span_id"]) == trace_of(sentry.event)
    assert re.fullmatch("[0-9a-f]{32}", facts["trace_id"])
    assert re.fullmatch("[0-9a-f]{16}", facts["span_id"])


def test_outside_of_any_request_a_record_tells_nothing_and_a_format_works(sentry: Sentry) -> None:
    lines = Lines()
    lines.logger.warning("before")
    run(logs(lines))
    lines.logger.warning("after")
    assert lines.facts[0] == lines.facts[2] == NOTHING != lines.facts[1]
    formatter = logging.Formatter("[%(trace_id)s %(span_id)s %(method)s %(path)s] %(message)s")
    assert formatter.format(lines.records[0]) == "[   ] before"


def test_without_a_client_and_before_there_is_one_a_record_tells_nothing() -> None:
    lines = Lines()
    run(logs(lines))
    assert lines.facts == [NOTHING]


def test_a_record_continues_the_callers_trace(sentry: Sentry, way: Any) -> None:
    lines = Lines()
    headers = [(b"sentry-trace", f"{TRACE}-{PARENT}-1".encode())]
    run(logs(lines), http_scope(headers=headers))
    assert lines.facts[0]["trace_id"] == TRACE == trace_of(sentry.event)[0]


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_record_tells_the_span_that_is_active_where_there_is_one(
    traced: Traced,  # noqa: F811
    way: Any,
    rate: float,
) -> None:
    traced.init(traces_sample_rate=rate)
    lines = Lines()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        lines.logger.warning("in the request")
        with traced.start_span("child"):
            lines.logger.warning("in the child")
            sentry_sdk.capture_message("in the child")
        lines.logger.warning("in the request again")
        sentry_sdk.capture_message("in the request")
        await respond(send)

    run(SentryMiddleware(app))
    ids = [(one["trace_id"], one["span_id"]) for one in lines.facts]
    child, request = map(trace_of, traced.sentry.events)
    assert ids[1:] == [child, request]
    assert ids[0][0] == request[0]
    if rate:
        assert ids[0] == request
        assert {one["id"] for one in traced.spans} == {child[1], request[1]}


def test_a_span_where_tracing_is_off_is_none_of_the_events(sentry: Sentry, way: Any) -> None:
    lines = Lines()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        start = (
            sdk_spans.start_streamed_span if not hasattr(sentry_sdk, "start_transaction") else None
        )
        with start("child") if start else sentry_sdk.start_span(name="child"):
            lines.logger.warning("in the child")
            sentry_sdk.capture_message("in the child")
        await respond(send)

    run(SentryMiddleware(app))
    assert (lines.facts[0]["trace_id"], lines.facts[0]["span_id"]) == trace_of(sentry.event)


@pytest.mark.skipif(sdk_spans.Transaction is None, reason="SDK 3 has no such spans")
def test_what_stands_for_another_tracers_span_has_no_trace(traced: Traced) -> None:  # noqa: F811
    from sentry_sdk.tracing import NoOpSpan

    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        sentry_sdk.get_current_scope().span = NoOpSpan()
        context = sentry_sdk.get_isolation_scope().get_active_propagation_context()
        assert request_facts()["trace_id"] == context.trace_id
        await respond(send)

    run(SentryMiddleware(app))


def test_another_tracers_trace_goes_before_the_sdks(sentry: Sentry, way: Any) -> None:
    lines = Lines()
    sentry_sdk.scope.register_external_propagation_context(lambda: (TRACE, PARENT))
    try:
        run(logs(lines))
    finally:
        sentry_sdk.scope.remove_external_propagation_context()
    assert (lines.facts[0]["trace_id"], lines.facts[0]["span_id"]) == (TRACE, PARENT)
    assert trace_of(sentry.event) == (TRACE, PARENT)


def test_a_trace_that_the_app_itself_continues_is_its_events(sentry: Sentry, way: Any) -> None:
    lines = Lines()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        sentry_sdk.continue_trace({"sentry-trace": f"{TRACE}-{PARENT}-1"})
        await logs(lines).app(scope, receive, send)

    run(SentryMiddleware(app))
    assert lines.facts[0]["trace_id"] == trace_of(sentry.event)[0] == TRACE


def test_a_trace_that_is_set_on_the_current_scope_goes_before(sentry: Sentry, way: Any) -> None:
    lines = Lines()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        lines.logger.warning("before")
        sentry_sdk.get_current_scope().set_new_propagation_context()
        await logs(lines).app(scope, receive, send)

    run(SentryMiddleware(app))
    before, after = lines.facts
    assert before["trace_id"] != after["trace_id"]
    assert (after["trace_id"], after["span_id"]) == trace_of(sentry.event)


def test_a_scope_within_a_span_has_that_span(traced: Traced, way: Any) -> None:  # noqa: F811
    traced.init()
    lines = Lines()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        with traced.start_span("child"), sentry_sdk.new_scope():
            await logs(lines).app(scope, receive, send)

    run(SentryMiddleware(app))
    (facts,) = lines.facts
    assert (facts["trace_id"], facts["span_id"]) == trace_of(traced.sentry.event)


def test_an_sdk_that_knows_no_trace_tells_none(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SentryScope, "get_active_propagation_context", lambda _: None)
    lines = Lines()
    run(logs(lines, capture=False))
    assert lines.facts == [{**NOTHING, "method": "GET", "path": "/"}]


# Where it is told


@pytest.mark.parametrize("where", ["task", "to_thread", "executor", "default executor", "forked"])
def test_tasks_and_threads_of_a_request_log_in_it(sentry: Sentry, way: Any, where: str) -> None:
    lines = Lines()

    async def task() -> None:
        lines.logger.warning("in a task")

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        lines.logger.warning("in the request")
        work = lines.logger.warning
        loop = asyncio.get_running_loop()
        if where == "task":
            await asyncio.create_task(task())
        elif where == "to_thread":
            await asyncio.to_thread(work, "in a thread")
        elif where == "executor":
            with ContextPreservingExecutor(1) as pool:
                await asyncio.wrap_future(pool.submit(work, "in a pool"))
        elif where == "default executor":
            loop.set_default_executor(ContextPreservingExecutor(1))
            await loop.run_in_executor(None, work, "in the loop's pool")
        else:
            with sentry_sdk.new_scope():
                lines.logger.warning("in a scope of its own")
        await respond(send)

    run(SentryMiddleware(app), http_scope("/here"))
    assert lines.facts[0] == lines.facts[1]
    assert lines.facts[0]["path"] == "/here"


def test_a_thread_that_lost_the_context_is_in_no_request(sentry: Sentry) -> None:
    sentry.init(default_integrations=False)
    lines = Lines()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(lines.logger.warning, "in a pool")
        await respond(send)

    run(SentryMiddleware(app))
    assert lines.facts == [NOTHING]


def test_requests_at_the_same_time_tell_their_own(traced: Traced, way: Any) -> None:  # noqa: F811
    traced.init()
    lines = Lines()
    arrived = 0

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        nonlocal arrived
        arrived += 1
        while arrived < 20:
            await asyncio.sleep(0)
        lines.logger.warning(scope["path"])
        await asyncio.to_thread(lines.logger.warning, scope["path"])
        await respond(send)

    async def main() -> None:
        served = SentryMiddleware(app)
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(call(served, http_scope(f"/{number}")))

    asyncio.run(main())
    told = [
        (record.getMessage(), facts)
        for record, facts in zip(lines.records, lines.facts, strict=True)
    ]
    assert len(told) == 40
    assert all(facts["path"] == path for path, facts in told)
    assert len({facts["trace_id"] for _, facts in told}) == 20


def test_work_that_outlives_its_request_tells_it_still(sentry: Sentry, way: Any) -> None:
    lines = Lines()
    done = asyncio.Event()
    late: list[Any] = []

    async def work() -> None:
        await done.wait()
        lines.logger.warning("late")

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        lines.logger.warning("in time")
        late.append(asyncio.create_task(work()))
        await respond(send)

    async def main() -> None:
        await call(SentryMiddleware(app), http_scope("/done"))
        lines.logger.warning("between")
        done.set()
        await late[0]

    asyncio.run(main())
    in_time, between, afterwards = lines.facts
    assert in_time == afterwards
    assert between == NOTHING


def test_detached_work_and_the_lifespan_are_of_no_request(sentry: Sentry, way: Any) -> None:
    lines = Lines()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            lines.logger.warning("starting")
            await receive()
            await send({"type": "lifespan.startup.complete"})
            return
        with detached():
            lines.logger.warning("detached")
        await respond(send)

    wrapped = SentryMiddleware(app)
    run(wrapped, {"type": "lifespan"}, [{"type": "lifespan.startup"}])
    run(wrapped)
    assert lines.facts == [NOTHING, NOTHING]


def test_a_websocket_is_a_get_of_one_trace(sentry: Sentry, way: Any) -> None:
    lines = Lines()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        lines.logger.warning("before")
        await send({"type": "websocket.accept"})
        await receive()
        lines.logger.warning("after")

    run(SentryMiddleware(app), websocket_scope("/chat"), [{"type": "websocket.connect"}])
    assert lines.facts[0] == lines.facts[1]
    assert (lines.facts[0]["method"], lines.facts[0]["path"]) == ("GET", "/chat")


def test_a_connection_within_the_sdks_own_middleware_tells_its_trace(sentry: Sentry) -> None:
    from sentry_sdk.integrations.asgi import SentryAsgiMiddleware

    lines = Lines()
    run(SentryAsgiMiddleware(logs(lines)), http_scope("/both"))
    (facts,) = lines.facts
    assert facts["path"] == "/both"
    assert facts["trace_id"] == trace_of(sentry.event)[0]


# What a record must not do


def test_to_log_fills_no_scope_and_starts_no_span(traced: Traced) -> None:  # noqa: F811
    for options in ({"traces_sample_rate": 0.0}, {"traces_sample_rate": None}, {}):
        traced.init(**options)
        run(SentryMiddleware(respond_only))  # with the first request threads of the SDK start

        async def app(scope: Scope, receive: Any, send: Any) -> None:
            exchange = exchange_here()
            before = exchange.trace and exchange.trace.pending
            for _ in range(3):
                assert request_facts()["trace_id"]
            isolation = SentryScope.get_isolation_scope()
            current = SentryScope.get_current_scope()
            assert not _lazy.set_slots(isolation)[1]
            assert not _lazy.set_slots(current)[1]
            assert (exchange.trace and exchange.trace.pending) == before
            await respond(send)

        run(SentryMiddleware(app))


async def respond_only(scope: Scope, receive: Any, send: Any) -> None:
    await respond(send)


def reported(sentry: Sentry, *, filtered: bool) -> Any:
    sentry.transport.envelopes.clear()
    sentry.init(integrations=[sentry_sdk.integrations.logging.LoggingIntegration(event_level=40)])
    logger = logging.getLogger("shop.reported")
    handler = logging.StreamHandler(io.StringIO())
    if filtered:
        handler.addFilter(RequestFilter())
    logger.addHandler(handler)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        logger.warning("a crumb", extra={"own": 1})
        logger.error("an event", extra={"own": 2})
        await respond(send)

    try:
        run(SentryMiddleware(app))
    finally:
        logger.removeHandler(handler)
    event = sentry.event
    crumbs = [
        (crumb["message"], crumb["data"])
        for crumb in event["breadcrumbs"]["values"]
        if crumb["category"] == logger.name
    ]
    return {"extra": event["extra"], "crumbs": crumbs}


@pytest.mark.skipif(not COPIES, reason="the page says what Python 3.11 does")
def test_what_is_reported_is_the_same_with_the_filter_and_without(sentry: Sentry) -> None:
    assert reported(sentry, filtered=True) == reported(sentry, filtered=False)


def test_where_a_filter_cannot_copy_the_record_itself_is_told(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentry_asgi.logging, "_COPIES", False)
    extra = reported(sentry, filtered=True)["extra"]
    assert extra["path"] == "/"
    assert extra["own"] == 2


@pytest.mark.parametrize("copies", [True, False])
def test_what_the_app_calls_by_these_names_stays(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, copies: bool
) -> None:
    monkeypatch.setattr(sentry_asgi.logging, "_COPIES", copies)
    lines = Lines()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        lines.logger.warning("here", extra={"path": "/etc/passwd", "method": None})
        await respond(send)

    run(SentryMiddleware(app), http_scope("/other"))
    if copies and not COPIES:
        return
    (facts,) = lines.facts
    told: Any = facts
    assert (told["path"], told["method"]) == ("/etc/passwd", None)
    assert facts["trace_id"]


def test_the_names_are_none_of_loggings_own() -> None:
    taken = vars(logging.LogRecord("n", 20, "p", 1, "m", (), None)).keys() | {"message", "asctime"}
    taken |= {"otelTraceID", "otelSpanID", "otelServiceName", "otelTraceSampled"}
    assert not taken & set(NOTHING)


def test_a_record_is_otherwise_as_it_was_and_its_handlers_others_see_the_old_one(
    sentry: Sentry,
) -> None:
    class Own(logging.LogRecord):
        __slots__ = ("own",)

    for kind in (logging.LogRecord, Own):
        record = kind("shop", 20, "/srv/shop.py", 1, "a %s", ("cup",), None)
        before = dict(vars(record))
        told: Any = RequestFilter().filter(record)
        assert type(told) is kind
        assert vars(told) == {**before, **NOTHING}
        if COPIES:
            assert vars(record) == before
        assert told.getMessage() == "a cup"
        if kind is logging.LogRecord:
            assert vars(pickle.loads(pickle.dumps(told))) == vars(told)


def test_a_queue_keeps_what_its_handler_was_told(sentry: Sentry) -> None:
    kept: queue.Queue[Any] = queue.Queue()
    handler, lines = logging.handlers.QueueHandler(kept), Lines()
    handler.addFilter(RequestFilter())
    logger = new_logger("shop.queued")
    logger.addHandler(handler)
    listener = logging.handlers.QueueListener(kept, lines.handler)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        logger.warning("queued")
        await respond(send)

    listener.start()
    run(SentryMiddleware(app), http_scope("/queued"))
    listener.stop()
    assert lines.facts[0]["path"] == "/queued"


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"path": "/a\nERROR b\r\x1b[31m\u2028"}, ("GET", "/a%0AERROR%20b%0D%1B%5B31m%E2%80%A8")),
        ({"path": "/ä\ud800", "raw_path": b"\xff\n"}, ("GET", "/%C3%A4%3F")),
        ({"path": None, "method": None}, ("", "")),
        ({"path": b"/bytes", "method": b"GET"}, ("", "")),
        ({"method": "GET / HTTP/1.1\nX"}, ("", "/")),
        ({"method": "G" * 10_000}, ("", "/")),
        ({"headers": [(b"sentry-trace", b"\xff" * 5_000)]}, ("GET", "/")),
        ({"headers": 5}, ("GET", "/")),
        (
            {"path": "/reset/s3cr3t", "raw_path": None, "path_params": {"token": "s3cr3t"}},
            ("GET", "/reset/[Filtered]"),
        ),
    ],
)
def test_a_hostile_request_writes_no_line_of_its_own(
    sentry: Sentry, changes: Any, facts: Any
) -> None:
    lines = Lines()
    run(logs(lines), http_scope(**{"raw_path": None, **changes}))
    (told,) = lines.facts
    assert (told["method"], told["path"]) == facts
    assert told["trace_id"] == trace_of(sentry.event)[0]


@pytest.mark.parametrize("name", ["connection_here", "trace_here"])
def test_what_fails_in_here_is_said_and_the_line_is_logged(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    def broken() -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(sentry_asgi.logging, name, broken)
    caplog.handler.addFilter(RequestFilter())  # which hears of its own failure, too
    lines = Lines()
    run(logs(lines))
    assert lines.facts == [NOTHING]
    assert [one for one in caplog.messages if "telling the log of the request failed" in one]


def test_a_record_that_is_none_is_logged_all_the_same(
    sentry: Sentry, caplog: pytest.LogCaptureFixture
) -> None:
    nothing: Any = object()
    assert RequestFilter().filter(nothing) is True
    assert "telling a log record of its request failed" in caplog.messages[0]


@from_2_75
def test_what_the_sdk_logs_of_a_trace_that_is_asked_for_asks_no_further(sentry: Sentry) -> None:
    """With `debug` it tells each trace that it does not continue; and a trace is found out when it is asked for."""
    sentry.init(debug=True, strict_trace_continuation=True, org_id="9")
    lines = Lines()
    sdks = logging.getLogger("sentry_sdk.errors")
    sdks.addHandler(lines.handler)
    headers = [
        (b"sentry-trace", f"{TRACE}-{PARENT}".encode()),
        (b"baggage", b"sentry-org_id=5"),
    ]
    try:
        run(logs(lines), http_scope(headers=headers))
    finally:
        sdks.removeHandler(lines.handler)
    said = [one for one in lines.records if "strict trace continuation" in one.getMessage()]
    assert 1 <= len(said) <= 2
    (told,) = (
        facts
        for record, facts in zip(lines.records, lines.facts, strict=True)
        if record.getMessage() == "here"
    )
    assert told["trace_id"] == trace_of(sentry.event)[0] != TRACE


def test_who_logs_while_a_scope_is_filled_elsewhere_waits_for_nobody(sentry: Sentry) -> None:
    """A log handler holds its own lock meanwhile, and what fills a scope may log."""
    told: list[dict[str, str]] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(lambda: told.append(request_facts()),))
        with _lazy._filling:
            thread.start()
            thread.join(10)
            assert not thread.is_alive()
        await respond(send)

    run(SentryMiddleware(app))
    assert told[0]["trace_id"]


# The recipes of the page


async def shop(scope: Scope, receive: Any, send: Any) -> None:
    scope["log"]("sold")
    sentry_sdk.capture_message("sold")
    await respond(send)


def recipe(number: int) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "example"}
    exec(compile(RECIPES[number], "example.py", "exec"), namespace)
    return namespace


def test_the_recipe_for_logging_works(sentry: Sentry, capsys: pytest.CaptureFixture[str]) -> None:
    recipe(0)
    logger = logging.getLogger("shop.recipe")
    logger.info("open")
    run(SentryMiddleware(shop), http_scope("/cups", log=logger.info))
    outside, inside = capsys.readouterr().err.splitlines()
    assert outside == "INFO    open"
    assert inside == f"INFO {trace_of(sentry.event)[0]} GET /cups sold"


def test_the_recipe_for_structlog_works(sentry: Sentry, capsys: pytest.CaptureFixture[str]) -> None:
    add_request = recipe(1)["add_request"]
    logger = structlog.get_logger()
    logger.info("open")
    run(SentryMiddleware(shop), http_scope("/cups", log=logger.info))
    outside, inside = map(json.loads, capsys.readouterr().out.splitlines())
    assert outside == {**NOTHING, "event": "open", "level": "info"}
    trace_id, span_id = trace_of(sentry.event)
    facts = {"trace_id": trace_id, "span_id": span_id, "method": "GET", "path": "/cups"}
    assert inside == {**facts, "event": "sold", "level": "info"}

    # And for what is logged by `logging`, as the page says.
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    render = structlog.processors.JSONRenderer()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
            foreign_pre_chain=[add_request],
        )
    )
    other = new_logger("shop.foreign")
    other.addHandler(handler)
    run(SentryMiddleware(shop), http_scope("/saucers", log=other.warning))
    assert json.loads(out.getvalue())["path"] == "/saucers"


def test_the_recipe_for_loguru_works(sentry: Sentry, capsys: pytest.CaptureFixture[str]) -> None:
    recipe(2)
    loguru_logger.info("open")
    run(SentryMiddleware(shop), http_scope("/cups", log=loguru_logger.info))
    outside, inside = capsys.readouterr().err.splitlines()
    assert outside == "INFO    open"
    assert inside == f"INFO {trace_of(sentry.event)[0]} GET /cups sold"
