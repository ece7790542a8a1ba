"""Memory that one open websocket holds.

Each contender in a fresh interpreter: some connections are opened and closed to fill what is filled
once, then many are opened, each in a task of its own, and all wait in `receive` after `accept`.
What tracemalloc has traced by then, divided by their number, is a connection's memory; the bare
app's share, which has the task, the scope and the server's side of it, is subtracted.

tracemalloc counts the bytes that were asked for, exactly and repeatably; the resident size depends
on arenas and on what was free before. The allocator's rounding to 16 bytes is not in it.
"""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from typing import TYPE_CHECKING

from benchmarks import fresh
from benchmarks.contenders import BARE, CONTENDERS, SDK, start_sentry, verify
from benchmarks.figures import Column, Effort, Result, times_less
from benchmarks.workloads import App, Message, Setting, websocket_scope

if TYPE_CHECKING:
    from collections.abc import Callable

COLUMNS = (
    Column("added", "added bytes", ".0f"),
    Column("total", "whole bytes", ".0f"),
    Column("left", "left when closed", ".0f"),
    Column("times_less", "SDK's ÷ this", ".1f"),
)
WARM_UP = 100


class Client:
    """The server's side of one connection, whose client says nothing and then goes."""

    def __init__(self, waits: Callable[[], None]) -> None:
        self.waits = waits
        self.connected = False
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def receive(self) -> Message:
        if not self.connected:
            self.connected = True
            return {"type": "websocket.connect"}
        self.waits()
        await self.gone
        return {"type": "websocket.disconnect", "code": 1000, "reason": ""}

    async def send(self, message: Message) -> None:
        pass


def measure(title: str, app: App, setting: Setting, effort: Effort) -> Result:
    """Bytes that each contender adds to an open websocket of this app."""
    rows = {name: fresh.call(weigh, name, app, setting, effort.connections) for name in CONTENDERS}
    bare_left = rows[BARE]["left"]
    for row in rows.values():
        row["added"] = row["total"] - rows[BARE]["total"]
        row["left"] -= bare_left
    for row in rows.values():
        row["times_less"] = times_less(rows[SDK]["added"], row["added"])
    note = f"{effort.connections:,} open at once, each contender in a process of its own, traced."
    return Result(title, COLUMNS, rows, (note,))


def weigh(name: str, app: App, setting: Setting, connections: int) -> dict[str, float]:
    """Bytes of one connection, and what stays of it. For a fresh interpreter."""
    verify(name, setting, start_sentry(setting))
    return asyncio.run(_weigh(CONTENDERS[name].wrap(app, setting), setting, connections))


async def _weigh(app: App, setting: Setting, connections: int) -> dict[str, float]:
    tracemalloc.start()
    await _open_and_close(app, setting, WARM_UP)
    before = _traced()
    during = await _open_and_close(app, setting, connections)
    after = _traced()
    return {"total": (during - before) / connections, "left": (after - before) / connections}


async def _open_and_close(app: App, setting: Setting, connections: int) -> int:
    waiting = 0

    def waits() -> None:
        nonlocal waiting
        waiting += 1

    clients = [Client(waits) for _ in range(connections)]
    tasks = [
        asyncio.ensure_future(app(websocket_scope(setting), client.receive, client.send))
        for client in clients
    ]
    while waiting < connections:
        await asyncio.sleep(0)
        if any(task.done() for task in tasks):
            raise SystemExit("No figures: a websocket ended by itself.")
    traced = _traced()
    for client in clients:
        client.gone.set_result(None)
    await asyncio.gather(*tasks)
    return traced


def _traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
