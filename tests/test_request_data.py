"""The request as it was: body, user, response and who asked, on the events of a connection."""

from __future__ import annotations

import asyncio
import codecs
import json
import sys
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import sentry_sdk

from sentry_asgi import SentryMiddleware
from sentry_asgi._connection import body as _body
from sentry_asgi._connection.request import Connection
from sentry_asgi._events import contexts as _contexts, user as _user
from sentry_asgi._redaction.names import FILTERED, privacy
from sentry_asgi._scopes import isolation
from sentry_asgi._scopes.public import PublicScopes
from sentry_asgi._sdk import scopes as sdk_scopes

from .support import (
    SDK_VERSION,
    Message,
    Scope,
    Sentry,
    http_scope,
    pii,
    run,
    websocket_scope,
)

has_data_collection = pytest.mark.skipif(
    SDK_VERSION < (2, 75), reason="the option data_collection is younger"
)


async def reading(scope: Scope, receive: Any, send: Any) -> None:
    message: Message = {"more_body": True}
    while message.get("more_body"):
        message = await receive()
    raise ValueError("nope")


def post(content_type: str, *chunks: bytes) -> dict[str, Any]:
    """Scope changes and messages of a request with a body."""
    headers = [(b"host", b"example.org"), (b"content-type", content_type.encode())]
    return {
        "scope": http_scope("/", method="POST", headers=headers),
        "messages": [
            {"type": "http.request", "body": chunk, "more_body": index + 1 < len(chunks)}
            for index, chunk in enumerate(chunks)
        ],
    }


def event_of(
    sentry: Sentry, scope: Scope, messages: Any = (), app: Any = reading, **options: Any
) -> dict[str, Any]:
    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(app, **options), scope, messages)
    return sentry.event


COOKIE = b"session=SECRET123; path=/"  # not in the source lines of a handler


# The body.

MULTIPART = (
    b'--b\r\nContent-Disposition: form-data; name="page"\r\n\r\n2\r\n'
    b'--b\r\nContent-Disposition: form-data; name="password"\r\n\r\nSECRET123\r\n'
    b'--b\r\nContent-Disposition: form-data; name="f"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    b"PNGDATA\r\n--b--\r\n"
)


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("application/json", b'{"a": 1, "token": "SECRET123"}', {"a": 1, "token": FILTERED}),
        ("application/problem+json; charset=utf-8", b"[1, null]", [1, None]),
        ("application/x-www-form-urlencoded", b"a=1&a=2&a=3&pass%77ord=x&b=%C3%A4",
         {"a": ["1", "2", "3"], "password": FILTERED, "b": "ä"}),
        ("text/plain; charset=latin-1", b"\xe4 and password=SECRET123", f"ä and password={FILTERED}"),
        ("text/plain; charset=nonsense", "ä".encode(), "ä"),
        ("text/plain", b"user: bob\npassword: SECRET123\n", f"user: bob\npassword: {FILTERED}\n"),
        ("text/plain", b"Passphrase: SECRET123 and more", f"Passphrase: {FILTERED}"),
        ("application/soap+xml", b"<a><token>SECRET123</token></a>", f"<a><token>{FILTERED}</token></a>"),
        ("text/xml", b"<a password='SECRET123'>x</a>", f"<a password='{FILTERED}'>x</a>"),
        ("application/json", b'[{"name": "password", "value": "SECRET123"}]',
         [{"name": "password", "value": FILTERED}]),
        ("multipart/form-data; boundary=b", MULTIPART,
         {"page": "2", "password": FILTERED,
          "f": {"filename": "a.png", "content_type": "image/png", "size": 7}}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_is_told_by_its_kind(
    sentry: Sentry, content_type: str, body: bytes, expected: Any, chunked: bool
) -> None:
    chunks = [body[:5], body[5:]] if chunked else [body]
    event = event_of(sentry, **post(content_type, *chunks))
    assert event["request"]["data"] == expected
    assert event["contexts"]["asgi"]["body_read"] == len(body)
    assert event["contexts"]["asgi"]["body_complete"] is True
    assert "SECRET123" not in json.dumps(event)


def test_no_codec_is_looked_up_by_a_clients_word(sentry: Sentry) -> None:
    looked_up: list[str] = []

    def search(name: str) -> None:  # asked for what Python does not know yet
        looked_up.append(name)

    codecs.register(search)
    try:
        for number in range(20):
            for media in ("text/plain", "application/json", "application/x-www-form-urlencoded"):
                kind = f"{media}; charset=made-up-{number}"
                with pytest.raises(ValueError, match="nope"):
                    run(SentryMiddleware(reading), *post(kind, b'{"a": 1}').values())
    finally:
        codecs.unregister(search)
    assert len(sentry.events) == 60
    assert [name for name in looked_up if "made" in name] == []


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("image/png", b"\x89PNG"),
        ("application/json", b"{"),
        ("application/json", b"[" * 9_000),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"no boundary"),
        ("", b"x"),
    ],
)
def test_what_cannot_be_understood_is_told_by_its_size(
    sentry: Sentry, content_type: str, body: bytes
) -> None:
    event = event_of(sentry, **post(content_type, body))
    assert event["request"].get("data", "") == ""
    assert event["_meta"]["request"]["data"][""] == {"rem": [["!raw", "x"]], "len": len(body)}


