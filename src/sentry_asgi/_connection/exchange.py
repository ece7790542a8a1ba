"""What passes between one connection and the application: a passive tee, never a reader.

The rules:

- `receive` and `send` hand every message on as it is, at once, in order; nothing is read ahead, kept back, changed
  or invented, and whatever the server raises comes out.
- What is noted is a few numbers, and the message that started the response. Noting never raises, whatever
  a message holds, and nothing is computed of it before somebody asks. An odd message is the application's business,
  and passes in silence; what fails in here, or in what the user has given, is logged where it is called.
- Every request pays for this, so an exchange is one object with slots, made in one go: half the price of
  a subclass that calls `super().__init__`, or of class attributes as defaults.
- Times are `time.perf_counter()` seconds.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from sentry_sdk import get_client

from sentry_asgi._failures import swallowed, within
from sentry_asgi._failures.dedupe import with_event_id
from sentry_asgi._failures.state import FailureHolder, FailureState
from sentry_asgi._failures.swallowed import failure
from sentry_asgi._frameworks import disconnects
from sentry_asgi._sdk.diagnostics import log_failure
from sentry_asgi._sdk.spans import keep_others_trace

from .body import KNOWN, BodyBuffer, limit
from .request import Connection
from .settings import DEFAULTS, Settings

now: Final = time.perf_counter

ACCEPTED: Final = swallowed.ACCEPTED

Phase: TypeAlias = Literal["before response", "during response", "after response"]
Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[Any]]


class Exchange(Connection, FailureHolder):
    """A connection and what has passed on it so far. This class is of HTTP requests."""

    __slots__ = (
        "_receive",
        "_send",
        "body",
        "client_left",
        "closed_at",
        "ended_at",
        "ending",
        "first_byte_at",
        "held",
        "received_all",
        "received_bytes",
        "response_headers",
        "sent_bytes",
        "served",
        "session",
        "started_at",
        "status",
        "trace",
    )

    started_at: float
    # Of the request: bytes of its body that the app has read, whether that was all of it, and the
    # beginning of them.
    received_bytes: int
    received_all: bool
    body: BodyBuffer | None
    # Of the response: status code, headers as the app gave them, when it started, its bytes, and when
    # it was complete. None until then.
    status: int | None
    response_headers: Any
    first_byte_at: float | None
    sent_bytes: int
    ended_at: float | None
    # The client was gone before the response was complete.
    client_left: bool
    # What is held of its failures.
    held: FailureState | BaseException | None
    # What is done for the client that was in force when it began; the middleware's.
    served: Any
    # For release health: whether it counts, and the SDK's session once its scope is filled.
    session: Any
    # How the app's call came back; where it raised, when.
    ending: Literal["returned", "raised", "cancelled"] | None
    closed_at: float | None
    # What the tracing keeps of the connection, while it has one.
    trace: Any

    def __init__(
        self,
        scope: Any,
        receive: Receive,
        send: Send,
        settings: Settings = DEFAULTS,
    ) -> None:
        get = scope.get
        self.scope = scope
        self.path = get("path")
        self.root_path = get("root_path")
        self._receive = receive
        self._send = send
        self.started_at = now()
        self.settings = settings
        self.status = self.response_headers = self.first_byte_at = self.ended_at = None
        self.body = self.held = self.closed_at = self.ending = self.trace = None
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
                if "body" in message and (body := message["body"]):
                    self._keep(body)
                self.received_all = not message.get("more_body", False)
            elif kind == "http.disconnect" and self.ended_at is None:
                self.client_left = True
        except Exception:  # no ASGI message; the app will say what it thinks of it
            pass
        return message

    def _keep(self, chunk: Any) -> None:
        self.received_bytes += len(chunk)
        if self.body is None:
            self.body = BodyBuffer(max(body_limit(), KNOWN))
        self.body.add(chunk)

    async def send(self, message: Any) -> Any:  # noqa: C901 - flat; a call would cost more than it does
        """The server's `send()`, watched."""
        try:
            kind = message["type"]
            if kind == "http.response.body":
                if self.held is not None:
                    self._look_within(message)
                if "more_body" not in message or not message["more_body"]:
                    self.ended_at = now()
                elif not self.sent_bytes and self.trace is not None:
                    self._streams()
                self.sent_bytes += len(message["body"])
            elif kind == "http.response.start":
                if self.first_byte_at is None:
                    self.first_byte_at = now()
                    self.response_headers = message.get("headers")
                    status: Any = message["status"]
                    if status.__class__ is not int:
                        status = _code(status)
                    self.status = status
                    if status in self.settings.failing:
                        message = self._failing(message)
                elif message["status"] in self.settings.failing and self.failure is None:
                    # No second response is possible; some frameworks try, for what fails after the first.
                    self.failure = failure(self, self.phase)
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
        """Note what is behind a response that tells of a failure, and name its event if it is to."""
        try:
            self.failure_state().failure = failure(self)
            keep_others_trace()
            if self.failure is None or not self.settings.id_headers:
                return message
            return with_event_id(message, self, self.failure)
        except Exception:
            log_failure("noting a failing response")
            return message

    def _streams(self) -> None:
        """Tell the tracing that a response of several parts has begun, if it is a stream of events."""
        if self._is_event_stream():
            self.trace.way.stream(self)

    def response_header(self, name: bytes) -> bytes:
        """A header of the response as the app gave it, in lower case; empty without one."""
        for key, value in self.response_headers or ():
            if key.lower() == name:
                return bytes(value).lower()
        return b""

    def _is_event_stream(self) -> bool:
        return self.response_header(b"content-type").startswith(b"text/event-stream")

    @property
    def awaits_events(self) -> bool:
        """Whether the response is a stream of events, and none has been sent."""
        return not self.sent_bytes and self.first_byte_at is not None and self._is_event_stream()

    def _look_within(self, message: Any) -> None:
        """Look for failures in a part of an answer that tells of none; hold the last that crossed for what follows."""
        more = bool(message.get("more_body"))
        try:
            if self.within is not None and self.within.pending and more:
                self.settings.report_within(self)
            within.look(self, message.get("body", b""), more=more)
        except Exception:
            log_failure("looking for a failure in an answer")
        if more:
            self.let_go(1)
            if self.within is not None:
                self.within.let_go(self.crossings)

    def _send_failed(self, error: OSError) -> None:
        try:
            # Else of a file that was to be sent, or of a middleware further out.
            if error.filename is None and disconnects.is_servers(error):
                self.client_left = True
                self.failure_state().send_error = error
        except (
            Exception
        ):  # of an error of the server's own kind; what it raised comes out all the same
            log_failure("noting that the client has left")

    @property
    def phase(self) -> Phase:
        """How far the response had come."""
        if self.first_byte_at is None:
            return "before response"
        return "during response" if self.ended_at is None else "after response"


