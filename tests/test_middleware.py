"""SentryMiddleware, driven as a server would: what it reports and what it leaves alone."""

from __future__ import annotations

import asyncio
import functools
import logging
import sys
import traceback
from types import MappingProxyType
from typing import Any

import pytest
import sentry_sdk

import sentry_asgi._reporting.capture
from sentry_asgi import SentryMiddleware

from .support import (
    Message,
    Scope,
    Sentry,
    call,
    exception_values,
    failing,
    http_scope,
    respond,
    run,
    websocket_scope,
)


async def hello(scope: Scope, receive: Any, send: Any) -> None:
    await respond(send)


HELLO = [
    {"type": "http.response.start", "status": 200, "headers": []},
    {"type": "http.response.body", "body": b"ok"},
]


# What is reported


def test_an_exception_is_captured_once_and_unhandled(sentry: Sentry) -> None:
    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(failing))
    event = sentry.event
    assert exception_values(event) == [("ValueError", "nope")]
    assert event["level"] == "error"
    mechanism = event["exception"]["values"][0]["mechanism"]
    assert (mechanism["type"], mechanism["handled"]) == ("asgi", False)


def test_a_websocket_failure_is_captured_with_its_handshake(sentry: Sentry) -> None:
    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(failing), websocket_scope("/chat"))
    assert sentry.event["request"]["url"] == "ws://example.org/chat"
    assert sentry.event["request"]["method"] == "GET"


