"""The app that `module:attribute` names, as uvicorn would find it."""

from __future__ import annotations

import inspect
from typing import Any

from uvicorn.importer import import_from_string


def load(target: str, *, factory: bool) -> Any:
    """The app; made by calling what is named if that is said, or if it plainly is a factory.

    Raises uvicorn's ImportFromStringError if there is no such thing, and whatever its module raises.
    """
    found = import_from_string(target)
    return found() if factory or _makes_apps(found) else found


def _makes_apps(found: Any) -> bool:
    """Whether it is a function that needs no arguments: then it takes no scope, and is no app."""
    if not inspect.isfunction(found) or inspect.iscoroutinefunction(found):
        return False
    try:
        inspect.signature(found).bind()
    except TypeError:
        return False
    return True
