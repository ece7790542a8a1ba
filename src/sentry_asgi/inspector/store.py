"""Where the inspector keeps what it received: one SQLite file, bounded.

The rules:

- An envelope is kept whole or not at all: one transaction each.
- The oldest envelopes go first, when there are more than `max_envelopes` or their payloads are
  more than `max_bytes` long together. The newest is always kept.
- Several processes may have the file open (WAL, and a writer waits its turn); each sees what the
  others wrote. One `Store` may be used from any thread, one call at a time goes through.
- Every call may block: never call from an event loop.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .records import ERRORS, Record, Records
from .views import Summary

# Written into the file; a file of another version is of another release, and is not touched.
SCHEMA_VERSION = 1

# The totals are kept by triggers, so that keeping the bounds never counts rows.
_SCHEMA = """
CREATE TABLE envelopes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    received REAL NOT NULL,
    project TEXT NOT NULL,
    headers BLOB NOT NULL,
    size INTEGER NOT NULL
);
CREATE TABLE items (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    envelope INTEGER NOT NULL REFERENCES envelopes (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    headers BLOB NOT NULL,
    event_id TEXT,
    title TEXT,
    detail TEXT,
    level TEXT,
    place TEXT,
    happened TEXT,
    payload BLOB NOT NULL
);
CREATE INDEX items_by_envelope ON items (envelope);
CREATE INDEX items_by_kind ON items (kind, id);
CREATE INDEX items_by_event ON items (event_id) WHERE event_id IS NOT NULL;
CREATE TABLE totals (envelopes INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO totals VALUES (0, 0);
CREATE TRIGGER count_in AFTER INSERT ON envelopes BEGIN
    UPDATE totals SET envelopes = envelopes + 1, bytes = bytes + new.size;
END;
CREATE TRIGGER count_out AFTER DELETE ON envelopes BEGIN
    UPDATE totals SET envelopes = envelopes - 1, bytes = bytes - old.size;
END;
"""


class StoreError(Exception):
    """The file cannot be used as a store."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One error in a list. `number` grows with each item kept; `received` is in seconds, Unix."""

    number: int
    event_id: str
    received: float
    project: str
    summary: Summary


@dataclass(frozen=True, slots=True)
class Stored:
    """One event as kept: what a list shows, and the payload's bytes as sent."""

    listed: Listed
    payload: bytes


class Store:
    """The file at `path`, made if missing."""

    def __init__(
        self,
        path: Path,
        *,
        max_envelopes: int = 10_000,
        max_bytes: int = 256 * 1024 * 1024,
        patience: float = 10,
    ) -> None:
        """Open the file; a call waits up to `patience` seconds for other processes that write.

        Raises StoreError if it is no such file, is one of another release, or stays locked.
        """
        self._max_envelopes = max_envelopes
        self._max_bytes = max_bytes
        self._patience = patience
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(
            path, timeout=patience, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare(path)
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, path: Path) -> None:
        try:
            self._use_wal()
            # A crash of the machine may lose the last events of a development session; a sync
            # for each envelope would cost far more than that is worth.
            self._connection.execute("PRAGMA synchronous = OFF")
            self._connection.execute("PRAGMA foreign_keys = ON")
            with self._transaction():
                (version,) = self._connection.execute("PRAGMA user_version").fetchone()
                if version == 0:
                    self._create()
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{path} cannot be used by the inspector: {error}") from error
        if version not in {0, SCHEMA_VERSION}:
            raise StoreError(f"{path} was made by another release of sentry-asgi; remove it.")

    def _use_wal(self) -> None:
        # Where two switch a new file at once, SQLite fails instead of waiting for the other.
        deadline = time.monotonic() + self._patience
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    def _create(self) -> None:
        # Not executescript(): that would commit, and another process may be here too.
        statement = ""
        for line in _SCHEMA.splitlines():
            statement += line + "\n"
            if sqlite3.complete_statement(statement):
                self._connection.execute(statement)
                statement = ""
        self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def close(self) -> None:
        """Close the file; nothing else may be called afterwards."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def add(self, project: str, records: Records, received: float) -> None:
        """Keep an envelope that arrived at `received` (seconds, Unix), and let the oldest go."""
        size = sum(len(item.payload) for item in records.items)
        with self._transaction():
            cursor = self._connection.execute(
                "INSERT INTO envelopes (received, project, headers, size) VALUES (?, ?, ?, ?)",
                (received, project, records.headers, size),
            )
            newest = cursor.lastrowid
            self._connection.executemany(
                "INSERT INTO items (envelope, kind, headers, event_id, title, detail, level,"
                " place, happened, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(newest, *_columns(item)) for item in records.items],
            )
            self._trim()

    def _trim(self) -> None:
        while self._over():
            self._connection.execute(
                "DELETE FROM envelopes WHERE id = (SELECT min(id) FROM envelopes)"
            )

    def _over(self) -> bool:
        envelopes, size = self._read_totals()
        return envelopes > 1 and (envelopes > self._max_envelopes or size > self._max_bytes)

    def totals(self) -> tuple[int, int]:
        """How many envelopes are kept, and how many bytes their payloads have together."""
        with self._lock:
            return self._read_totals()

    def _read_totals(self) -> tuple[int, int]:
        row = self._connection.execute("SELECT envelopes, bytes FROM totals").fetchone()
        return row[0], row[1]

    def errors(self, *, limit: int, before: int | None = None) -> list[Listed]:
        """Errors and messages, newest first; only those with a number below `before`, if given."""
        below = 1 << 62 if before is None else before
        rows = self._select("kind = ? AND items.id < ?", (ERRORS, below), limit)
        return [_stored(row).listed for row in rows]

    def event(self, event_id: str) -> Stored | None:
        """The newest error or message with this id, or None."""
        rows = self._select("event_id = ? AND kind = ?", (event_id, ERRORS), 1, "payload")
        return _stored(rows[0]) if rows else None

    def _select(
        self, where: str, values: tuple[object, ...], limit: int, payload: str = "x''"
    ) -> list[tuple[Any, ...]]:
        # `where` and `payload` are literals of this module.
        query = (
            "SELECT items.id, event_id, received, project, title, detail, level, place, happened,"  # noqa: S608
            f" {payload} FROM items JOIN envelopes ON envelopes.id = items.envelope"
            f" WHERE {where} ORDER BY items.id DESC LIMIT ?"
        )
        with self._lock:
            return self._connection.execute(query, (*values, limit)).fetchall()


def _columns(item: Record) -> tuple[object, ...]:
    about = item.summary
    facts = (
        (about.title, about.detail, about.level, about.transaction, about.when)
        if about
        else (None,) * 5
    )
    return (item.kind, item.headers, item.event_id, *facts, item.payload)


def _stored(row: tuple[Any, ...]) -> Stored:
    number, event_id, received, project, title, detail, level, place, happened, payload = row
    summary = Summary(title, detail, level, place, happened)
    return Stored(Listed(number, event_id, received, project, summary), payload)
