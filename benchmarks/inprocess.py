"""Time added to one request, without a server.

One event loop, one client, all contenders around the same app. In each round every contender
serves one batch of requests, in an order shuffled anew; a contender's figure for that round is its
own minus the bare app's in the same round, and the median over the rounds is what is reported.

- The clock is the CPU time of the process: what other processes do to the machine is not in it,
  and work that a contender hands to a thread is.
- The scopes are made before the clock starts and dropped one by one while it runs, as servers do.
- The garbage collector is on. It starts each batch with nothing to do, so that nobody pays for
  another's garbage, and what existed before the first batch is frozen.
- `tasks=False` awaits one request after the other in one task: the contender's own cost.
  `tasks=True` gives each request a task, hence a context of its own, as servers do: what is added
  then includes what copied and changed contexts cost, and the loop's noise.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from typing import TYPE_CHECKING

from benchmarks import fresh
from benchmarks.contenders import BARE, CONTENDERS, SDK, start_sentry, verify
from benchmarks.figures import Column, Effort, Result, spread, times_less
from benchmarks.workloads import App, Message, Setting, http_scope

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

COLUMNS = (
    Column("added", "added µs"),
    Column("q1", "quartile 1"),
    Column("q3", "quartile 3"),
    Column("min", "from minima"),
    Column("total", "whole µs"),
    Column("times_less", "SDK's ÷ this", ".1f"),
)


def measure(
    title: str, app: App, setting: Setting, effort: Effort, *, tasks: bool = False
) -> Result:
    """Microseconds that each contender adds to a request to this app."""
    took = fresh.call(time_rounds, app, setting, effort.rounds, effort.requests, tasks=tasks)
    rows: dict[str, dict[str, float]] = {}
    for name, times in took.items():
        added = spread([mine - bare for mine, bare in zip(times, took[BARE], strict=True)])
        rows[name] = {
            "added": added["median"],
            "q1": added["q1"],
            "q3": added["q3"],
            "min": min(times) - min(took[BARE]),
            "total": spread(times)["median"],
        }
    for row in rows.values():
        row["times_less"] = times_less(rows[SDK]["added"], row["added"])
    note = f"{effort.rounds} rounds of {effort.requests} requests for each, CPU time."
    return Result(title, COLUMNS, rows, (note,))


def time_rounds(
    app: App, setting: Setting, rounds: int, requests: int, *, tasks: bool
) -> dict[str, list[float]]:
    """For each contender, microseconds per request in each round. For a fresh interpreter."""
    dropped = start_sentry(setting)
    for name in CONTENDERS:
        verify(name, setting, dropped)
    apps = {name: contender.wrap(app, setting) for name, contender in CONTENDERS.items()}
    return asyncio.run(
        _time_rounds(apps, setting, rounds, requests, _in_tasks if tasks else _in_turn)
    )


async def _time_rounds(
    apps: dict[str, App],
    setting: Setting,
    rounds: int,
    requests: int,
    serve: Callable[[App, Setting, int], Awaitable[int]],
) -> dict[str, list[float]]:
    order = list(apps)
    shuffle = random.Random(0).shuffle
    took: dict[str, list[float]] = {name: [] for name in apps}
    for app in apps.values():
        await serve(app, setting, requests)
    gc.collect()
    gc.freeze()
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            took[name].append(await serve(apps[name], setting, requests) / requests / 1000)
    return took


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: Message) -> None:
    pass


async def _in_turn(app: App, setting: Setting, requests: int) -> int:
    scopes = [http_scope(setting) for _ in range(requests)]
    receive, send = _receive, _send
    gc.collect()
    start = time.process_time_ns()
    while scopes:
        await app(scopes.pop(), receive, send)
    return time.process_time_ns() - start


async def _in_tasks(app: App, setting: Setting, requests: int) -> int:
    async def serve() -> None:
        await app(scopes.pop(), _receive, _send)

    scopes = [http_scope(setting) for _ in range(requests)]
    create_task = asyncio.get_running_loop().create_task
    gc.collect()
    start = time.process_time_ns()
    while scopes:
        await create_task(serve())
    return time.process_time_ns() - start
