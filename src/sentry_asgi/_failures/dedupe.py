"""One failure, one event, whoever reports it.

Within a connection every error event passes its event processor: the app's own `capture_exception`, the logging
integration's, other integrations', ours. The first to report an exception is let through; what repeats it is not.

The rules:

- An exception is known by identity. Reported with it are its causes and contexts as far as Sentry shows them, and the
  members of a group.
- Repeated is also what was raised `from` a reported one, what was raised in its place by the frame that had caught it
  (`except ...: capture_exception(); raise HTTPException(500)`), and a group of nothing but reported ones.
- The connection holds what was reported, the last few, and lets go at its end. An exception that leaves the app is
  marked then, for servers log it in contexts that nobody knows of, and that record is no event of its own. Of servers
  that log it as text, the traceback tells where it came from: through the middleware, which has reported it. What the
  application's own code logs is its own. A cancellation that a server logs is no failure.
- A log record can hold the exception that is being handled as text: a traceback, plain or as a string of JSON or of
  Python, or a structure of frames. It reports that exception if the text names it and what it says.
- A framework's log record can hold the failing status that it is about to answer with, and no exception
  (`status_code`, Django's): it reports the exception behind that response.
- A background task can fail after its request, and nobody retrieves the exception. asyncio logs it in no request's
  context. So it is marked with its request when it leaves the task's frames, as far as `unwinding` sees it.
- What the libraries of GraphQL, JSON-RPC and MCP raise and log of their callers' mistakes is no failure, whoever
  reports it, but for the application itself.
- A failing response may carry the event's id; whatever event then reports the failure gets that id.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Final

from sentry_asgi._frameworks import disconnects, rpc
from sentry_asgi._python.exceptions import (
    attributes_of,
    cause_of,
    context_of,
    is_a,
    leaves_of,
    members_of,
    names_of,
    part_of,
    suppresses_context,
    text_of,
    traceback_of,
)
from sentry_asgi._python.in_app import FOLDER, application, library
from sentry_asgi._python.locks import Lock
from sentry_asgi._sdk import events

from .budget import raise_site
from .swallowed import Failure, failure, passed, passes_application

OVER: Final = ("the connection is over",)
"""What a connection has reported when nothing more is noted of it."""

KEPT: Final = 64
HEADER: Final = b"x-sentry-event-id"
ECHO: Final = 10.0
"""Seconds in which an exception that has left the app is taken for known."""

_reporting: Final = Lock()
"""Held where a failure is handled: threads of one request may report the same one at once."""

_SENTENCES: Final = {"sanic": "The error response will not be sent to the client for "}
"""By the first part of a logger's name: what is logged about an exception that has just been logged itself."""

_NOT_RETRIEVED: Final = frozenset({"asyncio", "concurrent.futures"})
"""The loggers of those who find that nobody has asked for an exception."""

_LATE: Final = "__sentry_asgi_late_of__"
_MARK: Final = "__sentry_asgi_left_at__"
_BOUND: Final = 50
_SYNTAX_MESSAGE: Final[Any] = SyntaxError.__dict__["msg"].__get__
_TRACEBACK: Final = "Traceback (most recent call last)"
_MIDDLEWARE: Final = f'File "{FOLDER}middleware.py"'
"""How a traceback, as text, tells that an exception has left the middleware."""


def first_report(exchange: Any, event: dict[str, Any], hint: dict[str, Any]) -> bool:
    """Whether this event is to be sent; from now on, what it reports is known."""
    exception = _exception_of(hint)
    if exception is None:
        exception = _told_in_words(exchange, event, hint)
    if exchange.reported is OVER:
        return True
    if exception is None:
        return not (exchange.reported and _repeats(hint))
    with _reporting:
        return _is_first(exchange, exception, event)


