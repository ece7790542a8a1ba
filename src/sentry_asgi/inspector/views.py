"""What the pages show of an event: from a decoded event to frozen values for templates. Pure.

An event comes from anybody's SDK, or from somebody who means harm. The rules:

- Any JSON object makes a view. What is missing or of another type than Sentry documents is shown
  as well as it can be, or left out; it never raises.
- Texts and lists are bounded, as `values` bounds them.
- Nothing here escapes HTML: templates do, all of them, always.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any

from .asked import RequestView as RequestView, request_of as request_of  # noqa: PLC0414
from .values import (
    MAX_LINE,
    MAX_LIST,
    Pairs,
    as_dict,
    as_id,
    as_line,
    as_list,
    as_moment,
    as_number,
    as_pairs,
    as_text,
    as_values,
    as_variable,
    clean,
)

# So many of the app's own frames are open at first; a deep recursion has hundreds.
MAX_OPEN = 20

_DUNDER = re.compile(r"__\w+__")


@dataclass(frozen=True, slots=True)
class Summary:
    """One line of a list. `title` is the exception's type, or a message; `when` is ISO 8601."""

    title: str
    detail: str
    level: str
    transaction: str
    when: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of source; `current` is the one that was running."""

    number: int | None
    text: str
    current: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a stack; `application` tells the app's own code from libraries'.

    `filename` is for people; `path` is absolute, for an editor, or empty. `variables` are texts, `values`
    the same as sent.
    """

    function: str
    module: str
    filename: str
    path: str
    lineno: int | None
    application: bool
    shown: bool
    lines: tuple[Line, ...]
    variables: Pairs
    values: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class ExceptionView:
    """One exception of a chain; `frames` has the most recent call first.

    `relation` tells how it belongs to the exception `parent`, by its place in the list: nothing for
    the one that was raised last. `depth` counts exception groups around it.
    """

    type: str
    value: str
    mechanism: str
    handled: bool | None
    frames: tuple[Frame, ...]
    relation: str
    depth: int

    @property
    def runs(self) -> list[tuple[bool, list[Frame]]]:
        """The frames, as runs of the app's own (true) and of libraries' (false)."""
        return runs(self.frames)


@dataclass(frozen=True, slots=True)
class Breadcrumb:
    """Something that happened before; `when` is ISO 8601."""

    when: str
    category: str
    level: str
    message: str
    data: Pairs


@dataclass(frozen=True, slots=True)
class EventView:
    """Everything that the page of one event shows; `exceptions` has the last raised first.

    `stack` is that of a message, for events without exceptions. `contexts` are named tables.
    """

    summary: Summary
    message: str
    exceptions: tuple[ExceptionView, ...]
    stack: tuple[Frame, ...]
    request: RequestView | None
    breadcrumbs: tuple[Breadcrumb, ...]
    tags: Pairs
    facts: Pairs
    contexts: tuple[tuple[str, Pairs], ...]
    modules: Pairs
    trace_id: str
    span_id: str

    @property
    def stack_runs(self) -> list[tuple[bool, list[Frame]]]:
        """The stack, as `ExceptionView.runs` has it."""
        return runs(self.stack)


def runs(frames: tuple[Frame, ...]) -> list[tuple[bool, list[Frame]]]:
    """Neighbouring frames that are alike the app's own (true) or libraries' (false)."""
    return [(own, list(run)) for own, run in groupby(frames, lambda frame: frame.application)]


def summarize(event: dict[str, Any]) -> Summary:
    """What a list shows of an event."""
    exceptions = as_values(event.get("exception"))
    last = exceptions[-1] if exceptions else {}
    message = _message(event)
    if last:
        title, detail = as_text(last.get("type")) or "Error", as_text(last.get("value"))
    else:
        title, _, detail = (message or "(no message)").partition("\n")
    return Summary(
        title=clean(title, MAX_LINE),
        detail=clean(detail, MAX_LINE),
        level=clean(as_text(event.get("level")) or ("error" if last else "info"), 20),
        transaction=as_line(event.get("transaction")),
        when=as_moment(event.get("timestamp")),
    )


