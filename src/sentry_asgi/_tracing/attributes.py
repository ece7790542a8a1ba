"""What the span of a request, a handshake or a message tells: asked when it ends, for only then is it known.

Pure functions of the exchange; no Sentry in here. `part` says of what the span is.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from sentry_asgi._connection import (
    address as _address,
    naming as _naming,
    queue,
    request,
    url as _url,
)
from sentry_asgi._connection.exchange import ACCEPTED, Exchange, WebSocketExchange, now

AFTER_RESPONSE: Final = 0.001
"""Seconds of work after the response that are worth a span of their own."""


STREAM: Final = "stream"

Part: TypeAlias = int | Literal["stream"] | None
"""A message of a websocket's, by its size; `STREAM`: the events of a response; None: a request, or a handshake."""


def operation(exchange: Exchange) -> str:
    if isinstance(exchange, WebSocketExchange):
        return "websocket.server"
    return "http.server.stream" if exchange.trace.part == STREAM else "http.server"


def first_name(exchange: Exchange) -> str:
    """What a span is called before anything is routed."""
    return _url.full_path(exchange) or "/"


class Naming(NamedTuple):
    """What to call a span, and the route; no name if the application has named the span itself."""

    name: str | None
    source: str
    route: str | None


def naming(exchange: Exchange, given: str, part: Part) -> Naming:
    name, source, route = _naming.name_source_and_route(exchange)
    # Almost always it is the first name still; the others are dear to ask for.
    if given != first_name(exchange) and given not in _naming.derived_names(exchange):
        name = None
    elif part == STREAM:
        name = f"{name} stream"  # not among the requests, whose percentiles it would spoil
    return Naming(name, source, route)


def outcome(exchange: Exchange, part: Part) -> tuple[int | None, str | None]:
    """The status code of the response, and a span status of Sentry's that says more than the code."""
    if part is not None:
        return None, _ENDINGS.get(exchange.ending, "ok")
    if exchange.ending == "cancelled" or (exchange.client_left and exchange.ended_at is None):
        return exchange.status, "cancelled"
    if exchange.ending == "raised":
        return (500 if exchange.status is None else exchange.status), "internal_error"
    accepted = isinstance(exchange, WebSocketExchange) and exchange.status == ACCEPTED
    return exchange.status, "ok" if accepted else None


_ENDINGS: Final[dict[Any, str]] = {"cancelled": "cancelled", "raised": "internal_error"}


def attributes(
    exchange: Exchange, part: Part, status: int | None, route: str | None
) -> dict[str, Any]:
    """The facts of a request, by the names of Sentry's conventions (https://conventions.sentry.dev)."""
    headers = request.headers(exchange)
    host, port = _address.address(exchange)
    facts = {
        "http.route": route,
        "url.path": _url.full_path(exchange),
        "server.address": host,
        "server.port": port,
        "user_agent.original": headers.get("user-agent"),
    }
    if part is None:
        facts.update(_of_response(exchange, status))
    elif part == STREAM:
        facts.update(_of_stream(exchange))
    else:
        facts["messaging.message.body.size"] = part
    return {name: value for name, value in facts.items() if value is not None}


def _of_response(exchange: Exchange, status: int | None) -> dict[str, Any]:
    first_byte = exchange.first_byte_at
    return {
        "http.request.method": request.method(exchange),
        "network.protocol.version": _text(exchange.scope.get("http_version")),
        "http.response.status_code": status,
        "http.response.body.size": exchange.sent_bytes,
        "http.request.body.size": exchange.received_bytes,
        "http.server.request.time_in_queue": queue.milliseconds(exchange),
        "http.request.time_to_first_byte": first_byte
        and round(first_byte - exchange.started_at, 6),
    }


def _of_stream(exchange: Exchange) -> dict[str, Any]:
    by = "client" if exchange.client_left else "server"
    if exchange.ended_at is not None or exchange.ending == "raised":
        by = "app"
    return {"http.response.body.size": exchange.sent_bytes, "sentry_asgi.stream_ended_by": by}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def after_response(exchange: Exchange) -> float | None:
    """Seconds that the app went on after its response, if they are worth a span."""
    if exchange.ended_at is None or isinstance(exchange, WebSocketExchange):
        return None
    # Not what it takes to report a failure that left the app.
    seconds = (exchange.closed_at or now()) - exchange.ended_at
    return seconds if seconds >= AFTER_RESPONSE else None


def time_of(moment: float) -> datetime:
    """The time of the clock at what was `now()`."""
    return datetime.now(UTC) - timedelta(seconds=now() - moment)


def end(exchange: Exchange, start: datetime, part: Part) -> datetime | None:
    """When the request was over: with the last of its response, or with the app's failure to give one.

    None for now: a message is over when the next is asked for. A stream that never began is none of its time.
    """
    if part == STREAM and exchange.ended_at is not None:
        return time_of(exchange.ended_at)
    if part is not None:
        return None
    ended = exchange.ended_at or exchange.closed_at or now()
    if isinstance(exchange, WebSocketExchange) or exchange.awaits_events:
        ended = exchange.first_byte_at or ended
    return start + timedelta(seconds=ended - exchange.started_at)
