"""Sentry for any ASGI application: errors, with the request that caused them."""

from .middleware import SentryMiddleware

__all__ = ["SentryMiddleware", "__version__"]

__version__ = "1.0.0.dev0"
