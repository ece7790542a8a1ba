"""Exceptions of anybody's, read without running their code.

A class can make a property of whatever an exception has: `__context__`, `__dict__`, `__class__`, `exceptions`. Such a
property may raise, or exit the process. It can also be false, or equal to others. So in this package:

- what CPython stores is read by CPython's own descriptors, which are here, and what class it is by `type()`;
- exceptions are compared by `is`, and asked for their truth never;
- the text of an exception is asked for where whatever it raises is caught, and once for each failure.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final

_own: Final[Any] = BaseException.__dict__
traceback_of: Final[Callable[[BaseException], TracebackType | None]] = _own["__traceback__"].__get__
cause_of: Final[Callable[[BaseException], BaseException | None]] = _own["__cause__"].__get__
context_of: Final[Callable[[BaseException], BaseException | None]] = _own["__context__"].__get__
suppresses_context: Final[Callable[[BaseException], bool]] = _own["__suppress_context__"].__get__
arguments_of: Final[Callable[[BaseException], tuple[Any, ...]]] = _own["args"].__get__
attributes_of: Final[Callable[[BaseException], dict[str, Any]]] = _own["__dict__"].__get__
set_traceback: Final[Callable[[BaseException, TracebackType | None], None]] = _own[
    "__traceback__"
].__set__

_members: Final[Any] = BaseExceptionGroup.__dict__["exceptions"].__get__
_derived: Final[Any] = BaseExceptionGroup.__dict__["subgroup"]

BOUND: Final = 1_000
"""Members of a group that are looked at, each as often as it is in it."""


def is_a(exception: BaseException | None, kinds: type | tuple[type, ...]) -> bool:
    """As `isinstance`, without asking the exception itself."""
    return issubclass(type(exception), kinds)


def members_of(exception: BaseException) -> tuple[BaseException, ...]:
    """The members of a group; none if it is no group."""
    members: tuple[BaseException, ...] = (
        _members(exception) if is_a(exception, BaseExceptionGroup) else ()
    )
    return members


def leaves_of(exception: BaseException) -> list[BaseException] | None:
    """What a group holds that is no group, each once; None if it holds too much to be looked at."""
    waiting, seen, leaves = [exception], set[int](), list[BaseException]()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if len(seen) > BOUND:
            return None
        members = members_of(one)
        waiting.extend(members)
        if not members:
            leaves.append(one)
    return leaves


def part_of(group: Any, keeps: Callable[[BaseException], bool]) -> Any:
    """What is left of a group if only some leaves are kept; None if nothing is, the group itself if it is too large.

    Python's way visits a member as often as it is held, which can be exponentially often.
    """
    return _derived(group, keeps) if _visits(group) <= BOUND else group


def _visits(group: BaseException) -> int:
    waiting, visits = [group], 0
    while waiting and visits <= BOUND:
        visits += 1
        waiting.extend(members_of(waiting.pop())[:BOUND])
    return visits


def attribute_of(exception: BaseException, name: str) -> Any:
    """What an exception has under a name, None if nothing; whatever reading it raises."""
    try:
        return getattr(exception, name, None)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return None


def names_of(kind: type) -> tuple[str, str]:
    """The module and the qualified name of a class, whatever a metaclass makes of them."""
    module = type.__dict__["__module__"].__get__(kind)
    return module if type(module) is str else "<unknown>", type.__dict__["__qualname__"].__get__(
        kind
    )


_texts: Final[ContextVar[dict[int, str] | None]] = ContextVar("sentry_asgi_texts", default=None)


@contextlib.contextmanager
def texts_kept() -> Iterator[None]:
    """While it lasts, an exception is asked for its text once."""
    token = _texts.set({})
    try:
        yield
    finally:
        _texts.reset(token)


def text_of(exception: BaseException) -> str:
    """The text of an exception, as `str` has it. Never raises an Exception."""
    known = _texts.get()
    text = None if known is None else known.get(id(exception))
    if text is None:
        try:
            text = str.__str__(str(exception))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever a `__str__` of anybody's raises
            text = f"<a {names_of(type(exception))[1]}, whose str raised {type(error).__name__}>"
        if known is not None:
            known[id(exception)] = text
    return text
