"""What may leave the process, by the names of things.

The rules:

- The SDK's options say what is wanted: `data_collection` where the user gave it (SDK 2.75 and 3), else
  `send_default_pii`.
- Secrets go whatever the options say: the value of any header, cookie, parameter or key whose name speaks of a
  password, token, key, session or the like. Names are compared without regard to case, and `-` and `_` are the same.
- Without PII, so do the headers that name the client: forwarded addresses and users.
- Values are replaced by `[Filtered]`; names and structure stay. Query strings are cut on their raw
  bytes and put together again untouched: percent-encoding can neither hide a name nor split a value.
- URLs inside headers (Referer, Origin, Location) lose secret parameters and credentials too.

A secret that has no name where it recurs, in a frame's variables or a message, is the subject of `secrets`.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import unquote_plus

FILTERED: Final = "[Filtered]"

# Whether something of that name may be sent; None if nothing of its kind may.
Keeps: TypeAlias = Callable[[str], bool] | None

# Names in small letters, after `-`, `.` and space have become `_`; `sshKey` is also looked at as `ssh_key`. The first
# part matches anywhere in a name, the second whole words of it. "auth" is one, but for "author" and "authority", of
# which "authorization" is none.
_SECRET: Final = re.compile(
    r"passw|passphrase|passcode|pwd|secret(?!ar)|token(?!i[sz])|api_?key|access_?key|private_?key|credential|session"
    r"|csrf|xsrf|cookie|bearer|jwt|saml|signature|auth(?!or(?!i[sz]))"
    r"|(?:^|_)(?:key|pass|sid|sess|sso|otp|pin|cvv|cvc|ssn|sig|code_verifier)(?:_|$)"
    r"|sessid|sess_id"
)
# Of variables fewer: many are called `key` or `pin` that hold nothing secret.
_VARIABLE: Final = re.compile(
    r"passw|passphrase|passcode|pwd|secret(?!ar)|token(?!i[sz])|api_?key|access_?key|private_?key|credential|session"
    r"|csrf|xsrf|cookie|authori[sz]ation|authentication|bearer|jwt|(?:^|[^a-z])auth(?:[^a-z]|$)|_auth(?!or(?!i[sz]))|sessid|signature"
    r"|(?:^|_)(?:creds|otp|pw)$|_pass$|(?:encryption|signing|master|stripe|account|license|service)_?key"
)
# Of these, what only measures or describes: `max_tokens`, `session_length`, `tokenType`. And keys that unlock nothing.
_DESCRIBED: Final = re.compile(
    r"_(?:count|length|len|size|limit|ttl|age|duration|lifetime|timeout|expiry|expires|expires_at|expires_in|expired"
    r"|expiration|types?|usage|used|total|budget|strength|required|enabled|policy|consent|exempt)$"
    r"|(?:^|_)(?:max|min|num|total|prompt|completion|input|output|cached|reasoning)(?:_[a-z]{1,20})?_tokens$"
    r"|(?:^|_)(?:public|primary|foreign|sort|cache|partition|routing|idempotency|translation|group|object|row|dict|map"
    r"|lookup|index|unique|composite|natural|shard|i18n)_key$"
    # What is said of one, and what makes one. Not what carries one: a header, a URL that resets.
    r"|(?:auth|key|token|session|cookie|csrf|password|secret|credential)s?_(?:methods?|schemes?|status|class|models?"
    r"|backends?|engine|factory|maker|provider|manager|handler|serializer|middleware|validators?|field|names?|format"
    r"|version|created_at|updated_at|rotated_at|help_text|placeholder|label|samesite|httponly)$"
    r"|(?:^|_)(?:has|is|needs|requires)_(?:\w{1,30}_)?(?:password|token|secret|session|cookie|key|auth|credentials?)s?$"
    r"|^(?:oauth2?_|oidc_)?(?:auth|token)_(?:url|uri|endpoint)$|^session_state$"
    # Of texts that are cut into tokens, and of pages. A token that resets or is new is one.
    r"|(?:^|_)(?:eos|bos|pad|unk|sep|cls|mask)_tokens?$|^(?:next_|prev_|previous_)?page_token$"
    r"|(?:^|_)(?:n|billed|sampled|generated|reserved|remaining|consumed|special|stop)_tokens$"
    r"|(?:^|_)tokens_(?:remaining|left|per_\w{1,20}|in|out|seen|generated)$|(?:^|_)token_(?:ids|logprobs|price|cost)$"
    # The name of a key, but for AWS's, which is half a credential; and what talks to a database or a service.
    r"|^(?!.*access_?key).*(?:^|_)key_id$|(?:^|_)(?:db|database|sql|orm|aiohttp|requests|boto3?)_session$"
)
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_PERSONAL: Final = re.compile(
    r"forwarded|(?:^|_)ip(?:_|$)|remote_|(?:^|_)user(?!_agent)(?:_|$)|^via$"
)
_URL_HEADERS: Final = frozenset(
    {"referer", "origin", "location", "content-location", "x-original-url"}
)
# A value that says itself that it is a credential, whatever its header is called.
_CREDENTIAL: Final = re.compile(
    r"\s{0,20}(?:basic|bearer|digest|negotiate|token)\s{1,20}\S", re.IGNORECASE
)
_USER_INFO: Final = re.compile(r"//[^/@?#]*@")
_NAME_LENGTH: Final = 64
_NAMES: Final = 2048  # of a generation
_DEPTH: Final = 32


class Names(dict[Any, bool]):
    """Whether a thing of some name is secret: a look-up in a dictionary, for it is asked of each key of each event.

    Clients send ever new names. When as many have come as are remembered, all become the older generation, and the one
    before is forgotten; what is asked for meanwhile becomes new again. So no client makes it grow, or makes it forget
    the names that the application uses in each event.
    """

    def __init__(self, pattern: re.Pattern[str]) -> None:
        super().__init__()
        self._pattern = pattern
        self._older: dict[Any, bool] = {}

    def __missing__(self, name: Any) -> bool:
        secret = self._older.get(name)
        if secret is None:
            secret = self._judge(str(name))
        if name.__class__ is str and len(name) <= _NAME_LENGTH:
            if len(self) >= _NAMES:
                self._older = self.copy()
                self.clear()
            self[name] = secret
        return secret

    def known(self, name: Any) -> bool | None:
        """Whether it is secret, as far as that is remembered."""
        secret = self.get(name)
        return self._older.get(name) if secret is None else secret

    def _judge(self, text: str) -> bool:
        forms = [_canonical(text)]
        if not text.islower():
            forms.append(_canonical(_HUMP.sub("_", text)))
        return any(map(self._pattern.search, forms)) and not any(map(_DESCRIBED.search, forms))


SECRETS: Final = Names(_SECRET)
VARIABLES: Final = Names(_VARIABLE)


class Work:
    """What may still be looked at, of what one client sends or one event holds; what is beyond goes unseen."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self, amount: int = 1) -> bool:
        """Take a part of it; whether there was any left."""
        self.left -= amount
        return self.left >= 0

    def hides(self, name: Any, names: Names = SECRETS) -> bool:
        """Whether what has this name is to be replaced: it is secret, or there is no time left to tell."""
        known = names.known(name)
        if known is None:
            return not self.spend() or names[name]
        return known

    def tells(self, name: Any, names: Names = SECRETS) -> bool:
        """Whether what has this name is known to be secret."""
        known = names.known(name)
        if known is None:
            return self.spend() and names[name]
        return known