def test_an_exception_group_arrives_as_sentrys_exception_group(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        raise ExceptionGroup("both", [ValueError("one"), KeyError("two")])

    with pytest.raises(ExceptionGroup):
        run(SentryMiddleware(app))
    values = sentry.event["exception"]["values"]
    group = next(value for value in values if value["type"] == "ExceptionGroup")
    assert group["mechanism"]["is_exception_group"] is True
    assert {value["type"] for value in values} == {"ExceptionGroup", "ValueError", "KeyError"}
    assert group["mechanism"]["type"] == "asgi"


@pytest.mark.parametrize(
    "raised", [asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit]
)
def test_what_is_no_exception_passes_uncaptured(
    sentry: Sentry, raised: type[BaseException]
) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        raise raised

    coroutine = call(SentryMiddleware(app), http_scope())
    with pytest.raises(raised):
        coroutine.send(None)
    assert sentry.events == []


def test_a_failure_in_a_group_with_a_cancellation_is_reported(sentry: Sentry) -> None:
    def served(*exceptions: BaseException) -> None:
        async def app(scope: Scope, receive: Any, send: Any) -> None:
            raise BaseExceptionGroup("both", exceptions)

        with pytest.raises(BaseExceptionGroup) as raised:
            run(SentryMiddleware(app))
        assert raised.value.exceptions == exceptions

    served(asyncio.CancelledError(), asyncio.CancelledError())
    assert sentry.events == []
    served(asyncio.CancelledError(), ValueError("nope"))
    assert exception_values(sentry.event) == [("ValueError", "nope"), ("ExceptionGroup", "both")]


def test_a_group_that_cannot_be_looked_into_leaves_all_the_same(
    sentry: Sentry, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd(BaseExceptionGroup[BaseException]):
        def derive(self, excs: Any, /) -> Any:
            raise TypeError

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        raise Odd("odd", [KeyboardInterrupt(), ValueError("nope")])

    with pytest.raises(Odd):
        run(SentryMiddleware(app))
    assert "looking into a group of exceptions failed" in caplog.text


def test_a_cancelled_request_is_no_error(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.create_task(call(SentryMiddleware(app), http_scope()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert sentry.events == []


# How the exception leaves


def test_the_exception_leaves_as_it_came(sentry: Sentry) -> None:
    cause, context = KeyError("cause"), LookupError("context")
    raised = ValueError("nope")
    seen: list[Any] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        try:
            try:
                raise context
            except LookupError:
                raise raised from cause
        except ValueError as exception:
            seen.append(traceback.format_tb(exception.__traceback__))
            raise

    with pytest.raises(ValueError, match="nope") as caught:
        run(SentryMiddleware(app))
    assert caught.value is raised
    assert raised.__cause__ is cause
    assert raised.__context__ is context
    assert raised.__suppress_context__ is True
    # The frames of the app are the last ones; those above are the callers'.
    frames = traceback.format_tb(raised.__traceback__)
    assert frames[-1].splitlines()[0] == seen[0][-1].splitlines()[0]
    assert sum("/sentry_asgi/" in frame for frame in frames) == 1


def test_a_context_that_was_not_suppressed_stays_so(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        try:
            raise KeyError("first")
        except KeyError:
            raise ValueError("nope")  # noqa: B904

    with pytest.raises(ValueError, match="nope") as caught:
        run(SentryMiddleware(app))
    assert isinstance(caught.value.__context__, KeyError)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ is False


def test_a_failure_to_capture_does_not_replace_the_exception(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("the SDK is broken")

    monkeypatch.setattr(sentry_asgi._stacktrace.traceback, "event_from", broken)
    caplog.set_level(logging.ERROR, "sentry_sdk.errors")
    with pytest.raises(ValueError, match="nope") as caught:
        run(SentryMiddleware(failing))
    assert caught.value.__context__ is None
    assert "capturing an exception failed" in caplog.text


# Nesting


def test_of_two_middlewares_around_one_app_one_reports(sentry: Sentry) -> None:
    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(SentryMiddleware(failing)))
    assert len(sentry.events) == 1


def test_an_exception_wrapped_between_two_middlewares_makes_one_event(sentry: Sentry) -> None:
    async def wrapping(scope: Scope, receive: Any, send: Any) -> None:
        try:
            await SentryMiddleware(failing)(scope, receive, send)
        except ValueError as exception:
            raise RuntimeError("wrapped") from exception

    with pytest.raises(RuntimeError, match="wrapped"):
        run(SentryMiddleware(wrapping))
    assert exception_values(sentry.event) == [("ValueError", "nope"), ("RuntimeError", "wrapped")]


def test_a_scope_used_for_two_connections_is_taken_twice(sentry: Sentry) -> None:
    app, scope = SentryMiddleware(failing), http_scope()
    for _ in range(2):
        with pytest.raises(ValueError, match="nope"):
            run(app, scope)
    assert len(sentry.events) == 2
    assert scope == http_scope()


def test_a_scope_that_cannot_be_marked_is_served_all_the_same(
    sentry: Sentry, caplog: pytest.LogCaptureFixture
) -> None:
    scope: Any = MappingProxyType(http_scope())
    assert run(SentryMiddleware(hello), scope) == HELLO


# Scopes


@pytest.mark.parametrize("kind", ["channel", "http.custom", "", None, 7])
def test_other_scope_types_pass_through_untouched(sentry: Sentry, kind: Any) -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Any, send: Any) -> str:
        seen.extend([scope, receive, send])
        return "returned"

    async def receive() -> Message:
        return {}

    async def send(message: Message) -> None:
        pass

    scope = {"type": kind}
    assert asyncio.run(SentryMiddleware(app)(scope, receive, send)) == "returned"
    assert seen[0] is scope
    assert scope == {"type": kind}
    assert seen[1:] == [receive, send]


class Incomparable:
    def __eq__(self, other: object) -> bool:
        raise TypeError("compares with nothing")

    __hash__ = None  # type: ignore[assignment]


def test_a_scope_whose_type_cannot_be_compared_reaches_the_app(sentry: Sentry) -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        seen.append(scope)

    scope = {"type": Incomparable()}
    nothing: Any = None
    asyncio.run(SentryMiddleware(app)(scope, nothing, nothing))
    assert seen == [scope]


def test_a_scope_without_a_type_reaches_the_app(sentry: Sentry) -> None:
    assert run(SentryMiddleware(hello), {"no": "type"}) == HELLO


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_scopes_that_lack_every_optional_key_are_served_and_reported(
    sentry: Sentry, kind: str
) -> None:
    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(failing), {"type": kind})
    assert exception_values(sentry.event) == [("ValueError", "nope")]


@pytest.mark.parametrize(
    "key", ["headers", "server", "client", "method", "raw_path", "state", "extensions", "scheme"]
)
@pytest.mark.parametrize("make", [http_scope, websocket_scope])
def test_a_scope_that_lacks_one_optional_key_is_reported(
    sentry: Sentry, key: str, make: Any
) -> None:
    scope = make("/x")
    scope.pop(key, None)
    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(failing), scope)
    assert sentry.event["request"]["url"].endswith("/x")


# Lifespan


def lifespan(app: Any) -> list[Message]:
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    return run(app, {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, messages)


def test_the_lifespan_passes_through(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        await send({"type": "lifespan.shutdown.complete"})

    assert [message["type"] for message in lifespan(SentryMiddleware(app))] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    assert sentry.events == []


def test_a_failing_start_is_captured(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        raise ValueError("no database")

    with pytest.raises(ValueError, match="no database"):
        lifespan(SentryMiddleware(app))
    assert exception_values(sentry.event) == [("ValueError", "no database")]


def test_an_app_that_does_not_support_lifespan_makes_no_event(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"

    with pytest.raises(AssertionError):
        lifespan(SentryMiddleware(app))
    assert sentry.events == []


# Kinds of apps


class Callable3:
    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        await respond(send)

    async def method(self, scope: Scope, receive: Any, send: Any) -> None:
        await respond(send)


class Awaitable3:
    """As Starlette's HTTPEndpoint: a class that is itself the app."""

    def __init__(self, scope: Scope, receive: Any, send: Any) -> None:
        self.send = send

    def __await__(self) -> Any:
        return respond(self.send).__await__()


def plain(scope: Scope, receive: Any, send: Any) -> Any:
    """As Emmett's `__call__`: a plain def that returns a coroutine."""
    return hello(scope, receive, send)


def anything(*args: Any) -> Any:
    return hello(*args)


async def configured(setting: int, scope: Scope, receive: Any, send: Any) -> None:
    await respond(send)


class Double:
    """ASGI 2: constructed with the scope, then called."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(self, receive: Any, send: Any) -> None:
        await respond(send)


def double(scope: Scope) -> Any:
    return Double(scope)


def double_by_any_arguments(*args: Any) -> Any:
    return double(*args)


def double_with_defaults(scope: Scope, receive: Any = None, send: Any = None) -> Any:
    return Double(scope)


class NoSignature:
    """As an app written in C: nothing tells how it is to be called."""

    __signature__ = "not a signature"

    def __call__(self, *args: Any) -> Any:
        return hello(*args)


APPS = {
    "async function": hello,
    "callable instance": Callable3(),
    "bound method": Callable3().method,
    "awaitable class": Awaitable3,
    "plain function": plain,
    "partial": functools.partial(configured, 1),
    "partial of a partial": functools.partial(functools.partial(configured, 1)),
    "any arguments": anything,
    "no signature": NoSignature(),
    "ASGI 2 class": Double,
    "ASGI 2 function": double,
    "ASGI 2 partial": functools.partial(double),
    "ASGI 2 by any arguments": double_by_any_arguments,
    "ASGI 2 with defaults": double_with_defaults,
}


@pytest.mark.parametrize("app", APPS.values(), ids=APPS.keys())
def test_every_kind_of_app_is_served(sentry: Sentry, app: Any) -> None:
    wrapped = SentryMiddleware(app)
    assert run(wrapped) == HELLO
    assert run(wrapped) == HELLO  # what was found out the first time still holds


def test_an_asgi2_app_that_fails_is_reported(sentry: Sentry) -> None:
    def app(scope: Scope) -> Any:
        return functools.partial(failing, scope)

    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(app))
    assert len(sentry.events) == 1


@pytest.mark.parametrize("value", [None, 3, "text"])
def test_an_app_that_returns_nothing_to_await_fails_as_it_does_bare(
    sentry: Sentry, value: Any
) -> None:
    for app in (lambda scope, receive, send: value, lambda *args: value):
        with pytest.raises(TypeError, match="await"):
            run(SentryMiddleware(app))


def test_a_type_error_of_the_app_is_not_taken_for_another_calling_style(sentry: Sentry) -> None:
    def app(*args: Any) -> Any:
        if len(args) == 3:
            raise TypeError("the app's own")
        return hello({}, None, None)  # a coroutine: no ASGI 2 instance

    with pytest.raises(TypeError, match="the app's own"):
        run(SentryMiddleware(app))


def test_an_app_that_refuses_every_call_is_asked_no_more_than_it_must(sentry: Sentry) -> None:
    def app(*args: Any) -> Any:
        raise TypeError(f"the app's own, for {len(args)}")

    with pytest.raises(TypeError, match="the app's own, for 3"):
        run(SentryMiddleware(app))


# Configuration


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(TypeError, match="must be an ASGI application"):
        SentryMiddleware("app")  # type: ignore[arg-type]


def test_an_unknown_transaction_style_is_refused() -> None:
    with pytest.raises(ValueError, match="'endpoint', 'route' or 'url'"):
        SentryMiddleware(hello, transaction_style="path")  # type: ignore[arg-type]


def test_without_a_client_the_app_runs_as_if_bare() -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        seen.append(dict(scope))
        await respond(send)

    assert run(SentryMiddleware(app)) == HELLO
    assert seen == [http_scope()]
    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(failing))


def test_an_inactive_client_changes_nothing(sentry: Sentry) -> None:
    sentry_sdk.init()  # no DSN
    assert run(SentryMiddleware(hello)) == HELLO


def test_the_sdk_may_be_initialised_after_the_app_is_wrapped(sentry: Sentry) -> None:
    sentry_sdk.get_global_scope().set_client(None)
    app = SentryMiddleware(failing)
    sentry.init()
    with pytest.raises(ValueError, match="nope"):
        run(app)
    assert len(sentry.events) == 1


def test_a_failure_of_the_isolation_leaves_the_app_alone(
    sentry: Sentry, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def enter(self, connection: Any) -> Any:
            raise RuntimeError("broken")

    app = SentryMiddleware(hello)
    app._enter = Broken().enter
    assert run(app) == HELLO
    assert "isolating a connection failed" in caplog.text


def test_nothing_keeps_a_finished_request_alive(sentry: Sentry) -> None:
    import gc
    import weakref

    class Tracked:
        pass

    tracked = Tracked()
    scope = http_scope(state=tracked)
    reference = weakref.ref(tracked)

    async def main() -> None:
        with pytest.raises(ValueError, match="nope"):
            await call(SentryMiddleware(failing), scope)

    asyncio.run(main())
    scope.clear()
    del tracked
    if sys.implementation.name == "cpython":
        gc.collect()
    assert reference() is None
