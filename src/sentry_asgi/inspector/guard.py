"""Who may talk to the inspector, and what a browser may do with its pages.

A page anywhere on the web can send requests to a developer's machine. The rules:

- Only requests for a loopback name, or for an address by its number, are answered: a foreign name
  that resolves to this machine (DNS rebinding) reads nothing. Other names are answered if named.
- What SDKs send is taken from pages on loopback names (CORS), and from what is no page: SDKs in
  servers send no Origin. Such pages learn whether it was taken, and read nothing else.
- Everything else that changes something is taken from the inspector's own pages only, and from what
  is no page: `dev` tells of requests at `/api/local/`.
- Reading costs, too: other pages of a browser get nothing to read, not even to throw away. They may
  lead to a page of the inspector's, as a link does.
- A name is read strictly: what is not plainly `name`, `name:port` or `[address]:port` is nobody's.
- No page loads, frames or runs anything but the inspector's own style sheet and scripts.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

_SAFE_METHODS = frozenset({"GET", "HEAD"})

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([0-9a-z._-]+))(?::[0-9]{1,5})?", re.ASCII)
_INGEST = re.compile(r"/stream(/[^/]+)?$|/api/(?!local/)|/[^/]+/api/")
_SCHEME = re.compile(r"\A[a-z][0-9a-z+.-]*://", re.ASCII)

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        " connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}

_PREFLIGHT = {
    "access-control-allow-methods": "POST",
    "access-control-allow-headers": "content-type, content-encoding, x-sentry-auth, sentry-trace, baggage",
    "access-control-allow-private-network": "true",
    "access-control-max-age": "600",
}


class Guard:
    """ASGI middleware for `app`; `hosts` are the names answered for, without ports or brackets."""

    def __init__(self, app: ASGIApp, hosts: Collection[str] = LOOPBACK) -> None:
        """Guard `app`."""
        self._app = app
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse with 403, answer a preflight, or pass on; and add the headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin", "")
        reads_answer = is_ingest(scope["path"]) and is_loopback(origin)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = MutableHeaders(scope=message)
                added.update(_HEADERS)
                if reads_answer:
                    added.update({"access-control-allow-origin": origin, "vary": "Origin"})
            await send(message)

        answer = self._app
        if reason := self._reason_to_refuse(scope, headers):
            answer = JSONResponse({"detail": reason}, HTTPStatus.FORBIDDEN)
        elif scope["method"] == "OPTIONS" and reads_answer:
            answer = Response(status_code=HTTPStatus.NO_CONTENT, headers=_PREFLIGHT)
        await answer(scope, receive, send_guarded)

    def _reason_to_refuse(self, scope: Scope, headers: Headers) -> str | None:
        host = headers.get("host", "")
        if not self._answers_for(hostname(host)):
            return "The inspector answers only for loopback names, such as 127.0.0.1 or localhost."
        if scope["method"] in _SAFE_METHODS:
            foreign = _is_foreign_read(headers)
            return "Other sites may link to the inspector, and read nothing." if foreign else None
        origin = headers.get("origin")
        if origin is None or origin == f"http://{host}":
            return None
        if not is_ingest(scope["path"]):
            return "Only the inspector's own pages may do this."
        if is_loopback(origin):
            return None
        return "The inspector takes nothing from web pages of other sites."

    def _answers_for(self, name: str | None) -> bool:
        return name is not None and (name in self._hosts or _is_address(name))


def is_ingest(path: str) -> bool:
    """Whether SDKs send to this path."""
    return _INGEST.match(path) is not None


def is_loopback(origin: str) -> bool:
    """Whether an Origin is a page on this machine, under a name that always means this machine."""
    scheme = _SCHEME.match(origin.lower())
    name = (hostname(origin[scheme.end() :]) if scheme else None) or ""
    return name in LOOPBACK or name.endswith(".localhost")


def hostname(host: str) -> str | None:
    """Return the name in a Host header: lower case, no port or brackets; None if malformed."""
    found = _HOST.fullmatch(host.lower())
    return found and (found[1] or found[2])


def _is_foreign_read(headers: Headers) -> bool:
    """Whether a browser reads this for a page of another origin, rather than following a link."""
    if headers.get("sec-fetch-site", "none") in {"none", "same-origin"}:
        return False
    return (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) != (
        "navigate",
        "document",
    )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
