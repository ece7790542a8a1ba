"""Telling open pages and terminals that something new was kept.

The rules:

- What is told is a number, that of the newest entry; whoever listens asks for what it shows. So a
  slow listener misses nothing, and a fast inspector is not held up by one.
- Many news at once are one: a listener hears at most every `PAUSE` seconds.
- `close` ends all listening, so that no open page keeps the server from ending.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import suppress

PAUSE = 0.1
# A line now and then tells both sides that the other is still there.
BEAT = 15.0


class Live:
    """Listeners of one inspector; `notify` and `close` may be called from any thread."""

    def __init__(self, *, beat: float = BEAT) -> None:
        """Make it without listeners; each hears something at least every `beat` seconds."""
        self._beat = beat
        self._lock = threading.Lock()
        self._listeners: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._closed = False
        self.version = 0
        """How often something was new."""

    def notify(self) -> None:
        """Something new was kept, or everything was forgotten."""
        with self._lock:
            self.version += 1
            for event, loop in self._listeners.items():
                with suppress(RuntimeError):  # its loop has ended
                    loop.call_soon_threadsafe(event.set)

    def close(self) -> None:
        """End all listening, now and from now on."""
        self._closed = True
        self.notify()

    async def changes(self) -> AsyncIterator[bool]:
        """True at first and whenever something changed, False for a sign of life."""
        changed = asyncio.Event()
        changed.set()
        with self._lock:
            self._listeners[changed] = asyncio.get_running_loop()
        try:
            while not self._closed:
                yield await self._wait(changed)
                await asyncio.sleep(PAUSE)
        finally:
            with self._lock:
                del self._listeners[changed]

    async def _wait(self, changed: asyncio.Event) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._beat):
                await changed.wait()
        happened = changed.is_set()
        changed.clear()
        return happened
