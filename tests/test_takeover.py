"""The SDK's own Starlette and FastAPI integrations, enabled by the SDK itself: what stands aside, and what remains."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
import sentry_sdk
from fastapi import FastAPI
from sentry_sdk.integrations.fastapi import FastApiIntegration
from sentry_sdk.integrations.starlette import StarletteIntegration
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route

from sentry_asgi import SentryMiddleware, _sdk, _takeover

from .support import SDK_VERSION, Message, Sentry, call, exception_values, http_scope, run


async def failing(request: Request) -> None:
    raise ValueError("nope")


async def refusing(request: Request) -> None:
    raise HTTPException(503)


async def reading(request: Request) -> None:
    # Hangs if somebody has read the body before.
    assert (await request.receive())["body"] == b'{"a": 1}'
    raise ValueError("nope")


ROUTES = [
    Route("/", failing),
    Route("/refused", refusing),
    Route("/body", reading, methods=["POST"]),
]


def wrapped(**options: Any) -> Any:
    return SentryMiddleware(Starlette(routes=ROUTES), **options)


def added(**options: Any) -> Any:
    app = Starlette(routes=ROUTES)
    app.add_middleware(SentryMiddleware, **options)
    return app


def fastapi(**options: Any) -> Any:
    app = FastAPI()
    app.add_api_route("/", failing)
    app.add_api_route("/refused", refusing)
    app.add_api_route("/body", reading, methods=["POST"])
    return SentryMiddleware(app, **options)


@pytest.fixture
def auto(sentry: Sentry) -> Sentry:
    """The SDK as most have it: what is installed is enabled."""
    sentry.init(auto_enabling_integrations=True, traces_sample_rate=1.0)
    client = sentry_sdk.get_client()
    assert {"starlette", "fastapi"} <= set(client.integrations)
    return sentry


def start(app: Any) -> None:
    """What servers do first; with `add_middleware`, the app is put together then."""
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    run(app, {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, messages)


pytestmark = pytest.mark.skipif(
    not _sdk.CAN_TAKE_OVER, reason="this SDK's integration cannot be switched off"
)

MAKERS = [wrapped, added, fastapi]


@pytest.mark.parametrize("make", MAKERS)
def test_however_it_is_put_on_one_failure_makes_one_event_and_one_transaction(
    auto: Sentry, make: Any
) -> None:
    app = make()
    start(app)
    with pytest.raises(ValueError, match="nope"):
        run(app)
    assert exception_values(auto.event) == [("ValueError", "nope")]
    assert auto.event["exception"]["values"][0]["mechanism"]["type"] == "asgi"
    assert auto.event["transaction"] == f"{__name__}.failing"
    if SDK_VERSION < (3, 0):
        assert len(auto.transport.items("transaction")) == 1


@pytest.mark.parametrize("make", MAKERS)
def test_a_handled_failure_is_reported_as_the_integration_did(auto: Sentry, make: Any) -> None:
    app = make()
    start(app)
    assert run(app, http_scope("/refused"))[0]["status"] == 503
    assert [kind for kind, _ in exception_values(auto.event)] == ["HTTPException"]
    assert auto.event["exception"]["values"][0]["mechanism"]["handled"] is True


@pytest.mark.parametrize("make", MAKERS)
def test_the_body_is_not_read_ahead(auto: Sentry, make: Any) -> None:
    app = make()
    start(app)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"8")]
    scope = http_scope("/body", method="POST", headers=headers)
    messages: list[Message] = [{"type": "http.request", "body": b'{"a": 1}', "more_body": False}]
    with pytest.raises(ValueError, match="nope"):
        asyncio.run(asyncio.wait_for(call(app, scope, messages), 5))
    assert len(auto.events) == 1


@pytest.mark.parametrize("make", MAKERS)
def test_routes_are_not_matched_twice(auto: Sentry, make: Any) -> None:
    matched: list[str] = []

    class Counting(Route):
        def matches(self, scope: Any) -> Any:
            matched.append(scope["path"])
            return super().matches(scope)

    app = make()
    inner = app.app if make is not added else app
    inner.router.routes.insert(0, Counting("/", failing))
    start(app)
    with pytest.raises(ValueError, match="nope"):
        run(app)
    assert matched == ["/"]


def test_with_the_middleware_goes_what_it_switched_off(sentry: Sentry) -> None:
    sentry.init(auto_enabling_integrations=True)
    integrations = sentry_sdk.get_client().integrations
    app = added()
    start(app)
    assert not {"starlette", "fastapi"} & set(integrations)
    del app
    gc.collect()
    assert {"starlette", "fastapi"} <= set(integrations)


def test_other_apps_of_the_process_do_not_notice(auto: Sentry) -> None:
    app, other = wrapped(), Starlette(routes=ROUTES)
    start(app)
    with pytest.raises(ValueError, match="nope"):
        run(other)
    assert auto.event["exception"]["values"][0]["mechanism"]["type"] == "starlette"


def test_within_a_request_the_client_is_the_same_but_for_what_stands_aside(auto: Sentry) -> None:
    seen: list[Any] = []
    client = sentry_sdk.get_client()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        here = sentry_sdk.get_client()
        assert here.get_integration(StarletteIntegration) is None
        assert here.get_integration("fastapi") is None
        assert here.get_integration("logging") is client.get_integration("logging")
        assert isinstance(here, type(client))
        assert here.options is client.options
        # An app called in-process is of the same client.
        await call(inner, http_scope())

    async def innermost(scope: Any, receive: Any, send: Any) -> None:
        seen.append(sentry_sdk.get_client())

    inner = SentryMiddleware(innermost)
    for _ in range(2):
        run(SentryMiddleware(app))
    assert seen[0] is seen[1]
    assert inner._client is client


@pytest.mark.parametrize("make", MAKERS)
def test_on_request_they_stay(auto: Sentry, make: Any) -> None:
    app = make(take_over=False)
    start(app)
    with pytest.raises(ValueError, match="nope"):
        run(app)
    assert auto.event["exception"]["values"][0]["mechanism"]["type"] in {"asgi", "starlette"}
    run(app, http_scope("/refused"))
    assert len(auto.events) == 2


def test_what_the_user_has_asked_for_stays(sentry: Sentry) -> None:
    sentry.init(integrations=[StarletteIntegration(), FastApiIntegration()])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert sentry_sdk.get_client().get_integration(StarletteIntegration) is not None

    run(SentryMiddleware(app))


def test_scopes_made_by_public_means_take_the_client_too(
    auto: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sentry_asgi.middleware
    from sentry_asgi._isolation import PublicScopes

    monkeypatch.setattr(sentry_asgi.middleware, "isolation", PublicScopes)
    with pytest.raises(ValueError, match="nope"):
        run(wrapped())
    assert auto.event["exception"]["values"][0]["mechanism"]["type"] == "asgi"


def test_with_an_sdk_that_cannot_do_without_them_they_stay(
    auto: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_takeover, "CAN_TAKE_OVER", False)
    assert _takeover.double(sentry_sdk.get_client()) is None
