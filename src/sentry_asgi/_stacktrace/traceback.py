"""An exception, with its causes, contexts, groups and frames, as an event shows them.

The data is the SDK's, as `sentry_sdk.utils.event_from_exception` makes it; what it costs is bounded. The rules:

- Frames of the application show their variables, those of libraries and of this package don't. The innermost frame is
  rendered first: it says most, and the bounds of an event are for all.
- Of a long traceback the outermost and innermost frames are shown; of a long chain or a large group the first
  exceptions, counted from the one that was raised last. None is shown twice.
- Exceptions have ids and parents where one of them is a group, and with SDK 3 always. A parent is the exception that
  this one is the cause, the context or a member of, as in SDK 3; SDK 2 makes the outermost the parent of each cause.
- Where a frame is (file, module, whether it is the application's) is known once for each file.
- Called within the client's context; nothing here changes the exception.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from types import FrameType, TracebackType
from typing import Any, Final, NamedTuple

from sentry_asgi._python.exceptions import (
    arguments_of,
    attribute_of,
    cause_of,
    context_of,
    is_a,
    members_of,
    names_of,
    suppresses_context,
    traceback_of,
)
from sentry_asgi._python.in_app import PACKAGE, application
from sentry_asgi._sdk import clients, events

from . import objects
from .render import Renderer
from .source import Source, Step

EXCEPTIONS: Final = 50
OUTERMOST: Final = 50
INNERMOST: Final = 150
"""Frames of one exception that are shown; what is between them is left out."""

MESSAGE: Final = 8_192  # characters
_PLACES: Final = 10_000  # files, with the module that runs them
_HIDING: Final = frozenset({"__tracebackhide__", "__traceback_hide__"})
_OWN: Final = f"{PACKAGE}."


class Wanted(NamedTuple):
    """What a client's options want of a frame and an exception."""

    variables: bool | Mapping[str, Any]  # or the SDK's rules for their names
    lines: int  # of source, before and after
    length: int | None  # of a text, if the user has said it


