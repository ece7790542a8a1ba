"""What is secret in a text by itself, in whatever notation; and what is not, however much it sounds like it."""

from __future__ import annotations

import json

import pytest

from sentry_asgi._redaction import names, rules, texts
from sentry_asgi._redaction.names import FILTERED

# As pydantic has it.
REFUSED = """2 validation errors for X
age
  Input should be an integer [type=int_parsing, input_value='x', input_type=str]
in.password
  Input should be an integer [type=int_parsing, input_value={}, input_type=str]
    For further information"""
PASSPHRASE = "correct horse battery"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Said with a colon or an equals sign.
        ("password: hunter2", f"password: {FILTERED}"),
        ("Password:hunter2, then", f"Password:{FILTERED}, then"),
        ("a\nPASSWORD = hunter2\nb", f"a\nPASSWORD = {FILTERED}\nb"),
        ("login failed (user: bob, password: hunter2)", f"login failed (user: bob, password: {FILTERED})"),
        ("pwd=hunter2&a=b", f"pwd={FILTERED}&a=b"),
        ("API key: k-123456", f"API key: {FILTERED}"),
        ("secret: hunter", f"secret: {FILTERED}"),
        ("pin and password: 1234", f"pin and password: {FILTERED}"),
        ("token: 834021", f"token: {FILTERED}"),
        ("invalid token: abc-1", f"invalid token: {FILTERED}"),
        ("access_token: ya29.x", f"access_token: {FILTERED}"),
        # As headers are written.
        ("Cookie: theme=dark; sid=1", f"Cookie: {FILTERED}"),
        ("Authorization: Digest username=bob, response=6629fae4", f"Authorization: {FILTERED}"),
        ("Authorization: Bearer abcdefgh", f"Authorization: Bearer {FILTERED}"),
        ("authorization: Basic YTpi\nhost: x", f"authorization: Basic {FILTERED}\nhost: x"),
        ("Authorization: k-123456", f"Authorization: {FILTERED}"),
        # Markup.
        ("<password>hunter2</password>", f"<password>{FILTERED}</password>"),
        ("<ns:Token type='x'> hunter2</ns:Token>", f"<ns:Token type='x'> {FILTERED}</ns:Token>"),
        ("<a><pin>1234</pin><b>1234</b></a>", f"<a><pin>{FILTERED}</pin><b>1234</b></a>"),
        ("<secret><![CDATA[a<b]]></secret>", f"<secret><![CDATA[{FILTERED}]]></secret>"),
        ("<secret>cut off</", f"<secret>{FILTERED}</"),
        ("<token><secret>a</secret></token>", f"<token><secret>{FILTERED}</secret></token>"),
        ("<secret>a</secret><pin><![CDATA[<otp>b</otp>]]></pin>",
         f"<secret>{FILTERED}</secret><pin><![CDATA[{FILTERED}]]></pin>"),
        ('<user name="bob" password="x y"/>', f'<user name="bob" password="{FILTERED}"/>'),
        ('<field name="password" value="x y"/>', f'<field name="password" value="{FILTERED}"/>'),
        ("<credentials>\n<user>bob</user><pass>x</pass></credentials><a>b</a>",
         f"<credentials>\n<user>{FILTERED}</user><pass>{FILTERED}</pass></credentials><a>b</a>"),
        ("<secret><a><![CDATA[b<c]]></a></secret>", f"<secret>{FILTERED}</secret>"),
        ("<token /><a>b</a><secret>x<br>y", f"<token /><a>b</a><secret>{FILTERED}<br>y"),
        ("<credentials><user>bob</credentials>", f"<credentials><user>{FILTERED}</credentials>"),
        ("<credentials><user</credentials>", "<credentials><user</credentials>"),
        # Within brackets.
        ("D(password=bytearray(b'x'), a='b')", f"D(password={FILTERED}, a='b')"),
        ("D(password=Secret('x)', 1), a='b')", f"D(password={FILTERED}, a='b')"),
        ("{'tokens': ['x', 'y'], 'a': ['b']}", f"{{'tokens': {FILTERED}, 'a': ['b']}}"),
        ("{'token': {'in': ('x',)}, 'a': 'b'}", f"{{'token': {FILTERED}, 'a': 'b'}}"),
        ("password=namespace(a=1, b='x')", f"password={FILTERED}"),
        ("passwords={'it\\'s)', 'x'} b", f"passwords={FILTERED} b"),
        ("password = [b'cut o", f"password = {FILTERED}"),
        (json.dumps({"tokens": ["x", {"a": "y"}], "a": "b"}, indent=2),
         f'{{\n  "tokens": {FILTERED},\n  "a": "b"\n}}'),
        (repr(json.dumps({"tokens": ["x'"], "a": "b"}, indent=2)),
         repr(json.dumps({"tokens": ["x'"], "a": "b"}, indent=2)).replace('[\\n    "x\\\'"\\n  ]', FILTERED)),
        (repr(json.dumps({"token": "it's \"x\"", "a": "b"})), f"'{{\"token\": \"{FILTERED}\", \"a\": \"b\"}}'"),
        # Told in ways of their own.
        (REFUSED.format("'x]'"), REFUSED.format(FILTERED)),
        (repr("for X\ntoken\n  No [type=int, input_value=123, input_type=int]"),
         repr(f"for X\ntoken\n  No [type=int, input_value={FILTERED}, input_type=int]")),
        ("mysql --password hunter2 -h db", f"mysql --password {FILTERED} -h db"),
        ("mysql --db-password=hunter2 -h db", f"mysql --db-password={FILTERED} -h db"),
        ("Command '['mysql', '--password', 'hunter2', '-h']' failed",
         f"Command '['mysql', '--password', '{FILTERED}', '-h']' failed"),
        ("password     =   hunter2", f"password     =   {FILTERED}"),
        ("a -----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY----- b",
         f"a -----BEGIN RSA PRIVATE KEY-----{FILTERED}-----END RSA PRIVATE KEY----- b"),
        ("-----BEGIN PRIVATE KEY-----\ncut o", f"-----BEGIN PRIVATE KEY-----{FILTERED}"),
        # In URLs.
        ("postgres://bob:p/w?d#@db/x", f"postgres://{FILTERED}@db/x"),
        ("postgres://bob:p@w@db/x", f"postgres://{FILTERED}@db/x"),
        ("https://" + "x" * 2_000 + "@host/a", f"https://{FILTERED}@host/a"),
        # By its looks, wherever it begins.
        ("a.b.long-enough-eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.c2ln", f"a.b.long-enough-{FILTERED}"),
        ("eyJhbGciOiJIUzI1NiJ9." + "a" * 9_000 + ".sig!", f"{FILTERED}!"),
        # A name beside its value.
        ('{"name": "password", "value": "x y"}', f'{{"name": "password", "value": "{FILTERED}"}}'),
        ("{'name': 'password', 'value': 'x y'}", f"{{'name': 'password', 'value': '{FILTERED}'}}"),
        ('{"value": "x y", "key": "api_key"}', f'{{"value": "{FILTERED}", "key": "api_key"}}'),
        # Quoted once more.
        (json.dumps(json.dumps({"token": 'a"b', "c": "d"})),
         json.dumps(json.dumps({"token": FILTERED, "c": "d"}))),
        (json.dumps({"in": json.dumps({"token": "ab", "c": "d"})}),
         json.dumps({"in": json.dumps({"token": FILTERED, "c": "d"})})),
        ('{"token": "ends in \\\\", "a": "b"}', f'{{"token": "{FILTERED}", "a": "b"}}'),
        ("{'token': \"it's\", 'a': 1}", f"{{'token': \"{FILTERED}\", 'a': 1}}"),
        ("{'token': 'cut o", f"{{'token': '{FILTERED}"),
        ("('token','" + "x" * 9_000, "('token','" + "x" * 9_000),  # no pair so far
    ],
)  # fmt: skip
def test_the_value_beside_a_secrets_name_goes_in_every_notation(text: str, expected: str) -> None:
    assert texts.clean_text(text) == expected
    assert texts.clean_text(expected) == expected  # what is clean stays as it is


