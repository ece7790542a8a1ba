"""What is wrong with a trace, as its spans tell. Pure.

The rules:

- A query that one span makes again and again, with other values, is one query too many for each row
  of a list ("N+1"): told from `MANY` on, with how often and how long they take together.
- Queries are the same if only their values differ: numbers, quoted texts, and lists of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .trace import Bar

MANY = 5
MAX_FINDINGS = 10
_VALUE = re.compile(r"'(?:[^']|'')*'|\$\d+|%s|%\(\w+\)s|(?<![\w.])\d+(?:\.\d+)?")
_LIST = re.compile(r"\(\s*\?(?:\s*,\s*\?)+\s*\)")


@dataclass(frozen=True, slots=True)
class Repeated:
    """A query that one span makes `count` times; `first` is the first of them, `lasts` milliseconds."""

    query: str
    count: int
    lasts: float
    first: str
    within: str


def repeated(bars: Iterable[Bar]) -> list[Repeated]:
    """The queries that are made again and again, those that take longest first."""
    names: dict[str, str] = {}
    groups: dict[tuple[str, str], list[Bar]] = {}
    for bar in bars:
        span = bar.span
        names[span.span_id] = span.name
        if span.op == "db" or span.op.startswith("db."):
            groups.setdefault((span.parent_id, shape(span.name)), []).append(bar)
    found = sorted(_found(groups, names), key=lambda one: -one.lasts)
    return found[:MAX_FINDINGS]


def _found(groups: dict[tuple[str, str], list[Bar]], names: dict[str, str]) -> Iterator[Repeated]:
    for (parent, query), bars in groups.items():
        if len(bars) >= MANY:
            lasts = sum(bar.lasts for bar in bars)
            yield Repeated(query, len(bars), lasts, bars[0].span.span_id, names.get(parent, ""))


def shape(query: str) -> str:
    """A query without its values."""
    return _LIST.sub("(?)", _VALUE.sub("?", " ".join(query.split())))
