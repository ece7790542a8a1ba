"""Beside the SDK's own integrations: one failure, one event."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
import sentry_sdk
from litestar import Litestar, get
from litestar.response import Stream
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.integrations.litestar import LitestarIntegration
from sentry_sdk.integrations.starlette import StarletteIntegration
from starlette.applications import Starlette
from starlette.routing import Route

from sentry_asgi import SentryMiddleware
from sentry_asgi._frameworks import handled as _handled
from sentry_asgi._stacktrace.traceback import event_from

from . import apps
from .support import Sentry, exception_values, http_scope, respond, run


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


@pytest.mark.parametrize(
    ("propagates", "debug", "answered"),
    [(None, False, True), (True, True, True), (True, False, False)],  # one by its debugger
)
def test_what_quart_is_told_to_let_out_is_not_answered(
    monkeypatch: pytest.MonkeyPatch, propagates: bool | None, debug: bool, answered: bool
) -> None:
    config = {"PROPAGATE_EXCEPTIONS": propagates}
    app = SimpleNamespace(config=config, debug=debug, testing=False)
    monkeypatch.setitem(sys.modules, "quart", SimpleNamespace(current_app=app))
    assert _handled.is_answered("quart") is answered


def test_where_it_cannot_be_told_the_integrations_word_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "quart", None)
    assert not _handled.is_answered("quart")
    assert not _handled.is_answered("celery")


def test_what_litestar_answers_is_handled_though_its_integration_reports_it(sentry: Sentry) -> None:
    @get("/")
    async def failing() -> None:
        raise ValueError("nope")

    sentry.init(integrations=[LitestarIntegration()])
    app = SentryMiddleware(Litestar([failing], openapi_config=None))
    assert run(app)[0]["status"] == 500
    assert mechanisms(sentry) == [("litestar", True)]
    sentry.transport.envelopes.clear()  # the integration adds what Sentry drops


def test_the_members_of_what_a_framework_answers_are_handled_too(sentry: Sentry) -> None:
    @get("/")
    async def failing() -> None:
        raise ExceptionGroup("both", [ValueError("nope"), KeyError("neither")])

    sentry.init(integrations=[LitestarIntegration()])
    run(SentryMiddleware(Litestar([failing], openapi_config=None)))
    assert {handled for _, handled in mechanisms(sentry)} == {True}
    sentry.transport.envelopes.clear()  # the integration adds what Sentry drops


@pytest.mark.parametrize(
    "mechanism", ["ariadne", "falcon", "graphene", "mcp", "sanic", "strawberry"]
)
def test_what_always_answers_is_handled(mechanism: str) -> None:
    assert _handled.is_answered(mechanism)


@pytest.mark.parametrize("mechanism", ["openai", "aiohttp", "threading", "asyncio", "wsgi", None])
def test_what_reports_and_raises_again_is_not_taken_for_answered(mechanism: Any) -> None:
    assert not _handled.is_answered(mechanism)


@pytest.mark.parametrize(
    ("propagates", "debug", "answered"),
    [(None, False, True), (None, True, False), (False, True, True), (True, False, False)],
)
def test_what_flask_is_told_to_let_out_is_not_answered(
    monkeypatch: pytest.MonkeyPatch, propagates: Any, debug: bool, answered: bool
) -> None:
    config = {"PROPAGATE_EXCEPTIONS": propagates}
    app = SimpleNamespace(config=config, debug=debug, testing=False)
    monkeypatch.setitem(sys.modules, "flask", SimpleNamespace(current_app=app))
    assert _handled.is_answered("flask") is answered


def test_what_strawberry_answers_with_a_200_is_handled_and_no_crash(sentry: Sentry) -> None:
    strawberry = pytest.importorskip("strawberry")
    from sentry_sdk.integrations.strawberry import StrawberryIntegration

    graphql = pytest.importorskip("strawberry.asgi").GraphQL

    def broken() -> int:
        raise ValueError("nope")

    query = type("Query", (), {"__annotations__": {"broken": int}})
    query.broken = strawberry.field(resolver=broken)  # type: ignore[attr-defined]
    sentry.init(
        integrations=[StrawberryIntegration(async_execution=True)],
        release="app@1",
        auto_session_tracking=True,
    )
    app = SentryMiddleware(graphql(strawberry.Schema(strawberry.type(query))))
    body = b'{"query": "{ broken }"}'
    headers = [(b"content-type", b"application/json"), (b"host", b"example.org")]
    scope = http_scope(method="POST", headers=headers)
    assert run(app, scope, [{"type": "http.request", "body": body}])[0]["status"] == 200
    assert {handled for _, handled in mechanisms(sentry)} == {True}
    assert outcomes(sentry) == {"errored"}
    sentry.transport.envelopes.clear()


def test_what_flask_answers_within_is_handled(sentry: Sentry) -> None:
    flask, a2wsgi = pytest.importorskip("flask"), pytest.importorskip("a2wsgi")
    from sentry_sdk.integrations.flask import FlaskIntegration

    app = flask.Flask("within")

    def broken() -> None:
        raise ValueError("nope")

    app.add_url_rule("/", view_func=broken)
    sentry.init(integrations=[FlaskIntegration()])
    assert run(SentryMiddleware(a2wsgi.WSGIMiddleware(app)))[0]["status"] == 500
    assert mechanisms(sentry)[-1] == ("flask", True)
    sentry.transport.envelopes.clear()


def outcomes(sentry: Sentry) -> set[str]:
    """How the requests ended, by their sessions."""
    sentry_sdk.flush()
    batches = sentry.transport.items("sessions")
    buckets = [bucket for batch in batches for bucket in batch["aggregates"]]
    return {outcome for bucket in buckets for outcome in bucket.keys() - {"started"}}


@pytest.mark.parametrize(
    ("reported_handled", "raises", "outcome"),
    [(False, False, "errored"), (False, True, "crashed"), (True, True, "crashed")],
)
def test_a_session_is_crashed_if_the_app_raised_whatever_was_reported(
    sentry: Sentry, reported_handled: bool, raises: bool, outcome: str
) -> None:
    sentry.init(release="app@1", auto_session_tracking=True)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            raise ValueError("nope")
        except ValueError as exception:
            mechanism = {"type": "openai", "handled": reported_handled}
            event: Any
            event, hint = event_from(exception, mechanism)
            sentry_sdk.capture_event(event, hint=hint)
            if raises:
                raise
        await respond(send)

    with contextlib.suppress(ValueError):
        run(SentryMiddleware(app))
    assert len(sentry.events) == 1
    assert outcomes(sentry) == {outcome}


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