def event_view(event: dict[str, Any]) -> EventView:
    """What the page of one event shows."""
    contexts = as_dict(event.get("contexts"))
    trace = as_dict(contexts.get("trace"))
    return EventView(
        summary=summarize(event),
        message=_message(event),
        exceptions=tuple(_exceptions(as_values(event.get("exception")))),
        stack=_stack(event),
        request=request_of(event.get("request")),
        breadcrumbs=tuple(map(_breadcrumb, as_values(event.get("breadcrumbs")))),
        tags=as_pairs(event.get("tags")),
        facts=tuple(_facts(event)),
        contexts=tuple(_contexts(event, contexts)),
        modules=as_pairs(event.get("modules")),
        trace_id=as_id(trace.get("trace_id")),
        span_id=as_id(trace.get("span_id")),
    )


def _facts(event: dict[str, Any]) -> Iterator[tuple[str, str]]:
    sdk = as_dict(event.get("sdk"))
    for name, value in (
        ("environment", event.get("environment")),
        ("release", event.get("release")),
        ("server", event.get("server_name")),
        ("logger", event.get("logger")),
        ("SDK", " ".join(filter(None, (as_text(sdk.get("name")), as_text(sdk.get("version")))))),
    ):
        if text := as_line(value):
            yield name, text


def _contexts(event: dict[str, Any], contexts: dict[str, Any]) -> Iterator[tuple[str, Pairs]]:
    named = [("user", event.get("user")), *contexts.items(), ("extra", event.get("extra"))]
    for name, value in named[:MAX_LIST]:
        if pairs := as_pairs(value):
            yield as_line(name), pairs


def _message(event: dict[str, Any]) -> str:
    """SDKs send a text as `message`, or as `logentry` with the template and the result."""
    for entry in (event.get("logentry"), event.get("message")):
        value = entry.get("formatted") or entry.get("message") if isinstance(entry, dict) else entry
        if value:
            return as_text(value)
    return ""


def _exceptions(values: list[dict[str, Any]]) -> Iterator[ExceptionView]:
    """The last raised first. In groups each tells its parent; in older events order is all."""
    numbered = ((as_number(_mechanism(value).get("exception_id")), value) for value in values)
    by_id = {number: value for number, value in numbered if number is not None}
    for index, value in enumerate(reversed(values)):
        mechanism = _mechanism(value)
        parent = _parent(mechanism, by_id)
        yield _exception(value, _relation(index, mechanism, parent), _depth(value, by_id))


def _mechanism(value: dict[str, Any]) -> dict[str, Any]:
    return as_dict(value.get("mechanism"))


def _parent(mechanism: dict[str, Any], by_id: dict[int, dict[str, Any]]) -> dict[str, Any] | None:
    number = as_number(mechanism.get("parent_id"))
    return None if number is None else by_id.get(number)


def _relation(index: int, mechanism: dict[str, Any], parent: dict[str, Any] | None) -> str:
    if index == 0:
        return ""
    source = as_line(mechanism.get("source"), 60)
    known = {"__cause__": "was caused by", "__context__": "was raised while handling"}
    if parent is None or not source:
        return "caused by, or raised while handling"
    of = as_line(parent.get("type"), 60) or "the one above"
    return f"{of} {known[source]}" if source in known else f"in the group {of}: {source}"


def _depth(value: dict[str, Any], by_id: dict[int, dict[str, Any]]) -> int:
    """How many groups are around it; a circle of parents, which no SDK sends, ends somewhere."""
    depth = 0
    for _ in range(10):
        parent = _parent(_mechanism(value), by_id)
        if parent is None or parent is value:
            break
        depth += _mechanism(parent).get("is_exception_group") is True
        value = parent
    return depth


