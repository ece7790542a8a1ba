"""The exception behind a failing response, for an app that did not let it out.

Asked in `send`, when a response with a failing status starts or a websocket is closed for a failure: on the stack are
then the frames of the framework that answers, up to the middleware's own.

The rules:

- What is being handled at that moment (`sys.exc_info()`) is behind it, but for what was already being handled when
  the app was called.
- Else it is the last exception that crossed: one that left the application's frames (`unwinding` noted it) and was
  caught by a frame of the very library that now answers, or of one that is built on it (`ninja` on `django`); a helper
  of that library's (asgiref, anyio) may have raised it anew since. So one that the application caught again itself is
  none, nor one that some other library (a template engine, a validator) swallowed after calling back into the
  application. Who answers behind a bridge to WSGI does so in a thread, and is on no stack: it may be any framework.
- If an exception was raised and swallowed while another was being handled (an error page failed), the other is
  reported. If it replaced the other, by leaving the frame that had caught that, it is reported itself.
- Its traceback is kept with it: a framework may take it away when it has answered.
- Wrong is worse than none: where these do not decide, there is none.
"""

from __future__ import annotations

import contextlib
import sys
import uuid
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, Final, NamedTuple, TypeGuard

from sentry_asgi._python.exceptions import context_of, is_a, set_traceback, traceback_of
from sentry_asgi._python.in_app import PACKAGE, application, library
from sentry_asgi._python.installed import is_built_on
from sentry_asgi._sdk.diagnostics import log_failure

_MIDDLEWARE: Final = f"{PACKAGE}.middleware"
ACCEPTED: Final = 101
"""The status of a websocket that was accepted: HTTP's for a change of protocols."""

_NO_FAILURES: Final = (StopIteration, StopAsyncIteration)  # control flow that looks like it
_HELPERS: Final = frozenset({"", "anyio", "asgiref", "sniffio"})
"""Libraries, the standard one among them, that answer nothing by themselves."""

_BRIDGES: Final = {"a2wsgi": {"bottle", "django", "falcon", "flask", "pyramid", "werkzeug"}}
"""Libraries that send in a task of their own what others have answered in a thread, and who those may be."""

_CHAIN: Final = 20  # of contexts followed


class Failure(NamedTuple):
    """What a failing response or close said of the app."""

    exception: Exception | None
    event_id: str
    phase: str
    traceback: TracebackType | None = None


def failure(exchange: Any, phase: str = "before response") -> Failure | None:
    """What is behind the message that is being sent; called by the exchange's `send`. Never raises."""
    try:
        frames = list(_frames_of(exchange, sys._getframe(1)))  # noqa: SLF001
        if exchange.status == ACCEPTED:
            phase = "during response"
        exception = _behind(exchange, frames)
        traceback = traceback_of(exception) if exception is not None else None
        return Failure(exception, uuid.uuid4().hex, phase, traceback)
    except Exception:
        log_failure("looking for the exception behind a response")
        return None


def at_work(exchange: Any) -> set[str | None]:
    """The libraries that are at work on the message that is being sent; called by what the exchange's `send` calls."""
    return _answering(list(_frames_of(exchange, sys._getframe(1))))  # noqa: SLF001


def was_caught(
    exception: BaseException, libraries: set[str | None], others: Callable[[str], bool]
) -> TypeGuard[Exception]:
    """Whether an exception of the application's was caught by one of these libraries, or by one of others."""
    if not _is_exception(exception) or is_a(exception, _NO_FAILURES):
        return False
    catcher = _caught_by(exception)
    if catcher is not None and others(catcher):
        return passes_application(exception)
    return _was_caught_by(libraries, exception)


@contextlib.contextmanager
def with_traceback(failure: Any) -> Iterator[None]:
    """While it lasts, the exception has the traceback that it had when the response started.

    Starlette takes it from those that it has made a response of.
    """
    exception: Any = failure.exception
    if traceback_of(exception) is not None:
        yield
        return
    set_traceback(exception, failure.traceback)
    try:
        yield
    finally:
        set_traceback(exception, None)


