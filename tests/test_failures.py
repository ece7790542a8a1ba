"""One failure, one event; none for a client that left; and what an event says of when it happened."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import sys
import threading
import time
import weakref
from traceback import format_exception
from typing import Any

import pytest
import sentry_sdk
import uvicorn
from litestar import Litestar, get
from litestar.exceptions import InternalServerException, NotAuthorizedException
from sentry_sdk.integrations.logging import LoggingIntegration
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect

import sentry_asgi
from sentry_asgi import SentryMiddleware
from sentry_asgi._failures import chains, echoes
from sentry_asgi._scopes.here import connection_here
from sentry_asgi._stacktrace import traceback as _traceback

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

monitored = pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is of 3.12")


def fail(text: str = "nope") -> None:
    raise ValueError(text)


def logged_by_server(text: str) -> None:
    """As a record of uvicorn's own code."""
    logger = logging.getLogger("uvicorn.error")
    name = logger.name
    logger.handle(logger.makeRecord(name, logging.ERROR, uvicorn.__file__, 1, text, (), None))


def failing_with(body: Any, *, expect: type[BaseException] = Exception) -> None:
    """Serves an app whose body raises."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        result = body()
        if result is not None:
            await result

    with pytest.raises(expect):
        run(SentryMiddleware(app))


def run_app(body: Any) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        body()

    run(SentryMiddleware(app))


@pytest.fixture
def logs(sentry: Sentry) -> Sentry:
    """Errors that are logged make events: SDK 2 has that by default."""
    sentry.init(integrations=[LoggingIntegration(event_level=logging.ERROR)])
    return sentry


# One failure, one event


def test_captured_by_the_user_and_raised_again_it_is_one_event(sentry: Sentry) -> None:
    def body() -> None:
        try:
            fail()
        except ValueError as exception:
            sentry_sdk.capture_exception(exception)
            sentry_sdk.capture_exception(RuntimeError("something else in between"))
            raise

    failing_with(body)
    assert len(sentry.events) == 2


def test_captured_in_a_child_task_and_raised_again_it_is_one_event(sentry: Sentry) -> None:
    async def child() -> None:
        try:
            fail()
        except ValueError as exception:
            sentry_sdk.capture_exception(exception)
            raise

    async def body() -> None:
        await asyncio.create_task(child())

    failing_with(body)
    assert exception_values(sentry.event) == [("ValueError", "nope")]


def test_wrapped_from_a_reported_cause_it_is_one_event(sentry: Sentry) -> None:
    def body() -> None:
        try:
            fail()
        except ValueError as exception:
            sentry_sdk.capture_exception(exception)
            raise RuntimeError("wrapped") from exception

    failing_with(body)
    assert exception_values(sentry.event) == [("ValueError", "nope")]


def test_replaced_where_a_reported_one_was_caught_it_is_one_event(sentry: Sentry) -> None:
    def body() -> None:
        try:
            fail()
        except ValueError as exception:
            sentry_sdk.capture_exception(exception)
            raise RuntimeError("internal server error")  # noqa: B904

    failing_with(body)
    assert len(sentry.events) == 1


def test_what_fails_while_a_reported_one_is_cleaned_up_after_is_another_failure(
    sentry: Sentry,
) -> None:
    def body() -> None:
        try:
            fail()
        except ValueError as exception:
            sentry_sdk.capture_exception(exception)
            fail("the clean-up")

    failing_with(body)
    assert exception_values(sentry.events[1])[-1] == ("ValueError", "the clean-up")
    assert len(sentry.events) == 2


def test_a_cause_of_what_was_reported_is_no_event_of_its_own(sentry: Sentry) -> None:
    def body() -> None:
        try:
            fail()
        except ValueError as exception:
            try:
                raise RuntimeError("wrapped") from exception
            except RuntimeError as wrapped:
                sentry_sdk.capture_exception(wrapped)
            raise

    failing_with(body)
    assert exception_values(sentry.event) == [("ValueError", "nope"), ("RuntimeError", "wrapped")]


def test_logged_with_exc_info_and_swallowed_it_is_one_event(sentry: Sentry, logs: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        try:
            fail()
        except ValueError:
            logging.getLogger("framework").exception("it failed")
            await respond(send, status=500)

    run(SentryMiddleware(app))
    assert exception_values(sentry.event) == [("ValueError", "nope")]
    assert sentry.event["logger"] == "framework"


def test_what_two_threads_of_a_request_report_at_once_is_one_event(sentry: Sentry) -> None:
    class Slow(ValueError):
        """Gives the other thread time between looking and noting."""

        @property
        def __cause__(self) -> None:  # type: ignore[override]
            time.sleep(0.02)

    failure = Slow("nope")

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        def report() -> None:
            ready.wait()
            sentry_sdk.capture_exception(failure)

        ready = threading.Barrier(2)
        await asyncio.gather(asyncio.to_thread(report), asyncio.to_thread(report))

    run(SentryMiddleware(app))
    assert [value["value"] for value in sentry.event["exception"]["values"]] == ["nope"]


def test_what_sanic_logs_in_words_of_what_it_has_just_logged_makes_no_event(logs: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        said = 'The error response will not be sent to the client for the following exception:"x".'
        if scope["path"] == "/":
            try:
                fail()
            except ValueError as exception:
                logging.getLogger("sanic.error").exception(exception)
        logging.getLogger("sanic.root").error(said)
        logging.getLogger("another").error(said)

    run(SentryMiddleware(app))
    assert [event["logger"] for event in logs.events] == ["sanic.error", "another"]
    run(SentryMiddleware(app), http_scope("/alone"))
    assert [event["logger"] for event in logs.events[2:]] == ["sanic.root", "another"]


def test_a_message_after_a_failure_is_an_event_of_its_own(sentry: Sentry) -> None:
    def body() -> None:
        sentry_sdk.capture_exception(ValueError("nope"))
        sentry_sdk.capture_message("and so")

    run_app(body)
    assert len(sentry.events) == 2


def test_a_group_of_reported_ones_is_no_event_of_its_own(sentry: Sentry) -> None:
    one, two = ValueError("one"), KeyError("two")

    def body() -> None:
        sentry_sdk.capture_exception(one)
        sentry_sdk.capture_exception(two)
        raise ExceptionGroup("all", [one, ExceptionGroup("inner", [two])])

    failing_with(body)
    assert len(sentry.events) == 2


def test_of_a_group_the_rest_is_reported(sentry: Sentry) -> None:
    one, two = ValueError("one"), KeyError("two")

    def body() -> None:
        sentry_sdk.capture_exception(one)
        raise ExceptionGroup("both", [one, two])

    failing_with(body)
    assert [kind for kind, _ in exception_values(sentry.events[1])] == [
        "KeyError",
        "ExceptionGroup",
    ]


def test_members_of_a_reported_group_are_reported_with_it(sentry: Sentry) -> None:
    one = ValueError("one")

    def body() -> None:
        sentry_sdk.capture_exception(ExceptionGroup("all", [one]))
        raise one

    failing_with(body)
    assert len(sentry.events) == 1


def test_two_middlewares_of_one_process_make_one_event_of_a_wrapped_exception(
    sentry: Sentry,
) -> None:
    async def inner(scope: Scope, receive: Any, send: Any) -> None:
        fail()

    async def body() -> None:
        # Another app, called in-process: another connection.
        try:
            await call(SentryMiddleware(inner), http_scope("/inner"))
        except ValueError as exception:
            raise exception

    failing_with(body)
    assert sentry.event["request"]["url"] == "http://example.org/inner"


def test_the_same_exception_in_another_request_is_another_failure(sentry: Sentry) -> None:
    singleton = ValueError("made once")

    def body() -> None:
        raise singleton

    for _ in range(2):
        failing_with(body)
    assert len(sentry.events) == 2


@pytest.mark.parametrize("context", ["same", "other"])
def test_what_the_server_logs_of_it_makes_no_event(
    sentry: Sentry, logs: Sentry, context: str
) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        fail()

    def log(exception: Exception) -> None:
        logging.getLogger("server").error("in the app", exc_info=exception)

    try:
        run(SentryMiddleware(app))
    except ValueError as exception:
        if context == "same":
            log(exception)
        else:
            thread = threading.Thread(target=log, args=(exception,))
            thread.start()
            thread.join()
        assert len(sentry.events) == 1
    log(RuntimeError("another"))
    assert len(sentry.events) == 2


@pytest.mark.parametrize("header", [True, False])
def test_what_the_server_logs_of_it_as_text_makes_no_event(
    sentry: Sentry, logs: Sentry, header: bool
) -> None:
    import traceback

    with pytest.raises(ValueError, match="nope") as caught:
        run(SentryMiddleware(_raising(fail)))
    lines = traceback.format_exception(caught.value)
    text = "in the app\n" + "".join(lines if header else lines[1:])
    logged_by_server(text)
    assert len(sentry.events) == 1
    logged_by_server("ValueError: nope, but no traceback")
    logged_by_server("Traceback (most recent call last):\nValueError: nope")  # of something else
    assert len(sentry.events) == 3
    logging.getLogger("a.job").error(text)  # which has failed in the same way
    assert len(sentry.events) == 4


def test_a_storm_that_a_server_logs_as_text_is_as_large_as_the_budget(logs: Sentry) -> None:
    import traceback

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        fail(f"{scope['path']}\nand more")

    wrapped = SentryMiddleware(app, error_budget=10)
    for number in range(200):
        with pytest.raises(ValueError, match="and more") as caught:
            run(wrapped, http_scope(f"/{number}"))
        logged_by_server("it failed\n" + "".join(traceback.format_exception(caught.value)))
    assert len(logs.events) == 10


def test_what_a_server_logs_of_a_lifespan_that_failed_makes_no_event_for_a_while(
    logs: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "Traceback (most recent call last):\n  in the app\nValueError: nope"

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": text})

    lifespan(SentryMiddleware(app))
    assert len(logs.events) == 1
    said = [text, f"it said: {text}", "Application startup failed. Exiting."]
    for one in said:
        logged_by_server(one)
    assert len(logs.events) == 1
    logged_by_server("Another sentence.")
    monkeypatch.setattr(echoes, "_process_failed", (0.0, (text,)))
    logged_by_server(text)
    assert len(logs.events) == 3


@pytest.mark.parametrize(("logger", "events"), [("uvicorn.error", 0), ("a.job", 1)])
def test_a_cancellation_that_a_server_logs_is_no_failure(
    logs: Sentry, logger: str, events: int
) -> None:
    SentryMiddleware(_raising(fail))
    error = logging.getLogger(logger).error
    error("Exception in ASGI application", exc_info=asyncio.CancelledError())
    assert len(logs.events) == events


def test_a_failing_echo_processor_lets_events_through(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(event: Any, hint: Any) -> bool:
        raise RuntimeError

    monkeypatch.setattr(echoes, "is_echo", broken)
    SentryMiddleware(Starlette())
    sentry_sdk.capture_message("still there")
    assert sentry.event["message"] == "still there"
    assert "checking for a repeated report failed" in caplog.text


def test_chains_without_end_are_followed_to_a_bound(sentry: Sentry) -> None:
    chain: Exception = ValueError("first")
    for number in range(200):
        outer = RuntimeError(str(number))
        outer.__cause__ = chain
        chain = outer

    def body() -> None:
        raise chain

    failing_with(body)
    assert len(sentry.events) == 1
    assert len(chains.all_of(chain)) == 50
    assert len(list(chains.same_failure(chain))) == 50


def test_an_exception_that_was_never_raised_can_be_reported(sentry: Sentry) -> None:
    context = ValueError("never raised")

    def body() -> None:
        sentry_sdk.capture_exception(KeyError("another"))
        exception = ValueError("nope")
        exception.__context__ = context
        raise exception

    failing_with(body)
    assert len(sentry.events) == 2
    assert chains._replaced(RuntimeError()) is None
    raised = RuntimeError()
    raised.__context__ = _caught()
    assert chains._replaced(raised) is None


def _caught() -> Exception:
    try:
        fail()
    except ValueError as exception:
        return exception
    raise AssertionError


def test_no_strong_reference_outlives_the_request(sentry: Sentry) -> None:
    class Local:
        pass

    references: list[Any] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        local = Local()
        references.append(weakref.ref(local))
        raise ValueError("of a built-in type, which cannot be referred to weakly")

    async def main() -> None:
        # In one context, as on a kept-alive connection; nothing is set back when a task ends.
        with pytest.raises(ValueError, match="built-in"):
            await call(SentryMiddleware(app), http_scope())
        gc.collect()
        assert references[0]() is None

    asyncio.run(main())
    assert len(sentry.events) == 1


def test_a_failure_to_let_go_is_no_ones_problem(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(exceptions: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(sentry_asgi._sdk.clients, "forget", broken)
    failing_with(fail)
    assert "letting go of an exception failed" in caplog.text


# No noise


GONE: list[Message] = [{"type": "http.disconnect"}]


def test_a_client_that_leaves_while_its_body_is_read_makes_no_event(sentry: Sentry) -> None:
    async def homepage(request: Request) -> Any:
        return PlainTextResponse(await request.body())

    with pytest.raises(Exception):  # noqa: B017
        run(SentryMiddleware(Starlette(routes=[Route("/", homepage)])), messages=GONE)
    assert sentry.events == []


def test_a_framework_that_answers_an_accepted_websocket_as_a_request_has_failed(
    sentry: Sentry,
) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        try:
            raise ValueError("nope")
        except ValueError:  # as Muffin does; no server sends it
            await send({"type": "http.response.start", "status": 500, "headers": []})

    run(SentryMiddleware(app), websocket_scope(), [{"type": "websocket.connect"}])
    assert exception_values(sentry.event) == [("ValueError", "nope")]


def test_a_client_that_leaves_its_websocket_makes_no_event(sentry: Sentry) -> None:
    async def endpoint(websocket: Any) -> None:
        await websocket.accept()
        await websocket.receive_text()

    messages: list[Message] = [
        {"type": "websocket.connect"},
        {"type": "websocket.disconnect", "code": 1001},
    ]
    with pytest.raises(Exception):  # noqa: B017
        run(
            SentryMiddleware(Starlette(routes=[WebSocketRoute("/", endpoint)])),
            websocket_scope(),
            messages,
        )
    assert sentry.events == []


@pytest.mark.parametrize("grouped", [False, True])
def test_what_send_raises_when_the_client_has_left_makes_no_event(
    sentry: Sentry, grouped: bool
) -> None:
    async def send(message: Message) -> None:
        raise BrokenPipeError

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        try:
            await respond(send)
        except OSError as gone:
            if not grouped:
                raise
            raise ExceptionGroup("all", [gone, ExceptionGroup("inner", [gone])])  # noqa: B904

    with pytest.raises((BrokenPipeError, ExceptionGroup)):
        asyncio.run(SentryMiddleware(app)(http_scope(), None, send))  # type: ignore[arg-type]
    assert sentry.events == []


def test_an_error_of_the_app_after_the_client_has_left_is_reported(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "http.disconnect"
        raise ConnectionResetError("of a database")

    with pytest.raises(ConnectionResetError):
        run(SentryMiddleware(app), messages=GONE)
    assert exception_values(sentry.event) == [("ConnectionResetError", "of a database")]


def test_a_group_of_clients_that_left_makes_no_event_and_with_a_failure_it_does(
    sentry: Sentry,
) -> None:
    from starlette.requests import ClientDisconnect

    def body(*more: Exception) -> None:
        raise ExceptionGroup("all", [ClientDisconnect(), WebSocketDisconnect(1001), *more])

    failing_with(body)
    assert sentry.events == []
    failing_with(lambda: body(ValueError("nope")))
    assert ("ValueError", "nope") in exception_values(sentry.event)


def test_a_websocket_whose_client_left_while_it_was_accepted_is_accepted_once(
    sentry: Sentry,
) -> None:
    sent: list[Message] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})

    async def send(message: Message) -> None:
        sent.append(message)
        raise ConnectionResetError("gone")

    async def main() -> None:
        await SentryMiddleware(app)(websocket_scope(), asyncio.Event().wait, send)

    with pytest.raises(ConnectionResetError, match="gone"):
        asyncio.run(main())
    assert sent == [{"type": "websocket.accept"}]
    assert sentry.events == []


def test_frames_of_libraries_show_no_variables_whoever_reports(sentry: Sentry) -> None:
    """A library's thread goes on: what its frames hold when they are looked at may be another request's."""
    says = code_of("anyio", "def says(call):\n    item = 'of another request'\n    call()")["says"]

    def fail() -> None:
        own = "of this request"
        raise ValueError(len(own))

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        try:
            says(fail)
        except ValueError:
            logging.getLogger("app").exception("it failed")
        await respond(send)

    sentry.init(integrations=[LoggingIntegration(event_level=logging.ERROR)])
    run(SentryMiddleware(app))
    frames = sentry.event["exception"]["values"][0]["stacktrace"]["frames"]
    assert frames[-1]["vars"]["own"] == "'of this request'"
    assert "vars" not in frames[-2]


def code_of(library: str, source: str) -> dict[str, Any]:
    """What runs as a library's code."""
    names: dict[str, Any] = {"asyncio": asyncio}
    exec(compile(source, f"/nowhere/site-packages/{library}/code.py", "exec"), names)
    return names