def _is_first(exchange: Any, exception: BaseException, event: dict[str, Any]) -> bool:
    if disconnects.client_left(exchange, exception) and not _asked_for(event):
        return False
    if is_known(exchange, exception) or (_is_no_failure(exception) and not _asked_for(event)):
        return False
    failure = exchange.failure
    shown = _all_of(exception)
    if failure is not None and any(one is failure.exception for one in shown):
        event["event_id"] = failure.event_id
    if exchange.reported is None:
        exchange.reported = deque(maxlen=KEPT)
    event_id = event.get("event_id", "")
    exchange.reported.extend((one, event_id) for one in shown)
    return True


def _is_no_failure(exception: Any) -> bool:
    """Whether a protocol's library, or who listens to it, tells of its caller's mistake, or of what is ignored."""
    if rpc.is_wrapper(exception) and (
        rpc.is_callers_mistake(exception) or events.is_ignored(rpc.looked_through(exception))
    ):
        return True
    return _is_refusal(exception)


def _is_refusal(exception: BaseException) -> bool:
    """Whether an MCP server's library itself refuses: an unknown tool, or arguments that a tool does not take."""
    owners = _owners(exception)
    if not any("mcp" in one for one in owners) or passes_application(exception):
        return False
    cause: Any = cause_of(exception)
    if cause is not None:
        if passes_application(cause):
            return False
        owners = _owners(cause)
    return bool(owners) and ("mcp" in owners[-1] or owners[-1] == "pydantic")


def _owners(exception: BaseException) -> list[str]:
    """The libraries that an exception has passed, from where it was caught to where it was raised."""
    return [library(frame.f_code.co_filename) or "" for frame in passed(exception)]


def is_known(exchange: Any, exception: BaseException) -> bool:
    """Whether an exception has been reported, on this connection or on one within it."""
    return _left_within(exchange, exception) or reported_as(exchange, exception) is not None


def _repeats(hint: Any) -> bool:
    """Whether a log record without an exception says again, in a framework's words, what has been reported."""
    record = (hint or {}).get("log_record")
    if record is None:
        return False
    sentence = _SENTENCES.get(record.name.partition(".")[0])
    return sentence is not None and record.getMessage().startswith(sentence)


def _exception_of(hint: Any) -> BaseException | None:
    exc_info = (hint or {}).get("exc_info")
    return exc_info[1] if isinstance(exc_info, tuple) else None


def _told_in_words(exchange: Any, event: dict[str, Any], hint: Any) -> BaseException | None:
    """Return the exception that a log record tells of without holding it; the event then shows it."""
    record = (hint or {}).get("log_record")
    if record is None:
        return None
    exception = _held_in(record)
    if exception is None:
        exception = sys.exc_info()[1]
        if exception is None or not _tells_of(record.getMessage(), exception):
            exception = _told_by_status(exchange, record)
            if exception is None:
                return None
    from sentry_asgi._stacktrace.traceback import event_from  # noqa: PLC0415  # imported with the first middleware

    shown, _ = event_from(exception, {"type": "logging", "handled": True})
    event["exception"] = shown["exception"]
    return exception


def _told_by_status(exchange: Any, record: Any) -> BaseException | None:
    """Return what is behind a response that is to start, if this is a framework's record of its failing status."""
    status = getattr(record, "status_code", None)
    if not isinstance(status, int) or status not in exchange.settings.failing:
        return None
    if exchange.status is not None or _is_the_applications(record):
        return None
    found = failure(exchange)
    return None if found is None else found.exception


def _held_in(record: Any) -> BaseException | None:
    """Return the exception of a message that is a dictionary, as structlog hands it to the formatter."""
    held = record.msg.get("exc_info") if isinstance(record.msg, dict) else None
    if isinstance(held, tuple) and len(held) == len(sys.exc_info()):
        held = held[1]
    elif held is True:
        held = sys.exc_info()[1]
    return held if isinstance(held, BaseException) else None


def _tells_of(text: str, exception: BaseException) -> bool:
    """Return whether a text renders an exception with its frames, as the last thing that it or a string in it says."""
    traced, structured = _TRACEBACK in text, "frames" in text
    if not traced and not structured:
        return False
    said = text_of(exception)
    last_line = _last_line(exception, said)
    if traced and text.rstrip().endswith(last_line):
        return True
    name = type(exception).__name__
    for quoted in _QUOTES:
        ends = quoted(last_line)[1:], quoted(f"{last_line}\n")[1:]
        if traced and any(end in text for end in ends):
            return True
        if structured and quoted(name) in text and quoted(said) in text:
            return True
    return False


