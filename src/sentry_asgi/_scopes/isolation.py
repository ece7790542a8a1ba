"""Each connection gets scopes of its own: an isolation scope and a current scope, fresh and lazy.

The rules:

- A connection's scopes start from the *process's* scopes, never from another connection's. Servers
  reuse contexts (a request on a kept-alive connection can start in the context of the one before), and
  handlers call apps in-process; a scope found there that belongs to a connection is looked through to
  the process's scope beneath it.
- Most requests never touch their scopes. So `LazyScopes` puts scopes in place that are filled when they are
  read (`lazy`).
- Whether lazy scopes work with the installed SDK is tried out at first use, by comparing a filled one
  with a fork of the SDK's. If they don't, `PublicScopes` does the same by public means, at once.
- What the process itself sets while it starts up (at import, in a lifespan handler) is on the process's
  scope, and so on every event. What a middleware further out sets is on its request alone (`process`).
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from sentry_sdk.scope import Scope, ScopeType, use_isolation_scope

from sentry_asgi._connection.request import Connection
from sentry_asgi._sdk import scopes

from .forks import isolation_fork, trace_of
from .here import public_connection
from .lazy import SLOTS, CurrentScope, IsolationScope, LazyScope, beneath
from .nesting import home, join, nestings, part
from .process import CURRENT, ISOLATION, starting
from .public import PublicScopes

logger: Final = logging.getLogger("sentry_asgi")


class Isolation(Protocol):
    """Gives connections their scopes. What `leave` needs, `enter` keeps in the connection's `outer`."""

    lazy: bool
    """Whether a span that is not sampled can wait until somebody asks for it."""

    def prepare(self) -> None:
        """Look at what the SDK has loaded; for a new client."""
        ...

    def enter(self, connection: Connection) -> bool:
        """Put a connection's scopes in force; return whether an ASGI middleware of the SDK's is around it."""
        ...

    def leave(self, connection: Connection) -> None: ...
    def use_client(self, client: Any) -> None:
        """Puts a client in force for the connection that was just entered."""
        ...

    def process(self) -> contextlib.AbstractContextManager[Callable[[], None]]:
        """For the lifespan: what is set within is the process's, until the value is called."""
        ...

    def process_scope(self) -> Scope | None:
        """The process's own scope; None where none is known."""
        ...


def isolation() -> Isolation:
    """The isolation to use with the installed SDK; the process's scope is the one in force here."""
    return _chosen()()


@functools.cache
def _chosen() -> Callable[[], Isolation]:
    if scopes.LAZY_SCOPES is not None and lazy_scopes_work():
        return LazyScopes
    logger.info(
        "lazy scopes do not work with this version of sentry_sdk; its public, slower scopes are used"
    )
    return PublicScopes


_new: Final[Any] = object.__new__


class LazyScopes:
    """Sets the SDK's context variables to scopes that are filled when they are first read."""

    lazy = True

    def __init__(self) -> None:
        assert scopes.LAZY_SCOPES is not None  # _chosen() asked
        assert ISOLATION is not None
        assert CURRENT is not None
        self._isolation, self._current, _ = scopes.LAZY_SCOPES
        self._isolations, self._currents = ISOLATION, CURRENT
        # Where a connection starts in a context without any scope, as in another thread, this is
        # the process's.
        self._home = home()
        self._nesting, self._nesting_of_wsgi = told = nestings()
        self._nestings = tuple(filter(None, told))

    def prepare(self) -> None:
        self._nesting, self._nesting_of_wsgi = told = nestings()
        self._nestings = tuple(filter(None, told))

    def enter(self, connection: Connection) -> bool:
        # The hot path: two objects, two context variables, nothing read.
        connection.outer = base = self._isolation.get()
        is_ambient = type(base) is Scope
        if self._nesting is not None and is_ambient and self._nesting.get(False):
            join(base, connection, self._nesting_of_wsgi)
            return True
        isolation: Any = _new(IsolationScope)
        nested = False
        if type(base) is self._isolations.view:
            base = self._isolations.taken(base)
        elif not is_ambient:  # a connection's, or none
            nested = base is not None
            base = beneath(base, self._isolations) if nested else self._at_home()
        isolation.asgi_base = base
        isolation.asgi_connection = connection
        current: Any = _new(CurrentScope)
        connection.outer_current = base = self._current.get()
        if type(base) is self._currents.view:
            base = self._currents.taken(base)
        elif base.__class__ is not Scope:
            base = beneath(base, self._currents)
        current.asgi_base = base
        current.asgi_connection = connection
        self._isolation.set(isolation)
        self._current.set(current)
        if not nested:
            for nesting in self._nestings:
                nesting.set(True)
        return False

    def _at_home(self) -> Scope:
        return Scope() if self._home is None else self._home.scope

    def use_client(self, client: Any) -> None:
        # Asked first is the current scope, if it has an active one.
        current: Any = self._current.get()
        base = current.asgi_base
        asked_first = base is not None and base.client.is_active()
        scope: Any = current if asked_first else self._isolation.get()
        scope.client = client

    def leave(self, connection: Connection) -> None:
        # Set back, not reset: a token would take memory for as long as the connection is open. But only
        # where the connection's own scope is in force: an abandoned coroutine can be closed in any context,
        # another connection's included.
        scope: Any = self._isolation.get()
        if scope.__class__ is IsolationScope and scope.asgi_connection is connection:
            outer = connection.outer
            self._isolation.set(outer)
            self._current.set(connection.outer_current)
            if self._nestings and not isinstance(outer, LazyScope):
                for nesting in self._nestings:
                    nesting.set(False)
        elif public_connection() is connection:
            part(self._nesting_of_wsgi)
        # Or each request of a kept-alive connection would keep the one before it alive.
        connection.outer = connection.outer_current = None

    @contextlib.contextmanager
    def process(self) -> Iterator[Callable[[], None]]:
        with starting(self._home) as started:
            yield started

    def process_scope(self) -> Scope | None:
        return None if self._home is None else self._home.scope


def lazy_scopes_work() -> bool:
    """Whether a lazy scope, filled, is what the SDK itself makes of the same base."""
    connection = Connection({"type": "http"})
    base = Scope(ty=ScopeType.ISOLATION)
    base.set_tag("sentry_asgi", "self-check")
    try:
        lazy: Any = _new(IsolationScope)
        lazy.asgi_base, lazy.asgi_connection = base, connection
        with use_isolation_scope(lazy):
            seen = Scope.get_isolation_scope() is lazy
            lazy.set_user({"id": "self-check"})
        fork = isolation_fork(base, connection)
        scopes.TRACE.__set__(fork, trace_of(connection))
        fork.set_user({"id": "self-check"})
        return seen and all(_same(getattr(lazy, slot), getattr(fork, slot)) for slot in SLOTS)
    except Exception:  # whatever a future SDK does: then it does not work
        logger.debug("the self-check of the lazy scopes failed", exc_info=True)
        return False


def _same(one: Any, other: Any) -> bool:
    # Of what the SDK does not compare by value, the type alone can tell.
    comparable = isinstance(one, (str, int, dict, type(None)))
    return type(one) is type(other) and (one == other or not comparable)
