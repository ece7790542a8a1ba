"""`sentry_asgi.privacy.scrub`: secrets removed from what no event processor sees."""

from __future__ import annotations

import json
import logging
from typing import Any, NamedTuple

import pytest
import sentry_sdk
from sentry_sdk.integrations.logging import LoggingIntegration

from sentry_asgi import SentryMiddleware
from sentry_asgi._redaction import redact
from sentry_asgi.privacy import FILTERED, scrub

from .support import SDK_VERSION, Scope, Sentry, http_scope, respond, run

KNOWN = "hunter2-of-alice"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("password=hunter2", f"password={FILTERED}"),
        ({"token": "x", "page": 2}, {"token": FILTERED, "page": 2}),
        ([{"a": "Bearer abcdEFGH"}], [{"a": f"Bearer {FILTERED}"}]),
        (
            {"sentry.message.parameter.password": "x"},
            {"sentry.message.parameter.password": FILTERED},
        ),
    ],
)
def test_what_is_secret_by_its_name_or_looks_is_replaced(value: Any, expected: Any) -> None:
    before = repr(value)
    assert scrub(value) == expected
    assert repr(value) == before


@pytest.mark.parametrize(
    "value",
    [None, 7, "nothing", {"a": [1, {"b": "c"}]}, [], {"body": "a", "attributes": {"b": "c"}}],
)
def test_what_holds_nothing_secret_is_given_back_itself(value: Any) -> None:
    assert scrub(value) is value


def test_what_cannot_be_looked_at_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(event: Any, secrets: Any, *rules: Any, **more: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(redact, "redact", broken)
    value: Any = {"a": "b"}
    assert scrub(value) == FILTERED


@pytest.mark.skipif(SDK_VERSION < (2, 54), reason="logs had another hook before")
def test_logs_are_cleaned_of_a_requests_own_secrets(sentry: Sentry) -> None:
    def before_send_log(log: Any, hint: Any) -> Any:
        return scrub(log)

    enabled = {"enable_logs": True} if SDK_VERSION < (3, 0) else {}
    sentry.init(before_send_log=before_send_log, **enabled)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        sentry_sdk.logger.warning(f"no such key: {KNOWN}")
        sentry_sdk.logger.warning("seen", attributes={"said": f"it was {KNOWN}", "page": 2})
        await respond(send)

    run(SentryMiddleware(app), http_scope(headers=[(b"x-api-key", KNOWN.encode())]))
    sentry_sdk.flush()
    logs = [one for batch in sentry.transport.items("log") for one in batch["items"]]
    assert [one["body"] for one in logs] == [f"no such key: {FILTERED}", "seen"]
    assert logs[1]["attributes"]["said"]["value"] == f"it was {FILTERED}"
    assert logs[1]["attributes"]["page"]["value"] == 2
    assert logging.getLogger("sentry_asgi").handlers == []


@pytest.mark.skipif(SDK_VERSION < (2, 54), reason="logs had another hook before")
@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        ("token=%s for %s", (KNOWN, "bob"), f"token={FILTERED} for bob"),
        (
            "login with %(password)s",
            ({"password": KNOWN, "user": "bob"},),
            f"login with {FILTERED}",
        ),
        ("nobody", (), "nobody"),
    ],
)
def test_a_logs_parameters_are_cleaned_where_its_text_or_their_names_tell(
    sentry: Sentry, text: str, arguments: Any, expected: str
) -> None:
    enabled = {"enable_logs": True} if SDK_VERSION < (3, 0) else {}
    sentry.init(
        before_send_log=lambda log, _: scrub(log),
        integrations=[LoggingIntegration()],
        **enabled,
    )

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        logging.getLogger("shop").warning(text, *arguments)
        await respond(send)

    run(SentryMiddleware(app))
    sentry_sdk.flush()
    (log,) = [one for batch in sentry.transport.items("log") for one in batch["items"]]
    assert log["body"] == expected
    assert KNOWN not in json.dumps(log)
    assert ("bob" in json.dumps(log["attributes"])) == bool(arguments)


def test_a_records_arguments_by_name_are_cleaned_in_an_event_too(sentry: Sentry) -> None:
    sentry.init(integrations=[LoggingIntegration(event_level=logging.ERROR)])

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        logging.getLogger("shop").error("login with %(password)s", {"password": KNOWN})
        await respond(send)

    run(SentryMiddleware(app))
    assert sentry.event["logentry"]["formatted"] == f"login with {FILTERED}"
    assert KNOWN not in json.dumps(sentry.event)


class Login(NamedTuple):
    user: str
    password: str


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (("a", f"token={KNOWN}"), ("a", f"token={FILTERED}")),
        (("password", KNOWN), ("password", FILTERED)),
        (Login("bob", KNOWN), Login("bob", FILTERED)),
        (
            {"body": "a", "attributes": None, "token": KNOWN},
            {"body": "a", "attributes": None, "token": FILTERED},
        ),
    ],
)
def test_what_is_given_back_is_of_the_type_that_was_given(value: Any, expected: Any) -> None:
    assert (scrub(value), type(scrub(value))) == (expected, type(expected))


def test_a_text_that_is_too_long_is_given_back_as_a_text() -> None:
    scrubbed = scrub("x" * 1_000_000)
    assert type(scrubbed) is str
    assert scrubbed.endswith("xxx...")
