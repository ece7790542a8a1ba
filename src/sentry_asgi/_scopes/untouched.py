"""The process's scopes stand in for a connection's while a span is sent, if nobody has touched the connection's.

To send a span, the SDK reads all of both scopes. Where the connection's stay unfilled, that is cheap for requests, and
small for a websocket that stays open.
"""

from __future__ import annotations

from typing import Any, Final

from sentry_sdk.scope import Scope, ScopeType

from sentry_asgi._connection.request import Connection
from sentry_asgi._sdk import scopes

from .forks import add_description, write_plainly
from .here import connection_variable
from .lazy import CurrentScope, IsolationScope, LazyScope, set_slots


class untouched:  # noqa: N801 - a context manager, and one of two lines is half the price of a generator
    """While it lasts, copies of the process's scopes stand in for a connection's, where nobody has touched these.

    What is written to the copies is lost. So this is for sending a span where no code but the SDK's gets to run; not
    where the process has event processors of its own. If it is for an `event`, the connection's own are there.
    """

    __slots__ = ("connection", "event", "found", "scopes")

    def __init__(self, connection: Connection, *, event: bool) -> None:
        self.connection = connection
        self.event = event
        self.found: Any = None
        self.scopes: tuple[Any, Any] | None = None

    def __enter__(self) -> None:
        if scopes.LAZY_SCOPES is None:
            return
        isolation: Any = scopes.LAZY_SCOPES.isolation.get()
        current: Any = scopes.LAZY_SCOPES.current.get()
        if not (
            _is_untouched(isolation, IsolationScope, self.connection)
            and _is_untouched(current, CurrentScope, self.connection)
        ):
            return
        outer, inner = isolation.asgi_base.fork(), (current.asgi_base or EMPTY_SCOPE).fork()
        outer.client, inner.client = isolation.client, current.client
        if self.event:
            if any(map(scopes.has_event_processors, (Scope.get_global_scope(), outer, inner))):
                return
            scopes.SESSION.__set__(outer, None)
            add_description(outer, self.connection)
            write_plainly(outer)
        self.scopes = (isolation, current)
        self.found = connection_variable.get()
        connection_variable.set(self.connection)  # whoever cleans what is sent finds it
        scopes.LAZY_SCOPES.isolation.set(outer)
        scopes.LAZY_SCOPES.current.set(inner)

    def __exit__(self, *_: object) -> None:
        if self.scopes is not None and scopes.LAZY_SCOPES is not None:
            scopes.LAZY_SCOPES.isolation.set(self.scopes[0])
            scopes.LAZY_SCOPES.current.set(self.scopes[1])
            connection_variable.set(self.found)


EMPTY_SCOPE: Final = Scope(ty=ScopeType.CURRENT)
"""A current scope in which nothing is, nor ever will be."""


def _is_untouched(scope: Any, kind: type[LazyScope], connection: Connection) -> bool:
    if scope.__class__ is not kind or scope.asgi_connection is not connection:
        return False
    return not set_slots(scope)[1]
