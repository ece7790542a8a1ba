"""What is secret in a text by itself: a value beside the name of a secret, or the looks of a credential.

The rules:

- A name is one that `names` calls secret for variables; the value goes that stands beside it: quoted
  (`'token': 'x'`), with quotes within brackets (`tokens=['x', 'y']`, `token=Secret('x')`), as a pair
  (`('token', 'x')`), after `=`, after a colon (`Password: x`), as an element (`<password>x</password>`), or told by a
  name (`"name": "password", "value": "x"`).
- After a colon, words that are followed by words stay, and words that are said of secrets: "password: This field is
  required", "token: expired". A passphrase in prose cannot be told from prose.
- Credentials in URLs, secret parameters of URLs, what follows `Bearer` or `Basic`, JSON web tokens and private keys go.
- So do options of commands, `--password x`, what pydantic says of a value of that name, credentials of a shape of their
  own (`shapes`), and lines of a dotenv file (`STRIPE_KEY=x`).
- What stands for a value is none: a placeholder (`$1`, `%s`, `{}`, `***`), the call of a function.
- Most texts hold none of it, and every text of an event is asked: so a few plain words are looked for first. The
  patterns are matched against the text in small letters, which takes a fifth of the time of ignoring case.
- Matching is linear in the text's length: nothing is searched for twice from the same place. Each place that takes a
  closer look is counted (`Work`); after so many, the rest of the text is taken for secret, unseen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, TypeAlias

from .names import FILTERED, VARIABLES, Work, clean_query
from .shapes import HINTS as SHAPE_HINTS, SHAPES

# Whoever has none of these has nothing.
HINTS: Final = (
    *("pass", "pwd", "secret", "token", "key", "credential", "session", "srf", "cookie", "auth", "jwt"),
    *("bearer", "basic ", "://", "eyj", "</", "_key=", "_pass=", "_pw="),
)  # fmt: skip
ALL_HINTS: Final = (*HINTS, *SHAPE_HINTS)
_TELLING: Final = {
    "pass": ("passw", "passp", "passc"),
    "auth": ("authori", "authent"),
}
_WORDS: Final = (
    r"(?:passw|passphrase|passcode|pwd|secret|token|api[ _-]?key|access[_-]?key|private[ _-]?key"
    r"|credential|session|csrf|xsrf|cookie|authori[sz]ation|authentication|bearer|jwt)"
)
_NAME: Final = re.compile(rf"{_WORDS}[\w.\[\]%-]{{0,40}}")
_REST_OF_NAME: Final = re.compile(r"[\w%-]{1,40}\Z")

# What stands between a name and its value begins with one of these; or the text ends.
_BEFORE_VALUE: Final = frozenset("=:'\"\\] \t\n\r\f\v")
_QUOTED: Final = re.compile(r"\\{0,20}['\"]?\]?\s{0,3}(?:=>|[:=])\s{0,3}b?(\\{0,20})(['\"])")
_NESTED: Final = re.compile(
    r"\\{0,20}['\"]?\]?\s{0,3}(?:=>|[:=])\s{0,3}((?:[a-z_][\w.]{0,60})?[\[({]"
    r"(?=[^'\")\]}]{0,200}+['\"]))"
)
# As pydantic tells of a value that it refuses: the name, on a line of its own, and the value at the end of the next.
_REFUSED: Final = re.compile(
    # Atomic: what begins again and again is tried once.
    r"(?:\n|\\{1,4}n)  (?>[^\n]{1,300}?\[type=)\w{1,60}, input_value=((?>[^\n]{1,1000}?(?=, input_type=)))"
)
# Of a command, as one text or as a list of its parts.
_OPTION: Final = re.compile(
    r"(?:\\{0,20}['\"],\s?\\{0,20}['\"]|[ \t]{1,3}['\"]?)((?!-)[^\s'\"\\]{1,4000})"
)
_PAIRED: Final = re.compile(r"\\{0,20}['\"],\s?b?(\\{0,20})(['\"])")
_TOLD: Final = re.compile(
    r"\\{0,20}['\"](?:\s{0,3},\s{0,3}|\s{1,3})b?\\{0,20}['\"]?(?:value|val|content)\\{0,20}['\"]?\s{0,3}[:=]\s{0,3}b?(\\{0,20})(['\"])"
)
_BARE: Final = re.compile(
    r"=(?![\s=]|none\b|true\b|false\b|null\b|\\{0,20}['\"]|b['\"])[^\s,;&'\")}\\]+"
)
_SAID: Final = re.compile(
    r"[ \t]{0,20}[:=][ \t]{0,20}([^\s,;<>()\[\]{}'\"\\=/:][^\s,;<>()\[\]{}'\"\\]+)"
)
_COOKIES: Final = re.compile(r"[ \t]{0,2}[:=][ \t]{0,3}([^\s=;,'\"\\]{1,200}=[^\r\n'\"\\]{1,8000})")
_WITH_SCHEME: Final = re.compile(r"[ \t]{0,2}:[ \t]{0,3}(?:bearer|basic) ")  # `_schemes` sees to it
_CREDENTIALS: Final = re.compile(
    r"[ \t]{0,2}:[ \t]{0,3}((?:digest|negotiate|ntlm|token|apikey|hawk|aws4-hmac-sha256) [^\r\n'\"\\]{1,4000})"
)
# Words that are said about a secret, or that stand for one in code.
_PROSE: Final = re.compile(r"[a-z']{1,60}[,:]?[ \t]{1,2}[a-z]")
_PLAIN: Final = frozenset(
    {"none", "null", "nil", "true", "false", "yes", "no", "ok", "str", "string", "bytes", "int"}
    | {"optional", "any", "expired", "invalid", "missing", "required", "revoked", "rejected"}
    | {"expected", "unknown", "unset", "empty", "undefined", "redacted", "filtered"}
    | {"return", "raise", "pass", "continue", "break"}
)
# What stands for a value in a statement, a template or a log; and what calls a function for it.
_STANDS_FOR: Final = re.compile(
    r"\$\d{1,3}|\$?\{{1,2}[^{}]{0,60}\}{1,2}|%s|%r|%d"
    r"|%\(\w{1,60}\)s|\*{1,100}|x{3,100}|\.{3}|\?|<[\w -]{1,60}>|:\w{1,60}"
)
_CALL: Final = re.compile(r"[ \t]{1,3}=[ \t]{1,3}[a-z_][\w.]{0,80}\([^()'\"=]{0,200}\)(?![^\s,;)])")
_ENVIRONMENT: Final = re.compile(
    r"\b[A-Z][A-Z0-9_]{0,60}_(?:KEY|PASS|PW)=['\"]?([^\s'\"&;,]{1,4000})"
)
_VALUE_FIRST: Final = re.compile(
    r"['\"](?:value|val|content)\\{0,20}['\"]\s{0,3}:\s{0,3}(\\{0,20})(['\"])([^'\"\\]{1,500})\1\2\s{0,3},\s{0,3}"
    rf"\\{{0,20}}['\"](?:name|key|field|label|param)\\{{0,20}}['\"]\s{{0,3}}:\s{{0,3}}\\{{0,20}}['\"][\w-]{{0,40}}{_WORDS}"
)
_ELEMENT: Final = re.compile(r"<([\w:.-]{1,64})(?:\s[^<>]{0,300})?>\s{0,20}(<!\[cdata\[)?")
_END: Final = re.compile(r"(?<!\\)(\\*)(['\"])")
_BRACKET: Final = re.compile(r"(?<!\\)(\\*)(['\"])|([\[({])|[\])}]")
_AFTER_VALUE: Final = re.compile(r"\s*(?:[,;:)\]}>\\]|\Z)")
_PAIR_LENGTH: Final = 4_000

_SCHEME: Final = re.compile(r"\b(?:bearer|basic)\s{1,3}([\w+/=.~-]{4,})")
# No part crosses another "://", so that none is looked through twice. Passwords are put into URLs as they are, and then
# hold what a URL gives a meaning; but there is none in `host:80/a@b`.
_USER_INFO: Final = re.compile(
    r"://([^\s/?#'\"]{1,4000}|[^\s/@:?#'\"]{1,100}:(?!\d{0,5}(?:[/?#]|\Z))(?:[^\s/@'\"]|/(?!/)){1,256})@"
)
_URL: Final = re.compile(r"://[^\s'\"<>?#:]*+(?::(?!//)[^\s'\"<>?#:]*+)*+\?([^\s'\"<>#]+)")
_TELLING_URL: Final = re.compile(r"://[^\s@?:]*+(?::(?!//)[^\s@?:]*+)*+[@?]")
_PRIVATE_KEY: Final = re.compile(r"-----begin [a-z ]{0,30}private key-----(?!\[filtered\])")
_JWT: Final = re.compile(r"(?<![\w-])([\w-]{11,}+)(?=\.[\w-]{4,}+\.([\w-]*+))")
_JWT_START: Final = re.compile(r"\beyj[\w-]{8}")

# What is to go of a text: from where to where, and what stands there instead.
Cut: TypeAlias = tuple[int, int, str]


class Looked(NamedTuple):
    """A text that is looked through: as it is, in small letters, and how much of it may still be."""

    text: str
    small: str
    work: Work


PLACES: Final = 1_000
"""Places of one event, or of what one client sends, that take a closer look."""


def clean_text(text: str, work: Work | None = None) -> str:
    """A text without what is secret in it by a name or by its looks; the very same one if there is nothing."""
    small = _small(text)
    if not found_hints(small, ALL_HINTS):
        return text
    work = work or Work(PLACES)
    for hints, find in _FINDERS:
        if hints and not any(hint in small for hint in hints):
            continue
        cuts = list(_counted(find(Looked(text, small, work)), text, work))
        if cuts:
            text, small = _without(text, cuts), _without(small, cuts)
    return text


def _counted(cuts: Iterator[Cut], text: str, work: Work) -> Iterator[Cut]:
    """As many cuts as there are places left; then the rest of the text as one."""
    for cut in cuts:
        if work.spend():
            yield cut
            continue
        yield cut[0], len(text), FILTERED
        return


def found_hints(small: str, among: tuple[str, ...] = HINTS) -> tuple[str, ...]:
    """What a text in small letters holds that `clean_text` may have something to remove for."""
    found = [hint for hint in among if hint in small]
    return tuple([hint for hint in found if _is_telling(hint, small)]) if found else ()


def _is_telling(hint: str, small: str) -> bool:
    """Whether a hint that is in many a harmless text tells anything in this one."""
    if hint in _TELLING:
        return any(one in small for one in _TELLING[hint])
    if hint == "://":
        return _TELLING_URL.search(small) is not None
    if hint == "key":  # of an API, for access, or private
        at = small.find("key")
        while at >= 0:
            if small[max(0, at - 4) : at].rstrip(" _-").endswith(("api", "ess", "ate")):
                return True
            at = small.find("key", at + 3)
        return False
    return True


def clean_texts(texts: dict[str, str]) -> dict[str, str]:
    """Texts under their names, each as `clean_text` leaves it; looked at as one, for most hold nothing."""
    if not found_hints("\n".join(texts.values()).lower()):
        return texts
    return {name: clean_text(text) for name, text in texts.items()}


def clean_lines(text: str) -> str:
    """A whole text that somebody sent, the lines of which may each be a name and a value. For `clean_text` to go on."""
    cuts = list(_counted(_lines(text), text, Work(PLACES)))
    return _without(text, cuts) if cuts else text


def secret_values(text: str, work: Work | None = None) -> Iterator[str]:
    """What a text, such as a request's body, holds of all that is removed here, but for parameters of URLs."""
    small = _small(text)
    if not found_hints(small, ALL_HINTS):
        return
    work = work or Work(PLACES)
    for hints, find in _FINDERS:
        if find is _queries or (hints and not any(hint in small for hint in hints)):
            continue
        for start, end, _ in _counted(find(Looked(text, small, work)), text, work):
            if work.left < 0:
                return  # all that is left, unseen: no value of anything
            yield text[start:end]
            if find is _user_info:
                yield text[start:end].partition(":")[2]
    yield from (text[start:end] for start, end, _ in _lines(text) if work.spend())


