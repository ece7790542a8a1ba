"""The name of a request by its route, whether Starlette puts the route into the scope (from 1.7) or not."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute

from sentry_asgi import SentryMiddleware

from .support import App, Scope, Sentry, http_scope, run, websocket_scope


async def failing(_: Any) -> None:
    raise ValueError("nope")


ROUTES = [
    Route("/users/{user_id:int}", failing, methods=["POST"]),
    Route("/users/{name}", failing),
    Mount("/shop/{tenant}", routes=[Route("/items/{item}", failing), Mount("/deep", Router([Route("/{x}", failing)]))]),
    Host("api.example.org", Router([Route("/hosted/{x}", failing)])),
    WebSocketRoute("/ws/{room}", failing),
]  # fmt: skip


def forgetting_the_route(app: App) -> App:
    """As before Starlette 1.7: no route in the scope."""

    async def call(scope: Scope, receive: Any, send: Any) -> None:
        try:
            await app(scope, receive, send)
        finally:
            scope.pop("route", None)

    return call


@pytest.mark.parametrize("wrap", [lambda app: app, forgetting_the_route])
@pytest.mark.parametrize(
    ("path", "changes", "name"),
    [
        ("/users/7", {}, "/users/{name}"),
        ("/users/7", {"method": "POST"}, "/users/{user_id:int}"),
        ("/shop/acme/items/3", {}, "/shop/{tenant}/items/{item}"),
        ("/shop/acme/deep/3", {}, "/shop/{tenant}/deep/{x}"),
        ("/ws/tea", {"type": "websocket"}, "/ws/{room}"),
    ],
)
def test_a_request_is_named_by_its_route(
    sentry: Sentry, wrap: Any, path: str, changes: Any, name: str
) -> None:
    app = SentryMiddleware(wrap(Starlette(routes=ROUTES)), transaction_style="route")
    scope = websocket_scope(path) if "type" in changes else http_scope(path, **changes)
    with pytest.raises(ValueError, match="nope"):
        run(app, scope, [{"type": "websocket.connect"}])
    assert _bare(sentry.event["transaction"]) == _bare(name)


def _bare(name: str) -> str:
    return name.replace(":int", "")  # whether converters are shown depends on Starlette's version


def test_a_hosts_route_is_found_too(sentry: Sentry) -> None:
    app = SentryMiddleware(
        forgetting_the_route(Starlette(routes=ROUTES)), transaction_style="route"
    )
    with pytest.raises(ValueError, match="nope"):
        run(app, http_scope("/hosted/1", headers=[(b"host", b"api.example.org")]))
    assert sentry.event["transaction"] == "/hosted/{x}"


def test_what_no_route_serves_is_named_by_its_path_or_by_what_is_mounted_there(
    sentry: Sentry,
) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        scope["router"] = Router(ROUTES)
        raise ValueError("nope")

    for path, name in {"/nowhere/7": "/nowhere/7", "/shop/acme/nowhere": "/shop/{tenant}"}.items():
        with pytest.raises(ValueError, match="nope"):
            run(SentryMiddleware(app, transaction_style="route"), http_scope(path))
        assert sentry.events[-1]["transaction"] == name
