"""A transaction for each request: what SDK 2 sends when its spans do not stream.

Starting a transaction is making one, and giving it a decision, a list of spans, and a profile. The decision is here
already (`sampling`); the SDK's own `start_transaction`, which would decide again, is called for profiles alone, and
where the SDK is to decide.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sentry_sdk.scope import Scope

from sentry_asgi._connection.exchange import Exchange
from sentry_asgi._sdk import spans

from . import attributes as _attributes
from .sampling import Trace
from .tracing import AFTER_NAME, ORIGIN, Tracing, parent_of


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
        thread, thread_name = spans.thread_here()
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
            baggage = spans.Baggage({} if made is None else {"sample_rand": f"{made:.6f}"})
        transaction = spans.Transaction(
            op=_attributes.operation(exchange),
            name=_attributes.first_name(exchange),
            source="url",
            origin=ORIGIN,
            baggage=baggage,
            parent_sampled=context.parent_sampled,
            trace_id=context.trace_id,
            span_id=trace.span_id,
            parent_span_id=parent_of(exchange, context),
            same_process_as_parent=False,
            sampled=trace.sampled,
        )
        sampling = {"asgi_scope": exchange.scope}
        if trace.sampled is None:
            return scope.start_transaction(transaction, custom_sampling_context=sampling)
        rate_before = baggage.sentry_items.get("sample_rate")
        if trace.sampled and self._profiles:
            scope.start_transaction(transaction, custom_sampling_context=sampling)
            spans.start_profile(transaction)
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
        spans.stop_profile(trace.span)
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
