"""What the servers of the matrix serve: the Starlette application, reporting to where SENTRY_DSN says."""

from __future__ import annotations

import os

import sentry_sdk

from sentry_asgi import SentryMiddleware

from .apps import starlette

sentry_sdk.init(dsn=os.environ["SENTRY_DSN"])
app = SentryMiddleware(starlette.make("STARTUP_FAILS" in os.environ), transaction_style="route")
