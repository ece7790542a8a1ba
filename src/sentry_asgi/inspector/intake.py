"""Taking envelopes in: one thread reads and keeps what requests bring, in batches.

The rules:

- What came is kept when its request is answered: never before, so nothing that was answered for
  is lost.
- Whatever waits when the thread is free is one transaction: the more comes at once, the less each
  costs. What is bad in a batch is refused alone.
- The event loop only hands over bytes and waits.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from .envelope import MEBIBYTE, Limits, decompress, parse
from .records import records, stored_event
from .store import Arrival, Store

# One transaction takes no more, so that pages see something new in good time; nor more bytes than
# this by much, nor more entries, for all of them are in memory at once.
_BATCH = 500
_BATCH_BYTES = 16 * MEBIBYTE
_BATCH_ENTRIES = 20_000

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Submission:
    """What one request brought. `bare`: a single event as JSON, as the store endpoint takes it."""

    project: str
    body: bytes
    encoding: str = ""
    bare: bool = False


@dataclass(frozen=True, slots=True)
class _Waiting:
    parcel: Submission
    answer: asyncio.Future[str | None]


class Intake:
    """Keeps parcels in `store`; `kept` is called from its thread after each batch.

    The thread starts with the first parcel and ends when none came for a while, so there is
    nothing to open or to close.
    """

    def __init__(
        self, store: Store, limits: Limits, kept: Callable[[], None], *, idle: float = 5
    ) -> None:
        """Make it; its thread goes after `idle` seconds without work."""
        self._store = store
        self._limits = limits
        self._kept = kept
        self._idle = idle
        self._waiting: list[_Waiting] = []
        self._changed = threading.Condition()
        self._working = False
        self._failed = False

    async def take(self, parcel: Submission) -> str | None:
        """Keep what a request brought; returns the event's id, if there is an event.

        Raises BadEnvelopeError if it is refused.
        """
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        with self._changed:
            self._waiting.append(_Waiting(parcel, answer))
            if self._working:
                self._changed.notify()
            else:
                self._working = True
                threading.Thread(target=self._work, name="inspector intake", daemon=True).start()
        return await answer

    def _work(self) -> None:
        while batch := self._next_batch():
            self._keep(batch)

    def _next_batch(self) -> list[_Waiting]:
        """What waits, as soon as something does; nothing if the thread shall end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting, self._idle)
            batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
            self._working = bool(batch)
            return batch

    def _keep(self, batch: list[_Waiting]) -> None:
        answers: list[tuple[_Waiting, str | Exception | None]] = []
        good: list[tuple[_Waiting, Arrival]] = []
        size = told = 0
        for waiting in batch:
            try:
                data = self._unpacked(waiting.parcel)
                good.append((waiting, self._arrival(waiting.parcel, data)))
            except Exception as error:
                answers.append((waiting, error))
                continue
            size += len(data)
            told += sum(len(item.entries) for item in good[-1][1].records.items)
            if size > _BATCH_BYTES or told > _BATCH_ENTRIES:
                self._commit(good, [])
                good, size, told = [], 0, 0
        self._commit(good, answers)

    def _commit(
        self,
        good: list[tuple[_Waiting, Arrival]],
        answers: list[tuple[_Waiting, str | Exception | None]],
    ) -> None:
        try:
            self._store.add_all([arrival for _, arrival in good])
        except Exception as error:
            self._log(error)
            answers += [(waiting, error) for waiting, _ in good]
        else:
            self._failed = False
            answers += [(waiting, arrival.records.event_id) for waiting, arrival in good]
        self._kept()
        _answer(answers)

    def _log(self, error: Exception) -> None:
        """Say once that nothing can be kept, until something can; a bug has its traceback."""
        if not self._failed:
            known = isinstance(error, sqlite3.Error)
            logger.error(
                "Cannot store envelopes: %s. Senders are answered with 503 until this is fixed",
                error,
                exc_info=None if known else error,
            )
        self._failed = True

    def _unpacked(self, parcel: Submission) -> bytes:
        return decompress(parcel.body, parcel.encoding, self._limits.decompressed)

    def _arrival(self, parcel: Submission, data: bytes) -> Arrival:
        envelope = stored_event(data) if parcel.bare else parse(data, max_items=self._limits.items)
        return Arrival(parcel.project, records(envelope), time.time())


def _answer(answers: list[tuple[_Waiting, str | Exception | None]]) -> None:
    """Wake each event loop once, however many wait in it."""
    loops = {waiting.answer.get_loop() for waiting, _ in answers}
    for loop in loops:
        own = [(one.answer, value) for one, value in answers if one.answer.get_loop() is loop]
        with suppress(RuntimeError):  # it is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, own)


def _settle(answers: list[tuple[asyncio.Future[str | None], str | Exception | None]]) -> None:
    for answer, value in answers:
        if answer.done():
            continue  # whoever asked went away
        if isinstance(value, Exception):
            answer.set_exception(value)
        else:
            answer.set_result(value)
