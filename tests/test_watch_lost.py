"""What a request's tasks leave behind that nobody asks for, and requests that are cancelled after a long wait."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sentry_sdk
import uvloop
from sentry_sdk.integrations.logging import LoggingIntegration

from sentry_asgi import SentryMiddleware, Watch

from .support import App, Scope, Sentry, call, exception_values, http_scope, respond
from .test_watch_blocks import end_watches

pytestmark = pytest.mark.usefixtures("no_collection")

LONG = 1.0


@pytest.fixture(autouse=True)
def logs(sentry: Sentry) -> None:
    sentry.init(integrations=[LoggingIntegration(event_level=logging.ERROR)])


def serve(app: App, *paths: str, collecting: bool = True) -> None:
    """One request after the other; the garbage of each is collected while the next runs."""

    async def serving() -> None:
        for path in paths:
            await call(app, http_scope(path))
        await asyncio.sleep(0.05)

    gc.disable()
    try:
        asyncio.run(serving())
    finally:
        gc.enable()
    gc.collect()
    end_watches()


class Circle:
    """Only the garbage collector ends what this holds."""

    def __init__(self, held: Any) -> None:
        self.held, self.me = held, self


async def _fails() -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize("path", ["/first", "/other"])
def test_an_exception_that_is_never_retrieved_is_its_requests(sentry: Sentry, path: str) -> None:
    """Whichever request runs while it is found."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if scope["path"] == "/first":
            sentry_sdk.set_tag("order", "7")
            Circle(asyncio.create_task(_fails()))
            await asyncio.sleep(0.01)
        if scope["path"] == path:
            gc.collect()
        await respond(send)

    serve(SentryMiddleware(app, watch=None), "/first", "/other")
    event = sentry.event
    assert exception_values(event) == [("ZeroDivisionError", "")]
    assert event["request"]["url"] == "http://example.org/first"
    assert event["tags"] == {"order": "7"}
    assert ("seconds_after_request" in event["contexts"]["asgi"]) == (path == "/other")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is of 3.12")
def test_an_exception_that_uvloop_logs_is_its_requests_when_that_was_over(sentry: Sentry) -> None:
    """uvloop tells of no frame; the exception has its request's mark."""

    async def fails() -> None:
        await asyncio.sleep(0.02)
        raise ZeroDivisionError

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        Circle(asyncio.create_task(fails()))
        await respond(send)

    wrapped = SentryMiddleware(app, watch=None)

    async def serving() -> None:
        await call(wrapped, http_scope("/late"))
        await asyncio.sleep(0.1)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serving())
    gc.collect()
    assert exception_values(sentry.event) == [("ZeroDivisionError", "")]
    assert sentry.event["request"]["url"] == "http://example.org/late"
    assert sentry.event["contexts"]["asgi"]["seconds_after_request"] > 0


def test_a_task_that_is_destroyed_while_it_is_pending(sentry: Sentry) -> None:
    async def waits() -> None:
        await asyncio.get_running_loop().create_future()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if scope["path"] == "/other":
            gc.collect()
        else:
            Circle(asyncio.create_task(waits()))
            await asyncio.sleep(0.01)
        await respond(send)

    serve(SentryMiddleware(app), "/one", "/two", "/other")
    urls = sorted(event["request"]["url"] for event in sentry.events)
    assert urls == ["http://example.org/one", "http://example.org/two"]
    fingerprints = [event["fingerprint"] for event in sentry.events]
    qualname = f"{test_a_task_that_is_destroyed_while_it_is_pending.__name__}.<locals>.waits"
    assert fingerprints == [["Task was destroyed but it is pending!", qualname]] * 2


def test_an_async_generator_that_cannot_be_closed(sentry: Sentry) -> None:
    async def generates() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            raise ZeroDivisionError

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if scope["path"] == "/first":
            async for _ in generates():
                break
        await respond(send)
        await asyncio.sleep(0.01)
        gc.collect()

    serve(SentryMiddleware(app, watch=None), "/first", "/other")
    assert exception_values(sentry.event)[-1] == ("ZeroDivisionError", "")
    assert sentry.event["request"]["url"] == "http://example.org/first"


