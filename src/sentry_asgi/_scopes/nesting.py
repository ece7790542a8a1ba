"""Beside the SDK's own ASGI middlewares: they ask a context variable whether another is around them.

Within a connection they step aside. Where one of them is around, it has made the scopes and the span of this request,
and the connection reports in these.
"""

from __future__ import annotations

from typing import Any

from sentry_asgi._connection.request import Connection
from sentry_asgi._sdk import scopes
from sentry_asgi._sdk.diagnostics import log_failure

from .forks import add_description
from .here import connection_variable
from .process import Process, claim


def nestings() -> tuple[scopes.Nesting, scopes.Nesting]:
    try:
        return scopes.nestings()
    except Exception:
        log_failure("looking for the SDK's middlewares")
        return None, None


def is_nested(nesting: scopes.Nesting) -> bool:
    """Whether an ASGI middleware is around what runs here, as the SDK's tell each other."""
    return nesting is not None and nesting.get(False)


def join(scope: Any, connection: Connection, wsgi: scopes.Nesting) -> None:
    """Have a connection report in the scopes that the SDK's middleware further out has made for it."""
    connection.outer = connection.outer_current = None
    add_description(scope, connection)
    connection_variable.set(connection)
    if wsgi is not None:  # which has told its own kind alone to step aside
        wsgi.set(True)


def part(wsgi: scopes.Nesting) -> None:
    """Undo what `join` has put into the context."""
    connection_variable.set(None)
    if wsgi is not None:
        wsgi.set(False)


def home() -> Process | None:
    """Return the process's scope that is in force here; None if the SDK does not tell."""
    try:
        return None if is_nested(nestings()[0]) else claim()
    except Exception:  # an app is not to fail to start because of it
        log_failure("looking for the process's scope")
        return None
