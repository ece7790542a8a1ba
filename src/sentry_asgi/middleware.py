"""SentryMiddleware: is this connection mine? did it fail? pass it on.

The rules:

- The app gets the server's own `scope`, and its `receive` and `send` as they are but watched; nothing is read ahead,
  kept back, changed or added, but for one namespaced key in the scope, which marks a connection as taken. Of
  nested middlewares the outermost works and the others pass through.
- Exceptions leave by a bare `raise`: same object, same cause, context and traceback. Those that are no
  `Exception` (cancellation, interrupt, exit) pass unseen.
- Without an active client the app runs as if bare; and whatever fails in here, it runs all the same.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from sentry_sdk import get_client

from ._asgi import App, Receive, Scope, Send, as_asgi3
from ._capture import capture
from ._exchange import Exchange, WebSocketExchange
from ._failsafe import log_failure
from ._isolation import isolation

MARK: Final = "sentry_asgi"
"""The scope's key for the `Exchange` of a SentryMiddleware further out."""

_STYLES: Final = {"endpoint": "endpoint", "route": "route", "url": "route"}


class SentryMiddleware:
    """Reports what goes wrong in an ASGI application to Sentry, with the request that caused it.

    Works as `app = SentryMiddleware(app)` and as `app.add_middleware(SentryMiddleware)`, with ASGI 3
    and ASGI 2 applications. Should be the outermost middleware. `sentry_sdk.init()` may be called
    before or after; until then, and without a DSN, the application runs as if bare.

    Args:
        app: the ASGI application.
        transaction_style: what events are named after. `"endpoint"`: the handler, as
            `module.qualname`, if the framework puts `endpoint` into the ASGI scope. `"route"`: the
            route's template, such as `/users/{id}`. `"url"` is the SDK's word for `"route"`. Each falls
            back on the other, and where the framework tells neither, it is the path.
        trusted_hops: how many proxies in front of the server add to `X-Forwarded-For` or `Forwarded`. The
            client's address is then that many entries from the right; with 0, it is the server's to know.

    Raises:
        TypeError: if `app` cannot be called.
        ValueError: if an option is none of these.

    """

    def __init__(
        self,
        app: App,
        *,
        transaction_style: Literal["endpoint", "route", "url"] = "endpoint",
        trusted_hops: int = 0,
    ) -> None:
        if not callable(app):
            raise TypeError(f"SentryMiddleware needs an ASGI application, not {app!r}")
        if transaction_style not in _STYLES:
            raise ValueError(
                f"transaction_style is {transaction_style!r}; it can be 'endpoint', 'route' or 'url'"
            )
        hops: Any = trusted_hops
        if not isinstance(hops, int) or hops < 0:
            raise ValueError(
                f"trusted_hops is {trusted_hops!r}; it can be 0 or a number of proxies"
            )
        self.app = app
        self._serve = as_asgi3(app)
        self._transaction_style = _STYLES[transaction_style]
        self._trusted_hops = trusted_hops
        self._isolation = isolation()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        kind = scope.get("type")
        if kind == "http":
            exchange = self._open(Exchange, scope, receive, send)
        elif kind == "websocket":
            exchange = self._open(WebSocketExchange, scope, receive, send)
        elif kind == "lifespan":
            return await self._lifespan(scope, receive, send)
        else:
            exchange = None
        if exchange is None:
            return await self._serve(scope, receive, send)
        try:
            return await self._serve(scope, exchange.receive, exchange.send)
        except Exception as exception:
            capture(exception)
            raise
        finally:
            self._close(exchange)

    def _open(
        self, kind: type[Exchange], scope: Scope, receive: Receive, send: Send
    ) -> Exchange | None:
        """Takes the connection, if it is this middleware's to take; None if it is not."""
        try:
            if MARK in scope or not get_client().is_active():
                return None
            exchange = kind(scope, self._transaction_style, receive, send)
            if self._trusted_hops:
                exchange.trusted_hops = self._trusted_hops
            scope[MARK] = exchange
            self._isolation.enter(exchange)
            return exchange
        except Exception:  # the app is served, come what may
            log_failure("isolating a connection")
            return None

    def _close(self, exchange: Exchange) -> None:
        self._isolation.leave(exchange)
        exchange.scope.pop(MARK, None)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> Any:
        """Serves the lifespan, in the process's own scope: what start-up sets is on every event.

        An app that does not support lifespan raises before it has received anything (ASGI
        specification, "Lifespan"); that is an answer to the server, and no failure.
        """
        received = False

        async def watched_receive() -> Any:
            nonlocal received
            received = True
            return await receive()

        with self._isolation.process():
            try:
                return await self._serve(scope, watched_receive, send)
            except Exception as exception:
                if received:
                    capture(exception)
                raise
