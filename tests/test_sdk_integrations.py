"""Beside the SDK's own integrations: one failure, one event."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from litestar import Litestar, get
from litestar.response import Stream
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.integrations.litestar import LitestarIntegration
from sentry_sdk.integrations.starlette import StarletteIntegration
from starlette.applications import Starlette
from starlette.routing import Route

from sentry_asgi import SentryMiddleware, _answered
from sentry_asgi._traceback import event_from

from . import apps
from .support import Sentry, exception_values, http_scope, run


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


def mechanisms(sentry: Sentry) -> list[tuple[str, bool]]:
    """Type and `handled` of what the event reports."""
    values = sentry.event["exception"]["values"]
    return [(value["mechanism"]["type"], value["mechanism"]["handled"]) for value in values]


def test_what_django_answers_is_handled_though_its_integration_reports_it(sentry: Sentry) -> None:
    sentry.init(integrations=[DjangoIntegration()])
    app = SentryMiddleware(apps.django())
    assert run(app, http_scope("/failing"))[0]["status"] == 500
    assert exception_values(sentry.event) == [("ValueError", "nope")]
    assert mechanisms(sentry) == [("django", True)]


def test_what_django_is_told_to_let_out_is_not(sentry: Sentry) -> None:
    sentry.init(integrations=[DjangoIntegration()])
    app = SentryMiddleware(apps.django())
    from django.test.utils import override_settings

    with (
        override_settings(DEBUG_PROPAGATE_EXCEPTIONS=True),
        pytest.raises(ValueError, match="nope"),
    ):
        run(app, http_scope("/failing"))
    assert mechanisms(sentry) == [("django", False)]


def test_what_quart_is_told_to_let_out_is_not_answered() -> None:
    def quart(propagate: bool | None, *, debug: bool = False) -> Any:
        config = {"PROPAGATE_EXCEPTIONS": propagate}
        return SimpleNamespace(config=config, debug=debug, testing=False)

    assert _answered.is_answered("quart", quart(propagate=None))
    assert _answered.is_answered("quart", SimpleNamespace(app=quart(propagate=None)))
    assert _answered.is_answered("quart", quart(propagate=True, debug=True))  # by its debugger
    assert not _answered.is_answered("quart", quart(propagate=True))


def test_where_it_cannot_be_told_the_integrations_word_counts() -> None:
    endless = SimpleNamespace()
    endless.app = endless
    assert not _answered.is_answered("quart", endless)
    assert not _answered.is_answered("celery", None)


def test_what_litestar_answers_is_handled_though_its_integration_reports_it(sentry: Sentry) -> None:
    @get("/")
    async def failing() -> None:
        raise ValueError("nope")

    sentry.init(integrations=[LitestarIntegration()])
    app = SentryMiddleware(Litestar([failing], openapi_config=None))
    assert run(app)[0]["status"] == 500
    assert mechanisms(sentry) == [("litestar", True)]
    sentry.transport.envelopes.clear()  # the integration adds what Sentry drops


def test_a_cause_that_the_sdks_middleware_cuts_off_is_shown(sentry: Sentry) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        raise ValueError("nope")

    @get("/")
    async def streaming() -> Stream:
        return Stream(parts())

    sentry.init(integrations=[LitestarIntegration()])
    app = SentryMiddleware(Litestar([streaming], openapi_config=None))
    with pytest.raises(Exception, match="after response started"):
        run(app)
    assert ("ValueError", "nope") in exception_values(sentry.event)
    assert exception_values(sentry.event)[-1][0] == "LitestarException"
    sentry.transport.envelopes.clear()  # the integration adds what Sentry drops


def test_a_context_that_the_app_itself_suppressed_is_not_shown(sentry: Sentry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            raise KeyError("the app's own business")
        except KeyError:
            raise ValueError("nope") from None

    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(app))
    assert exception_values(sentry.event) == [("ValueError", "nope")]


def test_causes_without_end_are_followed_to_a_bound(sentry: Sentry) -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    event, _ = event_from(one, {"type": "asgi", "handled": True})
    assert event["exception"]["values"]
