"""The first look at a text: whether it may hold anything to remove at all.

Most texts hold none of it, and every text of an event is asked. So a few plain words are looked for first, all texts as
one; each has them whose removal has anything to do with it (`texts`, `shapes`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from .rules import SHORT, SIGN, Rules
from .shapes import HINTS as SHAPE_HINTS, may_hold_tokens

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
_TELLING_URL: Final = re.compile(r"://[^\s@?:]*+(?::(?!//)[^\s@?:]*+)*+[@?]")


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
            value in harmless.older or not found_hints(value.lower(), ALL_HINTS)
        ):
            harmless.keep(value, "")
