"""Receiving the bodies of requests, all of them together within bounds.

The rules:

- One body has a bound, and so have all that are in memory at once: whoever comes when there is no
  room is refused with 503, as by any Sentry under load.
- A body that is not complete in time is refused, and its memory is free.
- `close` refuses those that are half sent, so that no sender keeps the server from ending.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request

from .envelope import MEBIBYTE, BadEnvelopeError, check_size

TOGETHER = 100 * MEBIBYTE
SECONDS = 60.0


class Uploads:
    """The bodies that one inspector receives: of each at most `most` bytes."""

    def __init__(self, most: int, *, together: int = TOGETHER, seconds: float = SECONDS) -> None:
        """Make it; each body may take `seconds`, all at a time may have `together` bytes."""
        self._most = most
        self._room = together
        self._seconds = seconds
        self._deadlines: set[asyncio.Timeout] = set()

    def close(self) -> None:
        """Refuse what is half sent; to be called in the event loop of the server."""
        for deadline in self._deadlines:
            deadline.reschedule(0)

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """A request's body, which counts until the block ends. Raises BadEnvelopeError."""
        body = bytearray()
        try:
            await self._receive(request, body)
            yield bytes(body)
        finally:
            self._room += len(body)

    async def _receive(self, request: Request, body: bytearray) -> None:
        deadline = asyncio.timeout(self._seconds)
        try:
            async with deadline:
                self._deadlines.add(deadline)
                async for chunk in request.stream():
                    self._add(chunk, body)
        except ClientDisconnect:
            raise BadEnvelopeError("The request ended before its body was complete.") from None
        except TimeoutError:
            raise BadEnvelopeError(
                "The request's body was not complete in time.", HTTPStatus.REQUEST_TIMEOUT
            ) from None
        finally:
            self._deadlines.discard(deadline)

    def _add(self, chunk: bytes, body: bytearray) -> None:
        check_size(len(body) + len(chunk), self._most, "The request")
        if len(chunk) > self._room:
            raise BadEnvelopeError(
                "The inspector receives too much at once; send it again later.",
                HTTPStatus.SERVICE_UNAVAILABLE,
            )
        self._room -= len(chunk)
        body += chunk
