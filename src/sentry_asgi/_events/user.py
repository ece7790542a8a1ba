"""Who the user is, read from what authentication has put into `scope["user"]`.

The rules:

- Nothing is computed by the user's object: attributes of models can query a database, and this runs on the
  event loop. Only values that the object holds already are read, past properties, descriptors and `__getattr__`.
- A lazy object of Django's is looked into if it has been evaluated, and left alone if not.
- `identity` and `display_name` are Starlette's own means to ask who somebody is, and made to be asked: they
  are, where the object holds nothing else and is one of `starlette.authentication.BaseUser`.
- Channels' middlewares, and others, put the user into a copy of the scope. What an error comes through, and what
  reports it, are frames that have the copy as `scope` or as `self.scope`; it is looked for there, and nowhere else.
- No Starlette or Django is imported; no function raises.
"""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Iterator, Mapping
from itertools import islice
from traceback import walk_stack, walk_tb
from typing import Any, Final

from sentry_asgi._connection.request import MARK

# What the attributes are called, by their name in Sentry's user; the first that is there counts.
_NAMES: Final = {
    "id": ("id", "pk", "user_id", "uid", "sub", "uuid"),
    "username": ("username", "user_name", "name", "login"),
    "email": ("email", "email_address"),
}
_STARLETTE: Final = {"id": "identity", "username": "display_name"}
_MISSING: Final = object()
_LENGTH: Final = 256
_FRAMES: Final = 100


class Untold(dict[str, Any]):
    """The user of a scope for which nobody has called `set_user`: empty, and told apart from None."""


def describe(user: Any) -> dict[str, str]:
    """Sentry's `user` (id, username, email) of a user's object, as far as it tells without being asked."""
    try:
        return _describe(_evaluated(user))
    except Exception:  # somebody's own class
        return {}


def _is_copy_of(original: Any, scope: Any) -> bool:
    return bool(scope.get(MARK) == id(original))


def of_copied_scope(original: Any, exc_info: Any) -> Any:
    """The user in the innermost copy of a scope that the middleware has marked; None if there is none to be seen."""
    try:
        traceback = exc_info[2] if isinstance(exc_info, tuple) else None
        came_through = [frame for frame, _ in walk_tb(traceback)][-_FRAMES:]
        reporting = islice((frame for frame, _ in walk_stack(sys._getframe(1))), _FRAMES)  # noqa: SLF001
        for frame in [*reversed(came_through), *reporting]:
            for scope in _scopes_in(frame.f_locals):
                if scope.get("user") is not None and _is_copy_of(original, scope):
                    return scope["user"]
    except Exception:  # whatever there is in the frames of others
        pass
    return None


def _scopes_in(names: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for scope in (names.get("scope"), _attributes(names.get("self")).get("scope")):
        if type(scope) is dict:
            yield scope


def _describe(user: Any) -> dict[str, str]:
    if user is None or _flag(user, "is_authenticated") is False:
        return {}
    found = {ours: _first(user, theirs) for ours, theirs in _NAMES.items()}
    if not any(found.values()) and _is_starlettes(user):
        found = {ours: _asked(user, theirs) for ours, theirs in _STARLETTE.items()}
    return {name: value for name, value in found.items() if value}


def _evaluated(user: Any) -> Any:
    """What a lazy object of Django's stands for; None if it has not been evaluated."""
    for _ in range(3):
        if not any(kind.__name__ == "LazyObject" for kind in type(user).__mro__):
            return user
        user = object.__getattribute__(user, "__dict__").get("_wrapped")
        if type(user) is object:  # Django's mark for "not yet"
            return None
    return None


def _first(user: Any, names: tuple[str, ...]) -> str | None:
    return next((text for name in names if (text := _text(_held(user, name)))), None)


def _held(user: Any, name: str) -> Any:
    """A value that an object holds; `_MISSING` if it would have to be computed."""
    if isinstance(user, Mapping):
        return user.get(name, _MISSING) if type(user) is dict else _MISSING
    attributes = _attributes(user)
    if name in attributes:
        return attributes[name]
    static = inspect.getattr_static(type(user), name, _MISSING)
    if isinstance(static, types.MemberDescriptorType):  # __slots__
        return static.__get__(user) if _is_set(static, user) else _MISSING
    if isinstance(user, tuple) and name in getattr(type(user), "_fields", ()):
        return user[type(user)._fields.index(name)]  # type: ignore[attr-defined]  # a namedtuple
    return _MISSING


def _attributes(holder: Any) -> dict[str, Any]:
    """What an object holds under names of its own, whatever it says of itself."""
    try:
        attributes: dict[str, Any] = object.__getattribute__(holder, "__dict__")
        return attributes
    except AttributeError:
        return {}


def _is_set(slot: types.MemberDescriptorType, user: Any) -> bool:
    try:
        slot.__get__(user)
        return True
    except AttributeError:
        return False


def _flag(user: Any, name: str) -> Any:
    """As `_held`, or as the class says; a property tells nothing."""
    held = _held(user, name)
    return inspect.getattr_static(type(user), name, None) if held is _MISSING else held


def _text(value: Any) -> str | None:
    # Only of types whose text is harmless to make; a UUID is one.
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return str(value) if type(value).__module__ == "uuid" else None
    return str(value)[:_LENGTH] or None


def _is_starlettes(user: Any) -> bool:
    return any(
        kind.__name__ == "BaseUser" and kind.__module__ == "starlette.authentication"
        for kind in type(user).__mro__
    )


def _asked(user: Any, name: str) -> str | None:
    try:
        return _text(getattr(user, name))
    except Exception:  # SimpleUser has no identity, and says so
        return None