MOST: Final = 500
"""New names that are judged of one source: a query, a header of cookies, a body, all headers."""


def is_secret(name: str) -> bool:
    """Whether a header, cookie, parameter or key of that name holds a secret."""
    return SECRETS[name]


@functools.lru_cache(maxsize=1024)
def _is_personal(name: str) -> bool:
    return _PERSONAL.search(_canonical(name)) is not None


_LONGEST_NAME: Final = 256


def _canonical(name: str) -> str:
    if (
        len(name) > _LONGEST_NAME
    ):  # to normalise marks that combine takes time that grows as a square
        name = name[: _LONGEST_NAME // 2] + name[-_LONGEST_NAME // 2 :]
    if not name.isascii():  # wide letters, and invisible ones
        known = unicodedata.normalize("NFKC", name)
        name = "".join(one for one in known if unicodedata.category(one) != "Cf")
    return re.sub(r"[-. \[\]]", "_", name.lower())


@dataclass(frozen=True, slots=True)
class Privacy:
    """What the options of one client allow: `user_info` is about addresses and users."""

    user_info: bool
    keep_header: Keeps
    keep_parameter: Keeps
    keep_cookie: Keeps
    # Whether the bodies of incoming requests may be sent.
    bodies: bool

    def headers(self, headers: Mapping[str, str]) -> dict[str, str] | None:
        """Headers (lower-case names) as they may be sent; None if none may."""
        if self.keep_header is None:
            return None
        work = Work(MOST)
        return {name: self._header(name, value, work) for name, value in headers.items()}

    def _header(self, name: str, value: str, work: Work) -> str:
        assert self.keep_header is not None  # headers() asked
        if name == "cookie" and self.keep_cookie is not None:
            return clean_cookies(value, self.keep_cookie)
        if work.hides(name) or not self.keep_header(name) or _CREDENTIAL.match(value):
            return FILTERED
        return self.url(value) if name in _URL_HEADERS else value

    def cookies(self, header: str) -> dict[str, str] | None:
        """The cookies of a Cookie header as they may be sent; None if none may."""
        keep = self.keep_cookie
        if keep is None:
            return None
        work = Work(MOST)
        return {
            name: FILTERED if work.hides(name) or not keep(name) else value
            for name, value in cookie_pairs(header)
        }

    def query_string(self, query: str) -> str | None:
        """A raw query string as it may be sent; None if it may not."""
        keep = self.keep_parameter
        if keep is None:
            return None
        return clean_query(query, keep)

    def url(self, url: str) -> str:
        """A URL or reference without credentials and without what `query_string` removes."""
        address, question, query = url.partition("?")
        address = _USER_INFO.sub(f"//{FILTERED}@", address, count=1)
        if not question:
            return address
        query, mark, fragment = query.partition("#")
        cleaned = self.query_string(query)
        return address if cleaned is None else f"{address}?{cleaned}{mark}{fragment}"


def clean_query(query: str, keep: Callable[[str], bool], work: Work | None = None) -> str:
    """A raw query string or urlencoded form, with what is secret or not to be kept replaced."""
    work = work or Work(MOST)
    # ";" separates for some parsers, so a secret may hide after it; it is put back as it was.
    return "".join(
        piece if piece in _SEPARATORS else _clean_parameter(piece, keep, work)
        for piece in re.split(r"([&;])", query)
    )


_SEPARATORS: Final = frozenset({"&", ";", ""})


def _clean_parameter(piece: str, keep: Callable[[str], bool], work: Work) -> str:
    name, equals, _ = piece.partition("=")
    if not equals:
        return piece
    plain = decoded(name)
    return f"{name}={FILTERED}" if work.hides(plain) or not keep(plain) else piece


def decoded(text: str) -> str:
    """Percent-decoded, as often as somebody may have encoded it."""
    for _ in range(3):
        if "%" not in text and "+" not in text:
            break
        text = unquote_plus(text)
    return text


def secret_parameters(query: str) -> Iterator[str]:
    """The values, still encoded, of the secret parameters of a query string or form."""
    work = Work(MOST)
    for piece in _first_and_last(re.split("[&;]", query)):
        name, equals, value = piece.partition("=")
        if equals and work.tells(decoded(name)):
            yield value


def _first_and_last(pieces: list[str]) -> list[str]:
    """As many as are looked at of what one client sends."""
    return pieces if len(pieces) <= 2 * MOST else [*pieces[:MOST], *pieces[-MOST:]]


def cookie_pairs(header: str) -> Iterator[tuple[str, str]]:
    """Names and values of a Cookie header; of a thousand the first and the last."""
    for pair in _first_and_last(header.split(";")):
        name, equals, value = pair.partition("=")
        if equals:
            yield name.strip(), value.strip()


def clean_cookies(header: str, keep: Callable[[str], bool] = lambda _: True) -> str:
    """A Cookie header with the values of secret and unwanted cookies replaced."""
    work = Work(MOST)
    pairs = (pair.partition("=") for pair in header.split(";"))
    return ";".join(
        f"{name}={FILTERED}"
        if equals and (work.hides(name.strip()) or not keep(name.strip()))
        else f"{name}{equals}{value}"
        for name, equals, value in pairs
    )


# `{"name": "password", "value": "x"}`: where the name stands, and where the value.
_NAMED_BY: Final = ("name", "key", "field", "label", "header", "param", "parameter", "variable")
VALUE_KEYS: Final = frozenset(
    {"value", "values", "val", "content"} | {"'value'", "'values'", "'val'", "'content'"}
)
_SAID_NAME: Final = re.compile(r"b?(['\"]?)([\w. -]{1,40})\1")


def told_by_name(data: Mapping[Any, Any], work: Work | None = None) -> bool:
    """Whether a mapping tells the value of a secret beside its name, both as values."""
    if VALUE_KEYS.isdisjoint(data):
        return False
    work = work or Work(MOST)
    for key in _NAMED_BY:
        name = data.get(key)
        if isinstance(name, str):
            said = _SAID_NAME.fullmatch(name)
            if said is not None and work.hides(said[2]):
                return True
    return False


def is_name_of(data: Mapping[Any, Any], key: Any) -> bool:
    """Whether a key of a mapping is there for a name: that of a `{"key": ..., "value": ...}`."""
    return bool(key == "key") and not VALUE_KEYS.isdisjoint(data)


def clean_data(data: Any) -> Any:
    """Parsed data (JSON, a form) with the values of secret keys replaced, at any depth."""
    return _clean_data(data, Work(MOST), 0)


def _clean_data(data: Any, work: Work, depth: int) -> Any:
    if depth > _DEPTH and isinstance(data, (dict, list)):
        return FILTERED
    if isinstance(data, dict):
        told = told_by_name(data, work)
        return {
            key: FILTERED
            if (told and key in VALUE_KEYS) or (work.hides(key) and not is_name_of(data, key))
            else _clean_data(value, work, depth + 1)
            for key, value in data.items()
        }
    if isinstance(data, list):
        return [_clean_data(value, work, depth + 1) for value in data]
    return data


def secret_data(data: Any) -> Iterator[str]:
    """Every text and number that stands beneath a secret key of parsed data."""
    return _secret_data(data, Work(MOST), secret=False, depth=0)


def _secret_data(data: Any, work: Work, *, secret: bool, depth: int) -> Iterator[str]:
    if depth > _DEPTH:
        return
    if isinstance(data, dict):
        told = told_by_name(data, work)
        for key, value in data.items():
            known = (
                secret
                or (told and key in VALUE_KEYS)
                or (work.tells(key) and not is_name_of(data, key))
            )
            yield from _secret_data(value, work, secret=known, depth=depth + 1)
    elif isinstance(data, list):
        for value in data:
            yield from _secret_data(value, work, secret=secret, depth=depth + 1)
    elif secret and data is not None:
        yield str(data)


def given_collection(options: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The option `data_collection`, if the user gave it."""
    collection = options.get("data_collection")
    given = isinstance(collection, Mapping) and collection.get("provided_by_user", True)
    return collection if given else None


def privacy(options: Mapping[str, Any]) -> Privacy:
    """What a client's options allow, in any of their forms."""
    collection = given_collection(options)
    if collection is not None:
        headers = collection.get("http_headers") or {}
        bodies = collection.get("http_bodies")
        return Privacy(
            user_info=bool(collection.get("user_info", False)),
            keep_header=_keeper(headers.get("request")),
            keep_parameter=_keeper(collection.get("url_query_params")),
            keep_cookie=_keeper(collection.get("cookies"), unsaid=None),
            bodies=bodies is None or "incoming_request" in bodies,
        )
    if options.get("send_default_pii"):
        return Privacy(
            user_info=True,
            keep_header=_anything,
            keep_parameter=_anything,
            keep_cookie=_anything,
            bodies=True,
        )
    return Privacy(
        user_info=False,
        keep_header=_impersonal,
        keep_parameter=_anything,
        keep_cookie=None,
        bodies=True,
    )


def _anything(name: str) -> bool:  # noqa: ARG001
    return True


def _impersonal(name: str) -> bool:
    return name != "cookie" and not _is_personal(name)


def _keeper(behaviour: Any, unsaid: Keeps = _impersonal) -> Keeps:
    """What a `data_collection` behaviour (`mode`, `terms`) keeps; None for the mode `off`."""
    if not isinstance(behaviour, Mapping):
        return unsaid
    mode = behaviour.get("mode", "denylist")
    terms = [str(term).lower() for term in behaviour.get("terms") or () if term]
    if mode == "off":
        return None
    if mode == "allowlist":
        return lambda name: any(term in name.lower() for term in terms)
    return lambda name: not any(term in name.lower() for term in terms)
