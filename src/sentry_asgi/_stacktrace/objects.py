"""Objects of classes, in a few words: what their `repr` says, where asking for it is safe.

A `repr` is code of anybody's; once it runs, nothing can stop it. So:

- What collects things, by its class (it can be iterated over, and is no built-in container), is told by its class
  alone: the `repr` of a lazy queryset makes a query, that of a data frame lays out a table.
- What a library has generated for a class of fields (dataclasses, attrs, pydantic) is done here, from the instance's
  own attributes and with `render`'s bounds. So are those of the standard library that hold other values:
  exceptions, `functools.partial`, bound methods, `SimpleNamespace`. A Django model is told by its primary key, for
  its `repr` calls `__str__`, which may follow a foreign key.
- Any other object that does not hold much is asked, since what its class says of itself is what people want to see.
  Which holds much, or a lazy thing: its attributes are looked at, bounded, and theirs.
- A class whose `repr` has taken more than `SLOW` seconds is not asked for the next `LET_BE`: one cannot tell before.
  When those of one event have taken `ALL` seconds, no more are asked. Seconds are of the processor; waiting counts
  for a tenth, since on a busy machine whatever is innocent waits. What raises, recurses or returns too much is
  told or cut.
- Hooks of the SDK come first: `custom_repr`, `add_global_repr_processor`, `__sentry_repr__`.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import re
import time
import types
from collections.abc import Callable, Iterator
from itertools import islice
from time import monotonic
from typing import Any, Final

from sentry_asgi._python.exceptions import text_of
from sentry_asgi._sdk.events import repr_processors

from .render import BREADTH, Renderer, kind_of

thread_time: Final[Callable[[], float]] = getattr(time, "thread_time", monotonic)
"""Pyodide has no threads, and no time of theirs."""

SLOW: Final = 0.005
"""Seconds that a `repr` may take."""

ALL: Final = 0.02
"""Seconds that all those of one event may take."""

LET_BE: Final = 60.0
"""Seconds in which a class that was slow is not asked."""

_MUCH: Final = 1_000  # items, or tens of characters, that an object may hold to be asked
_LOOKED_AT: Final = 100  # values that it holds
_KEPT: Final = 1_000  # classes
_LAZY: Final = re.compile("quer|lazy|promise|related|manager|cursor|result", re.IGNORECASE)

_slow: Final[dict[str, float]] = {}  # classes, and until when they are not asked

CustomRepr = Callable[[Any], Any] | None


def writer(custom_repr: CustomRepr = None) -> Callable[[Any, Renderer], str]:
    """What a renderer writes objects with, by the client's `custom_repr`; it never raises an Exception."""

    def write(value: Any, renderer: Renderer) -> str:
        try:
            return _hooked(custom_repr, value, renderer) or _written(value, renderer)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever code of anybody's raises
            return f"{_name_only(value)[:-1]}, whose repr raised {type(error).__name__}>"

    return write


def _hooked(custom_repr: CustomRepr, value: Any, renderer: Renderer) -> str | None:
    """What the SDK's hooks make of an object; None if they leave it alone."""
    if _poses(type(value)):
        return None
    for processor in repr_processors:
        answer: Any = processor(value, {"memo": None, "remaining_depth": 1})
        if answer is not NotImplemented:
            return answer if type(answer) is str else renderer.text(answer)
    answer = None if custom_repr is None else custom_repr(value)
    if answer:
        return _exactly_text(answer)
    hook = getattr(type(value), "__sentry_repr__", None)
    return _exactly_text(hook(value)) if callable(hook) else None


def _poses(kind: type) -> bool:
    """Whether `isinstance` runs an object's own code, as of Django's lazy ones; Django's integration asks it."""
    return any("__class__" in vars(base) for base in kind.__mro__[:-1])


def _written(value: Any, renderer: Renderer) -> str:
    kind: Any = type(value)
    asked = kind.__repr__
    if asked is object.__repr__ or asked in _SHORT:
        return repr(value)
    known = _enum if issubclass(type(kind), enum.EnumMeta) else _KNOWN.get(asked)
    if known is not None:
        return known(value, renderer)
    fields = _fields(kind, value)
    if fields is not None:
        return _with_fields(kind.__qualname__, fields, renderer)
    return _asked(value, renderer, repr) if _may_ask(value, renderer) else _name_only(value)


def said(value: Any, renderer: Renderer) -> str:
    """A value as `str` has it, where asking is safe; else as its `repr` would be. May raise what its class raises."""
    how, kind = kind_of(value)
    ask = how == "object" and kind.__str__ is not object.__str__ and _may_ask(value, renderer)
    known = text_of if issubclass(kind, BaseException) else str
    return _asked(value, renderer, known) if ask else renderer.text(value)


def _may_ask(value: Any, renderer: Renderer) -> bool:
    kind = type(value)
    return not (_collects(kind) or _is_slow(kind) or renderer.asking > ALL or _holds_much(value))


def _asked(value: Any, renderer: Renderer, ask: Callable[[Any], str]) -> str:
    start, start_waiting = thread_time(), monotonic()
    try:
        return _exactly_text(ask(value))
    finally:
        took = max(thread_time() - start, (monotonic() - start_waiting) / 10)
        renderer.asking += took
        if took > SLOW:
            if len(_slow) >= _KEPT:
                _slow.clear()
            _slow[_full_name(type(value))] = monotonic() + LET_BE


def _is_slow(kind: type) -> bool:
    return bool(_slow) and _slow.get(_full_name(kind), 0.0) > monotonic()


