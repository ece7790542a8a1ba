"""Route template and handler of a request, for frameworks that do not put both into the ASGI scope.

The rules:

- Asked only when an event or a span is to be named. No framework is imported here: what serves the request is an
  object of the framework's, so the framework is loaded.
- Its own router is asked with the request's path and method, or its own context. Nothing is patched, nothing
  registered.
- Every name of a framework's that is used is used here; the private ones are marked. Where a framework has changed,
  there is no answer, and the request is named by its path.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

from sentry_asgi._python.in_app import application


class Named(NamedTuple):
    template: str | None = None
    handler: Any = None
    # What the SDK's integration for the framework calls the request, in a style of its own.
    also: tuple[str, ...] = ()


NOTHING: Final = Named()
_DEPTH: Final = 10  # middlewares around the framework's application

# Packages of whose code nothing in `scope["endpoint"]` is a handler, functions included.
_NO_HANDLERS: Final = frozenset({"starlette", "asgi_tools", "connexion"})


def named(connection: Any) -> Named:
    """What the framework that serves the connection knows of its route."""
    try:
        scope_tells = _of_scope(connection)
        if scope_tells is not None:
            return scope_tells
        app = connection.settings.app
        for _ in range(_DEPTH):
            resolve = _RESOLVERS.get(_package(type(app)))
            if resolve is not None:
                return resolve(app, connection)
            app = app.app
    except Exception:  # another version, or no such route: then there is no name
        pass
    return NOTHING


def is_handler(endpoint: Any) -> bool:
    """Whether what is in `scope["endpoint"]` handles requests, and does not lead to what does.

    A library's class, or an object of one, serves many routes: a mounted application, a bridge to WSGI. A function of a
    library's (a metrics page) is a handler like any other.
    """
    module = getattr(endpoint, "__module__", None)
    if isinstance(module, str) and module.split(".")[0] in _NO_HANDLERS:
        return False
    if hasattr(endpoint, "__qualname__") and not isinstance(endpoint, type):
        return True
    kind = endpoint if isinstance(endpoint, type) else type(endpoint)
    return not _is_a_librarys(kind)


def _is_a_librarys(kind: type) -> bool:
    filename = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return isinstance(filename, str) and not application[filename]


def _package(kind: type) -> str:
    return kind.__module__.split(".")[0]


def _of_scope(connection: Any) -> Named | None:
    scope = connection.scope
    effective = (scope.get("fastapi") or {}).get("effective_route_context")
    if effective is not None:  # FastAPI 0.137: the route itself knows its prefix no longer
        return Named(effective.path)
    handler = scope.get("route_handler")
    if handler is not None:  # Litestar
        function = getattr(handler.fn, "func", handler.fn)  # of what runs it in a thread
        return Named(scope["path_template"] or None, function, ("generic Litestar request",))
    route = scope.get("route")
    if "route_path_template" not in scope:
        router = scope.get("router") if route is None else None
        asked = router is not None and (
            connection.settings.transaction_style == "route"
            or not is_handler(scope.get("endpoint"))
        )
        return _of_starlette(router, connection) if asked else None
    if hasattr(route, "routes"):  # Lilya, Ravyn
        return _included(route, scope["path"])
    return Named(scope["route_path_template"], _function(route.handler))


def _of_starlette(router: Any, connection: Any) -> Named | None:
    """What the route table says, where it is wanted, before Starlette 1.7: there no route is in the scope."""
    kinds = {kind.__module__ for kind in type(router).__mro__}
    if "starlette.routing" not in kinds:
        return None
    scope = {**connection.scope, "path": connection.path, "root_path": connection.root_path or ""}
    scope.pop("app_root_path", None)
    template = _matched(router.routes, scope)
    return Named(template) if template else None


def _matched(routes: Any, scope: Any) -> str | None:
    """The template of the first route that serves a scope, with those that it is mounted under."""
    for route in routes:
        match, child = route.matches(scope)
        if match.name != "FULL":
            continue
        below = getattr(route, "routes", None)
        if not below:
            return str(route.path)
        return getattr(route, "path", "") + (_matched(below, {**scope, **child}) or "")
    return None


def _function(handler: Any) -> Any:
    """Ravyn's handlers are objects, with the function in them."""
    return getattr(handler, "fn", handler)


