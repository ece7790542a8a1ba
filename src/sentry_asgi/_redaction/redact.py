"""Secrets removed from an event, wherever they stand in it.

The rules:

- What is known to be secret (`secrets`) goes in each of its forms; values go by the names that they stand under
  (`names`), and by what a text says of itself (`texts`).
- Most parts of an event hold nothing of all this. So each is glanced over first, all its texts as one, and only where
  that finds a hint is it walked through: a transaction is glanced over in 20 µs, and walking takes ten times as long.
- Texts of eight characters and more are found anywhere; shorter ones only where they stand alone. Where a value was cut
  (a chunk of a body, a text that ends in dots), the piece of a secret at its edge goes too.
- Frames of this package show no variables. Source lines are code, not data.
- An event may hold the application's own objects, so nothing is changed in place but what the SDK made for the event.
- An event has bounds: of values, of new names, of places in its texts that take a closer look, and of characters. Of
  one that holds more characters, Sentry takes nothing; so each of its texts is cut to the longest that lets all of them
  fit. What is beyond the other bounds is replaced unseen.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple, TypeAlias
from uuid import uuid4

from sentry_asgi._python.in_app import PACKAGE, application
from sentry_asgi._sdk import internals

from .names import (
    FILTERED,
    VALUE_KEYS,
    anything,
    clean_query,
    is_nothing,
    secret_keys,
    secret_parameters,
    stays,
    told,
)
from .rules import IN_COMPANY, MOST, RULES, Rules, Work
from .secrets import ALONE, ANYWHERE, EDGE, forms, packed, plain_forms, to_encode
from .shapes import SHORTEST
from .texts import ALL_HINTS, HINTS, PLACES, clean_and_tell, found_hints, secret_values

_NODES: Final = 50_000  # of the spans of an event, or of what one frame shows
_OTHERS: Final = 20_000  # of all else together
_PART: Final = 5_000  # of each part of an event that holds more
_BUILT: Final = frozenset({"exception", "threads", "spans"})  # of which the SDK has made the nodes
_APART: Final = frozenset({"contexts", "request"})  # each of whose members has a meaning of its own
_DEPTH: Final = 40
CHARACTERS: Final = 750_000
"""Of the texts of one event: Relay refuses one of more than 1 MB (`limits.max_event_size`), with all around them."""

_LENGTHS: Final = (64_000, 32_000, 16_000, 8_000, 4_000, 2_000, 1_000, 500, 250)
_FEW: Final = 20  # secrets that are searched for one by one; anybody can send hundreds
_EDGED: Final = (
    24  # secrets of which pieces are looked for at the edges of texts: some of each source
)
_PER_TEXT: Final = (
    10  # edges of texts that are compared, for each place that may take a closer look
)
# Of mappings that tell by what stands in them what is secret.
_BESIDE: Final = VALUE_KEYS | IN_COMPANY
# What texts are joined by to be searched as one. No text holds it, for nobody knows it.
_BETWEEN: Final = f"\n{uuid4().hex}\n"

# Of an event, what holds no text of a request.
_LEFT_ALONE: Final = frozenset(
    {"event_id", "timestamp", "start_timestamp", "sdk", "modules", "debug_meta", "platform"}
    | {"level", "type", "release", "dist", "environment", "server_name", "_meta", "_metrics"}
    | {"profile", "measurements", "transaction_info"}
)
# What code calls things: a client that sends such a word as a token blanks nothing. By a key that tells what holds it.
_CALLED: Final[tuple[tuple[str, frozenset[str]], ...]] = (
    *((key, frozenset({"type", "module"})) for key in ("mechanism", "stacktrace", "handled")),
    ("span_id", frozenset({"op", "origin", "status"})),
    ("timestamp", frozenset({"type", "category", "level"})),  # a breadcrumb
    ("method", frozenset({"method"})),  # a request
    ("build", frozenset({"name", "version", "build"})),  # a runtime
)
# What the SDK reads again before it sends an event.
_UNREMARKED: Final = frozenset({"user", "tags", "transaction", "message", "logger", "fingerprint"})
# Where integrations keep query strings.
_QUERIES: Final = frozenset({"query_string", "http.query", "url.query"})
# Where what an event holds is data of the application's, keys and all; and facts, which have keys of the SDK's.
Place: TypeAlias = Literal["event", "facts", "data", "variables"]
_PLACES: Final[dict[str, Place]] = {
    "vars": "variables",
    "extra": "data",
    "tags": "facts",
    "data": "data",
    "headers": "facts",
    "cookies": "data",
}
_ALL_PLACES: Final = ("event", *dict.fromkeys(_PLACES.values()))
_NAMED_BY_CODE: Final = frozenset({"event", "facts"})
# Where an event says what code has said.
_SAYING: Final = (
    *("exception", "threads", "message", "logentry", "breadcrumbs", "extra", "spans"),
)
# Contexts that nobody but the SDK and this package writes.
_FACTS: Final = frozenset(
    {"trace", "asgi", "response", "runtime", "os", "profile", "cloud_resource"}
)
# By what events are joined: that a client sends it is no secret.
_IDS: Final = frozenset({"trace_id", "span_id", "parent_span_id", "segment_id"})
_ENCODED: Final = re.compile("%[0-9A-Fa-f]{2}")
_HEX: Final = re.compile("[0-9a-f]{16}|[0-9a-f]{32}")
_CODE: Final = frozenset(
    {"filename", "abs_path", "module", "function", "lineno", "in_app", "context_line"}
    | {"pre_context", "post_context"}
)
_STACKS: Final = frozenset({"exception", "threads", "stacktrace"})
_VARIABLES_AND_CODE: Final = _CODE | {"vars"}
_NAME: Final = re.compile(r"b?(['\"]?)([\w.-]{1,100})\1")
_PLAIN: Final = frozenset({type(None), bool, int, float, datetime})


def redact(
    event: dict[str, Any],
    secrets: Collection[str],
    rules: Rules = RULES,
    *,
    remarks: bool = False,
    chunks: bool = False,
) -> None:
    """Removes the given secrets from an event of any type, and whatever else is secret by its name or looks.

    `secrets` are those of the request, as many as `secrets.shared` leaves, the most important first. With `remarks`,
    what was replaced is marked with the rule, as Sentry marks it. With `chunks`, there was a body: a variable may be a
    piece of it, and so may what is sent of it. Any other text was cut if it says so, by dots at its end.
    """
    hide_own_variables(event)
    told = _hide_parameters(event, rules, remarks=remarks)
    if internals.VARIABLES_ARE_LATE:
        _render_variables(event)
    parts = {key: value for key, value in event.items() if key not in _LEFT_ALONE}
    if (event.get("transaction_info") or {}).get("source") in {"component", "route"}:
        parts.pop("transaction", None)  # a name of the code's
    known = [one for one in (*secrets, *told) if len(one) >= ALONE and one != FILTERED]
    glances = list(_glances(parts, Work(MOST, rules)))
    size = _PART
    while not all(one.whole for one in glances):  # of what holds too much, the first is kept
        for key, part in parts.items():
            event[key] = parts[key] = _first_of_part(key, part, size)
        glances = list(_glances(parts, Work(MOST, rules)))
        size //= 4
    among = _hints_for(parts)
    if not known and not rules.own and _is_harmless(glances, among):
        return
    redactor = _Redactor(glances, among, known, rules, chunks=chunks)
    if redactor.nothing_to_do:
        return
    for key, value in parts.items():
        redactor.in_chunks = chunks and key == "request"
        redactor.remarks = remarks and key not in _UNREMARKED
        cleaned = redactor.clean(value, key, "event")
        if cleaned is not value:
            event[key] = cleaned


# What the SDK's own scrubber is to leave.


class _Kept(dict[Any, Any]):
    """Data in which the SDK's scrubber replaces nothing that says nothing."""

    def __setitem__(self, key: Any, value: Any) -> None:
        if not (internals.is_annotated(value) and key in self and is_nothing(self[key])):
            super().__setitem__(key, value)


