"""What the SDK's own scrubber, which comes later, is to leave."""

from __future__ import annotations

from typing import Any

from sentry_asgi._sdk import events

from .layout import frames_of, values_of
from .names import is_nothing


def keep_what_says_nothing(event: dict[str, Any]) -> None:
    """Has the SDK's default scrubber, which comes later, leave what is none, empty or false, whatever it is called.

    A scrubber that the user has given does as it says.
    """
    parts: list[tuple[Any, str]] = [
        (event, "extra"),
        *((frame, "vars") for frame in frames_of(event)),
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
            for one in values_of(crumbs)
        ]


class _Kept(dict[Any, Any]):
    """Data in which the SDK's scrubber replaces nothing that says nothing."""

    def __setitem__(self, key: Any, value: Any) -> None:
        if not (events.is_annotated(value) and key in self and is_nothing(self[key])):
            super().__setitem__(key, value)


def _kept(data: Any) -> Any:
    if data.__class__ is list:  # of a request
        return [_kept(one) for one in data]
    if data.__class__ is not dict:
        return data
    empty = [key.lower() for key, one in data.items() if key.__class__ is str and is_nothing(one)]
    if not empty or events.names_scrubbed_by_default().isdisjoint(empty):
        return data
    return _Kept(data)
