"""Responses that tell the id of their trace, for whoever reports a problem: `x-trace-id`.

The rules:

- Only with the option `id_headers`; without it nothing of this stands between the middleware and the app. The event's
  id on a failing response is `dedupe`'s.
- The trace is the one that the request's events carry: what the scopes say that the app began with, wherever it sends.
- A response that has the header keeps its own. The app's message and its headers are not written to, and headers
  that may be there to be read once are left alone.
- Of nested middlewares the outermost says whether.
"""

from __future__ import annotations

from contextvars import Context, copy_context
from typing import Any, Final

from sentry_asgi._connection import request
from sentry_asgi._connection.asgi import App, Receive, Scope, Send
from sentry_asgi._connection.exchange import Exchange
from sentry_asgi._scopes.here import connection_here, trace_here
from sentry_asgi._sdk.diagnostics import log_failure

HEADER: Final = b"x-trace-id"

# The second: ASGI specification, "Websocket Denial Response".
_STARTS: Final = ("http.response.start", "websocket.http.response.start")


def telling(serve: App) -> App:
    """The same app, whose responses tell their ids, if the connection is the middleware's that wants them to."""

    async def served(scope: Scope, receive: Receive, send: Send) -> Any:
        if not _wants_ids(scope):
            return await serve(scope, receive, send)
        here = copy_context()

        async def tell(message: Any) -> Any:
            if _is_start(message):
                message = _with_trace_id(message, here)
            return await send(message)

        return await serve(scope, receive, tell)

    return served


def _wants_ids(scope: Scope) -> bool:
    try:
        here = connection_here()
        return isinstance(here, Exchange) and here.scope is scope and here.settings.id_headers
    except Exception:
        log_failure("looking for a response's connection")
        return False


def _is_start(message: Any) -> bool:
    try:
        return message["type"] in _STARTS
    except Exception:  # no ASGI message; the server will say
        return False


def _with_trace_id(message: Any, here: Context) -> Any:
    try:
        headers = message.get("headers", ())
        if not isinstance(headers, (list, tuple)):
            return message
        if any(name == HEADER.decode() for name, _ in request.pairs(headers)):
            return message
        trace_id, _ = here.run(trace_here)
        if not trace_id:
            return message
        return {**message, "headers": [*headers, (HEADER, trace_id.encode())]}
    except Exception:
        log_failure("telling a response's ids")
        return message
