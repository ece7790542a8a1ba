"""What type checkers must refuse: mypy and basedpyright complain of an ignore that is not needed."""

from __future__ import annotations

from sentry_asgi import SentryMiddleware
from sentry_asgi.executor import ContextPreservingExecutor
from sentry_asgi.privacy import Secrets
from sentry_asgi.testing import CapturedEvents

from .uses import typed, work

SentryMiddleware()  # type: ignore[call-arg]
SentryMiddleware("module:app")  # type: ignore[arg-type]
SentryMiddleware(typed, "route")  # type: ignore[call-arg]
SentryMiddleware(typed, nonsense=True)  # type: ignore[call-arg]
SentryMiddleware(typed, transaction_style="module")  # type: ignore[arg-type]
SentryMiddleware(typed, exclude=7)  # type: ignore[arg-type]
SentryMiddleware(typed, error_budget="many")  # type: ignore[arg-type]
SentryMiddleware(typed, secrets=["tenant"])  # type: ignore[arg-type]
Secrets(names=7)  # type: ignore[arg-type]


def refuses(executor: ContextPreservingExecutor, events: CapturedEvents) -> None:
    executor.submit(work, "1", b="x")  # type: ignore[arg-type]
    executor.submit(work, 1)  # type: ignore[call-arg]
    events.wait("2")  # type: ignore[arg-type]
