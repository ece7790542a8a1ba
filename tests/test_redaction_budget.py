"""What a client can make the removal of secrets cost, and what it can make it take away."""

from __future__ import annotations

import json
from collections import namedtuple
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
import sentry_sdk

from sentry_asgi import SentryMiddleware
from sentry_asgi._redaction import names as _names, redact, rules
from sentry_asgi._redaction.texts import clean_lines, clean_text, secret_values
from sentry_asgi._sdk import events as sdk_events

from .support import Scope, Sentry, http_scope, own_time, run, websocket_scope

KNOWN = "hunter2-of-alice"


def growth(work: Callable[[int], Any], small: int, factor: int) -> float:
    """How many times the processor time of a small input a larger one takes; the least of three tries."""

    def took(size: int) -> float:
        times = []
        for _ in range(3):
            start = own_time()
            work(size)
            times.append(own_time() - start)
        return max(min(times), 1e-4)

    return took(small * factor) / took(small)


SHAPES: dict[str, Callable[[int], str]] = {
    "refused values": lambda size: "jwt\n  [type=a, input_value=" * (size // 25),
    "refused names": lambda size: "token\n  " + "[type=a, input_value=" * (size // 21),
    "assignments": lambda size: "token=abcd " * (size // 11),
    "percents": lambda size: "token=" + "%25" * (size // 3),
    "brackets": lambda size: "token=" + "[(" * (size // 2),
    "options": lambda size: "--password " * (size // 11),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_texts_are_cleaned_in_time_that_grows_with_them(shape: str) -> None:
    assert growth(lambda size: clean_text(SHAPES[shape](size)), 4_000, 8) < 8 * 4


def test_names_are_judged_in_time_that_grows_with_them() -> None:
    def judge(size: int) -> None:
        rules.canonical("\u0315\u0300" * (size // 2))

    assert growth(judge, 2_000, 16) < 16 * 4


def test_an_event_is_looked_through_up_to_a_bound(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        for number in range(50):
            sentry_sdk.add_breadcrumb(message=f"{number} " + "token=abcd " * 1_000)
        sentry_sdk.capture_message("hello")

    run(SentryMiddleware(app))
    messages = [one["message"] for one in sentry.event["breadcrumbs"]["values"]]
    assert len(messages) == 50
    looked_at = [one.count("token=") for one in messages[:6]]
    assert looked_at[:4] == [201] * 4
    assert 0 < looked_at[4] <= 201  # other texts take a place, too
    assert looked_at[5] == 0
    assert {one.split("token=")[-1] for one in messages} == {"[Filtered]"}
    assert messages[-1] == "[Filtered]"


@pytest.mark.parametrize(
    "piece",
    [
        "token=hunter2 ",
        "token#=hunter2 ",
        "use --password hunter2 ",
        '{"value": "hunter2", "name": "password"} ',
        "<password>hunter2</password> ",
        "Bearer hunter2AAA ",
        "https://bob:hunter2@db/ ",
        "https://db/?token=hunter2 ",
        "eyJhbGciOiJIUzI1NiJ9.hunter2.hunter2 ",
        "-----BEGIN PRIVATE KEY-----hunter2-----END PRIVATE KEY----- ",
        "password: hunter2\n",
        "the password said hunter2? ",
    ],
)
def test_what_is_beyond_the_places_that_are_looked_at_goes_unseen(piece: str) -> None:
    text = "".join(piece.replace("#", str(number)) for number in range(2_000))
    cleaned = clean_text(clean_lines(text))
    if "said" in piece:  # no value stands there, and looking for it is not for nothing
        assert len(cleaned) < len(text)
    else:
        assert "hunter2" not in cleaned
    assert len(set(secret_values(text))) <= 2_000


def test_many_edges_are_compared_up_to_a_bound() -> None:
    secrets = [f"{number:02}secret-of-alice" for number in range(24)]
    texts = [f"{number} {secrets[number % 24][:9]}" for number in range(1_000)]
    event: dict[str, Any] = {"stacktrace": {"frames": [{"vars": {"texts": texts}}]}}
    redact.redact(event, secrets, chunks=True)
    cleaned = sdk_events.plain(event["stacktrace"]["frames"][0]["vars"])["texts"]
    assert cleaned[0] == "0 [Filtered]"
    assert cleaned[-1] == "[Filtered]"
    assert not any("secret" in one for one in cleaned)


def test_texts_of_an_event_that_is_too_large_are_cut_alike(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        for number in range(30):
            sentry_sdk.add_breadcrumb(message=f"{number} {'abcd ' * 20_000}password=hunter2")
        sentry_sdk.capture_message("hello")

    run(SentryMiddleware(app))
    event = sentry.event
    messages = [one["message"] for one in event["breadcrumbs"]["values"]]
    assert [one.partition(" ")[0] for one in messages] == [str(number) for number in range(30)]
    (length,) = {len(one) for one in messages}
    assert length in {32_003, 16_003}  # by what else this SDK's event holds
    assert all(one.endswith("...") for one in messages)
    assert event["_meta"]["breadcrumbs"]["values"]["0"]["message"][""]["rem"] == [
        ["!limit", "x", length - 3, length]
    ]
    assert event["message"] == "hello"


def test_names_that_a_client_invents_are_bounded_and_those_beyond_go_unseen(sentry: Sentry) -> None:
    body = json.dumps({f"{uuid4().hex[:4]}{number}": "harmless" for number in range(600)})

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        sentry_sdk.set_context("mine", {"page": "two"})
        raise ValueError("nope")

    scope = http_scope(headers=[(b"content-type", b"application/json")])
    sentry.init(max_request_body_size="always")
    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(app), scope, [{"type": "http.request", "body": body.encode()}])
    values = list(sentry.event["request"]["data"].values())
    assert (values.count("harmless"), values.count("[Filtered]")) == (500, 100)
    assert sentry.event["contexts"]["mine"] == {"page": "two"}  # not the client's


def test_no_client_makes_the_names_of_the_application_forgotten() -> None:
    names = rules.Names(keys=True)
    for request in range(50):
        assert (names.get("user_token") or names.older.get("user_token")) == (
            "token" if request else None
        )
        assert names["user_token"]
        for number in range(1_000):
            assert not names[f"a{request}.{number}"]
    assert len(names) + len(names.older) <= 2 * 2_048


def test_a_long_query_and_long_headers_are_sent_up_to_their_last_whole_part(
    sentry: Sentry,
) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        raise ValueError("nope")

    token = "eyJhbGciOiJIUzI1NiJ9." + "a" * 500 + ".sig"
    header = f"{'word ' * 1_550}{token} end".encode()
    scope = http_scope(
        headers=[(b"x-long", header), (b"x-one", b"a" * 9_000), (b"x-short", b"short")],
        query_string=b"page=2&" * 1_200 + b"end=1",
    )
    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(app), scope)
    request = sentry.event["request"]
    assert request["headers"]["x-long"] == "word " * 1_550 + "..."
    assert request["headers"]["x-one"] == "..."
    assert request["headers"]["x-short"] == "short"
    assert request["query_string"] == "page=2&" * 1_142 + "..."


@pytest.mark.parametrize("place", ["cookie", "query", "header"])
def test_a_flood_in_one_place_hides_no_secret_of_another(sentry: Sentry, place: str) -> None:
    flood = [f"token{number}=flood-{number}" for number in range(700)]
    headers = [(b"x-api-key", b"hunter2-of-alice")]
    query = ""
    if place == "cookie":
        headers.insert(0, (b"cookie", "; ".join(flood).encode()))
    elif place == "header":
        headers[:0] = [
            (f"x-token-{number}".encode(), f"flood-{number}".encode()) for number in range(700)
        ]
    else:
        query = "&".join(flood)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        raise ValueError(f"no such key: {dict(scope['headers'])[b'x-api-key'].decode()}")

    with pytest.raises(ValueError, match="hunter2"):
        run(SentryMiddleware(app), http_scope(headers=headers, query_string=query.encode()))
    (raised,) = sentry.event["exception"]["values"]
    assert raised["value"] == "no such key: [Filtered]"


@pytest.mark.parametrize(
    "query", ["token=ConnectionRefusedError", "token=sentry_sdk", "token=builtins", "token=asgi"]
)
def test_a_client_does_not_blank_what_code_calls_things(sentry: Sentry, query: str) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        raise ConnectionRefusedError("nope")

    with pytest.raises(ConnectionRefusedError):
        run(SentryMiddleware(app), http_scope(query_string=query.encode()))
    (value,) = sentry.event["exception"]["values"]
    assert value["type"] == "ConnectionRefusedError"
    assert value["mechanism"]["type"] == "asgi"


def test_a_client_does_not_blank_the_name_of_a_route(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        scope["endpoint"] = app
        raise ValueError("nope")

    query = f"token={__name__}".encode()
    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(app), http_scope(query_string=query))
    assert sentry.event["transaction"].startswith(f"{__name__}.")


def test_what_the_application_gives_as_a_whole_holds_no_cut_piece(sentry: Sentry) -> None:
    headers = [
        (b"authorization", b"Basic Z2FicmllbGE6aGVsbG8xMjM="),
        (b"x-api-key", b"acmecorp_live_0123456789"),
    ]

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        sentry_sdk.set_user({"username": "gabriela"})
        sentry_sdk.set_tag("tenant", "acmecorp")
        sentry_sdk.set_tag("key", "acmecorp_live_0123456789")
        raise ValueError("nope")

    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(app), http_scope(headers=headers))
    assert sentry.event["user"]["username"] == "gabriela"
    assert sentry.event["tags"] == {"tenant": "acmecorp", "key": "[Filtered]"}


def test_a_long_name_is_judged_by_its_ends() -> None:
    assert _names.is_secret("x" * 1_000 + "_password")


@pytest.mark.parametrize("size", ["never", "small", "medium", "always"])
def test_to_know_the_secrets_of_a_body_is_not_to_send_it(sentry: Sentry, size: str) -> None:
    body = json.dumps({"page": "x" * 2_000, "password": "hunter2-of-alice"}).encode()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        message = await receive()
        raise ValueError(f"wrong: {json.loads(message['body'])['password']}")

    sentry.init(max_request_body_size=size)
    scope = http_scope(headers=[(b"content-type", b"application/json")])
    with pytest.raises(ValueError, match="wrong"):
        run(SentryMiddleware(app), scope, [{"type": "http.request", "body": body}])
    (raised,) = sentry.event["exception"]["values"]
    assert raised["value"] == "wrong: [Filtered]"
    sent = sentry.event["request"].get("data")
    if size in {"medium", "always"}:
        assert sent == {"page": "x" * 2_000, "password": "[Filtered]"}
    else:
        assert not sent
        reason = {"never": "!config", "small": "!limit"}[size]
        assert sentry.event["_meta"]["request"]["data"][""]["rem"] == [[reason, "x"]]


@pytest.mark.parametrize("kind", ["text", "bytes"])
def test_what_is_secret_in_a_websockets_message_is_sent_nowhere(sentry: Sentry, kind: str) -> None:
    text: Any = json.dumps({"type": "login", "token": "hunter2-of-alice"})

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        message = await receive()
        raise ValueError(f"wrong: {json.loads(message[kind])['token']}")

    middleware = SentryMiddleware(app)
    scope = websocket_scope()
    sent = text if kind == "text" else text.encode()
    messages = [{"type": "websocket.connect"}, {"type": "websocket.receive", kind: sent}]
    with pytest.raises(ValueError, match="wrong"):
        run(middleware, scope, messages)
    (raised,) = sentry.event["exception"]["values"]
    assert raised["value"] == "wrong: [Filtered]"


@pytest.mark.parametrize(
    "arguments",
    [
        ["mysql", "--password", "hunter2-of-bob", "-h", "db"],
        ("mysql", "--db-password", b"hunter2-of-bob"),
        ["--api-key", "hunter2-of-bob"],
    ],
)
def test_the_argument_after_an_option_that_is_secret_goes(arguments: Any) -> None:
    event: dict[str, Any] = {"extra": {"argv": arguments}}
    redact.redact(event, [])
    assert "hunter2" not in str(event["extra"]["argv"])
    assert len(event["extra"]["argv"]) == len(arguments)


@pytest.mark.parametrize(
    "arguments",
    [["mysql", "--password", "-h", "db"], ["ls", "--color", "auto"], ["--password=x", "y", "z"]],
)
def test_other_arguments_stay(arguments: list[str]) -> None:
    event: dict[str, Any] = {"extra": {"argv": arguments}}
    redact.redact(event, [])
    assert event["extra"]["argv"][-1] == arguments[-1]
    assert event["extra"]["argv"][0] == arguments[0] or "=" in arguments[0]


def test_the_fields_of_a_namedtuple_go_by_their_names() -> None:
    Login = namedtuple("Login", "name password")  # noqa: PYI024 - as users have them
    event: dict[str, Any] = {
        "extra": {"login": Login("alice", "hunter2"), "page": Login("a", None)}
    }
    redact.redact(event, [])
    assert list(event["extra"]["login"]) == ["alice", "[Filtered]"]
    assert event["extra"]["page"] == Login("a", None)


@pytest.mark.parametrize("letter", ["\ufdfa", "\ufb1d", "\u3300", "\u337f", "\u0315"])
def test_names_that_become_longer_cost_as_much_as_others(sentry: Sentry, letter: str) -> None:
    sentry.init(max_request_body_size="always")

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        sentry_sdk.capture_message("hello")

    def took(one: str) -> float:
        body = json.dumps({f"{number}{one * 256}": 1 for number in range(60)}, ensure_ascii=False)
        message = {"type": "http.request", "body": body.encode()[:50_000]}
        scope = http_scope(method="POST", headers=[(b"content-type", b"application/json")])
        times = []
        for number in range(3):
            message["body"] = body.replace("{", f'{{"{number}": 1,').encode()
            start = own_time()
            run(SentryMiddleware(app), scope, [message])
            times.append(own_time() - start)
        return min(times)

    assert took(letter) < 5 * took("a")


@pytest.mark.parametrize("kind", ["texts", "keys", "dicts"])
def test_of_what_a_client_sends_without_end_the_first_is_looked_at(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def made(size: int) -> Any:
        return {
            "texts": [f"{number} {KNOWN}" for number in range(size)],
            "keys": {f"k{number}": KNOWN for number in range(size)},
            "dicts": [{"k": KNOWN} for _ in range(size // 2)],
        }[kind]

    times: list[float] = []
    clean = redact.redact

    def timed(*given: Any, **options: Any) -> None:
        start = own_time()
        clean(*given, **options)
        times.append(own_time() - start)

    monkeypatch.setattr(redact, "redact", timed)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        sent = made(int(scope["path"][1:]))
        sentry_sdk.get_current_scope().set_extra("sent", sent)
        sentry_sdk.set_context("sent", {"them": sent})
        for _ in range(5):
            sentry_sdk.capture_message("hello")

    for size in (8_000, 100_000):
        scope = http_scope(f"/{size}", headers=[(b"x-api-key", KNOWN.encode())])
        run(SentryMiddleware(app, watch=None), scope)  # for it blocks the loop
    assert min(times[5:]) < 3 * min(times[:5])
    shown = [event["contexts"]["sent"]["them"] for event in sentry.events]
    assert all(1_000 < len(one) <= 5_001 for one in shown[5:])
    assert KNOWN not in json.dumps(sentry.events)


class Broken(list[Any]):
    def __iter__(self) -> Any:
        raise RuntimeError


def test_what_is_cut_keeps_what_its_names_tell() -> None:
    pair = namedtuple("pair", ["user", "password"])  # noqa: PYI024
    much: Any = [{"a": number} for number in range(20_000)]
    first = [pair("bob", "hunter2"), sdk_events.annotated(["b"], {"len": 7}), Broken(), {1, 2}]
    deep: Any = "bottom"
    for _ in range(50):
        deep = [deep]
    parts = ("extra", "contexts", "user", "request", "logentry", "more")
    event: dict[str, Any] = {part: {"it": [*first, deep, object(), *much]} for part in parts}
    redact.redact(event, [])
    for part in parts:
        (named, marked, broken, numbers, _, _, *others) = event[part]["it"]
        assert named == {"user": "bob", "password": "[Filtered]"}
        assert (sdk_events.plain(marked), sdk_events.metadata_of(marked)) == (["b"], {"len": 7})
        assert (broken, numbers) == ("[Filtered]", [1, 2])
        assert "bottom" not in repr(event[part])
        assert len(others) < 5_000
