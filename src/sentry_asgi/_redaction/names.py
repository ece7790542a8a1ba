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
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import unquote_plus

from sentry_asgi._sdk import events

from .rules import COMPANY, IN_COMPANY, MOST, RULES, Rules, Work, canonical

FILTERED: Final = "[Filtered]"

# Whether something of that name may be sent; None if nothing of its kind may.
Keeps: TypeAlias = Callable[[str], bool] | None

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
_DEPTH: Final = 32


def is_secret(name: str) -> bool:
    """Whether a header, cookie, parameter or key of that name holds a secret."""
    return bool(RULES.keys[name])


@functools.lru_cache(maxsize=1024)
def _is_personal(name: str) -> bool:
    return _PERSONAL.search(canonical(name)) is not None


@dataclass(frozen=True, slots=True)
class Privacy:
    """What the options of one client allow: `user_info` is about addresses and users."""

    user_info: bool
    keep_header: Keeps
    keep_parameter: Keeps
    keep_cookie: Keeps
    # Whether the bodies of incoming requests may be sent.
    bodies: bool
    rules: Rules = RULES

    def headers(self, headers: Mapping[str, str]) -> dict[str, str] | None:
        """Headers (lower-case names) as they may be sent; None if none may."""
        if self.keep_header is None:
            return None
        work, kind_of, keep = Work(MOST, self.rules), self.rules.keys.get, self.keep_header
        return {
            name: value
            if kind_of(name) == ""
            and name not in _URL_HEADERS
            and keep(name)
            and not _CREDENTIAL.match(value)
            else self._header(name, value, work)
            for name, value in headers.items()
        }

    def _header(self, name: str, value: str, work: Work) -> str:
        assert self.keep_header is not None  # headers() asked
        if name == "cookie" and self.keep_cookie is not None:
            return clean_cookies(value, self.keep_cookie, self.rules)
        if value and (work.hides(name) or not self.keep_header(name) or _CREDENTIAL.match(value)):
            return FILTERED
        return self.url(value) if name in _URL_HEADERS else value

    def cookies(self, header: str) -> dict[str, str] | None:
        """The cookies of a Cookie header as they may be sent; None if none may."""
        keep = self.keep_cookie
        if keep is None:
            return None
        work = Work(MOST, self.rules)
        return {
            name: FILTERED if value and (work.hides(name) or not keep(name)) else value
            for name, value in cookie_pairs(header)
        }

    def query_string(self, query: str) -> str | None:
        """A raw query string as it may be sent; None if it may not."""
        keep = self.keep_parameter
        if keep is None:
            return None
        return clean_query(query, keep, Work(MOST, self.rules))

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
    if keep is anything and _names_nothing(query, work.rules):
        return query
    # ";" separates for some parsers, so a secret may hide after it; it is put back as it was.
    pieces = re.split(r"([&;])", query)
    told = _in_company(piece.partition("=")[0] for piece in pieces)
    return "".join(
        piece if piece in _SEPARATORS else _clean_parameter(piece, keep, work, told)
        for piece in pieces
    )


def _names_nothing(query: str, rules: Rules) -> bool:
    """Whether the names of a query's parameters are all known, as they stand there, to be of nothing secret."""
    if "%" in query or "+" in query:
        return False
    kind_of = rules.keys.get
    for piece in query.replace(";", "&").split("&"):
        name = piece.partition("=")[0]
        if kind_of(name) != "" or name in IN_COMPANY:
            return False
    return True


_SEPARATORS: Final = frozenset({"&", ";", ""})


def _clean_parameter(
    piece: str, keep: Callable[[str], bool], work: Work, told: frozenset[str]
) -> str:
    name, equals, value = piece.partition("=")
    if not equals or not value:
        return piece
    plain = decoded(name)
    kind = "beside" if plain in told else work.hides(plain)
    hidden = not is_nothing(value) if kind else not keep(plain)
    return f"{name}={FILTERED}" if hidden else piece


_ALONE: Final = frozenset[str]()


def _in_company(names: Iterable[Any]) -> frozenset[str]:
    """What is secret only beside others, if these are among the names."""
    seen = frozenset(name for name in names if name.__class__ is str)
    return _ALONE if seen.isdisjoint(IN_COMPANY) or seen.isdisjoint(COMPANY) else IN_COMPANY


def decoded(text: str) -> str:
    """Percent-decoded, as often as somebody may have encoded it."""
    for _ in range(3):
        if "%" not in text and "+" not in text:
            break
        text = unquote_plus(text)
    return text


def secret_parameters(query: str, rules: Rules = RULES) -> Iterator[str]:
    """The values, still encoded, of the secret parameters of a query string or form."""
    if _names_nothing(query, rules):
        return
    work = Work(MOST, rules)
    pieces = _first_and_last(re.split("[&;]", query))
    told = _in_company(piece.partition("=")[0] for piece in pieces)
    for piece in pieces:
        name, equals, value = piece.partition("=")
        if equals and (name in told or work.tells(decoded(name))):
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


def clean_cookies(
    header: str, keep: Callable[[str], bool] = lambda _: True, rules: Rules = RULES
) -> str:
    """A Cookie header with the values of secret and unwanted cookies replaced."""
    work = Work(MOST, rules)
    pairs = (pair.partition("=") for pair in header.split(";"))
    return ";".join(
        f"{name}={FILTERED}"
        if value.strip() and (work.hides(name.strip()) or not keep(name.strip()))
        else f"{name}{equals}{value}"
        for name, equals, value in pairs
    )


