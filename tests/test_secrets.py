"""The secrets of a request, and of what stands beside it, wherever they recur in an event."""

from __future__ import annotations

import base64
import html
import json
import logging
import sys
import time
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, unquote

import pytest
import sentry_sdk
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.utils import AnnotatedValue  # type: ignore[attr-defined]

from sentry_asgi import SentryMiddleware
from sentry_asgi._connection.request import Connection
from sentry_asgi._events import event as _event
from sentry_asgi._redaction import (
    names as _names,
    redact,
    rules as _rules,
    secrets as _secrets,
    texts as _texts,
)
from sentry_asgi._redaction.names import FILTERED
from sentry_asgi._sdk import events as sdk_events

from .support import SDK_VERSION, Scope, Sentry, http_scope, pii, respond, run

KNOWN = "hunter2-of-alice"


def redacted(event: dict[str, Any], *secrets: str) -> dict[str, Any]:
    redact.redact(event, secrets or (KNOWN,))
    return event


def frames(**variables: Any) -> dict[str, Any]:
    frame = {"function": "f", "module": "app", "vars": variables}
    return {"exception": {"values": [{"stacktrace": {"frames": [frame]}}]}}


def variables_of(event: dict[str, Any]) -> Any:
    return sdk_events.plain(event["exception"]["values"][0]["stacktrace"]["frames"][0].get("vars"))


def shown(text: str) -> str:
    """A text among the variables of a frame, as it is in an event that is about to be sent."""
    return str(redacted({"extra": {"text": text}})["extra"]["text"])


def test_the_middlewares_own_frame_shows_no_variables_and_others_show_no_secret(
    sentry: Sentry,
) -> None:
    async def failing(scope: Scope, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        token = headers[b"x-api-key"]
        raise ValueError(f"no such key: {token!r}")

    scope = http_scope("/", headers=[(b"x-api-key", KNOWN.encode()), (b"accept", b"text/html")])
    with pytest.raises(ValueError, match="hunter2"):
        run(SentryMiddleware(failing), scope)
    assert KNOWN not in json.dumps(sentry.event)
    (exception,) = sentry.event["exception"]["values"]
    assert exception["value"] == f"no such key: b'{FILTERED}'"
    own, app = exception["stacktrace"]["frames"][-2:]
    assert (own["module"], own.get("vars")) == ("sentry_asgi.middleware", None)
    assert app["vars"]["headers"]["b'accept'"] == "b'text/html'"
    assert app["vars"]["token"] == FILTERED


def test_another_processors_data_is_protected_too(sentry: Sentry) -> None:
    def processor(event: Any, hint: Any) -> Any:
        event.setdefault("extra", {})["seen"] = f"the header was {KNOWN}"
        return event

    async def failing(scope: Scope, receive: Any, send: Any) -> None:
        sentry_sdk.get_isolation_scope().add_event_processor(processor)
        raise ValueError("nope")

    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(failing), http_scope("/", headers=[(b"x-token", KNOWN.encode())]))
    assert sentry.event["extra"]["seen"] == f"the header was {FILTERED}"


def test_a_message_with_a_stack_trace_shows_no_secret(sentry: Sentry) -> None:
    sentry.init(attach_stacktrace=True)

    async def telling(scope: Scope, receive: Any, send: Any) -> None:
        seen = list(scope["headers"])
        sentry_sdk.capture_message(f"seen {len(seen)}")

    run(SentryMiddleware(telling), http_scope("/", headers=[(b"x-token", KNOWN.encode())]))
    (thread,) = sentry.event["threads"]["values"]
    assert thread["stacktrace"]["frames"][-1]["function"] == "telling"
    assert KNOWN not in json.dumps(sentry.event)


