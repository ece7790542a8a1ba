"""The secrets of one request: what they are, and every form in which they may recur.

An ASGI app's frames hold the scope with all its headers, raw query strings and bodies; messages, breadcrumbs
and spans repeat them. There, no name tells a secret. The rules:

- What is secret in the request by its name (`names`) is looked for as text (`redact`), in every form that it may
  take: as it was sent, percent-, base64- and hex-decoded and -encoded, in UTF-16, and as `repr` and JSON write it.
  Credentials are also looked for without their scheme, and Basic ones as the password that they hold.
- So is what is secret within a value of a harmless name, percent-encoded there as often as it may be: the token of the
  URL in `?next=...`, the password of the JSON in a cookie.
- Texts of eight characters and more are found anywhere; shorter ones only where they stand alone, and what has fewer
  than four is left to its name: a PIN of "1" is no reason to take every 1 from a stack trace.
- Nothing of this is remembered: a cache of secrets would be one more place to find them in.
- Clients send what they like. So each source (headers, cookies, query, path, body) has a share of the secrets that are
  looked for, half of it for its first and half for its last; of a long text the first and the last part are searched,
  and of a long secret these are encoded.
"""

from __future__ import annotations

import binascii
import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise, zip_longest
from typing import Any, Final, NamedTuple
from urllib.parse import quote, quote_plus, unquote_plus

from .hints import is_plain_query
from .names import FILTERED, cookie_pairs, decoded, secret_data, secret_parameters
from .rules import MOST, RULES, Rules, Work
from .texts import PLACES, secret_values

ALONE: Final = 4
"""Characters of a secret that is looked for where it stands alone."""

ANYWHERE: Final = 8
"""Characters of one that is looked for anywhere."""

