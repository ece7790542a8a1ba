"""What is secret in a text by itself: a value beside the name of a secret, or the looks of a credential.

The rules:

- A name is one that `rules` calls secret for variables; the value goes that stands beside it: quoted
  (`'token': 'x'`), with quotes within brackets (`tokens=['x', 'y']`, `token=Secret('x')`), as a pair
  (`('token', 'x')`), after `=`, after a colon (`Password: x`), as an element (`<password>x</password>`), as an option
  (`--password x`) or a setting (`login bob password x`), as the part of a form, or told by a name
  (`"name": "password", "value": "x"`); percent-encoded and escaped for HTML, too.
- In prose, what is quoted goes (`wrong password 'x'`), and what has letters and digits (`token ab12… has expired`);
  words stay: "password: This field is required", "token: expired". A passphrase in prose cannot be told from prose.
- So do secret parameters of queries and what has a shape of its own (`shapes`).
- What stands for a value is none: a placeholder (`$1`, `%s`, `{}`, `***`), a function's call, an attribute in code.
- Most texts hold none of it, and every text of an event is asked: so a few plain words are looked for first. The
  patterns are matched against the text in small letters, which takes a fifth of the time of ignoring case.
- Matching is linear in the text's length: nothing is searched for twice from the same place. Each place that takes a
  closer look is counted (`Work`); after so many, the rest of the text is taken for secret, unseen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple, TypeAlias

from .names import FILTERED, NOTHING, anything, clean_query
from .rules import COMPANY, IN_COMPANY, IN_TEXTS, RULES, SHORT, SIGN, Rules, Work
from .shapes import HINTS as SHAPE_HINTS, TOKENS, may_hold_tokens, runs

# Whoever has none of these has nothing.
_BRIEF: Final = "\0 a name that is short"
_TOKENS: Final = "\0 a token"
_URL: Final = "\0 a URL that tells something"
HINTS: Final = frozenset(
    {"passw", "pwd", "secret", "token", "session", "srf", "cookie", "authori", "authent", "jwt"}
    | {"</", "requirepass", "user-pass", "grant_type", "state=", "'state'", '"state"', "auth plain"}
    | {"ion code", "time code", "api key", "private key", "access key", "api_key", "-key", _BRIEF}
    | {hint for hint in SHAPE_HINTS if hint not in {"pass:", "plain", "://"}}
    | {"passp", "credential", "signature", "assertion", "saml", _URL}
)
ALL_HINTS: Final = HINTS | {_TOKENS}
_BRIEF_NAME: Final = re.compile(rf"(?:{SHORT}|ring|hrase|number|mnemonic){SIGN}")
_REST_OF_NAME: Final = re.compile(r"[\w%-]{1,40}\Z")

# What stands between a name and its value begins with one of these; or the text ends.
_BEFORE_VALUE: Final = frozenset("=:'\"\\] \t\n\r\f\v%&)")
_QUOTED: Final = re.compile(r"\\{0,20}['\"]?\]?[ \t]{0,20}(?:=>|[:=])\s{0,20}b?(\\{0,20})(['\"])")
_NESTED: Final = re.compile(
    r"\\{0,20}['\"]?\]?\s{0,3}(?:=>|[:=])\s{0,3}((?:[a-z_][\w.]{0,60})?[\[({]"
    r"(?=[^'\")\]}]{0,200}+['\"]))"
)
# As pydantic tells of a value that it refuses: the name, on a line of its own, and the value at the end of the next.
_REFUSED: Final = re.compile(
    # Atomic: what begins again and again is tried once.
    r"(?:\n|\\{1,4}n)  (?>[^\n]{1,300}?\[type=)(?!missing)\w{1,60}, input_value=((?>[^\n]{1,1000}?(?=, input_type=)))"
)
# Of a command, as one text or as a list of its parts.
_OPTION: Final = re.compile(
    r"(?:\\{0,20}['\"],\s?\\{0,20}['\"]|[ \t]{1,3}['\"]?)((?![-=:])[^\s'\"\\]{1,4000})"
)
_SET: Final = re.compile(
    r"(?:login[ \t]\S{1,80}|\b(?:env|set|aws configure set))\s{1,8}\Z|(?:^|\n)[ \t]{0,8}\Z"
)
_PAIRED: Final = re.compile(r"\\{0,20}['\"],\s?b?(\\{0,20})(['\"])")
_TOLD: Final = re.compile(
    r"\\{0,20}['\"](?:"
    r"(?:\s{0,3},\s{0,3}|\s{1,3})b?\\{0,20}['\"]?(?:v|value|val|content)"
    # As pydantic's errors are listed.
    r"|[\])]{0,2},\s?\\{0,20}['\"]msg\\{0,20}['\"]:\s?\\{0,20}['\"][^'\"]{0,200}['\"],\s?\\{0,20}['\"]input"
    r")\\{0,20}['\"]?\s{0,3}[:=]\s{0,3}b?(\\{0,20})(['\"])"
)
# Where no quote stands at both ends: `Key (token)=(x)`; a list in YAML; a part of a form; percent-encoded; in HTML.
_OTHERWISE: Final = re.compile(
    r"\)=\(([^()\n]{1,1000})"
    r"|[ \t]{0,3}\n[ \t]{0,40}value:[ \t]{1,3}['\"]?([^\s'\"]{1,4000})"
    r"|['\"](?:;[^\n]{0,200})?(?:\r?\n(?:[a-z-]{1,40}:[^\n]{0,200}\n)?\r?\n|(?:\\r)?\\n(?:\\r)?\\n)([^\r\n\\]{1,4000})"
    r"|%(?:25)?3d((?:[^\s&'\"%]|%(?!(?:25)?26)){1,4000})"
    r"|&(?:quot|#x27|#39|#34);[ \t]{0,3}[:=][ \t]{0,3}&(?:quot|#x27|#39|#34);([^&\n]{1,1000})"
    r"|&gt;([^&<\n]{1,1000})"
)
_BARE: Final = re.compile(
    r"=(?![\s=]|none\b|true\b|false\b|null\b|\\{0,20}['\"]|b['\"])[^\s,;&'\")}\\]+"
)
_SAID: Final = re.compile(
    r"[ \t]{0,20}(?::|=(?!&))[ \t]{0,20}([^\s,;<>()\[\]{}'\"\\=/:][^\s,;<>()\[\]{}'\"\\]+)"
)
# In prose: what is quoted, or has letters and digits in it.
_SPOKEN: Final = re.compile(
    r"[ \t](?:(?:provided|given|is|was):?[ \t])?(?:(['\"])([^'\"\n]{2,200})\1"
    r"|((?=[\w.+/=-]{0,100}\d)(?=[\w.+/=-]{0,100}[a-z])[\w+/=-][\w.+/=-]{7,500}[\w+/=-]))"
)
_SPOKEN_CODE: Final = re.compile(r"(?:[ \t](?:is|was)|:)?[ \t]((?=\w{0,40}\d)\w{4,40})\b")
_COOKIES: Final = re.compile(r"[ \t]{0,2}[:=][ \t]{0,3}([^\s=;,'\"\\]{1,200}=[^\r\n'\"\\]{1,8000})")
_WITH_SCHEME: Final = re.compile(r"[ \t]{0,2}:[ \t]{0,3}(?:bearer|basic) ([\w+/=.~-]{4,}|)")
_CREDENTIALS: Final = re.compile(
    r"[ \t]{0,2}:[ \t]{0,3}((?:digest|negotiate|ntlm|token|oauth|hawk|aws4-hmac-sha256|\w{1,20}key(?:lite)?) "
    r"(?:[^\r\n'\"\\]|\"[^\r\n\"\\]{0,1000}\"){1,4000})"
)
_LINES: Final = (
    ("cookie", _COOKIES),
    ("authori", _CREDENTIALS),
    ("authori", _WITH_SCHEME),
)
# Words that are said about a secret, or that stand for one in code.
_PROSE: Final = re.compile(r"[a-z']{1,60}[,:]?[ \t]{1,2}[a-z`]")
_PLAIN: Final = frozenset(
    [
        "none",
        "null",
        "nil",
        "true",
        "false",
        "yes",
        "no",
        "ok",
        "str",
        "string",
        "bytes",
        "int",
        "optional",
        "any",
        "expired",
        "invalid",
        "missing",
        "required",
        "revoked",
        "rejected",
        "expected",
        "unknown",
        "unset",
        "empty",
        "undefined",
        "redacted",
        "filtered",
        "return",
        "raise",
        "pass",
        "continue",
        "break",
        "on",
        "off",
        "enabled",
        "disabled",
        "session",
        "secretstr",
        "user",
        "await",
    ]
)
# What stands for a value in a statement, a template or a log; and code that has it.
_STANDS_FOR: Final = re.compile(
    r"\$\d{1,3}|\$?\{{1,2}[^{}]{0,60}\}{1,2}|\$[a-z_]\w{0,60}|%s|%r|%d"
    r"|%\(\w{1,60}\)s|\*{1,100}|x{3,100}|\.{3}|\?|<[\w -]{1,60}>|:\w{1,60}"
)
# As pydantic shows its secrets.
_HIDDEN: Final = re.compile(r"\w{1,60}\(b?\\{0,20}['\"]\*{0,100}\\{0,20}['\"]\)")
_CALL: Final = re.compile(r"[ \t]{1,3}=[ \t]{1,3}[a-z_][\w.]{0,80}\([^()'\"]{0,200}\)(?![^\s,;)])")
_IN_CODE: Final = re.compile(
    r"[ \t]{0,3}[:=][ \t]{0,3}(?:self|cls|os|settings|config|conf|request|req|response|form|data|app|env|environ|args"
    r"|options|params|body|payload|user|document|session|token|ctx|context|process)\.\w+"
)
_ASKED_FOR: Final = re.compile(
    r"(?:for|argument|option|parameter|field|named|attribute) \\?['\"](?:--)?\Z"
)
_VALUE_FIRST: Final = re.compile(
    r"['\"](?:value|val|content)\\{0,20}['\"]\s{0,3}:\s{0,3}(\\{0,20})(['\"])([^'\"\\]{1,500})\1\2\s{0,3},\s{0,3}"
    rf"\\{{0,20}}['\"](?:name|key|field|label|param)\\{{0,20}}['\"]\s{{0,3}}:\s{{0,3}}\\{{0,20}}['\"][\w-]{{0,40}}(?:{IN_TEXTS})"
)
_ELEMENT: Final = re.compile(r"<([\w:.-]{1,64})(?:\s[^<>]{0,300})?>\s{0,20}(<!\[cdata\[)?")
_END: Final = re.compile(r"(?<!\\)(\\*)(['\"])")
_BRACKET: Final = re.compile(r"(?<!\\)(\\*)(['\"])|([\[({])|[\])}]")
_AFTER_VALUE: Final = re.compile(r"\s*(?:[,;:)\]}>\\]|\Z)")
_PAIR_LENGTH: Final = 4_000
_PARAMETER: Final = r"[\w.%\[\]-]{1,100}+=[^\s&'\"<>#]*+"
_QUERY: Final = re.compile(
    rf"(?<=[?#;])({_PARAMETER}(?:&{_PARAMETER})*+)|(?<![^\s&'\"<>#])({_PARAMETER}(?:&{_PARAMETER})++)"
)
_TELLING_URL: Final = re.compile(r"://[^\s@?:]*+(?::(?!//)[^\s@?:]*+)*+[@?]")

# What is to go of a text: from where to where, what stands there instead, and by which rule.
Cut: TypeAlias = tuple[int, int, str, str]


class Looked(NamedTuple):
    """A text that is looked through: as it is, in small letters, and how much of it may still be."""

    text: str
    small: str
    work: Work


PLACES: Final = 1_000
"""Places of one event, or of what one client sends, that take a closer look."""


def clean_text(text: str, work: Work | None = None) -> str:
    """A text without what is secret in it by a name or by its looks; the very same one if there is nothing."""
    return clean_and_tell(text, work or Work(PLACES))[0]


def clean_and_tell(text: str, work: Work) -> tuple[str, list[str]]:
    """The same, and by which rules."""
    small = _small(text)
    why: list[str] = []
    if not (found_hints(small, ALL_HINTS) or work.rules.own):
        return text, why
    for find in _FINDERS:
        cuts = list(_counted(find(Looked(text, small, work)), text, work))
        if cuts:
            text, small = _without(text, cuts), _without(small, cuts)
            why += dict.fromkeys(cut[3] for cut in cuts)
    return text, why


def _counted(cuts: Iterator[Cut], text: str, work: Work) -> Iterator[Cut]:
    """As many cuts as there are places left; then the rest of the text as one."""
    for cut in cuts:
        if work.spend():
            yield cut
            continue
        yield cut[0], len(text), FILTERED, "unseen"
        return


def found_hints(small: str, among: frozenset[str] = HINTS) -> frozenset[str]:
    """What a text in small letters holds that `clean_text` may have something to remove for."""
    found = list(filter(small.__contains__, among))
    found += [hint for hint, look in _LOOKING if hint in among and look(small)]
    return frozenset(found)


# Of hints, those that are more than a piece of a text.
_LOOKING: Final[tuple[tuple[str, Callable[[str], Any]], ...]] = (
    (_BRIEF, _BRIEF_NAME.search),
    (_TOKENS, may_hold_tokens),
    (_URL, _TELLING_URL.search),
)


# Parts shorter than any token (`shapes.SHORTEST`), and no sign before a value; of a query, but its own.
_PLAIN_PATH: Final = re.compile(r"(?:[\w.~-]{0,14}+/)*+[\w.~-]{0,14}", re.ASCII)
_PLAIN_QUERY: Final = re.compile(r"(?:[\w.~-]{1,14}=[\w.~-]{0,14}(?:[&;]|\Z))*", re.ASCII)


def is_plain_path(text: str) -> bool:
    """Whether a text is so plain that nothing is secret in it, as most paths are."""
    return _PLAIN_PATH.fullmatch(text) is not None


def is_plain_query(query: str) -> bool:
    """Whether a query is so plain that nothing is secret in it but by a parameter's name."""
    return _PLAIN_QUERY.fullmatch(query) is not None


