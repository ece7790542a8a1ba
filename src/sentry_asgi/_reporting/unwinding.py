"""Which exceptions have left the application: watched by `sys.monitoring`, from CPython 3.12 on.

The rules:

- While at least one middleware needs it, one free tool id is in use, for the one event PY_UNWIND: a frame is left
  because of an exception. Code that raises nothing runs as ever. The id is given back when no middleware needs it any
  more.
- An exception that goes from a frame of the application's to one of a library's is noted on the connection in whose
  context it does: the connection's child tasks and worker threads included, as far as its context is theirs.
- Noted are the last few, and only while the connection is served: nothing is held any longer. What leaves late work is
  marked with its request instead. The first stands in
  the connection's slot by itself, for most have no other. Which of them matters, if any, is `swallowed`'s business.
- The callback runs for each frame that any exception of the process leaves, so its price is counted: `unwound` calls
  no function of Python's, and goes `_with_care` where a file is new to it.
- Whatever goes wrong in it does not reach the code that it runs in. What a signal's handler raises does, for it runs
  in here by chance: it takes the place of the exception that was on its way, as if it had come a little earlier.
- The callback needs one frame of the stack. An exception that is raised in the very last one that
  `sys.setrecursionlimit` allows arrives as a RecursionError; CPython says so before the callback is entered.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

from sentry_asgi._failures.state import FailureState
from sentry_asgi._python.in_app import application
from sentry_asgi._python.locks import Lock
from sentry_asgi._scopes.here import (
    RequestScope,
    connection_here,
    public_connection,
    scope_here,
)

logger: Final = logging.getLogger("sentry_asgi")

# Without a meaning of their own (PEP 669): 0 to 2 and 5 are debuggers', coverage's, profilers', optimizers'.
TOOL_IDS: Final = (4, 3)

_getframe: Final = sys._getframe  # noqa: SLF001 - documented, and `inspect` would cost a hundred times as much
_known: Final = application.known
_monitoring: Final[Any] = getattr(sys, "monitoring", None)


class Watch:
    """Who needs the watching, and the tool id that it has while anybody does; None if none was to be had."""

    def __init__(self) -> None:
        self.users: set[int] = set()
        self.tool_id: int | None = None
        self._said = False
        self._lock = Lock()  # loops of several threads may begin at once

    def begin(self, user: int) -> None:
        """Watch from now on, on behalf of a user; asked again, change nothing."""
        with self._lock:
            self.users.add(user)
            if self.tool_id is None:
                self.tool_id = _acquire()
            unavailable = self.tool_id is None and not self._said
            self._said |= unavailable
        if unavailable:
            logger.debug(
                "sys.monitoring is unavailable (it needs CPython 3.12 or newer and a free tool id, 3 or 4). Errors "
                "that a framework handles are found only while it is handling them"
            )

    def end(self, user: int) -> None:
        """End a user's need; with the last one's, the watching ends."""
        with self._lock:
            self.users.discard(user)
            if self.users:
                return
            # The garbage collector may end another user's need in here, and must not give back the same id.
            tool_id, self.tool_id = self.tool_id, None
            if tool_id is not None:
                _give_back(tool_id)


watch: Final = Watch()


def _acquire() -> int | None:
    if _monitoring is None:
        return None
    for tool_id in TOOL_IDS:
        try:
            _monitoring.use_tool_id(tool_id, "sentry-asgi")
        except ValueError:  # in use
            continue
        _monitoring.register_callback(tool_id, _monitoring.events.PY_UNWIND, unwound)
        _monitoring.set_events(tool_id, _monitoring.events.PY_UNWIND)
        return tool_id
    return None


def _give_back(tool_id: int) -> None:
    _monitoring.set_events(tool_id, 0)
    _monitoring.register_callback(tool_id, _monitoring.events.PY_UNWIND, None)
    _monitoring.free_tool_id(tool_id)


def unwound(code: Any, _offset: int, exception: BaseException) -> None:
    """The callback: the frame above this one is being left because of `exception`."""
    try:
        if not _known[code.co_filename] or _known[_getframe(2).f_code.co_filename]:
            return
        scope: Any = scope_here()
        if scope.__class__ is RequestScope:
            connection: Any = scope.asgi_connection
        else:
            connection = public_connection()
            if connection is None:
                return
        held = connection.held
        if type(held) is FailureState:
            held.crossings.append(exception)
        elif held is None:
            connection.held = exception
        else:
            connection.crossed(exception)
        return
    except RecursionError:
        return
    except Exception as error:  # a file that is new, or the outermost frame
        if error.__traceback__.tb_next is not None:  # type: ignore[union-attr]  # this frame is in it
            raise  # a signal's handler ran in here
    try:
        _with_care(code, _getframe(1).f_back, exception)
    except RecursionError:
        return


def _with_care(code: Any, outer: Any, exception: BaseException) -> None:
    if not application[code.co_filename]:
        return
    if outer is not None and application[outer.f_code.co_filename]:
        return
    connection: Any = connection_here()
    if hasattr(connection, "held"):
        connection.crossed(exception)
