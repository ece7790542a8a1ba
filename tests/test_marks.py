"""Whose a connection is: nested middlewares, calls at the same time, and scopes that carry no mark."""

from __future__ import annotations

import asyncio
from types import MappingProxyType
from typing import Any

import pytest

from sentry_asgi import SentryMiddleware
from sentry_asgi._connection.request import MARK

from .support import SDK_VERSION, App, Scope, Sentry, call, http_scope, run

# Where there are only streamed spans, there are no transactions to count.
TRANSACTIONS = int(SDK_VERSION < (3, 0))


def failing_after(barrier: asyncio.Barrier | None = None) -> App:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if barrier is not None:
            await barrier.wait()
        raise ValueError("nope")

    return app


def copying(app: App) -> App:
    """Calls an app as a mount does: with a copy of the scope."""

    async def mount(scope: Scope, receive: Any, send: Any) -> None:
        await app({**scope, "root_path": "/mount"}, receive, send)

    return mount


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("between", [lambda app: app, copying])
def test_each_of_several_calls_with_one_scope_is_reported_once(
    sentry: Sentry, depth: int, between: Any
) -> None:
    async def main() -> None:
        app = failing_after(asyncio.Barrier(3))
        for _ in range(depth):
            app = SentryMiddleware(between(app))
        scope = http_scope()
        await asyncio.gather(*(call(app, scope) for _ in range(3)), return_exceptions=True)
        assert MARK not in scope

    asyncio.run(main())
    assert len(sentry.events) == 3


@pytest.mark.parametrize("value", ["mine", 7.5, {"ending": None}, object()])
def test_what_else_stands_at_the_mark_stays_and_the_request_is_reported(
    sentry: Sentry, caplog: pytest.LogCaptureFixture, value: Any
) -> None:
    sentry.init(traces_sample_rate=1.0)
    scope = http_scope()
    scope[MARK] = value
    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(SentryMiddleware(failing_after())), scope)
    assert scope[MARK] is value
    assert len(sentry.events) == 1
    assert len(sentry.transport.items("transaction")) == TRANSACTIONS
    assert caplog.records == []


def test_a_scope_that_can_only_be_read_is_reported(
    sentry: Sentry, caplog: pytest.LogCaptureFixture
) -> None:
    scope: Any = MappingProxyType(http_scope("/read-only"))
    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(failing_after()), scope)
    assert sentry.events[0]["request"]["url"].endswith("/read-only")
    assert caplog.records == []


def test_a_connection_whose_scopes_cannot_be_entered_is_left_to_the_next_middleware(
    sentry: Sentry, caplog: pytest.LogCaptureFixture
) -> None:
    def enter(connection: Any) -> bool:
        raise RuntimeError("broken")

    inner = SentryMiddleware(failing_after())
    outer = SentryMiddleware(inner)
    outer._enter = enter
    scope = http_scope()
    with pytest.raises(ValueError, match="nope"):
        run(outer, scope)
    assert MARK not in scope
    assert len(sentry.events) == 1
    assert "isolating a connection failed" in caplog.text
