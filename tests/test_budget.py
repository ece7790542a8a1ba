"""The error budget: a storm is counted, and whatever is no storm is sent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from datetime import datetime
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.integrations.logging import LoggingIntegration
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from sentry_asgi import SentryMiddleware
from sentry_asgi._failures.budget import SITES, TOGETHER, Budget, raise_site
from sentry_asgi._sdk import clients as sdk_clients

from .support import Message, Scope, Sentry, http_scope, own_time, respond, run


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr("sentry_asgi._failures.budget.time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_site_has_so_many_at_once_and_as_many_a_minute(clock: Clock) -> None:
    budget = Budget(3)
    assert [budget.spend(("a",)) for _ in range(5)] == [True] * 3 + [False] * 2
    assert budget.spend(("b",))
    clock.now += 20
    assert [budget.spend(("a",)) for _ in range(2)] == [True, False]
    clock.now += 3_600
    assert [budget.spend(("a",)) for _ in range(4)] == [True] * 3 + [False]


def test_all_sites_together_have_ten_times_as_many(clock: Clock) -> None:
    budget = Budget(2)
    spent = [budget.spend((number,)) for number in range(2 * TOGETHER + 5)]
    assert spent == [True] * (2 * TOGETHER) + [False] * 5


def test_what_is_suppressed_is_told_once(clock: Clock) -> None:
    budget = Budget(1)
    before = time.time()
    assert [budget.spend(("a",)) for _ in range(4)] == [True] + [False] * 3
    told = budget.suppressed(("a",))
    assert told is not None
    assert told.events == 3
    assert before <= told.since <= time.time()
    assert budget.suppressed(("a",)) == told  # as long as nobody was told
    assert not budget.spend(("a",))
    budget.tell(("a",), told)
    rest = budget.suppressed(("a",))
    assert rest is not None
    assert rest.events == 1
    budget.tell(("a",), rest)
    assert budget.suppressed(("a",)) is None
    budget.tell(("unknown",), told)
    assert budget.suppressed(("unknown",)) is None


def test_the_site_not_seen_for_longest_is_forgotten(clock: Clock) -> None:
    budget = Budget(SITES)
    for number in range(SITES):
        budget.spend((number,))
    budget.spend((0,))
    for number in range(SITES, 10 * SITES):
        budget.spend((number,))
        budget.spend((0,))
    assert len(budget._sites) == SITES
    assert (0,) in budget._sites


class Other(Exception):
    pass


def fail(kind: type[Exception]) -> None:
    raise kind("nope")


def test_a_site_is_the_exceptions_type_and_the_innermost_line_of_the_applications() -> None:
    def here(kind: type[Exception]) -> Any:
        try:
            fail(kind)
        except Exception as exception:
            return raise_site(exception)

    assert here(ValueError) == here(ValueError)
    assert here(ValueError) != here(Other)
    with pytest.raises(ValueError, match="no number") as raised:
        int("no number")
    assert raise_site(raised.value)[:3] == ("builtins", "ValueError", __file__)
    with pytest.raises(ValueError, match="Expecting") as raised:
        json.loads("")
    assert raise_site(raised.value)[2] == __file__  # not where the library raised it
    assert raise_site(Other()) == (__name__, "Other")


# In the middleware.


async def failing(scope: Scope, receive: Any, send: Any) -> None:
    fail(ValueError)


def storm(app: Any, requests: int) -> None:
    for _ in range(requests):
        with pytest.raises(ValueError, match="nope"):
            run(app)


def test_the_next_event_tells_what_was_suppressed(sentry: Sentry, clock: Clock) -> None:
    app = SentryMiddleware(failing, error_budget=2)
    storm(app, 12)
    assert len(sentry.events) == 2
    assert "suppressed" not in sentry.events[-1]["contexts"]["asgi"]
    clock.now += 30
    storm(app, 1)
    told = sentry.events[-1]["contexts"]["asgi"]
    assert told["suppressed"] == 10
    since = datetime.fromisoformat(told["suppressed_since"])
    assert abs(since.timestamp() - time.time()) < 60
    clock.now += 30
    storm(app, 1)
    assert "suppressed" not in sentry.events[-1]["contexts"]["asgi"]


@pytest.mark.parametrize("report_without", [True, False])
@pytest.mark.parametrize("dropped_by", ["before_send", "error_sampler"])
def test_what_is_suppressed_is_told_by_an_event_that_is_sent(
    sentry: Sentry, clock: Clock, dropped_by: str, report_without: bool
) -> None:
    dropping = False
    answers: dict[str, Any] = {
        "before_send": lambda event, hint: None if dropping else event,
        "error_sampler": lambda event, hint: 0.0 if dropping else 1.0,
    }
    sentry.init(**{dropped_by: answers[dropped_by]})

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if not report_without:
            fail(ValueError)
        await respond(send, status=503)

    wrapped = SentryMiddleware(app, error_budget=1, report_5xx_without_exception=True)
    for dropping, minutes in (  # noqa: B007 - before_send reads it
        (False, 0),
        (False, 0),
        (False, 0),
        (True, 1),
        (False, 1),
        (False, 1),
    ):
        clock.now += 60 * minutes
        with contextlib.suppress(ValueError):
            run(wrapped)
    told = [event["contexts"]["asgi"].get("suppressed") for event in sentry.events]
    assert told == [None, 2, None]


def test_without_a_budget_each_failure_is_sent(sentry: Sentry) -> None:
    storm(SentryMiddleware(failing, error_budget=None), 150)
    assert len(sentry.events) == 150


def test_normal_operation_never_meets_the_budget(sentry: Sentry, clock: Clock) -> None:
    app = SentryMiddleware(failing)
    storm(app, 50)
    for _ in range(50):
        clock.now += 1
        storm(app, 1)
    assert len(sentry.events) == 100


@pytest.mark.parametrize("wrong", [0, -1, 2.5, "10"])
def test_a_budget_is_a_number_or_none(wrong: Any) -> None:
    with pytest.raises(ValueError, match="error_budget"):
        SentryMiddleware(failing, error_budget=wrong)


def test_the_sdks_client_report_counts_what_was_suppressed(sentry: Sentry) -> None:
    lost: list[tuple[str, str]] = []

    def record(reason: str, data_category: str) -> None:
        lost.append((reason, data_category))

    sentry.transport.record_lost_event = record  # type: ignore[method-assign,assignment]
    storm(SentryMiddleware(failing, error_budget=1), 4)
    assert lost == [("backpressure", "error")] * 3


def test_a_transport_without_reports_is_no_problem(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bare:
        transport = None

    monkeypatch.setattr("sentry_sdk.get_client", Bare)
    sdk_clients.record_lost_error()


def sessions(sentry: Sentry) -> dict[str, int]:
    client: Any = sentry_sdk.get_client()
    client.session_flusher.flush()
    counted: dict[str, int] = {}
    for item in sentry.transport.items("sessions"):
        for bucket in item["aggregates"]:
            for outcome in ("exited", "errored", "crashed"):
                counted[outcome] = counted.get(outcome, 0) + bucket.get(outcome, 0)
    return counted


@pytest.mark.parametrize("tagged", [False, True])
def test_each_failing_request_is_a_failed_session(sentry: Sentry, tagged: bool) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if tagged:
            sentry_sdk.set_tag("a", "b")
        if scope["path"] == "/handled":
            try:
                fail(Other)
            except Other:
                await respond(send, status=500)
        else:
            fail(ValueError)

    sentry.init(release="app@1", auto_session_tracking=True)
    wrapped = SentryMiddleware(app, error_budget=1)
    for _ in range(5):
        with pytest.raises(ValueError, match="nope"):
            run(wrapped)
        run(wrapped, http_scope("/handled"))
    assert len(sentry.events) == 2
    assert sessions(sentry) == {"exited": 0, "errored": 5, "crashed": 5}


def test_a_late_look_at_the_scope_leaves_the_session_as_it_was(sentry: Sentry) -> None:
    sentry.init(release="app@1", auto_session_tracking=True, traces_sample_rate=1.0)
    wrapped = SentryMiddleware(failing, error_budget=1)
    storm(wrapped, 5)
    assert sessions(sentry)["crashed"] == 5


def test_no_event_id_is_promised_that_nobody_will_send(sentry: Sentry) -> None:
    async def checkout(request: Request) -> PlainTextResponse:
        raise ValueError("nope")

    app = SentryMiddleware(
        Starlette(routes=[Route("/", checkout)]), id_headers=True, error_budget=2
    )
    promised: list[str] = []

    async def serve() -> None:
        async def send(message: Message) -> None:
            for name, value in message.get("headers", ()):
                if name == b"x-sentry-event-id":
                    promised.append(value.decode())

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        for _ in range(5):
            with pytest.raises(ValueError, match="nope"):
                await app(http_scope(), receive, send)

    asyncio.run(serve())
    assert promised == [event["event_id"] for event in sentry.events]
    assert len(promised) == 2
    unlimited = SentryMiddleware(app.app, id_headers=True, error_budget=None)
    app = unlimited
    asyncio.run(serve())
    assert len(promised) == 7


def test_responses_without_an_exception_have_a_budget_too(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await respond(send, status=503)

    wrapped = SentryMiddleware(app, report_5xx_without_exception=True, error_budget=2)
    for _ in range(5):
        run(wrapped)
    assert [event["message"] for event in sentry.events] == ["/ answered with 503"] * 2


def test_what_is_ignored_spends_nothing(sentry: Sentry) -> None:
    sentry.init(ignore_errors=[KeyError, "Other", f"{__name__}.Named"])
    kinds = [KeyError, Other, type("Named", (Exception,), {}), ValueError]

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        fail(kinds[int(scope["path"][1:])])

    wrapped = SentryMiddleware(app, error_budget=1)
    for path in ("/0", "/1", "/2", "/3"):
        with pytest.raises(Exception, match="nope"):
            run(wrapped, http_scope(path))
    assert [event["exception"]["values"][-1]["type"] for event in sentry.events] == ["ValueError"]
    assert len(wrapped._settings.budget._sites) == 1  # type: ignore[union-attr]


def test_what_the_app_has_reported_itself_spends_nothing(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        try:
            fail(ValueError)
        except ValueError as exception:
            sentry_sdk.capture_exception(exception)
            raise

    wrapped = SentryMiddleware(app, error_budget=1)
    storm(wrapped, 3)
    assert len(sentry.events) == 3
    assert len(wrapped._settings.budget._sites) == 0  # type: ignore[union-attr]


def test_the_servers_record_of_a_failure_costs_no_event(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    integration: Any = sentry_sdk.integrations.logging
    kept = integration.event_from_exception

    def counting(*args: Any, **options: Any) -> Any:
        made.append(args)
        return kept(*args, **options)

    monkeypatch.setattr(integration, "event_from_exception", counting)
    sentry.init(integrations=[LoggingIntegration(event_level=logging.ERROR)])
    logger = logging.getLogger("uvicorn.error")
    app = SentryMiddleware(failing, error_budget=1)
    for _ in range(3):
        try:
            run(app)
        except ValueError:
            logger.exception("Exception in ASGI application")
    assert len(sentry.events) == 1
    assert made == []
    try:
        fail(Other)
    except Other:
        logger.exception("of something else")
    assert len(sentry.events) == 2


def test_a_log_record_that_cannot_be_told_apart_is_news(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(event: Any, hint: Any) -> bool:
        raise RuntimeError

    sentry.init(integrations=[LoggingIntegration(event_level=logging.ERROR)])
    storm(SentryMiddleware(failing), 1)
    monkeypatch.setattr("sentry_asgi._failures.echoes.is_echo", broken)
    logging.getLogger("app").error("something else")
    assert len(sentry.events) == 2


def test_a_logging_integration_without_a_handler_is_left_alone(sentry: Sentry) -> None:
    class Client:
        def get_integration(self, name: str) -> Any:
            return None

    sdk_clients.filter_logged_events(Client(), None)


def test_to_suppress_takes_microseconds(sentry: Sentry) -> None:
    app = SentryMiddleware(failing, error_budget=1)
    scopes = [http_scope() for _ in range(2_000)]

    async def nothing(*_: Any) -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def serve() -> float:
        start = own_time()
        for scope in scopes:
            try:
                await app(scope, nothing, nothing)
            except ValueError:
                continue
        return (own_time() - start) / len(scopes)

    assert asyncio.run(serve()) < 0.0005
    assert len(sentry.events) == 1
