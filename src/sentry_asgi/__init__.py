"""Sentry for any ASGI application: errors, with the request that caused them."""

from ._isolation import detached
from .middleware import SentryMiddleware

__all__ = ["SentryMiddleware", "__version__", "detached"]

__version__ = "1.0.0.dev0"