RAISING = """
async def send(message):
    raise error

async def serve(app, scope, send):
    await app(scope, None, send)
"""


@pytest.mark.parametrize("kind", [TimeoutError, ConnectionRefusedError, OSError])
@pytest.mark.parametrize(
    ("server", "raised_by", "events"),
    [
        ("uvicorn", "uvicorn", 0),
        ("a_server", "a_server", 0),
        ("a_server", "hypercorn", 0),  # whatever starts a known server
        ("uvicorn", "a_cache", 1),
        ("a_server", "a_cache", 1),
        ("uvicorn", None, 1),
    ],
)
def test_what_a_middleware_further_out_raises_in_send_is_no_client_that_left(
    sentry: Sentry, kind: type[OSError], server: str, raised_by: str | None, events: int
) -> None:
    error = kind("nope")

    async def send(message: Message) -> None:
        raise error

    if raised_by is not None:
        names = code_of(raised_by, RAISING)
        names["error"] = error
        send = names["send"]
    app = SentryMiddleware(lambda scope, receive, send: respond(send))
    with pytest.raises(OSError, match="nope"):
        asyncio.run(code_of(server, RAISING)["serve"](app, http_scope(), send))
    assert len(sentry.events) == events


@pytest.mark.parametrize(
    ("library", "text", "leaves", "events"),
    [
        ("starlette", "No response returned.", True, 0),
        ("starlette", "No response returned.", False, 1),
        ("starlette", "Another sentence.", True, 1),
        ("another", "No response returned.", True, 1),
        (
            "uvicorn",
            "Unexpected ASGI message 'websocket.send', after sending 'websocket.close' or",
            True,
            0,
        ),
    ],
)
def test_a_librarys_sentence_counts_only_if_it_says_it_and_the_client_has_left(
    sentry: Sentry, library: str, text: str, leaves: bool, events: int
) -> None:
    says = code_of(library, f"def says(): raise RuntimeError({text!r})")["says"]

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        says()

    kind = "http.disconnect" if leaves else "http.request"
    with pytest.raises(RuntimeError):
        run(SentryMiddleware(app), http_scope(), [{"type": kind}])
    assert len(sentry.events) == events