def test_without_python_multipart_a_form_is_told_by_its_size(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "python_multipart.multipart", None)
    event = event_of(sentry, **post("multipart/form-data; boundary=b", MULTIPART))
    assert event["_meta"]["request"]["data"][""]["len"] == len(MULTIPART)
    assert "SECRET123" not in json.dumps(event)


@pytest.mark.parametrize(
    ("size", "kept"), [("never", 0), ("small", 1_000), ("medium", 10_000), ("always", _body.CAP)]
)
def test_a_body_is_kept_as_far_as_the_option_says_and_marked_as_cut(
    sentry: Sentry, size: str, kept: int
) -> None:
    sentry.init(max_request_body_size=size)
    chunk = b"x" * 7_000
    event = event_of(sentry, **post("text/plain", *[chunk] * 20))
    meta = event["_meta"]["request"]["data"][""]
    if SDK_VERSION >= (2, 75) or size == "never":  # old SDKs cut all texts once more
        assert meta["len"] == 140_000
    assert event["contexts"]["asgi"]["body_read"] == 140_000
    if size == "never":
        assert meta["rem"] == [["!config", "x"]]
        assert event["request"].get("data", "") == ""
    else:
        assert meta["rem"][0][:1] == ["!limit"]
        assert len(event["request"]["data"]) <= kept
        if SDK_VERSION >= (2, 75):
            assert event["request"]["data"] == "x" * kept


def test_an_option_that_sentry_does_not_know_is_its_default() -> None:
    assert _body.limit("huge") == _body.limit(None) == _body.limit("medium") == 10_000


def test_a_body_of_which_the_app_has_read_half_is_told_by_half(sentry: Sentry) -> None:
    async def half(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        raise ValueError("nope")

    body = b'{"a": {"b": [1, 2, "x"], "token": "SECRET123"}, "c": "'
    event = event_of(sentry, **post("application/json", body, b'rest"}'), app=half)
    assert event["request"]["data"] == {"a": {"b": [1, 2, "x"], "token": FILTERED}}
    assert event["_meta"]["request"]["data"][""] == {"rem": [["!limit", "x"]], "len": len(body)}
    assert event["contexts"]["asgi"]["body_complete"] is False


def test_what_is_wrong_with_a_form_is_nothing_for_the_apps_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert _body.understand(b"--x", "multipart/form-data; boundary=b", cut=False).data is None
    assert caplog.records == []


def test_a_form_of_parts_without_end_is_told_by_its_first() -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n'
    body = _body.understand(part * 1_100, "multipart/form-data; boundary=b", cut=False)
    assert len(body.data["a"]) == 1_000


def test_a_cut_form_and_file_are_told_as_far_as_they_go() -> None:
    form = _body.understand(b"a=1&b=2&c=thr", "application/x-www-form-urlencoded", cut=True)
    assert form.data == {"a": "1", "b": "2"}
    files = _body.understand(MULTIPART[:-20], "multipart/form-data; boundary=b", cut=True)
    assert files.data["f"]["size"].startswith(">= ")
    fields = _body.understand(MULTIPART[:50], "multipart/form-data; boundary=b", cut=True)
    assert fields.data == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1, "b": 2', '{"a": 1}'),
        ('{"a": [1, {"b": "c,]}', '{"a": [1, {}]}'),
        ('{"a": "\\"', "{}"),
        ('[1, "x"] ]', '[1, "x"]'),
        ("[1}", "[]"),
        ("12", ""),
        ("", ""),
    ],
)
def test_json_is_mended_after_its_last_whole_value(text: str, expected: str) -> None:
    assert _body.close_truncated_json(text) == expected


