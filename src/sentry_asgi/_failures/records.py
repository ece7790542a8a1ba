"""Which exception an event reports, though a log record holds it in words only.

- A log record can hold the exception that is being handled as text: a traceback, plain or as a string of JSON or of
  Python, or a structure of frames. It reports that exception if the text names it and what it says.
- A framework's log record can hold the failing status that it is about to answer with, and no exception
  (`status_code`, Django's): it reports the exception behind that response.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from typing import Any, Final

from sentry_asgi._python.exceptions import attributes_of, is_a, names_of, text_of
from sentry_asgi._python.in_app import application

from .swallowed import failure

_SENTENCES: Final = {"sanic": "The error response will not be sent to the client for "}
"""By the first part of a logger's name: what is logged about an exception that has just been logged itself."""

_SYNTAX_MESSAGE: Final[Any] = SyntaxError.__dict__["msg"].__get__
TRACEBACK: Final = "Traceback (most recent call last)"


def repeats(hint: Any) -> bool:
    """Whether a log record without an exception says again, in a framework's words, what has been reported."""
    record = (hint or {}).get("log_record")
    if record is None:
        return False
    sentence = _SENTENCES.get(record.name.partition(".")[0])
    return sentence is not None and record.getMessage().startswith(sentence)


def exception_of(hint: Any) -> BaseException | None:
    exc_info = (hint or {}).get("exc_info")
    return exc_info[1] if isinstance(exc_info, tuple) else None


def told_in_words(exchange: Any, event: dict[str, Any], hint: Any) -> BaseException | None:
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
    if exchange.status is not None or is_the_applications(record):
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
    traced, structured = TRACEBACK in text, "frames" in text
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


def asked_for(event: dict[str, Any]) -> bool:
    """Whether it is the app's own `capture_exception` that reports it."""
    values = (event.get("exception") or {}).get("values") or [{}]
    return (values[-1].get("mechanism") or {}).get("type") == "generic"


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


def is_the_applications(record: Any) -> bool:
    """Whether the application's own code has logged this: of what has failed elsewhere in it, in the same words."""
    path = str(record.pathname)
    return path.endswith(".py") and application[path]