def remember_harmless(values: Iterable[str], rules: Rules) -> None:
    """Has the rules know those values of headers that hold nothing, by which most requests are told to be harmless."""
    harmless = rules.harmless
    for value in values:
        if value not in harmless and (
            value in harmless.older or not found_hints(_small(value), ALL_HINTS)
        ):
            harmless.keep(value, "")


def clean_texts(texts: dict[str, str], rules: Rules = RULES) -> dict[str, str]:
    """Texts under their names, each as `clean_text` leaves it; looked at as one, for most hold nothing."""
    if not rules.own and not found_hints("\n".join(texts.values()).lower()):
        return texts
    return {name: clean_text(text, Work(PLACES, rules)) for name, text in texts.items()}


def clean_lines(text: str, rules: Rules = RULES) -> str:
    """A whole text that somebody sent, the lines of which may each be a name and a value. For `clean_text` to go on."""
    work = Work(PLACES, rules)
    cuts = list(_counted(_lines(text, work), text, work))
    return _without(text, cuts) if cuts else text


def secret_values(text: str, work: Work | None = None) -> Iterator[str]:
    """What a text, such as a request's body, holds of all that is removed here, but for parameters of URLs."""
    small = _small(text)
    work = work or Work(PLACES)
    if not (found_hints(small, ALL_HINTS) or work.rules.own):
        return
    for find in _FINDERS:
        if find is _queries:
            continue
        for start, end, _, why in _counted(find(Looked(text, small, work)), text, work):
            if work.left < 0:
                return  # all that is left, unseen: no value of anything
            yield text[start:end]
            if why.startswith("shape:url"):
                yield text[start:end].partition(":")[2]
    yield from (text[start:end] for start, end, _, _ in _lines(text, work) if work.spend())


