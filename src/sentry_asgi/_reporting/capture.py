"""An exception, made an event of and handed to the SDK's client, or counted, if its raise site has used up its budget.

Called within the connection's scopes, when the app has returned or raised: its client has its response by then.
Nothing here raises, and nothing is done to the exception: its cause, context and traceback stay as they are.
"""

from __future__ import annotations

import asyncio
import functools
from logging import LogRecord
from typing import Any

import sentry_sdk
from sentry_sdk.scope import add_global_event_processor

from sentry_asgi._connection.exchange import Exchange, handling, now
from sentry_asgi._connection.naming import name_and_source
from sentry_asgi._failures import dedupe, echoes
from sentry_asgi._failures.budget import Site, capture_within, raise_site
from sentry_asgi._failures.swallowed import Failure, with_traceback
from sentry_asgi._frameworks import disconnects
from sentry_asgi._frameworks.handled import is_answered_outside
from sentry_asgi._python.exceptions import is_a, leaves_of, part_of, texts_kept, traceback_of
from sentry_asgi._scopes import sessions
from sentry_asgi._scopes.here import connection_here
from sentry_asgi._sdk import clients, events
from sentry_asgi._sdk.diagnostics import log_failure


def raised(exchange: Exchange, exception: Any) -> None:
    """The app let an exception out."""
    try:
        with texts_kept():
            if not _is_noise(exchange, exception) and not _is_answered(exchange, exception):
                failure = exchange.failure
                # One that the response told of was there before it, though the response is complete by now.
                phase = exchange.phase
                if failure is not None and failure.exception is exception:
                    phase = failure.phase
                _capture(exchange, exception, phase, handled=False)
            echoes.mark_reported(exception, exchange)
    except Exception:
        log_failure("capturing an exception")


def interrupted(exchange: Exchange, exception: Any) -> None:
    """The app let out what is no `Exception`; of a group, those that are one are failures."""
    if is_a(exception, asyncio.CancelledError):
        _cancelled(exchange, exception)
    if not is_a(exception, BaseExceptionGroup):
        return
    try:
        leaves = leaves_of(exception)
        if leaves is None or any(is_a(one, Exception) for one in leaves):
            failures = part_of(exception, lambda one: is_a(one, Exception))
            exchange.ending, exchange.closed_at = "raised", now()
            raised(exchange, failures)
            echoes.mark_reported(exception, exchange)  # which is what the server will log
    except Exception:  # of a group that derives others in a way of its own
        log_failure("looking into a group of exceptions")


def _cancelled(exchange: Exchange, exception: Any) -> None:
    """Report a request that the server cancels after it has sent nothing for long."""
    watch = exchange.settings.watch
    if watch is None or watch.stuck_after is None or exchange.first_byte_at is not None:
        return
    if exchange.client_left or now() - exchange.started_at < watch.stuck_after:
        return
    try:
        from sentry_asgi._watch import watches  # noqa: PLC0415  # imported with the first request

        watches.cancelled(exchange, watch.stuck_after, traceback_of(exception))
    except Exception:
        log_failure("telling of a cancelled request")


def _is_noise(exchange: Exchange, exception: Exception) -> bool:
    """Whether it says no more than that the client has left; in doubt, it is reported."""
    try:
        return disconnects.client_left(exchange, exception)
    except Exception:
        log_failure("checking whether the client has left")
        return False


def _is_answered(exchange: Exchange, exception: Exception) -> bool:
    """Whether a framework further out makes a response of it that tells of no failure; in doubt, it is reported."""
    try:
        return is_answered_outside(exception, exchange.settings.failing)
    except Exception:
        log_failure("looking for who answers an exception")
        return False


def returned(exchange: Exchange) -> None:
    """The app returned, but its response, or the websocket's close, told of a failure."""
    try:
        failure: Any = exchange.failure
        if failure.exception is None:
            _report_without_exception(exchange, failure)
        elif not _is_noise(exchange, failure.exception):
            with with_traceback(failure):
                _capture(exchange, failure.exception, failure.phase, handled=True)
    except Exception:
        log_failure("capturing an exception")


def within(exchange: Exchange) -> None:
    """What was found in an answer that tells of no failure is reported, each once."""
    pending, exchange.within.pending = exchange.within.pending, []
    for failure in pending:
        try:
            if not _is_noise(exchange, failure.exception):
                with texts_kept(), with_traceback(failure), handling(exchange, failure.message):
                    _capture(exchange, failure.exception, failure.phase, handled=True, rpc=failure)
        except Exception:
            log_failure("capturing an exception")


