"""What an application adds to the rules, and what Sentry is told of what was replaced."""

from __future__ import annotations

import copy
import json
import pickle
import re
from typing import Any

import pytest
import sentry_sdk

from sentry_asgi import SentryMiddleware
from sentry_asgi._connection.request import Connection
from sentry_asgi._events import event as _event
from sentry_asgi._redaction import redact
from sentry_asgi._redaction.rules import OF_KEYS, RULES, Names
from sentry_asgi._sdk import events as sdk_events
from sentry_asgi.privacy import FILTERED, Secrets, scrub

from .support import Scope, Sentry, http_scope, pii, run

OWN = Secrets(
    names=["tenant-code", "Kennwort"], unless=["session_kind"], shapes=[r"\bACME-([0-9]{6,20})\b"]
)


# What an application adds.


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"tenant_code": "x"}, {"tenant_code": FILTERED}),
        ({"xTenantCode": "x"}, {"xTenantCode": FILTERED}),
        ({"tenant_codes": "x"}, {"tenant_codes": "x"}),
        ({"session_kind": "guest"}, {"session_kind": "guest"}),
        ({"session_kinds": "guest"}, {"session_kinds": FILTERED}),
        ("kennwort=hunter2, page 2", f"kennwort={FILTERED}, page 2"),
        ("Tenant-Code: hunter2", f"Tenant-Code: {FILTERED}"),
        ("see ACME-123456 there", f"see ACME-{FILTERED} there"),
        ({"a": ["ACME-123456"]}, {"a": [f"ACME-{FILTERED}"]}),
        ("nothing", "nothing"),
    ],
)
def test_names_and_shapes_of_ones_own_are_looked_for_beside_the_others(
    value: Any, expected: Any
) -> None:
    assert scrub(value, OWN) == expected
    assert scrub({"token": "x"}, OWN) == {"token": FILTERED}


def test_what_one_application_adds_counts_for_no_other() -> None:
    assert scrub({"tenant_code": "x"}) == {"tenant_code": "x"}
    assert scrub({"session_kind": "x"}) == {"session_kind": FILTERED}


def test_the_middlewares_secrets_count_for_its_requests(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        seen = scrub({"tenant_code": "x", "session_kind": "guest"})
        sentry_sdk.set_context("mine", {"seen": seen["tenant_code"], "kind": seen["session_kind"]})
        known = [f"hunter{number}" for number in (2, 3, 4)]  # source lines are no data
        raise ValueError("no such tenant", [f"{one}-of-alice" for one in known], f"ACME-{123456}")

    sentry.init(**pii(on=True))
    scope = http_scope(
        query_string=b"tenant_code=hunter2-of-alice&session_kind=guest",
        headers=[
            (b"x-tenant-code", b"hunter3-of-alice"),
            (b"cookie", b"kennwort=hunter4-of-alice; session_kind=guest"),
            (b"content-type", b"application/json"),
        ],
    )
    body = b'{"tenant_code": "hunter5-of-alice", "session_kind": "guest"}'
    with pytest.raises(ValueError, match="tenant"):
        run(SentryMiddleware(app, secrets=OWN), scope, [{"type": "http.request", "body": body}])
    for frame in sentry.event["exception"]["values"][0]["stacktrace"]["frames"]:
        assert not re.search("hunter[2345]-of|ACME-1", json.dumps(frame.get("vars")))
    assert not re.search("hunter[2345]-of|ACME-1", sentry.event["exception"]["values"][0]["value"])
    request = sentry.event["request"]
    assert request["query_string"] == f"tenant_code={FILTERED}&session_kind=guest"
    assert request["cookies"] == {"kennwort": FILTERED, "session_kind": "guest"}
    assert request["data"] == {"tenant_code": FILTERED, "session_kind": "guest"}
    assert sentry.event["contexts"]["mine"] == {"seen": FILTERED, "kind": "guest"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"names": "tenant"}, "names must be a list, such as ['tenant_code'], got 'tenant'"),
        ({"unless": 7}, "unless must be a list, such as ['session_kind'], got 7"),
        ({"names": [7]}, "names must hold names, such as 'tenant_code', got 7"),
        ({"names": [" "]}, "names must hold names with letters, got ' '"),
        ({"shapes": "x"}, "shapes must be a list, such as ['acme_[a-z]{20}'], got 'x'"),
        ({"shapes": [re.compile(b"x")]}, "not for bytes"),
        ({"shapes": ["("]}, "shapes must hold regular expressions, got '(': "),
        ({"shapes": [7]}, "shapes must hold regular expressions, got 7: "),
        ({"shapes": ["x*"]}, "shapes must match one character at least, got 'x*'"),
    ],
)
def test_what_is_none_of_these_is_refused_with_what_is_right(arguments: Any, said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(said)):
        Secrets(**arguments)


def test_the_option_takes_secrets_alone() -> None:
    with pytest.raises(
        TypeError, match=r"secrets must be a sentry_asgi.privacy.Secrets or None, got \['x'\]"
    ):
        SentryMiddleware(lambda: None, secrets=["x"])  # type: ignore[arg-type]