@get("/")
async def served() -> None: ...


def within(framework: Any, exception: Exception) -> Any:
    class Denying:
        def __init__(self, app: Any) -> None: ...

        async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
            raise exception

    if framework is None:
        return SentryMiddleware(Denying(None))
    classes: list[Any] = [SentryMiddleware, Denying]
    if framework is Litestar:
        return Litestar([served], openapi_config=None, middleware=classes)
    both = [Middleware(SentryMiddleware), Middleware(Denying)]
    if framework is Mount:
        return Starlette(routes=[Mount("/", Starlette(), middleware=both)])
    return Starlette(middleware=both)


class Denied(NotAuthorizedException):
    pass


@pytest.mark.parametrize(
    ("framework", "exception", "events"),
    [
        (Litestar, NotAuthorizedException(), 0),
        (Litestar, Denied(), 0),
        (Litestar, InternalServerException(), 1),
        (Litestar, HTTPException(403), 1),  # another framework's
        (Litestar, ValueError("nope"), 1),
        (Mount, HTTPException(403), 0),
        (Starlette, HTTPException(403), 1),  # which answers it with a 500
        (None, NotAuthorizedException(), 1),
    ],
)
def test_an_exception_that_the_framework_around_answers_with_its_status_is_no_failure(
    sentry: Sentry, framework: Any, exception: Exception, events: int
) -> None:
    with contextlib.suppress(Exception):
        run(within(framework, exception))
    assert len(sentry.events) == events


