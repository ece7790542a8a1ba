"""Traces: each request a transaction or a streamed span, and those that are not sampled all but free.

The rules:

- There are two ways, `Transactions` (SDK 2) and `StreamedSpans` (SDK 2 with `trace_lifecycle="stream"`, SDK 3), and
  none where tracing is off. `way_of` chooses once for each client; nothing else asks which it is.
- The decision comes first. Where a rate or the parent's flag decides, a request that is not sampled gets no span, but
  the mark `PENDING`: who asks the scope for its span gets, then, the object that the SDK itself would have made.
  Where a `traces_sampler` or anything unusual is to decide, the SDK does, by its own code.
- The dice are thrown here, once. The number is handed to the SDK as the trace's `sample_rand`, so when it is the
  SDK's turn it decides the same, and other services on the trace do.
- What a span tells is set when it ends, for only then are route, status and sizes known. A request's duration ends
  with the last body message; what the app does after that is a span of its own. A websocket's span is its handshake.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta
from random import random
from typing import Any, Final, Protocol

from sentry_sdk.scope import Scope, use_scope

from . import _request, _sdk
from ._exchange import Exchange, WebSocketExchange, now
from ._failsafe import log_failure

ORIGIN: Final = "auto.http.asgi"

AFTER_RESPONSE: Final = 0.001
"""Seconds of work after the response that are worth a span of their own."""

AFTER_NAME: Final = "after the response"


class Trace:
    """What is kept of one connection's trace, as its `trace`, until its span has ended."""

    __slots__ = ("pending", "sample_rand", "scope", "span", "way")

    def __init__(self, way: Tracing) -> None:
        self.way = way
        self.pending = False  # not sampled, and nobody has asked for the span yet
        self.sample_rand: float | None = None  # the dice, where they were thrown here
        self.span: Any = None
        self.scope: Any = None  # that the span is on


class Tracing(Protocol):
    """What the middleware does about the trace of a connection. None of it raises into the app."""

    def begin(self, exchange: Exchange, *, lazy: bool) -> None:
        """Decides, and starts the span if the request is sampled; or always, unless `lazy`."""
        ...

    def start(self, exchange: Exchange, scope: Scope) -> Any:
        """Starts the connection's span on its current scope; whether it is sampled is decided."""
        ...

    def end(self, exchange: Exchange) -> None:
        """Ends the connection's span, or counts it as not sampled. A second call does nothing."""
        ...


def way_of(client: Any) -> Tracing:
    """The way in which a client traces, which is one that does."""
    streams = _sdk.trace_lifecycle(client.options) == "stream"
    return StreamedSpans(client) if streams else Transactions(client)


# The decision


# The flag of a `sentry-trace` header: https://develop.sentry.dev/sdk/telemetry/traces/#header-sentry-trace
_NOT_SAMPLED: Final = re.compile(rb"[ \t]*[0-9a-f]{32}-[0-9a-f]{16}-0[ \t]*", re.IGNORECASE)


