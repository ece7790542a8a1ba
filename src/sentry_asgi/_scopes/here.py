"""Where code runs: in which connection, in which trace. Whoever asks changes nothing by it, and fills no scope.

A lazy scope names its connection, and is in force in the contexts of child tasks and worker threads, too. Where there
is none, as with the SDK's public scopes or within its own ASGI middleware, a context variable names it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Any, Final

from sentry_sdk.scope import Scope

from sentry_asgi._connection.request import Connection
from sentry_asgi._sdk import clients, scopes, spans

from .lazy import IsolationScope, LazyScope, active_span

connection_variable: ContextVar[Connection | None] = ContextVar(
    "sentry_asgi_connection", default=None
)


# What `connection_here` looks at, for who looks often enough to do without the call.
RequestScope: Final = IsolationScope
scope_here: Final[Callable[[], Any]] = (
    scopes.LAZY_SCOPES.isolation.get if scopes.LAZY_SCOPES else connection_variable.get
)
public_connection: Final = connection_variable.get


def watching(someone: Any) -> None:
    """From now on, in this context, what leaves the application's frames in no connection is noted by `someone`."""
    connection_variable.set(someone)


def connection_here() -> Connection | None:
    """The connection in whose context this runs, its child tasks and worker threads included; it may have ended."""
    scope = scopes.LAZY_SCOPES.isolation.get() if scopes.LAZY_SCOPES else None
    if isinstance(scope, LazyScope):
        return scope.asgi_connection
    return connection_variable.get()


def connection_of(context: Context) -> Connection | None:
    """The same for a context, which may be in use by another thread."""
    scope = context.get(scopes.LAZY_SCOPES.isolation) if scopes.LAZY_SCOPES else None
    if isinstance(scope, LazyScope):
        return scope.asgi_connection
    return context.get(connection_variable)


def trace_here() -> tuple[str, str]:
    """The ids of the trace and the span that an event would tell which is made here, in a connection's context.

    Nothing changes by it: no scope is filled, no span started. Where nobody has asked for the request's own span yet,
    the id is the one that the trace has for events outside of any span. Empty where the SDK tells none.
    """
    current: Any = Scope.get_current_scope()
    # Where tracing is off, events tell no span though one may be active.
    span = None if spans.trace_lifecycle(clients.options()) == "off" else active_span(current)
    if span is not None and not spans.is_no_span(span):
        return span.trace_id, span.span_id
    external: tuple[str, str] | None = spans.external_trace()
    if external:
        return external
    trace = scopes.trace_set_on(current)
    if trace is None:
        trace = Scope.get_isolation_scope().get_active_propagation_context()
    return ("", "") if trace is None else (trace.trace_id, trace.span_id)
