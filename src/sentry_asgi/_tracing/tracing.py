"""Traces: each request a transaction or a streamed span, and those that are not sampled all but free.

The rules:

- There are two ways, `Transactions` (SDK 2) and `StreamedSpans` (SDK 2 with `trace_lifecycle="stream"`, SDK 3), and
  none where tracing is off. `tracer_for` chooses once for each client; nothing else asks which it is.
- The decision comes first, as the SDK would take it: `traces_sampler`, else the parent's flag, else the rate, lowered
  under backpressure. A request that is not sampled gets no span, but the mark `pending`: who asks the scope for its
  span gets, then, the object that the SDK itself would have made. A span is made with its decision, so nothing
  is decided, and no sampler asked, twice; where an SDK does not take a decision, it decides alone.
- A new trace's `sample_rand` is drawn here, so other services on the trace decide the same.
- What a span tells (`attributes`) is set when it ends. A request's duration ends with the last body message; what the
  app does after that is a span of its own. Where the response streams events, the request's span ends when they begin,
  and the stream has one of its own. A websocket's span is its handshake; if its messages are to have spans, each
  has one until the next is asked for or comes, by whichever task, sampled as the handshake was.
"""

from __future__ import annotations

import re
import uuid
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from random import random
from typing import Any, Final

from sentry_sdk.scope import Scope, use_scope

from sentry_asgi._connection import request
from sentry_asgi._connection.exchange import ACCEPTED, Exchange, WebSocketExchange, now
from sentry_asgi._events.telemetry import given_hook
from sentry_asgi._scopes.here import connection_here
from sentry_asgi._scopes.untouched import EMPTY_SCOPE, untouched
from sentry_asgi._sdk import internals
from sentry_asgi._sdk.diagnostics import log_failure

from . import attributes as _attributes

ORIGIN: Final = "auto.http.asgi"

AFTER_NAME: Final = "after the response"


class Trace:
    """What is kept of a request, a handshake or a message, as its connection's `trace`, until its span has ended."""

    __slots__ = (
        "kept",  # of how it may be kept; `keep`'s, and not set without that
        "parent",  # that is not the caller; not set where it is
        "part",
        "pending",
        "rate",
        "reason",
        "sample_rand",
        "sampled",
        "scope",
        "span",
        "span_id",
        "starting",
        "way",
    )

    kept: Any
    parent: str | None

    def __init__(self, way: Tracing) -> None:
        self.way = way
        self.pending = False  # not sampled, and nobody has asked for the span yet
        self.starting = False  # the span is being made
        # The decision: None while the SDK is to take it. `rate` and `sample_rand` are what decided; None if the
        # parent's flag or the SDK did. `reason` is what the client reports say of a trace that was not sampled.
        self.sampled: bool | None = None
        self.rate: float | None = None
        self.sample_rand: float | None = None
        self.reason = "sample_rate"
        self.span: Any = None
        self.scope: Any = None  # that the span is on
        self.span_id: str | None = None  # that a sampler was told of
        self.part: _attributes.Part = None


def tracer_for(client: Any) -> Tracing:
    """The way in which a client traces, which is one that does."""
    streams = internals.trace_lifecycle(client.options) == "stream"
    return StreamedSpans(client) if streams else Transactions(client)


_NOTHING: Final = nullcontext()


# The decision


# The flag of a `sentry-trace` header: https://develop.sentry.dev/sdk/telemetry/traces/#header-sentry-trace
_NOT_SAMPLED: Final = re.compile(rb"\A[ \t]*[0-9a-f]{32}-[0-9a-f]{16}-0[ \t]*", re.IGNORECASE)


FACTOR_HOLDS: Final = 1.0
"""Seconds for which it is believed by how much to sample less."""


