"""Scopes by the SDK's public means alone, for an SDK in which the lazy ones do not work: slower, and as right.

Each connection gets whole scopes, forked at once. A context variable remembers the process's scope beneath them, from
which a connection that starts in the context of another begins.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar, Token
from typing import Any

from sentry_sdk.scope import Scope, ScopeType, use_isolation_scope, use_scope

from sentry_asgi._connection import request
from sentry_asgi._connection.request import Connection
from sentry_asgi._sdk import spans
from sentry_asgi._sdk.diagnostics import log_failure

from .forks import add_protection, isolation_fork, take_session
from .here import connection_variable
from .nesting import home, is_nested, join, nestings, part
from .process import starting

# In a connection's context, or one that it left behind: the process's scope beneath it.
process_scope_variable: ContextVar[Scope | None] = ContextVar(
    "sentry_asgi_process_scope", default=None
)


class PublicScopes:
    """The same by the SDK's public means alone: whole scopes for each connection, forked at once."""

    lazy = False

    def __init__(self) -> None:
        home()  # made here, it is in the context of all that starts from here
        self._lifespan_scope: Scope | None = None
        self._nesting, self._nesting_of_wsgi = nestings()

    def prepare(self) -> None:
        self._nesting, self._nesting_of_wsgi = nestings()

    def enter(self, connection: Connection) -> bool:
        base = process_scope_variable.get()
        if base is None and is_nested(self._nesting):
            join(Scope.get_isolation_scope(), connection, self._nesting_of_wsgi)
            return True
        base = base or self._lifespan_scope or Scope.get_isolation_scope()
        with contextlib.ExitStack() as stack:
            stack.callback(reset, process_scope_variable, process_scope_variable.set(base))
            stack.callback(reset, connection_variable, connection_variable.set(connection))
            isolation = isolation_fork(base, connection)
            take_session(isolation, connection)
            _continue_publicly(isolation, connection)
            stack.enter_context(use_isolation_scope(isolation))
            current = Scope(ty=ScopeType.CURRENT)
            add_protection(current, connection)
            stack.enter_context(use_scope(current))
            for nesting in (self._nesting, self._nesting_of_wsgi):
                if nesting is not None:
                    stack.callback(reset, nesting, nesting.set(True))
            connection.outer = stack.pop_all()
        return False

    def use_client(self, client: Any) -> None:
        Scope.get_current_scope().set_client(client)

    def leave(self, connection: Connection) -> None:
        if connection.outer is None:
            part(self._nesting_of_wsgi)
            return
        with contextlib.suppress(
            ValueError
        ):  # in another context than entered, which nobody can read any more
            connection.outer.close()

    @contextlib.contextmanager
    def process(self) -> Iterator[Callable[[], None]]:
        with starting(None) as started:
            self._lifespan_scope = process_scope_variable.get() or Scope.get_isolation_scope()
            with use_isolation_scope(self._lifespan_scope):
                yield started

    def process_scope(self) -> Scope | None:
        return self._lifespan_scope


def _continue_publicly(scope: Scope, connection: Connection) -> None:
    """As `trace_of`, by public means."""
    scope.set_new_propagation_context()
    try:
        incoming = spans.others_trace() or request.incoming_trace(connection)
        if incoming:
            scope.generate_propagation_context(incoming)
    except Exception:
        log_failure("continuing a trace")


def reset(variable: ContextVar[Any], token: Token[Any]) -> None:
    with contextlib.suppress(ValueError):  # as in leave()
        variable.reset(token)