def test_an_exception_whose_status_cannot_be_asked_for_is_a_failure(sentry: Sentry) -> None:
    class Broken(Exception):
        @property
        def status_code(self) -> int:
            raise RuntimeError

    def body() -> None:
        raise Broken

    failing_with(body, expect=Broken)
    assert exception_values(sentry.event)[-1][0].endswith("Broken")


def test_a_client_that_left_and_was_answered_with_a_500_makes_no_event(sentry: Sentry) -> None:
    async def homepage(request: Request) -> Any:
        return PlainTextResponse(await request.body())

    async def handler(request: Request, exception: Exception) -> Any:
        return PlainTextResponse("sorry", status_code=500)

    app = Starlette(routes=[Route("/", homepage)])
    from starlette.requests import ClientDisconnect

    app.add_exception_handler(ClientDisconnect, handler)
    assert run(SentryMiddleware(app), messages=GONE)[0]["status"] == 500
    assert sentry.events == []


# When it happened


def phase(sentry: Sentry) -> Any:
    return sentry.event["contexts"]["asgi"]["phase"]


def test_an_error_before_the_response_says_so_though_the_framework_has_answered(
    sentry: Sentry,
) -> None:
    def homepage(request: Request) -> None:
        fail()

    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(Starlette(routes=[Route("/", homepage)])))
    assert phase(sentry) == "before response"
    assert sentry.event["exception"]["values"][0]["mechanism"]["handled"] is False


