"""Figures of routes and of queries, and what a reload has changed of them.

The rules:

- A route is what requests are named after (their transaction), within a service.
- A percentile is a value that was measured: the smallest that so many of a hundred do not exceed.
- Of a route the newest `MAX_TIMES` requests count for its percentiles.
- `before` is the same route or query up to the last reload, while the figures are of what came since;
  without a reload, or where nothing has come since, the figures are of all and there is no `before`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .calls import CALL, QUERY
from .starts import last_reload
from .store import Store

MAX_TIMES = 50_000
MAX_ROWS = 500


@dataclass(frozen=True, slots=True)
class Times:
    """Requests, those that failed (5xx), and their times in milliseconds; `queries` is for each request."""

    count: int
    failed: int
    p50: float
    p95: float
    slowest: float
    queries: float


@dataclass(frozen=True, slots=True)
class Route:
    """A route of a service; `before` are its figures before the last reload."""

    name: str
    service: str
    times: Times
    before: Times | None

    @property
    def total(self) -> float:
        """About how long its requests took, all together."""
        return self.times.count * self.times.p50


@dataclass(frozen=True, slots=True)
class Query:
    """A query or outgoing call, whatever its values; times are in milliseconds.

    `place` made the slowest, in the request `request_id`.
    """

    shape: str
    count: int
    total: float
    slowest: float
    place: str
    routes: tuple[str, ...]
    request_id: str


def routes(store: Store) -> list[Route]:
    """Every route with its figures, those that take most time together first."""
    reload = last_reload(store)
    border = reload.after if reload else 0
    groups: dict[tuple[str, str], list[tuple[int, str, float, int]]] = {}
    for number, name, service, level, duration, queries in store.read(
        "SELECT id, place, service, level, coalesce(duration, 0) * 1000,"
        " (SELECT coalesce(sum(count), 0) FROM calls WHERE entry = entries.id AND calls.kind = 'query')"
        " FROM entries WHERE kind = 'request' AND place != '' ORDER BY id DESC LIMIT ?",
        (MAX_TIMES,),
    ):
        groups.setdefault((name, service), []).append((number, level, duration, queries))
    streamed = _streamed_queries(store)
    found = [
        _route(name, service, rows, border, streamed) for (name, service), rows in groups.items()
    ]
    return sorted(found, key=lambda one: -one.total)[:MAX_ROWS]


def _route(
    name: str,
    service: str,
    rows: Sequence[tuple[int, str, float, int]],
    border: int,
    streamed: dict[tuple[str, str], int],
) -> Route:
    since = [row for row in rows if row[0] > border]
    before = [row for row in rows if row[0] <= border] if since else []
    more = streamed.get((name, service), 0) / len(rows)
    return Route(
        name, service, _times(since or rows, more), _times(before, more) if before else None
    )


def _streamed_queries(store: Store) -> dict[tuple[str, str], int]:
    """Queries of streamed spans, all of a route: each is an entry of its own."""
    rows = store.read(
        "SELECT entries.place, service, sum(count) FROM calls JOIN entries ON entries.id = calls.entry"
        " WHERE entries.kind = 'span' AND calls.kind = 'query' GROUP BY entries.place, service"
    )
    return {(place, service): made for place, service, made in rows}


def _times(rows: Sequence[tuple[int, str, float, int]], streamed: float) -> Times:
    took = sorted(row[2] for row in rows)
    return Times(
        count=len(rows),
        failed=sum(row[1] == "error" for row in rows),
        p50=percentile(took, 50),
        p95=percentile(took, 95),
        slowest=took[-1],
        queries=sum(row[3] for row in rows) / len(rows) + streamed,
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that so many of a hundred do not exceed; `ordered` is not empty."""
    return ordered[max(0, math.ceil(len(ordered) * share / 100) - 1)]


def queries(store: Store, kind: str = QUERY) -> list[Query]:
    """Every query, or every outgoing call (`CALL`), those that take most time together first."""
    assert kind in {QUERY, CALL}
    rows = store.read(
        "SELECT shape, sum(count), sum(total), max(slowest), calls.place, entry FROM calls"
        " WHERE kind = ? GROUP BY shape ORDER BY sum(total) DESC LIMIT ?",
        (kind, MAX_ROWS),
    )
    return [_query(store, kind, row) for row in rows]


def _query(store: Store, kind: str, row: tuple[str, int, float, float, str, int]) -> Query:
    shape, count, total, slowest, place, entry = row
    found = store.read(
        "SELECT DISTINCT entries.place FROM calls JOIN entries ON entries.id = calls.entry"
        " WHERE calls.kind = ? AND shape = ? AND entries.place != '' LIMIT 4",
        (kind, shape),
    )
    return Query(shape, count, total, slowest, place, _names(found), _request_of(store, entry))


def _request_of(store: Store, entry: int) -> str:
    """The span id of the request that made a call; of streamed ones, of a request in the trace."""
    rows = store.read(
        "SELECT asked.span_id FROM entries AS one JOIN entries AS asked ON asked.kind = 'request'"
        " AND (asked.id = one.id OR (one.trace_id != '' AND asked.trace_id = one.trace_id"
        " AND asked.place = one.place)) WHERE one.id = ? LIMIT 1",
        (entry,),
    )
    return rows[0][0] if rows else ""


def _names(rows: Iterable[tuple[str]]) -> tuple[str, ...]:
    return tuple(name for (name,) in rows)