def test_where_secrets_cannot_be_removed_no_frame_shows_variables(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(event: Any, secrets: Any, *rules: Any, **more: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(redact, "redact", broken)
    event = _event.protect(Connection(http_scope("/")), frames(a="b"), {})
    assert event is not None
    assert variables_of(event) is None


@pytest.mark.parametrize(
    "form",
    [
        KNOWN,
        repr(KNOWN + "'\"")[1:-4],
        base64.b64encode(KNOWN.encode()).decode(),
        "".join(f"%{byte:02x}" for byte in b"?=") + KNOWN,
    ],
)
def test_a_secret_is_found_in_every_form(form: str) -> None:
    assert KNOWN not in shown(f"before {form} after")
    assert form not in shown(f"before {form} after")
    assert shown(f"before {form} after").endswith(f"{FILTERED} after")


def packed(data: bytes) -> list[str]:
    return [base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()]


@pytest.mark.parametrize("secret", ["hunter2-of-alice", "pässwörd>?~ of älice"])
@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_a_secret_packed_into_a_longer_text_is_found(secret: str, before: str) -> None:
    for text in packed(f"{before}{secret} and more".encode()):
        cleaned = redacted({"extra": {"text": text}}, secret)["extra"]["text"]
        assert FILTERED in cleaned
        for piece in cleaned.split(FILTERED):
            letters = piece.replace("-", "+").replace("_", "/").rstrip("=")
            for start in range(4):
                whole = letters[start:][: max(0, len(letters) - start) // 4 * 4]
                assert secret[2:-2] not in base64.b64decode(whole).decode(errors="replace")


@pytest.mark.parametrize(
    "secret", ["hunter2-of-alice", "pässwörd of älice", "秘密の合言葉はこれです"]
)
def test_a_secret_in_hex_or_utf_16_is_found(secret: str) -> None:
    wide = [secret.encode(order) for order in ("utf-16-le", "utf-16-be", "utf-16")]
    texts = [secret.encode().hex(), secret.encode().hex().upper(), *map(repr, wide)]
    texts += [repr(repr(one)) for one in wide]
    texts += [one.decode("latin-1") for one in wide]
    for text in texts:
        cleaned = redacted({"extra": {"text": text}}, secret)["extra"]["text"]
        assert FILTERED in cleaned, text
        assert len(cleaned) < 40, text


def test_a_body_in_utf_16_is_understood_and_its_secret_goes_from_its_bytes(sentry: Sentry) -> None:
    async def failing(scope: Scope, receive: Any, send: Any) -> None:
        message = await receive()
        body = message["body"]
        raise ValueError(body, message)

    sent = json.dumps({"password": KNOWN}).encode("utf-16")
    headers = [(b"content-type", b"application/json")]
    with pytest.raises(ValueError, match="x00"):
        run(
            SentryMiddleware(failing),
            http_scope("/", headers=headers),
            [{"type": "http.request", "body": sent}],
        )
    assert sentry.event["request"]["data"] == {"password": FILTERED}
    assert "h\\\\x00u" not in json.dumps(sentry.event)
    assert FILTERED in sentry.event["exception"]["values"][0]["value"]


def test_a_secret_in_utf_8_is_found_as_the_app_and_as_the_server_read_it() -> None:
    secret = "pässwörd-of-älice"
    as_header = secret.encode().decode("latin-1")
    for text in (secret, as_header, repr(secret.encode())):
        event = redacted({"extra": {"text": text}}, as_header)
        assert FILTERED in event["extra"]["text"]


def test_a_secret_that_no_header_can_hold_is_found_too() -> None:
    secret = "秘密の合言葉はこれです"
    assert (
        redacted({"extra": {"text": repr(secret.encode())}}, secret)["extra"]["text"]
        == f"b'{FILTERED}'"
    )


def test_basic_credentials_are_known_by_their_password_too() -> None:
    packed = base64.b64encode(b"alice:correct horse").decode()
    found = set(_secrets.of_headers([("authorization", f"Basic {packed}")]))
    assert {packed, "alice:correct horse", "correct horse"} <= found
    assert "not base64 at all" in set(_secrets.of_headers([("x-token", "not base64 at all")]))


JSON = json.dumps({"password": KNOWN, "page": 2})
ODD = 'a/b & "c"-of-alice'


def form(name: str, value: str, times: int = 1) -> bytes:
    for _ in range(times):
        value = quote(value, safe="")
    return f"{name}={value}&page=2".encode()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("query", form("data", JSON)),
        ("query", form("data", JSON).replace(b"%20", b"+")),
        ("query", form("next", f"/in?page=2&token={KNOWN}")),
        ("query", form("next", f"https://a.example/in?page=2&token={KNOWN}", 3)),
        ("query", form("next", f"https://alice:{KNOWN}@a.example/in")),
        ("query", form("header", f"Bearer {KNOWN}")),
        ("body", form("data", JSON)),
        ("body", form("sshKey", KNOWN)),
        ("referer", b"https://a.example/?" + form("next", f"/in?token={KNOWN}")),
        ("x-original", form("next", f"/in?token={KNOWN}")),
        ("cookie", b"theme=dark; " + form("settings", JSON)),
        ("cookie", b'theme=dark; session="%s"' % KNOWN.encode()),
        ("cookie", b'session="hunter2\\055of-alic\\e"'),
        ("authorization", b'Token token="%s"' % KNOWN.encode()),
        ("sec-websocket-protocol", b"bearer, " + KNOWN.encode()),
        ("path", b"/proxy/" + quote(f"https://alice:{KNOWN}@a.example/", safe="").encode()),
    ],
)
def test_what_is_secret_within_a_harmless_value_is_shown_nowhere(
    sentry: Sentry, place: str, value: bytes
) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        message = await receive()
        raise ValueError(f"no: {KNOWN} of {message}")

    sentry.init(**pii(on=True))
    headers = [(b"content-type", b"application/x-www-form-urlencoded")]
    scope = http_scope(headers=headers)
    if place == "query":
        scope["query_string"] = value
    elif place == "path":
        scope.update(path=unquote(value.decode()), raw_path=value)
    elif place != "body":
        headers.append((place.encode(), value))
    body = value if place == "body" else b""
    with pytest.raises(ValueError, match="hunter2"):
        run(SentryMiddleware(app), scope, [{"type": "http.request", "body": body}])
    sent = json.dumps(sentry.event)
    assert KNOWN not in sent
    assert quote(value.decode(), safe="%/:?&=+") not in sent
    assert "dark" not in value.decode() or "dark" in sent


def test_a_secret_that_was_encoded_again_and_again_is_found_as_it_was_sent() -> None:
    query = "next=" + quote(quote(f"/in?token={quote(ODD, safe='')}", safe=""), safe="")
    cleaned = str(redacted({"extra": {"text": query}}, *_secrets.of_query(query)))
    assert FILTERED in cleaned
    assert "alice" not in cleaned
    for _ in range(5):
        query = quote(query, safe="")
    assert list(_secrets.within(query)) == []  # nobody decodes as often


def test_a_log_records_parameters_are_secret_where_its_text_says_so(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        logger = logging.getLogger("app")
        logger.error("%s has password=%s, page %d", "alice", KNOWN, 2)
        logger.error("password=%(it)s, page %(page)d %(no)s", {"it": 12345, "page": 2, "no": None})
        logger.error("page=%s of %s", KNOWN, "alice")
        await respond(send)

    sentry.init(integrations=[LoggingIntegration(event_level=logging.ERROR)])
    run(SentryMiddleware(app))
    assert [event["logentry"]["params"] for event in sentry.events] == [
        ["alice", FILTERED, 2],
        {"it": FILTERED, "page": 2, "no": None},
        [KNOWN, "alice"],
    ]
    event = {"logentry": {"message": "token=%s", "params": [KNOWN]}}
    assert redacted(event, "else")["logentry"]["params"] == [KNOWN]  # nobody says what the text was


def test_a_name_beside_its_value_tells_what_is_secret() -> None:
    rows = [{"name": "password", "value": KNOWN}, {"name": "colour", "value": "red"}]
    told = {"key": "api-key", "value": 5, "more": {"field": "PIN", "content": ["1", "2"]}}
    assert list(_names.secret_data([rows, told])) == [KNOWN, "5", "1", "2"]
    assert _names.clean_data([rows, told]) == [
        [{"name": "password", "value": FILTERED}, {"name": "colour", "value": "red"}],
        {"key": "api-key", "value": FILTERED, "more": {"field": "PIN", "content": FILTERED}},
    ]
    event = redacted({"extra": {"rows": rows}, **frames(row={"name": "'pin'", "value": "'1234'"})})
    assert event["extra"]["rows"][0]["value"] == FILTERED
    assert event["extra"]["rows"][1] is rows[1]
    assert variables_of(event)["row"]["value"] == FILTERED


def test_the_project_of_a_trace_and_what_measures_stay() -> None:
    trace = {"dynamic_sampling_context": {"public_key": "abcdefgh", "trace_id": "a" * 32}}
    event = {"contexts": {"trace": trace}, "extra": {"max_tokens": 4096, "session_length": 3}}
    assert redacted({**event}) == event


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"token": KNOWN, "page": "2"}, f"/reset/{KNOWN}/2"),
        ({"session_id": 12345}, "/sessions/12345"),
        ({"token": "ä bc"}, "/reset/%C3%A4%20bc"),
    ],
)
def test_a_path_parameter_that_is_secret_by_its_name_is_shown_nowhere(
    sentry: Sentry, params: dict[str, Any], path: str
) -> None:
    async def routed(scope: Scope, receive: Any, send: Any) -> None:
        scope["path_params"] = params
        sentry_sdk.set_tag("seen", scope["path"])
        raise ValueError(f"not found: {scope['path']}")

    with pytest.raises(ValueError, match="not found"):
        run(SentryMiddleware(routed), http_scope(unquote(path), raw_path=path.encode()))
    assert sentry.event["request"]["url"].count(FILTERED) == 1
    assert sentry.event["transaction"].count(FILTERED) == 1
    for name, value in params.items():
        assert (str(value) in json.dumps(sentry.event)) is (name == "page"), name
        assert name == "page" or str(value) not in sentry.event["exception"]["values"][0]["value"]