def test_an_error_mid_stream_says_so(sentry: Sentry) -> None:
    async def parts() -> Any:
        yield b"one"
        fail()

    def homepage(request: Request) -> Any:
        return StreamingResponse(parts())

    with pytest.raises(Exception):  # noqa: B017
        run(SentryMiddleware(Starlette(routes=[Route("/", homepage)])))
    assert phase(sentry) == "during response"


def test_an_error_of_a_background_task_says_so(sentry: Sentry) -> None:
    from starlette.background import BackgroundTask

    def homepage(request: Request) -> Any:
        return PlainTextResponse("ok", background=BackgroundTask(fail))

    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(Starlette(routes=[Route("/", homepage)])))
    assert phase(sentry) == "after response"


def test_late_work_says_how_long_ago_its_request_ended(sentry: Sentry) -> None:
    async def late() -> None:
        await asyncio.sleep(0.03)
        sentry_sdk.capture_exception(ValueError("late"))

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        tasks.append(asyncio.create_task(late()))
        await respond(send)

    tasks: list[Any] = []

    async def main() -> None:
        await call(SentryMiddleware(app), http_scope("/first"))
        await tasks[0]

    asyncio.run(main())
    context = sentry.event["contexts"]["asgi"]
    assert context["phase"] == "after response"
    assert 0.02 < context["seconds_after_request"] < 5
    assert sentry.event["request"]["url"].endswith("/first")


