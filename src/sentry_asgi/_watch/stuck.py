"""Requests that have sent nothing for long, found among the tasks of a loop.

The rules:

- No registry: a task's context tells its request. Looked at from the watching thread, every few seconds.
- Stuck is a request whose response has not begun: no stream, and no websocket that has been accepted.
- What is said of one is found in the loop's own thread and in the request's own context, once for each request.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextvars import Context
from typing import Any, Final

from sentry_asgi._connection.exchange import Exchange, now
from sentry_asgi._python.tasks import context_of, tasks_of
from sentry_asgi._scopes.here import connection_of
from sentry_asgi._sdk.diagnostics import log_failure

from . import reports
from .chain import Link, chain
from .samples import is_middleware

AT_ONCE: Final = 50
"""Stuck requests that one look tells of; those that are left, the next does."""

Told = dict[int, float]
"""By a request's id, when it began: a request that has been told of."""


def look(watch: Any, limit: float, told: Told) -> None:
    """Tell of each request that is stuck and has not been told of."""
    found: dict[int, tuple[Exchange, Context, list[Any]]] = {}
    for task, context, exchange in _open(watch.loop()):
        if exchange.first_byte_at is None and now() - exchange.started_at >= limit:
            found.setdefault(id(exchange), (exchange, context, []))[2].append(task)
    for key in [key for key in told if key not in found]:
        del told[key]
    loop: Any = watch.loop()
    news = [one for key, one in found.items() if told.get(key) != one[0].started_at]
    if loop is None:
        return
    for exchange, context, tasks in news[:AT_ONCE]:
        told[id(exchange)] = exchange.started_at
        tell = functools.partial(_tell, watch, exchange, tasks, limit)
        try:
            loop.call_soon_threadsafe(tell, context=context)
        except RuntimeError:  # it has been closed
            return


def _tell(watch: Any, exchange: Exchange, tasks: list[Any], limit: float) -> None:
    """Say where a request waits, if it still does. In the loop's thread, in the request's context."""
    try:
        if exchange.first_byte_at is None and exchange.ending is None:
            reports.stuck(watch, exchange, _where(tasks), limit)
    except Exception:
        log_failure("telling of a stuck request")


def _where(tasks: list[Any]) -> list[Link]:
    """Where the task waits that the server has made for the request; of several, that is the one of the middleware."""
    chains = [chain(task) for task in tasks if not task.done()]
    return next((one for one in chains if one and is_middleware(one[0])), next(iter(chains), []))


def _open(loop: Any) -> Iterator[tuple[Any, Context, Exchange]]:
    """The tasks of a loop that belong to requests that are not over."""
    for task in () if loop is None else tasks_of(loop):
        context = context_of(task)
        connection = None if context is None else connection_of(context)
        if context is not None and isinstance(connection, Exchange) and connection.ending is None:
            yield task, context, connection


def is_any_open(loop: Any) -> bool:
    return next(_open(loop), None) is not None


def waiting(loop: Any, block: Any) -> int:
    """How many requests wait that are not the one that blocks."""
    culprit = block.culprit
    own = culprit.exchange if culprit is not None else None
    return len({id(exchange) for _, _, exchange in _open(loop) if exchange is not own})
