"""What an event is told of the failure that it reports: whether it is the first to, how far the response had come, how
late it is. Part of the connection's event processor.

The rules:

- What an integration calls unhandled, though its framework answers it, is handled (`_answered`), as it is without the
  integration.
- Error events alone; what the app has put into `contexts.asgi` itself stays.
- Work that a request started can outlive it, and its reports carry that request still; they say how long ago it had
  ended.
"""

from __future__ import annotations

from typing import Any

from . import _once
from ._answered import is_answered
from ._exchange import Exchange, now
from ._request import Connection


def first_report(connection: Connection, event: dict[str, Any], hint: dict[str, Any]) -> bool:
    """Whether an event is to be sent; if so, what is known of the failure is on it."""
    if not isinstance(connection, Exchange) or event.get("type") not in (None, "event"):
        return True
    if not _once.first_report(connection, event, hint):
        return False
    _tell_handled(connection, event)
    if connection.reported is _once.OVER:
        seconds = round(now() - (connection.closed_at or now()), 3)
        _context(event).update({"phase": "after response", "seconds_after_request": seconds})
    elif event.get("exception"):
        _context(event).setdefault("phase", connection.phase)
    return True


def _tell_handled(connection: Exchange, event: dict[str, Any]) -> None:
    for value in (event.get("exception") or {}).get("values") or ():
        mechanism = value.get("mechanism") or {}
        if mechanism.get("handled") is False and is_answered(
            mechanism.get("type"), connection.settings.app
        ):
            mechanism["handled"] = True


def _context(event: dict[str, Any]) -> dict[str, Any]:
    context: dict[str, Any] = event.setdefault("contexts", {}).setdefault("asgi", {})
    return context