def _lines(text: str, work: Work) -> Iterator[Cut]:
    for match in _LINE.finditer(text):
        kind = work.hides(match[1], variable=True)
        if kind:
            yield match.start(2), match.start(2) + len(match[2].rstrip()), FILTERED, f"name:{kind}"


_LINE: Final = re.compile(
    rf"^[ \t]{{0,20}}([\w-]{{0,20}}(?:{IN_TEXTS}|{SHORT})[\w-]{{0,20}})[ \t]{{0,3}}(?::|=(?!&))"
    rf"[ \t]{{0,3}}([^\s\"'{{\[][^\r\n]{{0,300}})",
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
    for start, end, instead, _ in cuts:
        if start >= at:
            pieces += text[at:start], instead
            at = end
    return "".join([*pieces, text[at:]])


def _named(looked: Looked) -> Iterator[Cut]:
    """The values that stand beside names."""
    text, small, work = looked
    at = 0
    in_company = any(one in small for one in COMPANY)
    for match in work.rules.in_texts.finditer(small):
        if match.start() < at or small[match.end() : match.end() + 1] not in _BEFORE_VALUE:
            continue  # within a value, or followed by none
        whole = f"{_before(text, match.start())}{text[match.start() : match.end()]}"
        kind = work.hides(whole.strip("% "), variable=True)
        if not kind and in_company and whole in IN_COMPANY:
            kind = "code"
        if not kind:
            continue
        begun = match.end() - len(whole)
        if whole.startswith("--") or _SET.search(small, max(0, begun - 100), begun):
            found = _option(small, match.end(), match.start(), as_option=whole.startswith("--"))
        else:
            found = _value_after(small, match.end(), match.start())
        if found is not None:
            start, at = found
            if small[start:at].rstrip(".") not in _SAID_TO_BE_NOTHING:
                yield start, at, FILTERED, f"name:{kind}"
        elif not work.spend():  # it was looked for; who counts the cuts asks for no more
            yield match.start(), len(text), FILTERED, "unseen"


_SAID_TO_BE_NOTHING: Final = frozenset(map(str.lower, NOTHING))


def _before(text: str, at: int) -> str:
    """What of a name stands before `at`."""
    last = text[at - 1 : at]
    if not (last.isalnum() or last in {"_", "-", "%"}):
        return ""
    found = _REST_OF_NAME.search(text[max(0, at - 40) : at])
    return found[0] if found else ""


def _option(small: str, at: int, name_at: int, *, as_option: bool) -> tuple[int, int] | None:
    """Where the value stands of an option `--password`, or of a setting, the name of which ends at `at`."""
    found = _OPTION.match(small, at)
    if found is None or (
        not as_option and (small[at : at + 1] != " " or _says_nothing_of(found, small))
    ):
        return _value_after(small, at, name_at)
    return None if _PROSE.match(small, found.start(1)) else found.span(1)


def _says_nothing_of(found: re.Match[str], small: str) -> bool:
    """Whether what follows a name at the beginning of a line is no value: prose, which goes on."""
    return (
        small[found.end() : found.end() + 1] not in _LINES_END
        or found[1].strip(".,!?():").isalpha()
    )


def _value_after(small: str, at: int, name_at: int) -> tuple[int, int] | None:
    """Where the value stands of a name that ends at `at`."""
    next_one = small[at : at + 1]
    within_quotes = next_one in _QUOTES
    if (next_one == " " and _CALL.match(small, at)) or _IN_CODE.match(small, at):
        return None
    if within_quotes and _ASKED_FOR.search(small, max(0, name_at - 20), name_at):
        return None
    notations = _IN_QUOTES if within_quotes else _NOTATIONS
    for pattern, value in notations:
        found = pattern.match(small, at)
        if found is not None:
            return value(small, found, name_at)
    return _said(small, at, name_at) or _spoken(small, at, name_at)


def _spoken(small: str, at: int, name_at: int) -> tuple[int, int] | None:
    """Where the value stands of a name in prose."""
    if small[at : at + 1] != " " or small[name_at - 1 : name_at] in {"_", "-"}:
        return None
    found = _SPOKEN.match(small, at)
    if found is None and small[name_at:at].endswith("code"):
        found = _SPOKEN_CODE.match(small, at)
    if found is None:
        return None
    start, end = found.span(found.lastindex or 0)
    return None if _STANDS_FOR.fullmatch(small, start, end) else (start, end)


# A name, the end of which a notation's pattern has matched from, stands at `name_at`; the value of it, or None.


def _quoted(small: str, opened: re.Match[str], name_at: int) -> tuple[int, int] | None:  # noqa: ARG001
    start = opened.end()
    end = _end_of(small, start, opened, len(small))
    return None if start == end or _STANDS_FOR.fullmatch(small, start, end) else (start, end)


def _nested(small: str, found: re.Match[str], name_at: int) -> tuple[int, int] | None:  # noqa: ARG001
    start, end = found.start(1), _closed_at(small, found.start(1))
    return None if _HIDDEN.fullmatch(small, start, end) else (start, end)


def _second_of_pair(small: str, opened: re.Match[str], name_at: int) -> tuple[int, int] | None:  # noqa: ARG001
    start = opened.end()
    end = _end_of(small, start, opened, start + _PAIR_LENGTH)
    closed = end + len(opened[1]) + 1
    return (start, end) if end > start and small[closed : closed + 1] in {")", "]"} else None


def _otherwise(small: str, found: re.Match[str], name_at: int) -> tuple[int, int] | None:  # noqa: ARG001
    return found.span(found.lastindex or 0)


def _bare(small: str, found: re.Match[str], name_at: int) -> tuple[int, int] | None:
    at = found.start()
    if _is_number_of(small[name_at:at], found[0][1:]) or _stands_for(small, at + 1):
        return None
    return at + 1, found.end()


_Value: TypeAlias = Callable[[str, re.Match[str], int], tuple[int, int] | None]
_NOTATIONS: Final[tuple[tuple[re.Pattern[str], _Value], ...]] = (
    (_QUOTED, _quoted),
    (_NESTED, _nested),
    (_OTHERWISE, _otherwise),
    (_BARE, _bare),
)
_IN_QUOTES: Final = (
    (_QUOTED, _quoted),
    (_TOLD, _quoted),
    (_NESTED, _nested),
    (_PAIRED, _second_of_pair),
    (_OTHERWISE, _otherwise),
)


def _stands_for(small: str, at: int) -> bool:
    """Whether what begins at `at` stands for a value in a statement, a template or a log."""
    found = _STANDS_FOR.match(small, at)
    return found is not None and small[found.end() : found.end() + 1] in _AFTER_IT


_AFTER_IT: Final = frozenset({"", " ", "\t", "\n", "\r", ",", ";", ")", "]", "}", "&", "'", '"'})
_QUOTES: Final = frozenset({"'", '"', "\\"})


def _said(small: str, at: int, name_at: int) -> tuple[int, int] | None:
    """Where the value stands that follows a name after a colon, an equals sign or a line, and is no prose."""
    name = small[name_at:at]
    for begins, pattern in _LINES:
        line = pattern.match(small, at) if name.startswith(begins) else None
        if line is not None:
            return line.span(1) if line[1] else None
    refused = _REFUSED.match(small, at) if small[at : at + 1] in _LINE_ENDS else None
    if refused is not None:
        return refused.span(1)
    found = _SAID.match(small, at)
    if (
        found is None
        or (found[1][-1] == "=" and small[found.end() : found.end() + 1] in _QUOTES)
        or small[max(0, name_at - 11) : name_at].strip() == "unexpected"
    ):
        return None
    return None if _says_nothing(small, name, found) else found.span(1)


def _says_nothing(small: str, name: str, found: re.Match[str]) -> Any:
    """Whether what is said after a name is no value of it."""
    value, start = found[1], found.start(1)
    return (
        value in _PLAIN
        or (value.isalpha() and small[found.end() : found.end() + 1] == "[")  # a type
        or _PROSE.match(small, start)
        or _is_number_of(name, value)
        or _stands_for(small, start)
    )


_LINES_END: Final = frozenset({"", "\n", "\r"})
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
        yield match.start(3), match.end(3), FILTERED, "name"


def _elements(looked: Looked) -> Iterator[Cut]:
    """The text of XML elements whose name is secret."""
    text, small, work = looked
    if "</" not in small:
        return
    at = 0
    for match in _ELEMENT.finditer(small):
        name, start = match[1], match.end()
        if start < at or match[0].rstrip().endswith("/>"):
            continue
        name_at_end = text[match.start(1) : match.end(1)].rpartition(":")[2]
        kind = work.hides(name_at_end, variable=True)
        if not kind:
            continue
        at = small.find("]]>" if match[2] else f"</{name}", start, start + _PAIR_LENGTH)
        if at < 0:
            at = small.find("<", start)
        at = len(small) if at < 0 else at
        as_one = match[2] or "<![cdata[" in small[start:at]
        inner = [(start, at)] if as_one else _texts_in(small, start, at)
        for begun, ended in inner:
            if small[begun:ended].strip() not in {"", FILTERED.lower()}:
                yield begun, ended, FILTERED, f"name:{kind}"


def _texts_in(small: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where the texts stand between the tags that an element holds."""
    while start < end:
        tag = small.find("<", start, end)
        yield start, end if tag < 0 else tag
        start = small.find(">", tag, end) + 1 if tag >= 0 else 0
        if not start:
            return


def _queries(looked: Looked) -> Iterator[Cut]:
    if "=" not in looked.small:
        return
    for match in _QUERY.finditer(looked.text):
        query = match[0]
        cleaned = clean_query(query, anything, looked.work)
        if cleaned != query:
            yield *match.span(), cleaned, "name"


def _shapes(looked: Looked) -> Iterator[Cut]:
    text, small, work = looked
    long = runs(small)
    found = [
        (*match.span(match.lastindex or 0), FILTERED, shape.rule)
        for at, shape in enumerate(work.rules.shapes)
        if not shape.hints
        or any(map((long if at < len(TOKENS) else small).__contains__, shape.hints))
        for match in shape.pattern.finditer(text)
    ]
    yield from sorted(found)


_FINDERS: Final[tuple[Callable[[Looked], Iterator[Cut]], ...]] = (
    _shapes,
    _queries,
    _named,
    _value_first,
    _elements,
)
