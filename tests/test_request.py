"""Facts of a request, as they are in events: url, method, headers, query, address, name."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from hypothesis import given, strategies as st

from sentry_asgi import SentryMiddleware
from sentry_asgi._connection import (
    address as _address,
    naming as _naming,
    request as _request,
    url as _url,
)
from sentry_asgi._connection.request import Connection
from sentry_asgi._connection.settings import Settings

from .support import Scope, Sentry, http_scope, pii, run, websocket_scope


def url(scope: Scope) -> str | None:
    return _url.url(Connection(scope))


def with_host(host: bytes, path: str = "/", **changes: Any) -> Scope:
    return http_scope(path, headers=[(b"host", host)], **changes)


def hostless(path: str = "/", **changes: Any) -> Scope:
    return http_scope(path, headers=[], **changes)


# URL


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (http_scope("/a"), "http://example.org/a"),
        (with_host(b"example.org:8000"), "http://example.org:8000/"),
        (with_host(b"example.org:80"), "http://example.org/"),
        (with_host(b"example.org:443", scheme="https"), "https://example.org/"),
        (with_host(b"example.org:80", scheme="https"), "https://example.org:80/"),
        (with_host(b"example.org:"), "http://example.org/"),
        (with_host(b"[::1]:8000"), "http://[::1]:8000/"),
        (with_host(b"[::1]"), "http://[::1]/"),
        (hostless(), "http://127.0.0.1:8000/"),
        (hostless(server=("10.0.0.1", 80)), "http://10.0.0.1/"),
        (hostless(server=("::1", 8000)), "http://[::1]:8000/"),
        (hostless(server=("[::1]", 8000)), "http://[::1]:8000/"),
        (hostless(server=("::1", 443), scheme="https"), "https://[::1]/"),
        (hostless(server=("localhost", "8000")), "http://localhost:8000/"),  # granian's ports
        (hostless(server=["localhost", 8000]), "http://localhost:8000/"),
        (hostless(server=("", 8000)), "/"),
        (websocket_scope("/ws"), "ws://example.org/ws"),
        (websocket_scope("/ws", scheme="wss"), "wss://example.org/ws"),
    ],
)
def test_the_url_is_what_the_client_asked_for(scope: Scope, expected: str) -> None:
    assert url(scope) == expected


def test_a_unix_socket_gives_a_url_one_can_read() -> None:
    assert url(hostless("/x", server=("/run/app.sock", None))) == "/x"
    on_socket = with_host(b"example.org", "/x", server=("/run/app.sock", None), client=None)
    assert url(on_socket) == "http://example.org/x"


@pytest.mark.parametrize(
    "host",
    [b"", b"a b", b"evil.org/path", b"a\r\nb", b"\xff\xfe", b"a?b", b"a#b", b"[::1", b"a:b:c"],
)
def test_a_host_that_is_none_is_not_followed(host: bytes) -> None:
    assert url(with_host(host)) == "http://127.0.0.1:8000/"


def test_credentials_in_the_host_go() -> None:
    assert url(with_host(b"user:secret@example.org")) == "http://example.org/"


@pytest.mark.parametrize(
    ("path", "root_path", "expected"),
    [
        ("/api/x", "/api", "/api/x"),  # as the specification has it
        ("/x", "/api", "/api/x"),  # as some servers and older frameworks have it
        ("/api", "/api", "/api"),
        ("/apix", "/api", "/api/apix"),
        ("/x", "/", "/x"),
        ("/api/x", "/api/", "/api/x"),
        ("/x", None, "/x"),
    ],
)
def test_the_root_path_is_there_once(path: str, root_path: Any, expected: str) -> None:
    assert _url.full_path(Connection(http_scope(path, root_path=root_path))) == expected


@pytest.mark.parametrize(
    ("path", "raw_path", "expected"),
    [
        ("/a/b", b"/a%2Fb", "/a%2Fb"),  # as sent
        ("/ä", b"/%C3%A4", "/%C3%A4"),
        ("/ä", None, "/%C3%A4"),  # Mangum's raw_path
        ("/a b", b"/other", "/a%20b"),  # rewritten by a middleware further out
        ("/x", b"/x?query=1", "/x"),
        ("/100%", None, "/100%25"),
        ("/\udcff", None, "/%3F"),
        ("/<script>", b"/<script>", "/%3Cscript%3E"),
    ],
)
def test_the_path_is_as_it_was_sent(path: str, raw_path: Any, expected: str) -> None:
    assert _url.full_path(Connection(http_scope(path, raw_path=raw_path))) == expected


def test_the_url_is_the_one_before_the_framework_rewrote_the_scope(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        scope["root_path"], scope["path"] = "/sub", "/x"
        raise ValueError

    with pytest.raises(ValueError):
        run(SentryMiddleware(app), http_scope("/sub/x"))
    assert sentry.event["request"]["url"] == "http://example.org/sub/x"


def test_a_scope_without_a_path_has_no_url() -> None:
    assert url({"type": "http"}) is None
    assert url({"type": "http", "path": "/x"}) == "/x"
    assert url({"type": "websocket", "path": "/x"}) == "/x"


# Method, headers, query, address


def test_the_method_is_in_capitals() -> None:
    assert _request.method(Connection(http_scope(method="post"))) == "POST"
    assert _request.method(Connection({"type": "http"})) is None
    assert _request.method(Connection({"type": "http", "method": 7})) is None
    assert _request.method(Connection(websocket_scope())) == "GET"


def test_repeated_headers_are_joined_as_http_says() -> None:
    scope = http_scope(
        headers=[
            (b"cookie", b"a=1"),
            (b"accept", b"text/html"),
            (b"Cookie", b"b=2"),
            (b"accept", b"text/plain"),
        ]
    )
    assert _request.headers(Connection(scope)) == {
        "cookie": "a=1; b=2",
        "accept": "text/html, text/plain",
    }


def test_headers_of_any_bytes_are_decoded() -> None:
    every_byte = bytes(range(256))
    headers = _request.headers(Connection(http_scope(headers=[(b"x-raw", every_byte)])))
    assert headers["x-raw"].encode("latin-1") == every_byte


def test_odd_headers_are_left_out() -> None:
    odd: Any = [(b"a", b"1"), None, (b"b",), ("c", "3"), (b"d", None), 7]
    assert _request.headers(Connection(http_scope(headers=odd))) == {"a": "1", "c": "3", "d": ""}
    assert _request.headers(Connection(http_scope(headers=None))) == {}


def test_the_query_string_is_as_it_was_on_the_wire(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        raise ValueError

    with pytest.raises(ValueError):
        run(SentryMiddleware(app), http_scope(query_string=b"a=1%26b%3D2&c=%FF&d=+\xff"))
    assert sentry.event["request"]["query_string"] == "a=1%26b%3D2&c=%FF&d=+\xff"


def test_the_address_is_the_servers_word_not_a_header(sentry: Sentry) -> None:
    sentry.init(**pii(on=True))

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        raise ValueError

    forged = [(b"x-forwarded-for", b"6.6.6.6"), (b"x-real-ip", b"6.6.6.6")]
    with pytest.raises(ValueError):
        run(SentryMiddleware(app), http_scope(headers=forged))
    assert sentry.event["request"]["env"] == {"REMOTE_ADDR": "203.0.113.7"}


@pytest.mark.parametrize("client", [None, (), ("",), (None, 1), "203.0.113.7", ("", 0), 7])
def test_an_address_that_is_none_is_absent(client: Any) -> None:
    assert _address.client_address(Connection(http_scope(client=client))) is None


# Names


class Handlers:
    def method(self) -> None: ...

    @classmethod
    def classmethod(cls) -> None: ...

    def __call__(self) -> None: ...


def handler() -> None: ...


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [
        (handler, "handler"),
        (Handlers, "Handlers"),
        (Handlers(), "Handlers"),
        (Handlers().method, "Handlers.method"),
        (Handlers.classmethod, "Handlers.classmethod"),
        (functools.partial(handler), "handler"),
        (functools.partial(functools.partial(Handlers().method)), "Handlers.method"),
        (functools.partialmethod(handler), "handler"),
        (functools.partial(Handlers()), "Handlers"),
    ],
)
def test_the_event_is_named_after_the_endpoint(sentry: Sentry, endpoint: Any, name: str) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        scope["endpoint"] = endpoint
        raise ValueError

    with pytest.raises(ValueError):
        run(SentryMiddleware(app))
    assert sentry.event["transaction"] == f"{__name__}.{name}"
    assert sentry.event["transaction_info"] == {"source": "component"}


def test_a_builtin_as_endpoint_has_its_bare_name() -> None:
    assert _naming.endpoint(Connection(http_scope(endpoint="".join))) == "str.join"
    assert _naming.endpoint(Connection(http_scope(endpoint=len))) == "builtins.len"


@pytest.mark.parametrize("style", ["endpoint", "route", "url"])
def test_without_endpoint_or_route_the_name_is_the_path_alone(sentry: Sentry, style: Any) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        raise ValueError

    with pytest.raises(ValueError):
        run(
            SentryMiddleware(app, transaction_style=style),
            http_scope("/users/42", query_string=b"a=b"),
        )
    assert sentry.event["transaction"] == "/users/42"
    assert sentry.event["transaction_info"] == {"source": "url"}


def test_each_style_falls_back_on_the_other_before_the_path() -> None:
    routed = Connection(
        http_scope("/items/1", path_template="/items/{id}"), Settings(transaction_style="endpoint")
    )
    assert _naming.name_and_source(routed) == ("/items/{id}", "route")
    handled = Connection(
        http_scope("/items/1", endpoint=handler), Settings(transaction_style="route")
    )
    assert _naming.name_and_source(handled) == (f"{__name__}.handler", "component")


def test_a_name_that_the_app_set_wins(sentry: Sentry) -> None:
    import sentry_sdk

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        scope["endpoint"] = handler
        sentry_sdk.get_current_scope().set_transaction_name("mine", source="custom")
        raise ValueError

    with pytest.raises(ValueError):
        run(SentryMiddleware(app))
    assert sentry.event["transaction"] == "mine"
    assert sentry.event["transaction_info"] == {"source": "custom"}


@pytest.mark.parametrize("style", ["route", "url"])
@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({"path_template": "/items/{id:int}"}, "/items/{id:int}"),  # Litestar
        ({"route_path_template": "/items/{id}"}, "/items/{id}"),  # Lilya
    ],
)
def test_the_route_is_where_the_framework_put_it(
    sentry: Sentry, style: Any, facts: Scope, name: str
) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        scope.update(facts)
        raise ValueError

    with pytest.raises(ValueError):
        run(SentryMiddleware(app, transaction_style=style))
    assert sentry.event["transaction"] == name
    assert sentry.event["transaction_info"] == {"source": "route"}


@pytest.mark.parametrize(
    "scope",
    [
        http_scope(route=object()),
        http_scope(path_template=""),
        http_scope(route=None, root_path="/a"),
    ],
)
def test_a_scope_without_a_template_has_no_route(scope: Scope) -> None:
    assert _naming.route(Connection(scope)) is None


class Route:
    path = "/items/{id}"


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({}, "/items/{id}"),
        ({"root_path": "/sub"}, "/items/{id}"),  # the server's, or the app's own, no mount
        ({"app_root_path": "", "root_path": "/sub"}, "/sub/items/{id}"),
        ({"app_root_path": "/api", "root_path": "/api/sub"}, "/sub/items/{id}"),
        ({"app_root_path": "/api", "root_path": "/api"}, "/items/{id}"),
        ({"app_root_path": "/api", "root_path": "/else"}, "/items/{id}"),
        (
            {
                "app_root_path": "",
                "root_path": "/sub/t1",
                "path_params": {"tenant": "t1", "id": "t1"},
            },
            "/sub/{tenant}/items/{id}",
        ),
        (
            {"app_root_path": "", "root_path": "/sub/x", "path_params": {"tenant": 7}},
            "/sub/x/items/{id}",
        ),
    ],
)
def test_the_route_has_the_prefix_of_its_mounts(facts: Scope, name: str) -> None:
    assert _naming.route(Connection(http_scope(route=Route, **facts))) == name


# With the frameworks themselves


def serve_and_name(sentry: Sentry, app: Any, path: str, style: Any) -> tuple[str, str]:
    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(app, transaction_style=style), http_scope(path))
    event = sentry.event
    return event["transaction"], event["transaction_info"]["source"]


async def fail(request: Any) -> None:
    raise ValueError("nope")


def starlette_app() -> Any:
    from starlette.applications import Starlette
    from starlette.routing import Mount, Route as StarletteRoute

    leaf = StarletteRoute("/items/{id:int}", fail)
    return Starlette(
        routes=[leaf, Mount("/sub", routes=[leaf]), Mount("/t/{tenant}", routes=[leaf])]
    )


def test_starlette_endpoints_name_the_event(sentry: Sentry) -> None:
    name = serve_and_name(sentry, starlette_app(), "/items/1", "endpoint")
    assert name == (f"{__name__}.fail", "component")


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/items/1", "/items/{id:int}"),
        ("/sub/items/1", "/sub/items/{id:int}"),
        ("/t/acme/items/1", "/t/{tenant}/items/{id:int}"),
    ],
)
def test_starlette_routes_name_the_event_with_their_mounts(
    sentry: Sentry, path: str, template: str
) -> None:
    assert serve_and_name(sentry, starlette_app(), path, "route") == (template, "route")


@pytest.mark.parametrize(
    ("path", "template"),
    [("/v1/items/1", "/v1/items/{id}"), ("/sub/items/1", "/sub/items/{id}")],
)
def test_fastapi_routes_name_the_event_with_their_prefixes(
    sentry: Sentry, path: str, template: str
) -> None:
    from fastapi import APIRouter, FastAPI

    def endpoint(id: int) -> None:
        raise ValueError("nope")

    router, sub = APIRouter(prefix="/v1"), FastAPI()
    router.get("/items/{id}")(endpoint)
    sub.get("/items/{id}")(endpoint)
    app = FastAPI()
    app.include_router(router)
    app.mount("/sub", sub)
    assert serve_and_name(sentry, app, path, "route") == (template, "route")


# Whatever the scope holds

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=4,
)
KEYS = ["method", "scheme", "path", "raw_path", "query_string", "root_path", "headers", "client",
        "server", "route", "path_params", "app_root_path", "path_template", "endpoint"]  # fmt: skip


@given(st.dictionaries(st.sampled_from(KEYS), anything))
def test_no_scope_makes_a_fact_raise(scope: Scope) -> None:
    for style in ("endpoint", "route"):
        connection = Connection({"type": "http", **scope}, Settings(transaction_style=style))
        for fact in (
            _request.method,
            _request.headers,
            _request.query_string,
            _address.client_address,
            _url.url,
            _url.full_path,
            _naming.endpoint,
            _naming.route,
            _naming.name_and_source,
        ):
            fact(connection)
