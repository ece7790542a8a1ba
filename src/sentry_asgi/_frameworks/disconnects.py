"""Exceptions that tell of no failure: the client has left.

The rules:

- The error that `send` itself raised (ASGI 2.4: an OSError), wherever it comes out; what was raised from it counts if
  it is a framework's word for it.
  What an outer middleware's `send` raises for reasons of its own (a cache that is down, a timeout) is none: the
  code that raised it has to be the server's.
- A framework's own word for a client that has left, by its name, for no framework is imported here; or its own
  sentence, where it has no such class, if the client has left indeed.
- A group of nothing but these. Anything else is a failure of the app's, whether the client is still there or not.
"""

from __future__ import annotations

import inspect
import sys
from traceback import walk_stack, walk_tb
from typing import Any, Final

from sentry_asgi._python.exceptions import members_of, names_of, text_of, traceback_of
from sentry_asgi._python.in_app import PACKAGE, library

WORDS: Final = frozenset(
    {
        ("starlette", "ClientDisconnect"),
        ("starlette", "WebSocketDisconnect"),
        ("lilya", "ClientDisconnect"),
        ("lilya", "WebSocketDisconnect"),
        ("litestar", "ClientDisconnect"),
        ("litestar", "WebSocketDisconnect"),
        ("falcon", "WebSocketDisconnected"),
        ("blacksheep", "WebSocketDisconnectError"),
        ("blacksheep", "MessageAborted"),
        ("sanic", "WebsocketClosed"),
        ("sanic", "RequestCancelled"),
        ("django", "RequestAborted"),
        ("channels", "StopConsumer"),
        ("nexios", "ClientDisconnect"),
        ("nexios", "WebSocketDisconnect"),
        ("muffin", "ASGIConnectionClosedError"),
        ("asgi_tools", "ASGIConnectionClosedError"),
        ("microdot", "WebSocketError"),
    }
)
"""Frameworks' exceptions, each with the top-level package of its class."""

SENTENCES: Final = {("litestar", "InternalServerException"): "client disconnected prematurely"}
"""Where the word is for other things, too: what it says if the client has left."""

BY_OTHER_WORDS: Final = {
    "starlette": "No response returned.",  # BaseHTTPMiddleware, nested
    "uvicorn": "Unexpected ASGI message 'websocket.send', after sending 'websocket.close'",
}
"""The message of the RuntimeError that a library raises when the client has left."""

SERVERS: Final = frozenset(
    {
        "_granian",
        "daphne",
        "granian",
        "gunicorn",
        "hypercorn",
        "mangum",
        "uvicorn",
        "uvicorn_worker",
    }
)
"""Packages of servers, which are the first part of their loggers' names, too."""


_BOUND: Final = 1000  # exceptions of a group looked at


def client_left(exchange: Any, exception: BaseException) -> bool:
    """Whether an exception says no more than that the client has left."""
    waiting, seen = [exception], 0
    while waiting and seen < _BOUND:
        one, seen = waiting.pop(), seen + 1
        members = members_of(one)
        if members:
            waiting.extend(members[:_BOUND])
        elif not _says_so(exchange, one):
            return False
    return not waiting


def _says_so(exchange: Any, exception: BaseException) -> bool:
    if exception is exchange.send_error:
        return True
    names = [
        (module.partition(".")[0], name.rpartition(".")[2])
        for module, name in map(names_of, type(exception).__mro__)
    ]
    if any(name in WORDS for name in names):
        return True
    if not exchange.client_left:
        return False
    sentence = SENTENCES.get(names[0])
    if type(exception) is RuntimeError:
        sentence = BY_OTHER_WORDS.get(_raised_by(exception) or "")
    return bool(sentence and sentence in text_of(exception))


def is_servers(error: BaseException) -> bool:
    """Return whether the server raised what `send` has just raised, and no middleware between the two.

    The server is one that is known, or whose code is the first of this task. Compiled servers leave no frame.
    """
    raised_by = _raised_by(error)
    if raised_by in SERVERS or raised_by == PACKAGE:
        return True
    root = [frame for frame, _ in walk_stack(sys._getframe(1)) if _is_coroutine(frame)]  # noqa: SLF001
    started_by = library(root[-1].f_code.co_filename) if root else None
    return started_by in (raised_by, PACKAGE)  # nothing is further out than this package


def _is_coroutine(frame: Any) -> bool:
    return bool(frame.f_code.co_flags & inspect.CO_COROUTINE)


def _raised_by(exception: BaseException) -> str | None:
    """Return the library whose code raised an exception, the standard library's aside; None for the application."""
    owners = [library(frame.f_code.co_filename) for frame, _ in walk_tb(traceback_of(exception))]
    return next((owner for owner in reversed(owners) if owner != ""), None)
