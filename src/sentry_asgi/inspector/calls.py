"""What a request asks of databases and of other services, summed up by shape. Pure.

A shape is a query without its values, or an outgoing call's method and host. Statistics are made of
these sums, so that no page reads every span again. Of one request at most `MAX_SHAPES` are summed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .shapes import code_place, shape
from .values import as_dict, as_line, as_seconds

QUERY, CALL = "query", "call"
MAX_SHAPES = 50


@dataclass(frozen=True, slots=True)
class Calls:
    """How often a request asked this; times are in milliseconds. `place` is the line that did, if known."""

    kind: str
    shape: str
    count: int
    total: float
    slowest: float
    place: str


def calls_of(spans: Iterable[dict[str, Any]]) -> tuple[Calls, ...]:
    """The sums of a request's spans."""
    sums: dict[tuple[str, str], Calls] = {}
    for one in filter(None, map(call_of, spans)):
        key = one.kind, one.shape
        if key in sums:
            sums[key] = _sum(sums[key], one)
        elif len(sums) < MAX_SHAPES:
            sums[key] = one
    return tuple(sums.values())


def call_of(span: dict[str, Any]) -> Calls | None:
    """One span as a sum of one; None if it asks nothing of anybody."""
    op = as_line(span.get("op"), 60)
    is_query = op == "db" or op.startswith("db.")
    if not (is_query or op == "http.client"):
        return None
    text = as_line(span.get("description"))
    start, end = as_seconds(span.get("start_timestamp")), as_seconds(span.get("timestamp"))
    took = 0.0 if start is None or end is None else max(0.0, end - start) * 1000
    place = code_place(as_dict(span.get("data")))
    if is_query:
        return Calls(QUERY, shape(text), 1, took, took, place)
    return Calls(CALL, _host(text), 1, took, took, place)


def _sum(before: Calls, one: Calls) -> Calls:
    slower = one if one.slowest > before.slowest else before
    return Calls(
        before.kind,
        before.shape,
        before.count + one.count,
        before.total + one.total,
        slower.slowest,
        slower.place or before.place or one.place,
    )


def _host(text: str) -> str:
    method, _, url = text.partition(" ")
    try:
        host = urlsplit(url).netloc
    except ValueError:
        host = ""
    return f"{method} {host}" if host else text