def test_json_too_deep_is_not_mended_for_ever() -> None:
    assert len(_body.close_truncated_json("[" * 100_000)) < 1_000


def test_a_get_without_a_body_keeps_nothing(sentry: Sentry) -> None:
    event = event_of(sentry, http_scope("/"))
    assert "data" not in event["request"]
    assert event["contexts"]["asgi"]["body_read"] == 0


def test_a_body_that_nobody_reads_is_not_read(sentry: Sentry) -> None:
    asked = []

    async def failing(scope: Scope, receive: Any, send: Any) -> None:
        raise ValueError("nope")

    async def receive() -> Message:
        asked.append(1)
        return {"type": "http.request", "body": b"x"}

    async def main() -> None:
        await SentryMiddleware(failing)(http_scope("/"), receive, receive)  # type: ignore[arg-type]

    with pytest.raises(ValueError, match="nope"):
        asyncio.run(main())
    assert asked == []
    assert "data" not in sentry.event["request"]


@has_data_collection
@pytest.mark.parametrize("bodies", [[], ["incoming_request"]])
def test_data_collection_says_whether_bodies_are_sent(sentry: Sentry, bodies: list[str]) -> None:
    sentry.init(data_collection={"http_bodies": bodies})
    request = event_of(sentry, **post("application/json", b"[1]"))["request"]
    assert ("data" in request) is bool(bodies)


@has_data_collection
def test_data_collection_says_which_cookies_are_sent(sentry: Sentry) -> None:
    headers = [(b"cookie", b"theme=dark; lang=de; session=SECRET123")]
    sentry.init(data_collection={"cookies": {"mode": "allowlist", "terms": ["lang", "session"]}})
    request = event_of(sentry, http_scope("/", headers=headers))["request"]
    assert request["cookies"] == {"theme": FILTERED, "lang": "de", "session": FILTERED}


@pytest.mark.skipif(SDK_VERSION >= (3, 0), reason="transactions")
def test_a_transaction_has_the_body_user_and_response_too(sentry: Sentry) -> None:
    sentry.init(traces_sample_rate=1.0, **pii(on=True))

    async def traced(scope: Scope, receive: Any, send: Any) -> None:
        scope["user"] = {"id": 7}
        await receive()
        await send({"type": "http.response.start", "status": 201, "headers": []})

    run(SentryMiddleware(traced), **post("application/json", b'{"a": 1}'))
    for transaction in sentry.transport.items("transaction"):
        assert transaction["request"]["data"] == {"a": 1}
        assert transaction["user"]["id"] == "7"
        assert transaction["contexts"]["response"]["status_code"] == 201


# The user.


class Named(NamedTuple):
    id: int
    email: str


class Slotted:
    __slots__ = ("email", "id")

    def __init__(self) -> None:
        self.id = 7


