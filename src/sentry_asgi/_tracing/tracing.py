"""Traces: each request a transaction or a streamed span, and those that are not sampled all but free.

The rules:

- There are two ways, `Transactions` (SDK 2) and `StreamedSpans` (SDK 2 with `trace_lifecycle="stream"`, SDK 3), and
  none where tracing is off. `tracer_for` chooses once for each client; nothing else asks which it is.
- The decision comes first (`sampling`). A request that is not sampled gets no span, but the mark `pending`: who asks
  the scope for its span gets, then, the object that the SDK itself would have made. A span is made with its decision,
  so nothing is decided, and no sampler asked, twice.
- What a span tells (`attributes`) is set when it ends. A request's duration ends with the last body message; what the
  app does after that is a span of its own. Where the response streams events, the request's span ends when they begin,
  and the stream has one of its own. A websocket's span is its handshake; if its messages are to have spans, each
  has one until the next is asked for or comes, by whichever task, sampled as the handshake was.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from sentry_sdk.scope import Scope

from sentry_asgi._connection import request
from sentry_asgi._connection.exchange import ACCEPTED, Exchange, WebSocketExchange, now
from sentry_asgi._events.telemetry import given_hook
from sentry_asgi._scopes.here import connection_here
from sentry_asgi._scopes.untouched import untouched
from sentry_asgi._sdk import scopes, spans
from sentry_asgi._sdk.diagnostics import log_failure

from . import attributes as _attributes
from .sampling import Sampling, Trace

ORIGIN: Final = "auto.http.asgi"

AFTER_NAME: Final = "after the response"

_NOTHING: Final = nullcontext()


class Tracing(Sampling):
    """What both ways share: the order of things, the facts that a span tells. None of it raises."""

    categories: tuple[str, ...]
    streams = False

    def __init__(self, client: Any) -> None:
        super().__init__(client)
        options = client.options
        self._is_watched = bool(
            options.get("before_send_transaction") or given_hook(options, "before_send_span")
        )

    def begin(self, exchange: Exchange, *, lazy: bool) -> None:
        """Decide, and start the span if the request is sampled; or always, unless `lazy`."""
        exchange.trace = trace = Trace(self)
        try:
            if self._decides and not self._decided_at_once(exchange, trace):
                self._decide(exchange, trace)
            if trace.sampled is False and lazy:
                trace.pending = True
            else:
                self.start(exchange, Scope.get_current_scope())
        except Exception:
            log_failure("starting a span")

    def start(self, exchange: Exchange, scope: Scope) -> Any:
        """Start the span of the connection's `trace` on a scope; whether it is sampled is decided."""
        trace: Trace = exchange.trace
        trace.starting = True
        try:
            context: Any = Scope.get_isolation_scope().get_active_propagation_context()
            if (
                trace.sample_rand is None and trace.rate is not None
            ):  # the parent's flag decided alone
                trace.sample_rand = spans.sample_rand(context)
            trace.span = self._started(exchange, scope, context)
            # The SDK makes a span's id when it is first asked for, without a lock: threads that begin children of the
            # span at once would each see another.
            _ = trace.span.span_id
            trace.scope = scope
            scopes.set_root_span(scope, trace.span)
        finally:
            # Only now: a thread that asks meanwhile waits for the span instead of going without it.
            trace.pending = trace.starting = False
        return trace.span

    @abstractmethod
    def _started(self, exchange: Exchange, scope: Scope, context: Any) -> Any:
        """The SDK's span of the connection, of the trace that `context` tells."""

    def end(self, exchange: Exchange) -> None:
        """End the connection's span, or count it as not sampled. A second call does nothing."""
        trace, exchange.trace = exchange.trace, None
        try:
            if trace.pending:
                self._count(trace)
            elif trace.span is not None:
                self._ended(exchange, trace)
                scopes.set_root_span(trace.scope, None)
            if isinstance(exchange, WebSocketExchange) and exchange.messages is None:
                self._await_messages(exchange, trace)
        except Exception:
            log_failure("ending a span")

    def _ended(self, exchange: Exchange, trace: Trace) -> None:
        """Have the span tell what there is to tell, and end it."""
        span, end = trace.span, None
        if span.sampled:
            self._describe(exchange, trace)
            end = _attributes.end(exchange, span.start_timestamp, trace.part)
            after = _attributes.after_response(exchange)
            if after is not None:
                self._after(span, end, after)
        with self._sending(exchange):
            self._end_span(span, end)

    @abstractmethod
    def _describe(self, exchange: Exchange, trace: Trace) -> None:
        """Have the span tell what there is to tell."""

    @abstractmethod
    def tell(self, span: Any, facts: dict[str, str | int | float]) -> None:
        """Have a span tell something, whichever thread knows it."""

    @abstractmethod
    def _after(self, span: Any, start: Any, seconds: float) -> None:
        """Make a child span of the work that went on after the response."""

    @abstractmethod
    def _end_span(self, span: Any, end: Any) -> None:
        """End the SDK's span at a time; None is now."""

    def _sending(self, exchange: Exchange) -> AbstractContextManager[None]:
        """For as long as a span is sent; whoever watches that may write to the connection's scopes."""
        return _NOTHING if self._is_watched else untouched(exchange, event=not self.streams)

    def _count(self, trace: Trace) -> None:
        """Tells the SDK's client reports of what was not sampled, as the SDK does of its own."""
        transport = self._sdk.transport
        if transport is None:  # the client has been closed
            return
        for category in self.categories:
            transport.record_lost_event(trace.reason, data_category=category)

    def stream(self, exchange: Exchange) -> None:
        """The response streams events from now on: the request's span ends, and a child of it begins."""
        before: Trace = exchange.trace
        if before.part is not None or before.sampled is None:
            return
        try:
            self.end(exchange)
            exchange.trace = trace = Trace(self)
            trace.part = _attributes.STREAM
            trace.sampled, trace.rate, trace.reason = before.sampled, before.rate, before.reason
            trace.sample_rand = before.sample_rand
            if before.span is None:
                trace.pending = True
                return
            trace.parent = before.span.span_id
            self.start(exchange, before.scope)
        except Exception:
            log_failure("starting a span")

    # Messages

    def _await_messages(self, exchange: WebSocketExchange, trace: Trace) -> None:
        """After the handshake: nothing is held, and from now on each message has a span, if that is wanted."""
        request.forget(exchange)
        if exchange.settings.message_spans and exchange.status == ACCEPTED and self._decides:
            exchange.messages = Messages(self, trace)

    def message(self, exchange: WebSocketExchange, size: int) -> None:
        """Starts the span of a message that was received."""
        if connection_here() is not exchange:
            return  # nobody's scope to put it on
        if exchange.trace is not None:  # of the message before, if another task is at work on it
            self.end(exchange)
        messages = exchange.messages
        exchange.trace = trace = Trace(self)
        trace.part = size
        trace.sample_rand, trace.reason = messages.sample_rand, messages.reason
        if messages.rate is None or messages.sample_rand is None:
            trace.sampled, trace.rate = messages.sampled, messages.rate
        else:
            self._draw(trace, messages.rate, now())
        if trace.sampled or not messages.lazy:
            self.start(exchange, Scope.get_current_scope())
        else:
            trace.pending = True


class Messages:
    """Of an open websocket, what its messages' spans are made by: its handshake's decision, and span."""

    __slots__ = ("lazy", "parent_span_id", "rate", "reason", "sample_rand", "sampled", "way")

    def __init__(self, way: Tracing, handshake: Trace) -> None:
        self.way = way
        self.sampled, self.rate, self.reason = handshake.sampled, handshake.rate, handshake.reason
        self.sample_rand = handshake.sample_rand
        self.lazy = handshake.span is None
        self.parent_span_id = handshake.span.span_id if handshake.sampled else None

    def begin(self, exchange: WebSocketExchange, size: int) -> None:
        try:
            self.way.message(exchange, size)
        except Exception:
            log_failure("starting a span")


def parent_of(exchange: Exchange, context: Any) -> str | None:
    """The id of the span that this one is a child of: the caller's, or of a message the handshake's."""
    if exchange.trace.part == _attributes.STREAM:
        parent: str | None = getattr(exchange.trace, "parent", None)
    else:
        messages = exchange.messages if isinstance(exchange, WebSocketExchange) else None
        parent = messages.parent_span_id if messages is not None else None
    return context.parent_span_id if parent is None else parent
