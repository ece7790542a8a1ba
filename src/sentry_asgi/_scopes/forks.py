"""What a connection's scope is filled with: a fork of the process's, the connection's event processors, its trace.

The rules:

- A connection's scopes start from the *process's* scopes, never from another connection's. Breadcrumbs of the process
  are left out, as the SDK leaves them out.
- The trace is the caller's; else that of the scope that the connection begins with; else a new one.
- What describes events is half of all there is to import: `import sentry_asgi` leaves it to the first middleware, whose
  self-check fills a scope. So the functions here import it.
"""

from __future__ import annotations

import functools
from typing import Any

from sentry_sdk.scope import Scope

from sentry_asgi._connection import request
from sentry_asgi._connection.request import Connection
from sentry_asgi._events.user import Untold
from sentry_asgi._sdk import scopes, spans
from sentry_asgi._sdk.diagnostics import log_failure

from .process import ISOLATION


def add_description(scope: Scope, connection: Connection) -> None:
    """Adds the connection's event processor for an isolation scope."""
    from sentry_asgi._events.event import describe  # noqa: PLC0415  # see the top

    processor: Any = functools.partial(describe, connection)
    scope.add_event_processor(processor)
    scopes.set_default_user(scope, Untold())


def add_protection(scope: Scope, connection: Connection) -> None:
    """Adds those for a current scope, which have to be the last."""
    from sentry_asgi._events.event import protect  # noqa: PLC0415  # see the top

    processor: Any = functools.partial(protect, connection)
    scope.add_event_processor(processor)
    write_plainly(scope)


def write_plainly(scope: Scope) -> None:
    from sentry_asgi._sdk.serializer import plain  # noqa: PLC0415  # see the top

    scope.add_event_processor(plain)


def isolation_fork(base: Scope, connection: Connection) -> Scope:
    """An ordinary isolation scope for one connection, filled from the process's, but for its trace."""
    fork = base.fork()
    if ISOLATION is None or ISOLATION.beneath(base) is base:
        fork.clear_breadcrumbs()  # they are the process's
        scopes.forget_name(fork)
    if getattr(connection, "session", False):
        scopes.SESSION.__set__(fork, None)  # the process's own, which is not to end with this
        fork.start_session(session_mode="request")
    add_description(fork, connection)
    _add_attributes(fork, connection)
    return fork


def _add_attributes(scope: Scope, connection: Connection) -> None:
    """Tell what each streamed span and log of a connection has, as the SDK's own middleware does."""
    trace: Any = getattr(connection, "trace", None)
    if trace is None or not trace.way.streams:
        return
    from sentry_asgi._events.segment import shared_attributes  # noqa: PLC0415  # see the top

    try:
        scope.set_attributes(shared_attributes(connection))
    except Exception:
        log_failure("describing streamed spans")


def take_session(scope: Scope, connection: Connection) -> None:
    """Have a connection count the session by which its filled scope keeps the score."""
    exchange: Any = connection
    session = scopes.SESSION.__get__(scope)
    if session is not None and getattr(connection, "session", False) is True:
        exchange.session = session


def trace_of(connection: Connection, base: Any = None) -> Any:
    """The trace that a connection continues, or begins: its caller's, or that of the scope that it begins with.

    Another tracer that the SDK follows has the first word: reports are in its trace while its span lasts, and so are
    those that come later.
    """
    incoming = spans.others_trace() or request.incoming_trace(connection)
    if incoming:
        try:
            return spans.continued_trace(incoming)
        except Exception:  # anybody can send anything in a header
            log_failure("continuing a trace")
    begun = ISOLATION.trace_of(base) if ISOLATION is not None else None
    return begun or spans.PropagationContext()
