"""Several threads do one thing at once, and it is done once."""

from __future__ import annotations

import contextvars
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import sentry_sdk

from sentry_asgi import SentryMiddleware
from sentry_asgi._reporting import unwinding
from sentry_asgi._scopes import forks, lazy
from sentry_asgi._tracing.choice import tracer_for
from sentry_asgi._tracing.streamed import StreamedSpans
from sentry_asgi._tracing.transactions import Transactions

from .support import SDK_VERSION, Scope, Sentry, respond, run

PLAIN_THREADS = {"default_integrations": False}
"""The SDK's integration for threads reads the scopes where a thread is started, which fills them."""


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """Run each in a thread of its own, all from the same moment on; return what they return."""
    barrier, results = threading.Barrier(len(works)), [None] * len(works)

    def target(index: int) -> None:
        barrier.wait()
        results[index] = works[index]()

    threads = [threading.Thread(target=target, args=[index]) for index in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_of_several_users_at_once_one_acquires_the_tool_id(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, given = unwinding.Watch(), list[int]()

    def acquire() -> int:
        given.append(len(given) + 1)
        time.sleep(0.05)  # long enough for the others to come here, too
        return given[-1]

    returned: list[int] = []
    monkeypatch.setattr(unwinding, "_acquire", acquire)
    monkeypatch.setattr(unwinding, "_give_back", returned.append)
    at_once(*(lambda user=user: watch.begin(user) for user in range(4)))
    assert given == [1]
    at_once(*(lambda user=user: watch.end(user) for user in range(4)))
    assert returned == [1]
    assert watch.tool_id is None


def test_a_user_that_ends_while_another_does_gives_nothing_back_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watch, returned = unwinding.Watch(), list[int]()

    def give_back(tool_id: int) -> None:
        returned.append(tool_id)
        watch.end(2)  # as a finalizer does that the garbage collector runs in here

    monkeypatch.setattr(unwinding, "_acquire", lambda: 4)
    monkeypatch.setattr(unwinding, "_give_back", give_back)
    watch.begin(1)
    watch.end(1)
    assert returned == [4]


def meeting(
    work: Callable[..., Any], threads: int, *, last_first: bool = False
) -> Callable[..., Any]:
    """The same, but that no thread returns from it before all have done it; then one after the other."""
    barrier, done = threading.Barrier(threads), list[None]()

    def met(*arguments: Any) -> Any:
        made = work(*arguments)
        done.append(None)
        turn = len(done) - 1
        barrier.wait()
        time.sleep((threads - turn if last_first else turn) * 0.02)
        return made

    return met


def in_context(work: Callable[[], Any]) -> Callable[[], Any]:
    """Work that runs in a copy of this context, in whatever thread."""
    context = contextvars.copy_context()
    return lambda: context.run(work)


def test_the_session_of_a_scope_that_threads_fill_at_once_keeps_the_score(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tag() -> None:
        sentry_sdk.set_tag("some", "tag")

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        with monkeypatch.context() as patch:
            fork = meeting(forks.isolation_fork, 2, last_first=True)
            patch.setattr(lazy, "isolation_fork", fork)
            at_once(in_context(tag), in_context(tag))
        raise ValueError("nope")

    client = sentry.init(auto_session_tracking=True, release="r@1", **PLAIN_THREADS)
    asgi = SentryMiddleware(app)
    for _ in range(3):
        with pytest.raises(ValueError, match="nope"):
            run(asgi)
    client.session_flusher.flush()
    (sessions,) = sentry.transport.items("sessions")
    told = {
        key: sum(one.get(key, 0) for one in sessions["aggregates"]) for key in ("exited", "crashed")
    }
    assert told == {"exited": 0, "crashed": 3}


def test_threads_that_ask_at_once_are_told_of_one_trace(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[set[int]] = []

    def ask() -> Any:
        return sentry_sdk.get_isolation_scope().get_active_propagation_context()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(lazy, "trace_of", meeting(forks.trace_of, 4))
            traces = at_once(*(in_context(ask) for _ in range(4)))
            told.append({id(one) for one in [*traces, ask()]})
        await respond(send)

    sentry.init(**PLAIN_THREADS)
    run(SentryMiddleware(app))
    assert [len(one) for one in told] == [1]


@pytest.mark.parametrize("kind", [Transactions, StreamedSpans])
def test_threads_that_ask_at_once_for_a_span_that_waited_get_the_same(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    spans: list[Any] = []
    made: list[Any] = []
    held = threading.Event()
    started = kind._started

    def recorded(*arguments: Any) -> Any:
        made.append(started(*arguments))
        return made[-1]

    def ask() -> Any:
        held.wait()
        return sentry_sdk.get_current_scope()._span  # a property that starts what waits

    def hold() -> None:
        with lazy._filling:
            held.set()
            time.sleep(0.05)  # long enough for the others to see that the span waits

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        spans.extend(at_once(hold, *(in_context(ask) for _ in range(4)))[1:])
        await respond(send)

    streams = kind is StreamedSpans
    monkeypatch.setattr(kind, "_started", recorded)
    way: dict[str, Any] = {}
    if streams and SDK_VERSION < (3, 0):
        way = {"_experiments": {"trace_lifecycle": "stream"}}
    client = sentry.init(traces_sample_rate=0.0, **way, **PLAIN_THREADS)
    if tracer_for(client).__class__ is not kind:
        pytest.skip("this SDK has but one way")
    run(SentryMiddleware(app))
    assert len(made) == 1
    assert [one is made[0] for one in spans] == [True] * 4


@pytest.mark.parametrize("streams", [False, True])
def test_children_that_threads_begin_at_once_hang_on_the_request(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, streams: bool
) -> None:
    """The SDK makes a span's id when somebody first asks for it, without a lock."""
    if not streams and SDK_VERSION >= (3, 0):
        pytest.skip("there are streamed spans alone")
    if streams and SDK_VERSION < (2, 60):
        pytest.skip("nothing is streamed")
    way = {"trace_lifecycle": "stream"} if streams and SDK_VERSION < (3, 0) else {}
    sentry.init(traces_sample_rate=1.0, **way, **PLAIN_THREADS)
    parents: set[Any] = set()

    def begin() -> None:
        if streams:
            with sentry_sdk.traces.start_span(name="work") as span:
                parents.add(span._parent_span_id)
        else:
            with sentry_sdk.start_span(op="work") as child:
                parents.add(child.parent_span_id)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        at_once(*(in_context(begin) for _ in range(4)))
        await respond(send)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(100):
            parents.clear()
            run(SentryMiddleware(app))
            assert len(parents) == 1
    finally:
        sys.setswitchinterval(interval)
