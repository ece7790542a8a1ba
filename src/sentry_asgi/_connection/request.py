"""Facts of one connection, read from its ASGI scope. Pure: no Sentry, no I/O, nothing kept.

- A `Connection` is made when the connection opens and costs next to nothing: it remembers the scope
  and the two values that frameworks are known to rewrite in it while they route.
- Everything else is a function of a Connection, called only when an event or a span needs it.
- No function raises, whatever the scope holds: a missing or odd value is an absent fact.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote

from sentry_asgi._frameworks import routes
from sentry_asgi._redaction.names import FILTERED
from sentry_asgi._redaction.rules import Rules

from .settings import DEFAULTS, Settings

_DEFAULT_PORTS: Final = {"http": "80", "ws": "80", "https": "443", "wss": "443"}

_METHOD: Final = re.compile("[A-Za-z_-]{3,32}")

# RFC 3986, 3.2.2: a reg-name, IPv4 address or bracketed IP literal, and maybe a port.
_HOST: Final = re.compile(r"(\[[0-9A-Za-z:.%_~-]+\]|[0-9A-Za-z._~!$&'()*+,;=%-]+)(?::([0-9]*))?")

# RFC 7239, 4: the node of a `for` parameter, which may be quoted.
_FOR: Final = re.compile(r"(?:^|;)\s*for\s*=\s*(\"[^\"]*\"|[^;\s]+)", re.IGNORECASE)
_BRACKETED: Final = re.compile(r"\A\[([^\]]*)\]")

# RFC 3986, 3.3, pchar and "/"; "%" stays, for what is already encoded.
_PATH_SAFE: Final = "/%:@!$&'()*+,;=~-._"


MARK: Final = "sentry_asgi"
"""Under it, a scope that is being served and its copies have the `id()` of the original."""


class Connection:
    """One HTTP request or websocket, as it was when it reached the middleware."""

    __slots__ = (
        "_full_path",
        "_headers",
        "_secrets",
        "outer",
        "outer_current",
        "path",
        "root_path",
        "scope",
        "settings",
    )

    # Asked for several times by whatever describes a request; unset until then.
    _full_path: str | None
    _headers: dict[str, str]
    _secrets: tuple[Any, list[str]]

    # What was in force where the connection began; the isolation's to set and to read.
    outer: Any
    outer_current: Any

    def __init__(self, scope: Any, settings: Settings = DEFAULTS) -> None:
        get = scope.get
        self.scope = scope
        self.path = get("path")
        self.root_path = get("root_path")
        self.settings = settings


def method(connection: Connection) -> str | None:
    """The request method in capitals; a websocket's handshake is a GET (RFC 6455, 4.1).

    Sentry takes 3 to 32 letters, `-` and `_` for a method; None for anything else.
    """
    scope = connection.scope
    default = "GET" if scope.get("type") == "websocket" else None
    value = scope.get("method", default)
    return value.upper() if isinstance(value, str) and _METHOD.fullmatch(value) else None


def headers(connection: Connection) -> dict[str, str]:
    """Request headers by lower-case name, decoded as latin-1.

    Repeated ones are joined by `, ` (RFC 9110, 5.3), and by `; ` for cookies (RFC 9113, 8.2.3).
    """
    try:
        return connection._headers  # noqa: SLF001
    except AttributeError:
        connection._headers = joined(header_pairs(connection))  # noqa: SLF001
        return connection._headers  # noqa: SLF001


def forget(connection: Connection) -> None:
    """Lets go of what was computed, for as long as nobody asks again."""
    for name in ("_headers", "_secrets", "_full_path"):
        with contextlib.suppress(AttributeError):
            delattr(connection, name)


def joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers by name, repeated ones joined as `headers` says."""
    joined: dict[str, str] = {}
    for name, value in pairs:
        if name not in joined:
            joined[name] = value
        else:
            joined[name] += ("; " if name == "cookie" else ", ") + value
    return joined


