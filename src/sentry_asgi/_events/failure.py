"""What an event is told of the failure that it reports: whether it is the first to, how far the response had come, how
late it is. Part of the connection's event processor.

The rules:

- What the SDK's ASGI middlewares report within the connection, they report before the exception arrives here; the
  event then shows it as one of ours does.
- What an integration calls unhandled, though its framework answers it, is handled (`handled`), as it is without the
  integration.
- Error events alone; what the app has put into `contexts.asgi` itself stays.
- Work that a request started can outlive it, and its reports carry that request still; they say how long ago it had
  ended.
"""

from __future__ import annotations

from typing import Any

from sentry_asgi._connection.exchange import Exchange, now
from sentry_asgi._connection.request import Connection
from sentry_asgi._failures import dedupe
from sentry_asgi._frameworks.handled import is_answered
from sentry_asgi._stacktrace.traceback import OURS, event_from


def admit(connection: Connection, event: dict[str, Any], hint: dict[str, Any]) -> bool:
    """Return whether an event is the first of its failure; if so, add what is known of the failure."""
    if not isinstance(connection, Exchange) or event.get("type") not in (None, "event"):
        return True
    if not dedupe.first_report(connection, event, hint):
        return False
    _show_as_ours(event, hint)
    _tell_handled(event)
    if connection.reported is dedupe.OVER and OURS not in (hint or {}):
        seconds = round(now() - (connection.closed_at or now()), 3)
        _context(event).update({"phase": "after response", "seconds_after_request": seconds})
    elif event.get("exception"):
        _context(event).setdefault("phase", connection.phase)
    return True


def _show_as_ours(event: dict[str, Any], hint: dict[str, Any] | None) -> None:
    exc_info = (hint or {}).get("exc_info")
    values = (event.get("exception") or {}).get("values") or [{}]
    mechanism = values[-1].get("mechanism") or {}
    if mechanism.get("type") != "asgi" or not isinstance(exc_info, tuple) or OURS in (hint or {}):
        return
    shown, _ = event_from(exc_info[1], {"type": "asgi", "handled": bool(mechanism.get("handled"))})
    event["exception"] = shown["exception"]


def _tell_handled(event: dict[str, Any]) -> None:
    values = (event.get("exception") or {}).get("values") or [{}]
    told = [value.get("mechanism") or {} for value in values]
    if told[-1].get("handled") is not False or not is_answered(told[-1].get("type")):
        return
    for mechanism in told:  # of causes and members it is `chained`
        mechanism["handled"] = True


def _context(event: dict[str, Any]) -> dict[str, Any]:
    context: dict[str, Any] = event.setdefault("contexts", {}).setdefault("asgi", {})
    return context
