"""What an ASGI application is wrapped in, from the outside in.

The rules:

- Only what can be seen without calling anything is reported: attributes by which middlewares are
  known to keep what they wrap, and the list that a Starlette application keeps.
- Frameworks' applications end the walk: what is beneath them is theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

_INNER = ("app", "_app", "asgi_app", "_asgi_app", "application", "inner")
_MOST = 50


@dataclass(frozen=True, slots=True)
class Layer:
    """A middleware, or at the end the application; `options` are a middleware's own."""

    type: type
    thing: Any
    options: dict[str, Any]

    @property
    def name(self) -> str:
        """Its class, or the function's name."""
        name = getattr(self.thing, "__qualname__", None)
        return name if isinstance(name, str) else self.type.__qualname__


def layers(app: Any) -> list[Layer]:
    """All of them, the outermost first; at most 50, for there may be circles."""
    return list(islice(_layers(app), _MOST))


def _layers(app: Any) -> Iterator[Layer]:
    while True:
        yield Layer(type(app), app, _facts(app))
        listed = getattr(app, "user_middleware", None)
        if isinstance(listed, list):
            yield from _listed(listed)
            return
        inner = next((found for name in _INNER if callable(found := _held(app, name))), None)
        if inner is None:
            return
        app = inner


def _listed(middleware: list[Any]) -> Iterator[Layer]:
    for one in middleware:
        cls = getattr(one, "cls", None)
        if isinstance(cls, type):
            yield Layer(cls, one, dict(getattr(one, "kwargs", {})))


def _held(app: Any, name: str) -> Any:
    return _facts(app).get(name)


def _facts(app: Any) -> dict[str, Any]:
    return dict(getattr(app, "__dict__", {}))
