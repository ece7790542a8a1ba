"""The lifespan: what is watched of it, and which of its failures are reported.

The rules:

- An app that raises before it has received anything does not support lifespan (ASGI specification, "Lifespan"); that
  is an answer to the server, and no failure.
- A failure to start or to shut down is one event, whether it is sent, raised, or sent and then raised.
- What waits to be sent is flushed before the server learns that the app has shut down or has failed, for then it ends
  the process, and not all servers let `atexit` run.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

from . import _once
from ._capture import process_failed
from ._failsafe import log_failure
from ._flush import flush

_FAILED: Final = frozenset({"lifespan.startup.failed", "lifespan.shutdown.failed"})
_LAST: Final = _FAILED | {"lifespan.shutdown.complete"}

# What uvicorn then logs, as an error.
_LOGGED: Final = (
    "Application startup failed. Exiting.",
    "Application shutdown failed. Exiting.",
)


class Lifespan:
    __slots__ = ("_flushed", "_receive", "_received", "_reported", "_send", "_shutdown_timeout")

    def __init__(
        self,
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[Any]],
        shutdown_timeout: float | None,
    ) -> None:
        self._receive = receive
        self._send = send
        self._shutdown_timeout = shutdown_timeout
        self._received = False
        self._reported = False
        self._flushed = False
        # In this context, what integrations report before anything is received is no failure either.
        _once.unsupported.set(self.not_received)

    def not_received(self) -> bool:
        return not self._received

    async def receive(self) -> Any:
        self._received = True
        return await self._receive()

    async def send(self, message: Any) -> Any:
        kind = message.get("type") if isinstance(message, dict) else None
        if kind in _FAILED:
            self._failed(message)
        if kind in _LAST:
            await self.flush()
        return await self._send(message)

    def _failed(self, message: Any) -> None:
        """The app says that it has failed."""
        try:
            text = str(message.get("message") or message["type"]).rstrip()
            _once.expect(text, *_LOGGED)
            self._report(sys.exc_info()[1], text)
        except Exception:
            log_failure("capturing an exception")

    def raised(self, exception: Exception) -> None:
        """The app let an exception out."""
        try:
            if not self._received:
                self._flushed = True  # there is nothing to flush for
            elif self._reported:
                _once.leaves(exception)
            else:
                self._report(exception, "")
        except Exception:
            log_failure("capturing an exception")

    def _report(self, exception: BaseException | None, message: str) -> None:
        self._reported, self._flushed = True, False
        process_failed(exception, message)

    async def flush(self) -> None:
        """Sends what waits, unless that is done."""
        if not self._flushed:
            self._flushed = True
            await flush(self._shutdown_timeout)