def test_a_callback_that_fails(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        def fails() -> None:
            raise ZeroDivisionError

        asyncio.get_running_loop().call_soon(fails)
        await respond(send)

    serve(SentryMiddleware(app), "/first")
    assert exception_values(sentry.event) == [("ZeroDivisionError", "")]
    assert sentry.event["request"]["url"] == "http://example.org/first"


def test_the_applications_own_exception_handler_logs_it_too(sentry: Sentry) -> None:
    def handler(loop: Any, told: dict[str, Any]) -> None:
        logging.getLogger("shop").error("lost: %s", told["message"], exc_info=told["exception"])

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        asyncio.get_running_loop().set_exception_handler(handler)
        if scope["path"] == "/first":
            Circle(asyncio.create_task(_fails()))
            await asyncio.sleep(0.01)
        else:
            gc.collect()
        await respond(send)

    serve(SentryMiddleware(app, watch=None), "/first", "/other")
    assert sentry.event["logger"] == "shop"
    assert sentry.event["request"]["url"] == "http://example.org/first"


def test_what_is_lost_outside_of_any_request_has_none(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await respond(send)

    async def serving() -> None:
        await call(SentryMiddleware(app), http_scope())
        loop = asyncio.get_running_loop()
        loop.call_exception_handler({"message": "of nobody"})
        future = loop.create_future()
        future.set_exception(ZeroDivisionError())
        del future
        await asyncio.sleep(0.01)

    asyncio.run(serving())
    end_watches()
    assert [("request" in event) for event in sentry.events] == [False, False]


# Cancelled requests


async def _waits(scope: Scope, receive: Any, send: Any) -> None:
    await asyncio.sleep(60)


async def _streams(scope: Scope, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await asyncio.sleep(60)


async def _is_left(scope: Scope, receive: Any, send: Any) -> None:
    await receive()
    await receive()
    await asyncio.sleep(60)


def cancelled(app: App, watch: Watch | None, after: float) -> None:
    messages = [{"type": "http.request"}, {"type": "http.disconnect"}]

    async def serving() -> None:
        wrapped = SentryMiddleware(app, watch=watch, error_budget=None)
        task = asyncio.create_task(call(wrapped, http_scope("/cancelled"), messages))
        await asyncio.sleep(after)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(serving())
    end_watches()


def test_a_request_that_is_cancelled_after_a_long_wait_tells_where_it_was(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentry_asgi._watch.stuck.look", lambda *_: None)  # it has no time to
    cancelled(_waits, Watch(None, 0.2), 0.4)
    event = sentry.event
    assert event["fingerprint"] == ["RequestStuck", __name__, "_waits"]
    assert event["contexts"]["asgi"]["cancelled_in"] == "asyncio.sleep"
    assert event["request"]["url"] == "http://example.org/cancelled"
    functions = [one["function"] for one in event["exception"]["values"][0]["stacktrace"]["frames"]]
    assert functions == ["__call__", "_waits", "sleep"]


def test_one_that_has_been_told_of_is_not_told_of_again(sentry: Sentry) -> None:
    cancelled(_waits, Watch(None, 0.2), 1.0)
    assert "cancelled_in" not in sentry.event["contexts"]["asgi"]


@pytest.mark.parametrize(
    ("app", "watch", "after"),
    [
        (_waits, Watch(None, 60), 0.1),
        (_waits, Watch(60, None), 0.1),
        (_waits, None, 0.1),
        (_streams, Watch(None, 0.05), 0.4),
        (_is_left, Watch(None, 0.05), 0.1),
    ],
)
def test_others_are_cancelled_in_silence(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, app: App, watch: Any, after: float
) -> None:
    monkeypatch.setattr("sentry_asgi._watch.stuck.look", lambda *_: None)
    cancelled(app, watch, after)
    assert sentry.events == []
