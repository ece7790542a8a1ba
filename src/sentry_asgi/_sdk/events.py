"""What the SDK makes of values and exceptions: how it renders, cuts and scrubs, and what it leaves as it is.

As far as `traceback` and `serializer` do not make it by themselves.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import sentry_sdk
import sentry_sdk.consts
import sentry_sdk.serializer
import sentry_sdk.utils
from sentry_sdk.serializer import serialize

from sentry_asgi._python.exceptions import names_of

from .clients import VERSION, options, public

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


_EventScrubber: Final = public("sentry_sdk.scrubber", "EventScrubber")
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


CHAINS_HAVE_IDS: Final = VERSION >= (3, 0)
"""Whether the SDK gives ids to the exceptions of a chain without a group, too."""