class Tracing(ABC):
    """What both ways share: the decision, the order of things, the facts that a span tells. None of it raises."""

    categories: tuple[str, ...]
    streams = False

    def __init__(self, client: Any) -> None:
        options = client.options
        self._client = client
        self._sampler = options.get("traces_sampler")
        self._asks = callable(self._sampler)
        self._rate = None if self._asks else _plain_rate(options.get("traces_sample_rate"))
        self._strict = bool(options.get("strict_trace_continuation"))
        self._decides = self._takes_decisions(options)
        self._monitor = client.monitor
        self._factor, self._ask_at = 0, float("-inf")
        self._is_watched = bool(
            options.get("before_send_transaction") or given_hook(options, "before_send_span")
        )

    @abstractmethod
    def _takes_decisions(self, options: Any) -> bool:
        """Whether the SDK makes a span whose sampling is decided."""

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

    def _decided_at_once(self, exchange: Exchange, trace: Trace) -> bool:
        """Decides what a rate or the parent's flag decides alone; whether that was all."""
        if self._rate is None:
            return False
        sent = exchange.scope.get("headers") or ()
        if not isinstance(sent, (list, tuple)):
            return False
        parent = baggage = other = b""
        for name, value in sent:
            if name == b"sentry-trace":
                parent = value if not parent else b"several"
            elif name == b"baggage":
                baggage = value
            elif name == b"traceparent":
                other = value
        if parent or other:
            # Whether an organisation's id forbids to follow the parent is the SDK's to know.
            if self._strict or b"org_id" in baggage or not _NOT_SAMPLED.fullmatch(parent):
                return False
            trace.sampled, trace.rate = False, 0.0
            return True
        # Six digits, as the SDK has them.
        trace.sample_rand = int(random() * 1_000_000) / 1_000_000  # noqa: S311
        self._draw(trace, self._rate, exchange.started_at)
        return True

    def _decide(self, exchange: Exchange, trace: Trace) -> None:
        """Decides as the SDK does, for a trace that may come from elsewhere."""
        context: Any = Scope.get_isolation_scope().get_active_propagation_context()
        if context.parent_span_id is None:
            trace.sample_rand = int(random() * 1_000_000) / 1_000_000  # noqa: S311
        else:
            trace.sample_rand = internals.sample_rand(context)
        rate: Any = context.parent_sampled
        if self._asks:
            trace.span_id = uuid.uuid4().hex[16:]
            sampling = {
                "transaction_context": self._transaction_context(exchange, trace, context),
                "parent_sampled": context.parent_sampled,
                "asgi_scope": exchange.scope,
            }
            try:
                rate = self._sampler(sampling)
            except Exception:
                log_failure("asking the traces_sampler")
                self._no_rate(trace, "callback_error")
                return
        elif rate is None:
            rate = self._client.options.get("traces_sample_rate")
        if internals.is_valid_sample_rate(rate, source="Tracing"):
            self._draw(trace, float(rate), exchange.started_at)
        else:
            self._no_rate(trace, "sample_rate")

    def _no_rate(self, trace: Trace, why: str) -> None:  # noqa: ARG002
        """There is no rate to decide by."""
        trace.sampled = False

    @abstractmethod
    def _transaction_context(self, exchange: Exchange, trace: Trace, context: Any) -> Any:
        """What a `traces_sampler` is told of the span that may be made."""

    def _draw(self, trace: Trace, rate: float, at: float) -> None:
        """Has the dice, thrown already, decide by a rate, which is lowered under backpressure."""
        trace.rate = lowered = rate
        if at >= self._ask_at and self._monitor is not None:
            # Each time the SDK asks the system which process this is; and it looks for backpressure every ten seconds.
            self._ask_at = at + FACTOR_HOLDS
            self._factor = self._monitor.downsample_factor
        if self._factor:
            trace.rate = lowered = rate / 2**self._factor
        assert trace.sample_rand is not None  # whoever calls has thrown them
        trace.sampled = trace.sample_rand < lowered
        if lowered is not rate and not trace.sampled and self._is_backpressure(trace, rate):
            trace.reason = "backpressure"

    @abstractmethod
    def _is_backpressure(self, trace: Trace, rate: float) -> bool:
        """Whether a trace that is not sampled under backpressure counts as lost to it."""

    def start(self, exchange: Exchange, scope: Scope) -> Any:
        """Start the span of the connection's `trace` on a scope; whether it is sampled is decided."""
        trace: Trace = exchange.trace
        trace.starting = True
        try:
            context: Any = Scope.get_isolation_scope().get_active_propagation_context()
            if (
                trace.sample_rand is None and trace.rate is not None
            ):  # the parent's flag decided alone
                trace.sample_rand = internals.sample_rand(context)
            trace.span = self._started(exchange, scope, context)
            # The SDK makes a span's id when it is first asked for, without a lock: threads that begin children of the
            # span at once would each see another.
            _ = trace.span.span_id
            trace.scope = scope
            internals.set_root_span(scope, trace.span)
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
                internals.set_root_span(trace.scope, None)
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
        transport = self._client.transport
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


def _plain_rate(rate: Any) -> float | None:
    """The rate that decides alone; None where it is none."""
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate <= 1:
        return None
    return float(rate)


# The two ways


def _parent(exchange: Exchange, context: Any) -> str | None:
    """The id of the span that this one is a child of: the caller's, or of a message the handshake's."""
    if exchange.trace.part == _attributes.STREAM:
        parent: str | None = getattr(exchange.trace, "parent", None)
    else:
        messages = exchange.messages if isinstance(exchange, WebSocketExchange) else None
        parent = messages.parent_span_id if messages is not None else None
    return context.parent_span_id if parent is None else parent


