"""Sending a request again, in the inspector: to the app that `dev` serves, and to no other.

`POST /api/local/app` says where an app is: `{"service": "shop", "url": "http://127.0.0.1:8000", "token": "…"}`, and how
it is made, for tests of it: `{"target": "shop:app", "factory": false, "wrapped": false, "lifespan": true}`.
The rules:

- The address is one of this machine's loopback; it and the token stay in memory.
- The app's process puts in what it remembers (`again.py`). After a reload it does not: then what was
  kept is sent, which has no secrets, and what it lacks is told. So it is with what was edited (`editing.py`).
- No redirect is followed: what is answered is what the app answers.
"""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from .digest import Data
from .editing import Form, Outgoing, as_it_was, edited, form_of, read_form
from .envelope import json_object
from .exchanges import MAX_BODY, Exchange, find_exchange
from .guard import is_loopback
from .python_code import Served
from .questions import QuestionError
from .requests import find_request
from .store import Listed, Store
from .values import as_id, as_line

MAX_RECORD = 10_000
MAX_APPS = 100
_PATIENCE = 60.0
_MOMENT = 2.0
_PAGE_MOMENT = 0.5


@dataclass(frozen=True, slots=True)
class App:
    """Where an app is served, the token that its process knows, and how it is made."""

    host: str
    port: int
    token: str
    served: Served


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
            token = as_line(record.get("token"), 100)
            self._known[service] = App(parts.hostname, port, token, _served(record))
            for oldest in list(self._known)[:-MAX_APPS]:
                del self._known[oldest]

    def served(self, service: str) -> Served | None:
        """How the app of that service is made, if it is served now."""
        app = self._known.get(service)
        return None if app is None else app.served

    def form(self, span_id: str, given: bytes = b"") -> tuple[Listed, Exchange, Form] | None:
        """A request for the form, with what somebody has changed in it; None if it is not here."""
        found = self._find(span_id)
        if found is None:
            return None
        shown = form_of(as_it_was(found[1]))
        return *found, read_form(given, shown) or shown

    def send(self, span_id: str, given: bytes = b"") -> Data | None:
        """Send a request again, edited if a form is given; None if it is not here.

        Raises QuestionError if it cannot be sent.
        """
        found = self._find(span_id)
        if found is None:
            return None
        listed, exchange = found
        outgoing = as_it_was(exchange)
        form = read_form(given, form_of(outgoing))
        if form is not None:
            outgoing = edited(outgoing, form)
        app = self._known.get(listed.project)
        if app is None:
            raise QuestionError(
                f"No app {listed.project!r} is served by `sentry-asgi dev` now, to be sent this again."
            )
        status, again, how = _sent(app, outgoing, listed.span_id)
        return {
            "kind": "again",
            "request": listed.summary.title,
            "was": {"status": exchange.status, "body": exchange.response_body or ""},
            "now": {"status": status, "body": self._body(again)},
            "lacks": _lacks(outgoing, how),
            "request_id": again,
            "path": f"/requests/{again}" if again else "",
        }

    def _find(self, span_id: str) -> tuple[Listed, Exchange] | None:
        listed = find_request(self._store, as_id(span_id))
        exchange = listed and find_exchange(self._store, span_id=listed.span_id)
        return (listed, exchange) if listed and exchange else None

    def wait_for_page(self, span_id: str) -> None:
        """Wait a moment for a request that was sent to have a page."""
        deadline = time.monotonic() + _PAGE_MOMENT
        while find_request(self._store, span_id) is None and time.monotonic() < deadline:
            time.sleep(0.02)

    def _body(self, span_id: str) -> str:
        """What the app's process tells of its answer, which is without secrets, a moment later."""
        deadline = time.monotonic() + _MOMENT
        while span_id and time.monotonic() < deadline:
            told = find_exchange(self._store, span_id=span_id)
            if told is not None:
                return told.response_body or ""
            time.sleep(0.02)
        return ""


def _served(record: Data) -> Served:
    marks = ("factory", "wrapped", "lifespan")
    return Served(
        as_line(record.get("target")), **{name: record.get(name) is True for name in marks}
    )


def _sent(app: App, outgoing: Outgoing, span_id: str) -> tuple[int, str, str]:
    """The status of the answer, the span id of the new request, and how it was sent."""
    connection = http.client.HTTPConnection(app.host, app.port, timeout=_PATIENCE)
    headers = list(outgoing.wire_headers())
    if not any(name.lower() == "host" for name, _ in headers):
        headers.insert(0, ("host", f"{app.host}:{app.port}".encode()))
    headers.append(("x-sentry-asgi-again", f"{app.token}:{span_id}".encode()))
    if outgoing.unedited is not None:
        headers.append(("x-sentry-asgi-unedited", ",".join((":", *outgoing.unedited)).encode()))
    try:
        connection.putrequest(
            outgoing.method, outgoing.target, skip_host=True, skip_accept_encoding=True
        )
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders(outgoing.body.encode() or None)
        answer = connection.getresponse()
        answer.read(MAX_BODY)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise QuestionError(f"The app could not be sent this: {error}.") from error
    finally:
        connection.close()
    again, _, how = (answer.getheader("x-sentry-asgi-request") or "").partition(";")
    return answer.status, as_id(again), how


def _lacks(outgoing: Outgoing, how: str) -> list[str]:
    """What was not as it was, in words."""
    if how == "as it was":
        return []
    state, _, names = how.partition(" ")
    return [
        words
        for name, words in outgoing.lacks().items()
        if state != "lacks" or name in names.split(",")
    ]
