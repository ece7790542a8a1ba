"""Which requests are neither traced nor counted: what the option `exclude` means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .request import METHOD


class Exclusion(NamedTuple):
    """Requests that are neither traced nor counted."""

    methods: tuple[str, ...]
    """Whatever their path."""
    matches: Callable[[Any, Any], bool] | None
    """Whether a method and a path are excluded beyond that; None if none are."""


def exclusion(patterns: Sequence[str]) -> Exclusion:
    """Return what a list of patterns excludes: paths, in which `*` stands for anything, or a method and a path.

    Raises:
        TypeError: if a pattern is no string.
        ValueError: if a path does not begin with `/` or `*`: nothing would ever match.

    """
    if isinstance(patterns, str):
        raise TypeError(f"exclude must be a list of patterns such as [{patterns!r}], not a string")
    methods: list[str] = []
    others: list[tuple[str, list[str]]] = []
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise TypeError(
                f"a pattern of exclude must be a string such as '/health', got {pattern!r}"
            )
        method, _, path = pattern.rpartition(" ")
        if not path.startswith(("/", "*")) or (method and not METHOD.fullmatch(method)):
            raise ValueError(
                f"a pattern of exclude must be a path that begins with '/' or '*', or a method and such a path "
                f"('OPTIONS *'), got {pattern!r}"
            )
        if method and path == "*":
            methods.append(method.upper())
        else:
            others.append((method.upper(), path.split("*")))

    def matches(method: Any, path: Any) -> bool:
        return isinstance(path, str) and any(
            (not wanted or wanted == method) and _has_parts(path, parts) for wanted, parts in others
        )

    return Exclusion(tuple(methods), matches if others else None)


def _has_parts(path: str, parts: list[str]) -> bool:
    """Whether a path is these parts, with anything in between; each is looked for once, from the left."""
    if len(parts) == 1:
        return path == parts[0]
    first, *middle, last = parts
    if not path.startswith(first):
        return False
    at, end = len(first), len(path) - len(last)
    for part in middle:
        found = path.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return at <= end and path.endswith(last)
