"""Failures that the app does not let out, and what is behind them."""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import subprocess
import sys
import threading
import weakref
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.integrations.logging import LoggingIntegration
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import sentry_asgi.middleware
from sentry_asgi import SentryMiddleware
from sentry_asgi._failures import swallowed
from sentry_asgi._failures.state import CROSSINGS
from sentry_asgi._python import in_app, installed as _installed
from sentry_asgi._reporting import unwinding
from sentry_asgi._scopes.here import connection_here
from sentry_asgi._scopes.isolation import LazyScopes
from sentry_asgi._scopes.public import PublicScopes

from . import apps
from .support import (
    Message,
    Scope,
    Sentry,
    call,
    exception_values,
    exchange_here,
    http_scope,
    respond,
    run,
    websocket_scope,
)

MONITORING: Any = getattr(sys, "monitoring", None)
monitored = pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is of 3.12")


def library(source: str, name: str = "framework") -> Any:
    """A module that counts as an installed library's."""
    namespace: dict[str, Any] = {"asyncio": asyncio, "respond": respond}
    exec(compile(source, f"/nowhere/site-packages/{name}/app.py", "exec"), namespace)
    return type(
        name,
        (),
        {
            key: staticmethod(value) if callable(value) else value
            for key, value in namespace.items()
        },
    )


framework = library(
    """
def make(endpoint, status=500, page=None):
    # Answers when nothing is being handled any more, as most frameworks that answer by themselves do.
    async def handle(scope):
        try:
            await endpoint(scope)
            return 200
        except Exception:
            if page is not None:
                page()
            return status

    async def app(scope, receive, send):
        await respond(send, status=await handle(scope))

    return app

def in_a_child_task(endpoint):
    inner = make(endpoint)
    async def app(scope, receive, send):
        await asyncio.ensure_future(inner(scope, receive, send))
    return app

def while_handling(endpoint):
    async def app(scope, receive, send):
        try:
            await endpoint(scope)
        except Exception:
            await respond(send, status=500)
    return app

def after_a_miss(endpoint):
    # Calls the endpoint, and answers, while an exception of its own is being handled.
    inner = make(endpoint)
    async def app(scope, receive, send):
        try:
            {}["cached"]
        except KeyError:
            await inner(scope, receive, send)
    return app
"""
)

engine = library(
    """
def render(function):
    # As a template engine or a validator: calls the application back, and swallows what it raises.
    try:
        return function()
    except Exception:
        return ""
""",
    "engine",
)


async def failing(scope: Scope) -> None:
    raise ValueError("nope")


def missing() -> None:
    raise KeyError("missing")


@pytest.fixture(autouse=True)
def nobody_else_watches() -> None:
    for user in list(unwinding.watch.users):
        unwinding.watch.end(user)


# Found


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(framework.make, marks=monitored),
        pytest.param(framework.in_a_child_task, marks=monitored),
        framework.while_handling,
        pytest.param(framework.after_a_miss, marks=monitored),
    ],
)
def test_an_exception_that_the_framework_turned_into_a_500_is_reported(
    sentry: Sentry, make: Any
) -> None:
    sent = run(SentryMiddleware(make(failing)))
    assert sent[0]["status"] == 500
    assert exception_values(sentry.event)[-1] == ("ValueError", "nope")
    mechanism = sentry.event["exception"]["values"][-1]["mechanism"]
    assert (mechanism["type"], mechanism["handled"]) == ("asgi", True)
    assert sentry.event["contexts"]["asgi"]["phase"] == "before response"
    assert sentry.event["request"]["url"] == "http://example.org/"


@monitored
def test_an_exception_of_a_worker_thread_is_found(sentry: Sentry) -> None:
    async def endpoint(scope: Scope) -> None:
        await asyncio.to_thread(missing)

    run(SentryMiddleware(framework.make(endpoint)))
    assert exception_values(sentry.event) == [("KeyError", "'missing'")]


forgetful = library(
    """
def make(endpoint):
    async def app(scope, receive, send):
        try:
            await endpoint(scope)
        except ValueError as exception:
            await respond(send, status=500)
            exception.__traceback__ = None
    return app
"""
)


def test_a_traceback_that_the_framework_takes_away_when_it_has_answered_is_still_reported(
    sentry: Sentry,
) -> None:
    """Starlette does."""
    seen: list[Any] = []

    async def endpoint(scope: Scope) -> None:
        try:
            await failing(scope)
        except ValueError as exception:
            seen.append(exception)
            raise

    run(SentryMiddleware(forgetful.make(endpoint)))
    (value,) = sentry.event["exception"]["values"]
    assert [frame["function"] for frame in value["stacktrace"]["frames"]][-1] == "failing"
    assert seen[0].__traceback__ is None  # as the framework left it


