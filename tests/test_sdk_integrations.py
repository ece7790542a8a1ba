"""Beside the SDK's own integrations: one failure, one event."""

from __future__ import annotations

from typing import Any

import pytest
from sentry_sdk.integrations.starlette import StarletteIntegration
from starlette.applications import Starlette
from starlette.routing import Route

from sentry_asgi import SentryMiddleware

from .support import Sentry, exception_values, run


async def homepage(request: Any) -> None:
    raise ValueError("nope")


def wrapped() -> Any:
    return SentryMiddleware(Starlette(routes=[Route("/", homepage)]))


def added() -> Any:
    app = Starlette(routes=[Route("/", homepage)])
    app.add_middleware(SentryMiddleware)
    return app


@pytest.mark.parametrize("make", [wrapped, added])
def test_with_starlettes_integration_one_failure_makes_one_event(sentry: Sentry, make: Any) -> None:
    sentry.init(integrations=[StarletteIntegration()])
    with pytest.raises(ValueError, match="nope"):
        run(make())
    assert exception_values(sentry.event) == [("ValueError", "nope")]
    assert sentry.event["request"]["url"] == "http://example.org/"
    assert sentry.event["transaction"] == f"{__name__}.homepage"
    assert sentry.event["transaction_info"] == {"source": "component"}
