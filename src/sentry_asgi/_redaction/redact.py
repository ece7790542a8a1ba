"""Secrets removed from an event, wherever they stand in it.

The rules:

- The request's own secrets go in each of their forms (`known`); values go by the names that they stand under
  (`names`), and by what a text says of itself (`texts`).
- Most parts of an event hold nothing of all this. So each is glanced over first (`glance`), all its texts as one, and
  only where that finds a hint is it walked through: a glance takes a tenth of the time of a walk.
- Frames of this package show no variables. Source lines are code, not data.
- An event may hold the application's own objects, so nothing is changed in place but what the SDK made for the event.
- An event has bounds: of values and characters (`bounds`), of new names, and of places in its texts that take a closer
  look. What is beyond is replaced unseen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from sentry_asgi._sdk import events

from .bounds import DEPTH, PART, first_of_part, shortened
from .frames import hide_own_variables, render_variables
from .glance import Glance, glance, glances_of, joined, values_of_pair, written
from .hints import ALL_HINTS, HINTS, found_hints, is_plain_path
from .known import KnownSecrets
from .layout import (
    ALL_PLACES,
    CODE,
    FACTS,
    LEFT_ALONE,
    NAMED_BY_CODE,
    PLACES_OF,
    PLAIN,
    QUERIES,
    SAYING,
    UNREMARKED,
    Place,
    is_id,
    left_alone,
)
from .names import FILTERED, anything, clean_query, remarked, secret_keys, stays
from .parameters import hide_parameters
from .rules import MOST, RULES, Rules, Work
from .secrets import Found
from .shapes import SHORTEST
from .texts import PLACES, clean_and_tell


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
    told = hide_parameters(event, rules, remarks=remarks)
    if events.VARIABLES_ARE_LATE:
        render_variables(event)
    parts = {key: value for key, value in event.items() if key not in LEFT_ALONE}
    if (event.get("transaction_info") or {}).get("source") in {"component", "route"}:
        parts.pop("transaction", None)  # a name of the code's
    glances = list(glances_of(parts, Work(MOST, rules)))
    size = PART
    while not all(one.whole for one in glances):  # of what holds too much, the first is kept
        for key, part in parts.items():
            event[key] = parts[key] = first_of_part(key, part, size)
        glances = list(glances_of(parts, Work(MOST, rules)))
        size //= 4
    found = secrets if isinstance(secrets, Found) and not told else Found([*secrets, *told])
    redactor = _Redactor(glances, _hints_for(parts), found, rules, chunks=chunks)
    if redactor.nothing_to_do:
        return
    for key, value in parts.items():
        redactor.in_chunks = chunks and key == "request"
        redactor.remarks = remarks and key not in UNREMARKED
        cleaned = redactor.clean(value, key, "event")
        if cleaned is not value:
            event[key] = cleaned


def may_hold_secrets(texts: list[str], secrets: Found, rules: Rules) -> bool:
    """Whether texts take a closer look, such as those of a request; names are not looked at."""
    if rules.own:
        return True
    harmless = rules.harmless
    said = [one for one in texts if one not in harmless and not is_plain_path(one)]
    if said and found_hints("\n".join(said).lower(), ALL_HINTS):
        return True
    return bool(secrets and KnownSecrets(secrets, "\n".join(texts)).sought)


def _hints_for(parts: dict[str, Any]) -> frozenset[str]:
    """What is looked for; no vendors' credentials in what tells of the request alone, as most transactions do."""
    said = any(map(parts.get, SAYING)) or not set(parts.get("contexts") or ()) <= FACTS
    return ALL_HINTS if said else HINTS


