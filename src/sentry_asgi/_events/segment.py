"""What a streamed segment, log or metric tells of its request: attributes, for no event processor adds anything to it.

The names are those of https://conventions.sentry.dev.
"""

from __future__ import annotations

import json
from typing import Any, Final

import sentry_sdk

from sentry_asgi._connection import address as _address, request as _request
from sentry_asgi._connection.request import Connection
from sentry_asgi._redaction import names, redact, texts
from sentry_asgi._redaction.names import FILTERED, Privacy
from sentry_asgi._sdk import events, spans

from . import telemetry
from .event import has_body, known_secrets, request_data


def shared_attributes(connection: Connection) -> dict[str, Any]:
    """What the SDK's own middleware puts on each streamed span, log and metric of a request."""
    allowed = names.privacy(sentry_sdk.get_client().options, connection.settings.rules)
    shared = _shared(connection, allowed)
    agent = _request.headers(connection).get("user-agent")
    if agent:
        said = texts.clean_texts({"": agent}, connection.settings.rules)
        shared["user_agent.original"] = said[""]
    return shared


def _shared(connection: Connection, allowed: Privacy) -> dict[str, Any]:
    shared: dict[str, Any] = {"sentry.is_localhost": _address.is_localhost(connection)}
    address = _address.client_address(connection) if allowed.user_info else None
    if address is not None:
        shared["user.ip_address"] = address
    return shared


# Of what a segment tells, what anybody may have sent.
_SENT: Final = ("name", "url.path", "user_agent.original")


def complete_segment(connection: Connection, facts: dict[str, Any], *, of_request: bool) -> None:
    """Adds to a streamed segment's facts what was sent. Not `of_request` is the segment of a websocket's message.

    What it tells is cleaned when it is sent, but for a body, pieces of which may begin or end within a secret.
    """
    options = sentry_sdk.get_client().options
    allowed = names.privacy(options, connection.settings.rules)
    request = request_data(connection, allowed) if of_request else {}
    if "data" in request or not telemetry.cleans_spans(options):
        request = _cleaned(connection, facts, request)
    facts.update(_shared(connection, allowed))
    if of_request:
        facts["network.protocol.name"] = connection.scope.get("type")
    for name, value in (request.get("headers") or {}).items():
        facts[f"http.request.header.{name}"] = spans.header_attribute(value)
    if options.get("send_default_pii") or names.given_collection(options) is not None:
        _add_url(request, facts)
    address = (request.get("env") or {}).get("REMOTE_ADDR")
    if address is not None:
        facts["client.address"] = address
    body = _as_text(events.plain(request.get("data")))
    if body is not None:
        facts["http.request.body.data"] = body


def _cleaned(
    connection: Connection, facts: dict[str, Any], request: dict[str, Any]
) -> dict[str, Any]:
    said: dict[str, Any] = {key: facts[key] for key in _SENT if key in facts}
    event: dict[str, Any] = {"request": request, "extra": said}
    known, rules = known_secrets(connection), connection.settings.rules
    redact.redact(event, known, rules, chunks=has_body(connection))
    # What could not be looked at is a text.
    whole = isinstance(event["extra"], dict)
    facts.update(event["extra"] if whole else dict.fromkeys(said, FILTERED))
    return event["request"] if isinstance(event["request"], dict) else {}


def _add_url(request: dict[str, Any], facts: dict[str, Any]) -> None:
    url, query = request.get("url"), request.get("query_string")
    told = {"url.full": f"{url}?{query}" if query else url, "http.query": query}
    facts.update({name: value for name, value in told.items() if value is not None})


def _as_text(data: Any) -> str | None:
    """A body as an attribute: JSON where it has members."""
    if not data:
        return None
    return data if isinstance(data, str) else json.dumps(data, default=events.plain)
