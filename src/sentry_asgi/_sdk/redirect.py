"""For a while, whatever the SDK sends goes somewhere else: for tests of applications, and for `doctor`.

The rules:

- It holds for the client in force and for each that is made meanwhile: applications call `sentry_sdk.init` when they
  are imported, made or started, which may be at any time.
- A client keeps all else. When the block ends each has its own transport back, and its Spotlight.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sentry_sdk
from sentry_sdk.transport import Transport


@contextmanager
def redirected(transport: Transport) -> Iterator[list[Any]]:
    """Everything goes to `transport` while the block runs; the value has the clients concerned, the latest last.

    What a client was given to send before is sent to where it would have gone.
    """
    clients: list[Any] = []
    own: list[tuple[Any, Any]] = []
    make = sentry_sdk.Client.__init__

    def turn(client: Any) -> None:
        clients.append(client)
        own.append((client.transport, client.spotlight))
        client.transport, client.spotlight = transport, None

    def init(self: Any, *args: Any, **options: Any) -> None:
        make(self, *args, **options)
        turn(self)

    client = sentry_sdk.get_client()
    if client.is_active():
        client.flush(timeout=0)  # of what waits to be sent in a batch
        turn(client)
    setattr(sentry_sdk.Client, "__init__", init)  # noqa: B010  # as an assignment, types refuse it
    try:
        yield clients
    finally:
        setattr(sentry_sdk.Client, "__init__", make)  # noqa: B010
        for client, (before, spotlight) in zip(clients, own, strict=True):
            client.transport, client.spotlight = before, spotlight
