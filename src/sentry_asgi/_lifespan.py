"""The lifespan: what is watched of it, and which of its failures are reported.

The rules:

- An app that raises before it has received anything does not support lifespan (ASGI specification, "Lifespan"); that
  is an answer to the server, and no failure.
- A failure to start or to shut down is one event, whether it is sent, raised, or sent and then raised. It is reported
  and flushed before the server learns of it, for the server may end the process at once.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

from . import _once
from ._capture import process_failed

_FAILED: Final = frozenset({"lifespan.startup.failed", "lifespan.shutdown.failed"})

# What uvicorn then logs, as an error.
_LOGGED: Final = (
    "Application startup failed. Exiting.",
    "Application shutdown failed. Exiting.",
)


class Lifespan:
    __slots__ = ("_receive", "_received", "_reported", "_send")

    def __init__(
        self, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[Any]]
    ) -> None:
        self._receive = receive
        self._send = send
        self._received = False
        self._reported = False
        # In this context, what integrations report before anything is received is no failure either.
        _once.unsupported.set(self.not_received)

    def not_received(self) -> bool:
        return not self._received

    async def receive(self) -> Any:
        self._received = True
        return await self._receive()

    async def send(self, message: Any) -> Any:
        if isinstance(message, dict) and message.get("type") in _FAILED:
            text = str(message.get("message") or message["type"])
            _once.expect(text, *_LOGGED)
            self._report(sys.exc_info()[1], text)
        return await self._send(message)

    def raised(self, exception: Exception) -> None:
        """The app let an exception out."""
        if not self._received:
            return
        if self._reported:
            _once.leaves(exception)
        else:
            self._report(exception, "")

    def _report(self, exception: BaseException | None, message: str) -> None:
        self._reported = True
        process_failed(exception, message)