def _included(include: Any, path: str) -> Named:
    """The leaf of an `Include`, which is all that its scope tells of a route."""
    depth = include.path.count("/")
    rest = "/" + "/".join(path.split("/")[1 + depth :])
    leaf = next(route for route in include.routes if route.path_regex.match(rest))
    return Named(include.path + leaf.path, _function(leaf.handler))


def _method(connection: Any) -> str:  # pragma: no cover - the matrix runs it
    return str(connection.scope.get("method") or "GET")


def _is_websocket(connection: Any) -> bool:  # pragma: no cover - the matrix runs it
    return bool(connection.scope.get("type") == "websocket")


def _quart(app: Any, connection: Any) -> Named:  # pragma: no cover - the matrix runs it
    rule, _ = app.url_map.bind("localhost").match(
        connection.path,
        method=_method(connection),
        return_rule=True,
        websocket=_is_websocket(connection),
    )
    return Named(rule.rule, app.view_functions[rule.endpoint], (rule.endpoint,))


def _django(_app: Any, connection: Any) -> Named:  # pragma: no cover - the matrix runs it
    root = connection.root_path or ""
    match = sys.modules["django.urls"].resolve(connection.path.removeprefix(root))
    handler = getattr(match.func, "view_class", match.func)
    template = f"{root}/{match.route}"
    braces = template.replace("<", "{").replace(">", "}")
    plain = "/".join(
        "{" + part.rpartition(":")[2] if part.startswith("{") and ":" in part else part
        for part in braces.split("/")
    )
    return Named(template, handler, (plain,))


def _sanic(app: Any, connection: Any) -> Named:  # pragma: no cover - the matrix runs it
    route, handler, _ = app.router.get(connection.path, _method(connection), None)
    if _is_websocket(connection):
        handler = handler.args[0]  # a partial of what serves all websockets
    return Named(f"/{route.path}", handler, (route.name.partition(".")[2],))


def _falcon(app: Any, connection: Any) -> Named:  # pragma: no cover - the matrix runs it
    _, methods, _, template = app._router.find(connection.path)  # noqa: SLF001 - has no public way
    method = "WEBSOCKET" if _is_websocket(connection) else _method(connection)
    return Named(template, methods[method])


def _blacksheep(app: Any, connection: Any) -> Named:  # pragma: no cover - the matrix runs it
    method = "GET_WS" if _is_websocket(connection) else _method(connection)
    match = app.router.get_match_by_method_and_path(method, connection.path)
    handler = getattr(match.handler, "root_fn", match.handler)
    return Named(match.pattern.decode(), handler)


def _microdot(app: Any, connection: Any) -> Named:  # pragma: no cover - the matrix runs it
    method = _method(connection)
    for methods, pattern, handler, *_ in app.url_map:
        if method in methods and pattern.match(connection.path) is not None:
            return Named(pattern.url_pattern, handler)
    return NOTHING


def _connexion(_app: Any, connection: Any) -> Named:  # pragma: no cover - the matrix runs it
    operation = sys.modules["connexion.context"].operation
    return Named(connection.scope.get("root_path", "") + operation.path, operation.function)


def _emmett(app: Any, connection: Any) -> Named:  # pragma: no cover - the matrix runs it
    is_websocket = _is_websocket(connection)
    router = app._router_ws if is_websocket else app._router_http  # noqa: SLF001 - has no public way
    headers = dict(connection.scope.get("headers") or ())
    host = headers.get(b"host", b"").decode("latin-1")
    asked = SimpleNamespace(
        path=connection.path,
        method=_method(connection),
        scheme=connection.scope.get("scheme"),
        host=host,
    )
    match, _ = router.match(asked)
    # As "GET|HEAD http|https://<any>/users/<int:id> -> app.user", which is how Emmett itself shows its routes.
    shown = router._routes_str[match.name].partition("://")[2].rpartition(" -> ")[0]  # noqa: SLF001
    return Named("/" + shown.partition("/")[2], match.dispatch.__self__.f)