def event_from(
    exception: BaseException, mechanism: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The event and the hint for an exception, by the options of the client in force."""
    options = clients.options()
    wanted = _wanted(options)
    values = ExceptionSerializer(options, wanted).exceptions(exception, mechanism)
    event = {"level": "error", "exception": {"values": values[::-1]}}
    return event, {"exc_info": (type(exception), exception, traceback_of(exception)), OURS: True}


OURS: Final = "sentry_asgi"
"""The key in the hint of an event that was made here."""


def _wanted(options: Mapping[str, Any]) -> Wanted:
    collection = options.get("data_collection")
    length = options.get("max_value_length")
    if length == events.MAX_VALUE_LENGTH:  # nobody's wish
        length = None
    if isinstance(collection, Mapping) and collection.get("provided_by_user", True):
        variables = collection.get("stack_frame_variables", True)
        lines = collection.get("frame_context_lines", 5)
    else:
        variables = options.get("include_local_variables", True)
        lines = 5 if options.get("include_source_context", True) else 0
    return Wanted(variables, lines, length)


def stacktrace(steps: Sequence[FrameType | Step], *, variables: bool) -> dict[str, Any]:
    """A stack, the innermost last, as an event shows it, by the options of the client in force."""
    options = clients.options()
    wanted = _wanted(options)
    if not variables:
        wanted = wanted._replace(variables=False)
    return {"frames": ExceptionSerializer(options, wanted).stack(steps)}


class ExceptionSerializer:
    """Makes the exceptions of one event."""

    def __init__(self, options: Mapping[str, Any], wanted: Wanted) -> None:
        self._options = options
        self._wanted = wanted
        self._source = Source(wanted.lines)
        self._renderer = Renderer(objects.writer(options.get("custom_repr")), wanted.length)
        self._places = _places_for(options)
        self._scrubbed = events.scrubbed_names(options.get("event_scrubber"))
        self._stack: list[dict[str, Any]] | None = None

    def exceptions(self, exception: BaseException, mechanism: dict[str, Any]) -> list[Any]:
        """The exception and all that belongs to it, each before its causes and members."""
        found = list(_tree(exception))
        with_ids = events.CHAINS_HAVE_IDS or any(
            is_a(one.exception, BaseExceptionGroup) for one in found
        )
        values = []
        for number, node in enumerate(found):
            told = dict(mechanism)
            if with_ids:
                told["exception_id"] = number
            _tell_errno(told, node.exception)
            if with_ids and node.source:
                told["source"] = node.source
            if with_ids and number:
                told.update(parent_id=node.parent, type="chained")
            if is_a(node.exception, BaseExceptionGroup):
                told["is_exception_group"] = True
            values.append(self._exception(node.exception, told))
        return values

    def _exception(self, exception: BaseException, mechanism: dict[str, Any]) -> dict[str, Any]:
        module, name = names_of(type(exception))
        value: dict[str, Any] = {
            "mechanism": mechanism,
            "module": module if module != "builtins" else None,
            "type": name,
            "value": message_of(exception, self._renderer, self._wanted.length or MESSAGE),
        }
        frames = self._frames(traceback_of(exception))
        if frames:
            frames = self._with_stack(frames)
            # Frames that are to be walked are plain.
            walked = any(type(frame) is dict for frame in frames)
            value["stacktrace"] = {"frames": frames if walked else events.rendered(frames)}
        return value

    def _frames(self, traceback: TracebackType | None) -> list[dict[str, Any]]:
        steps = _shown(_steps(traceback))
        frames = [self._frame(step.tb_frame, step.tb_lineno) for step in reversed(steps)]
        return frames[::-1]

    def stack(self, steps: Sequence[FrameType | Step]) -> list[dict[str, Any]]:
        """The frames of a stack; whose they are is said, as Sentry cannot tell by an exception."""
        shown = [
            one
            for one in steps
            if not _is_sdks(one) and not (isinstance(one, FrameType) and _is_hidden(one))
        ]
        shown = shown if len(shown) <= INNERMOST else shown[-INNERMOST:]
        frames = [self._frame(one, one.f_lineno or 0) for one in reversed(shown)][::-1]
        for frame, step in zip(frames, shown, strict=True):
            frame.setdefault("in_app", application[step.f_code.co_filename])
        return frames

    def _frame(self, frame: FrameType | Step, number: int) -> dict[str, Any]:
        code = frame.f_code
        module = frame.f_globals.get("__name__")
        place = self._places[code.co_filename, module if type(module) is str else None]
        made: dict[str, Any] = {
            "filename": place.filename,
            "abs_path": place.abs_path,
            "function": code.co_name or "<unknown>",
            "module": module,
            "lineno": number,
        }
        if self._wanted.lines:
            before, line, after = self._source.around(frame, number)
            made["pre_context"] = self._cut(before)
            made["context_line"] = line if line is None else self._cut([line])[0]
            made["post_context"] = self._cut(after)
        if place.in_app is not None:
            made["in_app"] = place.in_app
        if isinstance(frame, FrameType) and self._wanted.variables and place.shows_variables:
            self._add_variables(made, frame)
        # What the scrubber replaces it also annotates, for which the SDK has to walk the frame.
        return made if self._is_scrubbed(made.get("vars")) else events.rendered(made)

    def _is_scrubbed(self, variables: dict[str, Any] | None) -> bool:
        if not variables:
            return False
        names = self._scrubbed
        return names is None or not names.isdisjoint(map(str.lower, variables))

    def _cut(self, lines: list[str]) -> list[str]:
        length = self._wanted.length
        return lines.copy() if length is None else [_cut(one, length) for one in lines]

    def _add_variables(self, made: dict[str, Any], frame: FrameType) -> None:
        rules = self._wanted.variables
        variables = self._renderer.variables(frame.f_locals)
        if not isinstance(rules, bool):
            variables = events.variables_by_rules(variables, rules)
            if not variables:
                return
        made["vars"] = variables

    def _with_stack(self, frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The frames, after those of whoever called the application, under `add_full_stack`."""
        if not self._options.get("add_full_stack"):
            return frames
        if self._stack is None:
            self._stack = [self._frame(one, one.f_lineno) for one in _calling()][::-1]
        shown = {_identity(one) for one in frames}
        merged = [one for one in self._stack if _identity(one) not in shown] + frames
        limit = self._options.get("max_stack_frames")
        return merged if limit is None else merged[max(0, len(merged) - limit) :]


def _identity(frame: dict[str, Any]) -> tuple[Any, ...]:
    return frame["abs_path"], frame["lineno"], frame["function"]


# Exceptions.


class _Node(NamedTuple):
    exception: BaseException
    parent: int
    source: str | None


def _tree(exception: BaseException) -> Iterator[_Node]:
    """The exception, its cause or context and theirs, then the members of a group, depth first."""
    waiting, seen = [_Node(exception, 0, None)], set[int]()
    while waiting and len(seen) < EXCEPTIONS:
        node = waiting.pop()
        if id(node.exception) in seen:
            continue
        number = len(seen)
        seen.add(id(node.exception))
        yield node
        waiting += reversed([*_beneath(node.exception, number)])


def _beneath(exception: BaseException, number: int) -> Iterator[_Node]:
    if suppresses_context(exception) and not _is_cut_off(exception):
        source, cause = "__cause__", cause_of(exception)
    else:
        source, cause = "__context__", context_of(exception)
    if cause is not None:
        yield _Node(cause, number, source)
    for at, member in enumerate(members_of(exception)[:EXCEPTIONS]):
        yield _Node(member, number, f"exceptions[{at}]")


def _is_cut_off(exception: BaseException) -> bool:
    """Whether it was the SDK's ASGI middleware that said `from None`, as the exception passed it."""
    if cause_of(exception) is not None or context_of(exception) is None:
        return False
    traceback = traceback_of(exception)
    while traceback is not None:
        if traceback.tb_frame.f_globals.get("__name__") == clients.CUTS_OFF:
            return True
        traceback = traceback.tb_next
    return False


def _tell_errno(mechanism: dict[str, Any], exception: BaseException) -> None:
    number = attribute_of(exception, "errno")
    if type(number) is int:
        mechanism["meta"] = {"errno": {"number": number}}


def message_of(exception: BaseException, renderer: Renderer, length: int) -> str:
    """What an exception says, as the SDK has it, with its notes; cut, and never raises an Exception."""
    try:
        text = _said(exception, renderer)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a `__str__` of anybody's raises
        text = f"<a {names_of(type(exception))[1]}, whose str raised {type(error).__name__}>"
    notes = attribute_of(exception, "__notes__")
    if type(notes) is list:
        text = "\n".join([text, *(one for one in notes[:EXCEPTIONS] if type(one) is str)])
    return _cut(text, length)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: max(length - 3, 0)] + "..."


