"""Names that a framework does not put into the scope. The matrix asks each framework's own router; here is what surrounds it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI

from sentry_asgi import SentryMiddleware, _names, _request
from sentry_asgi._request import Connection

from .support import Scope, Sentry, http_scope, run


def test_a_router_included_with_a_prefix_has_its_whole_template(sentry: Sentry) -> None:
    app, router = FastAPI(), APIRouter()

    @router.get("/{number}")
    async def item(number: int) -> None:
        raise ValueError("nope")

    app.include_router(router, prefix="/items")
    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(app, transaction_style="route"), http_scope("/items/7"))
    assert sentry.event["transaction"] == "/items/{number}"
    assert sentry.event["transaction_info"] == {"source": "route"}


async def served(scope: Scope, receive: Any, send: Any) -> None:
    raise ValueError("nope")


class Around:
    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


def test_an_app_of_no_known_framework_has_no_route(sentry: Sentry) -> None:
    for app in (served, Around(served)):
        with pytest.raises(ValueError, match="nope"):
            run(SentryMiddleware(app), http_scope("/7"))
    assert [event["transaction"] for event in sentry.events] == ["/7", "/7"]


def test_middlewares_around_the_frameworks_app_are_looked_through() -> None:
    class Router:
        __module__ = "framework.app"

    connection: Any = SimpleNamespace(
        scope={}, settings=SimpleNamespace(app=Around(Around(Router())))
    )
    known = _names.Named("/{x}", served)
    _names._RESOLVERS["framework"] = lambda app, connection: known
    try:
        assert _names.named(connection) is known
    finally:
        del _names._RESOLVERS["framework"]
    assert _names.named(connection) is _names.NOTHING


def test_middlewares_without_end_have_no_route() -> None:
    around = Around(None)
    around.app = around
    connection: Any = SimpleNamespace(scope={}, settings=SimpleNamespace(app=around))
    assert _names.named(connection) is _names.NOTHING


def test_litestars_scope_tells_both() -> None:
    handler = SimpleNamespace(fn=served)
    connection = Connection(http_scope(route_handler=handler, path_template="/items/{x}"))
    assert _request.route(connection) == "/items/{x}"
    assert _request.endpoint(connection) == f"{__name__}.served"
    assert "generic Litestar request" in _request.derived_names(connection)


def test_a_part_of_a_framework_is_no_handler() -> None:
    from starlette.routing import Router

    assert not _names.is_handler(Router())
    assert _names.is_handler(served)
    assert _names.is_handler(SimpleNamespace(__module__=7))


def test_lilyas_include_is_asked_for_its_leaf() -> None:
    import re

    leaves = [
        SimpleNamespace(path="/other", path_regex=re.compile("^/other$"), handler=run),
        SimpleNamespace(path="/{x}", path_regex=re.compile("^/[^/]+$"), handler=served),
    ]
    include = SimpleNamespace(path="/sub/{name}", routes=leaves)
    scope = http_scope("/sub/1/2", route=include, route_path_template="/sub/{name}")
    connection = Connection(scope)
    assert _request.route(connection) == "/sub/{name}/{x}"
    assert _request.endpoint(connection) == f"{__name__}.served"


@pytest.mark.parametrize("handler", [served, SimpleNamespace(fn=served)])
def test_lilyas_and_ravyns_route_tells_both(handler: Any) -> None:
    route = SimpleNamespace(handler=handler)
    connection = Connection(http_scope(route=route, route_path_template="/items/{x}"))
    assert _request.route(connection) == "/items/{x}"
    assert _request.endpoint(connection) == f"{__name__}.served"


def test_litestars_thread_is_looked_through() -> None:
    handler = SimpleNamespace(fn=SimpleNamespace(func=served))
    connection = Connection(http_scope(route_handler=handler, path_template="/items/{x}"))
    assert _request.endpoint(connection) == f"{__name__}.served"


def test_what_the_sdk_calls_an_unknown_request_is_no_name_of_the_apps() -> None:
    assert "http://127.0.0.1:8000/x" in _request.derived_names(Connection(http_scope("/x")))
    assert _request._url_by_server(Connection(http_scope(server=None))) is None