def test_a_routes_template_tells_which_segments_are_secret() -> None:
    assert list(_secrets.of_template("/reset/{token:str}/{page}", "/reset/abcd/2")) == ["abcd"]
    assert list(_secrets.of_template("/reset/<str:token>/<page>", "/reset/abcd/2")) == ["abcd"]
    assert list(_secrets.of_template("/tokens/:id", "/tokens/1")) == []
    assert list(_secrets.of_template("/{token}", "/a/b")) == []
    assert list(_secrets.of_path({"token": object(), 1: "x", "key": "y"})) == []
    assert list(_secrets.of_path(["token"])) == []


def test_short_secrets_go_where_they_stand_alone_and_shorter_ones_stay() -> None:
    event = redacted({"extra": {"text": "1234 of 12345, a-1234!, abc"}}, "1234", "abc")
    assert event["extra"]["text"] == f"{FILTERED} of 12345, a-{FILTERED}!, abc"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("b'x-" + KNOWN[:9] + "'", f"b'x-{FILTERED}'"),
        (KNOWN[:9] + "...", f"{FILTERED}..."),
        ('"' + KNOWN[4:] + ' and more"', f'"{FILTERED} and more"'),
        ("hunter22", "hunter22"),
        (KNOWN[:5], KNOWN[:5]),
    ],
)
def test_the_piece_of_a_secret_at_the_edge_of_a_text_goes_too(text: str, expected: str) -> None:
    event = frames(text=text)
    redact.redact(event, [KNOWN], chunks=True)
    assert variables_of(event) == {"text": expected}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{'password': 'x y', 'a': 'b'}", f"{{'password': '{FILTERED}', 'a': 'b'}}"),
        ('{"user_token": "x\\"y", "a": 1}', f'{{"user_token": "{FILTERED}", "a": 1}}'),
        ("[(b'authorization', b'x'), (b'a', b'b')]", f"[(b'authorization', b'{FILTERED}'), (b'a', b'b')]"),
        ("a=1&client_secret=x&b=2", f"a=1&client_secret={FILTERED}&b=2"),
        ("Login(user='a', password='b')", f"Login(user='a', password='{FILTERED}')"),
        ("Authorization: Bearer abcdefgh", f"Authorization: Bearer {FILTERED}"),
        ("https://u:p@example.org/?sid=1&a=2", f"https://{FILTERED}@example.org/?sid={FILTERED}&a=2"),
        ("is eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln it", f"is {FILTERED} it"),
        ("token=None, password=True", "token=None, password=True"),
        ("the token is lost", "the token is lost"),
        ("['password', 'username', 'email']", "['password', 'username', 'email']"),
        ("a mail to alice@example.org at 10:30", "a mail to alice@example.org at 10:30"),
    ],
)  # fmt: skip
def test_what_no_request_told_is_known_by_its_name_or_looks(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_values_go_by_the_names_that_they_stand_under() -> None:
    event = redacted(
        {
            "extra": {"api-key": 5, "a": {"csrf": ["x"]}, "cookies": {"theme": "dark", "sid": "x"}},
            "contexts": {
                "mine": {"otp": "123", "is_secret": True, "token": None, "empty_token": ""}
            },
            "breadcrumbs": {"values": [{"data": {"http.query": "a=1&key=2"}}]},
            "tags": {"session_id": "x"},
        }
    )
    assert event == {
        "extra": {"api-key": FILTERED, "a": {"csrf": FILTERED}, "cookies": {"theme": "dark", "sid": FILTERED}},
        "contexts": {"mine": {"otp": FILTERED, "is_secret": True, "token": None, "empty_token": ""}},
        "breadcrumbs": {"values": [{"data": {"http.query": f"a=1&key={FILTERED}"}}]},
        "tags": {"session_id": FILTERED},
    }  # fmt: skip


@pytest.mark.skipif(sdk_events.VARIABLES_ARE_LATE, reason="there, values are rendered first")
def test_variables_go_by_fewer_names_for_many_are_called_key() -> None:
    cleaned = variables_of(
        redacted(frames(key="'a'", pin="1", db_password="'b'", auth="'c'", author="'d'"))
    )
    assert cleaned == {
        "key": "'a'", "pin": FILTERED, "db_password": FILTERED, "auth": FILTERED, "author": "'d'",
    }  # fmt: skip


def test_objects_are_looked_at_as_they_will_be_written_and_never_changed() -> None:
    class Thing:
        def __init__(self, text: str) -> None:
            self.text = text

        def __repr__(self) -> str:
            return f"<{self.text}>"

    harmless, telling = Thing("nothing"), Thing(f"a {KNOWN}")
    live: dict[str, Any] = {
        "harmless": harmless,
        "telling": telling,
        "bytes": KNOWN.encode(),
        "set": {KNOWN},
        "plain set": {"a"},
        KNOWN: "key",
        "list": ["a", KNOWN],
    }
    before = dict(live)
    extra = redacted({"extra": live})["extra"]
    assert live == before
    assert live["list"] == ["a", KNOWN]
    assert extra["harmless"] is harmless
    assert extra["telling"] == f"<a {FILTERED}>"
    assert extra["bytes"] == FILTERED
    assert (extra["set"], extra["plain set"]) == ([FILTERED], {"a"})
    assert extra[FILTERED] == "key"


def test_what_sentry_is_told_of_a_value_stays_with_it() -> None:
    cut = AnnotatedValue(f"a {KNOWN}", {"len": 99})
    same = AnnotatedValue("a", {"len": 98})
    extra = redacted({"extra": {"cut": cut, "same": same}})["extra"]
    assert (extra["cut"].value, extra["cut"].metadata) == (f"a {FILTERED}", {"len": 99})
    assert extra["same"] is same


def test_a_secret_cannot_change_the_event_itself() -> None:
    event = {**frames(a="'b'"), "contexts": {"trace": {"trace_id": "a" * 32, "span_id": "b" * 16}}}
    names = ["exception", "stacktrace", "contexts", "trace_id", "a" * 32, "b" * 16, "function"]
    cleaned = redacted(event, *names)
    assert cleaned["contexts"]["trace"] == {"trace_id": "a" * 32, "span_id": "b" * 16}
    assert list(variables_of(cleaned)) == ["a"]


def test_source_lines_are_code_and_stay() -> None:
    frame = {
        "function": "f",
        "filename": "a.py",
        "context_line": "password = 'x'",
        "pre_context": [],
    }
    event = {"exception": {"values": [{"stacktrace": {"frames": [dict(frame)]}}]}}
    assert redacted(event)["exception"]["values"][0]["stacktrace"]["frames"] == [frame]


def test_no_event_is_too_large_or_too_deep() -> None:
    wide = {"list": [f"{number} {KNOWN}" for number in range(300_000)]}
    deep: Any = KNOWN
    for _ in range(100):
        deep = [deep]
    cyclic: dict[str, Any] = {}
    cyclic["self"] = cyclic
    started = time.perf_counter()
    event = redacted({"extra": {"cyclic": cyclic, "deep": deep, "wide": wide, "more": {"a": [1]}}})
    assert time.perf_counter() - started < 20
    assert KNOWN not in repr(event)


def test_of_the_secrets_of_each_source_the_first_and_the_last_are_known() -> None:
    flood = [f"flood-{number}" for number in range(10_000)]
    found = _secrets.shared([flood, ["the-only-one"], ["", "abc", FILTERED], ["again", "flood-0"]])
    assert found[:3] == ["flood-0", "the-only-one", "again"]
    assert found.count("flood-0") == 1
    assert len(found) == _secrets.SHARE + 2
    assert "flood-9999" in found


def test_of_a_long_secret_the_ends_are_known_in_every_encoding() -> None:
    secret = "".join(f"{number}/ä" for number in range(3_000))
    for form in (secret, quote(secret, safe=""), repr(secret.encode())[2:-1]):
        cleaned = redacted({"extra": {"text": f"a {form} b"}}, secret)["extra"]["text"]
        assert cleaned.startswith(f"a {FILTERED}"), form[:20]
        assert cleaned.endswith(f"{FILTERED} b"), form[:20]


def test_of_many_long_secrets_all_are_known_as_they_came() -> None:
    many = [f"{number}-" + "x/" * 600 for number in range(30)]
    texts = [f"a {one} b" for one in many]
    assert (
        redacted({"extra": {"texts": texts}}, *many)["extra"]["texts"] == [f"a {FILTERED} b"] * 30
    )


@pytest.mark.parametrize("size", [10, 30_000])
def test_of_many_secrets_each_is_found(size: int) -> None:
    many = [f"s{number}-{'abc=%/'[number % 6]}{number * 7919}-x" for number in range(300)]
    shown = frames(
        texts=[f"is {one} {'a' * size * (one is many[0])}" for one in many],
        cut=[f"b'{many[7][3:]} x'", f"{many[8][:-2]}...", "f"],
        more=["x" * size * 8],
    )
    started = time.perf_counter()
    redact.redact(shown, many, chunks=True)
    cleaned = variables_of(shown)
    assert time.perf_counter() - started < 5
    assert {text.split()[1] for text in cleaned["texts"]} == {FILTERED}
    assert cleaned["cut"] == [f"b'{FILTERED} x'", f"{FILTERED}...", "f"]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "password" * 20_000,
            "token=" * 20_000,
            '"token": "' * 20_000,
            "://" * 300_000,
            "a" * 200_000,
        ),
        *(
            "eyj-" * 250_000,
            "cookie: " * 120_000,
            "authorization: " * 70_000,
            "bearer aaaa " * 90_000,
        ),
        *("token=(" * 20_000, "token=['" * 20_000, "<password>" * 20_000 + "</", "://a:" * 200_000),
        *(
            "password: [\n" * 20_000,
            "token=a(" * 20_000,
            "eyjaaaaaaaa." * 50_000,
            "://a?" * 200_000,
        ),
        *("password\n  x" * 20_000, "--password " * 40_000, "-----begin private key-----" * 20_000),
    ],
    ids=lambda text: text[:12],
)
def test_no_text_takes_for_ever(text: str) -> None:
    started = time.perf_counter()
    _texts.clean_text(text)
    assert time.perf_counter() - started < 5