def keep_what_says_nothing(event: dict[str, Any]) -> None:
    """Has the SDK's default scrubber, which comes later, leave what is none, empty or false, whatever it is called.

    A scrubber that the user has given does as it says.
    """
    parts: list[tuple[Any, str]] = [
        (event, "extra"),
        *((frame, "vars") for frame in _frames(event)),
    ]
    request: Any = event.get("request")
    if request.__class__ is dict:
        parts += [(request, key) for key in ("headers", "cookies", "data")]
    for holder, key in parts:
        if key in holder:
            holder[key] = _kept(holder[key])
    crumbs: Any = event.get("breadcrumbs")
    if crumbs.__class__ is dict:  # they are the scope's own, and go into other events
        crumbs["values"] = [
            {**one, "data": _kept(one.get("data"))} if one.get("data") else one
            for one in _values(crumbs)
        ]


def _kept(data: Any) -> Any:
    if data.__class__ is list:  # of a request
        return [_kept(one) for one in data]
    if data.__class__ is not dict:
        return data
    empty = [key.lower() for key, one in data.items() if key.__class__ is str and is_nothing(one)]
    if not empty or internals.names_scrubbed_by_default().isdisjoint(empty):
        return data
    return _Kept(data)


# Frames, and what is left where an event cannot be cleaned.


