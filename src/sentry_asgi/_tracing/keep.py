"""Requests that the dice did not choose, sent all the same because of how they ended: the option `keep`.

The rules:

- It is decided at the end. Until then such a request is not sampled, to whoever asks: outgoing requests say so, and
  that stands for the services downstream.
- Where nobody asks for a span, nothing is made before the end: then the root, with its true start. Where somebody
  does, the root records what is started in it, in bounds (`recording`), and forgets it if the request was fine.
- What is kept says why, `sentry_asgi.kept`, and has the sample rate 1.0, since it stands for itself alone. Client
  reports count a request once: as sent, or as not sampled.
- Not kept is what the application has said not to trace (`exclude`, a `traces_sampler` that returns 0 by itself). The
  rate and the caller's "not sampled" are the dice's, which knew nothing of the end. Under backpressure nothing is kept.
- Failed is what raised, answered with a failing status, reported an exception, or was in trouble: who finds a
  request blocked or stuck sets the connection's `trouble`, and it is kept. `failed` is the one place that says so.
"""

from __future__ import annotations

import functools
import logging
import math
import sys
from abc import abstractmethod
from datetime import UTC, datetime
from typing import Any, Final

from sentry_sdk.scope import Scope

from sentry_asgi._connection.exchange import Exchange, WebSocketExchange, now
from sentry_asgi._connection.settings import Keep
from sentry_asgi._frameworks.handled import is_answered_outside
from sentry_asgi._scopes.here import connection_here
from sentry_asgi._scopes.untouched import EMPTY_SCOPE
from sentry_asgi._sdk import spans as sdk_spans, undecided
from sentry_asgi._sdk.diagnostics import log_failure

from . import attributes as _attributes, sampling
from .recording import OF_A_REQUEST, Recording
from .sampling import Trace
from .streamed import StreamedSpans
from .tracing import Tracing
from .transactions import Transactions

logger: Final = logging.getLogger("sentry_asgi")

WHY: Final = "sentry_asgi.kept"
DROPPED: Final = "sentry_asgi.spans_dropped"


def keeper_for(sdk: Any, keep: Keep, *, lazy: bool) -> Tracing:
    """As `tracer_for`, of a client whose requests may be kept; `lazy` is whether the scopes are."""
    if sdk_spans.trace_lifecycle(sdk.options) != "stream":
        return KeptTransactions(sdk, keep)
    if undecided.UndecidedSpan is None:
        logger.warning(
            "this version of sentry_sdk lets no streamed span be kept; keep= does nothing"
        )
        return StreamedSpans(sdk)
    return KeptSpans(sdk, keep, lazy=lazy)


class _Kept:
    """What is to be known of a trace that may be kept."""

    __slots__ = ("began", "known", "recording")

    def __init__(self, exchange: Exchange, began: float) -> None:
        self.began = began
        self.known = _last_reported(exchange)  # what was reported before it
        self.recording: Recording | None = None


def _last_reported(exchange: Exchange) -> Any:
    reported = exchange.reported
    return reported[-1] if reported else None


def failed(exchange: Exchange, known: Any = None) -> bool:
    """Whether a connection has failed since this was the last that it had reported."""
    if exchange.status is not None and exchange.status in exchange.settings.failing:
        return True
    if _last_reported(exchange) is not known or exchange.trouble or _has_swallowed(exchange):
        return True
    if exchange.ending != "raised" or exchange.client_left:
        return False
    raised = sys.exception()
    if not isinstance(raised, Exception):
        return True
    return not is_answered_outside(raised, exchange.settings.failing)


def _has_swallowed(exchange: Exchange) -> bool:
    """Whether an exception was found behind what the app has answered."""
    failure, within = exchange.failure, exchange.within
    return bool((failure and failure.exception is not None) or (within and within.found))


