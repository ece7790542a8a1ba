"""The tables of the inspector's file.

The rules:

- What an envelope brought hangs on it, and goes with it.
- The totals are kept by triggers, so that keeping the bounds never counts rows.
- `texts` is numbered as `entries` is, and made new when all is forgotten: to empty it costs more.
- A file of another version is of another release, and is not touched.
"""

from __future__ import annotations

import sqlite3

SCHEMA_VERSION = 4

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
    spot TEXT NOT NULL,
    moment REAL NOT NULL,
    raised INTEGER NOT NULL,
    service TEXT NOT NULL
);
CREATE VIRTUAL TABLE texts USING fts5 (text, tokenize = "unicode61 remove_diacritics 2");
CREATE TABLE calls (
    entry INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    shape TEXT NOT NULL,
    count INTEGER NOT NULL,
    total REAL NOT NULL,
    slowest REAL NOT NULL,
    place TEXT NOT NULL
);
CREATE INDEX calls_by_entry ON calls (entry);
CREATE INDEX items_by_envelope ON items (envelope);
CREATE INDEX items_by_event ON items (event_id) WHERE event_id IS NOT NULL;
CREATE INDEX entries_by_item ON entries (item);
CREATE INDEX entries_by_kind ON entries (kind, id);
CREATE INDEX entries_by_site ON entries (site, id) WHERE site != '';
CREATE INDEX errors_by_trace ON entries (trace_id, title) WHERE kind = 'error' AND trace_id != '';
CREATE INDEX raised_by_trace ON entries (trace_id, moment)
    WHERE kind = 'error' AND raised AND trace_id != '';
CREATE INDEX entries_by_trace ON entries (trace_id) WHERE trace_id != '';
CREATE INDEX requests_by_span ON entries (span_id) WHERE kind = 'request' AND span_id != '';
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
CREATE TABLE exchanges (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    received REAL NOT NULL,
    trace_id TEXT NOT NULL,
    span_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    record BLOB NOT NULL
);
CREATE TABLE starts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    service TEXT NOT NULL,
    after INTEGER NOT NULL
);
CREATE INDEX exchanges_by_span ON exchanges (span_id) WHERE span_id != '';
CREATE INDEX exchanges_by_event ON exchanges (event_id) WHERE event_id != '';
"""


RENEW_TEXTS = (
    "DROP TABLE texts",
    next(line for line in _SCHEMA.splitlines() if "TABLE texts" in line),
)
"""Statements that forget all texts at once."""


def create(connection: sqlite3.Connection) -> None:
    """Make the tables, within the transaction that is open."""
    # Not executescript(): that would commit, and another process may be here too.
    statement = ""
    for line in _SCHEMA.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
