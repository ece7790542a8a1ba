"""No Sentry, or one that is slow, refuses or talks nonsense: the app is as fast, memory is bounded, drops are counted."""

from __future__ import annotations

import asyncio
import gc
import socket
import statistics
import time
import tracemalloc
from collections import Counter
from typing import Any

import pytest
from sentry_sdk.transport import HttpTransport

from sentry_asgi import SentryMiddleware

from .receiver import Receiver, answer, garbage
from .support import Scope, Sentry, call, http_scope, respond

REQUESTS = 120
QUEUE = 100
"""The SDK's: what waits to be sent, and no more. One more may be on its way."""


class Counting(HttpTransport):
    """The SDK's own, and what it counts as lost, by reason."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.lost: Counter[str] = Counter()

    def record_lost_event(
        self, reason: str, data_category: Any = None, item: Any = None, *, quantity: int = 1
    ) -> None:
        if item is None or item.type == "event":
            self.lost[reason] += quantity
        super().record_lost_event(reason, data_category, item, quantity=quantity)


def outage(kind: str, receiver: Receiver) -> str:
    """Makes the receiver so; the DSN to reach it, or not."""
    answers = {
        "slow": receiver.slow(10),
        "429": answer(429, Retry_After="60"),
        "rate limits": answer(200, X_Sentry_Rate_Limits="60:error:organization"),
        "413": answer(413),
        "500": answer(500),
        "garbage": garbage,
    }
    if kind == "unreachable":
        with socket.create_server(("127.0.0.1", 0)) as closed:
            return f"http://key@127.0.0.1:{closed.getsockname()[1]}/1"
    if kind == "no such name":
        return "http://key@no-such-host.invalid/1"
    receiver.answer = answers[kind]
    return receiver.dsn


async def app(scope: Scope, receive: Any, send: Any) -> None:
    await respond(send, status=500)
    raise ValueError(scope["path"])


def took(wrapped: Any, count: int) -> list[float]:
    """Serves so many requests that fail; seconds for each."""

    async def main() -> list[float]:
        times = []
        for number in range(count):
            began = time.perf_counter()
            with pytest.raises(ValueError, match="/"):
                await call(wrapped, http_scope(f"/{number}"))
            times.append(time.perf_counter() - began)
        return times

    return asyncio.run(main())


KINDS = ["unreachable", "no such name", "slow", "429", "rate limits", "413", "500", "garbage"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_app_is_as_fast_and_every_drop_is_counted(
    sentry: Sentry, receiver: Receiver, kind: str
) -> None:
    sentry.init(dsn=receiver.dsn, transport=Counting)
    healthy = took(SentryMiddleware(app, error_budget=None), REQUESTS)
    client = sentry.init(dsn=outage(kind, receiver), transport=Counting)
    times = took(SentryMiddleware(app, error_budget=None), REQUESTS)
    assert max(times) < 2  # none has waited: for an answer (10 s), or for the SDK to give up (30 s)
    assert statistics.median(times) < 2 * statistics.median(healthy) + 0.005
    client.flush(timeout=0.5 if kind in ("slow", "no such name") else 10)
    lost = client.transport.lost.total()
    if kind in ("slow", "no such name"):
        assert REQUESTS - QUEUE - 1 <= lost <= REQUESTS
        if kind == "no such name":
            client.flush(timeout=30)  # its thread tries each again, beside whatever is tested next
    elif kind in ("429", "rate limits"):
        # What is refused, or taken, tells of the limit; the SDK leaves it to Sentry to count that.
        assert lost == REQUESTS - 1
    else:
        assert lost == REQUESTS


def test_what_waits_for_a_slow_sentry_takes_no_more_memory_however_much_fails(
    sentry: Sentry, receiver: Receiver
) -> None:
    client = sentry.init(dsn=outage("slow", receiver), transport=Counting)
    wrapped = SentryMiddleware(app, error_budget=None)
    took(wrapped, QUEUE + 20)
    gc.collect()
    tracemalloc.start()
    try:
        took(wrapped, 20)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        took(wrapped, 60)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert client.transport.lost["queue_overflow"] >= 99
    assert after - before < 300_000  # 60 events that wait are a megabyte


def test_when_sentry_is_back_it_is_told_what_was_dropped(
    sentry: Sentry, receiver: Receiver
) -> None:
    client = sentry.init(dsn=outage("500", receiver), transport=Counting)
    wrapped = SentryMiddleware(app, error_budget=None)
    took(wrapped, 20)
    assert receiver.wait_until(lambda one: one.requests >= 20)
    receiver.answer = answer()
    took(wrapped, 1)

    def told(one: Receiver) -> bool:
        client.flush(timeout=5)  # the last answer may have been on its way
        return one.discarded == {"network_error": 20}

    assert receiver.wait_until(told), receiver.discarded
    assert receiver.events[-1]["exception"]["values"][-1]["value"] == "/0"
