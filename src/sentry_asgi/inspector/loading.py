"""The app that `module:attribute` names, as uvicorn would find it."""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
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


def suggestion(target: str) -> str:
    """The same attribute in a module of the package that was named, as a hint; or nothing."""
    package, _, attribute = target.partition(":")
    pattern = re.compile(rf"^(?:async )?(?:def )?{re.escape(attribute)}\b *[=:(]", re.MULTILINE)
    for name, source in _sources(package):
        if attribute and pattern.search(source):
            return f"Did you mean {package}.{name}:{attribute}?"
    return ""


def _sources(package: str) -> Iterator[tuple[str, str]]:
    """The names and sources of a package's modules; nothing is imported but the package."""
    with suppress(ImportError, ValueError):  # no such module; no name of one
        spec = find_spec(package)
        for found in pkgutil.iter_modules((spec and spec.submodule_search_locations) or []):
            path = Path(getattr(found.module_finder, "path", ""), f"{found.name}.py")
            with suppress(OSError, UnicodeDecodeError):
                yield found.name, path.read_text(encoding="utf-8")