def swallowed(lifespan: Any) -> list[Exception]:
    """What the library that now says that all is done has caught of the application's before; called by `send`."""
    found: list[Exception] = []
    try:
        if lifespan.crossings:
            answering = _answering(list(_frames_of(lifespan, sys._getframe(1))))  # noqa: SLF001
            for exception in lifespan.crossings:
                if _is_behind(exception, answering) and all(one is not exception for one in found):
                    found.append(exception)
    except Exception:
        log_failure("looking for a failure of the lifespan")
    return found


def _behind(exchange: Any, frames: list[FrameType]) -> Exception | None:
    handled = _handled_within(exchange, frames)
    crossed = _crossed(exchange, _answering(frames))
    if handled is None or crossed is None or handled is crossed:
        return crossed if handled is None else handled
    if passes_application(handled) or all(one is not handled for one in _contexts(crossed)):
        return handled
    return crossed  # raised by what was called while a library handled its own


def _frames_of(exchange: Any, frame: FrameType | None) -> Iterator[FrameType]:
    """The frames from here out to the middleware's; in a task or thread of the app's, to its first."""
    while frame is not None and not _is_middleware(exchange, frame):
        yield frame
        frame = frame.f_back


def _is_middleware(exchange: Any, frame: FrameType) -> bool:
    if frame.f_globals.get("__name__") != _MIDDLEWARE:
        return False
    return exchange in (frame.f_locals.get("exchange"), frame.f_locals.get("lifespan"))


def _handled_within(exchange: Any, frames: list[FrameType]) -> Exception | None:
    """What is being handled here, if the app itself caught it, and not somebody who called the app."""
    handled = sys.exc_info()[1]
    if handled is None or not _is_exception(handled):
        return None
    caught = traceback_of(handled)
    caught_by = None if caught is None else caught.tb_frame
    outermost = frames[-1].f_back  # the middleware's, if it is there
    if caught_by is None or outermost is None or not _is_middleware(exchange, outermost):
        return handled
    return handled if caught_by in frames else None


def _answering(frames: list[FrameType]) -> set[str | None]:
    """The libraries that are at work on the answer."""
    found = {library(frame.f_code.co_filename) for frame in frames}
    behind = (others for bridge, others in _BRIDGES.items() if bridge in found)
    return found.union(*behind) - {*_HELPERS, None, PACKAGE}


def _crossed(exchange: Any, answering: set[str | None]) -> Exception | None:
    for exception in reversed(exchange.crossings):
        if _is_behind(exception, answering):
            return _first_handled(exception, answering)
    return None


def _is_behind(exception: BaseException, answering: set[str | None]) -> TypeGuard[Exception]:
    if not _is_exception(exception) or is_a(exception, _NO_FAILURES):
        return False
    return _was_caught_by(answering, exception)


def _is_exception(exception: BaseException) -> TypeGuard[Exception]:
    return is_a(exception, Exception)


def _was_caught_by(libraries: set[str | None], exception: BaseException) -> bool:
    catcher = _caught_by(exception)
    if catcher is None or not passes_application(exception):
        return False
    return catcher in libraries or is_built_on(catcher, libraries)


def _caught_by(exception: BaseException) -> str | None:
    """Return the library whose code caught an exception, as its outermost frame tells; None for the application.

    Helpers run the code of others, and raise an exception anew where it is to be handled: they are looked through.
    """
    for frame in passed(exception):
        filename = frame.f_code.co_filename
        if application[filename]:
            return None
        owner = library(filename)
        if owner not in _HELPERS:
            return owner
    return None


def passes_application(exception: BaseException) -> bool:
    return any(application[frame.f_code.co_filename] for frame in passed(exception))


def passed(exception: BaseException) -> Iterator[FrameType]:
    traceback: TracebackType | None = traceback_of(exception)
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _first_handled(exception: Exception, answering: set[str | None]) -> Exception:
    """The exception, or the one that was being handled when it was raised and swallowed."""
    for context in _contexts(exception):
        if not _is_exception(context) or not _was_caught_by(answering, context):
            continue
        caught = traceback_of(context)
        assert caught is not None  # as `_was_caught_by` says
        if caught.tb_frame not in passed(exception):
            exception = context
    return exception


def _contexts(exception: BaseException) -> Iterator[BaseException]:
    context = context_of(exception)
    for _ in range(_CHAIN):
        if context is None:
            return
        yield context
        context = context_of(context)
