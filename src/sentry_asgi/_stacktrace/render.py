"""Values, rendered as an event shows them, with bounds: whatever they are, no harm is done and little time is taken.

The rules:

- The shape is the SDK's: containers as dicts and lists of what they hold, all else as its `repr`. But a namedtuple is
  shown with its fields' names, which tell what is secret.
- Built-in containers and subclasses of them are walked by the built-in's own methods, as far as the bounds allow:
  depth, items of one container, characters of one text, and nodes and characters of all that one event shows. Whoever
  renders the most important values does so first.
- Texts are cut before they are looked at. No other object is asked for anything, except as `objects` says.
- A value is known by `type()`. `isinstance` asks the value for its class, which makes a lazy object evaluate itself.
- A value that cannot be rendered says so. A variable's value that was there before, in another frame, is rendered once.
- What comes out is plain data: dicts, lists and texts of built-in types.
"""

from __future__ import annotations

import array
import collections
import enum
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

DEPTH: Final = 4  # containers within each other, as with the SDK
BREADTH: Final = 10  # items of one, as with the SDK
VARIABLES: Final = 30  # of one frame
LENGTH: Final = 1024  # characters of one text, unless `max_value_length` says otherwise
NODES: Final = 2_000  # of one event
SHARE: Final = 400  # of these, for one variable
CHARACTERS: Final = 100_000  # of one event
DEEPEST: Final = 8  # objects and containers within each other, all told

_NAME: Final = 200  # characters of a key
_CYCLE: Final = "<cyclic>"
_CONTAINERS: Final = frozenset({"dict", "list"})
_LEFT_OUT: Final = "<left out: the event is large enough>"

_LISTS: Final[tuple[type, ...]] = (
    *(list, tuple, set, frozenset, collections.deque, array.array),
    *(type({}.keys()), type({}.values()), type({}.items())),
)
_KINDS: Final[dict[type, tuple[str, Any]]] = {
    # Those whose `repr` is short.
    **{kind: ("plain", kind) for kind in (int, float, bool, type(None), complex, range, type(...))},
    **{kind: ("text", kind) for kind in (str, bytes, bytearray)},
    dict: ("dict", dict),
    **{kind: ("list", kind) for kind in _LISTS},
}

Writer = Callable[[Any, "Renderer"], str]
"""Writes an object that is none of the above, in a few words."""


def kind_of(value: Any) -> tuple[str, Any]:
    """How a value is rendered (`plain`, `text`, `dict`, `list` or `object`), and the built-in type that it is of."""
    kind = type(value)
    known = _KINDS.get(kind)
    if known is not None:
        return known
    if not issubclass(type(kind), enum.EnumMeta):
        for base in kind.__mro__:
            if base in _KINDS:
                return _KINDS[base]
    return "object", kind


class _Rendered(NamedTuple):
    """A variable's value, what became of it, and how much of the event that takes."""

    value: Any
    rendered: Any
    nodes: int
    characters: int


