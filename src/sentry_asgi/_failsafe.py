"""What goes wrong in here, or in the SDK beneath, is logged and never the application's problem.

It goes to the logger `sentry_sdk.errors.asgi`: beneath the one of the SDK's own failures, which is silent
unless the SDK's `debug` is on; a monitoring tool that fails should say so without being asked. Sentry's
logging integration is told to leave it alone.

Each failure, by what was being done and the line that raised, is logged at most once in `QUIET` seconds, so that a
failure of every request does not flood the log; how many were left out is said the next time. A failure that comes from
ever new lines is one by what was being done: no more than `SITES` are kept apart.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from sentry_sdk.integrations import logging as sentry_logging

logger: Final = logging.getLogger("sentry_sdk.errors.asgi")
sentry_logging.ignore_logger(logger.name)
with contextlib.suppress(AttributeError):  # which SDKs before Sentry's logs raise
    sentry_logging.ignore_logger_for_sentry_logs(logger.name)

QUIET: Final = 60.0
"""Seconds between two log records of one failure."""

SITES: Final = 200

_last: dict[Any, tuple[float, int]] = {}


def log_failure(what: str) -> None:
    """Logs the exception that is being handled; `what` was being done. Never raises an Exception."""
    now = time.monotonic()
    site = _site(what)
    logged, left_out = _last.get(site, (-QUIET, 0))
    if now - logged < QUIET:
        _last[site] = (logged, left_out + 1)
        return
    _last[site] = (now, 0)
    more = f" ({left_out} more like it were not logged)" if left_out else ""
    try:
        logger.exception("sentry-asgi: %s failed%s; the application is not affected", what, more)
    except Exception:  # a log handler of the user's; there is nobody left to tell
        pass


def _site(what: str) -> Any:
    """What was being done, where the exception that is being handled was raised, and of what type it is."""
    kind, _, traceback = sys.exc_info()
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return what
    site = what, kind, traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
    return site if site in _last or len(_last) < SITES else what


@contextlib.contextmanager
def if_possible(
    what: str, make: Callable[[], contextlib.AbstractContextManager[Any]]
) -> Iterator[None]:
    """A context manager that may fail to begin or to end: it is logged, and the block runs all the same."""
    stack = contextlib.ExitStack()
    try:
        stack.enter_context(make())
    except Exception:
        log_failure(what)
    try:
        yield
    finally:
        try:
            stack.close()
        except Exception:
            log_failure(what)
