"""What passes between one connection and the application: a passive tee, never a reader.

The rules:

- `receive` and `send` hand every message on as it is, at once, in order; nothing is read ahead, kept back, changed
  or invented, and whatever the server raises comes out.
- What is noted is a few numbers, and the message that started the response. Noting never raises, whatever
  a message holds, and nothing is computed of it before somebody asks.
- Every request pays for this, so an exchange is one object with slots, made in one go: half the price of
  a subclass that calls `super().__init__`, or of class attributes as defaults.
- Times are `time.perf_counter()` seconds.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, TypeAlias

from ._once import OVER, with_event_id
from ._request import Connection
from ._settings import DEFAULTS, Settings
from ._swallowed import Failure, failure

now: Final = time.perf_counter

PENDING: Final = "pending"
"""As an exchange's `span`: it is not sampled, and nobody has asked for it yet."""

Phase: TypeAlias = Literal["before response", "during response", "after response"]
Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[Any]]


class Exchange(Connection):
    """A connection and what has passed on it so far. This class is of HTTP requests."""

    __slots__ = (
        "_receive",
        "_send",
        "client_left",
        "closed_at",
        "crossings",
        "ended_at",
        "ending",
        "failure",
        "first_byte_at",
        "received_all",
        "received_bytes",
        "reported",
        "response_headers",
        "sample_rand",
        "send_error",
        "sent_bytes",
        "session",
        "settings",
        "span",
        "span_scope",
        "started_at",
        "status",
        "tracing",
    )

    started_at: float
    # Of the request: bytes of its body that the app has read, and whether that was all of it.
    received_bytes: int
    received_all: bool
    # Of the response: status code, headers as the app gave them, when it started, its bytes, and when
    # it was complete. None until then.
    status: int | None
    response_headers: Any
    first_byte_at: float | None
    sent_bytes: int
    ended_at: float | None
    # The client was gone before the response was complete; what `send` then raised.
    client_left: bool
    send_error: OSError | None
    # Of failures: what counts as one, what was behind one that the response told of, and the exceptions that
    # `_unwinding` saw and `_once` reported. Nothing of it outlives the connection.
    settings: Settings
    failure: Failure | None
    crossings: Any
    reported: Any
    # For release health: whether it counts, and the SDK's session once its scope is filled.
    session: Any
    # When the app's call came back, and how.
    closed_at: float | None
    ending: Literal["returned", "raised", "cancelled"] | None
    # What the tracing, if any, keeps here: itself, the connection's span and the scope that it is on as
    # long as it lasts, and the dice it has thrown.
    tracing: Any
    span: Any
    span_scope: Any
    sample_rand: float | None

    def __init__(
        self,
        scope: Any,
        transaction_style: str,
        receive: Receive,
        send: Send,
        settings: Settings = DEFAULTS,
    ) -> None:
        get = scope.get
        self.scope = scope
        self.path = get("path")
        self.root_path = get("root_path")
        self.transaction_style = transaction_style
        self._receive = receive
        self._send = send
        self.started_at = now()
        self.settings = settings
        self.status = self.response_headers = self.first_byte_at = self.ended_at = None
        self.send_error = self.failure = self.crossings = self.reported = None
        self.closed_at = self.ending = self.tracing = None
        self.span = self.span_scope = self.sample_rand = None
        self.received_bytes = self.sent_bytes = 0
        self.received_all = self.client_left = self.session = False

    async def receive(self) -> Any:
        """The server's `receive()`, watched."""
        return self._received(await self._receive())

    def _received(self, message: Any) -> Any:
        # Not in receive() itself: the fewer variables a coroutine has, the less memory waits with it.
        try:
            kind = message["type"]
            if kind == "http.request":
                if "body" in message:
                    self.received_bytes += len(message["body"])
                self.received_all = not message.get("more_body", False)
            elif kind == "http.disconnect" and self.ended_at is None:
                self.client_left = True
        except Exception:  # no ASGI message; the app will say what it thinks of it
            pass
        return message

    async def send(self, message: Any) -> Any:
        """The server's `send()`, watched."""
        try:
            kind = message["type"]
            if kind == "http.response.body":
                if "more_body" not in message or not message["more_body"]:
                    self.ended_at = now()
                self.sent_bytes += len(message["body"])
            elif kind == "http.response.start":
                if self.first_byte_at is None:
                    self.first_byte_at = now()
                    self.response_headers = message.get("headers")
                    self.status = status = _code(message["status"])
                    if status is not None and status in self.settings.failing:
                        message = self._failing(message)
            elif kind == "http.response.pathsend":
                self.ended_at = now()
        except Exception:  # no ASGI message, or one without a body; the server will say
            pass
        try:
            return await self._send(message)
        except OSError as gone:  # ASGI 2.4: the client is gone
            self._send_failed(gone)
            raise

    def _failing(self, message: Any) -> Any:
        """Notes what is behind a response that tells of a failure, and names its event if it is to."""
        self.failure = failure(self)
        if self.failure is None or not self.settings.event_id_header:
            return message
        return with_event_id(message, self, self.failure)

    def _send_failed(self, error: OSError) -> None:
        self.client_left = True
        self.send_error = error

    def let_go(self) -> None:
        """Of everything that was held for reporting failures: the app has returned or raised, and is reported."""
        self.send_error = self.failure = self.crossings = None
        self.reported = OVER

    @property
    def phase(self) -> Phase:
        """How far the response had come."""
        if self.first_byte_at is None:
            return "before response"
        return "during response" if self.ended_at is None else "after response"


