"""How the app's process tells the inspector what is no event: from a thread, past the SDK.

The rules:

- The app waits for nothing: what is told waits in a queue, and is lost where that is full.
- That it is told leaves no trace in what the app reports: here no client is in force.
"""

from __future__ import annotations

import json
import queue
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import sentry_sdk
from sentry_sdk.scope import Scope, use_scope

from .local import fetch

_MOST = 1000
_PATIENCE = 5.0


def _nobody() -> Scope:
    client = sentry_sdk.Client(
        dsn="",
        spotlight=False,
        default_integrations=False,
        auto_enabling_integrations=False,
    )
    return Scope(client=client)


_NOBODY: Final = _nobody()


@contextmanager
def unseen() -> Iterator[None]:
    """What is done in the block makes no span, and no breadcrumb."""
    with use_scope(_NOBODY):
        yield


class Teller:
    """Tells the inspector at `url`."""

    def __init__(self, url: str) -> None:
        """Make it; its thread starts with the first thing to tell, as a server may fork before."""
        self._url = url
        self._waiting: queue.Queue[tuple[str, Callable[[], Any]]] = queue.Queue(_MOST)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def tell(self, path: str, make: Callable[[], Any]) -> None:
        """Post to that path what `make` gives, called in the thread."""
        with suppress(queue.Full):
            self._waiting.put_nowait((path, make))
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="telling", daemon=True)
                with unseen():
                    self._thread.start()

    def _work(self) -> None:
        while True:
            path, make = self._waiting.get()
            with suppress(Exception), unseen():  # it is gone: `dev` says so itself
                self._post(path, make())

    def _post(self, path: str, record: Any) -> None:
        request = urllib.request.Request(  # noqa: S310  # `dev` has made the address
            f"{self._url}{path}",
            json.dumps(record).encode(),
            {"content-type": "application/json"},
        )
        with fetch(request, timeout=_PATIENCE) as response:
            response.read()