def _lines(text: str) -> Iterator[Cut]:
    for match in _LINE.finditer(text):
        if VARIABLES[match[1]]:
            yield match.start(2), match.start(2) + len(match[2].rstrip()), FILTERED


_LINE: Final = re.compile(
    rf"^[ \t]{{0,20}}([\w-]{{0,20}}{_WORDS}[\w-]{{0,20}})[ \t]{{0,3}}[:=][ \t]{{0,3}}([^\s\"'{{\[][^\r\n]{{0,300}})",
    re.IGNORECASE | re.MULTILINE,
)


def _small(text: str) -> str:
    small = text.lower()
    if len(small) == len(text):
        return small
    return "".join(one.lower() if one.isascii() else one for one in text)  # "İ" would become two


def _without(text: str, cuts: list[Cut]) -> str:
    pieces: list[str] = []
    at = 0
    for start, end, instead in cuts:
        if start >= at:
            pieces += text[at:start], instead
            at = end
    return "".join([*pieces, text[at:]])


def _named(looked: Looked) -> Iterator[Cut]:
    """The values that stand beside names."""
    text, small, work = looked
    at = 0
    for match in _NAME.finditer(small):
        if match.start() < at or small[match.end() : match.end() + 1] not in _BEFORE_VALUE:
            continue  # within a value, or followed by none
        whole = f"{_before(text, match.start())}{text[match.start() : match.end()]}"
        if not work.hides(whole.strip(), VARIABLES):
            continue
        if whole.startswith("--"):
            found = _option(small, match.end())
        else:
            found = _value_after(small, match.end(), match.start())
        if found is not None:
            start, at = found
            yield start, at, FILTERED
        elif not work.spend():  # it was looked for; who counts the cuts asks for no more
            yield match.start(), len(text), FILTERED


