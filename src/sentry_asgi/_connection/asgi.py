"""How to call an application: as ASGI 3, as ASGI 2, or by trying.

ASGI 3 apps are called once, `await app(scope, receive, send)`; ASGI 2 apps twice,
`await app(scope)(receive, send)` (ASGI specification, "Legacy Applications"). Whether a function is
`async def` tells nothing: a plain `def`, a partial or a class may return an awaitable. So:

- what can take three positional arguments, and not one alone, is ASGI 3;
- what can take one, and not three, is ASGI 2;
- what takes either, or hides its signature, is called with three, and what comes back decides:
  an awaitable is ASGI 3. If nothing awaitable comes back, or the call itself is refused with a
  TypeError, and a call with the scope alone gives a callable, it is ASGI 2. The answer is kept.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, cast

Scope: TypeAlias = Any
Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]
App: TypeAlias = Callable[..., Any]


def as_asgi3(app: App) -> App:
    """What serves `app` when it is called as ASGI 3; an ASGI 3 app itself, with nothing around it."""
    three, one = _takes(app, 3), _takes(app, 1)
    if three and not one:
        return app
    if one and not three:
        return _Double(app)
    return _Undecided(app)


def _takes(app: App, count: int) -> bool:
    try:
        inspect.signature(app).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # no signature to be had, as for some C callables
        return True
    return True


class _Double:
    """An ASGI 2 app, called as ASGI 3."""

    __slots__ = ("app",)

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        return await self.app(scope)(receive, send)


class _Undecided:
    """An app whose signature does not tell; `serve` is what it was found to be."""

    __slots__ = ("app", "serve")

    def __init__(self, app: App) -> None:
        self.app = app
        self.serve: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        if self.serve is not None:
            return await self.serve(scope, receive, send)
        try:
            result: Any = self.app(scope, receive, send)
        except TypeError:
            refused: App | None = self._asgi2_instance(scope)
            if refused is None:
                raise
            return await refused(receive, send)
        if inspect.isawaitable(result):
            self.serve = self.app
            return await result
        instance: App | None = result if callable(result) else self._asgi2_instance(scope)
        if instance is None:
            return await cast(
                "Any", result
            )  # which raises the TypeError that the server would have seen
        self.serve = _Double(self.app)
        return await instance(receive, send)

    def _asgi2_instance(self, scope: Scope) -> App | None:
        try:
            instance: Any = self.app(scope)
        except TypeError:
            return None
        if inspect.iscoroutine(instance):
            instance.close()
            return None
        if not callable(instance):
            return None
        self.serve = _Double(self.app)
        found: App = instance
        return found
