"""Sending a request again, in the inspector: to the app that `dev` serves, and to no other.

`POST /api/local/app` says where an app is: `{"service": "shop", "url": "http://127.0.0.1:8000", "token": "…"}`.
The rules:

- The address is one of this machine's loopback; it and the token stay in memory.
- The app's process puts in what it remembers (`again.py`). After a reload it does not: then what was
  kept is sent, which has no secrets, and what it lacks is told.
- No redirect is followed: what is answered is what the app answers.
"""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .curl import FILTERED
from .digest import Data
from .envelope import json_object
from .exchanges import MAX_BODY, Exchange, find_exchange
from .guard import is_loopback
from .questions import QuestionError
from .requests import find_request
from .store import Store
from .values import as_id, as_line

MAX_RECORD = 10_000
MAX_APPS = 100
_PATIENCE = 60.0
_MOMENT = 2.0
_OWN = frozenset({"connection", "content-length", "transfer-encoding", "expect", "upgrade", "te"})


@dataclass(frozen=True, slots=True)
class App:
    """Where an app is served, and the token that its process knows."""

    host: str
    port: int
    token: str


class Apps:
    """The apps that `dev` serves, by service."""

    def __init__(self, store: Store) -> None:
        """Know of none."""
        self._store = store
        self._known: dict[str, App] = {}

    def register(self, data: bytes) -> None:
        """Take what a process says of itself. Raises BadEnvelopeError if it is no JSON object."""
        record = json_object(data, "The app", MAX_RECORD)
        url, service = as_line(record.get("url")), as_line(record.get("service"), 60)
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            return
        if parts.scheme == "http" and port and parts.hostname and is_loopback(url):
            self._known.pop(service, None)
            self._known[service] = App(parts.hostname, port, as_line(record.get("token"), 100))
            for oldest in list(self._known)[:-MAX_APPS]:
                del self._known[oldest]

    def send(self, span_id: str) -> Data | None:
        """Send a request again; None if it is not here. Raises QuestionError if it cannot be sent."""
        listed = find_request(self._store, as_id(span_id))
        if listed is None:
            return None
        exchange = find_exchange(self._store, span_id=listed.span_id)
        if exchange is None:
            return None
        app = self._known.get(listed.project)
        if app is None:
            raise QuestionError(
                f"No app {listed.project!r} is served by `sentry-asgi dev` now, to be sent this again."
            )
        status, again, remembered = _sent(app, exchange, listed.span_id)
        return {
            "kind": "again",
            "request": listed.summary.title,
            "was": {"status": exchange.status, "body": exchange.response_body or ""},
            "now": {"status": status, "body": self._body(again)},
            "lacks": [] if remembered else list(_lacks(exchange)),
            "request_id": again,
            "path": f"/requests/{again}" if again else "",
        }

    def _body(self, span_id: str) -> str:
        """What the app's process tells of its answer, which is without secrets, a moment later."""
        deadline = time.monotonic() + _MOMENT
        while span_id and time.monotonic() < deadline:
            told = find_exchange(self._store, span_id=span_id)
            if told is not None:
                return told.response_body or ""
            time.sleep(0.02)
        return ""


def _sent(app: App, exchange: Exchange, span_id: str) -> tuple[int, str, bool]:
    """The status of the answer, the span id of the new request, and whether it was as it was."""
    connection = http.client.HTTPConnection(app.host, app.port, timeout=_PATIENCE)
    target = exchange.path + (f"?{exchange.query}" if exchange.query else "")
    headers = {
        name: value
        for name, value in exchange.request_headers
        if name.lower() not in _OWN and FILTERED not in value
    }
    headers["x-sentry-asgi-again"] = f"{app.token}:{span_id}"
    body = (exchange.request_body or "").encode()
    try:
        connection.request(exchange.method, target, body or None, headers)
        answer = connection.getresponse()
        answer.read(MAX_BODY)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise QuestionError(f"The app could not be sent this: {error}.") from error
    finally:
        connection.close()
    told = answer.getheader("x-sentry-asgi-request") or ""
    again, _, memory = told.partition(";")
    return answer.status, as_id(again), memory == "as it was"


def _lacks(exchange: Exchange) -> Any:
    for name, value in exchange.request_headers:
        if FILTERED in value:
            yield f"the header {name}"
    if FILTERED in exchange.query:
        yield "parts of the query"
    if FILTERED in (exchange.request_body or ""):
        yield "parts of the body"
    if exchange.request_body is None and exchange.request_body_size:
        yield "the body"