def hide_own_variables(event: dict[str, Any]) -> None:
    """Takes the variables from the frames of this package: they are the request, and nothing else."""
    for frame in _frames(event):
        if is_own(frame):
            frame.pop("vars", None)


def hide_library_variables(event: dict[str, Any]) -> None:
    """Takes the variables from the frames of libraries, as the project's own events have none.

    The SDK's integrations show them. A library's thread goes on: by the time that a frame of its loop is looked at, its
    variables may be another request's.
    """
    for frame in _frames(event):
        filename = frame.get("abs_path")
        if isinstance(filename, str) and not application[filename]:
            frame.pop("vars", None)


def remarked(value: Any, *why: str) -> Any:
    """A value that was replaced, marked with the rules, as Sentry marks it: `@` and the rule, `s` for substituted."""
    return internals.annotated(value, {"rem": [[f"@{rule}", "s"] for rule in why]})


def _hide_parameters(event: dict[str, Any], rules: Rules, *, remarks: bool) -> list[str]:
    """Takes from a log record's parameters what is secret where its text says it: `logger.error("password=%s", x)`.

    Returns those that are secret by their names, of which the text says nothing: `("in: %(token)s", {"token": x})`.
    """
    entry = internals.plain(event.get("logentry"))
    given = internals.plain(entry.get("params")) if isinstance(entry, dict) else None
    if not given or not isinstance(given, (list, tuple, dict)):
        return []
    said = entry.get("formatted")
    secret = set(secret_values(said, Work(PLACES, rules))) - {""} if isinstance(said, str) else None
    if secret:
        hide = functools.partial(_hidden, secret=secret, remarks=remarks)
        if isinstance(given, dict):
            entry["params"] = {name: hide(one) for name, one in given.items()}
        else:
            entry["params"] = [hide(one) for one in given]
    return _secret_by_name(given, rules) if isinstance(given, dict) else []


def _secret_by_name(parameters: dict[str, Any], rules: Rules) -> list[str]:
    return [str(one) for name, one in parameters.items() if rules.variables[name]]


def clean_log(log: dict[str, Any], rules: Rules) -> tuple[dict[str, Any], list[str]]:
    """The same for a log of the SDK's: the log, and the parameters that are secret by their names."""
    body, attributes = log.get("body"), log.get("attributes")
    if not isinstance(body, str) or not isinstance(attributes, dict):
        return log, []
    given = {name: one for name, one in attributes.items() if str(name).startswith(_OF_A_LOG)}
    entry: dict[str, Any] = {"formatted": body, "params": given}
    told = _hide_parameters({"logentry": entry}, rules, remarks=False)
    if entry["params"] is given:
        return log, told
    return {**log, "attributes": {**attributes, **entry["params"]}}, told


_OF_A_LOG: Final = "sentry.message.parameter."


def _hidden(value: Any, secret: set[str], *, remarks: bool) -> Any:
    said = value if isinstance(value, str) else _written(value)
    if not any(map(said.startswith, secret)):
        return value
    return remarked(FILTERED, "text") if remarks else FILTERED


def _render_variables(event: dict[str, Any]) -> None:
    # Unless an earlier call has done it.
    for frame in _frames(event):
        if frame.get("vars") and internals.metadata_of(frame["vars"]) is None:
            frame["vars"] = internals.rendered_variables(frame["vars"])


def without_data(event: dict[str, Any]) -> dict[str, Any]:
    """Return what of an event holds no data: for one that could not be cleaned.

    Built anew from names that are known to be harmless, so that nothing is kept by oversight.
    """
    left: dict[str, Any] = {key: event[key] for key in _LEFT_ALONE if key in event}
    contexts = internals.plain(event.get("contexts"))
    trace = internals.plain(contexts.get("trace")) if isinstance(contexts, dict) else None
    if isinstance(trace, dict):
        left["contexts"] = {"trace": {key: trace[key] for key in trace if _is_id(key, trace[key])}}
    exceptions = [_without_data(one) for one in _values(event.get("exception"))]
    if exceptions:
        left["exception"] = {"values": exceptions}
    forbid_stacktrace(left)
    return left


