"""Where SDKs differ, and every private name of `sentry_sdk` in use, with what it takes to do without.

Read once, at import. `LAZY_SCOPES` is None where the installed SDK no longer has what the lazy scopes
stand on; `_isolation` then takes the SDK's public way, which is slower and as right. A test names
each of these, so that a new SDK that moves one is seen before users see it.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from datetime import datetime
from random import Random
from types import NoneType
from typing import Any, Final, Literal, NamedTuple

import sentry_sdk
import sentry_sdk.scope
import sentry_sdk.tracing_utils
import sentry_sdk.utils
from sentry_sdk.scope import Scope
from sentry_sdk.serializer import serialize


class ScopeVariables(NamedTuple):
    """The context variables in which the SDK keeps its scopes, and the names of a scope's slots."""

    isolation: ContextVar[Scope | None]
    current: ContextVar[Scope | None]
    slots: tuple[str, ...]


def _scope_variables() -> ScopeVariables | None:
    isolation = getattr(sentry_sdk.scope, "_isolation_scope", None)
    current = getattr(sentry_sdk.scope, "_current_scope", None)
    slots = getattr(Scope, "__slots__", None)
    if not isinstance(isolation, ContextVar) or not isinstance(current, ContextVar):
        return None
    if not isinstance(slots, tuple) or "__dict__" in dir(Scope):
        return None
    if not hasattr(Scope, "_propagation_context") or not hasattr(
        sentry_sdk.tracing_utils.PropagationContext, "from_incoming_data"
    ):
        return None
    return ScopeVariables(isolation, current, slots)


LAZY_SCOPES: Final = _scope_variables()

# Of a request's current scope, what must not come from whatever surrounds the request: the
# span that is active there, and a trace that would go before the request's own.
UNINHERITED: Final = tuple(
    name for name in ("_span", "_profile", "_propagation_context") if hasattr(Scope, name)
)

# The slots of a span, a trace and a session: descriptors, by which they are read and written without any property.
SPAN: Final[Any] = getattr(Scope, "_span", None)
TRACE: Final[Any] = getattr(Scope, "_propagation_context", None)
SESSION: Final[Any] = getattr(Scope, "_session", None)


def has_event_processors(scope: Any) -> bool:
    """Whether a scope has event processors; where that cannot be told, it may."""
    return bool(getattr(scope, "_event_processors", True))


safe_repr: Final = sentry_sdk.utils.safe_repr


format_timestamp: Final = sentry_sdk.utils.format_timestamp

_ANNOTATED: Final[Any] = getattr(sentry_sdk.utils, "AnnotatedValue", None)


def annotated(value: Any, metadata: dict[str, Any]) -> Any:
    """A value with what Sentry is to be told of it (`_meta`); without the SDK's means, the value alone."""
    return value if _ANNOTATED is None else _ANNOTATED(value, metadata)


def metadata_of(value: Any) -> dict[str, Any] | None:
    """What Sentry is to be told of a value; None if it is a value like any other."""
    if _ANNOTATED is None or not isinstance(value, _ANNOTATED):
        return None
    metadata: dict[str, Any] = value.metadata
    return metadata


def is_annotated(value: Any) -> bool:
    """Whether a value says itself what Sentry is to be told of it."""
    return value.__class__ is _ANNOTATED


def plain(value: Any) -> Any:
    """A value without what Sentry is to be told of it."""
    return value if metadata_of(value) is None else value.value


def _renders_variables_late() -> bool:
    """Whether a frame's variables are still the application's own objects when event processors run."""
    probe = {"vars": {"text": "text"}}
    frame = serialize({"stacktrace": {"frames": [probe]}})["stacktrace"]["frames"][0]
    return bool(frame["vars"] == {"text": "'text'"})


VARIABLES_ARE_LATE: Final = _renders_variables_late()


def rendered_variables(variables: Any) -> Any:
    """The variables of a frame as an SDK that renders them late would write them, to stay so."""
    frame = serialize({"stacktrace": {"frames": [{"vars": variables}]}})["stacktrace"]["frames"][0]
    return annotated(frame["vars"], {})


_current_stacktrace: Final[Any] = sentry_sdk.utils.current_stacktrace
_STACKTRACE_OPTIONS: Final = frozenset(inspect.signature(_current_stacktrace).parameters)


def current_stacktrace(options: Mapping[str, Any]) -> dict[str, Any]:
    """The SDK's stack trace of whoever calls, by a client's options, as far as this SDK takes them."""
    wanted = ("include_local_variables", "include_source_context", "max_value_length")
    given = {
        name: options[name] for name in wanted if name in options and name in _STACKTRACE_OPTIONS
    }
    stacktrace: dict[str, Any] = _current_stacktrace(**given)
    return stacktrace


_event_from_exception: Final[Any] = sentry_sdk.utils.event_from_exception
_TAKES_OPTIONS: Final = "client_options" in inspect.signature(_event_from_exception).parameters


