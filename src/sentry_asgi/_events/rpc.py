"""What an error event tells of the call that failed, of GraphQL, JSON-RPC or MCP: `contexts.rpc`.

The name of the operation, the method or the tool is added to the transaction's, too: all calls have one route. Whoever
reports the exception, the call is read from the request's body, as far as it was read, or from a websocket's message.
"""

from __future__ import annotations

from typing import Any

from sentry_asgi._connection.request import Connection
from sentry_asgi._frameworks import rpc
from sentry_asgi._sdk.diagnostics import log_failure

from . import contexts as _contexts


def add(connection: Connection, event: dict[str, Any], hint: Any) -> None:
    """Add the call to an event that reports an exception; never raise."""
    try:
        if event.get("exception"):
            _add(connection, event, hint or {})
    except Exception:
        log_failure("describing a call")


def _field(hint: Any) -> str | None:
    """Where in an operation it was, as the exception tells that is reported, or that a library has logged as it is."""
    exc_info = hint.get("exc_info")
    for told in (
        exc_info[1] if isinstance(exc_info, tuple) else None,
        getattr(hint.get("log_record"), "msg", None),
    ):
        field = rpc.field_of(told) if isinstance(told, BaseException) else None
        if field:
            return field
    return None


def _add(connection: Connection, event: dict[str, Any], hint: Any) -> None:
    contexts = event.setdefault("contexts", {})
    found = contexts.get("rpc") or {}
    field = _field(hint)
    if field:
        found["field"] = field
    call = found.pop("call", None)
    body = _contexts.message(connection) or _contexts.body(connection)
    facts = {**(rpc.called(body.data if body else None, call) or {}), **found}
    if not facts:
        contexts.pop("rpc", None)
        return
    facts.setdefault("system", "graphql")
    contexts["rpc"] = facts
    name, said = rpc.detail(facts), event.get("transaction")
    if name and isinstance(said, str) and name not in said:
        event["transaction"] = f"{said} {name}"
