"""When the processes of an app began: what is before and what is after a reload.

`POST /api/local/start` takes one as a JSON object: `{"service": "shop"}`. The rules:

- What happened before the last start is of older code: lists draw a line there, and figures are
  compared across it.
- Workers that start together are one start: those of a service within `TOGETHER` seconds.
- The newest `MAX_STARTS` are kept.
"""

from __future__ import annotations

from dataclasses import dataclass

from .envelope import json_object
from .store import Store
from .values import as_line

MAX_STARTS = 200
MAX_RECORD = 10_000
TOGETHER = 2.0


@dataclass(frozen=True, slots=True)
class Start:
    """A process began at `at` (seconds, Unix), when `after` was the number of the newest entry."""

    at: float
    service: str
    after: int


def read_start(data: bytes) -> str:
    """The service that started. Raises BadEnvelopeError."""
    return as_line(json_object(data, "The start", MAX_RECORD).get("service"), 60)


def keep_start(store: Store, service: str, at: float) -> None:
    """Keep that a process of that service began."""
    newest = store.newest()
    with store.transaction() as connection:
        connection.execute(
            "INSERT INTO starts (at, service, after) SELECT ?, ?, ? WHERE NOT EXISTS"
            " (SELECT 1 FROM starts WHERE service = ? AND at > ?)",
            (at, service, newest, service, at - TOGETHER),
        )
        connection.execute(
            "DELETE FROM starts WHERE id <= (SELECT max(id) FROM starts) - ?", (MAX_STARTS,)
        )


def reloads(store: Store) -> list[Start]:
    """Those before which there was something of the same service, newest first."""
    rows = store.read(
        "SELECT at, service, after FROM starts AS one WHERE EXISTS (SELECT 1 FROM starts AS older"
        " WHERE older.service = one.service AND older.id < one.id) ORDER BY id DESC"
    )
    return [Start(*row) for row in rows]


def last_reload(store: Store) -> Start | None:
    """The newest reload, if there was one."""
    return next(iter(reloads(store)), None)