def _exactly_text(text: Any) -> str:
    return str.__str__(text)  # what is of a subclass of `str` comes with methods of its own


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _name_only(value: Any) -> str:
    return f"<{_full_name(type(value))} object>"


def _collects(kind: type) -> bool:
    return hasattr(kind, "__iter__") or hasattr(kind, "__getitem__")


# What an object holds.


def _attributes(value: Any) -> dict[str, Any]:
    """The attributes of an instance as they are stored; no code of its class runs."""
    for base in type(value).__mro__:
        stored = _own(base).get("__dict__")
        if type(stored) in _STORED:
            return dict(stored.__get__(value))
    return {}


_STORED: Final = frozenset({types.GetSetDescriptorType, types.MemberDescriptorType})


def _slots(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in type(value).__mro__:
        for name, slot in _own(base).items() if "__slots__" in _own(base) else ():
            if type(slot) is types.MemberDescriptorType:
                try:
                    found[name] = slot.__get__(value)
                except AttributeError:  # not set
                    continue
    return found


def _own(kind: type) -> Any:
    return type.__dict__["__dict__"].__get__(kind)


def _held(value: Any) -> list[Any]:
    stored = {**_slots(value), **_attributes(value)}
    if issubclass(type(value), BaseException):
        stored["args"] = value.args
    return list(islice(stored.values(), _LOOKED_AT))


def _holds_much(value: Any) -> bool:
    """Whether an object holds more than a `repr` should say, or what should not be asked."""
    waiting = _held(value)
    much, left = 0, _LOOKED_AT
    while waiting and left and much <= _MUCH:
        left -= 1
        one = waiting.pop()
        how, base = kind_of(one)
        if how == "text":
            much += base.__len__(one) // 10
        elif how in {"dict", "list"}:
            much += base.__len__(one)
            waiting += islice(base.values(one) if how == "dict" else base.__iter__(one), BREADTH)
        elif how == "object" and base.__repr__ is not object.__repr__:
            if _collects(base) and _LAZY.search(base.__name__):
                return True
            waiting += _held(one)
    return much > _MUCH


# Classes of fields.


def _fields(kind: Any, value: Any) -> Iterator[tuple[str, Any]] | None:
    """Names and values of the fields that a generated `repr` would show; None if it was not generated."""
    asked = getattr(kind.__repr__, "__wrapped__", kind.__repr__)
    code = getattr(asked, "__code__", None)
    if code is None:
        return None
    if hasattr(kind, "__dataclass_fields__") and code.co_filename == "<string>":
        return _stored(value, [field.name for field in dataclasses.fields(kind) if field.repr])
    if hasattr(kind, "__attrs_attrs__") and code.co_filename.startswith("<attrs generated"):
        return _stored(value, [field.name for field in kind.__attrs_attrs__ if field.repr is True])
    module = kind.__repr__.__module__
    if module == "pydantic.main" and _is_left_to_pydantic(kind):
        fields = kind.__pydantic_fields__.items()
        return _stored(value, [name for name, field in fields if field.repr])
    if module == "django.db.models.base":
        return _stored(value, [kind._meta.pk.attname])  # noqa: SLF001  # documented
    return None


def _is_left_to_pydantic(kind: Any) -> bool:
    """Whether a model's `repr` shows all of its fields; others may keep what is secret out of it."""
    ways = kind.__repr_args__, kind.__repr_str__
    return all(way.__module__.startswith(("pydantic.", "sqlmodel.")) for way in ways)


def _stored(value: Any, names: list[str]) -> Iterator[tuple[str, Any]]:
    stored = {**_slots(value), **_attributes(value)}
    return ((name, stored[name]) for name in names if name in stored)


def _with_fields(name: str, fields: Iterator[tuple[str, Any]], renderer: Renderer) -> str:
    shown = [f"{field}={renderer.text(value)}" for field, value in islice(fields, 2 * BREADTH + 1)]
    if len(shown) > 2 * BREADTH:
        shown[-1] = "..."
    return f"{name}({', '.join(shown)})"


# Of the standard library.


def _enum(value: Any, renderer: Renderer) -> str:
    return f"<{type(value).__name__}.{value.name}: {renderer.text(value.value)}>"


def _exception(value: Any, renderer: Renderer) -> str:
    args = [renderer.text(one) for one in value.args[:BREADTH]]
    return f"{type(value).__name__}({', '.join(args)})"


def _method(value: Any, _: Renderer) -> str:
    name = getattr(value.__func__, "__qualname__", "?")
    return f"<bound method {name} of {_name_only(value.__self__)}>"


def _partial(value: Any, renderer: Renderer) -> str:
    named = islice(value.keywords.items(), BREADTH)
    parts = [renderer.text(one) for one in (value.func, *value.args[:BREADTH])]
    parts += [f"{name}={renderer.text(one)}" for name, one in named]
    return f"functools.partial({', '.join(parts)})"


def _namespace(value: Any, renderer: Renderer) -> str:
    return _with_fields("namespace", iter(_attributes(value).items()), renderer)


_KNOWN: Final[dict[Any, Callable[[Any, Renderer], str]]] = {
    BaseException.__repr__: _exception,
    types.MethodType.__repr__: _method,
    functools.partial.__repr__: _partial,
    types.SimpleNamespace.__repr__: _namespace,
}

# Those that are short whatever the object holds.
_SHORT: Final[frozenset[Any]] = frozenset(
    kind.__repr__
    for kind in (
        *(type, memoryview, re.Match, re.Pattern),
        *(types.FunctionType, types.BuiltinFunctionType, types.ModuleType, types.GenericAlias),
        *(types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType),
    )
)
