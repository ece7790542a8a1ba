"""Time and memory of one captured exception, without a server.

One event loop, one client, the contenders around the same failing app; in each round each of them serves a few
requests that fail, in an order shuffled anew. What is added to the bare app's time in the same round is what capturing
took: for that long the loop serves nobody else. The clock is the CPU time of the process; the garbage collector is
on, and starts each turn with nothing to do.

Memory is the peak of what tracemalloc traces while one request fails, each contender in an interpreter of its own,
after some that fail before it. The bare app's own peak is subtracted.

Only who reports to Sentry captures; the others stand aside. The error budget is off: each failure makes an event.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
import tracemalloc
from collections.abc import Callable
from typing import TYPE_CHECKING

from benchmarks import fresh
from benchmarks.contenders import BARE, CONTENDERS, SDK, start_sentry, verify
from benchmarks.figures import Column, Effort, Result, spread
from benchmarks.workloads import App, Message, Setting, http_scope

if TYPE_CHECKING:
    from collections import Counter

COLUMNS = (
    Column("added", "added ms", ".3f"),
    Column("q1", "quartile 1", ".3f"),
    Column("q3", "quartile 3", ".3f"),
    Column("max", "longest", ".3f"),
    Column("share", "of the SDK's", ".3f"),
    Column("peak", "peak KB", ".0f"),
    Column("peak_share", "of the SDK's", ".3f"),
)
NAMES = [name for name, contender in CONTENDERS.items() if contender.sentry]
WARM_UP = 5
PER_TURN = 50
"""Of how many requests that another case makes in a turn one is made here."""


def measure(
    title: str, app: Callable[[], App], setting: Setting, effort: Effort, *, divide: int = 1
) -> Result:
    """Milliseconds of one captured exception, and the memory that it takes meanwhile."""
    rounds = max(effort.rounds // divide, WARM_UP)
    failures = max(effort.requests // PER_TURN // divide, 1)
    took = fresh.call(time_rounds, app, setting, rounds, failures)
    peaks = {name: fresh.call(weigh, name, app, setting) for name in [BARE, *NAMES]}
    rows: dict[str, dict[str, float]] = {}
    for name in NAMES:
        added = spread([mine - bare for mine, bare in zip(took[name], took[BARE], strict=True)])
        rows[name] = {**added, "added": added["median"], "peak": peaks[name] - peaks[BARE]}
    for row in rows.values():
        row["share"] = row["added"] / rows[SDK]["added"]
        row["peak_share"] = row["peak"] / rows[SDK]["peak"]
    return Result(
        title, COLUMNS, rows, (f"{rounds} rounds of {failures} captures of each, CPU time.",)
    )


def time_rounds(
    app: Callable[[], App], setting: Setting, rounds: int, failures: int
) -> dict[str, list[float]]:
    """For each contender, milliseconds of one failing request in each round. For a fresh interpreter."""
    dropped = start_sentry(setting)
    for name in NAMES:
        verify(name, setting, dropped)
    inner = app()
    apps = {name: CONTENDERS[name].wrap(inner, setting) for name in [BARE, *NAMES]}
    return asyncio.run(_time_rounds(apps, setting, rounds, failures, dropped))


async def _time_rounds(
    apps: dict[str, App], setting: Setting, rounds: int, failures: int, dropped: Counter[str]
) -> dict[str, list[float]]:
    order = list(apps)
    shuffle = random.Random(0).shuffle
    took: dict[str, list[float]] = {name: [] for name in apps}
    for app in apps.values():
        for _ in range(WARM_UP):
            await _fail(app, setting)
    before = dropped["event"]
    gc.collect()
    gc.freeze()
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            gc.collect()
            spent = [await _fail(apps[name], setting) for _ in range(failures)]
            took[name].append(sum(spent) / failures / 1e6)
    if dropped["event"] - before != rounds * failures * len(NAMES):
        raise SystemExit("No figures: not every failure made an event.")
    return took


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: Message) -> None:
    pass


async def _fail(app: App, setting: Setting) -> int:
    """Nanoseconds of one request that fails."""
    scope = http_scope(setting)
    start = time.process_time_ns()
    try:
        await app(scope, _receive, _send)
    except LookupError:
        return time.process_time_ns() - start
    raise SystemExit("No figures: the app did not fail.")


def weigh(name: str, app: Callable[[], App], setting: Setting) -> float:
    """KB at the peak of one failing request. For a fresh interpreter."""
    start_sentry(setting)
    return asyncio.run(_weigh(CONTENDERS[name].wrap(app(), setting), setting))


async def _weigh(app: App, setting: Setting) -> float:
    for _ in range(WARM_UP):
        await _fail(app, setting)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    await _fail(app, setting)
    return (tracemalloc.get_traced_memory()[1] - before) / 1024
