"""Failures inside an answer that tells of none: a 200 with GraphQL's `errors`, JSON-RPC's `error`, MCP's `isError`.

Asked in `send`, of messages that go out while the connection holds an exception that crossed; all others pass unseen.

The rules:

- Looked at are responses of 2xx that are JSON or `text/event-stream`, and a websocket's messages: 16 KB of the
  beginning, of an event or message each. Longer ones are asked for the words alone, at both ends. What is compressed
  is read as far as that, by gzip and deflate.
- A failure that such an answer tells (`_frameworks.rpc`) is of an exception that crossed and was caught by a library
  that speaks such a protocol, or is at work on the answer. There may be several, each with its own; where more have
  crossed than the answer tells, the last ones. An answer without such an exception is nobody's failure.
- What a protocol's library raises around what has failed is looked through to its cause.
- They are noted, and reported when the app has returned or raised; on a stream, when it has sent more.
"""

from __future__ import annotations

import json
import uuid
import zlib
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Final, NamedTuple

from sentry_asgi._frameworks import rpc
from sentry_asgi._python.exceptions import text_of, traceback_of

from . import swallowed

LOOKED_AT: Final = 16_384
AHEAD: Final = 4
"""Exceptions held for messages that will tell of them: several calls may be under way on one connection."""

_EVENTS: Final = b"text/event-stream"


class Within(NamedTuple):
    """An exception that an answer without a failing status tells of."""

    exception: Exception
    event_id: str
    phase: str
    traceback: TracebackType | None
    facts: dict[str, str]
    call: Any  # the JSON-RPC id of the call
    message: Any  # of a websocket, that it answers


class Look:
    """What is looked at of a connection's answer, and what was found."""

    __slots__ = ("_buffer", "_decoder", "_kind", "_seen", "crossed", "found", "pending")

    def __init__(self, kind: str | None, encoding: bytes = b"") -> None:
        self._kind = kind  # "json", "events", "messages"; None if it is not to be looked at
        self._decoder = zlib.decompressobj(_ANY) if encoding in _COMPRESSED else None
        if encoding and encoding not in _COMPRESSED:
            self._kind = None
        self._buffer = b""  # of what is not complete yet
        self._seen: tuple[BaseException, ...] = ()
        self.crossed: list[Exception] = []  # and may be behind a failure that is told
        self.pending: list[Within] = []
        self.found = 0

    def texts(self, data: Any, *, more: bool) -> list[bytes]:
        """The texts that are complete with this part of the answer."""
        if self._kind is None:
            return []
        if self._decoder is not None:
            data = self._decoder.decompress(data, LOOKED_AT)
        text = _shortened(self._buffer + _shortened(data))
        if self._kind == "messages":
            return [text]
        if self._kind == "events":
            *events, rest = text.replace(b"\r\n", b"\n").split(b"\n\n")
            self._buffer = rest if more else b""
            return [_data_of(event) for event in ([*events, rest] if not more else events)]
        self._buffer = text if more else b""
        return [] if more else [text]

    def note(self, crossings: tuple[BaseException, ...], libraries: set[str | None]) -> None:
        """Note those that have crossed since, and may be behind a failure."""
        for exception in crossings:
            if all(one is not exception for one in self._seen) and swallowed.was_caught(
                exception, libraries, rpc.speaks
            ):
                self.crossed.append(exception)
        self._seen = crossings

    def let_go(self, crossings: tuple[BaseException, ...]) -> None:
        """Hold no more than these; where the answer is one text, what may be behind it."""
        self._seen = _those(self._seen, crossings)
        if self._kind != "json":
            self.crossed = self.crossed[-AHEAD:]

    def keep(self, crossings: tuple[BaseException, ...]) -> None:
        """Hold none but these, also of what may be behind a failure that is yet to be told."""
        self._seen, self.crossed = _those(self._seen, crossings), [*_those(self.crossed, crossings)]

    def take(self, count: int, told: set[str]) -> list[Exception]:
        """The last that crossed, no longer held; of several calls that are under way, those that say what was told."""
        if self._kind != "messages":
            taken, self.crossed = self.crossed[-count:], []
            return taken
        named = [one for one in self.crossed if text_of(one) in told] or self.crossed
        taken = named[-count:]
        self.crossed = [one for one in self.crossed if all(one is not other for other in taken)]
        return taken


def _those(held: Iterable[Any], crossings: tuple[BaseException, ...]) -> tuple[Any, ...]:
    return tuple(one for one in held if any(one is other for other in crossings))


_ANY: Final = 47  # `zlib`: gzip or deflate
_COMPRESSED: Final = frozenset({b"gzip", b"deflate"})
_CUT: Final = b" ... "  # where a text was, it is no JSON any more


def _shortened(text: Any) -> bytes:
    """Both ends of a long text."""
    if len(text) <= 2 * LOOKED_AT:
        return bytes(text)
    return bytes(text[:LOOKED_AT]) + _CUT + bytes(text[-LOOKED_AT:])


def _data_of(event: bytes) -> bytes:
    """The data of a server-sent event: https://html.spec.whatwg.org/multipage/server-sent-events.html."""
    return b"\n".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))


_NOTHING: Final = Look(None)


def look(exchange: Any, data: Any, *, more: bool) -> None:
    """Look at a part of the answer that is about to be sent; called by the exchange's `send`."""
    state = exchange.failure_state()
    if state.within is None:
        state.within = _of(exchange)
    found: Look = state.within
    if found is _NOTHING:
        return
    found.note(exchange.crossings, swallowed.at_work(exchange))
    for text in found.texts(data, more=more):
        told = _told(text) if found.crossed else []
        if told:
            _match(exchange, found, told)


def _of(exchange: Any) -> Look:
    if exchange.status == swallowed.ACCEPTED:
        return Look("messages")
    if exchange.failure is not None or not 200 <= (exchange.status or 0) < 300:  # noqa: PLR2004
        return _NOTHING
    content_type = exchange.response_header(b"content-type")
    encoding = exchange.response_header(b"content-encoding").strip().removeprefix(b"identity")
    if content_type.startswith(_EVENTS):
        return Look("events", encoding)
    return Look("json", encoding) if b"json" in content_type.partition(b";")[0] else _NOTHING


def _told(text: bytes) -> list[rpc.Failed]:
    if len(text) <= LOOKED_AT:
        try:
            return rpc.failures(json.loads(text))
        except (ValueError, RecursionError):
            return []
    words = text.replace(b" ", b"")
    graphql = b'"errors":[{' in words and b'"data":' in words and b'"path":[' in words
    called = b'"jsonrpc":' in words and (b'"error":{' in words or b'"isError":true' in words)
    return [rpc.Failed(None)] if graphql or called else []


def _match(exchange: Any, found: Look, told: list[rpc.Failed]) -> None:
    """Note what is behind the failures that were told: what has crossed last, and is not noted yet."""
    by_message = {one.message: one for one in told if one.message}
    behind = found.take(len(told), set(by_message))
    phase = "during response" if exchange.status == swallowed.ACCEPTED else "before response"
    message = getattr(exchange, "message", None)
    for position, exception in enumerate(behind):
        one = by_message.get(text_of(exception), told[position])
        cause = rpc.looked_through(exception)
        facts = {"field": one.field} if one.field else {}
        event_id = uuid.uuid4().hex
        noted = Within(cause, event_id, phase, traceback_of(cause), facts, one.call, message)
        found.pending.append(noted)
        found.found += 1