def header_pairs(connection: Connection) -> Iterator[tuple[str, str]]:
    """Request headers as they came, one by one, decoded and with lower-case names."""
    sent = connection.scope.get("headers")
    known = getattr(connection, "_headers", None)
    if known is not None and isinstance(sent, (list, tuple)) and len(known) == len(sent):
        return iter(known.items())  # none is repeated, so none is joined
    return pairs(sent)


def pairs(headers: Any) -> Iterator[tuple[str, str]]:
    """The headers of a scope or message, decoded as latin-1, with lower-case names."""
    if not isinstance(headers, Iterable) or isinstance(headers, Iterator):
        return  # what can be read once is there for somebody else
    for pair in headers:
        try:
            name, value = pair
        except (TypeError, ValueError):
            continue
        if name.__class__ is bytes and value.__class__ is bytes:
            yield name.decode("latin-1").lower(), value.decode("latin-1")
        else:
            yield _text(name).lower(), _text(value)


def _text(value: Any) -> str:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("latin-1")
    return value if isinstance(value, str) else ""


def query_string(connection: Connection) -> str:
    """The query string as it was on the wire, still percent-encoded; empty if there is none."""
    return _text(connection.scope.get("query_string"))


# W3C Trace Context, 3.2.2. Version ff is none; an id of zeros is none.
_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"
)


def incoming_trace(connection: Connection) -> dict[str, str]:
    """The headers by which Sentry's SDKs continue a trace: `sentry-trace` and `baggage`, if there.

    W3C's `traceparent` stands in for a missing `sentry-trace`: its sampled flag is Sentry's. Without the flag the
    decision is left open, for it then says only that the caller may not have recorded (3.2.2.5.1).
    """
    sent = headers(connection)
    found: dict[str, str] = {
        name: sent[name] for name in ("sentry-trace", "baggage") if name in sent
    }
    parent = _TRACEPARENT.fullmatch(sent.get("traceparent", "").strip().lower())
    if parent and "sentry-trace" not in found:
        sampled = "-1" if int(parent[3], 16) & 1 else ""
        found["sentry-trace"] = f"{parent[1]}-{parent[2]}{sampled}"
    return found


def client_address(connection: Connection) -> str | None:
    """The client's address: the peer's as the server knows it, or what trusted proxies say of it.

    Each proxy adds the address of its own peer at the right of `X-Forwarded-For` or `Forwarded` (RFC 7239). What
    stands further left than as many entries as there are trusted proxies was written by anybody.
    """
    hops = connection.settings.trusted_hops
    if hops:
        entry = _forwarded(connection, hops)
        if entry is not None:
            return _address(entry)
    client = connection.scope.get("client")
    if isinstance(client, (list, tuple)) and client and isinstance(client[0], str):
        return client[0] or None
    return None


def _forwarded(connection: Connection, hops: int) -> str | None:
    """Return what the outermost trusted proxy says of its peer; None where there are fewer entries."""
    values = headers(connection)
    given = values.get("x-forwarded-for")
    chain = values.get("forwarded", "") if given is None else given
    entries = chain.rsplit(",", hops)[-hops:] if chain else []
    if len(entries) < hops:
        return None
    if given is not None:
        return entries[0]
    match = _FOR.search(entries[0])
    return match[1] if match else ""


def _address(text: str) -> str | None:
    """The IP address in an entry, without port and brackets; None if it holds none."""
    import ipaddress  # noqa: PLC0415  # for those behind proxies

    text = text.strip().strip('"')
    match = _BRACKETED.match(text)
    bare = match[1] if match else text.partition(":")[0] if text.count(":") == 1 else text
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return None


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
    host, port = _host_and_port(connection)
    if not port or port == _DEFAULT_PORTS.get(scheme):
        return host
    return f"{host}:{port}"


_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


