"""What an envelope that arrived is in the store's tables. Pure.

Numbers are given here, not by SQLite, so that each table takes its rows in one call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass

from .entries import BLOCKED, Entry
from .records import Record, Records
from .values import as_seconds

_TABLES = {
    "envelopes": "id, received, project, headers, size, entries",
    "items": "id, envelope, kind, headers, event_id, payload",
    "entries": "id, item, position, kind, trace_id, span_id, status, duration, title, detail, level,"
    " place, happened, site, spot, moment, raised, service",
    "calls": "entry, kind, shape, count, total, slowest, place",
    "texts": "rowid, text",
}


@dataclass(frozen=True, slots=True)
class Arrival:
    """An envelope to keep: who sent it, what it holds, and when it came (seconds, Unix)."""

    project: str
    records: Records
    received: float


def statements(
    arrivals: Sequence[Arrival], last: Mapping[str, int]
) -> Iterator[tuple[str, list[tuple[object, ...]]]]:
    """Statements with their rows; `last` has the highest number that each table gave."""
    envelope, item, number = (last.get(name, 0) for name in ("envelopes", "items", "entries"))
    rows: dict[str, list[tuple[object, ...]]] = {table: [] for table in _TABLES}
    for arrival in arrivals:
        envelope += 1
        kept = arrival.records
        rows["envelopes"].append(
            (envelope, arrival.received, arrival.project, kept.headers, *_size(kept))
        )
        for record in kept.items:
            item += 1
            rows["items"].append((item, envelope, *_columns(record)))
            for entry in record.entries:
                number += 1
                rows["entries"].append((number, item, *_facts(entry, arrival)))
                rows["calls"] += [(number, *astuple(one)) for one in entry.calls]
                if entry.text:
                    rows["texts"].append((number, entry.text))
    for table, columns in _TABLES.items():
        marks = ", ".join("?" * len(columns.split(", ")))
        yield f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows[table]  # noqa: S608


def _size(kept: Records) -> tuple[int, int]:
    size = sum(len(item.payload) for item in kept.items)
    return size, sum(len(item.entries) for item in kept.items)


def _columns(item: Record) -> tuple[object, ...]:
    return (item.kind, item.headers, item.event_id, item.payload)


def _facts(entry: Entry, arrival: Arrival) -> tuple[object, ...]:
    about = entry.summary
    told = as_seconds(about.when)
    return (
        entry.position, entry.kind, entry.trace_id, entry.span_id, entry.status, entry.duration,
        about.title, about.detail, about.level, about.transaction, about.when,
        entry.site.key, entry.site.place, arrival.received if told is None else told,
        entry.raised and about.title != BLOCKED, entry.service or arrival.project,
    )  # fmt: skip
