"""The lifespan: what is watched of it, and which of its failures are reported.

The rules:

- An app that raises before it has received anything does not support lifespan (ASGI specification, "Lifespan"); that
  is an answer to the server, and no failure.
- A failure that the framework swallows, to go on as if nothing were, is one, too: an exception that left the app's
  frames and was caught by the library that says that all is done (`swallowed`).
- A failure to start or to shut down is one event, whether it is sent, raised, or sent and then raised.
- What waits to be sent is flushed before the server learns that the app has shut down or has failed, for then it ends
  the process, and not all servers let `atexit` run.
- A lifespan that is closed (by GeneratorExit, as when its event loop has gone) is waited for by nobody: then nothing is
  awaited, and nothing flushed.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

from sentry_asgi._failures import dedupe, echoes, swallowed
from sentry_asgi._failures.state import CLOSED, FailureHolder, FailureState
from sentry_asgi._scopes.here import watching
from sentry_asgi._sdk.diagnostics import log_failure
from sentry_asgi._sdk.flush import flush

from .capture import process_failed

_DONE: Final = frozenset({"lifespan.startup.complete", "lifespan.shutdown.complete"})
_FAILED: Final = frozenset({"lifespan.startup.failed", "lifespan.shutdown.failed"})
_LAST: Final = _FAILED | {"lifespan.shutdown.complete"}

# What uvicorn then logs, as an error.
_LOGGED: Final = (
    "Application startup failed. Exiting.",
    "Application shutdown failed. Exiting.",
)


class _Watched:
    """Awaits an awaitable, and notes if it is closed instead. Only the iterator that awaits it is told."""

    def __init__(self, awaitable: Awaitable[Any], lifespan: Lifespan) -> None:
        self._iterator: Any = awaitable.__await__()
        self._lifespan = lifespan

    def __await__(self) -> Any:
        return self

    __iter__ = __await__

    def __next__(self) -> Any:
        return next(self._iterator)

    def send(self, value: Any) -> Any:
        return self._iterator.send(value)

    def throw(self, *error: Any) -> Any:
        return self._iterator.throw(*error)

    def close(self) -> None:
        self._lifespan.closed = True
        self._iterator.close()


class Lifespan(FailureHolder):
    __slots__ = (
        "_flushed",
        "_receive",
        "_received",
        "_reported",
        "_send",
        "_started",
        "closed",
        "held",
    )

    # No connection's: what is reported here is nobody's.
    reported: Any = dedupe.OVER

    def __init__(
        self,
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[Any]],
        started: Callable[[], object] = bool,
    ) -> None:
        self._receive = receive
        self._send = send
        self._started = started
        self._received = False
        self._reported = False
        self._flushed = False
        self.closed = False
        self.held: FailureState | BaseException | None = CLOSED
        try:
            watching(self)
            # In this context, what integrations report before anything is received is no failure either.
            echoes.unsupported.set(self.not_received)
        except Exception:
            log_failure("watching the lifespan")

    def over(self) -> None:
        """Leaves the context as it was: in tests, and on some servers, others go on in it."""
        try:
            watching(None)
            echoes.unsupported.set(None)
        except Exception:
            log_failure("leaving the lifespan")

    async def watched(self, app: Awaitable[Any]) -> Any:
        """Await the app's lifespan."""
        return await _Watched(app, self)

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
            self._failed(message)
        elif kind in _DONE:
            for exception in swallowed.swallowed(self):
                process_failed(exception, "", handled=True)
        if kind == "lifespan.startup.complete":
            self._started()
        self.held = CLOSED
        if kind in _LAST:
            await self.flush()
        return await self._send(message)

    def _failed(self, message: Any) -> None:
        """The app says that it has failed."""
        try:
            text = str(message.get("message") or message["type"]).rstrip()
            echoes.process_fails(text, *_LOGGED)
            self._report(sys.exc_info()[1], text)
        except Exception:
            log_failure("capturing an exception")

    def crossed(self, exception: BaseException) -> None:
        if self.held is not CLOSED:
            super().crossed(exception)

    def raised(self, exception: Exception) -> None:
        """The app let an exception out."""
        try:
            if not self._received:
                self._flushed = True  # there is nothing to flush for
                echoes.mark_reported(exception)  # some servers log it all the same
            elif self._reported:
                echoes.mark_reported(exception)
            else:
                self._report(exception, "")
        except Exception:
            log_failure("capturing an exception")

    def _report(self, exception: BaseException | None, message: str) -> None:
        self._reported, self._flushed = True, False
        process_failed(exception, message)

    async def flush(self) -> None:
        """Sends what waits, unless that is done."""
        if not self._flushed and not self.closed:
            self._flushed = True
            await flush()