# `{"name": "password", "value": "x"}`: where the name stands, and where the value.
_NAMED_BY: Final = (
    "name",
    "key",
    "k",
    "field",
    "label",
    "header",
    "param",
    "parameter",
    "variable",
)
VALUE_KEYS: Final = frozenset(
    {"value", "values", "val", "v", "content", "input"}
    | {"'value'", "'values'", "'val'", "'content'"}
)
_SAID_NAME: Final = re.compile(r"b?(['\"]?)([\w. -]{1,40})\1")
_TELLING: Final = VALUE_KEYS | IN_COMPANY


def told(data: Mapping[Any, Any], work: Work | None = None) -> frozenset[str]:
    """The keys of a mapping that are secret by what stands beside them: a name, as a value, or company."""
    if _TELLING.isdisjoint(data):
        return _ALONE
    work = work or Work(MOST)
    names = [data.get(key) for key in _NAMED_BY]
    where = data.get("loc")  # as pydantic lists what it refuses
    if isinstance(where, (list, tuple)) and where:
        names.append(where[-1])
    for name in names:
        if isinstance(name, str):
            said = _SAID_NAME.fullmatch(name)
            if said is not None and work.hides(said[2]):
                return VALUE_KEYS
    return _in_company(data)


def is_name_of(data: Mapping[Any, Any], key: Any) -> bool:
    """Whether a key of a mapping is there for a name: that of a `{"key": ..., "value": ...}`."""
    return bool(key == "key") and not VALUE_KEYS.isdisjoint(data)


def secret_keys(data: Mapping[Any, Any], work: Work, *, variable: bool = False) -> dict[Any, str]:
    """The keys of a mapping under which secrets stand, each with the reason."""
    known = (work.rules.variables if variable else work.rules.keys).get
    found: dict[Any, str] = {}
    for key in data:
        kind = known(key)
        if kind is None:
            kind = work.hides(key, variable=variable)
        if kind:
            found[key] = kind
    if "key" in found and is_name_of(data, "key"):
        del found["key"]
    for key in told(data, work):
        if key in data:
            found.setdefault(key, "beside")
    return found


def unmarked(value: Any, why: str) -> Any:  # noqa: ARG001
    """A value that was replaced, with no word of why."""
    return value


def remarked(value: Any, *why: str) -> Any:
    """A value that was replaced, marked with the rules, as Sentry marks it: `@` and the rule, `s` for substituted."""
    return events.annotated(value, {"rem": [[f"@{rule}", "s"] for rule in why]})


def clean_data(data: Any, rules: Rules = RULES, mark: Callable[[Any, str], Any] = unmarked) -> Any:
    """Parsed data (JSON, a form) with the values of secret keys replaced, at any depth."""
    return _clean_data(data, Work(MOST, rules), mark, 0)


def _clean_data(data: Any, work: Work, mark: Callable[[Any, str], Any], depth: int) -> Any:
    if depth > _DEPTH and isinstance(data, (dict, list)):
        return FILTERED
    if isinstance(data, dict):
        secret = secret_keys(data, work)
        return {
            key: mark(FILTERED, f"name:{secret[key]}")
            if key in secret and not stays(key, secret[key], value)
            else _clean_data(value, work, mark, depth + 1)
            for key, value in data.items()
        }
    if isinstance(data, list):
        return [_clean_data(value, work, mark, depth + 1) for value in data]
    return data


# What says nothing of a secret, rendered or not: was it None is the first question that a debugger asks.
NOTHING: Final = frozenset(
    {"", FILTERED, "None", "True", "False", "''", '""', "b''", "[]", "()", "{}", "set()", "null"}
    | {"0", "0.0", "undefined", "Undefined", "NULL", "nil", "frozenset()", "bytearray(b'')", 'b""'}
)
_REPLACED: Final = [FILTERED]  # as attributes of spans have a header
_EMPTIES: Final = frozenset(
    {type(None), int, float, bytes, bytearray, list, dict, tuple, set, frozenset}
)


def is_nothing(value: Any) -> bool:
    """Whether a value says nothing, whatever it is called."""
    kind = value.__class__
    if kind is str:
        return value in NOTHING
    return kind is bool or (kind in _EMPTIES and (not value or value == _REPLACED))


_COUNTED: Final = frozenset({"token", "session"})


def stays(key: Any, kind: str, value: Any) -> bool:
    """Whether what stands under the name of a secret is none: it says nothing, or counts: `tokens: 512`."""
    if is_nothing(value):
        return True
    if kind not in _COUNTED or not str(key).lower().endswith("s"):
        return False
    return value.__class__ in {int, float} or (value.__class__ is str and value.isdigit())


def secret_data(data: Any, rules: Rules = RULES) -> Iterator[str]:
    """Every text and number that stands beneath a secret key of parsed data."""
    return _secret_data(data, Work(MOST, rules), secret=False, depth=0)


def _secret_data(data: Any, work: Work, *, secret: bool, depth: int) -> Iterator[str]:
    if depth > _DEPTH:
        return
    if isinstance(data, dict):
        keys = secret_keys(data, work)
        for key, value in data.items():
            kind = keys.get(key, "")
            known = secret or (kind not in {"", "unseen"} and not stays(key, kind, value))
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


def privacy(options: Mapping[str, Any], rules: Rules = RULES) -> Privacy:
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
            rules=rules,
        )
    if options.get("send_default_pii"):
        return Privacy(
            user_info=True,
            keep_header=anything,
            keep_parameter=anything,
            keep_cookie=anything,
            bodies=True,
            rules=rules,
        )
    return Privacy(
        user_info=False,
        keep_header=_impersonal,
        keep_parameter=anything,
        keep_cookie=None,
        bodies=True,
        rules=rules,
    )


def anything(name: str) -> bool:  # noqa: ARG001
    """Whether a thing of that name may be sent: it may."""
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
