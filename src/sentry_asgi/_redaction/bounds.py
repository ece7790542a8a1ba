"""The bounds of an event: of the values that it holds, and of the characters of its texts.

Of a part that holds more values, the first are kept. Of an event that holds more characters, Sentry takes nothing; so
each of its texts is cut to the longest that lets all of them fit. What is beyond is replaced unseen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from sentry_asgi._sdk import events

from .glance import Glance
from .layout import PLAIN
from .names import FILTERED
from .rules import Work

_BUILT: Final = frozenset({"exception", "threads", "spans"})  # of which the SDK has made the nodes
_APART: Final = frozenset({"contexts", "request"})  # each of whose members has a meaning of its own
PART: Final = 5_000  # of each part of an event that holds more
DEPTH: Final = 40
CHARACTERS: Final = 750_000
"""Of the texts of one event: Relay refuses one of more than 1 MB (`limits.max_event_size`), with all around them."""
_LENGTHS: Final = (64_000, 32_000, 16_000, 8_000, 4_000, 2_000, 1_000, 500, 250)


def first_of_part(key: str, part: Any, size: int) -> Any:
    if key in _APART and part.__class__ is dict and size:
        return {name: _first_of(one, Work(size), 0) for name, one in part.items()}
    return _first_of(part, Work(size * 8 if key in _BUILT else size), 0)


def _first_of(value: Any, left: Work, depth: int) -> Any:  # noqa: PLR0911 - flat
    """The first of what a value holds, as far as there is work left."""
    if value.__class__ is str or value.__class__ in PLAIN:
        return value
    if depth > DEPTH:
        return FILTERED
    try:
        metadata = events.metadata_of(value)
        if metadata is not None:
            return events.annotated(_first_of(value.value, left, depth + 1), metadata)
        fields = getattr(value, "_fields", None)  # a namedtuple's
        if fields is not None:
            value = dict(zip(fields, value, strict=True))
        if isinstance(value, Mapping):
            return dict(_members(value.items(), ("...", FILTERED), left, depth))
        if isinstance(value, (list, tuple, set, frozenset)):
            pairs = ((None, one) for one in value)
            return [one for _, one in _members(pairs, (None, FILTERED), left, depth)]
    except Exception:  # of an object of the application's
        return FILTERED
    return value


def _members(
    items: Iterable[tuple[Any, Any]], rest: tuple[Any, Any], left: Work, depth: int
) -> Iterator[tuple[Any, Any]]:
    for key, one in items:
        if not left.spend():
            yield rest
            return
        yield key, _first_of(one, left, depth + 1)


def shortened(glances: list[Glance]) -> tuple[int, list[Glance]]:
    """How long a text of an event may be, and the glances with those cut that are longer."""
    longest = sum(len(one.everything) for one in glances)
    if longest <= CHARACTERS:
        return longest, glances
    sizes = [len(text) for one in glances for text in one.texts]
    longest = next(
        (one for one in _LENGTHS if sum(min(size, one) for size in sizes) <= CHARACTERS),
        _LENGTHS[-1],
    )
    return longest, [_shortened(one, longest) for one in glances]


def _shortened(glance: Glance, longest: int) -> Glance:
    texts = dict.fromkeys(text[:longest] for text in glance.texts)
    too_long = any(len(text) > longest for text in glance.texts)
    return glance._replace(texts=texts, everything="\n".join(texts), named=glance.named or too_long)