def _before(text: str, at: int) -> str:
    """What of a name stands before `at`."""
    last = text[at - 1 : at]
    if not (last.isalnum() or last in {"_", "-", "%"}):
        return ""
    found = _REST_OF_NAME.search(text[max(0, at - 40) : at])
    return found[0] if found else ""


def _option(small: str, at: int) -> tuple[int, int] | None:
    """Where the value stands of an option `--password`, the name of which ends at `at`."""
    found = _OPTION.match(small, at)
    if found is None:
        return _value_after(small, at, at)
    return None if _PROSE.match(small, found.start(1)) else found.span(1)


def _value_after(small: str, at: int, name_at: int) -> tuple[int, int] | None:
    """Where the value stands of a name that ends at `at`."""
    next_one = small[at : at + 1]
    within_quotes = next_one in _QUOTES
    if next_one == " " and _CALL.match(small, at):
        return None
    found = _QUOTED.match(small, at) or (_TOLD.match(small, at) if within_quotes else None)
    if found is not None:
        return _quoted(small, found)
    found = _NESTED.match(small, at)
    if found is not None:
        return found.start(1), _closed_at(small, found.start(1))
    found = _PAIRED.match(small, at) if within_quotes else None
    if found is not None:
        return _second_of_pair(small, found)
    found = _BARE.match(small, at) if next_one == "=" else None
    if found is not None:
        counted = _is_number_of(small[name_at:at], found[0][1:])
        return None if counted or _stands_for(small, at + 1) else (at + 1, found.end())
    return _said(small, at, name_at)