def event_from_exception(
    exception: BaseException, mechanism: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The SDK's event and hint for an exception; 3.x takes the options from the client by itself."""
    options = {"client_options": sentry_sdk.get_client().options} if _TAKES_OPTIONS else {}
    event, hint = _event_from_exception(exception, mechanism=mechanism, **options)
    if _causes_hold_a_group(exception):
        _show_groups(event, exception, mechanism, options)
    _show_cut_off(event, exception, mechanism, options)
    return event, hint


_CAUSES: Final = 50  # looked at; a chain of them can be of any length, or a circle


def _causes_hold_a_group(exception: BaseException) -> bool:
    if isinstance(exception, BaseExceptionGroup):
        return False  # the SDK unfolds it
    cause = exception.__cause__
    for _ in range(_CAUSES):
        if cause is None or isinstance(cause, BaseExceptionGroup):
            break
        cause = cause.__cause__
    return isinstance(cause, BaseExceptionGroup)


def _show_groups(event: Any, exception: BaseException, mechanism: Any, options: Any) -> None:
    """Has the SDK unfold groups among the causes, too; what it can, but only does where a group comes first."""
    unfold = getattr(sentry_sdk.utils, "exceptions_from_error", None)
    if unfold is None:
        return
    with contextlib.suppress(Exception):
        _, values = unfold(
            exc_type=type(exception),
            exc_value=exception,
            tb=exception.__traceback__,
            mechanism=mechanism,
            **options,
        )
        event["exception"] = {"values": values[::-1]}


def _show_cut_off(event: Any, exception: BaseException, mechanism: Any, options: Any) -> None:
    """Adds the cause that the SDK's ASGI middleware cuts off, by `raise ... from None`, as an exception passes it."""
    innermost = exception
    for _ in range(_CAUSES):
        if innermost.__cause__ is None:
            break
        innermost = innermost.__cause__
    cut_off = innermost.__context__
    if cut_off is None or not innermost.__suppress_context__ or not _passed_the_sdk(innermost):
        return
    more, _ = _event_from_exception(cut_off, mechanism=mechanism, **options)
    values = event["exception"]["values"]
    event["exception"]["values"] = [*more["exception"]["values"], *values]


def _passed_the_sdk(exception: BaseException) -> bool:
    traceback = exception.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_globals.get("__name__") == _CUTS_OFF:
            return True
        traceback = traceback.tb_next
    return False


_CUTS_OFF: Final = "sentry_sdk.integrations.asgi"


def forget(exceptions: Iterable[BaseException]) -> None:
    """Lets the Dedupe integration forget: SDK 2 keeps the last exception, frames and all, SDK 3 marks each for ever."""
    dedupe = sentry_sdk.get_client().get_integration("dedupe")
    last_seen = getattr(dedupe, "_last_seen", None)
    if last_seen is not None:
        last_seen.set(None)
    for exception in exceptions:
        exception.__dict__.pop("_handled_by_sentry", None)


VERSION: Final = tuple(int(part) for part in sentry_sdk.VERSION.split("b")[0].split(".")[:2])

CAN_TAKE_OVER: Final = VERSION >= (2, 15)
"""Whether the SDK's Starlette integration, once set up, copes with being off; before, handlers of exceptions fail."""


# Tracing. SDK 2 has `sentry_sdk.tracing`, with transactions; SDK 3 has streamed spans only.


def _public(module: str, name: str) -> Any:
    """A public name of the SDK's that not all versions have; None where this one has not."""
    found = importlib.util.find_spec(module)
    return found and getattr(importlib.import_module(module), name, None)


_AsyncTransport: Final = _public("sentry_sdk.transport", "AsyncHttpTransport")


def sends_on_the_loop(client: Any) -> bool:
    """Whether a client's transport sends on the event loop, where `flush_async` flushes it."""
    return _AsyncTransport is not None and isinstance(client.transport, _AsyncTransport)


_transports: Final[Any] = importlib.import_module("sentry_sdk.transport")


def renew_transport(client: Any) -> None:
    """Gives a client another transport like the one that it has made itself; any other it keeps."""
    if type(client.transport).__module__ != _transports.__name__ or sends_on_the_loop(client):
        return
    if isinstance(client.options["transport"], (type, NoneType)):
        client.transport = _transports.make_transport(client.options)


Transaction: Final = _public("sentry_sdk.tracing", "Transaction")
start_streamed_span: Final = _public("sentry_sdk.traces", "start_span")

_utils: Final[Any] = sentry_sdk.tracing_utils
Baggage: Final[Any] = _utils.Baggage
PropagationContext: Final[Any] = _utils.PropagationContext
is_valid_sample_rate: Final = sentry_sdk.utils.is_valid_sample_rate
thread_here: Final = sentry_sdk.utils.get_current_thread_meta


def continued_trace(incoming: dict[str, str]) -> Any:
    """The trace that incoming headers tell of, as the SDK continues it; a new one where it does not."""
    return PropagationContext.from_incoming_data(incoming) or PropagationContext()


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
    found = [kind for name in names if (kind := _public("sentry_sdk.traces", name)) is not None]
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


def set_attributes(span: Any, facts: dict[str, str | int | float]) -> None:
    """Sets attributes of a streamed span whose values need no formatting: at once, which takes a tenth of the time."""
    attributes = span.get_attributes()
    attributes.update(facts)
    if span.get_attributes() is not attributes:  # it was a copy
        span.set_attributes(facts)


def set_root_span(scope: Any, span: Any) -> None:
    """Makes a span, or None, what is active on a scope where nothing further in is."""
    set_root = getattr(scope, "asgi_set_root_span", None)
    if set_root is None:
        scope.span = span
    else:
        set_root(span)


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


# Sessions.


def session_aggregate(client: Any) -> tuple[Any, Any]:
    """The flusher's dict of aggregated sessions, and in it the newest bucket; (None, None) if it has none."""
    aggregates = getattr(getattr(client, "session_flusher", None), "pending_aggregates", None)
    if not isinstance(aggregates, dict) or not aggregates:
        return None, None
    buckets = list(aggregates.values())[-1]
    if not isinstance(buckets, dict) or not buckets:
        return None, None
    return aggregates, buckets[max(buckets)]