@monitored
def test_behind_starlettes_base_http_middleware_it_is_found(sentry: Sentry) -> None:
    async def dispatch(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    async def homepage(request: Any) -> None:
        raise ValueError("nope")

    async def handler(request: Any, exception: Exception) -> Any:
        return PlainTextResponse("sorry", status_code=503)

    app = Starlette(
        routes=[Route("/", homepage)],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=dispatch)],
        exception_handlers={ValueError: handler},
    )
    assert run(SentryMiddleware(app))[0]["status"] == 503
    assert exception_values(sentry.event) == [("ValueError", "nope")]


@monitored
def test_a_websocket_closed_for_a_failure_is_reported(sentry: Sentry) -> None:
    source = """
def make(endpoint, code):
    async def app(scope, receive, send):
        await send({"type": "websocket.accept"})
        try:
            await endpoint(scope)
        except Exception:
            pass
        await send({"type": "websocket.close", "code": code})
    return app
"""
    for code in (1011, 1014, 4500, 500):
        run(SentryMiddleware(library(source).make(failing, code)), websocket_scope())
    assert len(sentry.events) == 4
    assert exception_values(sentry.events[0]) == [("ValueError", "nope")]
    for code in (1001, 4404):
        run(SentryMiddleware(library(source).make(failing, code)), websocket_scope())
    assert len(sentry.events) == 4


@monitored
def test_a_websocket_closed_as_if_nothing_were_is_reported_if_its_handler_failed(
    sentry: Sentry,
) -> None:
    source = """
def make(endpoint):
    async def app(scope, receive, send):
        await send({"type": "websocket.accept"})
        try:
            await endpoint(scope)
        except Exception:
            pass
        await send({"type": "websocket.close"})
    return app
"""

    async def well(scope: Scope) -> None:
        engine.render(missing)

    run(SentryMiddleware(library(source).make(well)), websocket_scope())
    assert sentry.events == []
    run(SentryMiddleware(library(source).make(failing)), websocket_scope())
    assert exception_values(sentry.event) == [("ValueError", "nope")]


