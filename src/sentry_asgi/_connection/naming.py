"""What to call a request: what the framework has written into the scope by the time that its names are asked for.

As of `request`, no function raises.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from sentry_asgi._frameworks import routes

from .request import Connection
from .url import full_path, path_as_sent, url


def name_and_source(connection: Connection) -> tuple[str, str] | None:
    """What to call the request, and where the name is from: a `transaction_info.source` of Sentry's.

    The `endpoint` (source `component`) or the `route`, whichever the connection's `transaction_style`
    asks for, else the other; the path alone (source `url`) where neither is known. None for a scope
    that has none of them.
    """
    name, source, _ = name_source_and_route(connection)
    return None if name is None else (name, source)


def name_source_and_route(connection: Connection) -> tuple[str | None, str, str | None]:
    """As `name_and_source`, and the route; all of it at once, for frameworks are slow to ask."""
    known = routes.named(connection)
    handler, template = endpoint(connection, known), route(connection, known)
    if template and (not handler or connection.settings.transaction_style == "route"):
        return template, "route", template
    return (handler, "component", template) if handler else (full_path(connection), "url", template)


def derived_names(connection: Connection) -> set[str | None]:
    """Every name that can be made of the scope, in whatever style, by whomever."""
    leaf = _leaf_template(connection.scope.get("route"))
    path = full_path(connection)
    known = routes.named(connection)
    return {
        endpoint(connection, known),
        route(connection, known),
        leaf,
        path,
        path_as_sent(connection),
        connection.path,
        url(connection),
        _url_by_server(connection),
        *known.also,
    }


def _url_by_server(connection: Connection) -> str | None:
    """What the SDK's ASGI middleware calls a request that it knows no better name for."""
    scope = connection.scope
    server = scope.get("server")
    if not isinstance(server, (list, tuple)) or len(server) != 2:  # noqa: PLR2004
        return None
    return f"{scope.get('scheme')}://{server[0]}:{server[1]}{connection.path}"


def endpoint(connection: Connection, known: routes.Named | None = None) -> str | None:
    """The handler as `module.qualname`, from the `endpoint` that frameworks put into the scope."""
    handler = _unwrapped(connection.scope.get("endpoint"))
    if handler is None or not routes.is_handler(handler):
        handler = _unwrapped((known or routes.named(connection)).handler)
    if handler is None or not routes.is_handler(handler):
        return None
    named = handler if hasattr(handler, "__qualname__") else type(handler)
    module, qualname = getattr(named, "__module__", None), named.__qualname__
    return f"{module}.{qualname}" if isinstance(module, str) else str(qualname)


def _unwrapped(handler: Any) -> Any:
    while isinstance(handler, (functools.partial, functools.partialmethod)):
        handler = handler.func
    return handler


def route(connection: Connection, known: routes.Named | None = None) -> str | None:
    """The route's template, with the prefix of what it is mounted under: `/sub/items/{id}`."""
    told = (known or routes.named(connection)).template
    if told:
        return told
    scope = connection.scope
    for key in ("path_template", "route_path_template"):  # Litestar; Lilya and Ravyn: the full one
        template = scope.get(key)
        if isinstance(template, str) and template:
            return template
    found = scope.get("route")
    if hasattr(found, "routes"):  # a mount, which has put its path into `root_path`
        return _mount_prefix(connection, "") or None
    leaf = _leaf_template(found)
    return None if leaf is None else _mount_prefix(connection, leaf) + leaf


def _leaf_template(found: Any) -> str | None:
    # FastAPI, and Starlette from 1.7, put the route itself into the scope.
    path = getattr(found, "path", None)
    return path if isinstance(path, str) else None


def _mount_prefix(connection: Connection, leaf: str) -> str:
    """What mounts added to `root_path` on the way to the route, their parameters named again.

    Starlette's Mount keeps the first `root_path` as `app_root_path`, appends the concrete prefix
    (`/sub/t1` for `/sub/{tenant}`) to `root_path` and adds its parameters to `path_params`.
    """
    scope = connection.scope
    root, outer = scope.get("root_path"), scope.get("app_root_path")
    if not isinstance(root, str) or not isinstance(outer, str) or not root.startswith(outer):
        return ""
    prefix = root[len(outer) :]
    parameters = scope.get("path_params")
    if not prefix or not isinstance(parameters, Mapping):
        return prefix
    own = set(re.findall(r"{(\w+)", leaf))
    names = {str(value): name for name, value in parameters.items() if name not in own}
    return "/".join(
        f"{{{names[segment]}}}" if segment in names else segment for segment in prefix.split("/")
    )