class _Keeping(Tracing):
    """What both ways of keeping share. It stands before a way of tracing."""

    def __init__(self, client: Any, keep: Keep) -> None:
        super().__init__(client)
        self._keeps_failed = keep.failed
        self._limit = math.inf if keep.slower_than is None else keep.slower_than

    def _look_for_backpressure(self, at: float) -> None:
        # Not while a span is made: the monitor starts a thread, which asks for the span, and would ask the monitor.
        if at >= self._ask_at and self._monitor is not None:
            self._ask_at = at + sampling.FACTOR_HOLDS
            self._factor = self._monitor.downsample_factor

    def end(self, exchange: Exchange) -> None:
        trace: Trace = exchange.trace
        if trace.sampled is not False:
            super().end(exchange)
            return
        try:
            if trace.pending and self._is_fine(exchange):
                exchange.trace = None
                self._count(trace)
                return
            why = self._why(exchange, trace)
            if why is not None:
                self._keep(exchange, trace, why)
        except Exception:
            log_failure("keeping a request")
        if exchange.trace is trace:
            self._end_undecided(exchange, trace)

    def _is_fine(self, exchange: Exchange) -> bool:
        """Whether an HTTP request was plainly neither slow nor failed: the hot path."""
        return (
            exchange.held is None
            and exchange.ended_at is not None
            and exchange.ended_at - exchange.started_at < self._limit
            and exchange.status is not None
            and exchange.status not in exchange.settings.failing
            and exchange.ending == "returned"
            and exchange.__class__ is Exchange
        )

    def _end_undecided(self, exchange: Exchange, trace: Trace) -> None:
        super().end(exchange)
        kept = getattr(trace, "kept", None)
        if kept is not None and kept.recording is not None:
            kept.recording.close().clear()

    def _why(self, exchange: Exchange, trace: Trace) -> str | None:
        if self._keeps_failed:
            known = trace.kept.known if trace.part is not None else None
            if failed(exchange, known):
                return "failed"
        if trace.part == _attributes.STREAM or exchange.awaits_events:
            return None  # it may last
        if trace.part is not None:
            took = now() - trace.kept.began
        elif isinstance(exchange, WebSocketExchange):
            took = (exchange.first_byte_at or now()) - exchange.started_at
        else:
            took = (exchange.ended_at or exchange.closed_at or now()) - exchange.started_at
        return "slow" if took >= self._limit else None

    def _may_keep(self, trace: Trace) -> bool:
        """Whether the application has not said no, and the SDK keeps up with sending."""
        if self._asks and trace.rate == 0:
            context: Any = Scope.get_isolation_scope().get_active_propagation_context()
            if context.parent_sampled is not False:
                return False
        if self._factor:
            trace.reason = "backpressure"
            return False
        return True

    def _keep(self, exchange: Exchange, trace: Trace, why: str) -> None:
        self._look_for_backpressure(now())
        if not self._may_keep(trace):
            return
        if trace.pending:
            if connection_here() is not exchange:
                return  # an abandoned coroutine, which was closed in a context of somebody else's
            self.start(exchange, Scope.get_current_scope())
        self._choose(exchange, trace, why)

    @abstractmethod
    def _choose(self, exchange: Exchange, trace: Trace, why: str) -> None:
        """Have the span of a trace that is not sampled be sent when it ends, and say why."""

    def message(self, exchange: WebSocketExchange, size: int) -> None:
        super().message(exchange, size)
        if exchange.trace is not None:
            self._kept(exchange)

    def stream(self, exchange: Exchange) -> None:
        super().stream(exchange)
        if exchange.trace is not None and exchange.trace.part is not None:
            self._kept(exchange)

    def _kept(self, exchange: Exchange) -> _Kept:
        """What is to be known of the connection's trace; known from when it is first asked."""
        trace: Trace = exchange.trace
        kept: _Kept | None = getattr(trace, "kept", None)
        if kept is None:
            began = exchange.started_at if trace.part is None else now()
            kept = trace.kept = _Kept(exchange, began)
        return kept


class KeptTransactions(_Keeping, Transactions):
    """Transactions, of which some are kept at the end."""

    def _started(self, exchange: Exchange, scope: Scope, context: Any) -> Any:
        transaction = super()._started(exchange, scope, context)
        trace: Trace = exchange.trace
        if trace.sampled is False:
            kept = self._kept(exchange)
            transaction.start_timestamp = _attributes.time_of(kept.began)
            if self._may_keep(trace):
                kept.recording = Recording(min(OF_A_REQUEST, self._max_spans))
                undecided.record(transaction, kept.recording)
        return transaction

    def _choose(self, exchange: Exchange, trace: Trace, why: str) -> None:
        undecided.keep(trace.span, self._max_spans)
        trace.span.set_data(WHY, why)
        recording = self._kept(exchange).recording
        if recording is not None and recording.dropped_spans:
            trace.span.set_data(DROPPED, recording.dropped_spans)

    def _end_span(self, span: Any, end: Any) -> None:
        if not span.sampled:
            undecided.discard(span)
        super()._end_span(span, end or datetime.now(UTC))  # the SDK's clock began with the object


class KeptSpans(_Keeping, StreamedSpans):
    """Streamed spans, of which some are kept at the end."""

    def __init__(self, client: Any, keep: Keep, *, lazy: bool) -> None:
        super().__init__(client, keep)
        self._holds = lazy  # the SDK's own scopes send a child when it ends

    def _started(self, exchange: Exchange, scope: Scope, context: Any) -> Any:
        if exchange.trace.sampled is False:
            self._kept(exchange)
        span = super()._started(exchange, scope, context)
        if span.__class__ is undecided.UndecidedSpan:
            sdk_spans.backdate(span, _attributes.time_of(exchange.trace.kept.began))
        return span

    def _unsampled(self, trace: Trace, arguments: dict[str, Any]) -> Any:
        kept: _Kept = trace.kept
        if kept.recording is None and not (self._holds and self._may_keep(trace)):
            return super()._unsampled(trace, arguments)
        kept.recording = Recording()
        return undecided.UndecidedSpan(
            kept.recording,
            functools.partial(self._lose, trace.reason),
            scope=EMPTY_SCOPE,
            active=False,
            **arguments,
        )

    def _choose(self, exchange: Exchange, trace: Trace, why: str) -> None:
        told = trace.span
        if told.__class__ is not undecided.UndecidedSpan:
            self._kept(exchange).recording = Recording()
            self.start(exchange, trace.scope)
            trace.span.stands_for(told)
        trace.span.keep()
        trace.span.set_attribute(WHY, why)

    def _end_span(self, span: Any, end: Any) -> None:
        if span.__class__ is not undecided.UndecidedSpan:
            super()._end_span(span, end)
            return
        children = span.recording.close()
        dropped = span.recording.dropped_spans
        if not span.sampled:
            span.lose(1 + len(children) + dropped)
            return
        for child in children:
            child.set_attribute("sentry.segment.name", span.name)  # as it is called by now
            undecided.send(child)
        if dropped:
            span.set_attribute(DROPPED, dropped)
            self._lose("buffer_overflow", dropped)
        super()._end_span(span, end or datetime.now(UTC))  # as of transactions

    def _lose(self, reason: str, spans: int) -> None:
        """Have the SDK's client reports count spans that are not sent."""
        transport = self._sdk.transport
        if transport is not None:  # the client has been closed
            transport.record_lost_event(reason, data_category="span", quantity=spans)
