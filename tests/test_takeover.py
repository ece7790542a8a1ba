"""The SDK's own Starlette and FastAPI integrations, enabled by the SDK itself: what stands aside, and what remains."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from fastapi import FastAPI
from sentry_sdk.integrations.fastapi import FastApiIntegration
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.integrations.starlette import StarletteIntegration
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from sentry_asgi import SentryMiddleware

from .support import SDK_VERSION, Message, Sentry, call, exception_values, http_scope, pii, run


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


class Someone(AuthenticationBackend):
    async def authenticate(self, conn: Any) -> Any:
        return AuthCredentials(), SimpleUser("alice")


@pytest.mark.parametrize("make", MAKERS)
def test_the_user_of_the_scope_is_on_the_event(sentry: Sentry, make: Any) -> None:
    sentry.init(auto_enabling_integrations=True, **pii(on=True))
    app = make()
    inner = app.app if make is not added else app
    inner.user_middleware.append(Middleware(AuthenticationMiddleware, backend=Someone()))
    start(app)
    with pytest.raises(ValueError, match="nope"):
        run(app)
    assert sentry.event["user"]["username"] == "alice"


def test_templates_have_their_trace_meta(auto: Sentry, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("{{ sentry_trace_meta }}")
    templates = Jinja2Templates(directory=tmp_path)

    async def page(request: Request) -> Any:
        return templates.TemplateResponse(request, "page.html")

    trace_id = "0123456789abcdef0123456789abcdef"
    headers = [(b"sentry-trace", f"{trace_id}-fedcba9876543210-1".encode())]
    app = SentryMiddleware(Starlette(routes=[Route("/", page)]))
    body = run(app, http_scope(headers=headers))[1]["body"].decode()
    assert f'<meta name="sentry-trace" content="{trace_id}-' in body
    assert '<meta name="baggage"' in body


def test_with_the_middleware_goes_what_it_switched_off(sentry: Sentry) -> None:
    sentry.init(auto_enabling_integrations=True)
    integrations = sentry_sdk.get_client().integrations
    app = added()
    start(app)
    assert not {"starlette", "fastapi"} & set(integrations)
    del app
    gc.collect()
    assert {"starlette", "fastapi"} <= set(integrations)


def test_added_to_one_app_it_leaves_another_of_the_process_to_the_servers_log(
    sentry: Sentry,
) -> None:
    """What `add_middleware` can't help: the integrations are asked before the connection comes here."""
    sentry.init(
        auto_enabling_integrations=True,
        integrations=[LoggingIntegration(event_level=logging.ERROR)],
    )
    app, other = added(), Starlette(routes=ROUTES)
    start(app)
    with pytest.raises(ValueError, match="nope") as raised:
        run(other)
    assert sentry.events == []
    logging.getLogger("a.server").error("Exception in ASGI application", exc_info=raised.value)
    assert exception_values(sentry.event) == [("ValueError", "nope")]


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
    assert list(inner._clients) == [id(client)]


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
    from sentry_asgi._scopes.public import PublicScopes

    monkeypatch.setattr(sentry_asgi.middleware, "isolation", PublicScopes)
    with pytest.raises(ValueError, match="nope"):
        run(wrapped())
    assert auto.event["exception"]["values"][0]["mechanism"]["type"] == "asgi"


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("way", ["static", "stream"])
def test_the_thread_of_an_endpoint_is_the_one_that_it_runs_in(
    sentry: Sentry, make: Any, way: str
) -> None:
    """Profiles show it; Starlette runs `def` endpoints in threads of their own."""
    if way == "stream" and SDK_VERSION < (2, 75):
        pytest.skip("streamed spans are younger")
    if way == "static" and SDK_VERSION >= (3, 0):
        pytest.skip("there are no transactions")
    streamed = {"trace_lifecycle": "stream"} if way == "stream" and SDK_VERSION < (3, 0) else {}
    sentry.init(auto_enabling_integrations=True, traces_sample_rate=1.0, **streamed)
    threads: list[str] = []

    def endpoint(request: Any) -> PlainTextResponse:
        threads.append(threading.current_thread().name)
        return PlainTextResponse("ok")

    app = make()
    inner = app.app if make is not added else app
    inner.router.routes.insert(0, Route("/thread", endpoint))
    start(app)
    run(app, http_scope("/thread"))
    sentry_sdk.flush()
    if way == "static":
        (transaction,) = sentry.transport.items("transaction")
        told = transaction["contexts"]["trace"]["data"]["thread.name"]
    else:
        (told,) = [one["attributes"]["thread.name"]["value"] for one in sentry.segments]
    assert [told] == threads
    assert told != threading.current_thread().name