_ORDINARY: Final = frozenset(
    {FILTERED, "http", "https", "HTTP", "HTTPS", "localhost", "127.0.0.1", "httplib", "websocket"}
    | {"POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "asgi", "starlette", "users"}
    | {"debug", "info", "warning", "error", "fatal", "critical", "default", "query", "internal_error"}
    | {"None", "none", "null", "True", "true", "False", "false", "undefined", "text", "route", "name"}
    | {"status", "status_code", "method", "type", "data", "value", "message", "request", "response"}
    | {"server", "http.server", "database", "user", "token", "password", "secret", "session", "python"}
    | {"Bearer", "bearer", "Basic", "basic", "CPython", "production", "application/json"}
)  # fmt: skip
"""Words of every event: who sends one as a token has none that could be looked for."""

EDGE: Final = 6
"""Characters of a piece of one at the edge of a text."""

SHARE: Final = 40
"""Secrets of one source that are looked for."""

_EDGED: Final = 24  # secrets of which pieces are looked for at the edges of texts
_SEARCHED: Final = 8_000  # characters of one text that a client sends
_ENCODED: Final = (
    1_020  # characters of a secret that is encoded whole; a multiple of what base64 takes at once
)
_ALL_ENCODED: Final = 6_000  # of all that are

_SCHEME: Final = re.compile(r"\b(bearer|basic)(\s+)[\w+/=.~-]{4,}", re.IGNORECASE)
_ESCAPED: Final = re.compile(r"\\(?:([0-3][0-7][0-7])|(.))")
_UUID: Final = re.compile(
    r"[0-9A-Fa-f]{8}(-?)[0-9A-Fa-f]{4}\1[0-9A-Fa-f]{4}\1[0-9A-Fa-f]{4}\1[0-9A-Fa-f]{12}"
)
_LINE: Final = 76  # letters of base64 in a line of a mail
# What is the same in a URL, in JSON and as a repr.
_UNCHANGED: Final = re.compile(r"[A-Za-z0-9._~-]+")


# What is secret in a request.


def of_headers(headers: Iterable[tuple[str, str]], rules: Rules = RULES) -> Iterator[str]:
    """The secret values among headers (lower-case names, not joined), but for cookies."""
    names_left, values_left = Work(MOST, rules), Work(SHARE)
    secret: list[str] = []
    for name, value in headers:
        if name == "cookie" or name == "set-cookie":  # noqa: PLR1714  # half the time of `in`
            continue
        if names_left.tells(name) or (value[:1] in "bB" and _SCHEME.match(value)):
            secret.append(value)
        elif name == "sec-websocket-protocol":
            secret += _of_protocols(value, rules)
        elif ("?" in value or "%" in value) and values_left.spend():
            yield from of_query(value[value.find("?") + 1 :].partition("#")[0], rules)
    for value in _share_of(secret):
        yield from _credentials(value, rules)


def of_cookies(headers: Iterable[tuple[str, str]], rules: Rules = RULES) -> Iterator[str]:
    """The secret values of cookies, as clients send them."""
    sent = [value for name, value in headers if name == "cookie"]
    work = Work(MOST, rules)
    secret = [value for header in sent for name, value in cookie_pairs(header) if work.tells(name)]
    for value in _share_of(secret):
        yield value
        if value[:1] == '"':  # as RFC 2109 had it, and `http.cookies` has it still
            yield _ESCAPED.sub(_unescaped, value[1:].removesuffix('"'))
    for header in sent[:SHARE]:
        if "%" in header:
            yield from within(header, rules)


def _unescaped(match: re.Match[str]) -> str:
    return chr(int(match[1], 8)) if match[1] else match[2]


def _of_protocols(header: str, rules: Rules) -> Iterator[str]:
    """Browsers can send a websocket no other header, so some send `bearer, <token>`."""
    protocols = [one.strip() for one in header.split(",")]
    yield from (one for name, one in pairwise(protocols) if rules.keys[name])


def of_set_cookies(headers: Iterable[tuple[str, str]]) -> Iterator[str]:
    """The values that a response sets cookies to, whatever these are called."""
    for name, value in headers:
        if name == "set-cookie":
            yield value.partition(";")[0].partition("=")[2].strip()


def of_query(query: str, rules: Rules = RULES) -> Iterator[str]:
    """The secret values of a raw query string or urlencoded form."""
    if query:
        yield from secret_parameters(query, rules)
        yield from within(query, rules)


def within(text: str, rules: Rules = RULES) -> Iterator[str]:
    """What is secret by itself in a text, or in what it says once it is percent-decoded, or twice, or three times."""
    if not rules.own and is_plain_query(text):
        return
    text = _ends(text)
    work = Work(PLACES // 4, rules)
    for times in range(4):
        for value in secret_values(text, work):
            yield value
            for _ in range(times - 1):
                value = quote(value, safe="")  # noqa: PLW2901
                yield value
        encoded, text = text, unquote_plus(text)
        if text == encoded:
            break


def of_body(raw: str, data: Any, rules: Rules = RULES) -> Iterator[str]:
    """The secret values of a body: of what was understood of it, and of its text as it came."""
    yield from secret_data(data, rules)
    yield from secret_values(_ends(raw), Work(PLACES // 4, rules))
    if isinstance(data, str):
        return
    yield from of_query(raw, rules)


def _ends(text: str) -> str:
    """A text without its middle, if it is long."""
    if len(text) <= _SEARCHED:
        return text
    return f"{text[: _SEARCHED // 2]}\n{text[-_SEARCHED // 2 :]}"


def of_path(parameters: Any, rules: Rules = RULES) -> Iterator[str]:
    """The secret parameters of a path, where the framework tells them."""
    if isinstance(parameters, Mapping):
        for name, value in parameters.items():
            if isinstance(name, str) and rules.variables[name] and isinstance(value, (str, int)):
                yield str(value)


def of_template(template: str, path: str, rules: Rules = RULES) -> Iterator[str]:
    """The same by a route's template, `/reset/{token}` or `/reset/<str:token>`, and the path."""
    names, values = template.split("/"), path.split("/")
    if len(names) != len(values):
        return
    for name, value in zip(names, values, strict=True):
        bare = name.strip("{}<>:").split(":")
        if name[:1] in {"{", "<", ":"} and any(map(rules.variables.__getitem__, bare)):
            yield value


def _credentials(value: str, rules: Rules) -> Iterator[str]:
    scheme, _, rest = value.strip().partition(" ")
    if not _SCHEME.match(value):
        yield value
    yield rest
    yield from secret_values(_ends(value), Work(PLACES // 4, rules))
    if scheme.lower() == "basic":
        plain = _unbase64(rest) or ""
        yield plain
        yield plain.partition(":")[2]


def _unbase64(text: str) -> str | None:
    try:
        padded = text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4)
        return binascii.a2b_base64(padded).decode()
    except ValueError:  # binascii's own is one
        return None


def shared(sources: Iterable[Iterable[str]]) -> Found:
    """The secrets that are looked for, a share of each source: those that come first, and those that come last.

    In turns, so that the first few hold some of each.
    """
    shares = [
        _share_of(
            [one for one in dict.fromkeys(source) if len(one) >= ALONE and one not in _ORDINARY]
        )
        for source in sources
    ]
    turns = zip_longest(*shares)
    return Found(dict.fromkeys(one for turn in turns for one in turn if one is not None))


def _share_of(found: list[str]) -> list[str]:
    return found if len(found) <= SHARE else [*found[: SHARE // 2], *found[-SHARE // 2 :]]


class Forms(NamedTuple):
    """The forms in which secrets may recur."""

    plain: set[str]
    long: set[str]
    """Those that are found anywhere."""
    short: list[str]
    """Those that are found where they stand alone."""
    edged: list[str]
    """Those of which pieces are looked for at the edges of texts: some of each source."""


class Found(list[str]):
    """The secrets of a request that are looked for, the most important first; and their forms, made once."""

    _forms: Forms | None = None

    def forms(self) -> Forms:
        """Every form but UTF-16, which an event seldom has."""
        if self._forms is None:
            known = [one for one in self if len(one) >= ALONE and one != FILTERED]
            plain = {one: plain_forms(one) for one in to_encode(known)}
            forms_of = [forms(texts) for texts in plain.values()]
            every = set[str]().union(*plain.values())
            found = set(known).union(*forms_of)
            long = packed(every)
            long.update(one for one in found if len(one) >= ANYWHERE)
            self._forms = Forms(
                every,
                long,
                [one for one in found if len(one) < ANYWHERE],
                [one for some in forms_of[:_EDGED] for one in some if len(one) >= ANYWHERE],
            )
        return self._forms


def to_encode(secrets: Iterable[str]) -> list[str]:
    """Of secrets, what is looked for in other encodings too: the first and the last part of a long one."""
    left = Work(_ALL_ENCODED)
    parts: list[str] = []
    for secret in secrets:
        long = len(secret) > _ENCODED
        ends = (secret[:_ENCODED], secret[-_ENCODED:]) if long else (secret,)
        parts += [part for part in ends if left.spend(len(part))]
    return parts


def forms(plain: set[str]) -> set[str]:
    """Every text that a secret may appear as: decoded, quoted for a URL, and as `repr` and JSON write it.

    `plain` is what `plain_forms` returns of it; so for `packed`.
    """
    found = set(plain)
    for text in plain:
        if _UUID.fullmatch(text):
            found.update(_of_uuid(text.lower().replace("-", "")))
        if _UNCHANGED.fullmatch(text):
            continue
        found.update(quote(text, safe=safe, errors="replace") for safe in ("", "/"))
        found.add(quote_plus(text, errors="replace"))
        found.add(quote(quote(text, safe="", errors="replace"), safe=""))
        found.update(_in_html(text, quotes) for quotes in _QUOTES)
        for inner in (text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]):
            found.add(inner)
            found.update(_inside_repr(inner))
            found.update(_inside_repr(inner.encode(errors="replace")))
        with contextlib.suppress(UnicodeEncodeError):
            found.update(_inside_repr(text.encode("latin-1")))
    return {form for form in found if len(form) >= ALONE and form != FILTERED}


def _of_uuid(number: str) -> Iterator[str]:
    parts = (number[:8], number[8:12], number[12:16], number[16:20], number[20:])
    for text in (number, "-".join(parts)):
        yield from (text, text.upper())


_QUOTES: Final = (('"', "'"), ("&quot;", "&#x27;"), ("&#34;", "&#39;"))


def _in_html(text: str, quotes: tuple[str, str]) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace('"', quotes[0]).replace("'", quotes[1])


def plain_forms(secret: str) -> set[str]:
    """Return a secret and what it stands for."""
    plain = {secret, secret.strip()}
    if "%" in secret or "+" in secret:
        plain.add(decoded(secret))
    if not secret.isascii():
        try:  # headers are read as latin-1, and many are UTF-8
            plain.add(secret.encode("latin-1").decode())
        except ValueError:
            pass
    if unpacked := _unbase64(secret):
        plain.add(unpacked)
    return plain


def packed(plain: set[str]) -> set[str]:
    """Secrets in base64, wherever in a longer text they were packed, and in hex."""
    found: set[str] = set()
    for text in plain:
        data = text.encode(errors="replace")
        if len(data) >= ALONE:
            found.update(_numbered(data))
    return found


def wide(plain: set[str], everything: str) -> set[str]:
    """Secrets in UTF-16, where a text has any."""
    if not ("\0" in everything or "x00" in everything or "u0000" in everything):
        return set()
    return {form for text in plain if len(text) >= ALONE for form in _wide(text)}


def _numbered(data: bytes) -> list[str]:
    number = data.hex()
    whole = _base64(data, newline=False).decode()
    found = [number, number.upper(), whole]
    if len(whole) > _LINE:
        lines = [whole[at : at + _LINE] for at in range(0, len(whole), _LINE)]
        found += ("\n".join(lines), "\\n".join(lines))
    if len(data) >= ANYWHERE:
        # The letters that hold bits of the neighbours too are not the secret's own.
        found += (
            _base64(before + data, newline=False).decode()[skipped : (len(before + data)) * 8 // 6]
            for before, skipped in _BEFORE
        )
    return found + [
        letters.replace("+", "-").replace("/", "_")
        for letters in found
        if "+" in letters or "/" in letters
    ]


_BEFORE: Final = ((b"", 0), (b"\0", 2), (b"\0\0", 3))


def _wide(text: str) -> Iterator[str]:
    """UTF-16: as it is, as JSON writes it, and as `repr` does, once and again."""
    if text.isascii():  # whichever byte comes first
        yield from (nul.join(text) for nul in ("\0", "\\x00", "\\\\x00", "\\u0000"))
    for order in ("utf-16-le", "utf-16-be"):
        data = text.encode(order, errors="replace")
        yield data.decode("latin-1")
        for written in _inside_repr(data):
            yield from (written, written.replace("\\", "\\\\"))


_base64: Final = binascii.b2a_base64


def _inside_repr(value: Any) -> tuple[str, str]:
    """How `repr` writes a text or bytes, without the quotes: by itself, and within what has both quotes."""
    quotes: Any = "\"'" if isinstance(value, str) else b"\"'"
    start = 1 if isinstance(value, str) else 2
    return repr(value)[start:-1], repr(value + quotes)[start:-4]
