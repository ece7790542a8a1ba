"""The inspector's SQLite file: opened, shared with other processes, begun anew.

The rules:

- Several processes may have the file open (WAL, and a writer waits its turn); each sees what the
  others wrote. Any thread may use it: writers take turns, and so do readers, but neither waits for
  the other.
- A new file is its owner's alone. Another program's database is left as it is.
- One that is removed takes nothing more: what is written to it is lost.
- Every call may block: never call from an event loop.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .schema import SCHEMA_VERSION, create


class StoreError(Exception):
    """The file cannot be used as a store."""


class Database:
    """The file at `path`, made if missing: one connection that writes, and one that reads."""

    def __init__(self, path: Path, *, patience: float) -> None:
        """Open the file; a call waits up to `patience` seconds for other processes that write.

        Raises StoreError if it is no such file, is one of another release, or stays locked.
        """
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
            with self.transaction():
                (version,) = self._writer.execute("PRAGMA user_version").fetchone()
                if version == 0:
                    create(self._writer)
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

    def close(self) -> None:
        """Close the file; nothing else may be called afterwards."""
        with self._reading, self._writing:
            self._reader.close()
            self._writer.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction of the writer, undone if the block raises."""
        with self._writing:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
            except BaseException:
                if self._writer.in_transaction:  # on a full disk SQLite has ended it
                    self._writer.execute("ROLLBACK")
                raise
            self._writer.execute("COMMIT")

    def check(self) -> None:
        """Raise sqlite3.OperationalError if the file was removed."""
        if _identity(self._path) != self._identity:
            raise sqlite3.OperationalError(f"{self._path} was removed; start the inspector again")

    def _begin_anew(self) -> None:
        """Clear on a full disk: to delete rows takes room, to remove the file makes some."""
        with self._reading, self._writing:
            numbers = self._reader.execute("SELECT name, seq FROM sqlite_sequence").fetchall()
            self._reader.close()
            self._writer.close()
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self._path}{suffix}").unlink(missing_ok=True)
        self._open()
        with self.transaction():
            self._writer.executemany("INSERT INTO sqlite_sequence VALUES (?, ?)", numbers)

    def read(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self._reading:
            return self._reader.execute(query, values).fetchall()


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file stands at this path, or None if none does."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
