"""What outside of any connection repeats a failure that has been reported: servers' logs, and asyncio's.

- An exception that leaves the app is marked, for servers log it in contexts that nobody knows of, and that record is no
  event of its own. Of servers that log it as text, the traceback tells where it came from: through the middleware,
  which has reported it. What the application's own code logs is its own. A cancellation that a server logs is no
  failure.
- A background task can fail after its request, and nobody retrieves the exception. asyncio logs it in no request's
  context. So it is marked with its request when it leaves the task's frames, as far as `unwinding` sees it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

from sentry_asgi._frameworks import disconnects
from sentry_asgi._python.exceptions import attributes_of
from sentry_asgi._python.in_app import FOLDER

from .chains import BOUND, all_of
from .records import TRACEBACK, asked_for, exception_of, is_the_applications

ECHO: Final = 10.0
"""Seconds in which an exception that has left the app is taken for known."""

_NOT_RETRIEVED: Final = frozenset({"asyncio", "concurrent.futures"})
"""The loggers of those who find that nobody has asked for an exception."""

_LATE: Final = "__sentry_asgi_late_of__"
_MARK: Final = "__sentry_asgi_left_at__"
_MIDDLEWARE: Final = f'File "{FOLDER}middleware.py"'
"""How a traceback, as text, tells that an exception has left the middleware."""


def mark_reported(exception: BaseException, exchange: Any = None) -> None:
    """Marks an exception that was seen to leave the app, on a connection or on none."""
    attributes_of(exception)[_MARK] = time.perf_counter(), _around(exchange)


def mark_late(exception: BaseException, exchange: Any) -> None:
    """Marks an exception of work whose request is over with that request; it holds nothing of the exception."""
    attributes_of(exception)[_LATE] = exchange


def late_work_of(hint: Any) -> Any:
    """The connection, over by now, whose work has left an exception to be logged so; None if it is none's."""
    exception = exception_of(hint)
    if exception is None or getattr(hint.get("log_record"), "name", None) not in _NOT_RETRIEVED:
        return None  # whoever reports it knows of what; the exception may be one that is raised all the time
    return attributes_of(exception).get(_LATE)


def _around(exchange: Any) -> tuple[tuple[int, float], ...]:
    """Which connections are being served around this one, their apps having called it in-process."""
    around: list[tuple[int, float]] = []
    outer = _outer(exchange)
    while outer is not None and len(around) < BOUND:
        around.append((id(outer), outer.started_at))
        outer = _outer(outer)
    return tuple(around)


def _outer(exchange: Any) -> Any:
    return getattr(getattr(exchange, "outer", None), "asgi_connection", None)


def left_within(exchange: Any, exception: BaseException) -> bool:
    """Whether an exception has left an app that this connection's called in-process, and was reported there."""
    mark = attributes_of(exception).get(_MARK)
    return mark is not None and (id(exchange), exchange.started_at) in mark[1]


def process_fails(*texts: str) -> None:
    """Remember what a server will log, as these texts or a traceback that ends with one, of a lifespan that failed."""
    global _process_failed  # noqa: PLW0603
    _process_failed = time.perf_counter() + ECHO, texts


_process_failed: tuple[float, tuple[str, ...]] = 0.0, ()


unsupported: Final[ContextVar[Callable[[], bool] | None]] = ContextVar(
    "sentry_asgi_lifespan", default=None
)
"""In a lifespan's context: whether the app may still turn out not to support one."""


def is_echo(event: Any, hint: Any) -> bool:
    """Whether an event outside of any connection repeats what has just left an app, or tells of no failure."""
    exception = exception_of(hint)
    if exception is not None:
        if asked_for(event):
            return False
        is_unsupported = unsupported.get()
        if is_unsupported is not None and is_unsupported():
            return True
        if _is_cancellation(exception, hint):
            return True
        return any(_just_left(one) for one in all_of(exception))
    record = (hint or {}).get("log_record")
    if record is None or is_the_applications(record):
        return False
    text = record.getMessage()
    return _MIDDLEWARE in text or _tells_of_the_process(text.rstrip())


def _tells_of_the_process(text: str) -> bool:
    until, texts = _process_failed
    if time.perf_counter() >= until:
        return False
    return text in texts or (TRACEBACK in text and text.endswith(texts))


def _is_cancellation(exception: BaseException, hint: Any) -> bool:
    """Return whether a server logs that it has cancelled a request."""
    logger = str(getattr(hint.get("log_record"), "name", ""))
    return (
        type(exception).__name__ == "CancelledError"
        and logger.partition(".")[0] in disconnects.SERVERS
    )


def _just_left(exception: BaseException) -> bool:
    mark = attributes_of(exception).get(_MARK)
    return mark is not None and time.perf_counter() - mark[0] < ECHO
