"""The secrets of one request, removed wherever they recur in an event.

An ASGI app's frames hold the scope with all its headers, raw query strings and bodies; messages, breadcrumbs
and spans repeat them. There, no name tells a secret. The rules:

- What is secret in the request by its name (`_privacy`) is looked for as text, in every form that it may take:
  as it was sent, percent- and base64-decoded and -encoded, and as `repr` and JSON write it. Credentials are also
  looked for without their scheme, and Basic ones as the password that they hold.
- Texts of eight characters and more are found anywhere; shorter ones only where they stand alone, and what has fewer
  than four is left to its name: a PIN of "1" is no reason to take every 1 from a stack trace. Where a value was cut
  (a chunk of a body, a shortened text), the piece of a secret at its edge goes too.
- Beside that, values go by the names that they stand under (keys, variables, pairs of a name and a value) and by
  their looks: credentials in URLs, bearer tokens, `password=…` in a text.
- Frames of this package show no variables.
- An event may hold the application's own objects, so nothing is changed in place but what the SDK made for the event;
  and no event is too large: what is beyond the bounds is replaced unseen.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import quote, quote_plus

from . import _sdk
from ._privacy import (
    FILTERED,
    clean_query,
    cookie_pairs,
    decoded,
    is_secret,
    secret_data,
    secret_parameters,
)

_ALONE: Final = 4  # characters of a secret that is looked for where it stands alone
_ANYWHERE: Final = 8  # and of one that is looked for anywhere
_EDGE: Final = 6  # of a piece of one at the edge of a text
_VALUES: Final = 500  # secrets of one request
_NODES: Final = 250_000
_DEPTH: Final = 40

# Names in texts and of variables. Shorter than the list for headers and parameters: `key` and `pin` are
# what variables are called that hold nothing secret.
_WORDS: Final = (
    r"passw|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key"
    r"|credential|session|csrf|xsrf|cookie|authorization|authentication|bearer|jwt"
)
_SPOKEN: Final = re.compile(_WORDS, re.IGNORECASE)
_VARIABLE: Final = re.compile(
    rf"{_WORDS}|(?:^|[^a-z])auth(?:[^a-z]|$)|[_-]auth|sessid|signature", re.IGNORECASE
)
# A name, what may stand between, and a value: `'password': 'x'`, `(b'token', b'x')`, `token=x`, `"a_secret": "x"`.
_QUOTED: Final = re.compile(
    rf"""((?:{_WORDS})[\w.\[\]-]{{0,40}}\\*['"]?\]?\s{{0,3}}(?:[:=]|=>)\s{{0,3}}b?\\*(['"]))((?:\\.|(?!\2)[^\\])+)""",
    re.IGNORECASE | re.DOTALL,
)
_PAIRED: Final = re.compile(
    rf"""((?:{_WORDS})[\w.-]{{0,40}}\\*['"],\s?b?\\*(['"]))((?:\\.|(?!\2)[^\\])+)(?=\2[)\]])""",
    re.IGNORECASE | re.DOTALL,
)
_BARE: Final = re.compile(
    rf"""((?:{_WORDS})[\w.\[\]%-]{{0,40}}=)(?!\s|None\b|True\b|False\b|\\*['"]|b['"])[^\s,;&'")}}\\]+""",
    re.IGNORECASE,
)
_SCHEME: Final = re.compile(r"\b(bearer|basic)(\s+)[\w+/=.~-]{4,}", re.IGNORECASE)
_NAME: Final = re.compile(r"b?(['\"]?)([\w.-]{1,100})\1")
_USER_INFO: Final = re.compile(r"(://)[^\s/@?#'\"]{1,256}@")
_URL: Final = re.compile(r"(://[^\s'\"<>?#]{1,512}\?)([^\s'\"<>#]+)")
_JWT: Final = re.compile(r"\beyJ[\w-]{8,2000}\.[\w-]{4,4000}\.[\w-]*")
_JSON_VALUE: Final = re.compile(
    rf'"[^"\\]{{0,100}}(?:{_WORDS})[^"\\]{{0,100}}"\s*:\s*"((?:[^"\\]|\\.)*)', re.IGNORECASE
)
_PART_NAME: Final = re.compile(r'name="?([^";]{1,200})')

# Of an event, what holds no text of a request. Source lines are code, not data.
_LEFT_ALONE: Final = frozenset(
    {
        "event_id",
        "timestamp",
        "start_timestamp",
        "sdk",
        "modules",
        "debug_meta",
        "platform",
        "level",
    }
    | {"type", "release", "dist", "environment", "server_name", "_meta", "_metrics", "profile"}
)
# Where integrations keep query strings.
_QUERIES: Final = frozenset({"query_string", "http.query", "url.query"})
# Where what an event holds is data of the application's, keys and all.
Place: TypeAlias = Literal["event", "data", "variables"]
_PLACES: Final[dict[str, Place]] = {
    "vars": "variables",
    "extra": "data",
    "tags": "data",
    "data": "data",
    "headers": "data",
}
_IDS: Final = frozenset({"trace_id", "span_id", "parent_span_id", "segment_id"})
_HEX: Final = re.compile("[0-9a-f]{16}|[0-9a-f]{32}")
_CODE: Final = frozenset(
    {"filename", "abs_path", "module", "function", "lineno", "in_app", "context_line"}
    | {"pre_context", "post_context"}
)


# What is secret in a request.


def of_headers(headers: Iterable[tuple[str, str]]) -> Iterator[str]:
    """The secret values among headers (lower-case names, not joined)."""
    for name, value in headers:
        if name in {"cookie", "set-cookie"}:
            yield from (one for cookie, one in cookie_pairs(value) if is_secret(cookie))
        elif is_secret(name) or _SCHEME.match(value):
            yield from _credentials(value)
        elif "?" in value:
            yield from of_query(value.partition("?")[2].partition("#")[0])


def of_set_cookies(headers: Iterable[tuple[str, str]]) -> Iterator[str]:
    """The values that a response sets cookies to, whatever these are called."""
    for name, value in headers:
        if name == "set-cookie":
            yield value.partition(";")[0].partition("=")[2].strip()


def of_query(query: str) -> Iterator[str]:
    """The secret values of a raw query string or urlencoded form."""
    for value in secret_parameters(query):
        yield value
        yield decoded(value)


def of_body(raw: str, data: Any) -> Iterator[str]:
    """The secret values of a body: of what was understood of it, and of its text as it came."""
    yield from secret_data(data)
    if isinstance(data, str):
        return
    yield from of_query(raw)
    yield from (match[1] for match in _JSON_VALUE.finditer(raw))
    if 'name="' in raw:
        yield from (value for name, value in _fields(raw) if is_secret(name))


def _fields(raw: str) -> Iterator[tuple[str, str]]:
    """Names and values in what looks like the parts of a multipart form."""
    # No regular expression: what anybody sends is to take no longer than it is long.
    lines = iter(raw.split("\n"))
    for line in lines:
        if not line.lower().startswith("content-disposition:"):
            continue
        name = _PART_NAME.search(line)
        if name is None:
            continue
        for header in lines:
            if not header.strip():
                break
        value = []
        for one in lines:
            if one.startswith("--"):
                break
            value.append(one.removesuffix("\r"))
        yield name[1], "\n".join(value)


def _credentials(value: str) -> Iterator[str]:
    scheme, _, rest = value.strip().partition(" ")
    if not _SCHEME.match(value):
        yield value
    yield rest
    if scheme.lower() == "basic":
        plain = _unbase64(rest) or ""
        yield plain
        yield plain.partition(":")[2]


def _unbase64(text: str) -> str | None:
    padded = text + "=" * (-len(text) % 4)
    try:
        return base64.b64decode(
            padded, altchars=b"-_" if "-" in text or "_" in text else None
        ).decode()
    except (binascii.Error, ValueError):
        return None


def forms(secret: str) -> set[str]:
    """Every text that a secret may appear as."""
    plain = {secret, secret.strip(), decoded(secret)}
    try:  # headers are read as latin-1, and many are UTF-8
        plain.add(secret.encode("latin-1").decode())
    except ValueError:
        pass
    if unpacked := _unbase64(secret):
        plain.add(unpacked)
    found = set(plain)
    for text in plain:
        found.update(quote(text, safe=safe, errors="replace") for safe in ("", "/"))
        found.add(quote_plus(text, errors="replace"))
        data = text.encode(errors="replace")
        found.update(
            variant.decode() for variant in (base64.b64encode(data), base64.urlsafe_b64encode(data))
        )
        for inner in (text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]):
            found.add(inner)
            found.update(_inside_repr(inner))
            found.update(_inside_repr(inner.encode(errors="replace")))
        if all(ord(letter) < 256 for letter in text):  # noqa: PLR2004
            found.update(_inside_repr(text.encode("latin-1")))
    return {form for form in found if len(form) >= _ALONE and form != FILTERED}


