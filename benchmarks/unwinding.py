"""Time added to exceptions by watching which of them leave the application, and to requests that raise none.

Each kind of exception is raised and swallowed within a request that the middleware serves, with the watching and, in
the same round, without it: the tool id is given back and taken again. The median of the differences over the rounds is
what is reported. The clock is the CPU time of the process.

- Library code is code whose file lies below `site-packages`: here it is compiled under such a name.
- `within a library` leaves a frame of a library's, `within the application` one of the application's that another
  of the application's called; neither is noted. `crossing` goes from the application to a library, over and over in
  one request, where each is held until others push it out.
- `a request's only one` is the whole difference that one crossing makes to a request; `a request without any`, what
  the watching makes of one that raises nothing.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Any

from benchmarks import fresh
from benchmarks.contenders import OURS, sentry_asgi, start_sentry
from benchmarks.figures import Column, Effort, Result, Skipped, spread
from benchmarks.workloads import Setting, http_scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.workloads import App, Receive, Scope, Send

COLUMNS = (
    Column("library", "within a library"),
    Column("application", "within the application"),
    Column("crossing", "crossing"),
    Column("only", "a request's only one"),
    Column("none", "a request without any"),
)
SWALLOW = """
def swallow(function):
    try:
        function()
    except ValueError:
        pass

def fail():
    raise ValueError
"""
library: dict[str, Any] = {}
exec(compile(SWALLOW, "/nowhere/site-packages/library/code.py", "exec"), library)
swallow: Callable[[Callable[[], None]], None] = library["swallow"]


def measure(title: str, setting: Setting, effort: Effort) -> Result | Skipped:
    """Microseconds added to each kind of exception, and to requests."""
    if sys.version_info < (3, 12):
        return Skipped(title, "sys.monitoring is of CPython 3.12")
    took = fresh.call(time_rounds, setting, effort.rounds, effort.requests)
    spreads = {kind: spread(values) for kind, values in took.items()}
    rows = {
        OURS: {kind: values["median"] for kind, values in spreads.items()},
        "quartile 1": {kind: values["q1"] for kind, values in spreads.items()},
        "quartile 3": {kind: values["q3"] for kind, values in spreads.items()},
    }
    note = f"Microseconds; {effort.rounds} rounds of {effort.requests} for each, CPU time."
    return Result(title, COLUMNS, rows, (note,))


def fail() -> None:
    """Raise."""
    raise ValueError


def succeed() -> None:
    """Raise nothing."""


def swallow_here() -> None:
    """Raise and swallow without leaving the application."""
    try:
        fail()
    except ValueError:
        pass


KINDS: dict[str, Callable[[], None]] = {
    "library": lambda: swallow(library["fail"]),
    "application": swallow_here,
    "crossing": lambda: swallow(fail),
}


def time_rounds(setting: Setting, rounds: int, times: int) -> dict[str, list[float]]:
    """Of each kind, microseconds added in each round. For a fresh interpreter."""
    start_sentry(setting)
    return {
        **asyncio.run(_time_exceptions(setting, rounds, times)),
        "only": asyncio.run(_time_requests(setting, rounds, times, fail)),
        "none": asyncio.run(_time_requests(setting, rounds, times, succeed)),
    }


async def _time_exceptions(setting: Setting, rounds: int, times: int) -> dict[str, list[float]]:
    added: dict[str, list[float]] = {kind: [] for kind in KINDS}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(rounds):
            for kind, raising in KINDS.items():
                watched = _time(raising, times)
                with Unwatched():
                    added[kind].append(watched - _time(raising, times))

    await _serve(sentry_asgi(app, setting), http_scope(setting))
    return added


def _time(function: Callable[[], None], times: int) -> float:
    start = time.process_time_ns()
    for _ in range(times):
        function()
    return (time.process_time_ns() - start) / times / 1000


async def _time_requests(
    setting: Setting, rounds: int, requests: int, function: Callable[[], None]
) -> list[float]:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        swallow(function)

    wrapped = sentry_asgi(app, setting)
    added: list[float] = []
    for _ in range(rounds + 1):  # the first is not counted: with it the watching begins
        watched = await _time_batch(wrapped, setting, requests)
        with Unwatched():
            added.append(watched - await _time_batch(wrapped, setting, requests))
    return added[1:]


async def _time_batch(app: App, setting: Setting, requests: int) -> float:
    scopes = [http_scope(setting) for _ in range(requests)]
    start = time.process_time_ns()
    while scopes:
        await _serve(app, scopes.pop())
    return (time.process_time_ns() - start) / requests / 1000


async def _serve(app: App, scope: Scope) -> None:
    await app(scope, _unused, _unused)


async def _unused(*_: Any) -> Any:
    raise AssertionError


class Unwatched:
    """While it lasts, nothing is watched."""

    def __enter__(self) -> None:
        from sentry_asgi._reporting.unwinding import watch

        self.users = list(watch.users)
        for user in self.users:
            watch.end(user)

    def __exit__(self, *_: object) -> None:
        from sentry_asgi._reporting.unwinding import watch

        assert self.users
        for user in self.users:
            watch.begin(user)