def _said(exception: BaseException, renderer: Renderer) -> str:
    for name in ("message", "detail"):
        said = getattr(exception, name, "")
        if said:
            return said if type(said) is str else objects.said(said, renderer)
    kind: Any = type(exception)
    args = arguments_of(exception)
    if kind.__str__ is KeyError.__str__ and len(args) == 1:
        return renderer.text(args[0])
    if kind.__str__ is not BaseException.__str__:
        return objects.said(exception, renderer)
    if len(args) == 1 and type(args[0]) is str:
        return args[0]
    return objects.said(args[0] if len(args) == 1 else args, renderer) if args else ""


# Frames.


def _steps(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        if not _is_hidden(traceback.tb_frame):
            yield traceback
        traceback = traceback.tb_next


def _is_hidden(frame: FrameType) -> bool:
    """Whether a frame is the SDK's, or wants to be hidden by a variable of one of those names."""
    if _is_sdks(frame):
        return True
    code = frame.f_code
    if code.co_flags & inspect.CO_OPTIMIZED and _HIDING.isdisjoint(code.co_varnames):
        return False
    return any(bool(frame.f_locals.get(one)) for one in _HIDING)


def _is_sdks(frame: FrameType | Step) -> bool:
    module = frame.f_globals.get("__name__")
    return type(module) is str and module.startswith("sentry_sdk.")


def _shown(steps: Iterator[TracebackType]) -> list[TracebackType]:
    """The outermost and the innermost; all, if they are not too many."""
    return [*islice(steps, OUTERMOST), *deque(steps, INNERMOST)]


def _calling() -> list[FrameType]:
    """The frames from here out to the process's first, but for this package's."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001  # documented
    found: list[FrameType] = []
    while frame is not None and len(found) < INNERMOST:
        if not _is_own(frame.f_globals.get("__name__")) and not _is_hidden(frame):
            found.append(frame)
        frame = frame.f_back
    return found


def _is_own(module: Any) -> bool:
    return type(module) is str and module.startswith(_OWN)


class Place(NamedTuple):
    filename: str | None
    abs_path: str | None
    in_app: bool | None  # as the SDK has it; None where it leaves that to Sentry
    shows_variables: bool


class _Places(dict[tuple[str, Any], Place]):
    """Where a frame is, by its file and module."""

    def __init__(self, included: Any, excluded: Any, root: Any) -> None:
        super().__init__()
        self._options = {
            "in_app_include": included,
            "in_app_exclude": excluded,
            "project_root": root,
        }

    def __missing__(self, key: tuple[str, Any]) -> Place:
        filename, module = key
        abs_path = os.path.abspath(filename) if filename else None  # noqa: PTH100  # as the SDK
        in_app = events.in_app(module, abs_path, **self._options)
        shows = in_app or (in_app is None and application[filename])
        if len(self) >= _PLACES:
            self.clear()
        self[key] = place = Place(
            events.filename_for_module(module, filename) or None,
            abs_path,
            in_app,
            bool(shows) and not _is_own(module),
        )
        return place


@functools.lru_cache(maxsize=1)
def _places_of(included: tuple[str, ...], excluded: tuple[str, ...], root: Any) -> _Places:
    return _Places(list(included), list(excluded), root)


def _places_for(options: Mapping[str, Any]) -> _Places:
    included, excluded = (
        tuple(options.get(name) or ()) for name in ("in_app_include", "in_app_exclude")
    )
    return _places_of(included, excluded, options.get("project_root"))
