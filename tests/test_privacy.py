"""What leaves the process under which option, and that secrets never do."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, strategies as st

from sentry_asgi import SentryMiddleware
from sentry_asgi._redaction import names
from sentry_asgi._redaction.names import FILTERED

from .support import SDK_VERSION, Sentry, failing, http_scope, pii, run

has_data_collection = pytest.mark.skipif(
    SDK_VERSION < (2, 75), reason="the option data_collection is younger"
)


def request_of(sentry: Sentry, **changes: Any) -> dict[str, Any]:
    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(failing), http_scope("/", **changes))
    request: dict[str, Any] = sentry.event["request"]
    return request


HEADERS = [
    (b"host", b"example.org"),
    (b"accept", b"text/html"),
    (b"authorization", b"Basic c2VjcmV0"),
    (b"proxy-authorization", b"Bearer SECRET"),
    (b"cookie", b"theme=dark; session=SECRET"),
    (b"x-auth-token", b"SECRET"),
    (b"x-amz-security-token", b"SECRET"),
    (b"x-session-token", b"SECRET"),
    (b"x-csrftoken", b"SECRET"),
    (b"X-Api-Key", b"SECRET"),
    (b"x-forwarded-for", b"198.51.100.1"),
    (b"forwarded", b"for=198.51.100.1"),
    (b"cf-connecting-ip", b"198.51.100.1"),
    (b"x-remote-user", b"alice"),
    (b"referer", b"https://alice:SECRET@example.org/a?token=SECRET&page=2#top"),
]


@pytest.mark.parametrize("on", [False, True])
def test_secret_headers_are_removed_whatever_the_options_say(sentry: Sentry, on: bool) -> None:
    sentry.init(**pii(on=on))
    request = request_of(sentry, headers=HEADERS)
    headers = request["headers"]
    assert headers.keys() == {name.decode().lower() for name, _ in HEADERS}  # names stay
    assert "SECRET" not in str(request)
    assert "c2VjcmV0" not in str(request)
    assert headers["accept"] == "text/html"
    assert headers["referer"] == (f"https://{FILTERED}@example.org/a?token={FILTERED}&page=2#top")
    assert all(
        headers[name] == FILTERED
        for name in ("authorization", "x-auth-token", "x-session-token", "x-csrftoken", "x-api-key")
    )


@pytest.mark.skipif(SDK_VERSION >= (3, 0), reason="there it depends on data_collection alone")
def test_without_pii_nothing_tells_who_the_client_is(sentry: Sentry) -> None:
    request = request_of(sentry, headers=HEADERS)
    assert "env" not in request
    assert "198.51.100.1" not in str(request)
    assert "203.0.113.7" not in str(request)
    assert "alice" not in str(request)


def test_cookies_are_for_those_who_ask_and_lose_their_secrets(sentry: Sentry) -> None:
    sentry.init(**pii(on=True))
    headers = request_of(sentry, headers=HEADERS)["headers"]
    assert headers["cookie"] in (FILTERED, f"theme=dark; session={FILTERED}")
    assert names.clean_cookies("theme=dark; session=SECRET; odd; token=a=b") == (
        f"theme=dark; session={FILTERED}; odd; token={FILTERED}"
    )


@pytest.mark.parametrize(
    ("query", "cleaned"),
    [
        ("page=2&token=SECRET", f"page=2&token={FILTERED}"),
        ("password=SECRET", f"password={FILTERED}"),
        ("p%61ssword=SECRET", f"p%61ssword={FILTERED}"),  # encoding cannot hide a name
        ("token=SEC%26RET%3D&a=1", f"token={FILTERED}&a=1"),  # nor split a value
        ("token=SEC=RET", f"token={FILTERED}"),
        ("a=1;api-key=SECRET;b=2", f"a=1;api-key={FILTERED};b=2"),
        ("user[password]=SECRET", f"user[password]={FILTERED}"),
        ("API_KEY=SECRET", f"API_KEY={FILTERED}"),
        ("access%5Ftoken=SECRET", f"access%5Ftoken={FILTERED}"),
        ("flag&token", "flag&token"),
        ("a=1%26b%3D2", "a=1%26b%3D2"),
        ("author=bob&keyboard=us&monkey=1", "author=bob&keyboard=us&monkey=1"),
        ("&&;=", "&&;="),
    ],
)
def test_secret_parameters_are_removed_on_the_raw_bytes(
    sentry: Sentry, query: str, cleaned: str
) -> None:
    assert request_of(sentry, query_string=query.encode())["query_string"] == cleaned


@pytest.mark.parametrize(
    ("url", "cleaned"),
    [
        ("https://example.org/a", "https://example.org/a"),
        ("https://u:p@example.org/?a=1", f"https://{FILTERED}@example.org/?a=1"),
        ("/a?sid=1", f"/a?sid={FILTERED}"),
        ("https://example.org/@handle", "https://example.org/@handle"),
        ("mailto:a@b.org", "mailto:a@b.org"),
        ("", ""),
    ],
)
def test_urls_lose_their_credentials_and_secret_parameters(url: str, cleaned: str) -> None:
    assert names.privacy({}).url(url) == cleaned


SECRET_NAMES = [
    "password", "passwd", "user_passwd", "pwd", "passphrase", "client-secret", "Token",
    "access_token", "apiKey", "api-key", "API_KEY", "x.api.key", "key", "private-key", "accessKeyId",
    "authorization", "Authentication", "auth", "x-auth", "oauth_verifier", "session", "PHPSESSID",
    "connect.sid", "sid", "csrf", "_xsrf", "credentials", "cookie", "set-cookie", "jwt", "bearer",
    "SAMLResponse", "X-Amz-Signature", "sig", "otp", "pin", "cvv", "ssn", "passcode",
]  # fmt: skip
OTHER_NAMES = [
    "page", "author", "authority", "x-author", "keyboard", "monkey", "q", "spinner", "side",
    "passenger", "compass", "basin", "accept", "host", "user-agent", "content-type",
    "sortKey", "pageSize", "pässe", "spinnerCount",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_names_that_speak_of_a_secret(name: str) -> None:
    for form in (name, name.upper(), name.replace("_", "-"), name.replace("-", "_")):
        assert names.is_secret(form)


@pytest.mark.parametrize(
    "name",
    ["encryptionKey", "sshKey", "SSHKey", "otpCode", "userPin", "\uff50assword", "pass\xadword"],
)
def test_names_that_speak_of_a_secret_in_a_way_of_their_own(name: str) -> None:
    assert names.is_secret(name)


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_names_that_do_not(name: str) -> None:
    assert not names.is_secret(name)


@has_data_collection
@pytest.mark.parametrize(
    ("collection", "headers", "query"),
    [
        (
            {},
            {"accept": "text/html", "x-mine": "1", "x-auth-token": FILTERED},
            f"a=1&token={FILTERED}",
        ),
        ({"http_headers": {"request": {"mode": "off"}}}, None, f"a=1&token={FILTERED}"),
        (
            {"http_headers": {"request": {"mode": "allowlist", "terms": ["Mine", "token"]}}},
            {"accept": FILTERED, "x-mine": "1", "x-auth-token": FILTERED},
            f"a=1&token={FILTERED}",
        ),
        (
            {"http_headers": {"request": {"mode": "denylist", "terms": ["mine"]}}},
            {"accept": "text/html", "x-mine": FILTERED, "x-auth-token": FILTERED},
            f"a=1&token={FILTERED}",
        ),
        (
            {"url_query_params": {"mode": "off"}},
            {"accept": "text/html", "x-mine": "1", "x-auth-token": FILTERED},
            None,
        ),
        (
            {"url_query_params": {"mode": "allowlist", "terms": ["b"]}},
            {"accept": "text/html", "x-mine": "1", "x-auth-token": FILTERED},
            f"a={FILTERED}&token={FILTERED}",
        ),
    ],
)
def test_data_collection_is_honoured(
    sentry: Sentry, collection: Any, headers: Any, query: Any
) -> None:
    sentry.init(data_collection=collection)
    request = request_of(
        sentry,
        headers=[(b"accept", b"text/html"), (b"x-mine", b"1"), (b"x-auth-token", b"SECRET")],
        query_string=b"a=1&token=SECRET",
    )
    assert request.get("headers") == headers
    assert request.get("query_string") == query


@has_data_collection
@pytest.mark.parametrize("wanted", [True, False])
def test_data_collection_says_whether_the_address_is_sent(sentry: Sentry, wanted: bool) -> None:
    sentry.init(data_collection={"user_info": wanted})
    assert ("env" in request_of(sentry)) is wanted


@has_data_collection
def test_a_referer_follows_the_rule_for_queries(sentry: Sentry) -> None:
    sentry.init(data_collection={"url_query_params": {"mode": "off"}})
    request = request_of(sentry, headers=[(b"referer", b"https://example.org/a?b=c")])
    assert request["headers"]["referer"] == "https://example.org/a"


def test_a_collection_that_says_nothing_of_a_kind_is_careful() -> None:
    allowed = names.privacy({"data_collection": {"user_info": True}})
    assert allowed.headers({"accept": "x", "x-forwarded-for": "y"}) == {
        "accept": "x",
        "x-forwarded-for": FILTERED,
    }


@given(st.sampled_from(SECRET_NAMES), st.text(min_size=1, max_size=20), st.booleans())
def test_no_encoding_of_a_secret_parameter_survives(name: str, rest: str, encoded: bool) -> None:
    secret = "S3CR3T" + rest
    value = quote(secret, safe="", errors="replace")
    name = "".join(f"%{ord(letter):02x}" for letter in name) if encoded else name
    cleaned = names.privacy({}).query_string(f"a=b&{name}={value}&c=d")
    assert cleaned == f"a=b&{name}={FILTERED}&c=d"