def _exception(value: dict[str, Any], relation: str, depth: int) -> ExceptionView:
    mechanism = _mechanism(value)
    handled = mechanism.get("handled")
    return ExceptionView(
        type=as_line(value.get("type")) or "Error",
        value=as_text(value.get("value")),
        mechanism=as_line(mechanism.get("type")),
        handled=handled if isinstance(handled, bool) else None,
        frames=_frames(value.get("stacktrace")),
        relation=relation,
        depth=depth,
    )


def _stack(event: dict[str, Any]) -> tuple[Frame, ...]:
    """Where a message came from, if the SDK was asked to say so."""
    for thread in as_values(event.get("threads")):
        if frames := _frames(thread.get("stacktrace")):
            return frames
    return _frames(event.get("stacktrace"))


def _is_own(frame: dict[str, Any], *, marked: bool) -> bool:
    """Whether a frame is the app's; the interpreter's frozen ones never are."""
    if _is_frozen(frame):
        return False
    return frame.get("in_app") is True if marked else frame.get("in_app") is not False


def _is_frozen(frame: dict[str, Any]) -> bool:
    # SDKs make the name a path, which leads nowhere.
    return any("<frozen " in as_line(frame.get(name)) for name in ("filename", "abs_path"))


def _frames(stacktrace: Any) -> tuple[Frame, ...]:
    """The last of them if there are too many: those are nearest to the failure, and come first."""
    values = as_list(as_dict(stacktrace).get("frames"))
    frames = [frame for frame in values if isinstance(frame, dict)][-MAX_LIST:][::-1]
    # An SDK that cannot tell marks none: then all that are not surely a library's are the app's.
    marked = any(frame.get("in_app") is True for frame in frames)
    own = [_is_own(frame, marked=marked) for frame in frames]
    return tuple(
        _frame(frame, application=own[index], shown=own[index] and sum(own[:index]) < MAX_OPEN)
        for index, frame in enumerate(frames)
    )


def _frame(frame: dict[str, Any], *, application: bool, shown: bool) -> Frame:
    path = "" if _is_frozen(frame) else as_line(frame.get("abs_path"))
    values = _values(frame)
    return Frame(
        function=as_line(frame.get("function")) or "?",
        module=as_line(frame.get("module")),
        filename=path or as_line(frame.get("filename")),
        path=path if path.startswith("/") or path[1:3] in {":\\", ":/"} else "",
        lineno=as_number(frame.get("lineno")),
        application=application,
        shown=shown,
        lines=tuple(_lines(frame)),
        variables=tuple((name, as_variable(value)) for name, value in values),
        values=values,
    )


def _values(frame: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    """A frame's variables as sent, without what every module has."""
    found = as_dict(frame.get("vars")).items()
    pairs = [(as_line(name), value) for name, value in islice(found, MAX_LIST)]
    if frame.get("function") == "<module>":
        pairs = [pair for pair in pairs if not _DUNDER.fullmatch(pair[0])]
    return tuple(pairs)


def _lines(frame: dict[str, Any]) -> Iterator[Line]:
    current = frame.get("context_line")
    if not isinstance(current, str):
        return
    before = as_list(frame.get("pre_context"))[-MAX_LIST:]
    after = as_list(frame.get("post_context"))[:MAX_LIST]
    lineno = as_number(frame.get("lineno"))
    for index, text in enumerate([*before, current, *after]):
        number = None if lineno is None else lineno + index - len(before)
        yield Line(number, as_line(text), index == len(before))


def _breadcrumb(value: dict[str, Any]) -> Breadcrumb:
    return Breadcrumb(
        when=as_moment(value.get("timestamp")),
        category=as_line(value.get("category") or value.get("type")),
        level=as_line(value.get("level"), 20),
        message=as_text(value.get("message")),
        data=as_pairs(value.get("data")),
    )
