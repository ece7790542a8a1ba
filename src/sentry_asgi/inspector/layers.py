"""What an ASGI application is wrapped in, from the outside in.

The rules:

- Only what can be seen without calling anything is reported: attributes by which middlewares are
  known to keep what they wrap, and the lists that Starlette's and Litestar's applications keep.
- Frameworks' applications end the walk: what is beneath them is theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sentry_asgi import SentryMiddleware, Watch

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
        listed = listed_middleware(app)
        if listed is not None:
            yield from _listed(listed)
            return
        inner = next((found for name in _INNER if callable(found := _facts(app).get(name))), None)
        if inner is None:
            return
        app = inner


def listed_middleware(app: Any) -> list[Any] | None:
    """The list of its middleware that a framework's application keeps; None if it keeps none."""
    for name in ("user_middleware", "middleware"):  # Starlette's and Litestar's
        listed = getattr(app, name, None)
        if isinstance(listed, list):
            return listed
    return None


def _listed(middleware: list[Any]) -> Iterator[Layer]:
    for one in middleware:
        cls = getattr(one, "cls", None) or getattr(one, "middleware", one)
        if isinstance(cls, type):
            yield Layer(cls, one, dict(getattr(one, "kwargs", {})))


def takes_over(layer: Layer) -> bool:
    """Whether this SentryMiddleware stands in for the SDK's own integrations."""
    known = isinstance(layer.thing, SentryMiddleware)
    return bool(layer.thing._take_over if known else layer.options.get("take_over", True))  # noqa: SLF001


def trusted_hops(layer: Layer) -> int:
    """How many proxies this SentryMiddleware trusts."""
    known = isinstance(layer.thing, SentryMiddleware)
    return int(
        layer.thing._settings.trusted_hops if known else layer.options.get("trusted_hops", 0)  # noqa: SLF001
    )


def watch(layer: Layer) -> Watch | None:
    """What this SentryMiddleware watches beside errors."""
    known = isinstance(layer.thing, SentryMiddleware)
    found = layer.thing._settings.watch if known else layer.options.get("watch", Watch())  # noqa: SLF001
    return found if isinstance(found, Watch) else None


def _facts(app: Any) -> dict[str, Any]:
    return dict(getattr(app, "__dict__", {}))