class _Redactor:
    """Cleans the parts of one event: gives a part back as it is, or a copy without its secrets."""

    def __init__(
        self,
        glances: list[Glance],
        among: frozenset[str],
        secrets: Found,
        rules: Rules,
        *,
        chunks: bool,
    ) -> None:
        self.remarks = self.in_chunks = False
        self._chunks = chunks
        self._rules = rules
        self._longest, glances = shortened(glances)
        texts = "\n".join([one.everything for one in glances])
        keys = [joined(one.keys) for one in glances] if secrets else []
        self._known = KnownSecrets(secrets, "\n".join([texts, *keys]))
        said = (text for one in glances for text in one.texts)
        self._hints = found_hints(_not_known(said, rules).lower(), among)
        self.nothing_to_do = not (
            self._hints or self._known.sought or rules.own or any(one.named for one in glances)
        )
        if not self.nothing_to_do:
            self._look_closer(glances)

    def _look_closer(self, glances: list[Glance]) -> None:
        self._why: dict[str, list[str]] = {}
        # New names: of what clients and the application name, and of what the SDK does.
        self._names_left = {place: Work(MOST, self._rules) for place in ALL_PLACES}
        self._places_left = Work(PLACES)
        # Frames show the same objects again and again.
        self._seen: dict[str, str] = {}
        self._seen_chunks: dict[str, str] = {}
        for one in glances:
            self._known.search([*one.texts, *(key for key in one.keys if key.__class__ is str)])
        suspicious = [one for one in glances if self._is_suspicious(one)]
        self.nothing_to_do = not suspicious
        self._seen_at_a_glance = glances  # kept, for pieces are told by their ids
        self._harmless = set(self._told_apart(glances, suspicious))

    def _is_suspicious(self, glance: Glance) -> bool:
        if glance.named:
            return True
        sought = self._known.sought
        if sought:
            keys = joined(glance.keys)
            if any(form in glance.everything or form in keys for form in sought):
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

    def _told_apart(self, glances: list[Glance], suspicious: list[Glance]) -> Iterator[int]:
        """The ids of the pieces that are harmless."""
        for one in glances:
            if not any(one is other for other in suspicious):
                yield from map(id, one.pieces)
            elif len(one.pieces) > 1:
                for piece in one.pieces:
                    alone = glance([piece], Work(MOST, self._rules))
                    if len(alone.everything) <= self._longest and not self._is_suspicious(alone):
                        yield id(piece)

    def clean(self, value: Any, name: str, place: Place, depth: int = 0) -> Any:
        """A value as it may be sent; `name` is what it stands under."""
        kind = value.__class__
        if kind is str:
            if len(value) > self._longest:
                return self._cut(value)
            return self._marked(value, chunk=self._is_chunk(place))
        if kind in PLAIN or id(value) in self._harmless:
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
        return events.annotated(shown, {"len": len(text), "rem": [remark]})

    def _clean(self, value: Any, name: str, place: Place, depth: int) -> Any:
        if isinstance(value, (bool, int, float)):
            return value
        if depth > DEPTH:
            return FILTERED
        metadata = events.metadata_of(value)
        if metadata is not None:
            plain = events.plain(value)
            cleaned = self.clean(plain, name, place, depth + 1)
            return value if cleaned is plain else events.annotated(cleaned, metadata)
        if isinstance(value, dict) or isinstance(value, Mapping):  # noqa: SIM101  # the first is fast
            if place == "event":
                place = PLACES_OF.get(name, place)
            return self._mapping(value, place, depth + 1, are_contexts=name == "contexts")
        if isinstance(value, (list, tuple)):
            return self._sequence(value, place, depth + 1)
        return self._object(value, place, depth)

    def _mapping(
        self, value: Mapping[Any, Any], place: Place, depth: int, *, are_contexts: bool = False
    ) -> Any:
        code = place == "event" and ("function" in value or "filename" in value)
        left = left_alone(value) if place == "event" else frozenset[str]()
        inner: Place = "facts" if place == "event" and "span_id" in value else place
        left_to_judge = self._names_left[place]
        secret = secret_keys(value, left_to_judge, variable=place == "variables")
        cleaned: dict[Any, Any] = {}
        same = True
        for key, one in value.items():
            if (code and key in CODE) or key in left or is_id(key, one):
                cleaned[key] = one
                continue
            if are_contexts and place == "event":
                inner = "event" if key in FACTS else "data"
            named = place in NAMED_BY_CODE or not isinstance(key, str)
            shown = key if named else self.text(key)
            if key in secret and not stays(key, secret[key], events.plain(one)):
                hidden = self._secret(secret[key], key, one, depth)
            else:
                hidden = self._named(key, one, inner, depth)
            same = same and hidden is one and shown is key
            cleaned[shown] = hidden
        return value if same else cleaned

    def _secret(self, kind: str, name: Any, value: Any, depth: int) -> Any:
        """What stands under the name of a secret."""
        if name == "cookies" and isinstance(
            events.plain(value), Mapping
        ):  # which have names of their own
            return self.clean(value, "", "data", depth)
        return self._filtered(f"name:{kind}")

    def _named(self, name: Any, value: Any, place: Place, depth: int) -> Any:
        if name in QUERIES:
            plain = events.plain(value)
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
        for at in values_of_pair(value, self._names_left[place]):
            cleaned[at] = self._filtered("name")
        if all(map(_is, cleaned, value)):
            return value
        return tuple(cleaned) if isinstance(value, tuple) else cleaned

    def _object(self, value: Any, place: Place, depth: int) -> Any:
        if isinstance(value, (set, frozenset)):
            cleaned = self._sequence(list(value), place, depth + 1)
            return value if {*map(id, cleaned)} == {*map(id, value)} else cleaned
        text = str(value) if isinstance(value, str) else written(value)
        cleaned = self.text(text, chunk=self._is_chunk(place))
        return value if cleaned == text else cleaned

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
        text = self._known.removed_from(given, chunk=chunk)
        if not self._rules.own and (
            not self._hints or _is_a_name(text) or not found_hints(text.lower(), self._hints)
        ):
            return text
        left = self._places_left.left
        if left <= 0:
            return FILTERED
        work = Work(
            min(left, PLACES // 5), self._rules
        )  # one text does not use up what all may take
        granted, (cleaned, why) = work.left, clean_and_tell(text, work)
        if why:
            self._why[given] = why
        self._places_left.spend(granted - max(work.left, 0))
        return cleaned


def _not_known(texts: Iterable[str], rules: Rules) -> str:
    """Texts as one, but for those that are known to hold nothing."""
    return "\n".join([text for text in texts if text not in rules.harmless])


def _is_a_name(text: str) -> bool:
    """Whether a text is a name, beside which no value stands, and too short for a credential of a shape of its own."""
    return len(text) < SHORTEST and text.isidentifier()


def _is(one: Any, other: Any) -> bool:
    return one is other