class _Way(ABC):
    """What both ways share: the decision, the order of things, the facts that a span tells."""

    categories: tuple[str, ...]

    def __init__(self, client: Any) -> None:
        self._client = client
        self._rate = _plain_rate(client.options)
        self._strict = bool(client.options.get("strict_trace_continuation"))

    def begin(self, exchange: Exchange, *, lazy: bool) -> None:
        exchange.trace = trace = Trace(self)
        try:
            if self._not_sampled(exchange, trace) and lazy:
                trace.pending = True
            else:
                self.start(exchange, Scope.get_current_scope())
        except Exception:
            log_failure("starting a span")

    def _not_sampled(self, exchange: Exchange, trace: Trace) -> bool:
        """Whether it is certain, by a rate or by the parent's flag alone, that nothing is to be kept."""
        if self._rate is None:
            return False
        parent = baggage = other = b""
        for name, value in exchange.scope.get("headers") or ():
            if name == b"sentry-trace":
                parent = value
            elif name == b"baggage":
                baggage = value
            elif name == b"traceparent":
                other = value
        if parent or other:
            # Whether an organisation's id forbids to follow the parent is the SDK's to know.
            simple = not self._strict and b"org_id" not in baggage
            return simple and _NOT_SAMPLED.fullmatch(parent) is not None
        rate = self._rate
        monitor = self._client.monitor
        if monitor is not None and monitor.downsample_factor:
            rate /= 2**monitor.downsample_factor
        # Six digits, as the SDK has them.
        trace.sample_rand = int(random() * 1_000_000) / 1_000_000  # noqa: S311
        return trace.sample_rand >= rate

    def start(self, exchange: Exchange, scope: Scope) -> Any:
        trace: Trace = exchange.trace
        trace.pending = False
        context: Any = Scope.get_isolation_scope().get_active_propagation_context()
        ours = trace.sample_rand is not None and context.baggage is None
        if ours:
            context.baggage = _sdk.Baggage({"sample_rand": f"{trace.sample_rand:.6f}"})
        try:
            trace.span = self._started(exchange, scope, context)
        finally:
            if ours:
                context.baggage = None
        trace.scope = scope
        _sdk.set_root_span(scope, trace.span)
        return trace.span

    @abstractmethod
    def _started(self, exchange: Exchange, scope: Scope, context: Any) -> Any:
        """The SDK's span of the connection, of the trace that `context` tells."""

    def end(self, exchange: Exchange) -> None:
        trace, exchange.trace = exchange.trace, None
        try:
            if trace.pending:
                self._count()
            elif trace.span is not None:
                self._ended(exchange, trace.span)
                _sdk.set_root_span(trace.scope, None)
        except Exception:
            log_failure("ending a span")

    @abstractmethod
    def _ended(self, exchange: Exchange, span: Any) -> None:
        """Has the span tell what there is to tell, and ends it."""

    def _count(self) -> None:
        """Tells the SDK's client reports of what was not sampled, as the SDK does of its own."""
        monitor = self._client.monitor
        reason = (
            "backpressure" if monitor is not None and monitor.downsample_factor else "sample_rate"
        )
        for category in self.categories:
            self._client.transport.record_lost_event(reason, data_category=category)


def _plain_rate(options: Any) -> float | None:
    """The rate that decides without the SDK; None where the SDK has to decide."""
    rate = options.get("traces_sample_rate")
    if callable(options.get("traces_sampler")):
        return None
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate <= 1:
        return None
    return float(rate)


# What a span tells


def _operation(exchange: Exchange) -> str:
    return "websocket.server" if isinstance(exchange, WebSocketExchange) else "http.server"


def _first_name(exchange: Exchange) -> str:
    """What a span is called before anything is routed."""
    return _request.full_path(exchange) or "/"


def _name(exchange: Exchange, given: str) -> tuple[str, str] | None:
    """Name and source to end with; None if the application has named the span itself."""
    if given not in _request.derived_names(exchange) and given != _first_name(exchange):
        return None
    return _request.name_and_source(exchange)


def _outcome(exchange: Exchange) -> tuple[int | None, str | None]:
    """The status code of the response, and a span status of Sentry's that says more than the code."""
    if exchange.ending == "cancelled" or (exchange.client_left and exchange.ended_at is None):
        return exchange.status, "cancelled"
    if exchange.ending == "raised":
        return (500 if exchange.status is None else exchange.status), "internal_error"
    return exchange.status, None


def _attributes(exchange: Exchange, status: int | None) -> dict[str, Any]:
    """The facts of a request, by the names of Sentry's conventions (https://conventions.sentry.dev)."""
    headers = _request.headers(exchange)
    host, port = _request.address(exchange)
    first_byte = exchange.first_byte_at
    facts = {
        "http.request.method": _request.method(exchange),
        "http.route": _request.route(exchange),
        "url.path": _request.full_path(exchange),
        "server.address": host,
        "server.port": port,
        "network.protocol.version": _text(exchange.scope.get("http_version")),
        "user_agent.original": headers.get("user-agent"),
        "http.response.status_code": status,
        "http.response.body.size": exchange.sent_bytes,
        "http.request.body.size": exchange.received_bytes,
        "http.request.time_to_first_byte": first_byte
        and round(first_byte - exchange.started_at, 6),
    }
    return {name: value for name, value in facts.items() if value is not None}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _after_response(exchange: Exchange) -> float | None:
    """Seconds that the app went on after its response, if they are worth a span."""
    if exchange.ended_at is None or isinstance(exchange, WebSocketExchange):
        return None
    seconds = now() - exchange.ended_at
    return seconds if seconds >= AFTER_RESPONSE else None