_QUOTES: Final[tuple[Callable[[str], str], ...]] = (
    json.dumps,
    functools.partial(json.dumps, ensure_ascii=False),
    repr,
)
"""How a renderer may write a string."""


def _asked_for(event: dict[str, Any]) -> bool:
    """Whether it is the app's own `capture_exception` that reports it."""
    values = (event.get("exception") or {}).get("values") or [{}]
    return (values[-1].get("mechanism") or {}).get("type") == "generic"


def reported_as(exchange: Any, exception: BaseException, depth: int = 0) -> str | None:
    """The id of the event that has reported this exception, or the failure that it is part of."""
    reported = exchange.reported
    if not reported:
        return None
    for one in _same_failure(exception):
        for known, event_id in tuple(reported):  # threads of the request may be reporting, too
            if known is one:
                return str(event_id)
    members = leaves_of(exception) if is_a(exception, BaseExceptionGroup) and depth == 0 else None
    if not members:
        return None
    ids = [reported_as(exchange, member, depth + 1) for member in members]
    return ids[0] if None not in ids else None


def unreported(exchange: Any, exception: Exception) -> Exception:
    """An exception group without what has been reported of it; any other exception as it is."""
    if not is_a(exception, ExceptionGroup) or not exchange.reported:
        return exception
    rest: Exception | None = part_of(
        exception,
        lambda one: not is_a(one, BaseExceptionGroup) and reported_as(exchange, one) is None,
    )
    return exception if rest is None else rest


def _same_failure(exception: BaseException) -> Iterator[BaseException]:
    """The exception, and those that it was raised in place of."""
    one: BaseException | None = exception
    for _ in range(_BOUND):
        if one is None:
            return
        yield one
        cause = cause_of(one)
        if cause is None:
            cause = rpc.original_of(one)
        one = _replaced(one) if cause is None else cause


def _replaced(exception: BaseException) -> BaseException | None:
    context = context_of(exception)
    caught = None if context is None else traceback_of(context)
    if caught is None:
        return None
    innermost = traceback_of(exception)
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    raised_by = innermost.tb_frame if innermost is not None else None
    return context if raised_by is caught.tb_frame else None


def _all_of(exception: BaseException) -> list[BaseException]:
    """The exception and every other that an event of it shows."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [exception]
    while waiting and len(found) < _BOUND:
        one = waiting.pop()
        if one is None or any(one is known for known in found):
            continue
        found.append(one)
        waiting.append(cause_of(one))
        waiting.append(rpc.original_of(one))
        if not suppresses_context(one):
            waiting.append(context_of(one))
        waiting.extend(members_of(one)[:_BOUND])
    return found


def mark_reported(exception: BaseException, exchange: Any = None) -> None:
    """Marks an exception that was seen to leave the app, on a connection or on none."""
    attributes_of(exception)[_MARK] = time.perf_counter(), _around(exchange)


def mark_late(exception: BaseException, exchange: Any) -> None:
    """Marks an exception of work whose request is over with that request; it holds nothing of the exception."""
    attributes_of(exception)[_LATE] = exchange


def late_work_of(hint: Any) -> Any:
    """The connection, over by now, whose work has left an exception to be logged so; None if it is none's."""
    exception = _exception_of(hint)
    if exception is None or getattr(hint.get("log_record"), "name", None) not in _NOT_RETRIEVED:
        return None  # whoever reports it knows of what; the exception may be one that is raised all the time
    return attributes_of(exception).get(_LATE)


def _around(exchange: Any) -> tuple[tuple[int, float], ...]:
    """Which connections are being served around this one, their apps having called it in-process."""
    around: list[tuple[int, float]] = []
    outer = _outer(exchange)
    while outer is not None and len(around) < _BOUND:
        around.append((id(outer), outer.started_at))
        outer = _outer(outer)
    return tuple(around)


