"""The lifespan: what is watched of it, and which of its failures are reported.

The rules:

- An app that raises before it has received anything does not support lifespan (ASGI specification, "Lifespan"); that
  is an answer to the server, and no failure.
- A failure that the framework swallows, to go on as if nothing were, is one, too: an exception that left the app's
  frames and was caught by the library that says that all is done (`_swallowed`).
- A failure to start or to shut down is one event, whether it is sent, raised, or sent and then raised. It is reported
  and flushed before the server learns of it, for the server may end the process at once.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

from . import _once, _swallowed
from ._capture import process_failed
from ._exchange import NOTHING_MORE, Held, Holding
from ._isolation import watching

_DONE: Final = frozenset({"lifespan.startup.complete", "lifespan.shutdown.complete"})
_FAILED: Final = frozenset({"lifespan.startup.failed", "lifespan.shutdown.failed"})

# What uvicorn then logs, as an error.
_LOGGED: Final = (
    "Application startup failed. Exiting.",
    "Application shutdown failed. Exiting.",
)


class Lifespan(Holding):
    __slots__ = ("_receive", "_received", "_reported", "_send", "held")

    # No connection's: what is reported here is nobody's.
    reported: Final = _once.OVER

    def __init__(
        self, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[Any]]
    ) -> None:
        self._receive = receive
        self._send = send
        self._received = False
        self._reported = False
        self.held: Held | BaseException | None = NOTHING_MORE
        watching(self)
        # In this context, what integrations report before anything is received is no failure either.
        _once.unsupported.set(self.not_received)

    def not_received(self) -> bool:
        return not self._received

    async def receive(self) -> Any:
        self._received = True
        message = await self._receive()
        self.held = None
        return message

    async def send(self, message: Any) -> Any:
        kind = message.get("type") if isinstance(message, dict) else None
        if kind in _FAILED:
            text = str(message.get("message") or kind).rstrip()
            _once.expect(text, *_LOGGED)
            self._report(sys.exc_info()[1], text)
        elif kind in _DONE:
            for exception in _swallowed.swallowed(self):
                process_failed(exception, "", handled=True)
        self.held = NOTHING_MORE
        return await self._send(message)

    def crossed(self, exception: BaseException) -> None:
        if self.held is not NOTHING_MORE:
            super().crossed(exception)

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
