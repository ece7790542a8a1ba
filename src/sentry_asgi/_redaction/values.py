"""Where the value stands of a name in a text.

The rules:

- It stands beside the name: quoted (`'token': 'x'`), with quotes within brackets (`tokens=['x', 'y']`,
  `token=Secret('x')`), as a pair (`('token', 'x')`), after `=`, after a colon (`Password: x`), as an option
  (`--password x`) or a setting (`login bob password x`), as the part of a form, or told by a name
  (`"name": "password", "value": "x"`); percent-encoded and escaped for HTML, too.
- In prose, what is quoted goes (`wrong password 'x'`), and what has letters and digits (`token ab12… has expired`);
  words stay: "password: This field is required", "token: expired". A passphrase in prose cannot be told from prose.
- What stands for a value is none: a placeholder (`$1`, `%s`, `{}`, `***`), a function's call, an attribute in code.
- The text is in small letters: to match the patterns against it takes a fifth of the time of ignoring case. A name
  stands from `name_at` to `at`. Each pattern is matched from one place, and bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

# What stands between a name and its value begins with one of these; or the text ends.
BEFORE_VALUE: Final = frozenset("=:'\"\\] \t\n\r\f\v%&)")
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
SETTING: Final = re.compile(
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
_END: Final = re.compile(r"(?<!\\)(\\*)(['\"])")
_BRACKET: Final = re.compile(r"(?<!\\)(\\*)(['\"])|([\[({])|[\])}]")
_AFTER_VALUE: Final = re.compile(r"\s*(?:[,;:)\]}>\\]|\Z)")
PAIR_LENGTH: Final = 4_000


def option(small: str, at: int, name_at: int, *, as_option: bool) -> tuple[int, int] | None:
    """Where the value stands of an option `--password`, or of a setting, the name of which ends at `at`."""
    found = _OPTION.match(small, at)
    if found is None or (
        not as_option and (small[at : at + 1] != " " or _says_nothing_of(found, small))
    ):
        return value_after(small, at, name_at)
    return None if _PROSE.match(small, found.start(1)) else found.span(1)


def _says_nothing_of(found: re.Match[str], small: str) -> bool:
    """Whether what follows a name at the beginning of a line is no value: prose, which goes on."""
    return (
        small[found.end() : found.end() + 1] not in _LINES_END
        or found[1].strip(".,!?():").isalpha()
    )


def value_after(small: str, at: int, name_at: int) -> tuple[int, int] | None:
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


def _quoted(small: str, opened: re.Match[str], name_at: int) -> tuple[int, int] | None:  # noqa: ARG001
    start = opened.end()
    end = _end_of(small, start, opened, len(small))
    return None if start == end or _STANDS_FOR.fullmatch(small, start, end) else (start, end)


def _nested(small: str, found: re.Match[str], name_at: int) -> tuple[int, int] | None:  # noqa: ARG001
    start, end = found.start(1), _closed_at(small, found.start(1))
    return None if _HIDDEN.fullmatch(small, start, end) else (start, end)


def _second_of_pair(small: str, opened: re.Match[str], name_at: int) -> tuple[int, int] | None:  # noqa: ARG001
    start = opened.end()
    end = _end_of(small, start, opened, start + PAIR_LENGTH)
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
    limit = min(start + PAIR_LENGTH, len(small))
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