def test_variables_of_old_sdks_are_rendered_before_they_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sdk_events, "VARIABLES_ARE_LATE", True)
    event = frames(a=KNOWN, b=[b"x"])
    for _ in range(2):  # as two processors do
        redacted(event)
        assert FILTERED in str(variables_of(event)["a"])
        assert KNOWN not in str(variables_of(event))
    own: Any = {"stacktrace": {"frames": [{"module": "sentry_asgi.middleware", "vars": {"a": 1}}]}}
    redacted(own)
    assert own == {"stacktrace": {"frames": [{"module": "sentry_asgi.middleware"}]}}


def test_without_the_sdks_means_a_body_is_its_value_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdk_events, "_ANNOTATED", None)
    assert sdk_events.annotated("a", {"len": 3}) == "a"
    assert sdk_events.plain("a") == "a"


def test_data_without_end_is_replaced_where_it_is_too_deep() -> None:
    deep: Any = "x"
    for _ in range(sys.getrecursionlimit() // 2):
        deep = {"a": deep}
    assert FILTERED in str(_names.clean_data(deep))
    assert list(_names.secret_data({"token": deep})) == []


def test_a_name_too_long_to_remember_is_judged_all_the_same() -> None:
    assert _names.is_secret("x" * 1_000 + "password")


def test_names_that_are_encoded_again_and_again_are_seen_through() -> None:
    assert _names.privacy({}).query_string("%2570assword=1") == f"%2570assword={FILTERED}"
    assert _names.decoded("%25252525252525") != "%"


def test_a_header_that_says_itself_that_it_is_a_credential_goes() -> None:
    allowed = _names.privacy({})
    assert allowed.headers({"x-upstream": "Bearer abcdef"}) == {"x-upstream": FILTERED}


def test_cookies_without_a_value_are_none() -> None:
    assert list(_names.cookie_pairs("a; b=1;c")) == [("b", "1")]


def test_values_of_types_derived_from_plain_ones_are_looked_at_as_what_they_are() -> None:
    import enum

    class Level(enum.IntEnum):
        HIGH = 3

    class Text(str):
        __slots__ = ()

    proxy = MappingProxyType({"token": "x", "a": KNOWN, "b": "c"})
    cleaned = redacted({"extra": {"proxy": proxy}})["extra"]["proxy"]
    assert cleaned == {"token": FILTERED, "a": FILTERED, "b": "c"}

    extra = {"level": Level.HIGH, "text": Text(f"a {KNOWN}"), "harmless": Text("a"), "b": KNOWN}
    cleaned = redacted({"extra": dict(extra)})["extra"]
    assert cleaned["level"] is Level.HIGH
    assert cleaned["harmless"] is extra["harmless"]
    assert (cleaned["text"], cleaned["b"]) == (f"a {FILTERED}", FILTERED)
    pair = ("token", "abc")
    assert redacted({"extra": {"set": frozenset({pair}), "two": {"token", "abc"}}})["extra"]["set"]


def test_what_an_sdk_adds_to_a_frame_is_looked_at_too() -> None:
    frame = {"function": "f", "module": "app", "code": {"source": f"x = {KNOWN!r}"}, "vars": {}}
    event = redacted({"exception": {"values": [{"stacktrace": {"frames": [frame]}}]}})
    (shown,) = event["exception"]["values"][0]["stacktrace"]["frames"]
    assert shown["code"] == {"source": f"x = '{FILTERED}'"}


def test_names_without_end_are_not_remembered_without_end() -> None:
    names = _rules.Names(keys=True)
    for number in range(5_000):
        assert names[f"token_{number}"]
    assert len(names) <= 2_048


def test_an_event_in_which_nothing_is_secret_is_left_as_it_is() -> None:
    event = {
        "type": "transaction",
        "contexts": {"trace": {"data": {"url.path": "/sessions", "a": ["b", "c"]}}},
        "request": {"url": "https://example.org/token", "headers": {"cookie": FILTERED}},
        "extra": {"keys": "monkey, keyboard", "author": "bob", "email": "a@b.org https://c.org"},
        "spans": [{"description": "SELECT key FROM session", "data": {"db.system": "sqlite"}}] * 3,
        **frames(author="'bob'", key="'a'", items=["'x'", "'y'"]),
    }
    parts = dict(event)
    redacted(event)
    assert all(event[name] is part for name, part in parts.items())


@pytest.mark.skipif(SDK_VERSION < (2, 75), reason="streamed spans are younger")
def test_a_streamed_span_shows_no_secret_of_the_path_either(sentry: Sentry) -> None:
    way = {"trace_lifecycle": "stream"} if SDK_VERSION < (3, 0) else {}
    sentry.init(traces_sample_rate=1.0, **way)

    async def routed(scope: Scope, receive: Any, send: Any) -> None:
        scope["path_params"] = {"token": KNOWN}
        await respond(send)

    path = f"/reset/{KNOWN}"
    run(SentryMiddleware(routed), http_scope(path, query_string=f"token={KNOWN}".encode()))
    sentry_sdk.flush()
    (batch,) = sentry.transport.items("span")
    (span,) = batch["items"]
    assert KNOWN not in json.dumps(span)
    assert span["attributes"]["url.path"]["value"] == f"/reset/{FILTERED}"
    assert span["name"] == f"/reset/{FILTERED}"


@pytest.mark.skipif(SDK_VERSION < (2, 75), reason="streamed spans are younger")
def test_what_a_streamed_span_says_is_looked_at_as_an_event_is(sentry: Sentry) -> None:
    way = {"trace_lifecycle": "stream"} if SDK_VERSION < (3, 0) else {}
    sentry.init(traces_sample_rate=1.0, **way)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await respond(send)

    path, agent = f"/proxy/https://alice:{KNOWN}@a.example/;token={KNOWN}", f"a token={KNOWN}"
    headers = [(b"user-agent", agent.encode())]
    run(SentryMiddleware(app), http_scope(path, headers=headers))
    sentry_sdk.flush()
    (batch,) = sentry.transport.items("span")
    (span,) = batch["items"]
    assert KNOWN not in json.dumps(span)
    assert span["name"] == f"/proxy/https://{FILTERED}@a.example/;token={FILTERED}"
    assert span["attributes"]["user_agent.original"]["value"] == f"a token={FILTERED}"


def test_what_pydantic_lists_is_told_by_where_it_stood() -> None:
    errors = [
        {"loc": ("body", "token"), "msg": "no", "input": "x"},
        {"loc": ["body", "page"], "msg": "no", "input": "x"},
        {"loc": (), "input": "x"},
    ]
    assert [one["input"] for one in _names.clean_data(errors)] == [FILTERED, "x", "x"]
    extra = redacted({"extra": {"errors": errors}}, "else")["extra"]["errors"]
    assert [one["input"] for one in extra] == [FILTERED, "x", "x"]


def test_keys_that_are_no_texts_and_queries_that_are_none_are_looked_at_as_others() -> None:
    extra = {1: KNOWN, "query_string": b"token=x", "http.query": None, "a": "token=x"}
    cleaned = redacted({"extra": extra})["extra"]
    assert cleaned == {
        1: FILTERED,
        "query_string": f"token={FILTERED}",
        "http.query": None,
        "a": f"token={FILTERED}",
    }


ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
MARKUP = """it's <a> & "b" of-alice"""
LONG = "hunter2-of-alice." * 6


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        (MARKUP, html.escape(MARKUP)),
        (MARKUP, html.escape(MARKUP, quote=False)),
        (MARKUP, html.escape(MARKUP).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")),
        (MARKUP, quote(quote(MARKUP, safe=""), safe="")),
        (ID, ID.upper()),
        (ID, ID.replace("-", "")),
        (ID.upper(), ID),
        (ID.replace("-", ""), ID),
        (ID.replace("-", ""), ID.upper()),
        (LONG, base64.encodebytes(LONG.encode()).decode().strip()),
        (LONG, repr(base64.encodebytes(LONG.encode()).decode().strip())[1:-1]),
    ],
)
def test_a_secret_is_found_as_other_programs_write_it(secret: str, text: str) -> None:
    cleaned = redacted({"extra": {"text": f"before {text} after"}}, secret)["extra"]["text"]
    assert cleaned == f"before {FILTERED} after"