def _inside_repr(value: Any) -> tuple[str, str]:
    """How `repr` writes a text or bytes, without the quotes: by itself, and within what has both quotes."""
    quotes: Any = "\"'" if isinstance(value, str) else b"\"'"
    start = 1 if isinstance(value, str) else 2
    return repr(value)[start:-1], repr(value + quotes)[start:-4]


# Removing them from an event.


def redact(event: dict[str, Any], secrets: Iterable[str]) -> None:
    """Removes the given secrets from an event of any type, and whatever else is secret by its name."""
    hide_own_variables(event)
    if _sdk.VARIABLES_ARE_LATE:
        _render_variables(event)
    parts = {key: value for key, value in event.items() if key not in _LEFT_ALONE}
    known = sorted(
        {form for one in _bounded(secrets) for form in forms(one)}, key=len, reverse=True
    )
    everything = "\0".join(_texts(parts))
    redactor = _Redactor(known, everything)
    for key, value in parts.items():
        cleaned = redactor.clean(value, key, "event")
        if cleaned is not value:
            event[key] = cleaned


def _bounded(secrets: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for secret in secrets:
        if len(secret) >= _ALONE and secret != FILTERED:
            found.add(secret)
        if len(found) >= _VALUES:
            break
    return found


def hide_own_variables(event: dict[str, Any]) -> None:
    """Takes the variables from the frames of this package: they are the request, and nothing else."""
    for frame in _frames(event):
        if is_own(frame):
            frame.pop("vars", None)


def _render_variables(event: dict[str, Any]) -> None:
    # Unless an earlier call has done it.
    for frame in _frames(event):
        if frame.get("vars") and _sdk.metadata_of(frame["vars"]) is None:
            frame["vars"] = _sdk.rendered_variables(frame["vars"])


def hide_all_variables(event: dict[str, Any]) -> None:
    """Takes the variables from all frames: for when they could not be cleaned."""
    for frame in _frames(event):
        frame.pop("vars", None)


def hide_data(event: dict[str, Any]) -> None:
    """Takes from an event all that could hold a secret: for when it could not be cleaned."""
    hide_all_variables(event)
    for key in ("breadcrumbs", "extra", "request", "message", "logentry", "tags", "user", "spans"):
        event.pop(key, None)
    event["contexts"] = {
        name: context
        for name, context in (event.get("contexts") or {}).items()
        if name in {"trace", "runtime"}
    }
    values = event.get("exception")
    for value in (values.get("values") if isinstance(values, dict) else values) or ():
        value["value"] = FILTERED


def is_own(frame: dict[str, Any]) -> bool:
    """Whether a frame is of this package."""
    return str(frame.get("module") or "").partition(".")[0] == __package__


def _frames(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    holders = [event]
    for key in ("exception", "threads"):
        values = event.get(key)
        values = values.get("values") if isinstance(values, dict) else values
        holders += [one for one in values or () if isinstance(one, dict)]
    for holder in holders:
        stacktrace = _sdk.plain(holder.get("stacktrace"))
        if isinstance(stacktrace, dict):
            yield from (
                frame for frame in stacktrace.get("frames") or () if isinstance(frame, dict)
            )


def _texts(root: Any) -> Iterator[str]:
    """Every text of an event, as far as the bounds allow; objects as they will be written."""
    waiting: list[tuple[Any, int]] = [(root, 0)]
    left = _NODES
    while waiting and left:
        left -= 1
        value, depth = waiting.pop()
        with contextlib.suppress(
            Exception
        ):  # of an object of the application's, which `clean` replaces
            texts, inner = _parts_of(_sdk.plain(value), depth)
            waiting.extend((one, depth + 1) for one in inner)
            yield from texts


def _parts_of(value: Any, depth: int) -> tuple[list[str], Iterable[Any]]:
    """The texts of one node, and the nodes within it."""
    if isinstance(value, str):
        return [value], ()
    if value is None or isinstance(value, (bool, int, float)):
        return [], ()
    if isinstance(value, Mapping) and depth < _DEPTH:
        return [key for key in value if isinstance(key, str)], list(value.values())
    if isinstance(value, (list, tuple, set, frozenset)) and depth < _DEPTH:
        return [], value
    return [_written(value)], ()


def _written(value: Any) -> str:
    if isinstance(value, (bytes, bytearray)):
        return value.decode("utf-8", "replace")
    return _sdk.safe_repr(value)


def clean_text(text: str) -> str:
    """A text without what is secret in it by name or by its looks."""
    return _Redactor([], text).text(text)


class _Redactor:
    """Cleans the parts of one event: gives a part back as it is, or a copy without its secrets."""

    def __init__(self, known: list[str], everything: str) -> None:
        # Most of the forms that a secret can take occur nowhere.
        found = [form for form in known if form in everything]
        self._anywhere = [form for form in found if len(form) >= _ANYWHERE]
        self._alone = [form for form in found if len(form) < _ANYWHERE]
        # And pieces of them few, once the whole ones are gone.
        for form in self._anywhere:
            everything = everything.replace(form, FILTERED)
        long = [form for form in known if len(form) >= _ANYWHERE]
        self._starts = [form for form in long if form[:_EDGE] in everything]
        self._ends = [form for form in long if form[-_EDGE:] in everything]
        self._seen: dict[str, str] = {}  # frames show the same objects again and again
        self._spoken = _SPOKEN.search(everything) is not None
        self._looks = [looks for looks in _LOOKS if looks.search(everything) is not None]
        self._left = _NODES

    def clean(self, value: Any, name: str, place: Place, depth: int = 0) -> Any:
        """A value as it may be sent; `name` is what it stands under."""
        try:
            return self._clean(value, name, place, depth)
        except Exception:  # of an object of the application's; what cannot be looked at is not sent
            return FILTERED

    def _clean(self, value: Any, name: str, place: Place, depth: int) -> Any:  # noqa: PLR0911  # a case for each kind
        self._left -= 1
        if isinstance(value, str):
            return self.text(value) if self._left > 0 else FILTERED
        if value is None or isinstance(value, (bool, int, float, datetime)):
            return value
        if self._left <= 0 or depth > _DEPTH:
            return FILTERED
        metadata = _sdk.metadata_of(value)
        if metadata is not None:
            plain = _sdk.plain(value)
            cleaned = self.clean(plain, name, place, depth + 1)
            return value if cleaned is plain else _sdk.annotated(cleaned, metadata)
        if isinstance(value, Mapping):
            return self._mapping(value, _PLACES.get(name, place), depth + 1)
        if isinstance(value, (list, tuple)):
            return self._sequence(value, place, depth + 1)
        return self._object(value, place, depth)

    def _mapping(self, value: Mapping[Any, Any], place: Place, depth: int) -> Any:
        code = place == "event" and ("function" in value or "filename" in value)
        cleaned = {
            self._key(key, place): one
            if (code and key in _CODE) or _is_id(key, one)
            else self._named(str(key), one, place, depth)
            for key, one in value.items()
        }
        same = all(key in cleaned and cleaned[key] is one for key, one in value.items())
        return value if same else cleaned

    def _key(self, key: Any, place: Place) -> Any:
        # The keys of the event itself are no data: whoever names a secret "stacktrace" is to change nothing.
        return key if place == "event" or not isinstance(key, str) else self.text(key)

    def _named(self, name: str, value: Any, place: Place, depth: int) -> Any:
        plain = _sdk.plain(value)
        if plain is None or isinstance(plain, bool):
            return value
        if isinstance(plain, str) and plain in {"", FILTERED}:
            return value
        if name == "cookies" and isinstance(plain, Mapping):  # which have names of their own
            return self.clean(value, "", "data", depth)
        if _is_variable(name) if place == "variables" else is_secret(name):
            return FILTERED
        if name in _QUERIES and isinstance(plain, str):
            cleaned = clean_query(plain, _anything)
            value = value if cleaned == plain else cleaned
        return self.clean(value, name, place, depth)

    def _sequence(self, value: Any, place: Place, depth: int) -> Any:
        if len(value) == 2 and isinstance(value[0], (str, bytes)) and is_pair_of_secret(value):  # noqa: PLR2004
            return [value[0], FILTERED]
        cleaned = [self.clean(one, "", place, depth) for one in value]
        return value if all(map(_is, cleaned, value)) else cleaned

    def _object(self, value: Any, place: Place, depth: int) -> Any:
        if isinstance(value, (set, frozenset)):
            cleaned = self._sequence(list(value), place, depth + 1)
            return value if {*map(id, cleaned)} == {*map(id, value)} else cleaned
        written = _written(value)
        cleaned = self.text(written)
        return value if cleaned == written else cleaned

    def text(self, text: str) -> str:
        """A text without its secrets; the very same one if it has none."""
        cleaned = self._seen.get(text)
        if cleaned is None:
            cleaned = self._seen[text] = self._cleaned(text)
        return text if cleaned == text else cleaned

    def _cleaned(self, text: str) -> str:
        for form in self._anywhere:
            if form in text:
                text = text.replace(form, FILTERED)
        for form in self._alone:
            text = _without_word(text, form)
        if self._starts or self._ends:
            text = self._edges(text)
        if self._spoken and _SPOKEN.search(text):
            text = _QUOTED.sub(rf"\1{FILTERED}", text)
            text = _PAIRED.sub(rf"\1{FILTERED}", text)
            text = _BARE.sub(rf"\1{FILTERED}", text)
        for looks in self._looks:
            text = looks.sub(_LOOKS[looks], text)
        return text

    def _edges(self, text: str) -> str:
        """A text without the pieces of secrets at its edges, where what it shows may have been cut."""
        start, end = _inner(text)
        for form in self._starts:
            at = text.rfind(form[:_EDGE], max(start, end - len(form)), end)
            if at >= 0 and form.startswith(text[at:end]):
                text, end = f"{text[:at]}{FILTERED}{text[end:]}", at
        start, end = _inner(text)
        for form in self._ends:
            at = text.find(form[-_EDGE:], start, start + len(form))
            if at >= 0 and form.endswith(text[start : at + _EDGE]):
                text = f"{text[:start]}{FILTERED}{text[at + _EDGE :]}"
        return text


def _without_word(text: str, word: str) -> str:
    """A text without a word, where no letter or digit stands beside it."""
    # No regular expression: the cache of those is the app's, and no place for secrets.
    at = text.find(word)
    while at >= 0:
        end = at + len(word)
        if not (text[at - 1 : at].isalnum() or text[end : end + 1].isalnum()):
            text = f"{text[:at]}{FILTERED}{text[end:]}"
            end = at + len(FILTERED)
        at = text.find(word, end)
    return text


def is_pair_of_secret(value: Any) -> bool:
    """Whether a sequence is a pair of a secret's name and its value, as headers are kept."""
    name = value[0].decode("latin-1") if isinstance(value[0], bytes) else value[0]
    bare = _NAME.fullmatch(name)
    other = value[1]
    if bare is None or not isinstance(other, (str, bytes)) or other == FILTERED:
        return False
    return is_secret(bare[2])


def _is_id(key: Any, value: Any) -> bool:
    """Whether a value is an id of a trace or span, which joins events: that a client sends it is no secret."""
    return key in _IDS and isinstance(value, str) and _HEX.fullmatch(value) is not None


def _is_variable(name: str) -> bool:
    return _VARIABLE.search(name) is not None


def _is(one: Any, other: Any) -> bool:
    return one is other


def _inner(text: str) -> tuple[int, int]:
    """Where a text begins and ends within the quotes of a repr, and before the dots of a cut."""
    start, end = 0, len(text)
    if text.endswith("..."):
        end -= 3
    if text[:1] == "b" and text[1:2] in {"'", '"'}:
        start = 2
    elif text[:1] in {"'", '"'}:
        start = 1
    if end > start and text[end - 1] in {"'", '"'}:
        end -= 1
    return start, end


def _anything(name: str) -> bool:  # noqa: ARG001
    return True


def _clean_url(match: re.Match[str]) -> str:
    return match[1] + clean_query(match[2], _anything)


_LOOKS: Final[dict[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = {
    _SCHEME: rf"\1\2{FILTERED}",
    _USER_INFO: rf"\1{FILTERED}@",
    _URL: _clean_url,
    _JWT: FILTERED,
}