class Transactions(Tracing):
    """A transaction for each request: SDK 2."""

    categories = ("transaction", "span")

    def __init__(self, client: Any) -> None:
        super().__init__(client)
        options = client.options
        experiments = options.get("_experiments") or {}
        # Starting a transaction is making one, and giving it a decision, which is here, a list of spans, and a profile.
        self._profiles = any(
            value is not None and "profil" in name and name != "profile_lifecycle"
            for some in (options, experiments)
            for name, value in some.items()
        )
        self._max_spans = experiments.get("max_spans") or 1000

    def _takes_decisions(self, options: Any) -> bool:
        # OpenTelemetry's spans stand in for the SDK's, which says so when a transaction is started.
        return bool(options.get("instrumenter", "sentry") == "sentry")

    def _transaction_context(self, exchange: Exchange, trace: Trace, context: Any) -> Any:
        thread, thread_name = internals.thread_here()
        return {
            "trace_id": context.trace_id,
            "span_id": trace.span_id,
            "parent_span_id": context.parent_span_id,
            "same_process_as_parent": False,
            "op": _attributes.operation(exchange),
            "description": None,
            "start_timestamp": datetime.now(UTC),
            "timestamp": None,
            "origin": ORIGIN,
            "data": {"thread.id": str(thread), "thread.name": thread_name},
            "name": _attributes.first_name(exchange),
            "source": "url",
            "sampled": None,
        }

    def _is_backpressure(self, trace: Trace, rate: float) -> bool:  # noqa: ARG002
        return True

    def _started(self, exchange: Exchange, scope: Scope, context: Any) -> Any:
        trace: Trace = exchange.trace
        baggage: Any = context.baggage
        if baggage is None:
            made = trace.sample_rand
            baggage = internals.Baggage({} if made is None else {"sample_rand": f"{made:.6f}"})
        transaction = internals.Transaction(
            op=_attributes.operation(exchange),
            name=_attributes.first_name(exchange),
            source="url",
            origin=ORIGIN,
            baggage=baggage,
            parent_sampled=context.parent_sampled,
            trace_id=context.trace_id,
            span_id=trace.span_id,
            parent_span_id=_parent(exchange, context),
            same_process_as_parent=False,
            sampled=trace.sampled,
        )
        sampling = {"asgi_scope": exchange.scope}
        if trace.sampled is None:
            return scope.start_transaction(transaction, custom_sampling_context=sampling)
        rate_before = baggage.sentry_items.get("sample_rate")
        if trace.sampled and self._profiles:
            scope.start_transaction(transaction, custom_sampling_context=sampling)
            internals.start_profile(transaction)
        elif trace.sampled:
            transaction.init_span_recorder(maxlen=self._max_spans)
        # The SDK takes a decision that it is given for a rate of 1 or 0.
        transaction.sample_rate = trace.rate
        follows = context.parent_sampled is not None and not self._asks
        rate = rate_before if follows or trace.rate is None else str(trace.rate)
        baggage.sentry_items["sample_rate"] = rate
        if rate is None:
            del baggage.sentry_items["sample_rate"]
        return transaction

    def _ended(self, exchange: Exchange, trace: Trace) -> None:
        internals.stop_profile(trace.span)
        super()._ended(exchange, trace)

    def _end_span(self, span: Any, end: Any) -> None:
        span.finish(end_timestamp=end)

    def tell(self, span: Any, facts: dict[str, str | int | float]) -> None:
        for name, value in facts.items():
            span.set_data(name, value)

    def _after(self, span: Any, start: Any, seconds: float) -> None:
        child = span.start_child(
            op="function", name=AFTER_NAME, origin=ORIGIN, start_timestamp=start
        )
        child.finish(end_timestamp=start + timedelta(seconds=seconds))

    def _describe(self, exchange: Exchange, trace: Trace) -> None:
        span = trace.span
        name, source, route = _attributes.naming(exchange, span.name, trace.part)
        if name is not None:
            span.name, span.source = name, source
        elif span.source == "url":  # the source that the span began with
            span.source = "custom"
        status, outcome = _attributes.outcome(exchange, trace.part)
        if status is not None:
            span.set_http_status(status)
        if outcome is not None:
            span.set_status(outcome)
        for name, value in _attributes.attributes(exchange, trace.part, status, route).items():
            span.set_data(name, value)