def _end_of_request(exchange: Exchange, span: Any) -> datetime:
    """When the request was over: with the last of its response, or with the app's failure to give one."""
    ended = exchange.ended_at or exchange.closed_at or now()
    if isinstance(exchange, WebSocketExchange):
        ended = exchange.first_byte_at or ended
    end: datetime = span.start_timestamp + timedelta(seconds=ended - exchange.started_at)
    return end


# The two ways


class Transactions(_Way):
    """A transaction for each request: SDK 2."""

    categories = ("transaction", "span")

    def _started(self, exchange: Exchange, scope: Scope, context: Any) -> Any:
        transaction = _sdk.Transaction(
            op=_operation(exchange),
            name=_first_name(exchange),
            source="url",
            origin=ORIGIN,
            baggage=context.baggage,
            parent_sampled=context.parent_sampled,
            trace_id=context.trace_id,
            parent_span_id=context.parent_span_id,
            same_process_as_parent=False,
        )
        started = scope.start_transaction(
            transaction, custom_sampling_context={"asgi_scope": exchange.scope}
        )
        _sdk.start_profile(started)
        return started

    def _ended(self, exchange: Exchange, span: Any) -> None:
        _sdk.stop_profile(span)
        end = None
        if span.sampled:
            self._describe(exchange, span)
            end = _end_of_request(exchange, span)
            after = _after_response(exchange)
            if after is not None:
                self._after(span, end, end + timedelta(seconds=after))
        span.finish(end_timestamp=end)

    def _after(self, span: Any, start: datetime, end: datetime) -> None:
        child = span.start_child(
            op="function", name=AFTER_NAME, origin=ORIGIN, start_timestamp=start
        )
        child.finish(end_timestamp=end)

    def _describe(self, exchange: Exchange, span: Any) -> None:
        named = _name(exchange, span.name)
        if named is not None:
            span.name, span.source = named
        status, outcome = _outcome(exchange)
        if status is not None:
            span.set_http_status(status)
        if isinstance(exchange, WebSocketExchange) and status == 101:  # noqa: PLR2004
            outcome = outcome or "ok"
        if outcome is not None:
            span.set_status(outcome)
        for name, value in _attributes(exchange, status).items():
            span.set_data(name, value)


class StreamedSpans(_Way):
    """A segment span for each request, sent as it ends: SDK 2 with `trace_lifecycle="stream"`, SDK 3."""

    categories = ("span",)

    def _started(self, exchange: Exchange, scope: Scope, context: Any) -> Any:
        context.custom_sampling_context = {"asgi_scope": exchange.scope}
        attributes = {
            "sentry.op": _operation(exchange),
            "sentry.origin": ORIGIN,
            "sentry.segment.name.source": "url",
        }
        with use_scope(scope):
            return _sdk.start_streamed_span(_first_name(exchange), attributes)

    def _ended(self, exchange: Exchange, span: Any) -> None:
        end = None
        if span.sampled:
            self._describe(exchange, span)
            end = _end_of_request(exchange, span)
            if _after_response(exchange) is not None:
                self._after(span, end)
        span.end(end_timestamp=end)

    def _after(self, span: Any, start: datetime) -> None:
        attributes = {"sentry.op": "function", "sentry.origin": ORIGIN}
        child = _sdk.start_streamed_span(AFTER_NAME, attributes, parent_span=span)
        _sdk.backdate(child, start)
        child.end(end_timestamp=datetime.now(UTC))

    def _describe(self, exchange: Exchange, span: Any) -> None:
        named = _name(exchange, span.name)
        if named is not None:
            span.name = named[0]
            span.set_attribute("sentry.segment.name.source", named[1])
        status, outcome = _outcome(exchange)
        if outcome == "internal_error" or (status is not None and status >= 500):  # noqa: PLR2004
            span.status = "error"
        elif outcome is not None:
            span.set_attribute("sentry.status.message", outcome)
        for name, value in _attributes(exchange, status).items():
            span.set_attribute(name, value)