INNOCENT_TEXTS = [
    "token_count: 3", "max_tokens=4096, prompt_tokens: 812", "tokens: 1500 of 2000 used", "tokens=1500",
    "session_length: 3600", "sessions: 12", "session: 12", '{"tokenCount": "3", "session_timeout": "30s"}',
    "author: bob", "author=bob", "the authors: bob and alice", "authority: example.org", "Secretary: Alice",
    "tokenizer: bpe", "password: This field is required.", "password: must have 8 characters", "password: invalid",
    "token: expired", "token: None", "password=None", "password: str = ''", "Unexpected token: foo",
    "Unexpected token } in JSON at position 3", "the session is over: good night", "Basic authentication is off",
    "a basic example", "the bearer of this", "bearer tokens are read here", "keyboard: us", "monkey=1", "compass: north",
    "passengers: 3", "https://example.org/a/b", "see https://example.org/login?next=/home&page=2",
    "mail alice@example.org", "12:30:45 user@host:/tmp$ ls", "SELECT id FROM sessions WHERE user_id = %s",
    "KeyError: 'session'", "a cookie: sweet and round", "password == confirmation", "if token: return",
    "csrf: ok", "<title>Password</title>", "<author>bob</author>", "<token/>", "<input name='password' type='password'>",
    '{"name": "colour", "value": "red"}', '{"key": "page", "value": "2"}', "secrets: none", "eyjafjallajökull",
    "token:\n  then", "GET /oauth/token -> 200", "İstanbul'da parola: yok", "['password', 'username', 'email']",
    "password: (8 characters or more)", "token: [1, 2]", "the session is Session('a')",
    "http://host:80/a@b", "http://host:8000/users/bob@example.org", "see http://host:8000?to=bob@example.org",
    "eyj is no token.by.itself", "eyj of some-module-name.function.line", "public_key=abc", "use --password to set it", "mysql --password -h db",
    "password\n  Field required [type=missing]", "-----BEGIN PUBLIC KEY-----\nx", "sort_key: name", "The password of the user has expired.", "cookie policy: see /cookies",
]  # fmt: skip


