"""An incident at scale: each request of a thousand processes fails, for ten minutes. What reaches Sentry.

Measured, of the real middleware and SDK: the bytes of one event as they are sent, and the processor time that it takes
to make one and to count one that the error budget suppresses. Real, with a clock of its own: the `Budget` of each
process. Simulated, from these and from what stands below: the SDK's queue and its one thread, which sends `1 / TRIP`
envelopes a second and drops what the queue has no room for; a server that takes `QUOTA` events a minute of all
processes together and refuses the rest with a 429, whose Retry-After ends with the minute; and the SDK, which sends
nothing until then.

Where events take longer to make than a second has, no more are made than fit: such a process does nothing else.
"""

from __future__ import annotations

import asyncio
import gzip
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sentry_sdk
from sentry_sdk.transport import Transport

from benchmarks import fresh
from benchmarks.figures import Column, Effort, Result
from benchmarks.workloads import App, Message, Setting, http_scope
from sentry_asgi import SentryMiddleware
from sentry_asgi._failures import budget as budgets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sentry_sdk.envelope import Envelope

PROCESSES = 1_000
FAILURES = 1_000
"""Failing requests a second, in each process."""

SECONDS = 600
TRIP = 0.05
"""Seconds until an envelope is answered, to a Sentry elsewhere."""

QUEUE = 100
"""Envelopes that the SDK keeps waiting, by default."""

QUOTA = 50_000
"""Events a minute that the server takes of all processes together."""

MINUTE = 60
# What is compared: the budget, and from how many places of the code the failures come.
ROWS: dict[str, tuple[int | None, int]] = {
    "no budget": (None, 1),
    "100 a minute, one raise site (the default)": (100, 1),
    "100 a minute, 20 raise sites": (100, 20),
    "10 a minute, one raise site": (10, 1),
}
COLUMNS = (
    Column("loop", "loop ms/s", ",.0f"),
    Column("made", "events made", ",.0f"),
    Column("sent", "sent", ",.0f"),
    Column("megabytes", "MB", ",.0f"),
    Column("taken", "taken", ",.0f"),
    Column("refused", "429", ",.0f"),
    Column("dropped", "dropped by SDKs", ",.0f"),
    Column("counted", "suppressed", ",.0f"),
)


@dataclass(frozen=True)
class Costs:
    """Of one failing request: bytes of its event as sent, ms to make it, ms if it is counted instead."""

    bytes: int
    made: float
    counted: float


def measure(title: str, app: Callable[[], App], setting: Setting, effort: Effort) -> Result:
    """What a thousand processes make, send and lose, with the budget and without."""
    costs = fresh.call(weigh, app, setting, effort.requests)
    rows = {name: row(costs, *options) for name, options in ROWS.items()}
    notes = (
        f"One event: {costs.bytes:,} bytes gzipped, {costs.made:.2f} ms to make, {costs.counted:.3f} ms to count.",
        f"{TRIP * 1e3:.0f} ms a round trip, {QUEUE} envelopes wait, {QUOTA:,} events/min are taken.",
    )
    return Result(title, COLUMNS, rows, notes)


class _Kept(Transport):
    envelopes: list[Envelope]

    def capture_envelope(self, envelope: Envelope) -> None:
        self.envelopes.append(envelope)


def weigh(app: Callable[[], App], setting: Setting, requests: int) -> Costs:
    """Measure one event. For a fresh interpreter."""
    _Kept.envelopes = []
    sentry_sdk.init(
        dsn="https://key@sentry.invalid/1",
        transport=_Kept,
        auto_session_tracking=False,
        auto_enabling_integrations=False,
    )
    inner = app()
    made = asyncio.run(_fail(SentryMiddleware(inner, error_budget=None), setting, requests))
    sizes = sorted(len(gzip.compress(one.serialize(), 9)) for one in _Kept.envelopes)
    counting = SentryMiddleware(inner, error_budget=1)
    asyncio.run(_fail(counting, setting, 10))
    counted = asyncio.run(_fail(counting, setting, requests))
    bare = asyncio.run(_fail(inner, setting, requests))
    return Costs(sizes[len(sizes) // 2], made - bare, counted - bare)


async def _fail(app: App, setting: Setting, requests: int) -> float:
    """Return the milliseconds of processor time of one failing request, the median of all."""

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        pass

    spent = []
    for _ in range(requests):
        start = time.process_time_ns()
        try:
            await app(http_scope(setting), receive, send)
        except LookupError:
            spent.append(time.process_time_ns() - start)
    if len(spent) != requests:
        raise SystemExit("No figures: the app did not fail.")
    return sorted(spent)[requests // 2] / 1e6


def row(costs: Costs, per_minute: int | None, sites: int) -> dict[str, float]:
    """The figures of one kind of budget."""
    most = min(FAILURES, int(1_000 / costs.made))
    made = [min(granted, most) for granted in granted_each_second(per_minute, sites)]
    outcome = Outcome()
    outcome.run(made)
    counted = 0 if per_minute is None else SECONDS * FAILURES - sum(made)
    return {
        "loop": (sum(made) * costs.made + counted * costs.counted) / SECONDS,
        "made": sum(made) * PROCESSES,
        "sent": outcome.taken + outcome.refused,
        "megabytes": (outcome.taken + outcome.refused) * costs.bytes / 1e6,
        "taken": outcome.taken,
        "refused": outcome.refused,
        "dropped": outcome.dropped,
        "counted": counted * PROCESSES,
    }


class _Clock:
    """Stands in for `time` in the budget's module."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    time = monotonic


def granted_each_second(per_minute: int | None, sites: int) -> Iterator[int]:
    """Yield how many events of a second one process's budget lets through."""
    if per_minute is None:
        yield from [FAILURES] * SECONDS
        return
    clock, module = _Clock(), vars(budgets)
    real, module["time"] = module["time"], clock
    try:
        budget = budgets.Budget(per_minute)
        for second in range(SECONDS):
            granted = 0
            for number in range(FAILURES):
                clock.now = second + number / FAILURES
                granted += budget.spend(("DatabaseGone", number % sites))
            yield granted
    finally:
        module["time"] = real


@dataclass
class Outcome:
    """What became of the events of all processes."""

    taken: int = 0
    refused: int = 0
    dropped: int = 0
    _waiting: list[int] = field(default_factory=lambda: [0] * PROCESSES)
    _until: list[int] = field(default_factory=lambda: [0] * PROCESSES)

    def run(self, made: list[int]) -> None:
        """Send what each process makes in each second."""
        order = list(range(PROCESSES))
        shuffle = random.Random(0).shuffle
        room = QUOTA
        for second, events in enumerate(made):
            room = room if second % MINUTE else QUOTA
            shuffle(order)
            for process in order:
                room -= self._send(process, second, events, room)
        self.dropped += sum(self._waiting)

    def _send(self, process: int, second: int, events: int, room: int) -> int:
        if second < self._until[process]:
            self.dropped += events
            return 0
        waiting = self._waiting[process] + events
        sent = min(waiting, int(1 / TRIP))
        taken = min(sent, room)
        self.taken += taken
        if taken < sent:  # the first that is refused; what waits is then dropped, and what comes
            self.refused += 1
            self.dropped += waiting - taken - 1
            self._waiting[process] = 0
            self._until[process] = (second // MINUTE + 1) * MINUTE
            return taken
        kept = min(waiting - sent, QUEUE)
        self.dropped += waiting - sent - kept
        self._waiting[process] = kept
        return taken
