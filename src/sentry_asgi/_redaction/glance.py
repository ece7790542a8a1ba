"""A glance over an event: all its texts and keys, and whether something in it goes by its name.

Most parts of an event hold nothing that is secret. So the pieces that are likely to be harmless together are glanced
over as one, and only where that finds a hint are they walked through.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final, NamedTuple

from sentry_asgi._sdk import events

from .layout import CODE, PLAIN, QUERIES, frames_of, values_of
from .names import FILTERED, VALUE_KEYS, is_nothing, secret_parameters, told
from .rules import IN_COMPANY, Rules, Work

_NODES: Final = 50_000  # of the spans of an event, or of what one frame shows
_OTHERS: Final = 20_000  # of all else together
# Of mappings that tell by what stands in them what is secret.
_BESIDE: Final = VALUE_KEYS | IN_COMPANY
_VARIABLES_AND_CODE: Final = CODE | {"vars"}
_NAME: Final = re.compile(r"b?(['\"]?)([\w.-]{1,100})\1")


class Glance(NamedTuple):
    """What was seen of some pieces of an event."""

    pieces: list[Any]
    texts: dict[str, None]
    """As a set that has an order."""
    everything: str
    """The texts as one."""
    keys: set[Any]
    named: bool
    """Whether something stands under the name of a secret, or takes a closer look for another reason."""
    whole: bool


_TOO_MUCH: Final = Glance([], {}, "", set(), named=True, whole=False)


def glances_of(parts: dict[str, Any], names_left: Work) -> Iterator[Glance]:
    """Everything that there is in an event: what is likely to be harmless together, as one."""
    small: list[Any] = []
    for frame in frames_of(parts):
        variables = events.plain(frame.get("vars"))
        if variables:
            yield glance([variables], names_left, variables=True)
        if frame.keys() - _VARIABLES_AND_CODE:
            small.append({key: one for key, one in frame.items() if key not in _VARIABLES_AND_CODE})
    for key, part in parts.items():
        if key in {"exception", "threads"}:
            small += (
                {name: one for name, one in value.items() if name != "stacktrace"}
                for value in values_of(part)
            )
        elif key in {"breadcrumbs", "spans"}:
            values = values_of(part)
            if values:
                nodes = _NODES if key == "spans" else _OTHERS
                yield glance(values, names_left, nodes=nodes)
        elif key == "contexts" and part.__class__ is dict:
            small.extend(part.values())
        elif key != "stacktrace":
            small.append(part)
    yield glance(small, names_left, nodes=_OTHERS)


def glance(  # noqa: C901 - flat
    pieces: list[Any], names_left: Work, *, variables: bool = False, nodes: int = _NODES
) -> Glance:
    waiting = list(pieces)
    mappings: list[Any] = []
    texts: dict[str, None] = {}
    named = False
    left = nodes
    for value in waiting:  # which grows
        if left < len(waiting):
            return _TOO_MUCH
        kind = value.__class__
        if kind is str:
            texts[value] = None
        elif kind is dict:
            left -= len(value)
            if left < 0:
                return _TOO_MUCH
            mappings.append(value)
            for one in value.values():  # most are texts and numbers, which need not wait
                kind = one.__class__
                if kind is str:
                    texts[one] = None
                elif kind not in PLAIN:
                    waiting.append(one)
        elif kind not in PLAIN:
            try:
                named = _look_into(value, mappings, texts, waiting, names_left) or named
            except Exception:  # of an object of the application's; `clean` replaces it
                named = True
    keys = set().union(*mappings)
    named = named or _names_secret(keys, mappings, names_left, variables=variables)
    return Glance(pieces, texts, "\n".join(texts), keys, named, whole=True)


def _look_into(
    value: Any, mappings: list[Any], texts: dict[str, None], waiting: list[Any], names_left: Work
) -> bool:
    """Notes what there is in a value that is none of JSON's; whether that takes a closer look."""
    if events.metadata_of(value) is not None:
        waiting.append(events.plain(value))
    elif isinstance(value, str):
        texts[value] = None
    elif isinstance(value, Mapping):
        items = dict(value.items())
        mappings.append(items)
        waiting.extend(items.values())
    elif isinstance(value, (list, tuple, set, frozenset)):
        waiting.extend(value)
        fields = getattr(value, "_fields", None)  # a namedtuple's
        if fields is not None:
            mappings.append(dict(zip(fields, value, strict=True)))
        return bool(values_of_pair(list(value), names_left))
    elif not isinstance(value, (bool, int, float)):
        texts[written(value)] = None
    return False


def _names_secret(
    keys: set[Any], mappings: list[Any], names_left: Work, *, variables: bool
) -> bool:
    """Whether something stands in one of the mappings that has to go for its name."""
    if not keys.isdisjoint(_BESIDE) and any(told(one, names_left) for one in mappings):
        return True
    names = names_left.rules.variables if variables else names_left.rules.keys
    if keys <= names.keys():
        secret = {key for key in keys if names[key]}
    else:
        secret = {key for key in keys if names_left.hides(key, variable=variables)}
    asked = keys & QUERIES
    return any(
        _queries_secret(one, names_left.rules) for one in _under(asked, mappings)
    ) or not all(map(is_nothing, _under(secret, mappings)))


def _under(keys: set[Any], mappings: list[Any]) -> Iterator[Any]:
    """What stands under any of the keys in any of the mappings."""
    if len(keys) < 10:  # noqa: PLR2004  # most often: this takes a third of the time of the other
        return (events.plain(one[key]) for key in keys for one in mappings if key in one)
    return (events.plain(one[key]) for one in mappings for key in one if key in keys)


def _queries_secret(query: Any, rules: Rules) -> bool:
    """Whether a query string has secret parameters."""
    return isinstance(query, str) and any(
        value not in {"", FILTERED} for value in secret_parameters(query, rules)
    )


def values_of_pair(values: Any, names_left: Work) -> list[int]:
    """Where the values stand in a sequence that is a pair of a secret's name and its value, as headers are kept.

    So in the list of a command's arguments: `["mysql", "--password", "x"]`.
    """
    if len(values) == 2 and _is_name(values[0], names_left):  # noqa: PLR2004
        return [1] if _is_text(values[1]) and values[1] != FILTERED else []
    return [
        at
        for at, (name, value) in enumerate(pairwise(values), 1)
        if name.__class__ is str
        and name[:3].lstrip("'\"")[:2] == "--"
        and _is_text(value)
        and value[:2] not in {"'-", '"-'}
        and value[:1] not in {"-", b"-"}
        and value != FILTERED
        and "=" not in name
        and names_left.hides(name.strip("'\""), variable=True)
    ]


def _is_name(name: Any, names_left: Work) -> bool:
    """Whether a value is the name of a secret."""
    if not _is_text(name):
        return False
    bare = _NAME.fullmatch(name.decode("latin-1") if isinstance(name, bytes) else name)
    return bare is not None and bool(names_left.hides(bare[2]))


def _is_text(value: Any) -> bool:
    return value.__class__ is str or value.__class__ is bytes


def written(value: Any) -> str:
    if isinstance(value, (bytes, bytearray)):
        return value.decode("utf-8", "replace")
    return events.safe_repr(value)


def joined(keys: set[Any]) -> str:
    try:
        return "\n".join(keys)
    except TypeError:  # numbers are among them
        return "\n".join([key for key in keys if key.__class__ is str])