def _quoted(small: str, opened: re.Match[str]) -> tuple[int, int] | None:
    start = opened.end()
    end = _end_of(small, start, opened, len(small))
    return None if start == end or _STANDS_FOR.fullmatch(small, start, end) else (start, end)


def _second_of_pair(small: str, opened: re.Match[str]) -> tuple[int, int] | None:
    start = opened.end()
    end = _end_of(small, start, opened, start + _PAIR_LENGTH)
    closed = end + len(opened[1]) + 1
    return (start, end) if end > start and small[closed : closed + 1] in {")", "]"} else None


def _stands_for(small: str, at: int) -> bool:
    """Whether what begins at `at` stands for a value in a statement, a template or a log."""
    found = _STANDS_FOR.match(small, at)
    return found is not None and small[found.end() : found.end() + 1] in _AFTER_IT


_AFTER_IT: Final = frozenset({"", " ", "\t", "\n", "\r", ",", ";", ")", "]", "}", "&", "'", '"'})
_QUOTES: Final = frozenset({"'", '"', "\\"})


def _said(small: str, at: int, name_at: int) -> tuple[int, int] | None:
    """Where the value stands that follows a name after a colon, an equals sign or a line, and is no prose."""
    name = small[name_at:at]
    for begins, pattern in (("cookie", _COOKIES), ("authori", _CREDENTIALS)):
        line = pattern.match(small, at) if name.startswith(begins) else None
        if line is not None:
            return line.span(1)
    if name.startswith("authori") and _WITH_SCHEME.match(small, at):
        return None
    refused = _REFUSED.match(small, at) if small[at : at + 1] in _LINE_ENDS else None
    if refused is not None:
        return refused.span(1)
    found = _SAID.match(small, at)
    if found is None or small[max(0, name_at - 11) : name_at].strip() == "unexpected":
        return None
    return None if _says_nothing(small, name, found) else found.span(1)


