"""How a process tells the inspector what no SDK does: from a thread.

The rules:

- The app waits for nothing: what is told waits in a queue, and is lost where that is full.
- All of it is done within `aside`: what an app's own process does shall not be in its reports.
"""

from __future__ import annotations

import json
import queue
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

from .local import fetch

_MOST = 1000
_PATIENCE = 5.0


class Teller:
    """Tells the inspector at `url`."""

    def __init__(
        self, url: str, aside: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        """Make it; its thread starts with the first thing to tell, as a server may fork before."""
        self._url = url
        self._aside = aside
        self._waiting: queue.Queue[tuple[str, Callable[[], bytes]]] = queue.Queue(_MOST)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def tell(self, path: str, make: Callable[[], Any]) -> None:
        """Post to that path what `make` gives, as JSON; it is called in the thread."""
        self._tell(path, lambda: json.dumps(make()).encode())

    def tell_bytes(self, path: str, body: bytes) -> None:
        """Post these bytes to that path."""
        self._tell(path, lambda: body)

    def flush(self, seconds: float) -> None:
        """Wait until all is told, but no longer than that."""
        deadline = time.monotonic() + seconds
        while self._waiting.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.01)

    def _tell(self, path: str, make: Callable[[], bytes]) -> None:
        with suppress(queue.Full):
            self._waiting.put_nowait((path, make))
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="telling", daemon=True)
                with self._aside():
                    self._thread.start()

    def _work(self) -> None:
        while True:
            path, make = self._waiting.get()
            with suppress(Exception), self._aside():  # it is gone: `dev` says so itself
                self._post(path, make())
            self._waiting.task_done()

    def _post(self, path: str, body: bytes) -> None:
        address = f"{self._url}{path}"
        request = urllib.request.Request(address, body, {"content-type": "application/json"})  # noqa: S310
        with fetch(request, timeout=_PATIENCE) as response:
            response.read()
