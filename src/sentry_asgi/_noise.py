"""Exceptions that tell of no failure: the client has left.

The rules:

- The error that `send` itself raised (ASGI 2.4: an OSError), wherever it comes out; what was raised from it counts if
  it is a framework's word for it.
- A framework's own word for a client that has left, by its name, for no framework is imported here.
- A group of nothing but these. Anything else is a failure of the app's, whether the client is still there or not.
"""

from __future__ import annotations

from typing import Any, Final

from ._exceptions import members_of, text_of

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
    names = [(str(one.__module__).split(".")[0], one.__name__) for one in type(exception).__mro__]
    if any(name in WORDS for name in names):
        return True
    sentence = SENTENCES.get(names[0])
    return bool(sentence and exchange.client_left and sentence in text_of(exception))