class StreamedSpans(Tracing):
    """A segment span for each request, sent as it ends: SDK 2 with `trace_lifecycle="stream"`, SDK 3."""

    categories = ("span",)
    streams = True

    def _takes_decisions(self, options: Any) -> bool:
        experiments = options.get("_experiments") or {}
        ignores = options.get("ignore_spans") or experiments.get("ignore_spans")
        return bool(internals.StreamedSpan and internals.UnsampledSpan) and not ignores

    def _transaction_context(self, exchange: Exchange, trace: Trace, context: Any) -> Any:  # noqa: ARG002
        context.custom_sampling_context = {"asgi_scope": exchange.scope}
        name = _attributes.first_name(exchange)
        attributes = self._first_attributes(exchange)
        return {
            "trace_id": context.trace_id,
            "span_id": None,
            "parent_span_id": context.parent_span_id,
            "op": attributes["sentry.op"],
            "name": name,
            "description": name,
            "start_timestamp": None,
            "timestamp": None,
            "source": attributes["sentry.segment.name.source"],
            "sampled": None,
            "data": attributes,
        }

    def _first_attributes(self, exchange: Exchange) -> dict[str, Any]:
        return {
            "sentry.op": _attributes.operation(exchange),
            "sentry.origin": ORIGIN,
            "sentry.segment.name.source": "url",
        }

    def _no_rate(self, trace: Trace, why: str) -> None:
        trace.sampled, trace.reason, trace.sample_rand = False, why, None

    def _is_backpressure(self, trace: Trace, rate: float) -> bool:
        return trace.sample_rand is not None and trace.sample_rand < rate

    def _started(self, exchange: Exchange, scope: Scope, context: Any) -> Any:
        trace: Trace = exchange.trace
        if trace.sampled is None:
            context.custom_sampling_context = {"asgi_scope": exchange.scope}
            with use_scope(scope):
                return internals.start_streamed_span(
                    _attributes.first_name(exchange), self._first_attributes(exchange)
                )
        baggage = context.baggage
        if baggage is not None and baggage.sentry_items.get("sample_rate"):
            follows = context.parent_sampled is not None and not self._asks
            if trace.rate is not None and not follows:
                baggage.sentry_items["sample_rate"] = str(trace.rate)
        arguments = {
            "name": _attributes.first_name(exchange),
            "attributes": self._first_attributes(exchange),
            "trace_id": context.trace_id,
            "parent_span_id": _parent(exchange, context),
            "parent_sampled": context.parent_sampled,
            "baggage": baggage,
            "sample_rand": trace.sample_rand,
            "sample_rate": trace.rate,
        }
        if not trace.sampled:
            return self._unsampled(trace, arguments)
        # An active one would put itself on its scope, and fill it; this one is put there. What it is sent with is
        # what is in force when it ends, and this scope adds nothing.
        return internals.StreamedSpan(scope=EMPTY_SCOPE, active=False, **arguments)

    def _unsampled(self, trace: Trace, arguments: dict[str, Any]) -> Any:
        return internals.UnsampledSpan(sampled=False, unsampled_reason=trace.reason, **arguments)

    def _end_span(self, span: Any, end: Any) -> None:
        span.end(end_timestamp=end)

    def tell(self, span: Any, facts: dict[str, str | int | float]) -> None:
        internals.set_attributes(span, facts)

    def _after(self, span: Any, start: Any, seconds: float) -> None:
        attributes = {"sentry.op": "function", "sentry.origin": ORIGIN}
        child = internals.start_streamed_span(AFTER_NAME, attributes, parent_span=span)
        internals.backdate(child, start)
        child.end(end_timestamp=start + timedelta(seconds=seconds))

    def _describe(self, exchange: Exchange, trace: Trace) -> None:
        span = trace.span
        name, source, route = _attributes.naming(exchange, span.name, trace.part)
        status, outcome = _attributes.outcome(exchange, trace.part)
        if outcome == "internal_error" or (status is not None and status >= 500):  # noqa: PLR2004
            span.status = "error"
        elif outcome is not None and outcome != "ok":
            span.set_attribute("sentry.status.message", outcome)
        facts = _attributes.attributes(exchange, trace.part, status, route)
        if name is not None:
            facts["name"] = name
        from sentry_asgi._events.segment import complete_segment  # noqa: PLC0415  # loaded with the first middleware

        complete_segment(exchange, facts, of_request=trace.part is None)
        if name is not None:
            span.name, facts["sentry.segment.name.source"] = facts.pop("name"), source
        elif span.get_attributes().get("sentry.segment.name.source") == "url":  # as it began
            facts["sentry.segment.name.source"] = "custom"
        internals.set_attributes(span, facts)
