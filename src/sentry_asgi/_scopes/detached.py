"""Out of a connection's scopes again, or out of its session."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sentry_sdk.scope import Scope, ScopeType, use_isolation_scope, use_scope

from sentry_asgi._sdk import scopes

from .here import connection_variable
from .lazy import beneath
from .process import ISOLATION
from .public import process_scope_variable, reset


@contextlib.contextmanager
def sessionless(scope: Scope | None = None) -> Iterator[None]:
    """While it lasts, what is reported counts for no session, with what this or the scope in force has set."""
    fork = (scope or Scope.get_isolation_scope()).fork()
    scopes.SESSION.__set__(fork, None)
    with use_isolation_scope(fork):
        yield


@contextlib.contextmanager
def detached() -> Iterator[None]:
    """What runs or is started within belongs to no request: tasks, threads that carry the context, reports.

    For work that outlives the request in which it happens to be started: a pool, a cache's refresher, a
    consumer. Its events carry what the process has set, and nothing of the request.
    """
    scope = Scope.get_isolation_scope()
    process = scope if ISOLATION is None else beneath(scope, ISOLATION)
    base = process_scope_variable.get() or process or Scope()
    fork = base.fork()
    fork.clear_breadcrumbs()
    fork.set_new_propagation_context()
    token = connection_variable.set(None)
    try:
        with use_isolation_scope(fork), use_scope(Scope(ty=ScopeType.CURRENT)):
            yield
    finally:
        reset(connection_variable, token)