def test_a_websocket_denied_with_a_failing_status_is_reported(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        try:
            missing()
        except KeyError:
            await send({"type": "websocket.http.response.start", "status": 500, "headers": []})

    run(SentryMiddleware(app), websocket_scope())
    assert exception_values(sentry.event) == [("KeyError", "'missing'")]


def test_which_statuses_tell_of_a_failure_is_an_option(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        try:
            missing()
        except KeyError:
            await respond(send, status=int(scope["path"][1:]))

    wrapped = SentryMiddleware(app, failed_request_status_codes={404, 500})
    for status in (404, 500, 503):
        run(wrapped, http_scope(f"/{status}"))
    assert len(sentry.events) == 2


def test_the_client_has_its_response_before_anything_is_captured(sentry: Sentry) -> None:
    seen: list[int] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        try:
            missing()
        except KeyError:
            await respond(send, status=500)
            seen.append(len(sentry.events))

    run(SentryMiddleware(app))
    assert seen == [0]
    assert len(sentry.events) == 1


# Not a wrong one


async def answers_503(scope: Scope, receive: Any, send: Any) -> None:
    await respond(send, status=503)


def test_a_key_error_for_control_flow_is_not_behind_a_503(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        try:
            missing()
        except KeyError:
            pass
        await respond(send, status=503)

    run(SentryMiddleware(app))
    run(SentryMiddleware(answers_503))
    assert sentry.events == []


def test_what_a_template_engine_swallowed_is_not_behind_a_503(sentry: Sentry) -> None:
    async def endpoint(scope: Scope) -> None:
        engine.render(missing)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await framework.make(endpoint)(scope, receive, lambda message: asyncio.sleep(0))
        await respond(send, status=503)

    run(SentryMiddleware(app))
    assert sentry.events == []


@monitored
def test_what_a_template_engine_swallowed_before_is_not_taken_for_the_failure(
    sentry: Sentry,
) -> None:
    async def endpoint(scope: Scope) -> None:
        engine.render(missing)
        try:
            missing()
        except KeyError:
            pass
        raise ValueError("nope")

    run(SentryMiddleware(framework.make(endpoint)))
    assert exception_values(sentry.event) == [("ValueError", "nope")]


@monitored
def test_what_was_swallowed_while_the_error_page_is_rendered_is_not_taken_for_the_failure(
    sentry: Sentry,
) -> None:
    def page() -> None:
        engine.render(missing)
        framework_engine.render(missing)
        try:
            missing()
        except KeyError:
            pass

    framework_engine = library("def render(f):\n  try: f()\n  except Exception: pass")
    run(SentryMiddleware(framework.make(failing, page=page)))
    assert exception_values(sentry.event) == [("ValueError", "nope")]


@monitored
def test_an_error_handler_that_fails_itself_is_the_failure(sentry: Sentry) -> None:
    outer = library(
        """
def make(inner):
    async def handle(scope, receive, send):
        try:
            await inner(scope, receive, send)
        except Exception:
            return
    async def app(scope, receive, send):
        await handle(scope, receive, send)
        await respond(send, status=500)
    return app
"""
    )
    run(SentryMiddleware(outer.make(framework.make(failing, page=missing))))
    assert exception_values(sentry.event) == [("ValueError", "nope"), ("KeyError", "'missing'")]


def test_what_was_being_handled_around_the_app_is_not_behind_its_500(sentry: Sentry) -> None:
    app = SentryMiddleware(answers_503)

    async def main() -> None:
        try:
            missing()
        except KeyError:
            await call(app, http_scope())

    asyncio.run(main())
    assert sentry.events == []


@monitored
def test_a_concurrent_requests_exception_is_not_taken(sentry: Sentry) -> None:
    async def endpoint(scope: Scope) -> None:
        if scope["path"] == "/fails":
            await asyncio.sleep(0.01)
            raise ValueError("nope")
        await asyncio.sleep(0.02)

    app = SentryMiddleware(framework.make(endpoint))
    other = SentryMiddleware(framework.make(failing, 200))

    async def answer(scope: Scope, receive: Any, send: Any) -> None:
        await framework.make(endpoint, 500)(scope, receive, lambda message: asyncio.sleep(0))
        await respond(send, status=503)

    async def main() -> None:
        await asyncio.gather(
            call(app, http_scope("/fails")),
            call(SentryMiddleware(answer), http_scope("/waits")),
            call(other, http_scope()),
        )
        await call(SentryMiddleware(answers_503), http_scope())

    asyncio.run(main())
    assert sentry.event["request"]["url"].endswith("/fails")


@monitored
@pytest.mark.parametrize("ways", [LazyScopes, PublicScopes])
def test_what_the_threads_of_many_requests_swallow_at_once_hides_no_failure(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, ways: Any
) -> None:
    monkeypatch.setattr(sentry_asgi.middleware, "isolation", ways)

    def swallow() -> None:
        for _ in range(30):
            engine.render(missing)

    async def endpoint(scope: Scope) -> None:
        await asyncio.gather(asyncio.to_thread(swallow), asyncio.to_thread(swallow))
        raise ValueError(scope["path"])

    async def main() -> None:
        app = SentryMiddleware(framework.make(endpoint))
        await asyncio.gather(*(call(app, http_scope(f"/{number}")) for number in range(10)))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        asyncio.run(main())
    finally:
        sys.setswitchinterval(interval)
    assert len(sentry.events) == 10
    for event in sentry.events:
        path = event["request"]["url"].removeprefix("http://example.org")
        assert exception_values(event) == [("ValueError", path)]


@monitored
def test_an_earlier_requests_exception_is_not_taken(sentry: Sentry) -> None:
    """On a kept-alive connection, requests can share a context and have equal failures."""

    async def endpoint(scope: Scope) -> None:
        if scope["path"] == "/fails":
            missing()

    app = SentryMiddleware(framework.make(endpoint, 200))

    async def main() -> None:
        await call(app, http_scope("/fails"))
        await call(SentryMiddleware(answers_503), http_scope())

    asyncio.run(main())
    assert sentry.events == []


def test_a_library_of_its_own_that_answers_without_an_exception_makes_no_event(
    sentry: Sentry,
) -> None:
    run(SentryMiddleware(library("async def app(s, r, send): await respond(send, status=500)").app))
    assert sentry.events == []


# Without an exception


def test_a_failing_response_without_an_exception_is_a_message_on_request(sentry: Sentry) -> None:
    run(SentryMiddleware(answers_503, report_5xx_without_exception=True), http_scope("/x"))
    assert sentry.event["message"] == "/x answered with 503"
    assert sentry.event["level"] == "error"


def test_a_failing_close_without_an_exception_is_a_message_on_request(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 1011})

    wrapped = SentryMiddleware(app, report_5xx_without_exception=True)
    run(wrapped, {"type": "websocket"})
    assert sentry.event["message"] == "a request closed with 1011"


def test_what_the_app_reported_itself_needs_no_message(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        try:
            missing()
        except KeyError as exception:
            sentry_sdk.capture_exception(exception)
        await respond(send, status=500)

    run(SentryMiddleware(app, report_5xx_without_exception=True))
    assert len(sentry.events) == 1


# The lifespan

hooks = library(
    """
def make(*functions):
    # Runs the app's functions at start-up and at shutdown, and goes on whatever they raise.
    async def app(scope, receive, send):
        for phase in ("startup", "shutdown"):
            await receive()
            for function in functions:
                try:
                    function()
                except Exception:
                    pass
            await send({"type": f"lifespan.{phase}.complete"})

    return app
"""
)


def live(app: Any) -> None:
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    run(app, {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, messages)


@monitored
def test_a_start_or_shutdown_that_the_framework_lets_fail_silently_is_reported(
    sentry: Sentry,
) -> None:
    def fails() -> None:
        raise ValueError("nope")

    live(SentryMiddleware(hooks.make(fails, missing)))
    reported = [exception_values(event) for event in sentry.events]
    assert reported == [[("ValueError", "nope")], [("KeyError", "'missing'")]] * 2
    assert sentry.events[0]["exception"]["values"][0]["mechanism"]["handled"] is True


@monitored
def test_what_the_app_or_another_library_swallows_while_it_starts_is_no_failure(
    sentry: Sentry,
) -> None:
    def swallows() -> None:
        try:
            missing()
        except KeyError:
            engine.render(missing)

    live(SentryMiddleware(hooks.make(swallows)))
    assert sentry.events == []


def test_a_lifespan_notes_until_all_is_done(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        here: Any = connection_here()
        left(ValueError("before anything is received"))
        assert here.crossings == ()
        await receive()
        for number in range(3):
            left(ValueError(number))
        assert [error.args[0] for error in here.crossings] == [0, 1, 2]
        await send({"type": "lifespan.startup.complete"})
        left(ValueError("late"))
        assert here.crossings == ()

    live(SentryMiddleware(app))
    assert sentry.events == []


@monitored
def test_after_the_start_nothing_is_noted_of_what_it_started(sentry: Sentry) -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        engine.render(missing)
        here: Any = connection_here()
        seen.append(here.crossings)

    live(SentryMiddleware(app))
    assert seen == [()]
    assert sentry.events == []


def test_what_cannot_be_looked_for_in_a_lifespan_is_no_ones_problem(
    sentry: Sentry, caplog: pytest.LogCaptureFixture
) -> None:
    assert swallowed.swallowed(object()) == []
    assert "looking for a failure of the lifespan failed" in caplog.text


# The watching


def watching() -> bool:
    return unwinding.watch.tool_id is not None


@monitored
def test_the_tool_id_is_in_use_while_a_middleware_with_a_client_needs_it(sentry: Sentry) -> None:
    app = SentryMiddleware(answers_503)
    assert not watching()
    run(app)
    assert watching()
    other = SentryMiddleware(answers_503)
    run(other)
    sentry_sdk.get_global_scope().set_client(None)
    run(app)
    assert watching()
    run(other)
    assert not watching()
    sentry.init()
    run(app)
    assert watching()
    del app
    gc.collect()
    assert not watching()


@monitored
def test_with_the_lifespan_the_watching_ends(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await respond(send)

    wrapped = SentryMiddleware(app)
    run(wrapped)
    assert watching()
    run(wrapped, {"type": "lifespan"})
    assert not watching()


@pytest.fixture
def no_tool_id(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if unwinding._monitoring is not None:
        for tool_id in unwinding.TOOL_IDS:
            MONITORING.use_tool_id(tool_id, "test")
    monkeypatch.setattr(unwinding.watch, "_said", False)
    yield
    if unwinding._monitoring is not None:
        for tool_id in unwinding.TOOL_IDS:
            MONITORING.free_tool_id(tool_id)


def test_without_a_tool_id_what_is_being_handled_is_still_found_and_it_is_said_once(
    sentry: Sentry, no_tool_id: None, caplog: pytest.LogCaptureFixture
) -> None:
    gc.collect()
    caplog.set_level(logging.DEBUG, "sentry_asgi")
    for _ in range(2):
        run(SentryMiddleware(framework.make(failing)))
    assert sentry.events == []
    run(SentryMiddleware(framework.while_handling(failing)))
    assert len(sentry.events) == 1
    assert sum("sys.monitoring" in record.getMessage() for record in caplog.records) == 1


def test_without_sys_monitoring_it_is_the_same(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unwinding, "_monitoring", None)
    run(SentryMiddleware(framework.while_handling(failing)))
    assert len(sentry.events) == 1
    assert not watching()


def left(exception: BaseException) -> None:
    """Calls what sys.monitoring calls, where coverage can see it."""

    def app() -> None:
        unwinding.unwound(app.__code__, 0, exception)

    engine_call = library("def call(f): f()").call
    engine_call(app)


def test_of_a_connection_the_last_few_crossings_are_noted_while_it_is_served(
    sentry: Sentry,
) -> None:
    noted: list[Any] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        exchange: Any = exchange_here()
        assert exchange.crossings == ()
        for number in range(40):
            left(ValueError(number))
            noted.append([error.args[0] for error in exchange.crossings])
        noted.append(exchange)

    run(SentryMiddleware(app))
    exchange = noted.pop()
    assert noted[:3] == [[0], [0, 1], [0, 1, 2]]
    assert noted[-1] == list(range(40))[-CROSSINGS:]
    assert exchange.crossings == ()
    exchange.held.crossings.append(ValueError("late"))
    exchange.failure_state().crossings.append(ValueError("late"))
    assert exchange.crossings == ()
    left(ValueError("outside of any connection"))


def test_control_flow_that_crosses_is_no_failure(sentry: Sentry) -> None:
    def control_flow(scope: Scope) -> None:
        raise StopAsyncIteration

    def interrupted(scope: Scope) -> None:
        raise asyncio.CancelledError

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await respond(send, status=500)

    for raising in (control_flow, interrupted):
        answering = library(
            """
async def app(scope, receive, send):
    try:
        scope["app"](scope)
    except BaseException:
        pass
    await scope["respond"](send, status=500)
"""
        ).app
        run(SentryMiddleware(answering), http_scope(app=raising, respond=respond))
    assert sentry.events == []


def test_frames_between_application_frames_and_library_frames_are_no_crossings() -> None:
    def app() -> None:
        unwinding.unwound(app.__code__, 0, ValueError())
        unwinding.unwound(library.__code__.replace(co_filename="<string>"), 0, ValueError())

    app()


class Alarm(Exception):
    """What a signal's handler raises."""


def test_what_a_signals_handler_raises_in_the_callback_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def handler() -> Any:
        raise Alarm

    left(ValueError())  # or these files are new, and looked at with care
    monkeypatch.setattr(unwinding, "public_connection", handler)
    with pytest.raises(Alarm):
        left(ValueError())


def test_files_that_are_new_are_looked_at_first(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        exchange: Any = exchange_here()
        fresh: dict[str, bool] = {}
        monkeypatch.setattr(unwinding, "_known", fresh)

        def inner() -> None:
            unwinding.unwound(inner.__code__, 0, ValueError("within the application"))

        inner()
        unwinding.unwound(engine.render.__code__, 0, ValueError("within a library"))
        assert exchange.crossings == ()
        left(ValueError("crossing"))
        assert [str(error) for error in exchange.crossings] == ["crossing"]

    run(SentryMiddleware(app))


def test_at_the_end_of_the_stack_nothing_is_noted_and_nothing_happens(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_deep(*_: Any) -> Any:
        raise RecursionError

    monkeypatch.setattr(unwinding, "public_connection", too_deep)
    left(ValueError())
    monkeypatch.setattr(unwinding, "_with_care", too_deep)
    monkeypatch.setattr(unwinding, "_known", {})
    left(ValueError())


def test_a_connection_that_holds_nothing_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unwinding, "public_connection", object)
    left(ValueError())


# The real thing: the callback called by CPython. A process of its own, for signals.

ALARMS = """
import signal, sys
from sentry_asgi._reporting import unwinding

class Alarm(Exception): pass
fired = caught = 0
def handler(*_):
    global fired
    fired += 1
    raise Alarm
def fails(): raise ValueError
def swallows():
    try: fails()
    except ValueError: pass
def until_fired():
    before = fired
    signal.setitimer(signal.ITIMER_REAL, 0.0005)
    while fired == before: swallows()

signal.signal(signal.SIGALRM, handler)
unwinding.watch.begin(1)
assert unwinding.watch.tool_id is not None
for _ in range(500):
    try: until_fired()
    except Alarm: caught += 1
print(fired, caught)
"""


@monitored
def test_no_alarm_is_lost_while_exceptions_unwind() -> None:
    output = subprocess.check_output([sys.executable, "-c", ALARMS], text=True, timeout=60)
    assert output.split() == ["500", "500"]


def depths_with_a_value_error() -> int:
    """At how many depths, up to the end of the stack, an exception arrives as it was raised."""

    def deep(depth: int) -> None:
        if depth == 0:
            raise ValueError
        deep(depth - 1)

    for depth in range(10, 10_000):
        try:
            deep(depth)
        except ValueError:
            continue
        except RecursionError:
            return depth
    raise AssertionError


@monitored
def test_the_watching_takes_one_frame_of_the_stack_and_no_more() -> None:
    for user in list(unwinding.watch.users):  # middlewares that other tests have left
        unwinding.watch.end(user)
    bare = depths_with_a_value_error()
    unwinding.watch.begin(1)
    try:
        assert depths_with_a_value_error() == bare - 1
    finally:
        unwinding.watch.end(1)


def test_what_cannot_be_looked_for_is_no_ones_problem(
    sentry: Sentry, caplog: pytest.LogCaptureFixture
) -> None:
    assert swallowed.failure(object()) is None
    assert "looking for the exception behind a response failed" in caplog.text


@monitored
def test_nothing_of_the_failure_outlives_the_request(sentry: Sentry) -> None:
    class Local:
        pass

    references: list[Any] = []

    def raising(kind: type[Exception]) -> None:
        local = Local()
        references.append(weakref.ref(local))
        raise kind("nope")

    async def endpoint(scope: Scope) -> None:
        engine.render(lambda: raising(KeyError))
        try:
            raising(LookupError)
        except LookupError as exception:
            sentry_sdk.capture_exception(exception)
        raising(ValueError)

    async def main() -> None:
        await call(SentryMiddleware(framework.make(endpoint)), http_scope())
        assert len(sentry.events) == 2
        gc.collect()
        assert [reference() for reference in references] == [None, None, None]

    asyncio.run(main())


def test_an_exception_that_only_a_library_raised_is_found_if_it_is_being_handled(
    sentry: Sentry,
) -> None:
    source = """
async def app(scope, receive, send):
    try:
        {}["of the framework's own"]
    except KeyError:
        await respond(send, status=500)
"""
    run(SentryMiddleware(library(source).app))
    assert exception_values(sentry.event) == [("KeyError", '"of the framework\'s own"')]


@monitored
def test_what_the_framework_swallowed_before_it_failed_itself_is_not_taken_for_its_failure(
    sentry: Sentry,
) -> None:
    source = """
def make(callback):
    async def app(scope, receive, send):
        try:
            callback()
        except Exception:
            pass
        try:
            {}["of the framework's own"]
        except KeyError:
            await respond(send, status=500)
    return app
"""
    run(SentryMiddleware(library(source).make(missing)))
    assert exception_values(sentry.event) == [("KeyError", '"of the framework\'s own"')]


def test_an_exception_without_a_traceback_is_behind_it_if_it_is_being_handled(
    sentry: Sentry,
) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        try:
            missing()
        except KeyError as exception:
            left(exception)
            exception.__traceback__ = None
            await respond(send, status=500)

    run(SentryMiddleware(app))
    assert exception_values(sentry.event) == [("KeyError", "'missing'")]


def test_an_interruption_is_behind_nothing(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        try:
            raise asyncio.CancelledError
        except asyncio.CancelledError:
            await respond(send, status=503)

    run(SentryMiddleware(app))
    assert sentry.events == []


def test_rings_of_contexts_are_followed_to_a_bound() -> None:
    one, two = ValueError(), KeyError()
    one.__context__, two.__context__ = two, one
    assert len(list(swallowed._contexts(one))) == swallowed._CHAIN


# Whose code it is


def test_a_files_name_tells_whose_it_is() -> None:
    assert in_app.library("/srv/app/main.py") is None
    assert in_app.library("/srv/.venv/lib/python3.13/site-packages/quart/app.py") == "quart"
    assert in_app.library("C:\\venv\\Lib\\site-packages\\microdot.py") == "microdot"
    assert in_app.library("/usr/lib/python3/dist-packages/django/urls/base.py") == "django"
    assert in_app.library("blacksheep/baseapp.pyx") == "blacksheep"
    assert in_app.library("<string>") == ""
    assert in_app.library(asyncio.__file__) == ""
    assert in_app.library(threading.__file__) == ""
    assert in_app.library(in_app.__file__) == "sentry_asgi"


FILES = {
    "falcon/app.py": True,
    "single.py": True,
    "google/cloud/x.py": True,
    "google/mine.py": False,
    "main.py": False,
    "tests/mine.py": False,
}
RECORDS = {
    "falcon-4.0.dist-info/RECORD": "falcon/app.py,sha256=x,1\nfalcon-4.0.dist-info/RECORD,,\n",
    "others-1.dist-info/RECORD": "single.py,,\ngoogle/cloud/x.py,,\ntests/theirs.py,,\n",
}


@pytest.mark.parametrize("kind", ["folder", "archive", "no archive", "no text"])
def test_a_library_beside_the_application_is_known_by_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    beside = tmp_path / "task"
    if kind == "no archive":
        beside.write_text("not a zip")
    elif kind == "archive":
        with zipfile.ZipFile(beside, "w") as archive:
            archive.writestr("main.py", "")
            for name, record in RECORDS.items():
                archive.writestr(name, record)
    else:
        for name, record in RECORDS.items():
            (beside / name).parent.mkdir(parents=True)
            (beside / name).write_bytes(record.encode() if kind == "folder" else b"\xff")
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), str(beside), *sys.path])
    readable = kind in {"folder", "archive"}
    for name, is_librarys in FILES.items():
        owner = name.partition("/")[0].removesuffix(".py") if is_librarys and readable else None
        assert in_app.library(str(beside / name)) == owner
    assert in_app.library("/elsewhere/falcon/app.py") is None


def test_an_error_that_a_framework_beside_the_application_swallows_is_found(
    sentry: Sentry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beside-1.dist-info").mkdir()
    (tmp_path / "beside-1.dist-info" / "RECORD").write_text("beside.py,,\n")
    source = (
        "async def app(scope, receive, send):\n"
        "    try:\n        scope['endpoint']()\n    except Exception:\n        pass\n"
        "    await send({'type': 'http.response.start', 'status': 500})\n"
        "    await send({'type': 'http.response.body'})\n"
    )
    (tmp_path / "beside.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    beside = importlib.import_module("beside")
    run(SentryMiddleware(beside.app), http_scope(endpoint=missing))
    assert len(sentry.events) == (1 if sys.version_info >= (3, 12) else 0)


HELPED = """
def run(function, *args):
    return function(*args)

def again(exception, function):
    try:
        raise exception
    except BaseException:
        return function()

async def serve(endpoint, send, helper, catcher):
    exception = catcher.caught(endpoint)
    helper.again(exception, lambda: None)
    await respond(send, status=500)

def caught(function):
    try:
        function()
    except Exception as exception:
        return exception
"""


@monitored
@pytest.mark.parametrize(
    ("helper", "catcher", "events"),
    [
        ("asgiref", "framework", 1),
        ("anyio", "framework", 1),
        ("framework", "framework", 1),
        ("asgiref", "templates", 0),
        ("templates", "framework", 0),
        ("asgiref", "asgiref", 0),
        ("anyio", "asgiref", 0),
    ],
)
def test_helpers_of_the_framework_that_answers_are_looked_through(
    sentry: Sentry, helper: str, catcher: str, events: int
) -> None:
    framework = library(HELPED)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await framework.serve(missing, send, library(HELPED, helper), library(HELPED, catcher))

    run(SentryMiddleware(app))
    assert len(sentry.events) == events


BRIDGE = """
async def serve(endpoint, send, catcher):
    catcher.caught(endpoint)
    await asyncio.create_task(sender(send))

async def sender(send):
    await respond(send, status=500)
"""


@monitored
@pytest.mark.parametrize(
    ("bridge", "catcher", "events"),
    [("a2wsgi", "flask", 1), ("a2wsgi", "templates", 0), ("framework", "flask", 0)],
)
def test_behind_a_bridge_to_wsgi_any_framework_may_answer(
    sentry: Sentry, bridge: str, catcher: str, events: int
) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await library(BRIDGE, bridge).serve(missing, send, library(HELPED, catcher))

    run(SentryMiddleware(app))
    assert len(sentry.events) == events


@monitored
@pytest.mark.parametrize("view", ["failing", "failing_async"])
def test_djangos_failures_are_found_without_its_log(sentry: Sentry, view: str) -> None:
    sentry.init(integrations=[LoggingIntegration(event_level=None)])
    assert run(SentryMiddleware(apps.django()), http_scope(f"/{view}"))[0]["status"] == 500
    assert exception_values(sentry.event) == [("ValueError", "nope")]


LOGGED = """
import logging

def record():
    logging.getLogger("framework").error("answers so", extra={"status_code": 500})

async def serve(endpoint, then, send):
    try:
        endpoint()
    except Exception:
        pass
    then()
    await respond(send, status=500)
"""


@monitored
@pytest.mark.parametrize("endpoint", [missing, lambda: None])
def test_a_frameworks_record_of_a_failing_status_tells_what_is_behind_it(
    sentry: Sentry, endpoint: Any
) -> None:
    framework = library(LOGGED)
    sentry.init(integrations=[LoggingIntegration(event_level=logging.ERROR)])

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await framework.serve(endpoint, framework.record, send)

    run(SentryMiddleware(app))
    assert sentry.event["logentry"]["message"] == "answers so"
    if endpoint is missing:
        assert exception_values(sentry.event) == [("KeyError", "'missing'")]
    else:
        assert "exception" not in sentry.event


@monitored
def test_an_applications_record_of_anothers_status_tells_of_nothing_else(sentry: Sentry) -> None:
    framework = library(LOGGED)
    sentry.init(integrations=[LoggingIntegration(event_level=logging.ERROR)])

    def record() -> None:
        logging.getLogger("shop").error("they answered so", extra={"status_code": 500})

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await framework.serve(missing, record, send)

    run(SentryMiddleware(app))
    assert ["exception" in event for event in sentry.events] == [False, True]


def test_the_sdks_options_tell_what_else_is_the_applications() -> None:
    files = in_app.Files()
    installed, vendored = "/x/site-packages/shop/views.py", "/srv/shop/vendored/thing.py"
    assert (files[installed], files[vendored]) == (False, True)
    files.configure(["shop"], ["vendored"])
    assert (files[installed], files[vendored]) == (True, True)
    files.configure(None, ["shop.vendored"])
    assert (files[installed], files[vendored]) == (False, False)
    files.configure(None, ["shop.vendored"])
    assert len(files.known) == 2


def test_answers_are_kept_in_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_app, "_BOUND", 3)
    files = in_app.Files()
    for number in range(10):
        assert files[f"/srv/{number}.py"]
    assert len(files.known) <= 3


# The event's id


def headers(sent: list[Message]) -> dict[bytes, bytes]:
    """All but the trace's id, which every response carries."""
    return {name: value for name, value in sent[0]["headers"] if name != b"x-trace-id"}


def test_a_failing_response_can_carry_its_events_id(sentry: Sentry) -> None:
    sent = run(SentryMiddleware(framework.while_handling(failing), id_headers=True))
    assert headers(sent) == {b"x-sentry-event-id": sentry.event["event_id"].encode()}


def test_the_id_is_that_of_whatever_event_reports_the_failure(sentry: Sentry) -> None:
    async def before(scope: Scope, receive: Any, send: Any) -> None:
        try:
            missing()
        except KeyError as exception:
            sentry_sdk.capture_exception(exception)
            await respond(send, status=500)

    async def after(scope: Scope, receive: Any, send: Any) -> None:
        try:
            missing()
        except KeyError as exception:
            await respond(send, status=500)
            sentry_sdk.capture_exception(exception)

    for app in (before, after):
        sent = run(SentryMiddleware(app, id_headers=True))
        event = sentry.events[-1]
        assert headers(sent) == {b"x-sentry-event-id": event["event_id"].encode()}
    assert len(sentry.events) == 2


def test_no_event_no_id(sentry: Sentry) -> None:
    assert headers(run(SentryMiddleware(answers_503, id_headers=True))) == {}
    wrapped = SentryMiddleware(answers_503, id_headers=True, report_5xx_without_exception=True)
    assert headers(run(wrapped)) == {b"x-sentry-event-id": sentry.event["event_id"].encode()}


@pytest.mark.parametrize(
    ("catcher", "answering", "built"),
    [
        ("fastapi", {"starlette"}, True),
        ("channels", {"django", None}, True),
        ("starlette", {"fastapi"}, False),
        ("jinja2", {"starlette", "quart"}, False),
        ("pydantic", {"fastapi"}, False),
        ("no_such_package", {"starlette"}, False),
        ("no such name!", {"starlette"}, False),
    ],
)
def test_a_library_that_is_built_on_the_one_that_answers_may_have_caught(
    catcher: str, answering: set[str | None], built: bool
) -> None:
    assert _installed.is_built_on(catcher, answering) is built
