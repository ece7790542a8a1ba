"""Each public name, used as a typed application uses it. Nothing here is run: mypy, basedpyright, ty and pyrefly check it."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Future
from typing import Any, assert_type

from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope
from fastapi import FastAPI
from litestar import Litestar
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp

import sentry_asgi
from sentry_asgi import SentryMiddleware, detached
from sentry_asgi.executor import ContextPreservingExecutor
from sentry_asgi.logging import RequestFilter, request_facts
from sentry_asgi.privacy import FILTERED, Secrets, scrub
from sentry_asgi.testing import CapturedEvents, capture_events

# An application of one's own, with the types of asgiref and without any.


async def typed(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    raise ValueError


anything: Any = typed


class Typed:
    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        raise ValueError


assert_type(SentryMiddleware(typed), SentryMiddleware)
SentryMiddleware(Typed())
SentryMiddleware(anything)
SentryMiddleware(SentryMiddleware(typed))

# Wrapped, and handed to whoever takes an ASGI application.

for_starlette: ASGIApp = SentryMiddleware(Starlette())
for_servers: ASGI3Application = SentryMiddleware(typed)
SentryMiddleware(FastAPI())
SentryMiddleware(Litestar())

# As the frameworks add it.

Starlette(middleware=[Middleware(SentryMiddleware)])
Starlette(middleware=[Middleware(SentryMiddleware, transaction_style="route", error_budget=None)])
api = FastAPI(middleware=[Middleware(SentryMiddleware, trusted_hops=1)])
api.add_middleware(SentryMiddleware)
api.add_middleware(SentryMiddleware, exclude=["/health", "OPTIONS *"])
Litestar(middleware=[SentryMiddleware])

# The options.

SentryMiddleware(
    typed,
    transaction_style="endpoint",
    exclude=("/static/*",),
    websocket_message_spans=True,
    failed_request_status_codes={500, 503},
    report_5xx_without_exception=True,
    id_headers=True,
    take_over=False,
    error_budget=10,
    trusted_hops=2,
    secrets=Secrets(names=["tenant_code"], unless=["session_kind"], shapes=[r"acme_[a-z]{20}"]),
)

# The rest.

version: str = sentry_asgi.__version__
with detached():
    logging.getLogger().addFilter(RequestFilter())
assert_type(request_facts(), dict[str, str])
filtered: str = FILTERED
assert_type(scrub({"password": "x"}), dict[str, str])


def work(a: int, *, b: str) -> bytes:
    return b.encode() * a


def in_threads(executor: ContextPreservingExecutor) -> None:
    assert_type(executor.submit(work, 1, b="x"), Future[bytes])
    asyncio.new_event_loop().set_default_executor(executor)


def test_mine(sentry_events: CapturedEvents) -> None:
    assert sentry_events[0]["level"] == "error"
    assert_type(sentry_events.transactions, list[dict[str, Any]])
    with capture_events() as events:
        assert_type(events, CapturedEvents)
        assert_type(events.wait(2, timeout=1.5), CapturedEvents)