def is_localhost(connection: Connection) -> bool:
    """Whether the request comes from this machine, or asks for it by name: what Relay's filter goes by.

    https://docs.sentry.io/concepts/data-management/filtering/ ("Filter out events coming from localhost")
    """
    forwarded = headers(connection).get("x-forwarded-host", "")
    hosts = {_host_and_port(connection)[0], forwarded.partition(":")[0]}
    return any(
        host.strip("[]") in _LOOPBACK or host.endswith(".localhost")
        for host in {*hosts, client_address(connection) or ""}
    )


def address(connection: Connection) -> tuple[str | None, int | None]:
    """Host and port that the client asked for, as in the URL; None where it named none."""
    host, port = _host_and_port(connection)
    return host or None, int(port) if port.isdecimal() and port.isascii() else None


def _host_and_port(connection: Connection) -> tuple[str, str]:
    return _named_host(connection) or _server_host(connection) or ("", "")


def _named_host(connection: Connection) -> tuple[str, str] | None:
    value = headers(connection).get("host", "")
    # Whoever puts credentials before the host, or what no host may contain, is not followed.
    match = _HOST.fullmatch(value.rpartition("@")[2].strip())
    return (match[1], match[2] or "") if match else None


def _server_host(connection: Connection) -> tuple[str, str] | None:
    server = connection.scope.get("server")
    if not isinstance(server, (list, tuple)) or len(server) != 2 or server[1] is None:  # noqa: PLR2004
        return None  # absent, or the path of a unix socket
    host, port = server
    if not isinstance(host, str) or not host:
        return None
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return host, str(port)


def full_path(connection: Connection) -> str | None:
    """The path with its `root_path`, percent-encoded; from the wire's own bytes where they are known.

    The specification has `path` include `root_path`; not all servers and frameworks do. A segment that the framework
    has taken for a parameter with the name of a secret (`/reset/{token}`) is replaced.
    """
    path = _path_as_sent(connection)
    # Known once the request is routed.
    parameters = connection.scope.get("path_params")
    if not path or parameters.__class__ is not dict:
        return path
    return _without_secrets(path, parameters, connection.settings.rules)


def _path_as_sent(connection: Connection) -> str | None:
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


# Names: what the framework has written into the scope by the time that they are asked for.


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
        _path_as_sent(connection),
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


class Exclusion(NamedTuple):
    """Requests that are neither traced nor counted."""

    methods: tuple[str, ...]
    """Whatever their path."""
    matches: Callable[[Any, Any], bool] | None
    """Whether a method and a path are excluded beyond that; None if none are."""


def exclusion(patterns: Sequence[str]) -> Exclusion:
    """Return what a list of patterns excludes: paths, in which `*` stands for anything, or a method and a path.

    Raises:
        TypeError: if a pattern is no string.
        ValueError: if a path does not begin with `/` or `*`: nothing would ever match.

    """
    if isinstance(patterns, str):
        raise TypeError(f"exclude must be a list of patterns such as [{patterns!r}], not a string")
    methods: list[str] = []
    others: list[tuple[str, list[str]]] = []
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise TypeError(
                f"a pattern of exclude must be a string such as '/health', got {pattern!r}"
            )
        method, _, path = pattern.rpartition(" ")
        if not path.startswith(("/", "*")) or (method and not _METHOD.fullmatch(method)):
            raise ValueError(
                f"a pattern of exclude must be a path that begins with '/' or '*', or a method and such a path "
                f"('OPTIONS *'), got {pattern!r}"
            )
        if method and path == "*":
            methods.append(method.upper())
        else:
            others.append((method.upper(), path.split("*")))

    def matches(method: Any, path: Any) -> bool:
        return isinstance(path, str) and any(
            (not wanted or wanted == method) and _has_parts(path, parts) for wanted, parts in others
        )

    return Exclusion(tuple(methods), matches if others else None)


def _has_parts(path: str, parts: list[str]) -> bool:
    """Whether a path is these parts, with anything in between; each is looked for once, from the left."""
    if len(parts) == 1:
        return path == parts[0]
    first, *middle, last = parts
    if not path.startswith(first):
        return False
    at, end = len(first), len(path) - len(last)
    for part in middle:
        found = path.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return at <= end and path.endswith(last)
