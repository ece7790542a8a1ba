"""Sending a request again, in the process that serves the app: as it was, secrets included.

The rules:

- What was asked stays in this process's memory alone: the newest `MOST` requests, of bodies `MAX_BODY` bytes. A reload
  forgets it.
- Only who knows the token, which `dev` makes for each process, has it sent again.
"""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from .seen import Seen

MOST = 200
HEADER: Final = b"x-sentry-asgi-again"
"""Of a request that is sent again: the token, a colon, and the span id of what is sent again."""
ANSWER: Final = b"x-sentry-asgi-request"
"""Of its response: the span id that it has itself."""

_OF_A_REQUEST = ("method", "path", "raw_path", "query_string", "headers")

Receive = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class _Kept:
    scope: dict[str, Any]
    body: bytes


class Memory:
    """What was asked of this process, by span id."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self.token = secrets.token_urlsafe(24)
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def keep(self, scope: dict[str, Any], seen: Seen) -> None:
        """Remember a request that is over, if all of its body is known."""
        if not seen.span_id or seen.asked.size != len(seen.asked.start):
            return
        self._kept[seen.span_id] = _Kept(scope, bytes(seen.asked.start))
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)

    def is_again(self, scope: Any) -> bool:
        """Whether a request is one that is sent again by who may."""
        token, _, _ = _told(scope).partition(b":")
        return bool(token) and hmac.compare_digest(token, self.token.encode())

    def restored(self, scope: Any, receive: Receive) -> tuple[dict[str, Any], Receive, bool]:
        """The request as it was, if it is remembered, which the last value tells; else as it is."""
        kept = self._kept.get(_told(scope).partition(b":")[2].decode("latin-1"))
        if kept is None:
            headers = [one for one in scope["headers"] if one[0] != HEADER]
            return {**scope, "headers": headers}, receive, False
        given = False

        async def receive_kept() -> Any:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": kept.body, "more_body": False}

        return {**scope, **kept.scope}, receive_kept, True


def of_request(scope: Any) -> dict[str, Any]:
    """What of a scope is the request; frameworks change the others."""
    return {name: scope[name] for name in _OF_A_REQUEST if name in scope}


def _told(scope: Any) -> bytes:
    return next((bytes(value) for name, value in scope.get("headers") or () if name == HEADER), b"")
