"""Who may talk to the inspector, and what a browser may do with its pages.

A page anywhere on the web can send requests to a developer's machine. The rules:

- Only requests for a loopback name are answered: a foreign name that resolves to 127.0.0.1
  (DNS rebinding) reads nothing.
- A request that changes something and comes from a web page is refused unless that page is itself
  on a loopback name. SDKs in servers send no Origin.
- No page loads, frames or runs anything but the inspector's own style sheet.
"""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Guard:
    """ASGI middleware for `app`; `hosts` are the names answered for, without ports or brackets."""

    def __init__(self, app: ASGIApp, hosts: Collection[str] = LOOPBACK) -> None:
        """Guard `app`."""
        self._app = app
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse with 403, or pass on and add the headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        reason = self._reason_to_refuse(scope["method"], Headers(scope=scope))
        refusal = JSONResponse({"detail": reason}, HTTPStatus.FORBIDDEN)
        await (refusal if reason else self._app)(scope, receive, send_guarded)

    def _reason_to_refuse(self, method: str, headers: Headers) -> str | None:
        if hostname(f"//{headers.get('host', '')}") not in self._hosts:
            return "The inspector answers only for loopback names, such as 127.0.0.1 or localhost."
        origin = headers.get("origin")
        if method in _SAFE_METHODS or origin is None or hostname(origin) in self._hosts:
            return None
        return "The inspector takes nothing from web pages of other sites."


def hostname(url: str) -> str | None:
    """The host of a URL, lower case, without port and brackets; None if there is none."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
