"""Under `dev`: each request and response is told to the inspector, and an error is shown where it is.

ASGI middleware around all else. The rules:

- A response of 500 and above is held until the app is done with the request, for then its event is known:
  while it is short, and for `PATIENCE` seconds at most.
- It says by a `Link` header where its error is. A browser that would get a bare one gets the error's page; an app's own
  error page stays.
- What fails in here changes nothing for the app.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from anyio import to_thread

from .again import ANSWER, Memory, of_request
from .error_page import fetch_page, prefers_html
from .seen import Seen, current
from .telling import Teller

PATIENCE = 2.0
MAX_HELD = 16 * 1024
URL = "_sentry_asgi_url"
"""The attribute of an exception that left the app, with the address of its page."""

_BARE = {
    *("internal", "server", "error", "500", "status_code", "status", "detail", "title", "message"),
    *("the", "encountered", "an", "and", "was", "unable", "to", "complete", "your", "request"),
    *("either", "is", "overloaded", "or", "there", "in", "application"),
}
"""The words of what servers, Werkzeug and frameworks say by themselves."""


class Recording:
    """Serves `app`, telling the inspector at `url` of it."""

    def __init__(self, app: Any, url: str, teller: Teller) -> None:
        """Serve an ASGI 3 app."""
        self.app = app
        self.memory = Memory()
        self.on_startup: Callable[[], None] = lambda: None  # called when the app has started up
        self._url = url
        self._teller = teller

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a connection; only HTTP is told of."""
        if scope["type"] != "http":
            await self.app(scope, receive, self._watching(scope, send))
            return
        again, how = self.memory.is_again(scope), b""
        if again:
            scope, receive, how = await self.memory.restored(scope, receive)
        asked, seen, held = of_request(scope), Seen(scope), Held(send)
        token = current.set(seen)

        async def receive_seen() -> Any:
            message = await receive()
            seen.received(message)
            return message

        async def send_seen(message: Any) -> None:
            seen.sent(message)
            if again and message["type"] == "http.response.start":
                told = (ANSWER, seen.span_id.encode() + b";" + how)
                message = {**message, "headers": [*message.get("headers", ()), told]}
            await held.send(message)

        try:
            await self.app(scope, receive_seen, send_seen)
        except Exception as error:
            address = self._address(seen)
            if address:
                with suppress(AttributeError):
                    setattr(error, URL, address)
            if not held.started and address:
                held.hold(_bare_response())
                seen.status = HTTPStatus.INTERNAL_SERVER_ERROR
            if held.messages:  # the server closes where an app raises: nobody shall send more
                held.add_header(b"connection", b"close")
            raise
        finally:
            current.reset(token)
            await self._answer(seen, held)
            seen.end()
            self.memory.keep(asked, seen)
            self._teller.tell("/api/local/exchange", seen.record)

    def _watching(self, scope: Any, send: Any) -> Any:
        async def send_seen(message: Any) -> None:
            await send(message)
            if message.get("type") == "lifespan.startup.complete":
                self.on_startup()

        return send_seen if scope["type"] == "lifespan" else send

    async def _answer(self, seen: Seen, held: Held) -> None:
        """Send what was held, with what it says of its error."""
        with suppress(Exception):
            address = self._address(seen)
            if address and held.messages:
                held.add_header(b"link", f'<{address}>; rel="describedby"'.encode())
                await self._show(seen, held)
        await held.release()

    async def _show(self, seen: Seen, held: Held) -> None:
        if prefers_html(seen.headers) and is_bare(held.body):
            page = await to_thread.run_sync(fetch_page, self._url, seen.event_ids[-1])
            if page is not None:
                held.replace(page)

    def _address(self, seen: Seen) -> str:
        return f"{self._url}/events/{seen.event_ids[-1]}" if seen.event_ids else ""


class Held:
    """A failing response on its way to `send`."""

    def __init__(self, send: Any) -> None:
        """Nothing is held yet."""
        self._send = send
        self._lock = asyncio.Lock()
        self._timer: asyncio.Task[None] | None = None
        self._holds = False
        self.started = False
        self.messages: list[Any] = []

    @property
    def body(self) -> bytes:
        """Of the body what is held."""
        return b"".join(bytes(one.get("body", b"")) for one in self.messages[1:])

    async def send(self, message: Any) -> None:
        """Take a message: hold it, or pass it on."""
        if message["type"] == "http.response.start" and not self.started:
            self.started = True
            if message.get("status", 0) >= HTTPStatus.INTERNAL_SERVER_ERROR:
                self._holds = True
                self._timer = asyncio.create_task(self._later())
        async with self._lock:
            if self._holds:
                self.messages.append(message)
            else:
                await self._send(message)
        if self._holds and (len(self.body) > MAX_HELD or message["type"] not in _KNOWN):
            await self.release()

    def hold(self, messages: list[Any]) -> None:
        """Have a response of one's own."""
        self.started, self.messages = True, messages

    def add_header(self, name: bytes, value: bytes) -> None:
        """Add a header to the response that is held."""
        start = self.messages[0]
        self.messages[0] = {**start, "headers": [*start.get("headers", ()), (name, value)]}

    def replace(self, page: bytes) -> None:
        """Have this page as the body, with the headers that a page has; the others stay."""
        start = self.messages[0]
        kept = [one for one in start.get("headers", ()) if one[0].lower() not in _OF_A_BODY]
        headers = [*kept, *_PAGE, (b"content-length", str(len(page)).encode())]
        self.messages = [{**start, "headers": headers}, {**_BODY, "body": page}]

    async def release(self) -> None:
        """Send what is held, and hold no more."""
        async with self._lock:
            self._holds = False
            waiting, self.messages = self.messages, []
            for message in waiting:
                await self._send(message)
        if self._timer is not None and self._timer is not asyncio.current_task():
            self._timer.cancel()

    async def _later(self) -> None:
        await asyncio.sleep(PATIENCE)
        await self.release()


_KNOWN = {"http.response.start", "http.response.body"}
_BODY = {"type": "http.response.body", "more_body": False}
_OF_A_BODY = {b"content-type", b"content-length", b"content-encoding", b"etag"} | {
    b"content-security-policy",
    b"cache-control",
}
_PAGE = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; img-src data:"),
    (b"cache-control", b"no-store"),
)


def _bare_response() -> list[Any]:
    """What a server says where an app says nothing."""
    text = b"Internal Server Error"
    length = (b"content-length", str(len(text)).encode())
    headers = [(b"content-type", b"text/plain; charset=utf-8"), length]
    start = {"type": "http.response.start", "status": 500, "headers": headers}
    return [start, {**_BODY, "body": text}]


def is_bare(body: bytes) -> bool:
    """Whether it only says that something failed, as servers and frameworks do by themselves."""
    text = re.sub(r"<[^<>]*>", " ", body.decode("utf-8", "replace")).lower()
    words = set(re.findall(r"\w+", text))
    return words <= _BARE and bool(words or not body)
