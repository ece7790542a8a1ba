"""What a connection, or the lifespan, holds of its failures while it lasts.

The rules:

- Most connections have no failure. So what is held is nothing, one exception that crossed, or a `FailureState`.
- An exception that crossed is held for the answer that may follow. Asking for the next websocket message drops what
  is held; of GraphQL's servers, which ask before they answer, but for the last few. Sending a message, or more of a
  body, keeps the last exception: a close may follow.
- When the connection is over it holds `CLOSED`: what is written to it from then on goes nowhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from sentry_asgi._frameworks import mcp

from .dedupe import OVER
from .echoes import mark_late
from .swallowed import Failure

CROSSINGS: Final = 16
"""Exceptions noted by `unwinding` for one connection at a time."""


class FailureState:
    """What is held of a connection's failures, while it lasts. Few connections have any, so few have one of these."""

    __slots__ = ("crossings", "failure", "granted", "reported", "send_error", "trouble", "within")

    def __init__(self, crossings: Iterable[BaseException] = (), kept: int = CROSSINGS) -> None:
        self.failure: Failure | None = None  # what was behind a failing response
        self.send_error: OSError | None = None  # what `send` raised when the client had left
        self.crossings = deque(crossings, kept)  # the exceptions that `unwinding` saw
        self.granted: Any = None  # the raise site of which an event is promised
        self.reported: Any = None  # those that `dedupe` has let through
        self.within: Any = None  # what `within` has looked at of its answer
        self.trouble: Any = None  # what tells of a failure without an exception; True is enough


def served(connection: Any) -> Any:
    """Return the connection that this runs for; another one, where a session's task outlives what has started it."""
    if connection.held is not CLOSED:
        return connection
    return mcp.served_here(FailureHolder) or connection


class _Closed(FailureState):
    __slots__ = ()


CLOSED: Final = _Closed(kept=0)
"""What is held of a connection that is over: the app has returned or raised, and it is reported."""
CLOSED.reported = OVER


def _is_state(held: Any) -> bool:
    """Whether more than one exception, or none, is held; without asking the exception for its class."""
    return issubclass(type(held), FailureState)


def _held_value(name: str) -> Any:
    """A property of a `FailureHolder`: what its state has under a name, None while it has no state."""

    def get(holder: Any) -> Any:
        held: Any = holder.held
        return getattr(held, name) if _is_state(held) else None

    def put(holder: Any, value: Any) -> None:
        setattr(holder.failure_state(), name, value)

    return property(get, put)


class FailureHolder:
    """A connection, or the lifespan: it holds what it knows of failures in its slot `held`."""

    __slots__ = ()

    if TYPE_CHECKING:
        held: FailureState | BaseException | None

    failure = _held_value("failure")
    granted = _held_value("granted")
    reported = _held_value("reported")
    send_error = _held_value("send_error")
    trouble = _held_value("trouble")
    within = _held_value("within")

    def failure_state(self) -> FailureState:
        """Return the state; once the connection is over, a throwaway whose writes are discarded."""
        held: Any = self.held
        if not _is_state(held):
            heir: Any = self
            heir.held = held = FailureState() if held is None else FailureState([held])
        return FailureState(kept=0) if held is CLOSED else held

    def crossed(self, exception: BaseException) -> None:
        """Notes an exception that is not the first, or one of work that goes on when the connection is over."""
        holder = served(self)
        if holder.held is CLOSED:
            mark_late(exception, self)
        else:
            holder.failure_state().crossings.append(exception)

    def let_go(self, kept: int = 0) -> None:
        """Hold no longer what crossed, but for the last few: the app has gone on, so it was dealt with."""
        held: Any = self.held
        if _is_state(held):
            last = tuple(held.crossings)[-kept:] if kept else ()
            held.crossings = deque(last, held.crossings.maxlen)
        else:
            heir: Any = self
            heir.held = held if kept else None

    @property
    def crossings(self) -> tuple[BaseException, ...]:
        """The exceptions that `unwinding` saw, oldest first; threads may be adding to them."""
        held: Any = self.held
        if held is None:
            return ()
        return tuple(held.crossings) if _is_state(held) else (held,)
