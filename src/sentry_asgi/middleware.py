"""Wrap an ASGI app, watch each connection, report its failures.

The rules:

- The app gets the server's own `scope`, and its `receive` and `send` as they are but watched; nothing is read ahead,
  kept back, changed or added, but for one namespaced key in the scope, which marks a connection as taken, and for
  the headers that `id_headers` asks for. Of nested middlewares the outermost works and the others pass through.
- Exceptions leave by a bare `raise`: same object, same cause, context and traceback. Those that are no
  `Exception` (cancellation, interrupt, exit) pass unseen.
- Without an active client the app runs as if bare; and whatever fails in here, it runs all the same.
"""

from __future__ import annotations

import contextlib
import sys
import weakref
from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from sentry_sdk.scope import Scope as SentryScope

from ._connection.asgi import App, Receive, Scope, Send, as_asgi3
from ._connection.exchange import Exchange, WebSocketExchange, now
from ._connection.exclusion import exclusion
from ._connection.request import MARK
from ._connection.settings import DEFAULTS, Keep, Settings, answering
from ._failures.budget import Budget
from ._failures.state import CLOSED, FailureState
from ._python.in_app import application
from ._reporting import capture
from ._reporting.capture import drop_echoes, drop_logged_echoes
from ._reporting.lifespan import Lifespan
from ._reporting.unwinding import watch as unwinding
from ._scopes.here import connection_here
from ._scopes.isolation import isolation
from ._scopes.process import claim
from ._scopes.sessions import Sessions, sessions_of
from ._sdk.diagnostics import if_possible, listen, log_failure
from ._sdk.fork import register_fork_handler
from ._sdk.integrations import double, original, remember_call, restore_call, switch_off
from ._sdk.spans import trace_lifecycle
from ._tracing.ids import telling
from ._watch.options import Watch

if TYPE_CHECKING:
    from ._tracing.tracing import Tracing
    from .privacy import Secrets


_get_client: Final = SentryScope.get_client

_WATCH: Final = Watch()

_STYLES: Final = {"endpoint": "endpoint", "route": "route", "url": "route"}


class Served(NamedTuple):
    """What is done for one client."""

    client: Any
    # The same without the integrations that stand aside; None if none does.
    double: Any
    tracing: Tracing | None
    sessions: Sessions | None