@pytest.mark.parametrize("text", INNOCENT_TEXTS)
def test_an_ordinary_text_stays_as_it_is(text: str) -> None:
    assert texts.clean_text(text) is text or texts.clean_text(text) == text


INNOCENT_NAMES = [
    "token_count", "tokenCount", "max_tokens", "maxTokens", "prompt_tokens", "completion_tokens", "total_tokens",
    "tokens_used", "session_length", "session-timeout", "sessionDuration", "password_length", "password_required",
    "cookie_consent", "cookie-policy", "csrf_exempt", "token_type", "token_expires_at", "auth_type", "author",
    "authors", "author_id", "co-author", "authority", "secretary", "tokenizer", "tokenization", "public_key",
    "primary_key", "sort_key", "cache-key", "idempotency-key", "user-agent", "passenger", "keyboard",
]  # fmt: skip


@pytest.mark.parametrize("name", INNOCENT_NAMES)
def test_a_name_that_measures_or_describes_is_no_secrets(name: str) -> None:
    assert not names.is_secret(name)
    assert not rules.RULES.variables[name]


@pytest.mark.parametrize("name", ["session_storage", "tokens", "token_value", "password_hash", "auth", "sessionid"])  # fmt: skip
def test_a_name_that_only_seems_to_describe_is_one(name: str) -> None:
    assert names.is_secret(name)


def test_what_a_text_tells_of_secrets_is_known() -> None:
    text = f"token_count: 3\nuser: bob\npassphrase: {PASSPHRASE}\n<pin>4711</pin>\ntoken=abc&x=y"
    assert {PASSPHRASE, "4711", "abc"} <= set(texts.secret_values(text))
    assert "3" not in set(texts.secret_values(text))
    assert list(texts.secret_values("nothing to see")) == []


def test_a_letter_that_has_two_small_ones_moves_nothing() -> None:
    assert texts.clean_text("İİİ password=HUNTER2 İ") == f"İİİ password={FILTERED} İ"
