"""Lists the combinations to run: every pair of values that the rules allow is in at least one of them.

The rules are data. A combination is whole when no rule forbids it; a pair counts when some whole combination has it.
The same seed gives the same list.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

Combination = dict[str, str]
Pair = frozenset[tuple[str, str]]

FRAMEWORKS = (
    *("raw", "starlette", "fastapi", "litestar", "quart", "django", "channels", "sanic", "falcon"),
    *("blacksheep", "connexion", "lilya", "ravyn", "emmett", "microdot", "nexios", "muffin"),
    # What is built on these, or stands among them.
    *("rest_framework", "ninja", "strawberry", "ariadne", "mcp", "socketio", "a2wsgi"),
)

DIMENSIONS: dict[str, tuple[str, ...]] = {
    "framework": FRAMEWORKS,
    # outermost: nothing stands further out. added: one middleware further out and one further in, in the framework's
    # own list where it has one. own: the middleware further out is of the framework's own kind.
    "position": ("outermost", "added", "own"),
    # quiet: the logging integration makes no events. bare: no default integrations either. otlp: OpenTelemetry traces,
    # by its own middleware, and the SDK's integration has reports be in its traces.
    "integrations": ("auto", "none", "bare", "quiet", "otlp"),
    "init": ("before", "after", "lifespan", "twice"),
    "sdk": ("2.75.0", "2.47.0", "3.0.0b2"),
    "tracing": ("transactions", "streamed", "off"),
    # Who gives the request's scope a client of its own: nobody, a middleware or a handler.
    "clients": ("one", "middleware", "handler"),
}


class Rule(NamedTuple):
    """Where all of `when` holds, a dimension has one of `only`."""

    when: Mapping[str, Sequence[str]]
    dimension: str
    only: Sequence[str]
    because: str


RULES = (
    Rule({"sdk": ["3.0.0b2"]}, "tracing", ["streamed", "off"], "it has no transactions"),
    Rule({"sdk": ["2.47.0"]}, "tracing", ["transactions", "off"], "it streams no spans"),
    Rule({"integrations": ["otlp"]}, "tracing", ["off"], "OpenTelemetry traces, not the SDK"),
    Rule(
        {"position": ["own"]},
        "framework",
        [
            *("starlette", "fastapi", "strawberry", "ariadne", "mcp", "a2wsgi"),
            *("django", "rest_framework", "ninja"),
        ],
        "where a middleware of the framework's own kind is written here",
    ),
    Rule(
        {"init": ["lifespan"]},
        "framework",
        [
            *("raw", "starlette", "fastapi", "litestar", "quart", "falcon", "blacksheep"),
            *("connexion", "lilya", "ravyn", "nexios", "muffin"),
            *("strawberry", "ariadne", "mcp", "socketio", "a2wsgi"),
        ],
        "the others have no start-up of their own",
    ),
)


def _case(values: str) -> Combination:
    return dict(zip(DIMENSIONS, values.split(), strict=True))


NAMED: dict[str, Combination] = {
    "a user whom a middleware further out sets": _case(
        "starlette own auto before 2.75.0 transactions one"
    ),
    "tags that a pure middleware further out sets": _case(
        "fastapi added auto before 2.75.0 transactions one"
    ),
    "a user whom Django's middleware sets": _case("django own auto before 2.75.0 transactions one"),
    "a client that a handler sets": _case(
        "starlette outermost auto before 2.75.0 transactions handler"
    ),
    "a client that a middleware sets": _case(
        "starlette added auto before 2.75.0 transactions middleware"
    ),
    "a client that is replaced": _case("starlette outermost auto twice 2.75.0 transactions one"),
    "Django's own middleware of the SDK's beneath": _case(
        "django outermost auto before 2.75.0 transactions one"
    ),
    "Django's, with streamed spans": _case("django outermost auto before 2.75.0 streamed one"),
    "Quart's beneath": _case("quart outermost auto before 2.75.0 transactions one"),
    "Quart's, with streamed spans": _case("quart outermost auto before 2.75.0 streamed one"),
    "Litestar's beneath": _case("litestar outermost auto before 2.75.0 transactions one"),
    "init in the lifespan": _case("starlette added auto lifespan 2.75.0 transactions one"),
    "Flask within": _case("a2wsgi outermost auto before 2.75.0 transactions one"),
    "an exception that a helper library raises anew": _case(
        "django outermost quiet before 2.75.0 off one"
    ),
    "a failure that GraphQL answers with a 200": _case(
        "strawberry outermost auto before 2.75.0 transactions one"
    ),
    "a failure that a tool answers with a 200": _case(
        "mcp outermost auto before 2.75.0 transactions one"
    ),
}
"""Combinations in which something was wrong once: always in the list, whatever the seed."""


def named_within(dimensions: Mapping[str, Sequence[str]]) -> list[Combination]:
    """Return the named combinations that some dimensions allow."""
    return [
        one
        for one in NAMED.values()
        if all(value in dimensions[name] for name, value in one.items())
    ]


def allowed(combination: Combination, rules: Sequence[Rule] = RULES) -> bool:
    """Return whether no rule forbids a combination, which may be of some dimensions only."""
    return not any(_forbids(rule, combination) for rule in rules)


def _forbids(rule: Rule, combination: Combination) -> bool:
    applies = all(combination.get(name) in values for name, values in rule.when.items())
    return applies and combination.get(rule.dimension, rule.only[0]) not in rule.only


class Plan:
    """Makes the list for some dimensions."""

    def __init__(
        self,
        dimensions: Mapping[str, Sequence[str]],
        rules: Sequence[Rule] = RULES,
        seed: int = 1,
    ) -> None:
        self.dimensions = dimensions
        self.rules = rules
        self._random = random.Random(seed)

    def pairs(self) -> set[Pair]:
        """Return every pair that some whole combination has."""
        found = set()
        for one, other in combinations(self.dimensions, 2):
            for first in self.dimensions[one]:
                for second in self.dimensions[other]:
                    if next(self._wholes({one: first, other: second}, set()), None):
                        found.add(frozenset({(one, first), (other, second)}))
        return found

    def combinations(self) -> list[Combination]:
        """Return combinations that hold every pair, each the best of a few tries."""
        missing = self.pairs()
        planned = []
        while missing:
            start = self._random.choice(sorted(missing, key=sorted))
            tries = [next(self._wholes(dict(start), missing)) for _ in range(8)]
            best = max(tries, key=lambda whole: len(pairs_of(whole) & missing))
            missing -= pairs_of(best)
            planned.append({name: best[name] for name in self.dimensions})
        return sorted(planned, key=lambda one: list(one.values()))

    def _wholes(self, part: Combination, missing: set[Pair]) -> Iterator[Combination]:
        """Yield the whole combinations that hold a part, those first that have the most missing pairs."""
        if not allowed(part, self.rules):
            return
        open_names = [name for name in self.dimensions if name not in part]
        if not open_names:
            yield part
            return
        name = self._random.choice(open_names)
        choices = [{**part, name: value} for value in self.dimensions[name]]
        self._random.shuffle(choices)
        choices.sort(key=lambda choice: -len(pairs_of(choice) & missing))
        for choice in choices:
            yield from self._wholes(choice, missing)


def pairs_of(combination: Combination) -> set[Pair]:
    return {frozenset(pair) for pair in combinations(combination.items(), 2)}
