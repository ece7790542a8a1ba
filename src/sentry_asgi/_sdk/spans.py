"""Spans, traces and what decides about them: SDK 2 has transactions, SDK 3 streamed spans only.

What an SDK lacks is None, or does nothing. `trace_lifecycle` says how a client traces.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterable
from datetime import datetime
from random import Random
from typing import Any, Final, Literal

import sentry_sdk
import sentry_sdk.scope
import sentry_sdk.tracing_utils
import sentry_sdk.utils

from .clients import VERSION, public

Transaction: Final = public("sentry_sdk.tracing", "Transaction")
start_streamed_span: Final = public("sentry_sdk.traces", "start_span")

_utils: Final[Any] = sentry_sdk.tracing_utils
Baggage: Final[Any] = _utils.Baggage
PropagationContext: Final[Any] = _utils.PropagationContext
is_valid_sample_rate: Final = sentry_sdk.utils.is_valid_sample_rate
thread_here: Final = sentry_sdk.utils.get_current_thread_meta


def continued_trace(incoming: dict[str, str]) -> Any:
    """The trace that incoming headers tell of, as the SDK continues it; a new one where it does not."""
    return PropagationContext.from_incoming_data(incoming) or PropagationContext()


def others_trace() -> dict[str, str]:
    """The trace of the span that another tracer, as OpenTelemetry, has here, and reports are in; as a header."""
    found = external_trace()
    return {"sentry-trace": "-".join(found)} if found else {}


def keep_others_trace() -> None:
    """Have the request's scope be of that trace from now on: there may be a report when the span is over."""
    if external_trace():
        getattr(
            sentry_sdk.get_isolation_scope(), "_propagation_context", None
        )  # a lazy scope makes it now


def _made_of_id(trace_id: str) -> float:
    """As the SDK makes it."""
    return Random(trace_id).randrange(1_000_000) / 1_000_000  # noqa: S311


_generate_sample_rand: Final[Any] = getattr(_utils, "_generate_sample_rand", _made_of_id)


def sample_rand(trace: Any) -> float:
    """The number of a continued trace by which all its services decide: as it came, else made of the trace's id."""
    with contextlib.suppress(AttributeError, TypeError, ValueError):  # of anybody's baggage
        given = float(trace.baggage.sentry_items.get("sample_rand"))
        if 0 <= given < 1:
            return given
    number: float = _generate_sample_rand(trace.trace_id)
    return number


_SPAN_TAKES: Final = frozenset(
    {"name", "attributes", "active", "scope", "trace_id", "parent_span_id", "parent_sampled"}
    | {"baggage", "sample_rand", "sample_rate"}
)
_NO_SPAN_TAKES: Final = _SPAN_TAKES - {"active"} | {"sampled", "unsampled_reason"}


def _made_of(names: Iterable[str], arguments: frozenset[str]) -> Any:
    """The class of streamed spans of the first of these names that there is, if it can be made of these arguments."""
    found = [kind for name in names if (kind := public("sentry_sdk.traces", name)) is not None]
    if not found or not arguments <= inspect.signature(found[0]).parameters.keys():
        return None
    return found[0]


# To make a span whose sampling is decided; None where the SDK insists on deciding itself.
StreamedSpan: Final = _made_of(("StreamedSpan", "Span"), _SPAN_TAKES)
UnsampledSpan: Final = _made_of(("NoOpStreamedSpan", "NoOpSpan"), _NO_SPAN_TAKES)

_streams: Final[Any] = getattr(
    _utils, "has_span_streaming_enabled", lambda _options: Transaction is None
)


def trace_lifecycle(options: Any) -> Literal["off", "static", "stream"]:
    """How a client with these options traces: not at all, by transactions, or by streamed spans."""
    if not _utils.has_tracing_enabled(options):
        return "off"
    return "stream" if _streams(options) else "static"


def streams_to_hooks(options: Any) -> bool:
    """Whether a client streams its spans, and calls the option `before_send_span` with each."""
    return trace_lifecycle(options) == "stream" and hasattr(
        sentry_sdk.utils, "get_before_send_span"
    )


_NoOpSpan: Final[Any] = public("sentry_sdk.tracing", "NoOpSpan")


def is_no_span(span: Any) -> bool:
    """Whether a span only stands where another tracer's does, and has no trace."""
    return _NoOpSpan is not None and isinstance(span, _NoOpSpan)


external_trace: Final[Any] = getattr(
    sentry_sdk.scope, "get_external_propagation_context", lambda: None
)
"""The ids of the trace and the span of another tracer, which go before the SDK's own; None without one."""


def active_thread_is_here() -> None:
    """Have the connection's span and profile name the thread that this runs in, as far as this SDK has such."""
    scope: Any = sentry_sdk.get_current_scope()
    streams = _streams(sentry_sdk.get_client().options)
    span = scope._server_segment_span if streams else scope.transaction  # noqa: SLF001
    profile = getattr(sentry_sdk.get_isolation_scope(), "profile", None)
    told = "_update_active_thread" if streams else "update_active_thread"
    for one, name in ((span, told), (profile, "update_active_thread_id")):
        if one is not None:
            getattr(one, name)()


def header_attribute(value: str) -> Any:
    """A header as the value of an attribute: a list from SDK 3 on, as the conventions have it."""
    return [value] if VERSION >= (3, 0) else value


def set_attributes(span: Any, facts: dict[str, str | int | float]) -> None:
    """Sets attributes of a streamed span whose values need no formatting: at once, which takes a tenth of the time."""
    attributes = span.get_attributes()
    attributes.update(facts)
    if span.get_attributes() is not attributes:  # it was a copy
        span.set_attributes(facts)


def start_profile(transaction: Any) -> None:
    """Starts the profile that `start_transaction` may have attached; entering a transaction does it."""
    with contextlib.suppress(AttributeError):  # there is none, or this SDK has none
        transaction._profile.__enter__()  # noqa: SLF001


def stop_profile(transaction: Any) -> None:
    """Stops the profiles of a transaction, as leaving it does; before it is finished."""
    profile = getattr(transaction, "_profile", None)
    if profile is not None:
        profile.__exit__(None, None, None)
    with contextlib.suppress(AttributeError):  # there is none, or this SDK has none
        transaction._continuous_profile.stop()  # noqa: SLF001


def backdate(span: Any, start: datetime) -> None:
    """Gives a streamed span another start; where the SDK has moved the attribute it keeps its own."""
    with contextlib.suppress(AttributeError):  # it has slots
        span._start_timestamp = start  # noqa: SLF001
