"""One failure, one event, whoever reports it.

Within a connection every error event passes its event processor: the app's own `capture_exception`, the logging
integration's, other integrations', ours. The first to report an exception is let through; what repeats it is not.

The rules:

- Reported with an exception are those that its event shows (`chains`); repeated is also what was raised in place of a
  reported one, and a group of nothing but reported ones. A log record may tell of one in words (`records`).
- The connection holds what was reported, the last few, and lets go at its end. What servers log later is known by a
  mark (`echoes`).
- What the libraries of GraphQL, JSON-RPC and MCP raise and log of their callers' mistakes is no failure, whoever
  reports it, but for the application itself.
- A failing response may carry the event's id; whatever event then reports the failure gets that id.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Final

from sentry_asgi._frameworks import disconnects, rpc
from sentry_asgi._python.exceptions import is_a, leaves_of, part_of
from sentry_asgi._python.in_app import library
from sentry_asgi._python.locks import Lock
from sentry_asgi._sdk import events

from .budget import raise_site
from .chains import all_of, same_failure
from .echoes import left_within
from .records import asked_for, exception_of, repeats, told_in_words
from .swallowed import Failure, passed, passes_application

OVER: Final = ("the connection is over",)
"""What a connection has reported when nothing more is noted of it."""

KEPT: Final = 64
HEADER: Final = b"x-sentry-event-id"
_reporting: Final = Lock()
"""Held where a failure is handled: threads of one request may report the same one at once."""


def first_report(exchange: Any, event: dict[str, Any], hint: dict[str, Any]) -> bool:
    """Whether this event is to be sent; from now on, what it reports is known."""
    exception = exception_of(hint)
    if exception is None:
        exception = told_in_words(exchange, event, hint)
    if exchange.reported is OVER:
        return True
    if exception is None:
        return not (exchange.reported and repeats(hint))
    with _reporting:
        return _is_first(exchange, exception, event)


def _is_first(exchange: Any, exception: BaseException, event: dict[str, Any]) -> bool:
    if disconnects.client_left(exchange, exception) and not asked_for(event):
        return False
    if is_known(exchange, exception) or (_is_no_failure(exception) and not asked_for(event)):
        return False
    failure = exchange.failure
    shown = all_of(exception)
    if failure is not None and any(one is failure.exception for one in shown):
        event["event_id"] = failure.event_id
    if exchange.reported is None:
        exchange.reported = deque(maxlen=KEPT)
    event_id = event.get("event_id", "")
    exchange.reported.extend((one, event_id) for one in shown)
    return True


def _is_no_failure(exception: Any) -> bool:
    """Whether a protocol's library, or who listens to it, tells of its caller's mistake, or of what is ignored."""
    if rpc.is_wrapper(exception) and (
        rpc.is_callers_mistake(exception) or events.is_ignored(rpc.looked_through(exception))
    ):
        return True
    return _is_refusal(exception)


def _is_refusal(exception: BaseException) -> bool:
    """Whether an MCP server's library itself refuses: an unknown tool, or arguments that a tool does not take."""
    chain = list(same_failure(exception))
    # Asked first: most failures are raised by the application.
    if not rpc.may_refuse(next(_owners(chain[-1]), "")):
        return False
    if any(passes_application(one) for one in chain):
        return False
    return any(map(rpc.is_mcp, _owners(exception)))


def _owners(exception: BaseException) -> Iterator[str]:
    """The libraries that an exception has passed, from where it was raised."""
    frames = reversed(list(passed(exception)))
    return (library(frame.f_code.co_filename) or "" for frame in frames)


def is_known(exchange: Any, exception: BaseException) -> bool:
    """Whether an exception has been reported, on this connection or on one within it."""
    return left_within(exchange, exception) or reported_as(exchange, exception) is not None


def reported_as(exchange: Any, exception: BaseException, depth: int = 0) -> str | None:
    """The id of the event that has reported this exception, or the failure that it is part of."""
    reported = exchange.reported
    if not reported:
        return None
    for one in same_failure(exception):
        for known, event_id in tuple(reported):  # threads of the request may be reporting, too
            if known is one:
                return str(event_id)
    members = leaves_of(exception) if is_a(exception, BaseExceptionGroup) and depth == 0 else None
    if not members:
        return None
    ids = [reported_as(exchange, member, depth + 1) for member in members]
    return ids[0] if None not in ids else None


def unreported(exchange: Any, exception: Exception) -> Exception:
    """An exception group without what has been reported of it; any other exception as it is."""
    if not is_a(exception, ExceptionGroup) or not exchange.reported:
        return exception
    rest: Exception | None = part_of(
        exception,
        lambda one: not is_a(one, BaseExceptionGroup) and reported_as(exchange, one) is None,
    )
    return exception if rest is None else rest


def with_event_id(message: Any, exchange: Any, failure: Failure) -> Any:
    """The message that starts a failing response, with the id of the event that reports the failure."""
    exception = failure.exception
    headers = message.get("headers", ())
    if exception is None and not exchange.settings.report_without:
        return message
    if not isinstance(headers, (list, tuple)):
        return message  # whatever it is, it may be there to be read once
    event_id = reported_as(exchange, exception) if exception is not None else None
    if exception is not None and event_id is None and not _is_granted(exchange, exception):
        return message
    header = (HEADER, (event_id or failure.event_id).encode())
    return {**message, "headers": [*headers, header]}


def _is_granted(exchange: Any, exception: BaseException) -> bool:
    """Whether the error budget has an event left for this one, which is then its own."""
    budget = exchange.settings.budget
    if budget is None:
        return True
    site = raise_site(exception)
    if not budget.spend(site, count=False):
        return False
    exchange.granted = site
    return True
