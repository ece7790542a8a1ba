"""Where the inspector keeps what it received: one SQLite file, bounded.

The rules:

- An envelope is kept whole or not at all; a batch of envelopes is one transaction.
- The oldest envelopes go first, when there are more than `max_envelopes`, or their payloads are
  more than `max_bytes` long together, or they tell more than `max_entries` things. The newest is
  always kept.
- Reading is bounded: by numbers of rows, by bytes of payloads (`most`), by the words of a filter.
- `clear` makes room on a full disk: where nothing can be deleted, the file begins anew.
- Every call may block: never call from an event loop.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .arrivals import Arrival as Arrival, statements  # noqa: PLC0414
from .database import Database
from .entries import ERROR
from .filters import EVERYTHING, Filter as Filter, where_of  # noqa: PLC0414
from .records import EVENTS, Records
from .schema import RENEW_TEXTS
from .values import as_seconds
from .views import Summary

_LISTED = (
    "SELECT entries.id, items.event_id, received, project, title, detail, level, place, happened,"
    " entries.kind, trace_id, span_id, status, duration, position, envelopes.id, items.id, site, spot,"
    " raised"
)
_JOINED = (
    " FROM entries JOIN items ON items.id = entries.item"
    " JOIN envelopes ON envelopes.id = items.envelope"
)

# How many `?` one statement may hold, in the smallest build of SQLite.
_PARAMETERS = 500

_CHUNK = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Listed:
    """One entry in a list. `number` grows with each kept; `received` is in seconds, Unix.

    `event_id` is empty for what is no event; `envelope` and `item` are numbers of this store. Equal
    errors have one `site`; `spot` is where in the source that is, for people. `raised` tells exceptions
    from messages.
    """

    number: int
    event_id: str
    received: float
    project: str
    summary: Summary
    kind: str
    trace_id: str
    span_id: str
    status: str
    duration: float | None
    position: int
    envelope: int
    item: int
    site: str = ""
    spot: str = ""
    raised: bool = False

    @property
    def moment(self) -> float:
        """When it happened, in seconds since 1970; when it arrived, if it does not tell."""
        told = as_seconds(self.summary.when)
        return self.received if told is None else told


@dataclass(frozen=True, slots=True)
class Stored:
    """One entry as kept: what a list shows, and the payload of its item, as sent."""

    listed: Listed
    payload: bytes


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item as kept: its headers as JSON, the size of its payload, and the payload's beginning."""

    number: int
    kind: str
    headers: bytes
    size: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class StoredEnvelope:
    """An envelope as kept; its headers are JSON."""

    number: int
    received: float
    project: str
    headers: bytes
    items: tuple[StoredItem, ...]


