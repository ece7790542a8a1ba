"""Taking over from the SDK's own Starlette and FastAPI integrations, which it enables by itself.

They read bodies ahead, match the route table a second time and add a middleware of their own around every app. All of
what they do asks the client in force first whether they are on. So:

- Within a connection the client in force is a double of the SDK's: the same state, but these two are off. Nothing is
  patched, other apps of the process do not notice, and what the integrations have built into Starlette's classes
  passes through.
- With `app.add_middleware(SentryMiddleware)` they ask before the connection comes here, and have replaced this
  class's `__call__`. That is put back, and while such a middleware lives, they are off for the process's client.
- An integration that the user has passed to `init(integrations=[...])` is the user's wish, and stays.
"""

from __future__ import annotations

import weakref
from typing import Any, Final

from ._sdk import CAN_TAKE_OVER

_REPLACED_BY: Final = "sentry_sdk.integrations.starlette"
TAKEN_OVER: Final = ("starlette", "fastapi")


def aside(client: Any) -> list[str]:
    """The client's integrations that stand aside: those that it has enabled by itself."""
    if not CAN_TAKE_OVER:
        return []
    wished = {one.identifier for one in client.options.get("integrations") or ()}
    return [name for name in TAKEN_OVER if name in client.integrations and name not in wished]


def double(client: Any) -> Any | None:
    """The client, but for the integrations that stand aside; None if none does."""
    names = frozenset(aside(client))
    if not names:
        return None

    kind: Any = type(client)

    def get_integration(self: Any, name_or_class: Any) -> Any:
        name = getattr(name_or_class, "identifier", name_or_class)
        return None if name in names else kind.get_integration(self, name_or_class)

    changes = {"get_integration": get_integration, "asgi_original": client}
    made: Any = object.__new__(type(kind.__name__, (kind,), changes))
    made.__dict__ = client.__dict__  # one state, whoever changes it
    return made


def original(client: Any) -> Any:
    """The client that one in force in some connection is the double of."""
    return getattr(client, "asgi_original", client)


def put_back(middleware: Any, method: Any) -> bool:
    """Puts a middleware class's own `__call__` back; whether the SDK had replaced it."""
    replaced = bool(middleware.__call__.__module__ == _REPLACED_BY)
    if replaced and middleware.__call__ is vars(middleware).get("__call__"):
        middleware.__call__ = method
    return replaced


def switch_off(client: Any, middleware: Any) -> None:
    """Off for the whole client, as long as the middleware lives."""
    integrations = client.integrations
    off = {name: integrations.pop(name) for name in aside(client)}
    if off:
        weakref.finalize(middleware, _switch_on, integrations, off).atexit = False


def _switch_on(integrations: dict[str, Any], off: dict[str, Any]) -> None:
    for name, integration in off.items():
        integrations.setdefault(name, integration)