class Querying:
    """A user like those of an ORM: whatever is asked of it queries a database."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    @property
    def id(self) -> int:
        self.asked.append("id")
        return 7

    username = email = is_authenticated = id  # noqa: A003

    def __getattr__(self, name: str) -> Any:
        self.__dict__["asked"].append(name)
        return "queried"


def plain_user(**attributes: Any) -> Any:
    user = type("User", (), {})()
    user.__dict__.update(attributes)
    return user


def django_user(evaluate: bool) -> Any:
    from django.utils.functional import SimpleLazyObject

    user = SimpleLazyObject(lambda: plain_user(pk=7, username="alice"))
    if evaluate:
        assert user.username == "alice"
    return user


def starlette_user(kind: str) -> Any:
    from starlette import authentication

    class Identified(authentication.BaseUser):
        identity = display_name = property(lambda self: "bob")

    class Silent(authentication.BaseUser):
        pass

    made = {"Identified": Identified, "Silent": Silent}
    if kind in made:
        return made[kind]()
    if kind == "SimpleUser":
        return authentication.SimpleUser("alice")
    return authentication.UnauthenticatedUser()


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        (None, {}),
        ({"sub": "7", "email": "a@b.org"}, {"id": "7", "email": "a@b.org"}),
        (plain_user(id=7, username="alice", email="a@b.org"),
         {"id": "7", "username": "alice", "email": "a@b.org"}),
        (plain_user(id=7, is_authenticated=False), {}),
        (plain_user(id=True, name=["no"], email=""), {}),
        (Slotted(), {"id": "7"}),
        (Named(7, "a@b.org"), {"id": "7", "email": "a@b.org"}),
        (starlette_user("SimpleUser"), {"username": "alice"}),
        (starlette_user("UnauthenticatedUser"), {}),
        (starlette_user("Identified"), {"id": "bob", "username": "bob"}),
        (starlette_user("Silent"), {}),
        (3, {}),
        ("text", {}),
    ],
)  # fmt: skip
def test_a_user_is_told_by_what_its_object_holds(user: Any, expected: Any) -> None:
    assert _user.describe(user) == expected


def test_a_lazy_user_is_told_once_somebody_has_evaluated_it() -> None:
    assert _user.describe(django_user(evaluate=True)) == {"id": "7", "username": "alice"}
    assert _user.describe(django_user(evaluate=False)) == {}


def test_ids_of_many_types_are_texts_and_nothing_else_is() -> None:
    import uuid

    assert _user.describe({"id": uuid.UUID(int=7)}) == {"id": str(uuid.UUID(int=7))}
    assert _user.describe({"id": object()}) == {}
    nested: Any = django_user(evaluate=False)
    for _ in range(4):
        nested = wrapped(nested)
    assert _user.describe(nested) == {}


def wrapped(user: Any) -> Any:
    from django.utils.functional import SimpleLazyObject

    lazy = SimpleLazyObject(lambda: user)
    object.__setattr__(lazy, "_wrapped", user)
    lazy.__dict__["_wrapped"] = user
    return lazy


def test_a_user_is_never_asked_what_it_would_have_to_query() -> None:
    user = Querying()
    assert _user.describe(user) == {}
    assert user.asked == []


def test_a_user_that_raises_is_nobody() -> None:
    class Broken(dict[str, Any]):
        __slots__ = ()

        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError(name)

    class Worse:
        __class__ = property(lambda self: 1 / 0)

    assert _user.describe(Broken()) == {}
    assert _user.describe(Worse()) == {}


def test_no_user_is_looked_at_for_a_request_that_reports_nothing(sentry: Sentry) -> None:
    sentry.init(**pii(on=True))
    user = Querying()

    async def fine(scope: Scope, receive: Any, send: Any) -> None:
        scope["user"] = user

    run(SentryMiddleware(fine))
    assert user.asked == []


SILENT = object()


@pytest.mark.parametrize(
    "given", [SILENT, None, {}, {"id": "8"}, {"segment": "x"}, {"ip_address": "192.0.2.1"}]
)
@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("public", [True, False])
def test_what_the_app_set_wins_and_nobody_is_named_unasked(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, on: bool, given: Any, public: bool
) -> None:
    if not on and given == {"ip_address": "192.0.2.1"}:
        given = {"segment": "y"}  # old SDKs hide an address by themselves
    sentry.init(**pii(on=on))
    if public:
        monkeypatch.setattr(isolation, "_chosen", lambda: PublicScopes)

    async def failing(scope: Scope, receive: Any, send: Any) -> None:
        scope["user"] = {"id": 7, "username": "alice"}
        if given is not SILENT:
            sentry_sdk.set_user(given)
        raise ValueError("nope")

    user = event_of(sentry, http_scope("/"), app=failing).get("user") or {}
    theirs = {"id": "7", "username": "alice"} if on else {}
    assert user == (theirs if given is SILENT else given or {})


def test_where_the_sdk_keeps_the_user_elsewhere_its_scope_is_left_alone() -> None:
    elsewhere = SimpleNamespace()
    sdk_scopes.set_default_user(elsewhere, {"id": "7"})
    assert vars(elsewhere) == {}


# The response, and the facts of ASGI.


def test_the_response_is_told_as_it_was_sent(sentry: Sentry) -> None:
    async def failing(scope: Scope, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/html"), (b"set-cookie", COOKIE)]
        await send({"type": "http.response.start", "status": 206, "headers": headers})
        await send({"type": "http.response.body", "body": b"12345", "more_body": True})
        raise ValueError("nope")

    event = event_of(sentry, http_scope("/", scheme="https"), app=failing)
    response = event["contexts"]["response"]
    assert (response["status_code"], response["body_size"]) == (206, 5)
    assert response["headers"] == {"content-type": "text/html", "set-cookie": FILTERED}
    asgi = event["contexts"]["asgi"]
    assert asgi.pop("time_to_first_byte_ms") >= 0
    assert asgi == {
        "spec_version": "2.4",
        "version": "3.0",
        "http_version": "1.1",
        "server": "127.0.0.1:8000",
        "tls": True,
        "phase": "during response",
        "client_left": False,
        "body_read": 0,
        "body_complete": False,
    }
    assert "SECRET123" not in json.dumps(event)


def test_a_websockets_handshake_is_its_response(sentry: Sentry) -> None:
    async def failing(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        raise ValueError("nope")

    contexts = event_of(sentry, websocket_scope("/"), app=failing)["contexts"]
    assert contexts["response"]["status_code"] == 101
    assert "body_read" not in contexts["asgi"]


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"server": ("/run/app.sock", None)}, {"server": "/run/app.sock"}),
        ({"server": ("::1", 80)}, {"server": "[::1]:80"}),
        ({"server": None}, {"server": None}),
        ({"server": (1, 2)}, {"server": None}),
        ({"extensions": {"tls": {"tls_version": 0x0304}}}, {"tls": "1.3"}),
        ({"extensions": {"tls": {"tls_version": 0x0505}}}, {"tls": "0x505"}),
        ({"extensions": {"tls": {}}}, {"tls": False}),
        ({"scheme": None, "asgi": None, "http_version": 2}, {"tls": None, "spec_version": None, "http_version": None}),
    ],
)  # fmt: skip
def test_facts_that_are_odd_are_absent(sentry: Sentry, changes: Any, facts: Any) -> None:
    asgi = event_of(sentry, http_scope("/", **changes))["contexts"]["asgi"]
    assert {name: asgi.get(name) for name in facts} == facts


def test_of_a_connection_that_nobody_watched_nothing_is_told() -> None:
    connection = Connection(http_scope("/"))
    assert _contexts.contexts(connection, privacy({})) == {}
    assert not _contexts.body_cut(connection, 0)
    assert _contexts.body_read(connection) == 0


# Trusted proxies.


@pytest.mark.parametrize(
    ("hops", "headers", "expected"),
    [
        (0, [(b"x-forwarded-for", b"1.1.1.1")], "203.0.113.7"),
        (1, [(b"x-forwarded-for", b"6.6.6.6, 1.1.1.1")], "1.1.1.1"),
        (2, [(b"x-forwarded-for", b"6.6.6.6, 1.1.1.1"), (b"X-Forwarded-For", b"2.2.2.2:443")], "1.1.1.1"),
        (1, [(b"x-forwarded-for", b"[::1]:443")], "::1"),
        (1, [(b"x-forwarded-for", b"::1")], "::1"),
        (3, [(b"x-forwarded-for", b"1.1.1.1")], "203.0.113.7"),
        (1, [(b"x-forwarded-for", b"nonsense")], None),
        (1, [(b"forwarded", b'for=6.6.6.6, proto=https;for="[2001:db8::1]:80"')], "2001:db8::1"),
        (2, [(b"forwarded", b"for=1.1.1.1;by=_x, for=2.2.2.2")], "1.1.1.1"),
        (1, [(b"forwarded", b"for=_hidden")], None),
        (1, [(b"forwarded", b"proto=https")], None),
        (1, [], "203.0.113.7"),
    ],
)  # fmt: skip
def test_the_client_is_as_many_entries_from_the_right_as_are_trusted(
    sentry: Sentry, hops: int, headers: Any, expected: str | None
) -> None:
    sentry.init(**pii(on=True))
    event = event_of(sentry, http_scope("/", headers=headers), trusted_hops=hops)
    assert event["request"].get("env", {}).get("REMOTE_ADDR") == expected


@pytest.mark.parametrize("hops", [-1, "1", None])
def test_a_number_of_proxies_is_a_number(hops: Any) -> None:
    with pytest.raises(ValueError, match="trusted_hops"):
        SentryMiddleware(reading, trusted_hops=hops)
