"""Facts of what has passed on a connection: the body as far as it was read, the response, the ASGI facts.

Called only when an event is made. A `Connection` of which nothing was watched (it is no `Exchange`) has none of them.
No function raises, whatever the messages held.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sentry_asgi._connection import queue, request
from sentry_asgi._connection.body import Body, understand
from sentry_asgi._connection.exchange import ACCEPTED, Exchange, WebSocketExchange, now
from sentry_asgi._connection.request import Connection
from sentry_asgi._redaction.names import Privacy


def body(connection: Connection, size: int | None = None) -> Body | None:
    """The request's body as far as the app has read it and it was kept; None if nothing was.

    With `size`, of its first bytes: as many as may be sent.
    """
    kept = connection.body if isinstance(connection, Exchange) else None
    data = b"" if kept is None else bytes(kept.data[:size])
    if not data:
        return None
    content_type = request.headers(connection).get("content-type", "")
    return understand(data, content_type, cut=body_cut(connection, len(data)))


def body_cut(connection: Connection, size: int) -> bool:
    """Whether the first bytes of the body, as many as `size`, are not all of it."""
    if not isinstance(connection, Exchange):
        return False
    return not connection.received_all or size < connection.received_bytes


def message(connection: Connection) -> Body | None:
    """What a websocket has received last, while the app handles it."""
    sent = connection.message if isinstance(connection, WebSocketExchange) else None
    if not sent:
        return None
    data = sent if isinstance(sent, bytes) else sent.encode(errors="replace")
    return understand(data, "application/json", cut=False)


def body_read(connection: Connection) -> int:
    """How many bytes of the body the app has read."""
    if not isinstance(connection, Exchange) or isinstance(connection, WebSocketExchange):
        return 0
    return connection.received_bytes


def header_pairs(connection: Connection) -> Iterator[tuple[str, str]]:
    """The response's headers, one by one; none before it has started."""
    return request.pairs(connection.response_headers if isinstance(connection, Exchange) else ())


def contexts(connection: Connection, allowed: Privacy) -> dict[str, dict[str, Any]]:
    """The contexts `response`, `asgi` and `websocket`, by these names."""
    if not isinstance(connection, Exchange):
        return {}
    found = {
        "response": _response(connection, allowed),
        "asgi": _asgi(connection),
        "websocket": websocket(connection),
    }
    return {name: context for name, context in found.items() if context}


def _response(exchange: Exchange, allowed: Privacy) -> dict[str, Any]:
    if exchange.first_byte_at is None:
        return {}
    headers = request.joined(header_pairs(exchange))
    facts = {
        "status_code": exchange.status,
        "headers": allowed.headers(headers) or None,
        "body_size": exchange.sent_bytes,
    }
    return _known(facts)


def _asgi(exchange: Exchange) -> dict[str, Any]:
    scope, first = exchange.scope, exchange.first_byte_at
    about = scope.get("asgi")
    about = about if isinstance(about, dict) else {}
    reads_body = not isinstance(exchange, WebSocketExchange)
    facts = {
        "spec_version": _string(about.get("spec_version")),
        "version": _string(about.get("version")),
        "http_version": _string(scope.get("http_version")),
        "server": _server(scope.get("server")),
        "tls": _tls(scope),
        "phase": exchange.phase,
        "time_in_queue_ms": queue.milliseconds(exchange),
        "time_to_first_byte_ms": None
        if first is None
        else _milliseconds(first - exchange.started_at),
        "client_left": exchange.client_left,
        "body_read": exchange.received_bytes if reads_body else None,
        "body_complete": exchange.received_all if reads_body else None,
    }
    return _known(facts)


def websocket(exchange: Exchange) -> dict[str, Any]:
    """What has passed on a websocket that was accepted, by now or by its end; nothing of anything else."""
    if not isinstance(exchange, WebSocketExchange) or exchange.status != ACCEPTED:
        return {}
    by, code, reason = exchange.close or (None, None, None)
    facts = {
        "seconds": round((exchange.ended_at or now()) - exchange.started_at, 3),
        "messages_received": exchange.received_messages,
        "bytes_received": exchange.received_bytes,
        "messages_sent": exchange.sent_messages,
        "bytes_sent": exchange.sent_bytes,
        "close_code": code,
        "close_reason": reason or None,
        "closed_by": by,
    }
    return _known(facts)


def is_over(exchange: Exchange) -> bool:
    """Whether the connection has been closed, or its app has come back."""
    return exchange.ended_at is not None or exchange.ending is not None


def _known(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: fact for name, fact in facts.items() if fact is not None}


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _server(server: Any) -> str | None:
    """The address that the server listens on, or the path of its unix socket."""
    if not isinstance(server, (list, tuple)) or len(server) != 2:  # noqa: PLR2004
        return None
    host, port = server
    if not isinstance(host, str):
        return None
    return host if port is None else f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _tls(scope: Any) -> str | bool | None:
    """The TLS version of the ASGI extension, else whether the scheme is of TLS; None if nothing tells."""
    extensions = scope.get("extensions")
    tls = extensions.get("tls") if isinstance(extensions, dict) else None
    version = tls.get("tls_version") if isinstance(tls, dict) else None
    if isinstance(version, int):  # ASGI TLS extension: 0x0304 is TLS 1.3
        return f"1.{(version & 0xFF) - 1}" if version >> 8 == 3 else hex(version)  # noqa: PLR2004
    scheme = scope.get("scheme")
    return scheme in {"https", "wss"} if isinstance(scheme, str) else None