def _says_nothing(small: str, name: str, found: re.Match[str]) -> Any:
    """Whether what is said after a name is no value of it."""
    value, start = found[1], found.start(1)
    return (
        value in _PLAIN
        or _PROSE.match(small, start)
        or _is_number_of(name, value)
        or _stands_for(small, start)
    )


_LINE_ENDS: Final = frozenset({"\n", "\\"})


def _is_number_of(name: str, value: str) -> bool:
    """Whether a number counts what has that name: no password, and too short for a token."""
    return value.isdigit() and "pass" not in name and (name.endswith("s") or len(value) < 4)  # noqa: PLR2004


def _end_of(small: str, start: int, opened: re.Match[str], limit: int) -> int:
    """Where a quoted value ends: at the quote that is escaped as often as the one that opened it."""
    escapes, quote = len(opened[1]), opened[2]
    for match in _END.finditer(small, start, limit):
        if match[2] != quote:
            continue
        if len(match[1]) == escapes or (escapes == 0 and len(match[1]) % 2 == 0):
            if match[1] and not escapes and not _AFTER_VALUE.match(small, match.end()):
                continue  # a quote of JSON's, which a repr around it has escaped once more
            return match.start() + (0 if escapes else len(match[1]))
    return min(limit, len(small))


def _closed_at(small: str, start: int) -> int:
    """Where the bracket closes that is the first from `start` on; quotes may hold others."""
    limit = min(start + _PAIR_LENGTH, len(small))
    open_brackets, quoted = 0, None
    for match in _BRACKET.finditer(small, start, limit):
        if match[2]:
            said = len(match[1]), match[2]
            if quoted is None:
                quoted = said
            elif said == quoted or (match[2] == quoted[1] and not quoted[0] and not said[0] % 2):
                quoted = None
        elif quoted is None:
            open_brackets += 1 if match[3] else -1
            if not open_brackets:
                return match.end()
    return limit


def _value_first(looked: Looked) -> Iterator[Cut]:
    for match in _VALUE_FIRST.finditer(looked.small):
        yield match.start(3), match.end(3), FILTERED


