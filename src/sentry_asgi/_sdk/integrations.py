"""Taking over from the SDK's own integrations for Starlette, FastAPI and Sanic, which it enables by itself.

The first two read bodies ahead, match the route table a second time and add a middleware of their own around every
app; Sanic's makes a scope and a trace of its own for each request. All of what they do asks the client in force first
whether they are on. So:

- Within a connection the client in force is a double of the SDK's: the same state, but these are off. Nothing is
  patched, other apps of the process do not notice, and what the integrations have built into the frameworks' classes
  passes through.
- With `app.add_middleware(SentryMiddleware)` Starlette's ask before the connection comes here, and have replaced this
  class's `__call__`. That is put back, and while such a middleware lives, they are off for the process's client.
- An integration that the user has passed to `init(integrations=[...])` is the user's wish, and stays.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from .diagnostics import log_failure
from .spans import active_thread_is_here

_REPLACED_BY: Final = "sentry_sdk.integrations.starlette"
STARLETTES: Final = ("starlette", "fastapi")
TAKEN_OVER: Final = (*STARLETTES, "sanic")


def aside(client: Any, names: Iterable[str] = TAKEN_OVER) -> list[str]:
    """The client's integrations that stand aside: those that it has enabled by itself."""
    wished = {one.identifier for one in client.options.get("integrations") or ()}
    return [name for name in names if name in client.integrations and name not in wished]


def double(client: Any) -> Any | None:
    """The client, but for the integrations that stand aside; None if none does."""
    switched_off = _switched_off.get(id(client.integrations))
    names = frozenset(aside(client)).union(switched_off.off if switched_off else ())
    if not names:
        return None

    kind: Any = type(client)

    def get_integration(self: Any, name_or_class: Any) -> Any:
        name = getattr(name_or_class, "identifier", name_or_class)
        if name not in names:
            return kind.get_integration(self, name_or_class)
        _tell_thread()
        return None

    changes = {"get_integration": get_integration, "asgi_original": client}
    made: Any = object.__new__(type(kind.__name__, (kind,), changes))
    made.__dict__ = client.__dict__  # one state, whoever changes it
    return made


def _tell_thread() -> None:
    """Tell the span and the profile which thread the endpoint runs in.

    Around a `def` endpoint, Starlette's integration asks in the endpoint's own thread whether it is on, and would do
    this.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # it runs in a thread
        pass
    else:
        return
    try:
        active_thread_is_here()
    except Exception:
        log_failure("naming the thread of an endpoint")


def original(client: Any) -> Any:
    """The client that one in force in some connection is the double of."""
    return getattr(client, "asgi_original", client)


_own_calls: Final[weakref.WeakKeyDictionary[type, Any]] = weakref.WeakKeyDictionary()


def remember_call(middleware: type) -> None:
    """Remember the `__call__` of a middleware class, before the SDK's Starlette integration puts one around it."""
    _own_calls[middleware] = middleware.__call__


def restore_call(middleware: Any) -> bool:
    """Put a middleware class's own `__call__` back; return whether the SDK had replaced it."""
    replaced = bool(middleware.__call__.__module__ == _REPLACED_BY)
    if replaced and middleware.__call__ is vars(middleware).get("__call__"):
        middleware.__call__ = _own_calls[middleware]
    return replaced


class _Off(NamedTuple):
    """Integrations of a client that are off, and the middlewares that want it so, by their ids."""

    integrations: dict[str, Any]
    off: dict[str, Any]
    users: set[int]


_switched_off: Final[dict[int, _Off]] = {}
"""By the id of a client's integrations."""


def switch_off(client: Any, middleware: Any) -> None:
    """Off for the whole client, as long as one of the middlewares lives that want it so."""
    integrations = client.integrations
    found = _switched_off.get(id(integrations))
    off = {name: integrations.pop(name) for name in aside(client, STARLETTES)}
    if found is None:
        if not off:
            return
        found = _switched_off[id(integrations)] = _Off(integrations, off, set())
    found.off.update(off)
    if id(middleware) not in found.users:
        found.users.add(id(middleware))
        weakref.finalize(middleware, _switch_on, found, id(middleware)).atexit = False


def _switch_on(switched: _Off, user: int) -> None:
    switched.users.discard(user)
    if switched.users:
        return
    for name, integration in switched.off.items():
        switched.integrations.setdefault(name, integration)
    _switched_off.pop(id(switched.integrations), None)
