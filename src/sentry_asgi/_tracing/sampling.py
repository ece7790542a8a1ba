"""Whether a request is sampled: the decision, which comes before any span.

The rules:

- The decision is taken as the SDK would take it: `traces_sampler`, else the parent's flag, else the rate, lowered
  under backpressure. Where an SDK does not take a decision, it decides alone.
- Most requests are decided by a rate or by the parent's flag alone: for these, no scope is read (`_decided_at_once`).
- A new trace's `sample_rand` is drawn here, so other services on the trace decide the same.
"""

from __future__ import annotations

import re
import uuid
from abc import ABC, abstractmethod
from random import random
from typing import Any, Final

from sentry_sdk.scope import Scope

from sentry_asgi._connection.exchange import Exchange
from sentry_asgi._sdk import spans
from sentry_asgi._sdk.diagnostics import log_failure

from . import attributes as _attributes


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

    def __init__(self, way: Sampling) -> None:
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


# The flag of a `sentry-trace` header: https://develop.sentry.dev/sdk/telemetry/traces/#header-sentry-trace
_NOT_SAMPLED: Final = re.compile(rb"\A[ \t]*[0-9a-f]{32}-[0-9a-f]{16}-0[ \t]*", re.IGNORECASE)


FACTOR_HOLDS: Final = 1.0
"""Seconds for which it is believed by how much to sample less."""


class Sampling(ABC):
    """The decision, of a client's options; the ways of tracing are of this."""

    def __init__(self, client: Any) -> None:
        options = client.options
        self._sdk = client
        self._sampler = options.get("traces_sampler")
        self._asks = callable(self._sampler)
        self._rate = None if self._asks else _plain_rate(options.get("traces_sample_rate"))
        self._strict = bool(options.get("strict_trace_continuation"))
        self._decides = self._takes_decisions(options)
        self._monitor = client.monitor
        self._factor, self._ask_at = 0, float("-inf")

    @abstractmethod
    def _takes_decisions(self, options: Any) -> bool:
        """Whether the SDK makes a span whose sampling is decided."""

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
            trace.sample_rand = spans.sample_rand(context)
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
            rate = self._sdk.options.get("traces_sample_rate")
        if spans.is_valid_sample_rate(rate, source="Tracing"):
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


def _plain_rate(rate: Any) -> float | None:
    """The rate that decides alone; None where it is none."""
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate <= 1:
        return None
    return float(rate)