def _capture(
    exchange: Exchange, exception: Exception, phase: str, *, handled: bool, rpc: Any = None
) -> None:
    exception = dedupe.unreported(exchange, exception)
    if events.is_ignored(exception):
        return
    if dedupe.is_known(exchange, exception):
        if not handled:
            sessions.crashed(exchange)
        return
    site = raise_site(exception) if exchange.settings.budget is not None else ()
    if not _may_send(exchange, site):
        sessions.failed(exchange, crashed=not handled)
        return
    event: Any
    event, hint = _event_from(exception, {"type": "asgi", "handled": handled})
    event["contexts"] = {"asgi": {"phase": phase}}
    if rpc is not None:
        event["contexts"]["rpc"] = {**rpc.facts, "call": rpc.call}
    capture_within(exchange.settings.budget, site, event, hint)


def _event_from(exception: BaseException, mechanism: Any) -> Any:
    from sentry_asgi._stacktrace.traceback import event_from  # noqa: PLC0415  # imported with the first middleware

    return event_from(exception, mechanism)


def _may_send(exchange: Exchange, site: Site) -> bool:
    """Whether the budget has an event left for this; if not, it is counted."""
    budget = exchange.settings.budget
    if budget is None or exchange.granted == site or budget.spend(site):
        return True
    clients.record_lost_error()
    return False


def _report_without_exception(exchange: Exchange, failure: Failure) -> None:
    """An event that names the status and the route, unless the app has reported something itself."""
    if not exchange.settings.report_without or exchange.reported:
        return
    name, _ = name_and_source(exchange) or ("a request", "")
    _, closed, _ = getattr(exchange, "close", None) or (None, None, None)
    what = f"closed with {closed}" if closed else f"answered with {exchange.status}"
    site = ("without exception", name, what)
    if not _may_send(exchange, site):
        return
    event: Any = {
        "event_id": failure.event_id,
        "level": "error",
        "message": f"{name} {what}",
        "contexts": {"asgi": {"phase": failure.phase}},
    }
    capture_within(exchange.settings.budget, site, event)


def close(exchange: Exchange) -> None:
    """What was reported is held no longer by the SDK either."""
    try:
        clients.forget(exception for exception, _ in exchange.reported)
    except Exception:
        log_failure("letting go of an exception")


def process_failed(exception: BaseException | None, message: str, *, handled: bool = False) -> None:
    """The app failed to start or to shut down."""
    try:
        event: Any = {"level": "error", "message": message}
        if exception is None:
            sentry_sdk.capture_event(event)
            return
        with texts_kept():
            event, hint = _event_from(exception, {"type": "asgi", "handled": handled})
            sentry_sdk.capture_event(event, hint=hint)
            echoes.mark_reported(exception)
    except Exception:
        log_failure("capturing an exception")


def _drop_echo(event: Any, hint: Any) -> Any:
    """An event processor of the whole process's; an exception of late work has its request described, too."""
    if _is_echo(event, hint):
        return None
    try:
        late = None if isinstance(connection_here(), Exchange) else echoes.late_work_of(hint)
        if late is not None and event.get("type") is None:
            from sentry_asgi._events.event import describe  # noqa: PLC0415  # see `_scopes.forks`

            return describe(late, event, hint)
    except Exception:
        log_failure("finding the request of a late error")
    return event


def _is_echo(event: Any, hint: Any) -> bool:
    try:
        here: Any = connection_here()
        return (here is None or here.reported is dedupe.OVER) and echoes.is_echo(event, hint)
    except Exception:
        log_failure("checking for a repeated report")
        return False


def _is_news(record: LogRecord) -> bool:
    """A filter of what the SDK's logging integration makes events of, before it makes them."""
    if _is_echo({}, {"exc_info": record.exc_info, "log_record": record}):
        return False
    try:
        from sentry_asgi._watch import lost  # noqa: PLC0415  # few records are errors

        return not lost.is_made_elsewhere(record)
    except Exception:
        log_failure("finding the request of a lost task")
        return True


@functools.cache
def drop_echoes() -> None:
    """From now on, a server's own record of what has been reported makes no event."""
    from sentry_asgi._stacktrace import traceback  # noqa: F401, PLC0415  # no failing request is to wait for the import

    add_global_event_processor(_drop_echo)


def drop_logged_echoes(client: Any) -> None:
    """The same, without the milliseconds that the event takes which is then dropped: each failure is logged."""
    clients.filter_logged_events(client, _is_news)
