"""The application that is served: every request fails, and says in which process."""

from __future__ import annotations

import os
from typing import Any

import sentry_sdk
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def fail(request: Request) -> Response:
    raise ValueError(f"{request.query_params['n']} in {os.getpid()}")


async def ready(request: Request) -> Response:
    return Response(str(os.getpid()))


def middleware() -> Any:
    if os.environ.get("MIDDLEWARE") == "sentry_sdk":
        from sentry_sdk.integrations.asgi import SentryAsgiMiddleware

        return SentryAsgiMiddleware
    from sentry_asgi import SentryMiddleware

    return SentryMiddleware


sentry_sdk.init(dsn=os.environ["SENTRY_DSN"], release="processes@1")
if "REPORT_AT_IMPORT" in os.environ:
    # What is not sent yet when a process forks, and a connection that is open.
    for number in range(5):
        sentry_sdk.capture_message(f"imported {number}")
    if os.environ["REPORT_AT_IMPORT"] == "flushed":
        sentry_sdk.flush()
    sentry_sdk.capture_message("the last of the import")

app = middleware()(Starlette(routes=[Route("/fail", fail), Route("/ready", ready)]))
