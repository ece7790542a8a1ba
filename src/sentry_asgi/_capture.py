"""An exception, made an event of and handed to the SDK's client.

Called where the exception is being handled, within the connection's scopes. Nothing here raises,
and nothing is done to the exception: its cause, context and traceback stay as they are.
"""

from __future__ import annotations

from typing import Any

import sentry_sdk

from ._failsafe import log_failure
from ._sdk import event_from_exception


def capture(exception: Exception) -> None:
    """Reports an exception that the application did not handle."""
    try:
        event: Any
        event, hint = event_from_exception(exception, {"type": "asgi", "handled": False})
        sentry_sdk.capture_event(event, hint=hint)
    except Exception:
        log_failure("capturing an exception")