def _elements(looked: Looked) -> Iterator[Cut]:
    """The text of XML elements whose name is secret."""
    text, small, work = looked
    at = 0
    for match in _ELEMENT.finditer(small):
        name, start = match[1], match.end()
        if start < at or match[0].rstrip().endswith("/>"):
            continue
        if not work.hides(text[match.start(1) : match.end(1)].rpartition(":")[2]):
            continue
        at = small.find("]]>" if match[2] else f"</{name}", start, start + _PAIR_LENGTH)
        if at < 0:
            at = small.find("<", start)
        at = len(small) if at < 0 else at
        as_one = match[2] or "<![cdata[" in small[start:at]
        inner = [(start, at)] if as_one else _texts_in(small, start, at)
        for begun, ended in inner:
            if small[begun:ended].strip() not in {"", FILTERED.lower()}:
                yield begun, ended, FILTERED


def _texts_in(small: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where the texts stand between the tags that an element holds."""
    while start < end:
        tag = small.find("<", start, end)
        yield start, end if tag < 0 else tag
        start = small.find(">", tag, end) + 1 if tag >= 0 else 0
        if not start:
            return


def _schemes(looked: Looked) -> Iterator[Cut]:
    text, small, _ = looked
    for match in _SCHEME.finditer(small):
        said = text[match.start(1) : match.end(1)]
        # "Basic authentication" and "bearer token" are words, unless a header says otherwise.
        if (
            not said.islower()
            or not said.isalpha()
            or "authori" in small[max(0, match.start() - 20) : match.start()]
        ):
            yield match.start(1), match.end(1), FILTERED


def _user_info(looked: Looked) -> Iterator[Cut]:
    for match in _USER_INFO.finditer(looked.small):
        yield match.start(1), match.end(1), FILTERED


def _queries(looked: Looked) -> Iterator[Cut]:
    for match in _URL.finditer(looked.small):
        query = looked.text[match.start(1) : match.end(1)]
        cleaned = clean_query(query, _anything, looked.work)
        if cleaned != query:
            yield match.start(1), match.end(1), cleaned


def _private_keys(looked: Looked) -> Iterator[Cut]:
    """What a PEM file holds (RFC 7468), or its beginning."""
    small = looked.small
    for match in _PRIVATE_KEY.finditer(small):
        end = small.find("-----end", match.end())
        yield match.end(), len(small) if end < 0 else end, FILTERED
        if end < 0:
            return


def _tokens(looked: Looked) -> Iterator[Cut]:
    for match in _JWT.finditer(looked.small):
        begun = _JWT_START.search(looked.small, match.start(), match.end())
        if begun is not None:
            yield begun.start(), match.end(2), FILTERED


def _dotenv(looked: Looked) -> Iterator[Cut]:
    """Values of variables of the environment, which are written in capitals."""
    for match in _ENVIRONMENT.finditer(looked.text):
        if not _STANDS_FOR.fullmatch(match[1]):
            yield match.start(1), match.end(1), FILTERED


def _shapes(looked: Looked) -> Iterator[Cut]:
    shapes = [one for one in SHAPES if any(hint in looked.small for hint in one.hints)]
    found = [
        (*match.span(min(shape.pattern.groups, 1)), FILTERED)
        for shape in shapes
        for match in shape.pattern.finditer(looked.text)
    ]
    yield from sorted(found)


def _anything(name: str) -> bool:  # noqa: ARG001
    return True


# Each with what a text in small letters holds at least of it.
_FINDERS: Final[tuple[tuple[tuple[str, ...], Callable[[Looked], Iterator[Cut]]], ...]] = (
    ((), _named),
    (("val", "content"), _value_first),
    (("</",), _elements),
    (("bearer", "basic"), _schemes),
    (("://",), _user_info),
    (("://",), _queries),
    (("eyj",), _tokens),
    (("-----begin",), _private_keys),
    (("_key=", "_pass=", "_pw="), _dotenv),
    (SHAPE_HINTS, _shapes),
)