class Store(Database):
    """The file at `path`, made if missing."""

    def __init__(
        self,
        path: Path,
        *,
        max_envelopes: int = 10_000,
        max_bytes: int = 256 * 1024 * 1024,
        max_entries: int = 100_000,
        patience: float = 10,
    ) -> None:
        """Open the file; a call waits up to `patience` seconds for other processes that write.

        Raises StoreError if it is no such file, is one of another release, or stays locked.
        """
        self._max_envelopes = max_envelopes
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        super().__init__(path, patience=patience)

    # Writing.

    def add(self, project: str, records: Records, received: float) -> None:
        """Keep an envelope that arrived at `received` (seconds, Unix), and let the oldest go."""
        self.add_all([Arrival(project, records, received)])

    def add_all(self, arrivals: Sequence[Arrival]) -> None:
        """Keep envelopes, all or none of them, and let the oldest go."""
        self.check()
        with self.transaction():
            self._insert(arrivals)
            self._trim()

    def _insert(self, arrivals: Sequence[Arrival]) -> None:
        last = dict(self._writer.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
        for statement, rows in statements(arrivals, last):
            self._writer.executemany(statement, rows)

    def _trim(self) -> None:
        if not self._excess():
            return
        while excess := self._excess():
            self._writer.execute(
                "DELETE FROM envelopes WHERE id IN (SELECT id FROM envelopes ORDER BY id LIMIT ?)",
                (excess,),
            )
        # The oldest have the lowest numbers.
        self._writer.execute("DELETE FROM texts WHERE rowid < (SELECT min(id) FROM entries)")

    def _excess(self) -> int:
        """How many of the oldest are surely too many; asked again when they are gone."""
        totals: tuple[int, int, int] = self._writer.execute("SELECT * FROM totals").fetchone()
        envelopes, size, entries = totals
        if envelopes <= 1:
            return 0
        too_large = size > self._max_bytes or entries > self._max_entries
        return max(min(envelopes - self._max_envelopes, envelopes - 1), int(too_large))

    def clear(self) -> None:
        """Forget everything; numbers go on where they were."""
        try:
            with self.transaction():
                self._writer.execute("DELETE FROM envelopes")
                self._writer.execute("DELETE FROM exchanges")
                for statement in RENEW_TEXTS:
                    self._writer.execute(statement)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}:
                raise
            self._begin_anew()

    # Reading.

    def totals(self) -> tuple[int, int]:
        """How many envelopes are kept, and how many bytes their payloads have together."""
        ((envelopes, size),) = self.read("SELECT envelopes, bytes FROM totals")
        return int(envelopes), int(size)

    def counts(self) -> dict[str, int]:
        """How many entries of each kind there are."""
        rows = self.read("SELECT kind, count(*) FROM entries GROUP BY kind")
        return {kind: count for kind, count in rows}  # noqa: C416  # typed

    def newest(self) -> int:
        """The number of the newest entry, 0 if there never was one."""
        rows = self.read("SELECT seq FROM sqlite_sequence WHERE name = 'entries'")
        return max((int(row[0]) for row in rows), default=0)

    def entries(
        self,
        chosen: Filter = EVERYTHING,
        *,
        limit: int,
        before: int | None = None,
        after: int = 0,
        oldest_first: bool = False,
    ) -> list[Listed]:
        """Entries, newest first: numbered below `before`, if given, and above `after`."""
        where, values = where_of(chosen)
        below = 1 << 62 if before is None else before
        order = "ASC" if oldest_first else "DESC"
        rows = self.read(
            f"{_LISTED}{_JOINED} WHERE {where} entries.id < ? AND entries.id > ?"
            f" ORDER BY entries.id {order} LIMIT ?",
            (*values, below, after, limit),
        )
        return [_listed(row) for row in rows]

    def entry(self, number: int) -> Listed | None:
        """The entry of that number, or None."""
        found = self.entries(limit=1, before=number + 1, after=number - 1)
        return found[0] if found else None

    def errors(self, *, limit: int, before: int | None = None) -> list[Listed]:
        """Errors and messages, newest first; only those with a number below `before`, if given."""
        return self.entries(Filter(kinds=[ERROR]), limit=limit, before=before)

    def beside(self, listed: Listed) -> tuple[str, str]:
        """The ids of the next older and the next newer event equal to this one; empty if there is none."""
        ids = []
        for sign, order in (("<", "DESC"), (">", "ASC")):
            rows = self.read(
                f"SELECT event_id{_JOINED} WHERE site = ? AND site != '' AND entries.id {sign} ?"
                f" ORDER BY entries.id {order} LIMIT 1",
                (listed.site, listed.number),
            )
            ids.append(rows[0][0] if rows else "")
        return ids[0], ids[1]

    def event(self, event_id: str) -> Stored | None:
        """The newest event with this id, or None; of an error and a transaction, the error."""
        kinds = ", ".join(f"'{kind}'" for kind in sorted(EVENTS))
        rows = self.read(
            f"{_LISTED}, payload{_JOINED} WHERE items.event_id = ? AND items.kind IN ({kinds})"
            " ORDER BY items.kind, entries.id DESC LIMIT 1",
            (event_id,),
        )
        return Stored(_listed(rows[0]), rows[0][-1]) if rows else None

    def trace(self, trace_id: str, *, limit: int, most: int) -> list[Stored]:
        """What belongs to a trace, oldest first, at most so many entries.

        Payloads that would make it more than `most` bytes are empty.
        """
        rows = self.read(
            f"{_LISTED}{_JOINED} WHERE trace_id = ? AND trace_id != '' ORDER BY entries.id LIMIT ?",
            (trace_id, limit),
        )
        entries = [_listed(row) for row in rows]
        payloads = self.payloads([entry.item for entry in entries], most=most)
        return [Stored(entry, payloads.get(entry.item, b"")) for entry in entries]

    def payloads(self, items: Iterable[int], *, most: int) -> dict[int, bytes]:
        """The payloads of these items, as sent, in that order.

        Without those that are gone, and those that would make it more than `most` bytes.
        """
        wanted = list(dict.fromkeys(items))
        sizes = dict(self._for_items("length(payload)", wanted))
        fitting = []
        for item in wanted:
            most -= sizes.get(item, 0)
            if most >= 0 and item in sizes:
                fitting.append(item)
        found = dict(self._for_items("payload", fitting))
        return {item: found[item] for item in fitting if item in found}

    def _for_items(self, column: str, items: Sequence[int]) -> Iterator[tuple[int, Any]]:
        for start in range(0, len(items), _PARAMETERS):
            numbers = items[start : start + _PARAMETERS]
            marks = ", ".join("?" * len(numbers))
            yield from self.read(f"SELECT id, {column} FROM items WHERE id IN ({marks})", numbers)  # noqa: S608

    def envelope(self, number: int, *, most: int) -> StoredEnvelope | None:
        """An envelope by its number, or None; of its payloads `most` bytes, all together."""
        rows = self.read(
            "SELECT id, received, project, headers FROM envelopes WHERE id = ?", (number,)
        )
        if not rows:
            return None
        items = self.read(
            "SELECT id, kind, headers, length(payload) FROM items WHERE envelope = ? ORDER BY id",
            (number,),
        )
        contents = []
        for item, kind, about, size in items:
            beginning = b"".join(self.chunks(item, min(size, most)))
            most -= len(beginning)
            contents.append(StoredItem(item, kind, about, size, beginning))
        _, received, project, headers = rows[0]
        return StoredEnvelope(number, received, project, headers, tuple(contents))

    def chunks(self, item: int, size: int) -> Iterator[bytes]:
        """The first `size` bytes of an item's payload, a few megabytes at a time.

        Raises sqlite3.OperationalError if the item is gone.
        """
        for start in range(0, size, _CHUNK):
            with (
                self._reading,
                self._reader.blobopen("items", "payload", item, readonly=True) as blob,
            ):
                blob.seek(start)
                chunk = blob.read(min(_CHUNK, size - start))
            yield chunk


def _listed(row: tuple[Any, ...]) -> Listed:
    number, event_id, received, project, title, detail, level, place, happened, *rest = row
    summary = Summary(title, detail, level, place, happened)
    return Listed(number, event_id or "", received, project, summary, *rest[:11])
