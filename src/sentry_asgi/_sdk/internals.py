"""Where SDKs differ, and every private name of `sentry_sdk` in use, with what it takes to do without.

Read once, at import. `LAZY_SCOPES` is None where the installed SDK no longer has what the lazy scopes
stand on; `isolation` then takes the SDK's public way, which is slower and as right. A test names
each of these, so that a new SDK that moves one is seen before users see it.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import logging
import math
import sys
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from datetime import datetime
from random import Random
from types import NoneType
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import sentry_sdk
import sentry_sdk.consts
import sentry_sdk.scope
import sentry_sdk.serializer
import sentry_sdk.tracing_utils
import sentry_sdk.utils
from sentry_sdk.scope import Scope
from sentry_sdk.serializer import serialize

from sentry_asgi._python.exceptions import attributes_of, names_of


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


def trace_set_on(scope: Any) -> Any:
    """The trace that has been set on a scope itself; None if it has none of its own."""
    return getattr(scope, "_propagation_context", None)


Nesting: TypeAlias = ContextVar[bool] | None


def nestings() -> tuple[Nesting, Nesting]:
    """Return what the SDK's ASGI middlewares, and its WSGI ones, ask whether another is around them.

    None where nobody has imported them, which takes long, or where they ask something else. Flask's integration puts
    one for WSGI around each app.
    """
    return (
        _variable(CUTS_OFF, "_asgi_middleware_applied"),
        _variable("sentry_sdk.integrations.wsgi", "_wsgi_middleware_applied"),
    )


def _variable(module: str, name: str) -> Nesting:
    found = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, ContextVar) else None


def has_event_processors(scope: Any) -> bool:
    """Whether a scope has event processors; where that cannot be told, it may."""
    return bool(getattr(scope, "_event_processors", True))


def set_default_user(scope: Any, user: dict[str, Any]) -> None:
    """Sets the user of a scope that has none; not where the SDK keeps it elsewhere."""
    if getattr(scope, "_user", user) is None:
        scope._user = user  # noqa: SLF001


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


class _RenderedDict(dict[str, Any]):
    """Data that is already as it is to be sent: the SDK's serialiser takes it as it is."""

    def __sentry_repr__(self) -> Any:
        return _as_sent(dict(self))


class _RenderedList(list[Any]):
    def __sentry_repr__(self) -> Any:
        return _as_sent([dict(one) if type(one) is _RenderedDict else one for one in self])


def rendered(value: Any) -> Any:
    """Plain data (dicts and lists of texts, numbers and truth values), so marked that the SDK does not walk it again.

    Its serialiser takes two microseconds for each node, and an event has hundreds. What processors of the
    application's put in is no matter: what cannot be sent as it is goes through the serialiser after all.
    """
    if type(value) is dict:
        return _RenderedDict(value)
    return _RenderedList(value) if type(value) is list else value


def _as_sent(value: Any) -> Any:
    try:
        plain = _are_plain((value,))
    except RecursionError:  # what somebody has put in is a circle
        plain = False
    return value if plain else serialize(value)


def _are_plain(values: Iterable[Any]) -> bool:
    for value in values:
        kind = type(value)
        if kind is dict:
            if not _TEXT.issuperset(map(type, value)):
                return False
            value = value.values()  # noqa: PLW2901
        elif kind is not list:
            if kind in _LEAVES or (kind is float and math.isfinite(value)):
                continue
            return False
        if not _LEAVES.issuperset(map(type, value)) and not _are_plain(value):
            return False
    return True


_LEAVES: Final = frozenset({str, int, bool, type(None)})
_TEXT: Final = frozenset({str})


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


# What the SDK makes of an exception, as far as `traceback` does not make it by itself.


def options() -> Mapping[str, Any]:
    """The options of the client in force."""
    return sentry_sdk.get_client().options


_serializer: Final[Any] = sentry_sdk.serializer
_rules_for_variables: Final[Any] = getattr(
    sentry_sdk.utils, "_apply_key_value_collection_filtering", None
)

MAX_VALUE_LENGTH: Final[Any] = getattr(sentry_sdk.consts, "DEFAULT_MAX_VALUE_LENGTH", None)
"""What the option `max_value_length` is where nobody has set it."""

repr_processors: Final[list[Any]] = getattr(_serializer, "global_repr_processors", [])
"""Those that integrations and applications have added, in a list that stays the same."""


def variables_by_rules(variables: dict[str, Any], rules: Any) -> dict[str, Any]:
    """Variables of a frame, by the option `data_collection["stack_frame_variables"]`; none if in doubt."""
    if _rules_for_variables is None:
        return {}
    allowed: dict[str, Any] = _rules_for_variables(items=variables, behaviour=rules)
    return allowed