@monitored
def test_what_a_late_task_leaves_to_asyncio_is_its_requests(logs: Sentry) -> None:
    async def late() -> None:
        await asyncio.sleep(0.02)
        raise ValueError("late")

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        background.add(asyncio.create_task(late()))
        await respond(send)

    background: set[Any] = set()
    wrapped = SentryMiddleware(app)  # while it lives, exceptions are watched

    async def main() -> None:
        await asyncio.create_task(call(wrapped, http_scope("/first")))
        await asyncio.sleep(0.05)
        background.clear()
        gc.collect()

    asyncio.run(main())
    assert exception_values(logs.event) == [("ValueError", "late")]
    assert logs.event["logger"] == "asyncio"
    assert logs.event["request"]["url"].endswith("/first")
    assert logs.event["contexts"]["asgi"]["phase"] == "after response"
    assert logs.event["contexts"]["asgi"]["seconds_after_request"] > 0


@monitored
def test_an_exception_that_late_work_shares_with_others_is_theirs_too(logs: Sentry) -> None:
    shared = ValueError("raised all the time")

    async def late() -> None:
        await asyncio.sleep(0)
        raise shared

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        background.append(asyncio.create_task(late()))

    background: list[Any] = []
    wrapped = SentryMiddleware(app)

    async def main() -> None:
        await asyncio.create_task(call(wrapped, http_scope("/first")))
        await asyncio.gather(*background, return_exceptions=True)

    asyncio.run(main())
    logging.getLogger("a.job").error("failed", exc_info=shared)
    assert "request" not in logs.event


def test_an_exception_that_cannot_be_marked_is_left_as_it_is(sentry: Sentry) -> None:
    class Closed(ValueError):
        __dict__ = property()

    exchanges: list[Any] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        exchanges.append(exchange_here())

    run(SentryMiddleware(app))
    exchanges[0].crossed(Closed())


def test_detached_work_belongs_to_no_request(sentry: Sentry) -> None:
    async def work() -> None:
        sentry_sdk.set_tag("work", "its own")
        sentry_sdk.capture_message("detached")

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        sentry_sdk.set_tag("of", "alice")
        with sentry_asgi.detached():
            task = asyncio.create_task(work())
        await task
        sentry_sdk.capture_message("attached")

    sentry_sdk.get_isolation_scope().set_tag("process", "yes")
    run(SentryMiddleware(app))
    detached, attached = sentry.events
    assert detached["tags"] == {"process": "yes", "work": "its own"}
    assert "request" not in detached
    assert attached["tags"] == {"process": "yes", "of": "alice"}
    assert attached["request"]["url"] == "http://example.org/"


def test_outside_of_any_request_detached_is_as_well(sentry: Sentry) -> None:
    with sentry_asgi.detached():
        sentry_sdk.set_tag("detached", "yes")
    sentry_sdk.capture_message("after")
    assert "tags" not in sentry.event


def test_a_broken_description_of_what_failed_does_no_harm(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: Any) -> bool:
        raise RuntimeError

    monkeypatch.setattr(sentry_asgi._frameworks.disconnects, "client_left", broken)
    failing_with(fail)
    assert "checking whether the client has left failed" in caplog.text
    assert len(sentry.events) == 1  # in doubt, it is reported


def test_without_the_sdks_dedupe_there_is_nothing_to_let_go_of(sentry: Sentry) -> None:
    sentry.init(default_integrations=False)
    failing_with(fail)
    assert len(sentry.events) == 1


# Lifespan


