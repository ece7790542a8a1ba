"""The language of the search box, from text to conditions for the store. Pure.

    tea "no milk" !coffee status:5xx >200ms route:/orders service:shop logger:shop.till
    level:>=warning method:POST trace:abab

The rules:

- Words and quoted texts must all be there: in what a row says, as any part of it, or at the beginning
  of a word among what else is known of it (`texts`). `!` before anything turns it round.
- A word with a colon whose name is not known is a word: addresses and times are looked for as they are.
- What makes no sense (`status:tea`) is a word, too: nothing that is typed is an error.
- At most `MAX_TERMS` count; the rest of them is one word more.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

MAX_TERMS = 8
LEVELS = ("fatal", "error", "warning", "info", "debug")

_TERM = re.compile(r'(!?)((?:[a-z]+:)?)(?:"([^"]*)"?|(\S+))')
_TOOK = re.compile(r"([<>]=?)?(\d{1,9}(?:\.\d{1,6})?)(ms|s)")
_STATUS = re.compile(r"([<>]=?)?(\d)(\d\d|xx)", re.IGNORECASE)
_LEVEL = re.compile(r"([<>]=?)?(\w+)")


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition in SQL, on `entries`, `items` and `envelopes`, with its values."""

    sql: str
    values: tuple[object, ...]


_SHOWN = (
    "(title || ' ' || detail || ' ' || place || ' ' || spot || ' ' || status || ' ' || trace_id"
    " || ' ' || coalesce(items.event_id, ''))"
)


def conditions(text: str) -> list[Condition]:
    """What a search asks for."""
    terms = {found[0]: found for found in _TERM.finditer(text) if found[3] or found[4]}
    found = [_condition(term) for term in list(terms.values())[:MAX_TERMS]]
    rest = " ".join(list(terms)[MAX_TERMS:])
    return [*found, _word(rest)] if rest else found


def quoted(name: str, value: str) -> str:
    """The term that finds this value: `route:/orders`, `service:"tea shop"`."""
    plain = re.fullmatch(r"[\w./:{}<>*@-]+", value)
    return f"{name}:{value}" if plain else f'{name}:"{value.replace(chr(34), " ")}"'


def _condition(term: re.Match[str]) -> Condition:
    negated, name, value = term[1], term[2], term[3] or term[4]
    found = _field(name, value) if name or term[3] is None else None
    found = found or _word(f"{name}{value}")
    return Condition(f"NOT ({found.sql})", found.values) if negated else found


def _field(name: str, value: str) -> Condition | None:
    if name:
        make = _FIELDS.get(name)
        return make(value) if make else None
    return _took(value) if value[0] in "<>" else None


def _word(word: str) -> Condition:
    shown = f"{_SHOWN} LIKE ? ESCAPE '\\'"
    phrase = " ".join(re.findall(r"\w+", word))
    if not phrase:
        return Condition(shown, (_pattern(word),))
    known = "entries.id IN (SELECT rowid FROM texts WHERE texts MATCH ?)"
    return Condition(f"({shown} OR {known})", (_pattern(word), f'"{phrase}" *'))


def _pattern(word: str) -> str:
    return "%" + word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"


def _took(value: str) -> Condition | None:
    found = _TOOK.fullmatch(value)
    if not found:
        return None
    seconds = float(found[2]) / (1000 if found[3] == "ms" else 1)
    return Condition(f"coalesce(duration {found[1] or '>='} ?, 0)", (seconds,))


def _status(value: str) -> Condition | None:
    found = _STATUS.fullmatch(value)
    if not found:
        return Condition("status = ? COLLATE NOCASE", (value,)) if value.isalpha() else None
    operator, wild = found[1] or "", found[3].lower() == "xx"
    low = int(found[2]) * 100 + (0 if wild else int(found[3]))
    high = low + 99 if wild else low
    number = "(status GLOB '[0-9]*' AND CAST(status AS INTEGER)"
    if not operator:
        return Condition(f"{number} BETWEEN ? AND ?)", (low, high))
    return Condition(f"{number} {operator} ?)", (low if operator in {"<", ">="} else high,))


def _level(value: str) -> Condition | None:
    found = _LEVEL.fullmatch(value)
    if not found or found[2] not in LEVELS:
        return None
    wanted = _levels(found[1] or "", LEVELS.index(found[2]))
    return Condition(f"level IN ({', '.join('?' * len(wanted))})", wanted)


def _levels(operator: str, at: int) -> tuple[str, ...]:
    """Those that are as bad as asked for; the worst stands first in `LEVELS`."""
    return {
        "": LEVELS[at : at + 1],
        ">=": LEVELS[: at + 1],
        ">": LEVELS[:at],
        "<=": LEVELS[at:],
        "<": LEVELS[at + 1 :],
    }[operator]


def _route(value: str) -> Condition:
    return Condition(
        "(entries.kind IN ('request', 'error', 'span')"
        " AND (place LIKE ? ESCAPE '\\' OR title LIKE ? ESCAPE '\\'))",
        (_pattern(value), _pattern(value)),
    )


def _service(value: str) -> Condition:
    return Condition("service = ? COLLATE NOCASE", (value,))


def _logger(value: str) -> Condition:
    return Condition(
        "(entries.kind = 'log' AND (place = ? OR place LIKE ? ESCAPE '\\'))",
        (value, _pattern(f"{value}.")[1:]),
    )


def _method(value: str) -> Condition:
    return Condition(
        "(entries.kind = 'request' AND title LIKE ? ESCAPE '\\')", (_pattern(f"{value} ")[1:],)
    )


def _trace(value: str) -> Condition:
    return Condition("trace_id LIKE ? ESCAPE '\\'", (_pattern(value)[1:],))


_FIELDS: dict[str, Callable[[str], Condition | None]] = {
    "status:": _status,
    "duration:": _took,
    "level:": _level,
    "route:": _route,
    "service:": _service,
    "logger:": _logger,
    "method:": _method,
    "trace:": _trace,
}
