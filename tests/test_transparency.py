"""With the middleware or without it: the app and the server see the same, whatever they do.

Hypothesis makes scopes, the messages that the server has to give, and an app's course of action. Each course is
run bare and beneath the middleware; everything that either side can see must be the same.
"""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from sentry_asgi import SentryMiddleware
from sentry_asgi._connection.request import MARK

from .support import Message, Scope, Sentry

# What an app may do, one after the other.

RAISABLE = [
    ValueError("nope"),
    OSError("gone"),
    ExceptionGroup("group", [ValueError("nope")]),
    BaseExceptionGroup("group", [KeyboardInterrupt()]),
    asyncio.CancelledError(),
    GeneratorExit(),
    StopAsyncIteration(),
    RecursionError(),
]
MESSAGES: list[Message] = [
    {"type": "http.response.start", "status": 200, "headers": [(b"x", b"\xff")]},
    {"type": "http.response.start", "status": 500},
    {"type": "http.response.body", "body": b"part", "more_body": True},
    {"type": "http.response.body"},
    {"type": "http.response.trailers", "headers": []},
    {"type": "http.response.pathsend", "path": "/etc/hosts"},
    {"type": "websocket.accept", "subprotocol": None},
    {"type": "websocket.send", "text": "hi"},
    {"type": "websocket.close", "code": 1011, "reason": "x"},
    {"type": "lifespan.startup.complete"},
    {"type": "lifespan.startup.failed", "message": "no"},
    {"type": "lifespan.shutdown.complete"},
    {"type": "nonsense"},
    {},
]
INCOMING: list[Message] = [
    {"type": "http.request", "body": b"part", "more_body": True},
    {"type": "http.request", "body": b"", "more_body": False},
    {"type": "http.disconnect"},
    {"type": "websocket.connect"},
    {"type": "websocket.receive", "bytes": b"\x00"},
    {"type": "websocket.disconnect", "code": 1006},
    {"type": "lifespan.startup"},
    {"type": "lifespan.shutdown"},
    {"type": "nonsense"},
]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.sampled_from(MESSAGES)),
        st.tuples(st.just("receive"), st.none()),
        st.tuples(st.just("sleep"), st.none()),
        st.tuples(st.just("raise"), st.integers(0, len(RAISABLE) - 1)),
        st.tuples(st.just("write"), st.sampled_from(["path", "root_path", "endpoint", "user"])),
        st.tuples(st.just("return"), st.integers(0, 3)),
    ),
    max_size=8,
)
values = st.one_of(
    st.none(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.integers(),
    st.lists(st.none(), max_size=2),
)
headers = st.lists(st.tuples(st.binary(max_size=6), st.binary(max_size=6)), max_size=3)
scopes = st.fixed_dictionaries(
    {"type": st.sampled_from(["http", "websocket", "lifespan", "channel", "http3", ""])},
    optional={
        "headers": headers | values,
        "path": st.text(max_size=6) | values,
        "raw_path": st.binary(max_size=6) | values,
        "query_string": st.binary(max_size=8) | values,
        "root_path": st.text(max_size=4) | values,
        "method": st.sampled_from(["GET", "post"]) | values,
        "scheme": st.sampled_from(["http", "wss"]) | values,
        "client": st.tuples(st.text(max_size=4), st.integers()) | values,
        "server": st.tuples(st.text(max_size=4), st.integers() | st.none()) | values,
        "state": st.dictionaries(st.text(max_size=2), st.none(), max_size=1) | values,
        "extensions": st.dictionaries(st.text(max_size=2), st.none(), max_size=1) | values,
        "subprotocols": st.lists(st.text(max_size=3), max_size=2),
    },
)


class Gone(OSError):
    """What a server raises from send() once the client has left."""


def observe(
    wrap: Any, scope: Scope, course: list[Any], incoming: list[Message], fails_at: int | None
) -> list[Any]:
    """Everything that the app and the server can see of one call, in order."""
    seen: list[Any] = []
    raisable = [copy.deepcopy(exception) for exception in RAISABLE]
    waiting = list(incoming)

    async def app(scope: Scope, receive: Any, send: Any) -> Any:
        seen.append(("scope", {key: value for key, value in scope.items() if key != MARK}))
        for step, value in course:
            if step == "send":
                try:
                    seen.append(("sent", await send(value)))
                except Gone:
                    seen.append("send raised")
                    raise
            elif step == "receive":
                seen.append(("received", await receive()))
            elif step == "sleep":
                await asyncio.sleep(0)
            elif step == "raise":
                raise raisable[value]
            elif step == "write":
                scope[value] = f"/{value}"
            else:
                return value
        return None

    async def receive() -> Message:
        seen.append("server: receive")
        if not waiting:
            raise EOFError("nothing more comes")
        return waiting.pop(0)

    async def send(message: Message) -> Any:
        seen.append(("server: send", message))
        if (
            fails_at is not None
            and sum(1 for entry in seen if entry[0] == "server: send") > fails_at
        ):
            raise Gone
        return "from send"

    async def main() -> Any:
        return await wrap(app)(scope, receive, send)

    try:
        seen.append(("returned", drive(main())))
    except BaseException as exception:
        own = next((index for index, one in enumerate(raisable) if one is exception), None)
        chain = (exception.__cause__, exception.__context__, exception.__suppress_context__)
        seen.append(("raised", type(exception), str(exception), own, chain))
    seen.append(("scope afterwards", scope))
    return seen


def drive(coroutine: Any) -> Any:
    """Runs a coroutine that waits for nothing but sleep(0), without a loop to catch anything."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration as stop:
        return stop.value


def of_any_course(test: Any) -> Any:
    """Run a test with generated scopes, steps of the app, messages and failures of `send`."""
    given_any = given(
        scope=scopes,
        course=steps,
        incoming=st.lists(st.sampled_from(INCOMING), max_size=4),
        fails_at=st.none() | st.integers(0, 3),
    )
    return settings(max_examples=400)(given_any(test))


@pytest.mark.parametrize("kind", ["ASGI 3", "ASGI 2"])
@of_any_course
def test_everything_is_as_without_the_middleware(
    sentry: Sentry,
    kind: str,
    scope: Scope,
    course: list[Any],
    incoming: list[Message],
    fails_at: int | None,
) -> None:
    def double(app: Any) -> Any:
        def asgi2(scope: Scope) -> Any:
            async def instance(receive: Any, send: Any) -> Any:
                return await app(scope, receive, send)

            return instance

        return asgi2

    def bare(app: Any) -> Any:
        return app

    def beneath(app: Any) -> Any:
        return SentryMiddleware(app if kind == "ASGI 3" else double(app))

    sentry.transport.envelopes.clear()
    expected = observe(bare, copy.deepcopy(scope), course, incoming, fails_at)
    assert observe(beneath, copy.deepcopy(scope), course, incoming, fails_at) == expected


@of_any_course
def test_with_id_headers_everything_is_as_without_but_for_these(
    sentry: Sentry,
    scope: Scope,
    course: list[Any],
    incoming: list[Message],
    fails_at: int | None,
) -> None:
    def beneath(app: Any) -> Any:
        return SentryMiddleware(app, id_headers=True)

    def bare(app: Any) -> Any:
        return app

    sentry.transport.envelopes.clear()
    expected = observe(bare, copy.deepcopy(scope), course, incoming, fails_at)
    seen = observe(beneath, copy.deepcopy(scope), course, incoming, fails_at)
    assert list(map(without_ids, seen)) == list(map(without_ids, expected))


IDS = {b"x-trace-id", b"x-sentry-event-id"}


def without_ids(seen: Any) -> Any:
    if seen[0] != "server: send":
        return seen
    kept = [one for one in seen[1].get("headers", ()) if one[0] not in IDS]
    return (seen[0], {**seen[1], "headers": kept})


@settings(max_examples=200)
@given(scope=scopes)
def test_what_is_reported_of_any_scope_is_what_sentry_takes(sentry: Sentry, scope: Scope) -> None:
    """The capturing transport of these tests has Sentry's normaliser look at each event."""
    sentry.transport.envelopes.clear()
    observe(SentryMiddleware, scope, [("raise", 0)], [], None)
    assert len(sentry.events) == (scope["type"] in ("http", "websocket"))
    sentry.judge()