class SentryMiddleware:
    """Reports what goes wrong in an ASGI application to Sentry, with the request that caused it.

    Works as `app = SentryMiddleware(app)` and as `app.add_middleware(SentryMiddleware)`, with ASGI 3
    and ASGI 2 applications. Should be the outermost middleware. `sentry_sdk.init()` may be called
    before or after; until then, and without a DSN, the application runs as if bare.

    Args:
        app: the ASGI application.
        transaction_style: what events are named after. `"endpoint"`: the handler, as
            `module.qualname`, if the framework tells it. `"route"`: the route's template, such as
            `/users/{id}`. `"url"` is the SDK's word for `"route"`. Each falls back on the other, and where
            the framework tells neither, it is the path.
        websocket_message_spans: whether each message that a websocket receives is a transaction (or streamed span) of
            its own, in the connection's trace, until the next is asked for.
        exclude: requests that are neither traced nor counted as sessions: paths, such as `"/health"` or
            `"/static/*"`, where `*` stands for anything, or a method and a path. Their errors are reported. By
            default preflights and probes (`"OPTIONS *"`, `"HEAD *"`), as the SDK has it.
        failed_request_status_codes: responses that tell of a failure. The exception behind them is
            reported though the framework let none out.
        report_5xx_without_exception: whether such a response makes an event, too, if no exception
            is behind it.
        id_headers: whether each response carries its trace's id, as `x-trace-id`, and such a response its event's, as
            `x-sentry-event-id`.
        take_over: whether the SDK's Starlette, FastAPI and Sanic integrations, where it has enabled them by
            itself, stand aside for what is done here. With `add_middleware`, they do for the whole process.
        error_budget: how many events of one raise site (the exception's type and the innermost line of the
            application's) are sent at once, and again within each minute; ten times as many of all sites
            together. What is more is counted, and the next event of the site tells how many they were. None sends all.
        trusted_hops: how many proxies in front of the server add to `X-Forwarded-For` or `Forwarded`. The
            client's address is then that many entries from the right; with 0, it is the server's to know.
        keep: which requests are traced for how they ended, though they were not sampled:
            `Keep(failed=True, slower_than=1.0)`, in seconds. None if none are.
        watch: after how many seconds a blocked event loop, and a request that sends nothing, is an event:
            `Watch(blocked_after=1.0, stuck_after=60.0)`, from `sentry_asgi`. None starts no thread. Of several
            middlewares on one loop, the first one's seconds count.
        secrets: what is secret in this application, and what is not, beside what is known of all:
            `sentry_asgi.privacy.Secrets(names=["tenant_code"], unless=["session_kind"])`.

    Raises:
        TypeError: if `app` cannot be called, or `exclude`, `keep`, `watch` or `secrets` has the wrong type.
        ValueError: if an option has a value that it does not take.

    """

    def __init__(
        self,
        app: App,
        *,
        transaction_style: Literal["endpoint", "route", "url"] = "endpoint",
        exclude: Sequence[str] = ("OPTIONS *", "HEAD *"),
        websocket_message_spans: bool = False,
        failed_request_status_codes: Container[int] = range(500, 600),
        report_5xx_without_exception: bool = False,
        id_headers: bool = False,
        take_over: bool = True,
        error_budget: int | None = 100,
        trusted_hops: int = 0,
        keep: Keep | None = None,
        watch: Watch | None = _WATCH,
        secrets: Secrets | None = None,
    ) -> None:
        if not callable(app):
            raise TypeError(f"app must be an ASGI application, got {app!r}")
        if transaction_style not in _STYLES:
            raise ValueError(
                f"transaction_style must be 'endpoint', 'route' or 'url', got {transaction_style!r}"
            )
        hops: Any = trusted_hops
        if not isinstance(hops, int) or hops < 0:
            raise ValueError(
                f"trusted_hops must be 0 or the number of proxies in front, got {trusted_hops!r}"
            )
        budget: Any = error_budget
        if budget is not None and (not isinstance(budget, int) or budget < 1):
            raise ValueError(
                f"error_budget must be None or a number of events, got {error_budget!r}"
            )
        kept: Any = keep
        if kept is not None and not isinstance(kept, Keep):
            raise TypeError(f"keep must be None or a sentry_asgi.Keep, got {keep!r}")
        if watch is not None and not isinstance(watch, Watch):
            raise TypeError(f"watch must be a sentry_asgi.Watch or None, got {watch!r}")
        self.app = app
        self._serve = telling(as_asgi3(app)) if id_headers else as_asgi3(app)
        self._settings = Settings(
            transaction_style=_STYLES[transaction_style],
            failing=answering(failed_request_status_codes),
            report_without=report_5xx_without_exception,
            id_headers=id_headers,
            trusted_hops=trusted_hops,
            message_spans=websocket_message_spans,
            budget=None if budget is None else Budget(budget),
            watch=watch,
            rules=_rules(secrets),
            keep=keep,
            report_within=capture.within,
            app=app,
        )
        self._excluded_methods, self._excluded = exclusion(exclude)
        self._isolation = isolation()
        self._enter, self._leave = self._isolation.enter, self._isolation.leave
        self._take_over = take_over
        self._added = take_over and restore_call(type(self))
        self._served: Served | None = None
        self._clients: dict[int, Served] = {}
        self._watched = False
        listen()
        drop_echoes()
        register_fork_handler()
        weakref.finalize(self, unwinding.end, id(self)).atexit = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        remember_call(cls)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        # What stands in this frame waits in memory with every open websocket: as few variables as can be.
        exchange = self._open(scope, receive, send)
        if exchange is None:
            if _is_lifespan(scope):
                return await self._lifespan(scope, receive, send)
            return await self._serve(scope, receive, send)
        try:
            return await self._serve(scope, exchange.receive, exchange.send)
        except Exception:
            exchange.ending, exchange.closed_at = "raised", now()
            capture.raised(exchange, sys.exception())
            raise
        except BaseException:
            exchange.ending = "cancelled"
            capture.interrupted(exchange, sys.exception())
            raise
        finally:
            self._close(exchange)

    def _open(self, scope: Scope, receive: Receive, send: Send) -> Exchange | None:
        """Takes the connection, if it is this middleware's to take; None if it is not."""
        try:
            kind = scope.get("type")
            if kind != "http" and kind != "websocket":  # noqa: PLR1714  # half the time of `in`
                return None
            if MARK in scope and _is_within(scope):
                return None
            served, client = self._served, _get_client()
            if served is None or client is not served.client:
                served = self._adopt(client, scope)
                if served is None:
                    return None
            made = Exchange if kind == "http" else WebSocketExchange
            exchange = made(scope, receive, send, self._settings)
            exchange.served = served
            # What is excluded matters to these two alone.
            wanted = (
                served.tracing is not None or served.sessions is not None
            ) and self._is_wanted(scope.get("method"), exchange.path)
            exchange.session = wanted and served.sessions is not None
            joined = self._enter(exchange)
            if joined:
                wanted = exchange.session = False  # it has its span and session further out
            if MARK in scope or scope.__class__ is not dict:
                _mark_with_care(scope)
            else:
                scope[MARK] = id(scope)
            if served.double is not None and not joined:
                self._isolation.use_client(served.double)
            if wanted and served.tracing is not None:
                served.tracing.begin(exchange, lazy=self._isolation.lazy)
            return exchange
        except Exception:  # the app is served, come what may
            log_failure("isolating a connection")
            return None

    def _is_wanted(self, method: Any, path: Any) -> bool:
        """Whether a request is to be traced and counted."""
        if method in self._excluded_methods:
            return False
        return self._excluded is None or not self._excluded(method, path)

    def _adopt(self, client: Any, scope: Scope) -> Served | None:
        """Return what is to be done for a client, chosen when it is a new one; None if it is not active.

        What is chosen is kept last: whatever fails before is tried again with the next request.
        """
        client = original(client)
        served = self._clients.get(id(client))
        if served is None:
            if not client.is_active():
                self._rest()
                return None
            served = self._choose(client, scope)
            self._clients = {
                key: one for key, one in self._clients.items() if one.client.is_active()
            }
            self._clients[id(client)] = served
        self._served = served
        if self._settings.watch is not None:
            self._begin_to_watch()
        return served

    def _begin_to_watch(self) -> None:
        """There is something to serve, on this loop."""
        try:
            self._watched = True
            _watches().begin(self._settings, self._ask_again, self._isolation.process_scope)
        except Exception:
            log_failure("starting to watch the event loop")

    def _ask_again(self) -> None:
        """Have the next request choose anew what is done for the client, and tell the watch that it is there."""
        self._served = None

    def _choose(self, client: Any, scope: Scope) -> Served:
        self._isolation.prepare()
        application.configure(client.options["in_app_include"], client.options["in_app_exclude"])
        drop_logged_echoes(client)
        self._clean_telemetry(client)
        unwinding.begin(id(self))
        # Starlette has put itself into the scope: this middleware stands within it, and the integrations around.
        if self._added or (self._take_over and "app" in scope):
            switch_off(client, self)
        return Served(
            client=client,
            double=double(client) if self._take_over else None,
            tracing=_tracer(client, self._settings.keep, lazy=self._isolation.lazy),
            sessions=sessions_of(client),
        )

    def _clean_telemetry(self, client: Any) -> None:
        from ._events.telemetry import clean_all  # noqa: PLC0415  # for those who serve

        clean_all(client, self._settings.rules, connection_here)

    def _rest(self) -> None:
        """Nothing is needed until the next request."""
        try:
            self._served = None
            self._clients = {}
            unwinding.end(id(self))
            if self._watched:
                self._watched = False
                _watches().end(self._settings)
        except Exception:
            log_failure("stopping the monitoring")

    def _close(self, exchange: Exchange) -> None:
        # The hot path's other half.
        try:
            held = exchange.held
            failed = held is not None and type(held) is FailureState
            if exchange.ending is None:
                exchange.ending = "returned"
                if failed and exchange.failure is not None:
                    capture.returned(exchange)
            if failed and exchange.within is not None:
                capture.within(exchange)
            if exchange.trace is not None:
                exchange.trace.way.end(exchange)
            exchange.closed_at = now()
            if failed and exchange.reported is not None:
                capture.close(exchange)
            exchange.held = CLOSED
            self._leave(exchange)
            # Out of its scopes: the SDK starts a thread for it, which would hold them for ever.
            if exchange.session:
                exchange.served.sessions.count(exchange)
            if exchange.scope.get(MARK) == id(exchange.scope):
                del exchange.scope[MARK]
        except Exception:
            log_failure("closing a connection")

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> Any:
        """Serves the lifespan, in the process's own scope: what start-up sets is on every event."""
        with if_possible("isolating the lifespan", self._isolation.process) as started:

            def start() -> None:
                self._begin(scope)  # there may be a client by now
                try:
                    if started is not None:
                        started()
                except Exception:
                    log_failure("starting to serve")

            lifespan = Lifespan(receive, send, start)
            try:
                self._begin(scope)
                app = self._serve(scope, lifespan.receive, lifespan.send)
                returned = await lifespan.watched(app)
            except Exception as exception:
                lifespan.raised(exception)
                await lifespan.flush()
                raise
            else:
                await lifespan.flush()
                return returned
            finally:
                lifespan.over()
                self._rest()

    def _begin(self, scope: Scope) -> None:
        """Choose what is to be done for the client there is, if there is one when the app starts up."""
        try:
            self._adopt(_get_client(), scope)
        except Exception:
            log_failure("starting up")


