"""What goes wrong in here, or in the SDK beneath, is logged and never the application's problem.

It goes to the logger `sentry_sdk.errors.asgi`: beneath the one of the SDK's own failures, which is silent
unless the SDK's `debug` is on; a monitoring tool that fails should say so without being asked. Sentry's
logging integration is told to leave it alone. Each kind of failure is logged at most once in `QUIET` seconds, so that a
failure of every request does not flood the log; how many were left out is said the next time.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import Final

from sentry_sdk.integrations import logging as sentry_logging

logger: Final = logging.getLogger("sentry_sdk.errors.asgi")
sentry_logging.ignore_logger(logger.name)
with contextlib.suppress(AttributeError):  # which SDKs before Sentry's logs raise
    sentry_logging.ignore_logger_for_sentry_logs(logger.name)
getattr(sentry_logging, "ignore_logger_for_events", str)(logger.name)  # what SDK 3 calls the first

QUIET: Final = 60.0
"""Seconds between two log records of one kind."""

_last: dict[str, tuple[float, int]] = {}


def log_failure(what: str) -> None:
    """Logs the exception that is being handled; `what` was being done. Never raises an Exception."""
    now = time.monotonic()
    logged, left_out = _last.get(what, (-QUIET, 0))
    if now - logged < QUIET:
        _last[what] = (logged, left_out + 1)
        return
    _last[what] = (now, 0)
    more = f" ({left_out} more like it were not logged)" if left_out else ""
    try:
        logger.exception("sentry-asgi: %s failed%s; the application is not affected", what, more)
    except Exception:  # a log handler of the user's; there is nobody left to tell
        pass
