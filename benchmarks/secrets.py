"""Time of one request or event that is spent on secrets.

The functions through which all of it goes are timed from outside, the outermost one that runs: names judged, secrets
collected, texts searched and cleaned. To read the clock of CPU time takes as long as the shortest of them, so this is
the time of day; each figure is the median over rounds.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from functools import wraps
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks import fresh
from benchmarks.contenders import CONTENDERS, OURS, start_sentry, verify
from benchmarks.figures import Column, Effort, Result
from benchmarks.workloads import HEADERS, Setting, failing_starlette_app, http_app, http_scope

if TYPE_CHECKING:
    from benchmarks.workloads import App, Message, Scope

COLUMNS = (Column("spent", "on secrets µs"), Column("whole", "of µs"))
PLAIN, COOKIE, ERROR = "GET", "with query and cookie", "error, 25 frames"
WARM_UP = 20
PER_TURN = 20


def measure(
    title: str, transactions: Setting, streamed: Setting, failing: Setting, effort: Effort
) -> Result:
    """Microseconds spent on secrets."""
    rows: dict[str, dict[str, float]] = {}
    for way, setting in (("transaction", transactions), ("streamed", streamed)):
        for kind in (PLAIN, COOKIE):
            rows[f"{kind}, {way}"] = fresh.call(time_rounds, kind, setting, effort.rounds)
    rows[ERROR] = fresh.call(time_rounds, ERROR, failing, effort.rounds)
    plain, cookie = (
        max(rows[f"{kind}, {way}"]["spent"] for way in ("transaction", "streamed"))
        for kind in (PLAIN, COOKIE)
    )
    rows[OURS] = {"get": plain, "cookie": cookie, "error": rows[ERROR]["spent"]}
    return Result(title, COLUMNS, rows, (f"{effort.rounds} rounds of {PER_TURN} requests.",))


def time_rounds(kind: str, setting: Setting, rounds: int) -> dict[str, float]:
    """Microseconds of one request, and of what is spent on secrets. For a fresh interpreter."""
    dropped = start_sentry(setting)
    verify(OURS, setting, dropped)
    spent = Spent()
    app = CONTENDERS[OURS].wrap(failing_starlette_app() if kind == ERROR else http_app, setting)
    return asyncio.run(_time_rounds(app, kind, setting, rounds, spent))


class Spent:
    """Nanoseconds in the functions through which all that is done about secrets goes."""

    def __init__(self) -> None:
        from sentry_asgi._events import event, segment, telemetry
        from sentry_asgi._redaction import default_scrubber, hints, names, redact

        self.time = 0
        self._within = False
        for holder, name in (
            *((holder, "known_secrets") for holder in (event, segment, telemetry)),
            *((names.Privacy, name) for name in ("headers", "cookies", "query_string")),
            (redact, "redact"),
            (telemetry, "clean"),
            (hints, "remember_harmless"),
            (default_scrubber, "keep_what_says_nothing"),
        ):
            setattr(holder, name, self._timed(getattr(holder, name)))

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*args: Any, **options: Any) -> Any:
            if self._within:
                return function(*args, **options)
            self._within = True
            start = time.perf_counter_ns()
            try:
                return function(*args, **options)
            finally:
                self.time += time.perf_counter_ns() - start
                self._within = False

        return timed


async def _time_rounds(
    app: App, kind: str, setting: Setting, rounds: int, spent: Spent
) -> dict[str, float]:
    for _ in range(WARM_UP):
        await _serve(app, kind, setting)
    gc.collect()
    gc.freeze()
    found: list[tuple[float, float]] = []
    for _ in range(rounds):
        gc.collect()
        spent.time, start = 0, time.perf_counter_ns()
        for _ in range(PER_TURN):
            await _serve(app, kind, setting)
        whole = time.perf_counter_ns() - start
        found.append((spent.time / PER_TURN / 1e3, whole / PER_TURN / 1e3))
    return {
        "spent": median(one for one, _ in found),
        "whole": median(one for _, one in found),
    }


async def _serve(app: App, kind: str, setting: Setting) -> None:
    scope: Scope = http_scope(setting)
    if kind == PLAIN:
        scope["query_string"] = b""
        scope["headers"] = [one for one in HEADERS if one[0] != b"cookie"]
    try:
        await app(scope, _receive, _send)
    except LookupError:
        pass


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: Message) -> None:
    pass