def _is_within(scope: Scope) -> bool:
    """Whether a connection that has a scope's mark is being served around this call.

    The mark tells, in a copy of a scope, which one it is a copy of. It is a number, so that scopes can be copied,
    pickled and written as JSON. A connection that has ended is none, though its mark may be left in a copy; nor is one
    that is served at the same time with the very same scope: then this call is in another context.
    """
    here = connection_here()
    if not isinstance(here, Exchange) or here.ending is not None:
        return False
    return here.scope is scope or id(here.scope) == scope[MARK]


def _mark_with_care(scope: Scope) -> None:
    """Mark a scope, unless something of somebody else's stands there, or the scope can only be read."""
    if isinstance(scope.get(MARK), (int, type(None))):
        with contextlib.suppress(TypeError):
            scope[MARK] = id(scope)


def _is_lifespan(scope: Scope) -> bool:
    try:
        return bool(scope.get("type") == "lifespan")
    except Exception:  # nothing that can be compared: nothing of the specification's
        return False


def _rules(secrets: Secrets | None) -> Any:
    if secrets is None:
        return DEFAULTS.rules
    from .privacy import rules_of  # noqa: PLC0415  # for those who add to the rules

    return rules_of(secrets)


def _watches() -> Any:
    from ._watch import watches  # noqa: PLC0415  # imported with the first request, or the lifespan

    return watches


def _tracer(client: Any, keep: Keep | None, *, lazy: bool) -> Tracing | None:
    if trace_lifecycle(client.options) == "off":
        return None
    if keep is not None:
        from ._tracing.keep import keeper_for  # noqa: PLC0415  # for those who keep

        return keeper_for(client, keep, lazy=lazy)
    from ._tracing.choice import tracer_for  # noqa: PLC0415  # for those who trace

    return tracer_for(client)


remember_call(SentryMiddleware)
claim()  # before a server runs: the contexts of all requests are copies of the one that imports this
