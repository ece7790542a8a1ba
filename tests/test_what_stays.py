"""What an event keeps: what code has written, and what says nothing, whatever a client sends or a thing is called."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import sentry_sdk

from sentry_asgi import SentryMiddleware
from sentry_asgi._redaction.names import FILTERED

from .support import Scope, Sentry, http_scope, problems, run

SECRET = "hunter2-of-alice"


def places(value: Any, path: str = "") -> Iterator[str]:
    """Where something was replaced, in a key or a value."""
    if isinstance(value, dict):
        for key, one in value.items():
            if FILTERED in key:
                yield f"{path}/{key}"
            yield from places(one, f"{path}/{key}")
    elif isinstance(value, list):
        for at, one in enumerate(value):
            yield from places(one, f"{path}/{at}")
    elif isinstance(value, str) and FILTERED in value:
        yield path


class Routed:
    """A framework's way to say which route a request has taken."""

    path = "/admin/export/{id}"


async def says_much(scope: Scope, receive: Any, send: Any) -> None:
    scope["route"] = Routed()
    sentry_sdk.set_tag("http.feature", "on")
    sentry_sdk.add_breadcrumb(category="httplib.sql", type="http", message="x", level="warning")
    with sentry_sdk.start_span(op="db.sql", name="SELECT 1", origin="manual") as span:
        if hasattr(span, "set_data"):
            span.set_data("db.operation", 1)
    raise ValueError("nope")


@pytest.mark.parametrize(
    "word",
    [
        *("http", "warning", "status_code", "route", "httplib.sql", "http.feature", "feature"),
        *("/admin/export", "admin", "/admin/export/{id}", "example.org", "example", "operation"),
        *("db.operation", "CPython", "POST", "http.server", "manual", "response", "content-length"),
    ],
)
def test_a_word_that_code_has_written_is_no_secret_because_a_client_sends_it(
    sentry: Sentry, word: str
) -> None:
    sentry.init(traces_sample_rate=1.0)
    headers = [(b"host", b"example.org"), (b"content-length", b"0")]
    query = f"token={quote(word)}".encode()
    scope = http_scope("/admin/export/7", method="POST", query_string=query, headers=headers)
    with contextlib.suppress(ValueError):
        run(SentryMiddleware(says_much), scope)
    events = [*sentry.events, *sentry.transport.items("transaction")]
    assert [problems(event) for event in events] == [[] for _ in events]
    where = {path for event in events for path in places(event) if "/vars/" not in path}
    assert where == {"/request/query_string"}


async def holds_it(scope: Scope, receive: Any, send: Any) -> None:
    sentry_sdk.set_context("mine", {SECRET: 1})
    sentry_sdk.get_current_scope().set_extra("given", {SECRET: 1})
    sentry_sdk.add_breadcrumb(message="x", data={SECRET: 1})
    shown = {SECRET: 1}
    raise ValueError(len(shown))


def test_what_the_application_calls_its_own_is_looked_at(sentry: Sentry) -> None:
    with contextlib.suppress(ValueError):
        run(SentryMiddleware(holds_it), http_scope(query_string=f"token={SECRET}".encode()))
    event = sentry.event
    assert event["contexts"]["mine"] == event["extra"]["given"] == {FILTERED: 1}
    assert event["breadcrumbs"]["values"][0]["data"] == {FILTERED: 1}
    assert SECRET not in json.dumps(event)
