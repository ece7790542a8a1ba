"""A segment span for each request, sent as it ends: SDK 2 with `trace_lifecycle="stream"`, SDK 3.

The span is made by its class, with the decision that was taken (`sampling`). Where the SDK's class does not take one,
or the client ignores spans by name, the SDK starts the span, and decides.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sentry_sdk.scope import Scope, use_scope

from sentry_asgi._connection.exchange import Exchange
from sentry_asgi._scopes.untouched import EMPTY_SCOPE
from sentry_asgi._sdk import spans

from . import attributes as _attributes
from .sampling import Trace
from .tracing import AFTER_NAME, ORIGIN, Tracing, parent_of


class StreamedSpans(Tracing):
    """A segment span for each request, sent as it ends: SDK 2 with `trace_lifecycle="stream"`, SDK 3."""

    categories = ("span",)
    streams = True

    def _takes_decisions(self, options: Any) -> bool:
        experiments = options.get("_experiments") or {}
        ignores = options.get("ignore_spans") or experiments.get("ignore_spans")
        return bool(spans.StreamedSpan and spans.UnsampledSpan) and not ignores

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
                return spans.start_streamed_span(
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
            "parent_span_id": parent_of(exchange, context),
            "parent_sampled": context.parent_sampled,
            "baggage": baggage,
            "sample_rand": trace.sample_rand,
            "sample_rate": trace.rate,
        }
        if not trace.sampled:
            return self._unsampled(trace, arguments)
        # An active one would put itself on its scope, and fill it; this one is put there. What it is sent with is
        # what is in force when it ends, and this scope adds nothing.
        return spans.StreamedSpan(scope=EMPTY_SCOPE, active=False, **arguments)

    def _unsampled(self, trace: Trace, arguments: dict[str, Any]) -> Any:
        return spans.UnsampledSpan(sampled=False, unsampled_reason=trace.reason, **arguments)

    def _end_span(self, span: Any, end: Any) -> None:
        span.end(end_timestamp=end)

    def tell(self, span: Any, facts: dict[str, str | int | float]) -> None:
        spans.set_attributes(span, facts)

    def _after(self, span: Any, start: Any, seconds: float) -> None:
        attributes = {"sentry.op": "function", "sentry.origin": ORIGIN}
        child = spans.start_streamed_span(AFTER_NAME, attributes, parent_span=span)
        spans.backdate(child, start)
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
        spans.set_attributes(span, facts)
