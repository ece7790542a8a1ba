"""Where the inspector keeps what it received: one SQLite file, bounded.

The rules:

- An envelope is kept whole or not at all; a batch of envelopes is one transaction.
- The oldest envelopes go first, when there are more than `max_envelopes`, or their payloads are
  more than `max_bytes` long together, or they tell more than `max_entries` things. The newest is
  always kept.
- Several processes may have the file open (WAL, and a writer waits its turn); each sees what the
  others wrote. One `Store` may be used from any thread: writers take turns, and so do readers, but
  neither waits for the other.
- Reading is bounded: by numbers of rows, by bytes of payloads (`most`), by the words of a filter.
- A new file is its owner's alone. One that is removed takes nothing more: what is written to it is
  lost. `clear` makes room on a full disk: where nothing can be deleted, the file begins anew.
- Every call may block: never call from an event loop.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .entries import ERROR, Entry
from .records import EVENTS, Record, Records
from .values import as_seconds
from .views import Summary

# Written into the file; a file of another version is of another release, and is not touched.
SCHEMA_VERSION = 3

# The totals are kept by triggers, so that keeping the bounds never counts rows.
_SCHEMA = """
CREATE TABLE envelopes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    received REAL NOT NULL,
    project TEXT NOT NULL,
    headers BLOB NOT NULL,
    size INTEGER NOT NULL,
    entries INTEGER NOT NULL
);
CREATE TABLE items (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    envelope INTEGER NOT NULL REFERENCES envelopes (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    headers BLOB NOT NULL,
    event_id TEXT,
    payload BLOB NOT NULL
);
CREATE TABLE entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    item INTEGER NOT NULL REFERENCES items (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    kind TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    span_id TEXT NOT NULL,
    status TEXT NOT NULL,
    duration REAL,
    title TEXT NOT NULL,
    detail TEXT NOT NULL,
    level TEXT NOT NULL,
    place TEXT NOT NULL,
    happened TEXT NOT NULL,
    site TEXT NOT NULL,
    spot TEXT NOT NULL
);
CREATE INDEX items_by_envelope ON items (envelope);
CREATE INDEX items_by_event ON items (event_id) WHERE event_id IS NOT NULL;
CREATE INDEX entries_by_item ON entries (item);
CREATE INDEX entries_by_kind ON entries (kind, id);
CREATE INDEX entries_by_site ON entries (site, id) WHERE site != '';
CREATE INDEX errors_by_trace ON entries (trace_id, title) WHERE kind = 'error' AND trace_id != '';
CREATE INDEX entries_by_trace ON entries (trace_id) WHERE trace_id != '';
CREATE TABLE totals (envelopes INTEGER NOT NULL, bytes INTEGER NOT NULL, entries INTEGER NOT NULL);
INSERT INTO totals VALUES (0, 0, 0);
CREATE TRIGGER count_in AFTER INSERT ON envelopes BEGIN
    UPDATE totals SET envelopes = envelopes + 1, bytes = bytes + new.size,
        entries = entries + new.entries;
END;
CREATE TRIGGER count_out AFTER DELETE ON envelopes BEGIN
    UPDATE totals SET envelopes = envelopes - 1, bytes = bytes - old.size,
        entries = entries - old.entries;
END;
"""

_LISTED = (
    "SELECT entries.id, items.event_id, received, project, title, detail, level, place, happened,"
    " entries.kind, trace_id, span_id, status, duration, position, envelopes.id, items.id, site, spot"
)
_JOINED = (
    " FROM entries JOIN items ON items.id = entries.item"
    " JOIN envelopes ON envelopes.id = items.envelope"
)

_NEWEST = (
    "(site = '' OR NOT EXISTS (SELECT 1 FROM entries AS newer WHERE newer.site = entries.site"
    " AND newer.site != '' AND newer.id > entries.id {}))"
)
_NO_ECHO = (
    "(entries.kind != 'log' OR NOT EXISTS (SELECT 1 FROM entries AS told WHERE told.trace_id ="
    " entries.trace_id AND told.trace_id != '' AND told.kind = 'error' AND told.title = entries.title))"
)

# How many `?` one statement may hold, in the smallest build of SQLite.
_PARAMETERS = 500

# Each word of a filter is looked for in every row.
MAX_WORDS = 8

_CHUNK = 4 * 1024 * 1024


class StoreError(Exception):
    """The file cannot be used as a store."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """An envelope to keep: who sent it, what it holds, and when it came (seconds, Unix)."""

    project: str
    records: Records
    received: float


@dataclass(frozen=True, slots=True)
class Listed:
    """One entry in a list. `number` grows with each kept; `received` is in seconds, Unix.

    `event_id` is empty for what is no event; `envelope` and `item` are numbers of this store. Equal
    errors have one `site`; `spot` is where in the source that is, for people.
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

    @property
    def moment(self) -> float:
        """When it happened, in seconds since 1970; when it arrived, if it does not tell."""
        told = as_seconds(self.summary.when)
        return self.received if told is None else told


@dataclass(frozen=True, slots=True)
class Equals:
    """How many equal errors are kept, and the oldest of them."""

    count: int
    first: Listed


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


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries a list shows: those of these kinds (all, if empty), of this level (any, if
    empty), and with each of these words somewhere in what the list says of them. Of more words
    than `MAX_WORDS`, the rest counts as one, as it is. `grouped`: of equal errors the newest alone,
    and no log that only repeats an error of its trace.
    """

    kinds: Collection[str] = ()
    level: str = ""
    words: Sequence[str] = ()
    grouped: bool = False


class Store:
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
        self._patience = patience
        self._path = path
        self._writing = threading.Lock()
        self._reading = threading.Lock()
        self._open()

    def _open(self) -> None:
        path = self._path
        try:
            self._writer = self._connect(path)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{path} cannot be used by the inspector: {error}") from error
        self._reader = self._writer
        try:
            self._prepare(path)
            self._reader = self._connect(path)
            self._identity = _identity(path)
        except BaseException:
            self._writer.close()
            raise

    def _connect(self, path: Path) -> sqlite3.Connection:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        return sqlite3.connect(
            path, timeout=self._patience, isolation_level=None, check_same_thread=False
        )

    def _prepare(self, path: Path) -> None:
        try:
            self._check_owner(path)
            self._use_wal()
            # A crash of the machine may lose the last events of a development session; a sync
            # for each envelope would cost far more than that is worth.
            self._writer.execute("PRAGMA synchronous = OFF")
            self._writer.execute("PRAGMA foreign_keys = ON")
            with self._transaction():
                (version,) = self._writer.execute("PRAGMA user_version").fetchone()
                if version == 0:
                    self._create()
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{path} cannot be used by the inspector: {error}") from error
        if version not in {0, SCHEMA_VERSION}:
            raise StoreError(f"{path} was made by another release of sentry-asgi; remove it.")

    def _check_owner(self, path: Path) -> None:
        """Before anything is written: the file is new, or was made here."""
        # One transaction: another inspector may be making the file at this moment.
        query = "SELECT user_version, (SELECT count(*) FROM sqlite_master) FROM pragma_user_version"
        version, tables = self._writer.execute(query).fetchone()
        if version == 0 and tables:
            raise StoreError(f"{path} is another program's database; name another file.")

    def _use_wal(self) -> None:
        # Where two switch a new file at once, SQLite fails instead of waiting for the other.
        deadline = time.monotonic() + self._patience
        while True:
            try:
                self._writer.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(
                    0.01
                )  # pragma: no cover  # only in a race that no test can bring about at will
            else:
                return

    def _create(self) -> None:
        # Not executescript(): that would commit, and another process may be here too.
        statement = ""
        for line in _SCHEMA.splitlines():
            statement += line + "\n"
            if sqlite3.complete_statement(statement):
                self._writer.execute(statement)
                statement = ""
        self._writer.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def close(self) -> None:
        """Close the file; nothing else may be called afterwards."""
        with self._reading, self._writing:
            self._reader.close()
            self._writer.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._writing:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._writer.in_transaction:  # on a full disk SQLite has ended it
                    self._writer.execute("ROLLBACK")
                raise
            self._writer.execute("COMMIT")

    # Writing.

    def add(self, project: str, records: Records, received: float) -> None:
        """Keep an envelope that arrived at `received` (seconds, Unix), and let the oldest go."""
        self.add_all([Arrival(project, records, received)])

    def add_all(self, arrivals: Sequence[Arrival]) -> None:
        """Keep envelopes, all or none of them, and let the oldest go."""
        if _identity(self._path) != self._identity:
            raise sqlite3.OperationalError(f"{self._path} was removed; start the inspector again")
        with self._transaction():
            self._insert(arrivals)
            self._trim()

    def _insert(self, arrivals: Sequence[Arrival]) -> None:
        # Numbers are given here, not by SQLite, so that each table takes its rows in one call.
        last = dict(self._writer.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
        envelope, item = last.get("envelopes", 0), last.get("items", 0)
        envelopes: list[tuple[object, ...]] = []
        items: list[tuple[object, ...]] = []
        entries: list[tuple[object, ...]] = []
        for arrival in arrivals:
            envelope += 1
            kept = arrival.records
            envelopes.append(
                (envelope, arrival.received, arrival.project, kept.headers, *_size(kept))
            )
            for record in kept.items:
                item += 1
                items.append((item, envelope, *_columns(record)))
                entries += [(item, *_facts(entry)) for entry in record.entries]
        self._writer.executemany("INSERT INTO envelopes VALUES (?, ?, ?, ?, ?, ?)", envelopes)
        self._writer.executemany("INSERT INTO items VALUES (?, ?, ?, ?, ?, ?)", items)
        self._writer.executemany(
            "INSERT INTO entries (item, position, kind, trace_id, span_id, status, duration, title,"
            " detail, level, place, happened, site, spot) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            entries,
        )

    def _trim(self) -> None:
        while excess := self._excess():
            self._writer.execute(
                "DELETE FROM envelopes WHERE id IN (SELECT id FROM envelopes ORDER BY id LIMIT ?)",
                (excess,),
            )

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
            with self._transaction():
                self._writer.execute("DELETE FROM envelopes")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}:
                raise
            self._begin_anew()

    def _begin_anew(self) -> None:
        """Clear on a full disk: to delete rows takes room, to remove the file makes some."""
        with self._reading, self._writing:
            numbers = self._reader.execute("SELECT name, seq FROM sqlite_sequence").fetchall()
            self._reader.close()
            self._writer.close()
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self._path}{suffix}").unlink(missing_ok=True)
        self._open()
        with self._transaction():
            self._writer.executemany("INSERT INTO sqlite_sequence VALUES (?, ?)", numbers)

    # Reading.

    def _read(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._reading:
            return self._reader.execute(query, values).fetchall()

    def totals(self) -> tuple[int, int]:
        """How many envelopes are kept, and how many bytes their payloads have together."""
        ((envelopes, size),) = self._read("SELECT envelopes, bytes FROM totals")
        return int(envelopes), int(size)

    def counts(self) -> dict[str, int]:
        """How many entries of each kind there are."""
        rows = self._read("SELECT kind, count(*) FROM entries GROUP BY kind")
        return {kind: count for kind, count in rows}  # noqa: C416  # typed

    def newest(self) -> int:
        """The number of the newest entry, 0 if there never was one."""
        rows = self._read("SELECT seq FROM sqlite_sequence WHERE name = 'entries'")
        return max((int(row[0]) for row in rows), default=0)

    def entries(
        self,
        chosen: Filter = Filter(),  # frozen
        *,
        limit: int,
        before: int | None = None,
        after: int = 0,
        oldest_first: bool = False,
    ) -> list[Listed]:
        """Entries, newest first: numbered below `before`, if given, and above `after`."""
        where, values = _where(chosen)
        below = 1 << 62 if before is None else before
        order = "ASC" if oldest_first else "DESC"
        rows = self._read(
            f"{_LISTED}{_JOINED} WHERE {where} entries.id < ? AND entries.id > ?"
            f" ORDER BY entries.id {order} LIMIT ?",
            (*values, below, after, limit),
        )
        return [_listed(row) for row in rows]

    def errors(self, *, limit: int, before: int | None = None) -> list[Listed]:
        """Errors and messages, newest first; only those with a number below `before`, if given."""
        return self.entries(Filter(kinds=[ERROR]), limit=limit, before=before)

    def equals(self, sites: Collection[str]) -> dict[str, Equals]:
        """How many errors of each of these sites are kept, and the oldest."""
        found: dict[str, Equals] = {}
        for site in sites:
            ((count, oldest),) = self._read(
                "SELECT count(*), min(id) FROM entries WHERE site = ? AND site != ''", (site,)
            )
            for first in self.entries(limit=1, after=(oldest or 1) - 1, oldest_first=True):
                found[site] = Equals(count, first)
        return found

    def beside(self, listed: Listed) -> tuple[str, str]:
        """The ids of the next older and the next newer event equal to this one; empty if there is none."""
        ids = []
        for sign, order in (("<", "DESC"), (">", "ASC")):
            rows = self._read(
                f"SELECT event_id{_JOINED} WHERE site = ? AND site != '' AND entries.id {sign} ?"
                f" ORDER BY entries.id {order} LIMIT 1",
                (listed.site, listed.number),
            )
            ids.append(rows[0][0] if rows else "")
        return ids[0], ids[1]

    def event(self, event_id: str) -> Stored | None:
        """The newest event with this id, or None; of an error and a transaction, the error."""
        kinds = ", ".join(f"'{kind}'" for kind in sorted(EVENTS))
        rows = self._read(
            f"{_LISTED}, payload{_JOINED} WHERE items.event_id = ? AND items.kind IN ({kinds})"
            " ORDER BY items.kind, entries.id DESC LIMIT 1",
            (event_id,),
        )
        return Stored(_listed(rows[0]), rows[0][-1]) if rows else None

    def trace(self, trace_id: str, *, limit: int, most: int) -> list[Stored]:
        """What belongs to a trace, oldest first, at most so many entries.

        Payloads that would make it more than `most` bytes are empty.
        """
        rows = self._read(
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
            yield from self._read(f"SELECT id, {column} FROM items WHERE id IN ({marks})", numbers)  # noqa: S608

    def envelope(self, number: int, *, most: int) -> StoredEnvelope | None:
        """An envelope by its number, or None; of its payloads `most` bytes, all together."""
        rows = self._read(
            "SELECT id, received, project, headers FROM envelopes WHERE id = ?", (number,)
        )
        if not rows:
            return None
        items = self._read(
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


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file stands at this path, or None if none does."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _bounded(words: Sequence[str]) -> list[str]:
    distinct = list(dict.fromkeys(words))
    rest = " ".join(distinct[MAX_WORDS:])
    return [*distinct[:MAX_WORDS], rest] if rest else distinct


def _size(kept: Records) -> tuple[int, int]:
    size = sum(len(item.payload) for item in kept.items)
    return size, sum(len(item.entries) for item in kept.items)


def _columns(item: Record) -> tuple[object, ...]:
    return (item.kind, item.headers, item.event_id, item.payload)


def _facts(entry: Entry) -> tuple[object, ...]:
    about = entry.summary
    return (
        entry.position, entry.kind, entry.trace_id, entry.span_id, entry.status, entry.duration,
        about.title, about.detail, about.level, about.transaction, about.when,
        entry.site.key, entry.site.place,
    )  # fmt: skip


def _listed(row: tuple[Any, ...]) -> Listed:
    number, event_id, received, project, title, detail, level, place, happened, *rest = row
    summary = Summary(title, detail, level, place, happened)
    return Listed(number, event_id or "", received, project, summary, *rest[:10])


def _where(chosen: Filter) -> tuple[str, list[object]]:
    """Conditions, each followed by AND, and their values."""
    conditions: list[str] = []
    values: list[object] = []
    if chosen.kinds:
        # Of one kind the index gives the newest at once; of several, going back from the newest does.
        column = "entries.kind" if len(chosen.kinds) == 1 else "+entries.kind"
        conditions.append(f"{column} IN ({', '.join('?' * len(chosen.kinds))})")
        values += chosen.kinds
    if chosen.level:
        conditions.append("level = ?")
        values.append(chosen.level)
    if chosen.grouped:
        same_level = "AND newer.level = entries.level" if chosen.level else ""
        conditions += [_NEWEST.format(same_level), _NO_ECHO]
    for word in _bounded(chosen.words):
        pattern = "%" + word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        text = "title || ' ' || detail || ' ' || place || ' ' || status || ' ' || trace_id"
        conditions.append(f"{text} || ' ' || coalesce(items.event_id, '') LIKE ? ESCAPE '\\'")
        values.append(pattern)
    return "".join(f"{condition} AND " for condition in conditions), values