def _nexios(app: Any, connection: Any) -> Named:  # pragma: no cover - the matrix runs it
    return _nexios_route(app.router.routes, connection.path, connection)


def _nexios_route(
    routes: Any, path: str, connection: Any
) -> Named:  # pragma: no cover - the matrix runs it
    for route in routes:
        match = route.pattern.match(path)
        if match is None:
            continue
        below = getattr(route, "routes", None)  # of a group
        if below is not None:
            leaf = _nexios_route(below, match["path"] or "/", connection)
            return leaf._replace(template=route.path.rstrip("/") + (leaf.template or ""))
        methods = getattr(route, "methods", None)  # of HTTP's routes alone
        if methods is None or _method(connection).upper() in {one.upper() for one in methods}:
            return Named(route.raw_path, route.handler)
    return NOTHING


def _muffin(app: Any, connection: Any) -> Named:  # pragma: no cover - the matrix runs it
    path = (connection.root_path or "") + connection.path
    return _http_router(app.router, path, connection)


def _http_router(
    router: Any, path: str, connection: Any
) -> Named:  # pragma: no cover - the matrix runs it
    for route in (*router.plain.get(path, ()), *router.dynamic):
        if not route.match(path, _method(connection)):
            continue
        inner = _mounted_router(route)
        if inner is None:
            return Named(route.path, route.target)
        leaf = _http_router(inner, path[len(route.path) :] or "/", connection)
        return leaf._replace(template=route.path + (leaf.template or ""))
    return NOTHING


def _mounted_router(route: Any) -> Any:  # pragma: no cover - the matrix runs it
    """The router that a route leads to: a router of http_router's, or that of an app of asgi_tools', in a closure."""
    router = getattr(route.target, "__self__", None)
    if hasattr(router, "dynamic"):
        return router
    if type(route).__name__ != "RouteApp":
        return None
    held = [cell.cell_contents for cell in route.target.__closure__]
    return next(one.router for one in held if hasattr(one, "router"))


def _channels(app: Any, connection: Any) -> Named:  # pragma: no cover - the matrix runs it
    for _ in range(_DEPTH):
        if _package(type(app)) == "django":
            return _django(app, connection)
        if hasattr(app, "application_mapping"):
            app = app.application_mapping[connection.scope["type"]]
        elif hasattr(app, "routes"):
            path = connection.path.removeprefix(connection.root_path or "")
            return _channels_route(app.routes, path.lstrip("/"))
        else:
            app = getattr(app, "inner", None) or app.application
    return NOTHING


def _channels_route(routes: Any, path: str) -> Named:  # pragma: no cover - the matrix runs it
    for route in routes:
        match = route.pattern.match(path)
        if not match:
            continue
        below = getattr(route.callback, "routes", None)
        if below is None:
            handler = getattr(route.callback, "consumer_class", route.callback)
            return Named(f"/{route.pattern}", handler)
        leaf = _channels_route(below, match[0])
        return leaf._replace(template=f"/{route.pattern}{(leaf.template or '').lstrip('/')}")
    return NOTHING


_RESOLVERS: Final[dict[str, Callable[[Any, Any], Named]]] = {
    "quart": _quart,
    "django": _django,
    "sanic": _sanic,
    "falcon": _falcon,
    "blacksheep": _blacksheep,
    "microdot": _microdot,
    "connexion": _connexion,
    "emmett": _emmett,
    "nexios": _nexios,
    "muffin": _muffin,
    "asgi_tools": _muffin,
    "channels": _channels,
}
