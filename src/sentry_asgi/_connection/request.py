"""Facts of one connection, read from its ASGI scope. Pure: no Sentry, no I/O, nothing kept.

- A `Connection` is made when the connection opens and costs next to nothing: it remembers the scope
  and the two values that frameworks are known to rewrite in it while they route.
- Everything else is a function of a Connection, called only when an event or a span needs it.
- No function raises, whatever the scope holds: a missing or odd value is an absent fact.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from .settings import DEFAULTS, Settings

METHOD: Final = re.compile("[A-Za-z_-]{3,32}")

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
    return value.upper() if isinstance(value, str) and METHOD.fullmatch(value) else None


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
