"""Equal errors as one: how often, since when, on which routes, and what has changed since a reload.

The rules:

- Errors are equal by their `site` (`sites.py`). The newest stands for all of them.
- A message that came beside an exception, in its trace and service and within a second, is that
  exception's echo: it belongs to it, and is no issue of its own.
- An issue is new if its first error came after the last reload; it is quiet if it was there before
  and has not come since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .entries import ERROR
from .starts import Start, last_reload
from .store import Filter, Listed, Store

COLUMNS = 16
"""How many columns a histogram has."""
MAX_ROUTES = 5
MAX_ECHOES = 3


@dataclass(frozen=True, slots=True)
class Issue:
    """Equal errors: the newest, the oldest, and sums of them all.

    `began` and `ended` are when the first and the last happened, in seconds since 1970; `histogram` counts
    them in equal parts of the time between. `routes` are some of the `on_routes` they happened on.
    `since_reload` counts those since the last reload; None if there was none.
    """

    newest: Listed
    first: Listed
    count: int
    began: float
    ended: float
    histogram: tuple[int, ...]
    on_routes: int
    routes: tuple[str, ...]
    since_reload: int | None
    echoes: tuple[Listed, ...]

    @property
    def is_new(self) -> bool:
        """Whether it never happened before the last reload."""
        return self.since_reload == self.count

    @property
    def is_quiet(self) -> bool:
        """Whether it has not happened since the last reload."""
        return self.since_reload == 0


def issues(store: Store, *, limit: int, after: int = 0, text: str = "") -> list[Issue]:
    """The issues of which something is numbered above `after`, those that happened last first."""
    chosen = Filter([ERROR], text=text, grouped=True)
    found = store.entries(chosen, limit=limit, after=after)
    return sorted(describe(store, found).values(), key=lambda one: -one.ended)


def issue_of(store: Store, listed: Listed) -> Issue:
    """The issue that an error belongs to; `newest` is the newest, whichever was asked for."""
    found = next(iter(describe(store, [listed]).values()))
    rows = store.read("SELECT max(id) FROM entries WHERE site = ? AND site != ''", (listed.site,))
    newest = store.entry(rows[0][0] or listed.number) or listed
    return _with_newest(found, newest)


def describe(store: Store, listed: Sequence[Listed]) -> dict[str, Issue]:
    """The issues of these errors, by site, each by the first of its errors in the list."""
    reload = last_reload(store)
    newest: dict[str, Listed] = {}
    for one in listed:
        if one.kind == ERROR:
            newest.setdefault(one.site, one)
    return {site: _issue(store, one, reload) for site, one in newest.items()}


def _with_newest(issue: Issue, newest: Listed) -> Issue:
    return Issue(
        newest, issue.first, issue.count, issue.began, issue.ended, issue.histogram,
        issue.on_routes, issue.routes, issue.since_reload, issue.echoes,
    )  # fmt: skip


def _issue(store: Store, newest: Listed, reload: Start | None) -> Issue:
    ((count, oldest, began, ended, since),) = store.read(
        "SELECT count(*), min(id), min(moment), max(moment), coalesce(sum(id > ?), 0)"
        " FROM entries WHERE site = ? AND site != ''",
        (reload.after if reload else 0, newest.site),
    )
    if not count:  # it has made room for newer ones meanwhile
        return Issue(
            newest, newest, 1, newest.moment, newest.moment, (1,), 0, (), None, ()
        )  # fmt: skip
    routes = store.read(
        "SELECT place FROM entries WHERE site = ? AND site != '' AND place != '' GROUP BY place"
        " ORDER BY count(*) DESC",
        (newest.site,),
    )
    return Issue(
        newest=newest,
        first=store.entry(oldest) or newest,
        count=count,
        began=began,
        ended=ended,
        histogram=_histogram(store, newest.site, began, ended),
        on_routes=len(routes),
        routes=tuple(place for (place,) in routes[:MAX_ROUTES]),
        since_reload=since if reload else None,
        echoes=echoes(store, newest),
    )


def _histogram(store: Store, site: str, began: float, ended: float) -> tuple[int, ...]:
    if ended <= began:
        return ()
    rows = store.read(
        "SELECT min(CAST((moment - ?) / ? * ? AS INTEGER), ?) AS part, count(*)"
        " FROM entries WHERE site = ? AND site != '' GROUP BY part",
        (began, ended - began, COLUMNS, COLUMNS - 1, site),
    )
    counts: dict[int, int] = dict(rows)
    return tuple(counts.get(part, 0) for part in range(COLUMNS))


def echoes(store: Store, listed: Listed) -> tuple[Listed, ...]:
    """The messages that only repeat this exception; none of a message."""
    rows = store.read(
        "SELECT told.id FROM entries AS own JOIN entries AS told ON told.trace_id = own.trace_id"
        " WHERE own.id = ? AND own.raised AND told.trace_id != '' AND told.kind = 'error'"
        " AND NOT told.raised AND told.level IN ('error', 'fatal') AND told.service = own.service"
        " AND told.moment BETWEEN own.moment - 1 AND own.moment + 1 ORDER BY told.id LIMIT ?",
        (listed.number, MAX_ECHOES),
    )
    return tuple(found for (number,) in rows if (found := store.entry(number)))