class Renderer:
    """Renders the values of one event."""

    def __init__(self, write: Writer, length: int | None = None) -> None:
        self._write = write
        self._length = LENGTH if length is None else max(length, 3)
        self._nodes = NODES
        self._characters = CHARACTERS
        self._path: list[int] = []  # of objects and containers around the value
        self.asking = 0.0  # seconds that objects took to answer
        self._seen: dict[int, _Rendered] = {}

    def variables(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The variables of a frame."""
        # All at once: rendering may run code of the application's, which may change what a module has.
        first = list(islice(variables.items(), VARIABLES))
        return {name: self._variable(value) for name, value in first}

    def _variable(self, value: Any) -> Any:
        known = self._seen.get(id(value))
        if known is None:
            known = self._seen[id(value)] = self._rendered(value)
        elif self._nodes < 0 or self._characters < 0:
            return _LEFT_OUT
        else:
            self._nodes -= known.nodes
            self._characters -= known.characters
        return known.rendered

    def _rendered(self, value: Any) -> _Rendered:
        nodes, characters = self._nodes, self._characters
        kept_back = max(0, nodes - SHARE)
        self._nodes -= kept_back
        try:
            rendered = self.value(value)
        except Exception as error:  # such as of a dict that another thread changes meanwhile
            rendered = f"<could not be rendered: {type(error).__name__}>"
        self._nodes += kept_back
        return _Rendered(value, rendered, nodes - self._nodes, characters - self._characters)

    def value(self, value: Any) -> Any:
        """A value as plain data: dicts and lists of texts."""
        self._nodes -= 1
        if self._nodes < 0 or self._characters < 0:
            return _LEFT_OUT
        how, base = kind_of(value)
        if how not in _CONTAINERS:
            return self._leaf(value, how, base)
        if id(value) in self._path:
            return _CYCLE
        if len(self._path) >= DEPTH:
            return self._leaf(value, how, base)
        self._path.append(id(value))
        try:
            named = _named(value, base)  # for names tell what is secret
            if how == "dict" or named:
                return self._dict(named or value, dict if named else base)
            return [self.value(one) for one in _first(value, base)] + _more(value, base)
        finally:
            self._path.pop()

    def _dict(self, value: Any, base: Any) -> dict[str, Any]:
        rendered = {self._key(key): self.value(one) for key, one in _first_pairs(value, base)}
        more = _more(value, base)
        if more:
            rendered["..."] = more[0]
        return rendered

    def _key(self, key: Any) -> str:
        text: str = key if type(key) is str else self.text(key)
        return text if len(text) <= _NAME else text[:_NAME]

    def text(self, value: Any) -> str:
        """A value as one text, as its `repr` would be if it was short."""
        self._nodes -= 1
        if self._nodes < 0 or self._characters < 0:
            return _LEFT_OUT
        return self._leaf(value, *kind_of(value))

    def _leaf(self, value: Any, how: str, base: Any) -> str:
        if how == "text":
            if base.__len__(value) > self._length:
                value = base.__getitem__(value, slice(self._length))
            text: str = base.__repr__(value)
        elif how == "plain":
            text = _number(value, base)
        elif len(self._path) >= DEEPEST or id(value) in self._path:
            text = "..."
        else:
            self._path.append(id(value))
            try:
                text = self._write(value, self) if how == "object" else self._within(value, base)
            finally:
                self._path.pop()
        self._characters -= len(text)
        return text if len(text) <= self._length else text[: self._length - 3] + "..."

    def _within(self, value: Any, base: Any) -> str:
        """A container as one text."""
        named = _named(value, base)
        if base is dict or named:
            pairs = _first_pairs(named or value, dict)
            parts = [f"{self.text(key)}: {self.text(one)}" for key, one in pairs]
        else:
            parts = [self.text(one) for one in _first(value, base)]
        if base.__len__(value) > BREADTH:
            parts.append("...")
        start, end = _BRACKETS.get(base, ("[", "]"))
        comma = "," if base is tuple and len(parts) == 1 else ""
        return f"{start}{', '.join(parts)}{comma}{end}" if parts else _EMPTY.get(base, start + end)


_BRACKETS: Final[dict[Any, tuple[str, str]]] = {
    dict: ("{", "}"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
    collections.deque: ("deque([", "])"),
}
_EMPTY: Final[dict[Any, str]] = {set: "set()", frozenset: "frozenset()"}


def _named(value: Any, base: Any) -> dict[str, Any]:
    """What a namedtuple holds, by its fields' names; nothing of any other value."""
    if base is not tuple or type(value) is tuple:
        return {}
    given = [vars(kind).get("_fields") for kind in type(value).__mro__]
    fields = next((one for one in given if type(one) is tuple), ())
    if len(fields) != tuple.__len__(value) or any(type(one) is not str for one in fields):
        return {}
    return dict(zip(fields, tuple.__iter__(value), strict=True))


def _number(value: Any, base: Any) -> str:
    try:
        return str(base.__repr__(value))
    except ValueError:  # an int of more digits than `sys.set_int_max_str_digits` allows
        return f"<int of {value.bit_length()} bits>"


def _first(value: Any, base: Any) -> Iterable[Any]:
    return islice(base.__iter__(value), BREADTH)


def _first_pairs(value: Any, base: Any) -> list[tuple[Any, Any]]:
    # All at once: rendering may run code of the application's, which may change the dict.
    return list(islice(base.items(value), BREADTH))


def _more(value: Any, base: Any) -> list[str]:
    """How many items are not shown, if any."""
    more = base.__len__(value) - BREADTH
    return [f"<{more:,} more>"] if more > 0 else []
