"""Sending a request again, in the process that serves the app: as it was, secrets included.

The rules:

- What was asked stays in this process's memory alone: the newest `MOST` requests, of bodies `MAX_BODY` bytes. A reload
  forgets it.
- Only who knows the token, which `dev` makes for each process, has it sent again.
- Of a request that was edited, what was not edited is put in as it was (`merging.py`).
"""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final

from .merging import Asked, lacking, merged
from .seen import Seen

MOST = 200
HEADER: Final = b"x-sentry-asgi-again"
"""Of a request that is sent again: the token, a colon, and the span id of what is sent again."""
UNEDITED: Final = b"x-sentry-asgi-unedited"
"""Of one that was edited: what was not, with commas between."""
ANSWER: Final = b"x-sentry-asgi-request"
"""Of its response: the span id that it has itself, a semicolon, and how it was sent."""
AS_IT_WAS: Final = b"as it was"
LACKS: Final = b"lacks "
"""How one was sent of which all is known, or not: then names follow, as in `UNEDITED`. Nothing: it is forgotten."""

_OF_A_REQUEST = ("method", "path", "raw_path", "query_string", "headers")

Receive = Callable[[], Awaitable[Any]]


class Memory:
    """What was asked of this process, by span id."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self.token = secrets.token_urlsafe(24)
        self._kept: OrderedDict[str, Asked] = OrderedDict()

    def keep(self, scope: dict[str, Any], seen: Seen) -> None:
        """Remember a request that is over, if all of its body is known."""
        if not seen.span_id or seen.asked.size != len(seen.asked.start):
            return
        self._kept[seen.span_id] = Asked(scope, bytes(seen.asked.start))
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)

    def is_again(self, scope: Any) -> bool:
        """Whether a request is one that is sent again by who may."""
        token, _, _ = _told(scope).partition(b":")
        return bool(token) and hmac.compare_digest(token, self.token.encode())

    async def restored(self, scope: Any, receive: Receive) -> tuple[dict[str, Any], Receive, bytes]:
        """The request as it was, or as it was edited; the last value tells how it is sent."""
        was = self._kept.get(_told(scope).partition(b":")[2].decode("latin-1"))
        names = _told(scope, UNEDITED)
        headers = [one for one in scope["headers"] if one[0] not in {HEADER, UNEDITED}]
        scope = {**scope, "headers": headers}
        if was is None:
            return scope, receive, b""
        asked, how = was, AS_IT_WAS
        if names:
            now = Asked(of_request(scope), await _read(receive))
            asked = merged(now, was, frozenset(names.lower().split(b",")))
            lacks = lacking(asked)
            how = LACKS + b",".join(lacks) if lacks else AS_IT_WAS
        return {**scope, **asked.scope}, _once(asked.body, receive), how


def _once(body: bytes, receive: Receive) -> Receive:
    """The body in one message, and then whatever comes."""
    given = False

    async def receive_body() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_body


async def _read(receive: Receive) -> bytes:
    body, more = bytearray(), True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body)


def of_request(scope: Any) -> dict[str, Any]:
    """What of a scope is the request; frameworks change the others."""
    return {name: scope[name] for name in _OF_A_REQUEST if name in scope}


def _told(scope: Any, header: bytes = HEADER) -> bytes:
    return next((bytes(value) for name, value in scope.get("headers") or () if name == header), b"")