class WebSocketExchange(Exchange):
    """A websocket and what has passed on it so far.

    Its handshake is its response: the status is 101 if it was accepted, 403 if it was closed before, else that
    of the denial response (ASGI specification, "Websocket Denial Response"). `ended_at` is when it was closed, by
    either side.
    """

    __slots__ = ("close_code", "close_reason", "closed_by", "received_messages", "sent_messages")

    # RFC 6455, 7.4; None while it is open, and where a server does not tell.
    close_code: int | None
    close_reason: str | None
    closed_by: Literal["app", "client"] | None
    # Messages and, in `received_bytes` and `sent_bytes`, bytes each way; text counts as UTF-8.
    received_messages: int
    sent_messages: int

    def __init__(
        self,
        scope: Any,
        transaction_style: str,
        receive: Receive,
        send: Send,
        settings: Settings = DEFAULTS,
    ) -> None:
        super().__init__(scope, transaction_style, receive, send, settings)
        self.close_code = self.close_reason = self.closed_by = None
        self.received_messages = self.sent_messages = 0

    def _received(self, message: Any) -> Any:
        try:
            kind = message["type"]
            if kind == "websocket.receive":
                self.received_messages += 1
                self.received_bytes += _size(message)
            elif kind == "websocket.disconnect" and self.closed_by is None:
                self.client_left = True
                self._closed("client", message)
        except Exception:  # as in Exchange.receive
            pass
        return message

    async def send(self, message: Any) -> Any:
        try:
            kind = message["type"]
            if kind == "websocket.send":
                self.sent_messages += 1
                self.sent_bytes += _size(message)
            else:
                if self.first_byte_at is None:
                    message = self._answered(kind, message)
                if kind == "websocket.close" and self.closed_by is None:
                    self._closed("app", message)
        except Exception:  # as in Exchange.send
            pass
        try:
            return await self._send(message)
        except OSError as gone:
            self._send_failed(gone)
            raise

    def _answered(self, kind: str, message: Any) -> Any:
        self.first_byte_at = now()
        self.status = _HANDSHAKE[kind] if kind in _HANDSHAKE else _code(message.get("status"))
        if self.tracing is not None:
            self.tracing.end(self)
        failing = self.status is not None and self.status in self.settings.failing
        return self._failing(message) if failing else message

    def _closed(self, by: Literal["app", "client"], message: Any) -> None:
        self.ended_at = now()
        self.closed_by = by
        code, reason = message.get("code", 1000), message.get("reason")
        self.close_code = code if isinstance(code, int) else None
        self.close_reason = reason if isinstance(reason, str) else None
        if by == "app" and self.failure is None and not self.client_left:
            self._look_behind(self.close_code)

    def _look_behind(self, code: int | None) -> None:
        if self._tells_of_failure(code):
            self.failure = failure(self)
        elif code == NORMAL and self.crossings:
            # Some frameworks close like this whatever has happened; then only an exception tells.
            found = failure(self)
            self.failure = found if found is not None and found.exception is not None else None

    def _tells_of_failure(self, code: int | None) -> bool:
        # Frameworks also put the status of the response that they would have sent: 500, or 4500.
        failing = self.settings.failing
        return code is not None and (
            code in FAILING_CLOSES or code in failing or code - 4000 in failing
        )


# RFC 6455, 7.4, and the registry that it founded: internal error, try again later, bad gateway.
FAILING_CLOSES: Final = frozenset({1011, 1013, 1014})
NORMAL: Final = 1000

_HANDSHAKE: Final = {"websocket.accept": 101, "websocket.close": 403}


def _code(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _size(message: Any) -> int:
    data = message.get("bytes")
    if data is None:
        data = message.get("text", "").encode(errors="replace")
    return len(data)
