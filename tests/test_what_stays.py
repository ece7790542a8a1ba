"""What an event keeps: what code has written, and what says nothing, whatever a client sends or a thing is called."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
import sentry_sdk

from sentry_asgi import SentryMiddleware
from sentry_asgi._redaction.names import FILTERED

from .support import SDK_VERSION, Scope, Sentry, http_scope, pii, problems, run

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
    if SDK_VERSION < (3, 0):
        with sentry_sdk.start_span(op="db.sql", name="SELECT 1", origin="manual") as span:
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


class Login(NamedTuple):
    user: str
    password: str


async def has_nothing(scope: Scope, receive: Any, send: Any) -> None:
    await receive()
    token = session = None
    tokens: list[Any] = []
    creds: dict[str, Any] = {}
    password, secret, api_key = "", 0, b""
    sentry_sdk.get_current_scope().set_extra("token", None)
    sentry_sdk.get_current_scope().set_extra("auth", SECRET)
    sentry_sdk.add_breadcrumb(message="x", data={"token": None, "secret": SECRET})
    raise ValueError(token, session, password, tokens, creds, secret, api_key)


BODY = {"password": None, "token": "", "auth": [], "secret": SECRET, "inner": [{"token": None}]}


def fail_with_nothing(body: Any = BODY) -> None:
    headers = [
        (b"x-api-key", b""),
        (b"content-type", b"application/json"),
        (b"cookie", b"sid=; a=1"),
    ]
    scope = http_scope(method="POST", query_string=b"token=&a=1", headers=headers)
    message = {"type": "http.request", "body": json.dumps(body).encode()}
    with contextlib.suppress(ValueError):
        run(SentryMiddleware(has_nothing), scope, [message])


def test_what_says_nothing_stays_whatever_it_is_called(sentry: Sentry) -> None:
    sentry.init(**pii(on=True))
    fail_with_nothing()
    event = sentry.event
    shown = event["exception"]["values"][0]["stacktrace"]["frames"][-1]["vars"]
    names = ("token", "session", "password", "tokens", "creds", "secret", "api_key")
    assert [shown[name] for name in names] == ["None", "None", "''", [], {}, "0", "b''"]
    assert (event["extra"]["token"], event["extra"]["auth"]) == (None, FILTERED)
    assert event["breadcrumbs"]["values"][0]["data"] == {"token": None, "secret": FILTERED}
    assert event["request"]["data"] == {**BODY, "secret": FILTERED}
    assert event["request"]["query_string"] == "token=&a=1"
    assert event["request"]["headers"]["x-api-key"] == ""
    assert event["request"]["cookies"] == {"sid": "", "a": "1"}
    assert SECRET not in json.dumps(event)


def test_so_does_it_in_a_list_that_a_client_sends(sentry: Sentry) -> None:
    fail_with_nothing([{"token": None}, {"token": SECRET}, 1])
    assert sentry.event["request"]["data"] == [{"token": None}, {"token": FILTERED}, 1]


@pytest.mark.skipif(SDK_VERSION >= (3, 0), reason="SDK 3 has no scrubber")
def test_a_scrubber_that_the_user_has_given_does_as_it_says(sentry: Sentry) -> None:
    from sentry_sdk.scrubber import EventScrubber

    sentry.init(event_scrubber=EventScrubber(denylist=["token", "password"]))
    fail_with_nothing()
    shown = sentry.event["exception"]["values"][0]["stacktrace"]["frames"][-1]["vars"]
    assert (shown["token"], shown["session"]) == (FILTERED, "None")


async def has_arguments(scope: Scope, receive: Any, send: Any) -> None:
    argv = ["mysql", "--password", SECRET]
    others = ("mysql", "--token", SECRET, "--token", "-v")
    named = Login(user="bob", password=SECRET)
    deep = [[[[named]]]]
    raise ValueError(len(argv), len(others), len(deep))


def test_arguments_and_namedtuples_in_a_frame_show_no_secret(sentry: Sentry) -> None:
    with contextlib.suppress(ValueError):
        run(SentryMiddleware(has_arguments))
    shown = sentry.event["exception"]["values"][0]["stacktrace"]["frames"][-1]["vars"]
    assert shown["argv"] == ["'mysql'", "'--password'", FILTERED]
    assert shown["others"] == ["'mysql'", "'--token'", FILTERED, "'--token'", "'-v'"]
    assert shown["named"] == {"user": "'bob'", "password": FILTERED}
    assert SECRET not in json.dumps(sentry.event)


async def greets(scope: Scope, receive: Any, send: Any) -> None:
    name = "gabriela"
    logging.getLogger("shop").warning("user: %s", name)
    sentry_sdk.add_breadcrumb(message=f"hello {name}", data={"name": name})
    sentry_sdk.set_context("customer", {"name": name})
    sentry_sdk.get_current_scope().set_extra("name", name)
    sentry_sdk.set_tag("name", name)
    raise ValueError(f"no such user: {name}")


BASIC = [(b"authorization", b"Basic Z2FicmllbGE6aGVsbG8xMjM=")]  # of "gabriela:hello123"


def test_a_text_that_was_not_cut_holds_no_piece_of_a_secret(sentry: Sentry) -> None:
    with contextlib.suppress(ValueError):
        run(SentryMiddleware(greets), http_scope(headers=BASIC))
    event = sentry.event
    (value,) = event["exception"]["values"]
    assert value["value"] == "no such user: gabriela"
    assert value["stacktrace"]["frames"][-1]["vars"]["name"] == "'gabriela'"
    (crumb,) = event["breadcrumbs"]["values"][-1:]
    assert (crumb["message"], crumb["data"]) == ("hello gabriela", {"name": "gabriela"})
    assert (event["contexts"]["customer"], event["tags"]) == ({"name": "gabriela"},) * 2
    assert event["extra"]["name"] == "gabriela"


async def cuts(scope: Scope, receive: Any, send: Any) -> None:
    body = (await receive())["body"]
    chunks = [body[:14], body[14:]]
    raise ValueError("x" * 9_000 + " gabriela:hello123", chunks)


def test_a_text_that_was_cut_and_a_chunk_of_a_body_show_no_piece_of_a_secret(
    sentry: Sentry,
) -> None:
    body = [{"type": "http.request", "body": b"it is gabriela:hello123, he says"}]
    with contextlib.suppress(ValueError):
        run(SentryMiddleware(cuts), http_scope(method="POST", headers=BASIC), body)
    shown = sentry.event["exception"]["values"][0]["stacktrace"]["frames"][-1]["vars"]
    assert shown["chunks"] == [f"b'it is {FILTERED}'", f"b':{FILTERED}, he says'"]


@pytest.mark.parametrize(
    "said",
    [
        *(
            "token=&x=1",
            "password=0",
            "password=[]",
            "token=undefined",
            "token=None.",
            "--token None",
        ),
        *("https://h/?token=None", "https://h/?token=&x=1", "password={}", "token: null,"),
    ],
)
def test_a_text_that_says_that_there_is_nothing_stays(sentry: Sentry, said: str) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        sentry_sdk.capture_message(said)

    run(SentryMiddleware(app))
    assert sentry.event["message"] == said