def _outer(exchange: Any) -> Any:
    return getattr(getattr(exchange, "outer", None), "asgi_connection", None)


def _left_within(exchange: Any, exception: BaseException) -> bool:
    """Whether an exception has left an app that this connection's called in-process, and was reported there."""
    mark = attributes_of(exception).get(_MARK)
    return mark is not None and (id(exchange), exchange.started_at) in mark[1]


def _last_line(exception: BaseException, said: str) -> str:
    """Return how the text of a traceback ends, of an exception with this text."""
    notes = attributes_of(exception).get("__notes__")
    last_note = notes[-1] if type(notes) is list and notes else None
    if type(last_note) is str:
        return last_note.rpartition("\n")[2].rstrip()
    module, name = names_of(type(exception))
    if module not in {"builtins", "__main__"}:
        name = f"{module}.{name}"
    if is_a(exception, SyntaxError):
        said = str(_SYNTAX_MESSAGE(exception) or "<no detail available>")
    return f"{name}: {said}".rstrip() if said else name


def process_fails(*texts: str) -> None:
    """Remember what a server will log, as these texts or a traceback that ends with one, of a lifespan that failed."""
    global _process_failed  # noqa: PLW0603
    _process_failed = time.perf_counter() + ECHO, texts


_process_failed: tuple[float, tuple[str, ...]] = 0.0, ()

unsupported: Final[ContextVar[Callable[[], bool] | None]] = ContextVar(
    "sentry_asgi_lifespan", default=None
)
"""In a lifespan's context: whether the app may still turn out not to support one."""


def is_echo(event: Any, hint: Any) -> bool:
    """Whether an event outside of any connection repeats what has just left an app, or tells of no failure."""
    exception = _exception_of(hint)
    if exception is not None:
        if _asked_for(event):
            return False
        is_unsupported = unsupported.get()
        if is_unsupported is not None and is_unsupported():
            return True
        if _is_cancellation(exception, hint):
            return True
        return any(_just_left(one) for one in _all_of(exception))
    record = (hint or {}).get("log_record")
    if record is None or _is_the_applications(record):
        return False
    text = record.getMessage()
    return _MIDDLEWARE in text or _tells_of_the_process(text.rstrip())


def _tells_of_the_process(text: str) -> bool:
    until, texts = _process_failed
    if time.perf_counter() >= until:
        return False
    return text in texts or (_TRACEBACK in text and text.endswith(texts))


def _is_cancellation(exception: BaseException, hint: Any) -> bool:
    """Return whether a server logs that it has cancelled a request."""
    logger = str(getattr(hint.get("log_record"), "name", ""))
    return (
        type(exception).__name__ == "CancelledError"
        and logger.partition(".")[0] in disconnects.SERVERS
    )


def _is_the_applications(record: Any) -> bool:
    """Whether the application's own code has logged this: of what has failed elsewhere in it, in the same words."""
    path = str(record.pathname)
    return path.endswith(".py") and application[path]


def _just_left(exception: BaseException) -> bool:
    mark = attributes_of(exception).get(_MARK)
    return mark is not None and time.perf_counter() - mark[0] < ECHO


def with_event_id(message: Any, exchange: Any, failure: Failure) -> Any:
    """The message that starts a failing response, with the id of the event that reports the failure."""
    exception = failure.exception
    headers = message.get("headers", ())
    if exception is None and not exchange.settings.report_without:
        return message
    if not isinstance(headers, (list, tuple)):
        return message  # whatever it is, it may be there to be read once
    event_id = reported_as(exchange, exception) if exception is not None else None
    if exception is not None and event_id is None and not _is_granted(exchange, exception):
        return message
    header = (HEADER, (event_id or failure.event_id).encode())
    return {**message, "headers": [*headers, header]}


def _is_granted(exchange: Any, exception: BaseException) -> bool:
    """Whether the error budget has an event left for this one, which is then its own."""
    budget = exchange.settings.budget
    if budget is None:
        return True
    site = raise_site(exception)
    if not budget.spend(site, count=False):
        return False
    exchange.granted = site
    return True