def forbid_stacktrace(event: dict[str, Any]) -> None:
    """Keep the SDK from adding this thread's stack, as it does under `attach_stacktrace` to an event without one."""
    if not event.keys() & {"exception", "stacktrace", "threads"}:
        event["threads"] = {"values": []}


def _without_data(exception: dict[str, Any]) -> dict[str, Any]:
    left: dict[str, Any] = {key: exception[key] for key in ("type", "module") if key in exception}
    frames = [
        {key: frame[key] for key in frame if key in _CODE} for frame in _frames({**exception})
    ]
    return {**left, "value": FILTERED, "stacktrace": {"frames": frames}}


def is_own(frame: dict[str, Any]) -> bool:
    """Whether a frame is of this package."""
    return str(frame.get("module") or "").partition(".")[0] == PACKAGE


def _frames(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if event.keys().isdisjoint(_STACKS):
        return
    holders = [event]
    for key in ("exception", "threads"):
        if key in event:
            holders += _values(event[key])
    for holder in holders:
        stacktrace = internals.plain(holder.get("stacktrace"))
        if isinstance(stacktrace, dict):
            yield from (
                frame for frame in stacktrace.get("frames") or () if isinstance(frame, dict)
            )


def _values(part: Any) -> list[dict[str, Any]]:
    """The dicts of a part that is a list, or holds one as its `values`."""
    part = internals.plain(part)
    values = internals.plain(part.get("values")) if isinstance(part, dict) else part
    return [one for one in values or () if isinstance(one, dict)] if _is_list(values) else []


def _is_list(values: Any) -> bool:
    return isinstance(values, (list, tuple))


# The glance.


class _Glance(NamedTuple):
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


def _glances(parts: dict[str, Any], names_left: Work) -> Iterator[_Glance]:
    """Everything that there is in an event: what is likely to be harmless together, as one."""
    small: list[Any] = []
    for frame in _frames(parts):
        variables = internals.plain(frame.get("vars"))
        if variables:
            yield _glance([variables], names_left, variables=True)
        if frame.keys() - _VARIABLES_AND_CODE:
            small.append({key: one for key, one in frame.items() if key not in _VARIABLES_AND_CODE})
    for key, part in parts.items():
        if key in {"exception", "threads"}:
            small += (
                {name: one for name, one in value.items() if name != "stacktrace"}
                for value in _values(part)
            )
        elif key in {"breadcrumbs", "spans"}:
            values = _values(part)
            if values:
                nodes = _NODES if key == "spans" else _OTHERS
                yield _glance(values, names_left, nodes=nodes)
        elif key == "contexts" and part.__class__ is dict:
            small.extend(part.values())
        elif key != "stacktrace":
            small.append(part)
    yield _glance(small, names_left, nodes=_OTHERS)


_TOO_MUCH: Final = _Glance([], {}, "", set(), named=True, whole=False)


def _glance(  # noqa: C901 - flat
    pieces: list[Any], names_left: Work, *, variables: bool = False, nodes: int = _NODES
) -> _Glance:
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
                elif kind not in _PLAIN:
                    waiting.append(one)
        elif kind not in _PLAIN:
            try:
                named = _look_into(value, mappings, texts, waiting, names_left) or named
            except Exception:  # of an object of the application's; `clean` replaces it
                named = True
    keys = set().union(*mappings)
    named = named or _names_secret(keys, mappings, names_left, variables=variables)
    return _Glance(pieces, texts, "\n".join(texts), keys, named, whole=True)


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
    asked = keys & _QUERIES
    return any(
        _queries_secret(one, names_left.rules) for one in _under(asked, mappings)
    ) or not all(map(is_nothing, _under(secret, mappings)))


def _first_of_part(key: str, part: Any, size: int) -> Any:
    if key in _APART and part.__class__ is dict and size:
        return {name: _first_of(one, Work(size), 0) for name, one in part.items()}
    return _first_of(part, Work(size * 8 if key in _BUILT else size), 0)


def _first_of(value: Any, left: Work, depth: int) -> Any:  # noqa: PLR0911 - flat
    """The first of what a value holds, as far as there is work left."""
    if value.__class__ is str or value.__class__ in _PLAIN:
        return value
    if depth > _DEPTH:
        return FILTERED
    try:
        metadata = internals.metadata_of(value)
        if metadata is not None:
            return internals.annotated(_first_of(value.value, left, depth + 1), metadata)
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


def _under(keys: set[Any], mappings: list[Any]) -> Iterator[Any]:
    """What stands under any of the keys in any of the mappings."""
    if len(keys) < 10:  # noqa: PLR2004  # most often: this takes a third of the time of the other
        return (internals.plain(one[key]) for key in keys for one in mappings if key in one)
    return (internals.plain(one[key]) for one in mappings for key in one if key in keys)


def _queries_secret(query: Any, rules: Rules) -> bool:
    """Whether a query string has secret parameters."""
    return isinstance(query, str) and any(
        value not in {"", FILTERED} for value in secret_parameters(query, rules)
    )


def _look_into(
    value: Any, mappings: list[Any], texts: dict[str, None], waiting: list[Any], names_left: Work
) -> bool:
    """Notes what there is in a value that is none of JSON's; whether that takes a closer look."""
    if internals.metadata_of(value) is not None:
        waiting.append(internals.plain(value))
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
        return bool(_values_of_pair(list(value), names_left))
    elif not isinstance(value, (bool, int, float)):
        texts[_written(value)] = None
    return False


def _written(value: Any) -> str:
    if isinstance(value, (bytes, bytearray)):
        return value.decode("utf-8", "replace")
    return internals.safe_repr(value)


def _pieces_of(text: str) -> set[str]:
    """A piece of six characters from every third place: what has eight or more of the text's holds one of them."""
    return {text[at : at + EDGE] for at in range(0, len(text), 3)}


def _joined(keys: set[Any]) -> str:
    try:
        return "\n".join(keys)
    except TypeError:  # numbers are among them
        return "\n".join([key for key in keys if key.__class__ is str])


# The closer look.


def _is_harmless(glances: list[_Glance], among: frozenset[str]) -> bool:
    """Whether there is nothing to do at all, as in most transactions."""
    if any(one.named for one in glances):
        return False
    texts = "\n".join([one.everything for one in glances])
    return len(texts) <= CHARACTERS and not found_hints(texts.lower(), among)


class _Redactor:
    """Cleans the parts of one event: gives a part back as it is, or a copy without its secrets."""

    def __init__(
        self,
        glances: list[_Glance],
        among: frozenset[str],
        secrets: list[str],
        rules: Rules,
        *,
        chunks: bool,
    ) -> None:
        self.remarks = self.in_chunks = False
        self._chunks = chunks
        self._rules = rules
        self._why: dict[str, list[str]] = {}
        # New names: of what clients and the application name, and of what the SDK does.
        self._names_left = {place: Work(MOST, rules) for place in _ALL_PLACES}
        self._places_left = Work(PLACES)
        self._edges_left = Work(PLACES * _PER_TEXT)
        self._anywhere: list[str] = []
        self._alone: list[str] = []
        self._starts: dict[str, list[str]] = {}
        self._ends: dict[str, list[str]] = {}
        # Kept, for pieces are told by their ids.
        self._seen_at_a_glance = glances = self._shortened(glances)
        texts = "\n".join([one.everything for one in glances])
        self._hints = found_hints(texts.lower(), among)
        if secrets:
            everything = "\n".join([texts, *[_joined(one.keys) for one in glances]])
            self._choose(secrets, everything)
        self._whole_ones = {*self._anywhere, *self._alone}
        self._sought = {*self._whole_ones, *self._starts, *self._ends}
        self._without_whole_ones: dict[str, str] = {}
        if self._whole_ones:
            for one in glances:
                self._remove_whole_ones(one)
        # Frames show the same objects again and again.
        self._seen: dict[str, str] = {}
        self._seen_chunks: dict[str, str] = {}
        suspicious = [one for one in glances if self._suspicious(one)]
        self.nothing_to_do = not suspicious
        if suspicious:
            self._harmless = set(self._told_apart(glances, suspicious))

    def _shortened(self, glances: list[_Glance]) -> list[_Glance]:
        """Chooses how long a text may be, and cuts those that are longer."""
        self._longest = sum(len(one.everything) for one in glances)
        if self._longest <= CHARACTERS:
            return glances
        sizes = [len(text) for one in glances for text in one.texts]
        self._longest = next(
            (
                length
                for length in _LENGTHS
                if sum(min(size, length) for size in sizes) <= CHARACTERS
            ),
            _LENGTHS[-1],
        )
        return [self._shortened_one(one) for one in glances]

    def _shortened_one(self, glance: _Glance) -> _Glance:
        texts = dict.fromkeys(text[: self._longest] for text in glance.texts)
        too_long = any(len(text) > self._longest for text in glance.texts)
        return glance._replace(
            texts=texts, everything="\n".join(texts), named=glance.named or too_long
        )

    def _choose(self, secrets: list[str], everything: str) -> None:
        """Of the forms that secrets can take, keeps those of which the event shows something: most occur nowhere."""
        plain = {one: plain_forms(one) for one in to_encode(secrets)}
        forms_of = {one: forms(texts) for one, texts in plain.items()}
        known = set(secrets).union(*forms_of.values())
        others = packed(set[str]().union(*plain.values()), everything) | {
            one for one in known if len(one) >= ANYWHERE
        }
        self._alone = [one for one in known if len(one) < ANYWHERE]
        edged = [
            one
            for found in list(forms_of.values())[:_EDGED]
            for one in found
            if len(one) >= ANYWHERE
        ]
        others = _shown(others, everything, many=len(secrets) > _FEW)
        self._alone = [one for one in self._alone if one in everything]
        self._anywhere = sorted(others, key=len, reverse=True)
        # Pieces of them are few, once the whole ones are gone.
        for one in edged:
            if one in others:
                everything = everything.replace(one, FILTERED)
        for one in edged:
            if one[:EDGE] in everything:
                self._starts.setdefault(one[:EDGE], []).append(one)
            if one[-EDGE:] in everything:
                self._ends.setdefault(one[-EDGE:], []).append(one)

    def _remove_whole_ones(self, glance: _Glance) -> None:
        """Remembers each text of a glance without the secrets that it shows as a whole.

        All of them as one text: what a client sends a hundred of is looked for a hundred times, not in each text.
        """
        texts = [*glance.texts, *(key for key in glance.keys if key.__class__ is str)]
        if not texts:
            return
        cleaned = self._without_them(_BETWEEN.join(texts)).split(_BETWEEN)
        self._without_whole_ones.update(zip(texts, cleaned, strict=True))

    def _without_them(self, text: str) -> str:
        for form in self._anywhere:
            if form in text:
                text = text.replace(form, FILTERED)
        for form in self._alone:
            text = _without_word(text, form)
        return text

    def _suspicious(self, glance: _Glance) -> bool:
        if glance.named:
            return True
        if self._sought:
            keys = _joined(glance.keys)
            if any(form in glance.everything or form in keys for form in self._sought):
                return True
        if self._rules.own:
            return any(self.text(text) is not text for text in glance.texts)
        if not self._hints:
            return False
        hints = found_hints(glance.everything.lower(), self._hints)
        # A hint is not yet anything to remove.
        return any(
            self.text(text) is not text
            for text in (glance.texts if hints else ())
            if found_hints(text.lower(), hints)
        )

    def _told_apart(self, glances: list[_Glance], suspicious: list[_Glance]) -> Iterator[int]:
        """The ids of the pieces that are harmless."""
        for one in glances:
            if not any(one is other for other in suspicious):
                yield from map(id, one.pieces)
            elif len(one.pieces) > 1:
                for piece in one.pieces:
                    glance = _glance([piece], Work(MOST, self._rules))
                    if len(glance.everything) <= self._longest and not self._suspicious(glance):
                        yield id(piece)

    def clean(self, value: Any, name: str, place: Place, depth: int = 0) -> Any:
        """A value as it may be sent; `name` is what it stands under."""
        kind = value.__class__
        if kind is str:
            if len(value) > self._longest:
                return self._cut(value)
            return self._marked(value, chunk=self._is_chunk(place))
        if kind in _PLAIN or id(value) in self._harmless:
            return value
        try:
            return self._clean(value, name, place, depth)
        except Exception:  # of an object of the application's; what cannot be looked at is not sent
            return FILTERED

    def _marked(self, text: str, *, chunk: bool) -> Any:
        cleaned = self.text(text, chunk=chunk)
        if cleaned is text or not self.remarks:
            return cleaned
        return remarked(cleaned, *(self._why.get(text) or ["request"]))

    def _filtered(self, why: str) -> Any:
        return remarked(FILTERED, why) if self.remarks else FILTERED

    def _cut(self, text: str) -> Any:
        """A text that is too long, as Sentry marks it."""
        shown = self.text(text[: self._longest] + "...")
        if not self.remarks:
            return shown
        remark = ["!limit", "x", len(shown) - 3, len(shown)]
        return internals.annotated(shown, {"len": len(text), "rem": [remark]})

    def _clean(self, value: Any, name: str, place: Place, depth: int) -> Any:
        if isinstance(value, (bool, int, float)):
            return value
        if depth > _DEPTH:
            return FILTERED
        metadata = internals.metadata_of(value)
        if metadata is not None:
            plain = internals.plain(value)
            cleaned = self.clean(plain, name, place, depth + 1)
            return value if cleaned is plain else internals.annotated(cleaned, metadata)
        if isinstance(value, dict) or isinstance(value, Mapping):  # noqa: SIM101  # the first is fast
            if place == "event":
                place = _PLACES.get(name, place)
            return self._mapping(value, place, depth + 1, are_contexts=name == "contexts")
        if isinstance(value, (list, tuple)):
            return self._sequence(value, place, depth + 1)
        return self._object(value, place, depth)

    def _mapping(
        self, value: Mapping[Any, Any], place: Place, depth: int, *, are_contexts: bool = False
    ) -> Any:
        code = place == "event" and ("function" in value or "filename" in value)
        left = _left_alone(value) if place == "event" else frozenset[str]()
        inner: Place = "facts" if place == "event" and "span_id" in value else place
        left_to_judge = self._names_left[place]
        secret = secret_keys(value, left_to_judge, variable=place == "variables")
        cleaned: dict[Any, Any] = {}
        same = True
        for key, one in value.items():
            if (code and key in _CODE) or key in left or _is_id(key, one):
                cleaned[key] = one
                continue
            if are_contexts and place == "event":
                inner = "event" if key in _FACTS else "data"
            named = place in _NAMED_BY_CODE or not isinstance(key, str)
            shown = key if named else self.text(key)
            if key in secret and not stays(key, secret[key], internals.plain(one)):
                hidden = self._secret(secret[key], key, one, depth)
            else:
                hidden = self._named(key, one, inner, depth)
            same = same and hidden is one and shown is key
            cleaned[shown] = hidden
        return value if same else cleaned

    def _secret(self, kind: str, name: Any, value: Any, depth: int) -> Any:
        """What stands under the name of a secret."""
        if name == "cookies" and isinstance(
            internals.plain(value), Mapping
        ):  # which have names of their own
            return self.clean(value, "", "data", depth)
        return self._filtered(f"name:{kind}")

    def _named(self, name: Any, value: Any, place: Place, depth: int) -> Any:
        if name in _QUERIES:
            plain = internals.plain(value)
            cleaned = plain
            if isinstance(plain, str):
                cleaned = clean_query(plain, anything, Work(MOST, self._rules))
            if cleaned != plain:
                value = remarked(cleaned, "name") if self.remarks else cleaned
        return self.clean(value, name, place, depth)

    def _sequence(self, value: Any, place: Place, depth: int) -> Any:
        fields = getattr(value, "_fields", None)  # a namedtuple's
        if fields is not None:
            named = dict(zip(fields, value, strict=True))
            cleaned = list(self._mapping(named, place, depth).values())
            return value if all(map(_is, cleaned, value)) else type(value)._make(cleaned)
        cleaned = [self.clean(one, "", place, depth) for one in value]
        for at in _values_of_pair(value, self._names_left[place]):
            cleaned[at] = self._filtered("name")
        if all(map(_is, cleaned, value)):
            return value
        return tuple(cleaned) if isinstance(value, tuple) else cleaned

    def _object(self, value: Any, place: Place, depth: int) -> Any:
        if isinstance(value, (set, frozenset)):
            cleaned = self._sequence(list(value), place, depth + 1)
            return value if {*map(id, cleaned)} == {*map(id, value)} else cleaned
        written = str(value) if isinstance(value, str) else _written(value)
        cleaned = self.text(written, chunk=self._is_chunk(place))
        return value if cleaned == written else cleaned

    def _is_chunk(self, place: Place) -> bool:
        return self.in_chunks or (self._chunks and place == "variables")

    def text(self, text: str, *, chunk: bool = False) -> str:
        """A text without its secrets; the very same one if it has none. A chunk may begin and end within one."""
        seen = self._seen_chunks if chunk else self._seen
        cleaned = seen.get(text)
        if cleaned is None:
            cleaned = seen[text] = self._cleaned(text, chunk=chunk)
        return text if cleaned == text else cleaned

    def _cleaned(self, given: str, *, chunk: bool) -> str:
        text = given
        if self._whole_ones:
            known = self._without_whole_ones.get(text)
            text = self._without_them(text) if known is None else known
        if (self._starts or self._ends) and (chunk or text.rstrip("'\"")[-3:] == "..."):
            text = self._edges(text, chunk=chunk)
        if not self._rules.own and (
            not self._hints or _is_a_name(text) or not found_hints(text.lower(), self._hints)
        ):
            return text
        left = self._places_left.left
        if left <= 0:
            return FILTERED
        work = Work(
            min(left, PLACES // 5), self._rules
        )  # so that one text does not use up what all may take
        granted, (cleaned, why) = work.left, clean_and_tell(text, work)
        if why:
            self._why[given] = why
        self._places_left.spend(granted - max(work.left, 0))
        return cleaned

    def _edges(self, text: str, *, chunk: bool) -> str:
        """A text without the pieces of secrets at its edges, where what it shows may have been cut."""
        if len(text) < EDGE:
            return text
        if not self._edges_left.spend(len(self._starts) + len(self._ends)):
            return FILTERED
        start, end = _inner(text)
        for piece, secrets in self._starts.items():
            at = text.rfind(piece, max(start, end - max(map(len, secrets))), end)
            if at >= 0 and any(one.startswith(text[at:end]) for one in secrets):
                text, end = f"{text[:at]}{FILTERED}{text[end:]}", at
        start, end = _inner(text)
        for piece, secrets in self._ends.items() if chunk else ():
            at = text.find(piece, start, start + max(map(len, secrets)))
            if at >= 0 and any(one.endswith(text[start : at + EDGE]) for one in secrets):
                text = f"{text[:start]}{FILTERED}{text[at + EDGE :]}"
        return text


def _is_a_name(text: str) -> bool:
    """Whether a text is a name, beside which no value stands, and too short for a credential of a shape of its own."""
    return len(text) < SHORTEST and text.isidentifier()


def _hints_for(parts: dict[str, Any]) -> frozenset[str]:
    """What is looked for; no vendors' credentials in what tells of the request alone, as most transactions do."""
    said = any(map(parts.get, _SAYING)) or not set(parts.get("contexts") or ()) <= _FACTS
    return ALL_HINTS if said else HINTS


def _shown(forms: set[str], text: str, *, many: bool) -> set[str]:
    """Those that occur in a text. Of many, most are told by the text's pieces to occur nowhere."""
    if many:
        pieces = _pieces_of(text)
        forms = {
            one
            for one in forms
            if one[:EDGE] in pieces or one[1 : EDGE + 1] in pieces or one[2 : EDGE + 2] in pieces
        }
    return {one for one in forms if one in text}


def _left_alone(value: Mapping[Any, Any]) -> frozenset[str]:
    return next((called for sign, called in _CALLED if sign in value), frozenset())


def _without_word(text: str, word: str) -> str:
    """A text without a word, where no letter or digit stands beside it."""
    # No regular expression: the cache of those is the app's, and no place for secrets.
    pieces: list[str] = []
    kept = 0
    at = text.find(word)
    while at >= 0:
        end = at + len(word)
        before = text[at - 1 : at].isalnum() and not _ENCODED.match(text, max(0, at - 3), at)
        if not (before or text[end : end + 1].isalnum()):
            pieces += text[kept:at], FILTERED
            kept = end
        at = text.find(word, end)
    return "".join([*pieces, text[kept:]]) if pieces else text


def _values_of_pair(values: Any, names_left: Work) -> list[int]:
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


def _is_id(key: Any, value: Any) -> bool:
    """Whether a value is an id of a trace or span, which joins events: that a client sends it is no secret."""
    return key in _IDS and isinstance(value, str) and _HEX.fullmatch(value) is not None


def _is(one: Any, other: Any) -> bool:
    return one is other


def _inner(text: str) -> tuple[int, int]:
    """Where a text begins and ends within the quotes of a repr, and before the dots of a cut."""
    start, end = 0, len(text)
    if text.endswith("..."):
        end -= 3
    if text[:1] == "b" and text[1:2] in {"'", '"'}:
        start = 2
    elif text[:1] in {"'", '"'}:
        start = 1
    if end > start and text[end - 1] in {"'", '"'}:
        end -= 1
    return start, end
