"""Credentials by their own shape: the examples of the table are the tests; and what only looks like one."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sentry_sdk

from sentry_asgi import SentryMiddleware
from sentry_asgi._redaction import names, redact
from sentry_asgi._redaction.hints import ALL_HINTS, found_hints
from sentry_asgi._redaction.names import FILTERED
from sentry_asgi._redaction.shapes import HINTS, SHAPES, SHORTEST, TOKENS, Shape, runs
from sentry_asgi._redaction.texts import clean_text
from sentry_asgi._sdk import events as sdk_events

from .support import SDK_VERSION, Scope, Sentry, http_scope, respond, run

each = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.kind)

PLACES = {
    "alone": "{}",
    "prose": "Incorrect key provided: {}. You can find yours in the settings.",
    "quoted": "value '{}' was refused",
    "json": '{{"data": ["{}", 1]}}',
    "url": "GET https://example.org/a/{}/b",
    "repr": "Client(base='x', value='{}')",
    "lines": "first\n{}\nlast",
    "assigned": "x={}",
    "twice": "{0} and {0}",
}


def secret_of(shape: Shape) -> str:
    found = shape.pattern.search(shape.example)
    assert found is not None
    return found[1] if shape.pattern.groups else found[0]


@each
@pytest.mark.parametrize("place", PLACES)
def test_a_credential_goes_wherever_it_stands(shape: Shape, place: str) -> None:
    cleaned = clean_text(PLACES[place].format(shape.example))
    assert secret_of(shape) not in cleaned
    assert FILTERED in cleaned
    assert clean_text(cleaned) == cleaned


@each
def test_whoever_has_none_of_the_hints_has_no_such_credential(shape: Shape) -> None:
    where = runs(shape.example.lower()) if shape in TOKENS else shape.example.lower()
    assert any(hint in where for hint in shape.hints)
    assert found_hints(shape.example.lower(), ALL_HINTS)
    assert all(hint == hint.lower() and len(hint) > 2 for hint in HINTS)


@pytest.mark.parametrize(
    "text",
    [
        "sk-learn is a library", "the task-queue and disk-cache", "npm_config_registry=x", "hf_home", "pypi-server",
        "AKIA is a prefix", "ASIA and Europe", "key-value pairs", "en-us1 and eu-us2", "github_pattern", "ghp_short",
        "glpat-", "xoxo", "r8_x", "dapiary", "see SG. for more", "msg.format(x)", "https://hooks.slack.com/docs",
        "https://discord.com/api/webhooks", "https://api.telegram.org/bots", "sbp_1", "ntn_", "shpat_x", "dop_v1_x",
        "sk_live_", "AIzawa", "ya29.", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "f47ac10b-58cc-4372-a567-0e02b2c3d479", "arn:aws:iam::123456789012:role/reader", "sha256:" + "ab" * 32,
        "/srv/app/static/js/main.0a1b2c3d.js", "commit 0123456789abcdef0123456789abcdef01234567",
    ],
)  # fmt: skip
def test_what_only_looks_like_one_stays(text: str) -> None:
    assert clean_text(text) == text


@each
def test_none_is_shorter_than_the_shortest(shape: Shape) -> None:
    if shape not in TOKENS:
        return
    shorter = [secret_of(shape)[:size] for size in range(SHORTEST)]
    assert not any(map(shape.pattern.search, shorter))


@each
def test_a_text_that_is_nothing_else_goes_from_an_event(shape: Shape) -> None:
    event: dict[str, Any] = {
        "extra": {"value": shape.example},
        "breadcrumbs": {"values": [{"data": {"said": [shape.example]}}]},
    }
    redact.redact(event, [])
    assert secret_of(shape) not in json.dumps(event)


@pytest.mark.parametrize("where", ["message", "breadcrumb", "extra", "exception", "span"])
def test_none_leaves_whatever_kind_of_report_it_is_in(sentry: Sentry, where: str) -> None:
    secrets = [secret_of(shape) for shape in SHAPES[:8]]
    texts = [f"refused: {shape.example}" for shape in SHAPES[:8]]

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if where == "breadcrumb":
            for text in texts:
                sentry_sdk.add_breadcrumb(message=text)
            sentry_sdk.capture_message("hello")
        elif where == "extra":
            sentry_sdk.get_isolation_scope().set_extra("texts", texts)
            sentry_sdk.capture_message("hello")
        elif where == "span":
            for text in texts:
                with sentry_sdk.start_span(op="http.client", name=text):
                    pass
        elif where == "exception":
            raise ValueError(" ".join(texts))
        else:
            sentry_sdk.capture_message(" ".join(texts))
        await respond(send)

    if where == "span" and SDK_VERSION >= (3, 0):
        pytest.skip("there are streamed spans alone")
    sentry.init(**({"traces_sample_rate": 1.0} if where == "span" else {}))
    if where == "exception":
        with pytest.raises(ValueError, match="refused"):
            run(SentryMiddleware(app), http_scope())
    else:
        run(SentryMiddleware(app), http_scope())
    reports = json.dumps([*sentry.events, *sentry.transport.items("transaction")])
    assert where == "span" or sentry.events
    assert not [secret for secret in secrets if secret in reports]


# Ordinary things, by name: variables of frames and keys of data.
HARMLESS: dict[str, Any] = {
    "eos_token": "</s>", "next_page_token": "CAUQAA", "n_tokens": 512, "tokens_remaining": 100, "token_ids": [1, 2],
    "auth_method": "password", "key_id": "2024-01", "row_key": "a#b", "session_state": "active",
    "db_session": "<sqlalchemy.orm.session.Session object at 0x7f0>", "has_password": "yes", "password_field": "pw1",
    "token_url": "https://a.example/oauth", "session_factory": "sessionmaker(bind=None)", "is_token": "yes",
    "cookie_samesite": "lax", "token_endpoint": "/token",
    "password_help_text": "At least 8 letters", "billed_tokens": 12, "session_middleware": "SessionMiddleware",
}  # fmt: skip


@pytest.mark.parametrize("name", HARMLESS)
def test_an_ordinary_thing_stays_whatever_it_sounds_like(name: str) -> None:
    value = HARMLESS[name]
    event: dict[str, Any] = {"extra": {name: value}}
    redact.redact(event, [])
    assert event["extra"][name] == value
    frame = {"function": "f", "module": "app", "vars": {name: repr(value)}}
    event = {"exception": {"values": [{"stacktrace": {"frames": [frame]}}]}}
    redact.redact(event, [])
    shown = event["exception"]["values"][0]["stacktrace"]["frames"][0]["vars"]
    assert sdk_events.plain(shown)[name] == repr(value)


CARRIES_ONE = [
    "reset_token", "password_reset_token", "reset_password_token", "reset_password", "change_password", "new_password",
    "forgot_password_token", "email_change_token", "new_token", "generated_token", "start_token", "end_session_token",
    "auth_header", "authHeader", "csrf_header", "cookie_header", "secret_header", "session_url", "reset_token_url",
    "client_session", "http_session", "query_key", "hash_key", "message_key", "use_token", "with_token", "show_secret",
    "token_id", "session_id", "access_key_id", "secret_path", "sync_token", "auth_state", "token_in", "private_key_pem",
]  # fmt: skip


@pytest.mark.parametrize("name", CARRIES_ONE)
def test_a_name_of_what_carries_a_secret_is_a_secrets(name: str) -> None:
    event: dict[str, Any] = {"extra": {name: "hunter2-of-alice"}}
    redact.redact(event, [])
    assert event["extra"][name] == FILTERED


@pytest.mark.parametrize("name", ["tokens", "Tokens", "active_tokens", "sessions"])
@pytest.mark.parametrize("value", [512, 0.5, "512"])
def test_what_only_counts_stays(name: str, value: Any) -> None:
    event: dict[str, Any] = {"extra": {name: value}}
    redact.redact(event, [])
    assert event["extra"] == {name: value}
    assert names.clean_data({name: value}) == {name: value}
    assert list(names.secret_data({name: value})) == []


@pytest.mark.parametrize("name", ["token", "backup_codes", "passwords"])
def test_a_number_may_be_a_secret(name: str) -> None:
    assert names.clean_data({name: 123456, "tokens": ["a1"]}) == {
        name: FILTERED,
        "tokens": FILTERED,
    }


@pytest.mark.parametrize("value", [None, True, False, "", "None", "True", "''", "[]", "{}"])
def test_was_it_none_is_told(value: Any) -> None:
    event: dict[str, Any] = {"extra": {"token": value, "password": value}}
    redact.redact(event, [])
    assert event["extra"] == {"token": value, "password": value}


@pytest.mark.parametrize(
    "text",
    [
        "WHERE api_key = $1 AND token = %s", "token=%(token)s", "token={token}", "password=***", "password: ***",
        "token = get_token(user)", "token: <token>", "password=${DB_PASSWORD}", "token='{}'", "UPDATE x SET token=?",
        "token = :token", "password='xxxxx'", "session = Session(bind)",
    ],
)  # fmt: skip
def test_what_stands_for_a_value_stays(text: str) -> None:
    assert clean_text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "password=hunter2(abc)", "password: hunter2(abc)", "password=***hunter2",
        "password=$1hunter2", "password=?hunter2", "token=<a>hunter2", "password = hunter2(abc)!x",
    ],
)  # fmt: skip
def test_what_only_begins_like_a_stand_in_is_a_value(text: str) -> None:
    assert "hunter2" not in clean_text(text)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("DB_PASS=hunter2\nSTRIPE_KEY=abc DEBUG=1", f"DB_PASS={FILTERED}\nSTRIPE_KEY={FILTERED} DEBUG=1"),
        ("SMTP_PW='hunter2'", f"SMTP_PW='{FILTERED}'"),
        ("SORT_KEY=$1", "SORT_KEY=$1"),
        ("sort_key=name", "sort_key=name"),
    ],
)  # fmt: skip
def test_variables_of_the_environment_go_where_they_are_written_down(
    text: str, cleaned: str
) -> None:
    assert clean_text(text) == cleaned


@pytest.mark.parametrize("name", ["db_pass", "creds", "otp", "pw", "encryption_key", "signing_key"])
def test_variables_that_are_secret_by_other_words_go(name: str) -> None:
    frame = {"function": "f", "module": "app", "vars": {name: "'hunter2'"}}
    event: dict[str, Any] = {"exception": {"values": [{"stacktrace": {"frames": [frame]}}]}}
    redact.redact(event, [])
    assert "hunter2" not in str(
        sdk_events.plain(event["exception"]["values"][0]["stacktrace"]["frames"][0]["vars"])
    )