def test_secrets_compare_and_are_copied_as_what_they_were_given() -> None:
    same = Secrets(
        names=("tenant-code", "Kennwort"),
        unless=("session_kind",),
        shapes=[re.compile(r"\bACME-([0-9]{6,20})\b")],
    )
    assert same == OWN
    assert hash(same) == hash(OWN)
    assert "tenant-code" in repr(OWN)
    assert "Rules" not in repr(OWN)
    for copied in (copy.copy(OWN), copy.deepcopy(OWN), pickle.loads(pickle.dumps(OWN))):
        assert copied == OWN
        assert scrub({"tenant_code": "x"}, copied) == {"tenant_code": FILTERED}


def test_every_row_of_the_table_tells_its_kind() -> None:
    assert RULES.keys["user_password"] == "password"
    assert RULES.keys["x"] == ""
    assert RULES.variables["SIGNING_KEY"] == "key"
    assert Names(keys=False)["pin"] == "code"
    assert set(OF_KEYS.groupindex) >= {"password", "token", "key", "secret", "session"}


# What Sentry is told.


def remarks(event: dict[str, Any]) -> dict[str, list[str]]:
    """By its place, the rules of each value that was replaced."""
    found: dict[str, list[str]] = {}

    def walk(meta: dict[str, Any], path: str) -> None:
        for key, inner in meta.items():
            if key == "":
                rules = [rule for rule, *_ in inner.get("rem", ())]
                found.update({path[1:]: rules} if rules else {})
            else:
                walk(inner, f"{path}/{key}")

    walk(event.get("_meta", {}), "")
    return found


def test_what_was_replaced_says_by_which_rule(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        scope_here = sentry_sdk.get_isolation_scope()
        scope_here.set_extra("db", {"dsn_of": "postgres://bob:hunter2@db", "pin_code": "1234"})
        scope_here.set_extra("rows", [{"name": "password", "value": "hunter2"}])
        scope_here.set_extra("argv", ["mysql", "--password", "hunter2"])
        scope_here.set_extra("query", {"query_string": "a=1&sig=hunter2"})
        scope_here.set_tag("said", "token=hunter2")
        sentry_sdk.add_breadcrumb(message="token=hunter2 ghp_" + "aB3dE6gH9" * 4)
        raise ValueError("no such key: hunter2-of-alice")

    sentry.init(**pii(on=True))
    headers = [
        (b"x-api-key", b"hunter2-of-alice"),
        (b"cookie", b"theme=dark; sid=hunter3-of-alice"),
        (b"content-type", b"application/json"),
    ]
    body = b'{"page": 2, "list": [{"password": "hunter4-of-alice"}]}'
    scope = http_scope(headers=headers, query_string=b"page=2&token=hunter5-of-alice")
    with pytest.raises(ValueError, match="no such key"):
        run(SentryMiddleware(app), scope, [{"type": "http.request", "body": body}])
    told = remarks(sentry.event)
    expected = {
        "request/headers/x-api-key": ["@name:key"],
        "request/cookies/sid": ["@name:session"],
        "request/query_string": ["@name"],
        "request/data/list/0/password": ["@name:password"],
        "extra/db/dsn_of": ["@shape:url-with-a-password"],
        "extra/db/pin_code": ["@name:code"],
        "extra/rows/0/value": ["@name:beside"],
        "extra/argv/2": ["@name"],
        "extra/query/query_string": ["@name"],
        "breadcrumbs/values/0/message": ["@shape:github-token", "@name:token"],
        "exception/values/0/value": ["@request"],
    }
    for place, rules in expected.items():
        assert told.get(place) in (rules, ["!config"]), place  # where the SDK's scrubber came after
    assert not [place for place in told if place.startswith(("tags", "user", "transaction"))]
    assert sentry.event["tags"]["said"] == f"token={FILTERED}"
    sentry.judge()  # Relay takes it


def test_where_nothing_was_replaced_nothing_is_said(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        sentry_sdk.capture_message("nothing")

    run(SentryMiddleware(app))
    told = remarks(sentry.event)
    # SDK 3 shows the stack, in which are the frames of the tests' runner.
    assert [place for place in told if not place.startswith("threads")] == []


def test_a_log_records_parameters_say_so_too() -> None:
    event = {"logentry": {"formatted": "password=hunter2", "params": ["hunter2", "x"]}}
    redact.redact(event, [], remarks=True)
    hidden, shown = event["logentry"]["params"]
    assert (sdk_events.plain(hidden), shown) == (FILTERED, "x")
    assert sdk_events.metadata_of(hidden) == {"rem": [["@text", "s"]]}


def test_an_event_may_be_cleaned_twice() -> None:
    event: dict[str, Any] = {"extra": {"token": "x", "said": "token=x"}}
    for _ in range(2):
        _event.protect(Connection(http_scope("/")), event, {})
        assert sdk_events.metadata_of(event["extra"]["token"]) == {"rem": [["@name:token", "s"]]}
        assert sdk_events.plain(event["extra"]["said"]) == f"token={FILTERED}"


def test_personal_headers_and_queries_say_why_they_went() -> None:
    marked = _event._marked({"via": FILTERED, "accept": "x", "cookie": FILTERED}, RULES)
    assert sdk_events.metadata_of(marked["via"]) == {"rem": [["@name:personal", "s"]]}
    assert sdk_events.metadata_of(marked["cookie"]) == {"rem": [["@name:session", "s"]]}
    assert marked["accept"] == "x"
    assert _event._marked("a=1", RULES) == "a=1"
