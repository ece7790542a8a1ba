"""The URL of a request, and its path as it was on the wire. As of `request`, no function raises.

A segment that the framework has taken for a parameter with the name of a secret is replaced.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote, unquote

from sentry_asgi._redaction.names import FILTERED
from sentry_asgi._redaction.rules import Rules

from .address import host_and_port
from .request import Connection

_DEFAULT_PORTS: Final = {"http": "80", "ws": "80", "https": "443", "wss": "443"}

# RFC 3986, 3.3, pchar and "/"; "%" stays, for what is already encoded.
_PATH_SAFE: Final = "/%:@!$&'()*+,;=~-._"


def url(connection: Connection) -> str | None:
    """The URL without its query: scheme, host as the client named it, full path.

    The host is that of the `Host` header, else the server's address; where there is neither, as on a unix
    socket, it is the path alone. Default ports are left out. None for a scope without a path.
    """
    path = full_path(connection)
    if path is None:
        return None
    scope = connection.scope
    scheme = scope.get("scheme")
    if not isinstance(scheme, str) or not scheme:
        scheme = "ws" if scope.get("type") == "websocket" else "http"
    authority = _authority(connection, scheme)
    return f"{scheme}://{authority}{path}" if authority else path


def _authority(connection: Connection, scheme: str) -> str:
    host, port = host_and_port(connection)
    if not port or port == _DEFAULT_PORTS.get(scheme):
        return host
    return f"{host}:{port}"


def full_path(connection: Connection) -> str | None:
    """The path with its `root_path`, percent-encoded; from the wire's own bytes where they are known.

    The specification has `path` include `root_path`; not all servers and frameworks do. A segment that the framework
    has taken for a parameter with the name of a secret (`/reset/{token}`) is replaced.
    """
    path = path_as_sent(connection)
    # Known once the request is routed.
    parameters = connection.scope.get("path_params")
    if not path or parameters.__class__ is not dict:
        return path
    return _without_secrets(path, parameters, connection.settings.rules)


def path_as_sent(connection: Connection) -> str | None:
    try:
        return connection._full_path  # noqa: SLF001
    except AttributeError:
        connection._full_path = _joined_path(connection)  # noqa: SLF001
        return connection._full_path  # noqa: SLF001


def _without_secrets(path: str, parameters: dict[Any, Any], rules: Rules) -> str:
    secret = {
        str(value)
        for name, value in parameters.items()
        if rules.variables[name] and value and isinstance(value, (str, int))
    }
    if not secret:
        return path
    return "/".join(FILTERED if unquote(one) in secret else one for one in path.split("/"))


def _joined_path(connection: Connection) -> str | None:
    path, root = connection.path, connection.root_path
    if not isinstance(path, str):
        return None
    raw = _wire_path(connection)
    encoded = (
        quote(path, safe=_PATH_SAFE.replace("%", ""), errors="replace") if raw is None else raw
    )
    root = root.rstrip("/") if isinstance(root, str) else ""
    if not root or path == root or path.startswith(root + "/"):
        return encoded
    return quote(root, safe=_PATH_SAFE.replace("%", ""), errors="replace") + encoded


def _wire_path(connection: Connection) -> str | None:
    """The path as it was sent, if the scope has it and it is the same path."""
    raw = connection.scope.get("raw_path")
    if not isinstance(raw, bytes):
        return None
    sent = quote(raw.partition(b"?")[0], safe=_PATH_SAFE)
    return sent if unquote(sent) == connection.path else None