def lifespan(app: Any) -> list[Message]:
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    return run(app, {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, messages)


@pytest.mark.parametrize("which", ["startup", "shutdown"])
@pytest.mark.parametrize("again", [False, True])
def test_a_failure_that_is_sent_is_one_event_raised_again_or_not(
    sentry: Sentry, logs: Sentry, which: str, again: bool
) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        try:
            fail()
        except ValueError:
            await send({"type": f"lifespan.{which}.failed", "message": "a traceback"})
            if again:
                raise

    if again:
        with pytest.raises(ValueError, match="nope"):
            lifespan(SentryMiddleware(app))
    else:
        lifespan(SentryMiddleware(app))
    assert exception_values(sentry.event) == [("ValueError", "nope")]
    # What uvicorn makes of it.
    logged_by_server("a traceback")
    logged_by_server("Application startup failed. Exiting.")
    assert len(sentry.events) == 1
    logged_by_server("something else")
    assert len(sentry.events) == 2


def test_a_failure_that_is_sent_without_an_exception_is_an_event(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed"})

    lifespan(SentryMiddleware(app))
    assert sentry.event["message"] == "lifespan.startup.failed"


def test_it_is_flushed_before_the_server_learns_of_it(sentry: Sentry) -> None:
    seen: list[str] = []

    class Flushed(type(sentry.transport)):  # type: ignore[misc]
        def flush(self, timeout: float, callback: Any = None) -> None:
            seen.append("flushed")

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed"})

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        seen.append(message["type"])

    sentry.init(transport=Flushed())
    asyncio.run(SentryMiddleware(app)({"type": "lifespan"}, receive, send))
    assert seen == ["flushed", "lifespan.startup.failed"]


def test_a_broken_capture_does_not_stop_the_lifespan(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("the SDK is broken")

    monkeypatch.setattr(_traceback, "event_from", broken)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
        try:
            fail()
        except ValueError:
            await send({"type": "http.response.start", "status": 500, "headers": []})
            raise

    with pytest.raises(ValueError, match="nope"):
        lifespan(SentryMiddleware(app))

    async def swallowing(scope: Scope, receive: Any, send: Any) -> None:
        try:
            fail()
        except ValueError:
            await respond(send, status=500)

    run(SentryMiddleware(swallowing))
    assert "capturing an exception failed" in caplog.text


def test_logging_below_the_event_level_changes_nothing(sentry: Sentry) -> None:
    sentry.init(integrations=[LoggingIntegration(event_level=None)])
    failing_with(fail)
    assert len(sentry.events) == 1


# What others tell of it


def test_a_traceback_logged_as_text_is_the_exceptions_event(sentry: Sentry, logs: Sentry) -> None:
    import traceback

    logger = logging.getLogger("framework")

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        try:
            fail()
        except ValueError:
            logger.error("nothing about it")
            logger.error("Traceback (most recent call last): of something else")
            logger.error(traceback.format_exc())
            logger.error("in text: %s", traceback.format_exc())
            await respond(send, status=500)

    run(SentryMiddleware(app))
    assert len(sentry.events) == 3
    assert exception_values(sentry.events[2]) == [("ValueError", "nope")]


def as_json(exception: Exception) -> str:
    return json.dumps({"event": "failed", "exception": "".join(format_exception(exception))})


def as_json_of_other_letters(exception: Exception) -> str:
    text = "".join(format_exception(exception)).rstrip()
    return json.dumps({"exception": text, "level": "error"}, ensure_ascii=False)


def as_pairs(exception: Exception) -> str:
    return (
        f"event='failed' exception={''.join(format_exception(exception)).rstrip()!r} level='error'"
    )


def as_a_structure(exception: Exception) -> str:
    told = {"exc_type": type(exception).__name__, "exc_value": str(exception), "frames": []}
    return json.dumps({"exception": [told]})


def as_a_dictionary(exception: Exception) -> Any:
    return {"event": "failed", "exc_info": True}


def as_a_dictionary_with_it(exception: Exception) -> Any:
    return {"event": "failed", "exc_info": exception}


def as_a_dictionary_with_three(exception: Exception) -> Any:
    return {"event": "failed", "exc_info": sys.exc_info()}


RENDERINGS = [
    as_json,
    as_json_of_other_letters,
    as_pairs,
    as_a_structure,
    as_a_dictionary,
    as_a_dictionary_with_it,
    as_a_dictionary_with_three,
]


@pytest.mark.parametrize("render", RENDERINGS)
@pytest.mark.parametrize("text", ["nope", 'a "quoted" \u00e9\nof two lines'])
def test_an_exception_rendered_into_a_record_and_raised_again_is_one_event(
    logs: Sentry, render: Any, text: str
) -> None:
    def body() -> None:
        try:
            fail(text)
        except ValueError as exception:
            logging.getLogger("structured").error(render(exception))
            raise

    failing_with(body)
    assert exception_values(logs.event) == [("ValueError", text)]
    assert logs.event["logger"] == "structured"


@pytest.mark.parametrize("render", RENDERINGS[:4])
def test_a_rendering_of_another_exception_is_an_event_of_its_own(logs: Sentry, render: Any) -> None:
    def body() -> None:
        other = ValueError("another")
        try:
            fail()
        except ValueError:
            logging.getLogger("structured").error(render(other))
            logging.getLogger("structured").error('{"error": "ValueError: nope", "frames": 2}')
            logging.getLogger("structured").error({"exc_info": False})
            raise

    failing_with(body)
    assert len(logs.events) == 4


@pytest.mark.parametrize("renderer", ["JSONRenderer", "KeyValueRenderer", "LogfmtRenderer"])
@pytest.mark.parametrize("formatted", ["format_exc_info", "dict_tracebacks", None])
def test_what_structlog_logs_and_is_raised_again_is_one_event(
    logs: Sentry, renderer: str, formatted: str | None
) -> None:
    structlog = pytest.importorskip("structlog")
    if formatted is None:
        last = structlog.stdlib.ProcessorFormatter.wrap_for_formatter
        processors = [last]
    else:
        last = getattr(structlog.processors, renderer)()
        processors = [getattr(structlog.processors, formatted), last]
    logger = structlog.wrap_logger(logging.getLogger("structured"), processors=processors)

    def body() -> None:
        try:
            fail()
        except ValueError:
            logger.exception("failed", user=7)
            raise

    if renderer == "LogfmtRenderer" and formatted == "dict_tracebacks":
        return
    failing_with(body)
    assert exception_values(logs.event) == [("ValueError", "nope")]


def test_a_framework_that_logs_that_the_client_has_left_makes_no_event(
    sentry: Sentry, logs: Sentry
) -> None:
    from starlette.requests import ClientDisconnect

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        try:
            raise ClientDisconnect
        except ClientDisconnect as exception:
            if scope["path"] == "/asked":
                sentry_sdk.capture_exception(exception)
            else:
                logging.getLogger("framework").exception("it left")

    run(SentryMiddleware(app))
    assert sentry.events == []
    run(SentryMiddleware(app), http_scope("/asked"))
    assert len(sentry.events) == 1


def test_a_sentence_of_a_frameworks_counts_only_if_the_client_has_left(sentry: Sentry) -> None:
    class InternalServerException(Exception):
        __module__ = "litestar.exceptions"

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        raise InternalServerException("500: client disconnected prematurely")

    for messages, events in ((GONE, 0), ([], 1)):
        with pytest.raises(InternalServerException):
            run(SentryMiddleware(app), messages=messages)
        assert len(sentry.events) == events


def test_what_an_integration_says_of_an_unsupported_lifespan_makes_no_event(
    sentry: Sentry,
) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        try:
            raise AssertionError("no lifespan")
        except AssertionError as exception:
            event, hint = _traceback.event_from(exception, {"type": "django", "handled": False})
            sentry_sdk.capture_event(event, hint=hint)  # type: ignore[arg-type]
            raise

    with pytest.raises(AssertionError):
        lifespan(SentryMiddleware(app))
    assert sentry.events == []


def test_a_lifespan_leaves_nothing_behind_in_its_context(sentry: Sentry) -> None:
    async def unsupporting(scope: Scope, receive: Any, send: Any) -> None:
        raise AssertionError("no lifespan")

    async def main() -> None:
        with pytest.raises(AssertionError):
            await SentryMiddleware(unsupporting)({"type": "lifespan"}, receive, receive)
        assert connection_here() is None
        sentry_sdk.capture_exception(ValueError("later, in the same context"))

    async def receive(*_: Any) -> Any:
        raise AssertionError

    asyncio.run(main())
    assert exception_values(sentry.event) == [("ValueError", "later, in the same context")]


def test_what_a_server_logs_of_an_unsupported_lifespan_makes_no_event(sentry: Sentry) -> None:
    sentry.init(integrations=[LoggingIntegration()])

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        raise AssertionError("no lifespan")

    async def main() -> None:
        try:
            await SentryMiddleware(app)({"type": "lifespan"}, main, main)  # type: ignore[arg-type]
        except AssertionError as exception:
            logging.getLogger("uvicorn.error").error(
                "Exception in 'lifespan' protocol\n", exc_info=exception
            )

    asyncio.run(main())
    assert sentry.events == []


def test_a_group_among_the_causes_is_shown_with_its_members(sentry: Sentry) -> None:
    def body() -> None:
        try:
            raise ExceptionGroup("both", [ValueError("one"), KeyError("two")])
        except ExceptionGroup as group:
            try:
                raise LookupError("in between") from group
            except LookupError as exception:
                raise RuntimeError("wrapped") from exception

    failing_with(body)
    kinds = {kind for kind, _ in exception_values(sentry.event)}
    assert kinds == {"ValueError", "KeyError", "ExceptionGroup", "LookupError", "RuntimeError"}


def _raising(body: Any) -> Any:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        body()

    return app


def test_an_exception_that_says_too_much_is_known_without_its_text(sentry: Sentry) -> None:
    large = list(range(10_000_000))

    def body() -> None:
        raise ValueError(large)

    async def serve() -> None:  # CPython 3.11 asks for the repr of what a task ends with
        with pytest.raises(ValueError):
            await call(SentryMiddleware(_raising(body)), http_scope())

    start = time.thread_time()
    asyncio.run(serve())
    assert time.thread_time() - start < 1
    assert sentry.event["exception"]["values"][0]["value"].startswith("[0, 1, ")
