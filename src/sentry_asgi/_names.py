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
from typing import Any, Final, NamedTuple


class Named(NamedTuple):
    template: str | None = None
    handler: Any = None
    # What the SDK's integration for the framework calls the request, in a style of its own.
    also: tuple[str, ...] = ()


NOTHING: Final = Named()
_DEPTH: Final = 10  # middlewares around the framework's application

# Packages whose own classes stand in `scope["endpoint"]` where they serve a part of the application.
_NO_HANDLERS: Final = frozenset({"starlette", "asgi_tools", "connexion"})


def named(connection: Any) -> Named:
    """What the framework that serves the connection knows of its route."""
    try:
        scope_tells = _of_scope(connection.scope)
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
    """Whether what is in `scope["endpoint"]` is the application's, and no part of the framework."""
    module = getattr(endpoint, "__module__", None)
    if not isinstance(module, str):
        return True
    return module.split(".")[0] not in _NO_HANDLERS


def _package(kind: type) -> str:
    return kind.__module__.split(".")[0]


def _of_scope(scope: Any) -> Named | None:
    effective = (scope.get("fastapi") or {}).get("effective_route_context")
    if effective is not None:  # FastAPI 0.137: the route itself knows its prefix no longer
        return Named(effective.path)
    handler = scope.get("route_handler")
    if handler is not None:  # Litestar
        return Named(scope["path_template"] or None, handler.fn, ("generic Litestar request",))
    included = scope.get("route")
    if "route_path_template" in scope and hasattr(included, "routes"):  # Lilya, Ravyn
        return _included(included, scope["path"])
    return None


def _included(include: Any, path: str) -> Named:  # pragma: no cover - the matrix runs it
    """The leaf of an `Include`, which is all that its scope tells of a route."""
    depth = include.path.count("/")
    rest = "/" + "/".join(path.split("/")[1 + depth :])
    leaf = next(route for route in include.routes if route.path_regex.match(rest))
    return Named(include.path + leaf.path, leaf.handler)


def _method(connection: Any) -> str:
    return str(connection.scope.get("method") or "GET")


def _is_websocket(connection: Any) -> bool:
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
    return Named(f"/{route.path}", handler, (route.name.partition(".")[2],))


def _falcon(app: Any, connection: Any) -> Named:  # pragma: no cover - the matrix runs it
    _, methods, _, template = app._router.find(connection.path)  # noqa: SLF001 - has no public way
    method = "WEBSOCKET" if _is_websocket(connection) else _method(connection)
    return Named(template, methods[method])


def _blacksheep(app: Any, connection: Any) -> Named:  # pragma: no cover - the matrix runs it
    method = "GET_WS" if _is_websocket(connection) else _method(connection)
    match = app.router.get_match_by_method_and_path(method, connection.path)
    return Named(match.pattern.decode(), match.handler)


def _microdot(app: Any, connection: Any) -> Named:  # pragma: no cover - the matrix runs it
    method = _method(connection)
    for methods, pattern, handler, *_ in app.url_map:
        if method in methods and pattern.match(connection.path) is not None:
            return Named(pattern.url_pattern, handler)
    return NOTHING


def _connexion(_app: Any, connection: Any) -> Named:  # pragma: no cover - the matrix runs it
    operation = sys.modules["connexion.context"].operation
    return Named(connection.scope.get("root_path", "") + operation.path, operation.function)


_RESOLVERS: Final[dict[str, Callable[[Any, Any], Named]]] = {
    "quart": _quart,
    "django": _django,
    "sanic": _sanic,
    "falcon": _falcon,
    "blacksheep": _blacksheep,
    "microdot": _microdot,
    "connexion": _connexion,
}
