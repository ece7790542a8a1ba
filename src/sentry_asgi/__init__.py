"""Sentry for any ASGI application: errors, with the request that caused them.

The public names are imported, and the SDK with them, when they are asked for: the local Sentry and the
command line live in this package too and use neither, and would wait for them for an eighth (a fresh
install) to a half (no bytecode, and whatever else the SDK finds to import) of their start.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._connection.settings import Keep
    from ._scopes.detached import detached
    from ._watch.options import Watch
    from .middleware import SentryMiddleware
else:

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            home = import_module(f".{_HOMES[name]}", __name__)
        except AttributeError as error:
            # Let through, it would say no more than that there is no such name.
            raise ImportError(f"{name} cannot be imported: {error}") from error
        globals()[name] = value = getattr(home, name)
        return value


__all__ = ["Keep", "SentryMiddleware", "Watch", "__version__", "detached"]

__version__ = "1.0.0rc1"

_HOMES = {
    "Keep": "_connection.settings",
    "SentryMiddleware": "middleware",
    "Watch": "_watch.options",
    "detached": "_scopes.detached",
}
