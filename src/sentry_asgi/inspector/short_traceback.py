"""The terminal under `dev` shows of a traceback the app's own frames, and where its page is.

The rules:

- As Python prints it, so that editors and eyes know it: only frames of libraries are left out, and counted.
- Of an exception that passed no frame of the app's, the innermost frame stays.
- Causes and groups are shown alike. Other handlers than those that print still have the whole exception.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator

from sentry_asgi._python.in_app import application

from .recording import URL

LOGGERS = ("uvicorn.error", "quart.app", "django.request", "litestar", "sanic.error", "asyncio")
_MAX_DEPTH = 20


class ShortTraceback(logging.Filter):
    """Gives a record with an exception its text."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Leave every record in."""
        if isinstance(record.exc_info, tuple) and record.exc_info[1] and not record.exc_text:
            try:
                record.exc_text = short(record.exc_info[1])
            except Exception:
                record.exc_text = None
        return True


def install() -> None:
    """Have servers and frameworks log so."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(ShortTraceback())


def short(error: BaseException) -> str:
    """The traceback of an exception, without frames of libraries, and where its page is."""
    told = traceback.TracebackException.from_exception(error)
    left_out = sum(_shorten(one) for one in _all(told, 0))
    text = "".join(told.format()).rstrip()
    if left_out:
        text += f"\n({left_out} frames of libraries are left out; --traceback shows them)"
    address = getattr(error, URL, "")
    return f"{text}\n\N{RIGHTWARDS ARROW} {address}" if address else text


def _all(
    told: traceback.TracebackException | None, depth: int
) -> Iterator[traceback.TracebackException]:
    if told is None or depth > _MAX_DEPTH:
        return
    yield told
    yield from _all(told.__cause__, depth + 1)
    yield from _all(told.__context__, depth + 1)
    for one in told.exceptions or ():
        yield from _all(one, depth + 1)


def _shorten(told: traceback.TracebackException) -> int:
    """Leave out frames of libraries; returns how many."""
    own = [frame for frame in told.stack if application[frame.filename]]
    kept = own or list(told.stack[-1:])
    left_out = len(told.stack) - len(kept)
    told.stack = traceback.StackSummary.from_list(kept)
    return left_out
