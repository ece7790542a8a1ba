"""Which entries a list shows, as conditions in SQL. Pure.

The rules:

- Of equal errors the newest stands for all; echoes of an exception are left out.
- A message is an echo if an exception of its trace and service came within a second of it; a log, if it
  says the same as an error of its trace.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from .search import conditions as search

_ECHO = (
    "({0}.kind = 'error' AND NOT {0}.raised AND {0}.level IN ('error', 'fatal') AND EXISTS"
    " (SELECT 1 FROM entries AS told WHERE told.trace_id = {0}.trace_id AND told.trace_id != ''"
    " AND told.kind = 'error' AND told.raised AND told.service = {0}.service"
    " AND told.moment BETWEEN {0}.moment - 1 AND {0}.moment + 1))"
)
_LOG_ECHO = (
    "(entries.kind = 'log' AND EXISTS (SELECT 1 FROM entries AS told WHERE told.trace_id ="
    " entries.trace_id AND told.trace_id != '' AND told.kind = 'error' AND told.title = entries.title))"
)
_NEWEST = (
    "(entries.site = '' OR NOT EXISTS (SELECT 1 FROM entries AS newer WHERE newer.site = entries.site"
    " AND newer.site != '' AND newer.id > entries.id {} AND NOT {}))"
)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries a list shows: those of these kinds (all, if empty), of this level (any, if
    empty), and that a search for `text` finds (`search.py`). `grouped`: of equal errors the newest
    alone, and no echo of an exception.
    """

    kinds: Collection[str] = ()
    level: str = ""
    text: str = ""
    grouped: bool = False


EVERYTHING = Filter()


def where_of(chosen: Filter) -> tuple[str, list[object]]:
    """Conditions, each followed by AND, and their values."""
    conditions: list[str] = []
    values: list[object] = []
    if chosen.kinds:
        # Of one kind the index gives the newest at once; of several, going back from the newest does.
        column = "entries.kind" if len(chosen.kinds) == 1 else "+entries.kind"
        conditions.append(f"{column} IN ({', '.join('?' * len(chosen.kinds))})")
        values += chosen.kinds
    if chosen.level:
        conditions.append("level = ?")
        values.append(chosen.level)
    if chosen.grouped:
        same_level = "AND newer.level = entries.level" if chosen.level else ""
        conditions += [
            f"NOT {_ECHO.format('entries')}",
            _NEWEST.format(same_level, _ECHO.format("newer")),
            f"NOT {_LOG_ECHO}",
        ]
    for condition in search(chosen.text):
        conditions.append(condition.sql)
        values += condition.values
    return "".join(f"{condition} AND " for condition in conditions), values