_handled: Final[ContextVar[tuple[Any, str | bytes | None] | None]] = ContextVar(
    "sentry_asgi_message", default=None
)
"""The websocket's message that is handled here: a GraphQL server starts a task for each, and asks for the next."""


@contextlib.contextmanager
def handling(exchange: Exchange, message: Any) -> Iterator[None]:
    """While it lasts, this is the message that is handled."""
    token = _handled.set((exchange, message))
    try:
        yield
    finally:
        _handled.reset(token)


class Close(NamedTuple):
    """Who has closed a websocket, and how (RFC 6455, 7.4); None where a server does not tell."""

    by: Literal["app", "client"]
    code: int | None
    reason: str | None


class WebSocketExchange(Exchange):
    """A websocket and what has passed on it so far.

    Its handshake is its response: the status is 101 if it was accepted, 403 if it was closed before, else that
    of the denial response (ASGI specification, "Websocket Denial Response"). `ended_at` is when it was closed, by
    either side.
    """

    __slots__ = (
        "_last_message",
        "close",
        "messages",
        "received_messages",
        "sent_messages",
    )

    # None while it is open: each slot is 8 bytes for as long as that is.
    close: Close | None
    # What was received last, until the app asks for more.
    _last_message: str | bytes | None
    # Messages and, in `received_bytes` and `sent_bytes`, bytes each way; text counts as UTF-8.
    received_messages: int
    sent_messages: int
    # What the tracing makes the messages' spans by, if they are to have some, once the handshake is over.
    messages: Any

    def __init__(
        self,
        scope: Any,
        receive: Receive,
        send: Send,
        settings: Settings = DEFAULTS,
    ) -> None:
        super().__init__(scope, receive, send, settings)
        self.close = self.messages = self._last_message = None
        self.received_messages = self.sent_messages = 0

    @property
    def message(self) -> str | bytes | None:
        """What the app has received last, until it asks for more; in a task or thread of its own, what that handles.

        What is secret in it is sent nowhere.
        """
        handled = _handled.get()
        return handled[1] if handled is not None and handled[0] is self else self._last_message

    async def receive(self) -> Any:
        """As of any exchange; the message before is done with when the next is asked for."""
        if self.messages is not None and self.trace is not None:
            self.trace.way.end(self)
        if self.held is not None and self.status == ACCEPTED:
            self._goes_on()
        if self._last_message is not None:
            self._last_message = None
            _handled.set(None)
        return self._received(await self._receive())

    def _goes_on(self) -> None:
        """The message before has been dealt with, but for what is answered later."""
        looked: Any = self.within
        if looked is not None and looked.pending:
            self.settings.report_within(self)
        self.let_go(within.AHEAD if self._answers_later() else 0)
        if looked is not None:
            looked.keep(self.crossings)

    def _answers_later(self) -> bool:
        """Whether the app asks for the next message before it has answered: GraphQL's servers do."""
        offered = self.scope.get("subprotocols") or ()
        return any(isinstance(one, str) and one.startswith("graphql") for one in offered)

    def _received(self, message: Any) -> Any:
        try:
            kind = message["type"]
            if kind == "websocket.receive":
                size = _size(message)
                self.received_messages += 1
                self.received_bytes += size
                if size <= KNOWN:
                    self._last_message = said = message.get("text") or message.get("bytes")
                    _handled.set((self, said))
                if self.messages is not None:
                    self.messages.begin(self, size)
            elif kind == "websocket.disconnect" and self.close is None:
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
                if self.held is not None:
                    self._look_within(
                        {"body": (message.get("text") or "").encode(), "more_body": True}
                    )
            else:
                if self.first_byte_at is None:
                    message = self._answered(kind, message)
                elif message.get("status") in self.settings.failing and self.failure is None:
                    # No response is possible; some frameworks try, for what fails after the handshake.
                    self.failure_state().failure = failure(self)
                if kind == "websocket.close" and self.close is None:
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
        if self.trace is not None:
            self.trace.way.end(self)
        failing = self.status is not None and self.status in self.settings.failing
        return self._failing(message) if failing else message

    def _closed(self, by: Literal["app", "client"], message: Any) -> None:
        self.ended_at = now()
        reason = message.get("reason")
        code = _code(message.get("code", 1000))
        self.close = Close(by, code, reason if isinstance(reason, str) else None)
        try:
            if by == "app" and self.failure is None and not self.client_left:
                self._look_behind(code)
        except Exception:
            log_failure("noting a failing close")

    def _look_behind(self, code: int | None) -> None:
        if self._tells_of_failure(code):
            self.failure_state().failure = failure(self)
        elif code == NORMAL and self.crossings:
            # Some frameworks close like this whatever has happened; then only an exception tells.
            found = failure(self)
            self.failure_state().failure = (
                found if found is not None and found.exception is not None else None
            )

    def _tells_of_failure(self, code: int | None) -> bool:
        # Frameworks also put the status of the response that they would have sent: 500, or 4500.
        failing = self.settings.failing
        return code is not None and (
            code in FAILING_CLOSES or code in failing or code - 4000 in failing
        )


# RFC 6455, 7.4, and the registry that it founded: internal error, try again later, bad gateway.
FAILING_CLOSES: Final = frozenset({1011, 1013, 1014})
NORMAL: Final = 1000

_HANDSHAKE: Final = {"websocket.accept": ACCEPTED, "websocket.close": 403}


def body_limit() -> int:
    """How much of a body may be sent; nothing, if the client does not tell."""
    try:
        return limit(get_client().options.get("max_request_body_size"))
    except Exception:
        log_failure("noting a body")
        return 0


def _code(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _size(message: Any) -> int:
    data = message.get("bytes")
    if data is None:
        data = message.get("text", "").encode(errors="replace")
    return len(data)
