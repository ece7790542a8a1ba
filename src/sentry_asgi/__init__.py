"""Sentry for any ASGI application."""

__version__ = "1.0.0.dev0"
