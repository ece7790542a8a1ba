"""What goes wrong in here, or in the SDK beneath, is logged and never the application's problem.

It goes to the logger `sentry_sdk.errors.asgi`: beneath the one of the SDK's own failures, which is silent
unless the SDK's `debug` is on; a monitoring tool that fails should say so without being asked. Sentry's
logging integration is told to leave it alone.

So does what fails within the SDK's own guards (a `before_send`, an event processor, a `traces_sampler` that raises),
which the SDK tells under `debug` alone; but for what fails on the network, which it counts.

Each failure, by what was being done and the line that raised, is logged at most once in `QUIET` seconds, so that a
failure of every request does not flood the log; how many were left out is said the next time. A failure that comes from
ever new lines is one by what was being done: no more than `SITES` are kept apart.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from sentry_sdk import get_client
from sentry_sdk.integrations import logging as sentry_logging

logger: Final = logging.getLogger("sentry_sdk.errors.asgi")

_SDKS: Final = logging.getLogger("sentry_sdk.errors")
_NETWORK: Final = "sentry_sdk.transport"

QUIET: Final = 60.0
"""Seconds between two log records of one failure."""

SITES: Final = 200

_last: dict[Any, tuple[float, int]] = {}


@functools.cache
def listen() -> None:
    """From now on, hear what fails within the SDK's own guards, and keep its logging integration from our logger."""
    sentry_logging.ignore_logger(logger.name)
    with contextlib.suppress(AttributeError):  # which SDKs before Sentry's logs raise
        sentry_logging.ignore_logger_for_sentry_logs(logger.name)
    getattr(sentry_logging, "ignore_logger_for_events", str)(
        logger.name
    )  # what SDK 3 calls the first
    _SDKS.filters.insert(0, _Listener())


def log_failure(what: str) -> None:
    """Logs the exception that is being handled; `what` was being done. Never raises an Exception."""
    _log(what, sys.exc_info())


def _log(what: str, exc_info: Any) -> None:
    now = time.monotonic()
    site = _site(what, exc_info)
    logged, left_out = _last.get(site, (-QUIET, 0))
    if now - logged < QUIET:
        _last[site] = (logged, left_out + 1)
        return
    _last[site] = (now, 0)
    more = f" ({left_out} more like it were not logged)" if left_out else ""
    try:
        listen()
        text = "sentry-asgi: %s failed%s; the application is not affected"
        logger.error(text, what, more, exc_info=exc_info)
    except KeyboardInterrupt:
        raise
    except (
        BaseException
    ):  # of a log handler, or the text of an exception; there is nobody left to tell
        pass


def _site(what: str, exc_info: Any) -> Any:
    """What was being done, where the exception was raised, and of what type it is."""
    kind, _, traceback = exc_info
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return what
    site = what, kind, traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
    return site if site in _last or len(_last) < SITES else what


class _Listener(logging.Filter):
    """Hears what the SDK says of its own failures, before its filter keeps that to itself; lets everything through."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            if record.exc_info and not _is_said_anyway(record.exc_info[2]):
                _log("sentry_sdk, or a hook that it called,", record.exc_info)
        except Exception:  # as of a client that is none; the SDK's own log is not to suffer from it
            pass
        return True


def _is_said_anyway(traceback: Any) -> bool:
    by = traceback.tb_frame.f_globals.get("__name__") if traceback is not None else None
    return by == _NETWORK or bool(get_client().options.get("debug"))


@contextlib.contextmanager
def if_possible(
    what: str, make: Callable[[], contextlib.AbstractContextManager[Any]]
) -> Iterator[Any]:
    """A context manager that may fail to begin, then its value is None, or to end; the block runs all the same."""
    stack = contextlib.ExitStack()
    value = None
    try:
        value = stack.enter_context(make())
    except Exception:
        log_failure(what)
    try:
        yield value
    finally:
        try:
            stack.close()
        except Exception:
            log_failure(what)
