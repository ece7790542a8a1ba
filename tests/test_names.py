"""Names that a framework does not put into the scope. The matrix asks each framework's own router; here is what surrounds it."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import sentry_sdk
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette

from sentry_asgi import SentryMiddleware
from sentry_asgi._connection import naming as _naming
from sentry_asgi._connection.request import Connection
from sentry_asgi._events import event as _event
from sentry_asgi._frameworks import routes

from .support import Scope, Sentry, http_scope, respond, run


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
    known = routes.Named("/{x}", served)
    routes._RESOLVERS["framework"] = lambda app, connection: known
    try:
        assert routes.named(connection) is known
    finally:
        del routes._RESOLVERS["framework"]
    assert routes.named(connection) is routes.NOTHING


def test_middlewares_without_end_have_no_route() -> None:
    around = Around(None)
    around.app = around
    connection: Any = SimpleNamespace(scope={}, settings=SimpleNamespace(app=around))
    assert routes.named(connection) is routes.NOTHING


def test_litestars_scope_tells_both() -> None:
    handler = SimpleNamespace(fn=served)
    connection = Connection(http_scope(route_handler=handler, path_template="/items/{x}"))
    assert _naming.route(connection) == "/items/{x}"
    assert _naming.endpoint(connection) == f"{__name__}.served"
    assert "generic Litestar request" in _naming.derived_names(connection)


class Callable:
    __module__ = "made.at.run.time"

    def __call__(self) -> None: ...


class Bound:
    def handle(self) -> None: ...


def test_a_librarys_class_or_object_is_no_handler_and_a_function_is() -> None:
    from asgiref.wsgi import WsgiToAsgi
    from starlette.routing import Router
    from starlette.staticfiles import StaticFiles

    bridge: Any = WsgiToAsgi
    applications: list[Any] = [Router(), FastAPI(), FastAPI, bridge(served)]
    assert not any(map(routes.is_handler, [*applications, StaticFiles(directory=".")]))
    handlers: list[Any] = [served, Around(None), Around, Callable(), Bound().handle]
    assert all(map(routes.is_handler, [*handlers, FastAPI().openapi]))
    for endpoint in (SimpleNamespace(__module__="starlette.x"), *map(partial, applications)):
        assert _naming.endpoint(Connection(http_scope(endpoint=endpoint))) is None


@pytest.mark.parametrize("style", ["endpoint", "route"])
def test_a_request_that_a_mounted_app_refuses_is_not_named_after_the_apps_class(
    sentry: Sentry, style: Any
) -> None:
    inner = FastAPI()

    @inner.middleware("http")
    async def reporting(request: Any, call_next: Any) -> Any:
        sentry_sdk.capture_message("not served")
        return await call_next(request)

    app = FastAPI()
    app.mount("/t/{tenant}", inner)
    run(SentryMiddleware(app, transaction_style=style), http_scope("/t/a/nope"))
    assert sentry.event["transaction"] == "/t/{tenant}"


async def reporting_page(scope: Scope, receive: Any, send: Any) -> None:
    sentry_sdk.capture_message("served")
    await respond(send)


class Library:
    """An application of a library's: it serves many routes, and is no handler."""

    __module__ = "starlette.staticfiles"

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        await reporting_page(scope, receive, send)


def mount_of(kind: type[Any], path: str, app: Any) -> Any:
    """A Starlette or FastAPI application with something mounted."""
    outer = kind()
    outer.mount(path, app)
    return outer


@pytest.mark.parametrize("style", ["endpoint", "route"])
@pytest.mark.parametrize("kind", [Starlette, FastAPI])
@pytest.mark.parametrize(
    ("mounted", "path", "name"),
    [
        ([("/static", Library())], "/static/x.css", "/static"),
        ([("/a", None), ("/b/{tenant}", Library())], "/a/b/t7/x", "/a/b/{tenant}"),
        ([("/a/{tenant}", None), ("/b", Library())], "/a/t7/b/x", "/a/{tenant}/b"),
    ],
)
def test_what_a_mounted_application_serves_is_named_by_where_it_is_mounted(
    sentry: Sentry, kind: Any, style: Any, mounted: Any, path: str, name: str
) -> None:
    app: Any = mounted[-1][1]
    for prefix, _ in reversed(mounted):
        app = mount_of(kind, prefix, app)
    run(SentryMiddleware(app, transaction_style=style), http_scope(path))
    told = sentry.event["transaction"], sentry.event["transaction_info"]["source"]
    assert told == (name, "route")


def test_an_events_name_that_the_app_set_has_the_source_custom_unless_it_says_another(
    sentry: Sentry,
) -> None:
    sources: list[str | None] = [None, "task"]

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        scope["endpoint"] = served
        for source in sources:
            sentry_sdk.get_current_scope().set_transaction_name("checkout", source=source)
            sentry_sdk.capture_message("hi")

    run(SentryMiddleware(app))
    told = [(event["transaction"], event["transaction_info"]["source"]) for event in sentry.events]
    assert told == [("checkout", "custom"), ("checkout", "task")]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://example.org/a%20b?token=1", "http://example.org/a%20b"),
        ("http://example.org/a b", "http://example.org/a%20b"),
        ("http://example.org/another", "http://example.org/another"),
        (7, 7),
    ],
)
def test_the_url_is_the_same_whoever_writes_it_and_another_is_the_apps(
    sentry: Sentry, url: Any, told: Any
) -> None:
    event: Any = {"request": {"url": url}}
    _event.protect(Connection(http_scope("/a b")), event, {})
    assert event["request"]["url"] == told


def test_lilyas_include_is_asked_for_its_leaf() -> None:
    import re

    leaves = [
        SimpleNamespace(path="/other", path_regex=re.compile("^/other$"), handler=run),
        SimpleNamespace(path="/{x}", path_regex=re.compile("^/[^/]+$"), handler=served),
    ]
    include = SimpleNamespace(path="/sub/{name}", routes=leaves)
    scope = http_scope("/sub/1/2", route=include, route_path_template="/sub/{name}")
    connection = Connection(scope)
    assert _naming.route(connection) == "/sub/{name}/{x}"
    assert _naming.endpoint(connection) == f"{__name__}.served"


@pytest.mark.parametrize("handler", [served, SimpleNamespace(fn=served)])
def test_lilyas_and_ravyns_route_tells_both(handler: Any) -> None:
    route = SimpleNamespace(handler=handler)
    connection = Connection(http_scope(route=route, route_path_template="/items/{x}"))
    assert _naming.route(connection) == "/items/{x}"
    assert _naming.endpoint(connection) == f"{__name__}.served"


def test_litestars_thread_is_looked_through() -> None:
    handler = SimpleNamespace(fn=SimpleNamespace(func=served))
    connection = Connection(http_scope(route_handler=handler, path_template="/items/{x}"))
    assert _naming.endpoint(connection) == f"{__name__}.served"


def test_what_the_sdk_calls_an_unknown_request_is_no_name_of_the_apps() -> None:
    assert "http://127.0.0.1:8000/x" in _naming.derived_names(Connection(http_scope("/x")))
    assert _naming._url_by_server(Connection(http_scope(server=None))) is None