def scrubbed_names(scrubber: Any) -> frozenset[str] | None:
    """The names whose values a client's `event_scrubber` will replace, in lower case; None if it looks deeper, too."""
    if scrubber is None:
        return frozenset()
    names = getattr(scrubber, "denylist", None)
    if getattr(scrubber, "recursive", True) or not isinstance(names, list):
        return None
    return frozenset(names)


def _public(module: str, name: str) -> Any:
    """A public name of the SDK's that not all versions have; None where this one has not."""
    found = importlib.util.find_spec(module)
    return found and getattr(importlib.import_module(module), name, None)


_EventScrubber: Final = _public("sentry_sdk.scrubber", "EventScrubber")
_BY_DEFAULT: Final = (
    [_EventScrubber(send_default_pii=on).denylist for on in (True, False)] if _EventScrubber else []
)


def names_scrubbed_by_default() -> frozenset[str]:
    """The names, in lower case, that the SDK's default scrubber looks for; none if the user has given another."""
    scrubber: Any = options().get("event_scrubber")
    names: Any = getattr(scrubber, "denylist", None)
    if type(scrubber) is not _EventScrubber or names not in _BY_DEFAULT or scrubber.recursive:
        return frozenset()
    return frozenset(names)


def in_app(module: Any, abs_path: str | None, **options: Any) -> bool | None:
    """Whether the SDK takes a frame for the application's; None if it leaves that to Sentry."""
    frame: dict[str, Any] = {"module": module, "abs_path": abs_path}
    sentry_sdk.utils.set_in_app_in_frames([frame], **options)
    return frame.get("in_app")


filename_for_module: Final[Any] = sentry_sdk.utils.filename_for_module


def is_ignored(exception: BaseException) -> bool:
    """Whether the option `ignore_errors` names the exception: the SDK would drop its event unseen."""
    kind = type(exception)
    module, name = names_of(kind)
    names = name, f"{module}.{name}"
    return any(
        one in names if isinstance(one, str) else issubclass(kind, one)
        for one in options().get("ignore_errors") or ()
    )


def list_installed() -> None:
    """Have the SDK list the installed packages now; else its first event does, which can take a tenth of a second."""
    with contextlib.suppress(Exception):
        getattr(sentry_sdk.utils, "_get_installed_modules")()  # noqa: B009  # private


def record_lost_error() -> None:
    """Has the SDK's client report say that an error was not sent, since there were too many."""
    record = getattr(sentry_sdk.get_client().transport, "record_lost_event", None)
    if record is not None:
        record("backpressure", data_category="error")


def filter_logged_events(client: Any, keep: Any) -> None:
    """Has the logging integration make events only of records that are to be kept; where it has a handler for that."""
    handler = logged_events_handler(client)
    if handler is not None and keep not in handler.filters:
        handler.addFilter(keep)


def logged_events_handler(client: Any) -> logging.Handler | None:
    """What makes the logging integration's events of records; None where it has no such handler."""
    integration = client.get_integration("logging")
    # SDK 3 has another name for it.
    handler = getattr(integration, "_handler", getattr(integration, "_event_handler", None))
    return handler if isinstance(handler, logging.Handler) else None


CUTS_OFF: Final = "sentry_sdk.integrations.asgi"
"""The module of the SDK's own ASGI middleware, which cuts causes off, by `raise ... from None`."""


def forget(exceptions: Iterable[BaseException]) -> None:
    """Lets the Dedupe integration forget: SDK 2 keeps the last exception, frames and all, SDK 3 marks each for ever."""
    dedupe = sentry_sdk.get_client().get_integration("dedupe")
    last_seen = getattr(dedupe, "_last_seen", None)
    if last_seen is not None:
        last_seen.set(None)
    for exception in exceptions:
        attributes_of(exception).pop("_handled_by_sentry", None)


VERSION: Final = tuple(int(part) for part in sentry_sdk.VERSION.split("b")[0].split(".")[:2])

CHAINS_HAVE_IDS: Final = VERSION >= (3, 0)
"""Whether the SDK gives ids to the exceptions of a chain without a group, too."""


# Tracing. SDK 2 has `sentry_sdk.tracing`, with transactions; SDK 3 has streamed spans only.


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


def streams_to_hooks(options: Any) -> bool:
    """Whether a client streams its spans, and calls the option `before_send_span` with each."""
    return trace_lifecycle(options) == "stream" and hasattr(
        sentry_sdk.utils, "get_before_send_span"
    )


_NoOpSpan: Final[Any] = _public("sentry_sdk.tracing", "NoOpSpan")


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
