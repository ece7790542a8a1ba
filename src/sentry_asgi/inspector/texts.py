"""What a person may look for beside what a list shows: the words of an event, for the search. Pure.

The rules:

- Of an error: its request, user and tags, all its exceptions, the app's own functions and files, its
  last breadcrumbs. Of a request: its address, user, tags, and what it asked of databases and others.
  Of a log or span: its attributes.
- At most `MAX_CHARACTERS` characters: a search is no reason to keep everything twice.
- Names are found by their parts: `KeyError` by `key`, `load_items` by `items`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from .values import as_dict, as_dicts, as_line, as_pairs, as_values, clean

MAX_CHARACTERS = 1500
_MOST = 12
_LONGEST = 300
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def error_text(event: dict[str, Any]) -> str:
    """The words of an error or message."""
    return _joined(_of_error(event))


def request_text(event: dict[str, Any]) -> str:
    """The words of a transaction."""
    return _joined(_of_request(event))


def attributes_text(data: dict[str, Any]) -> str:
    """The words of a log's or a span's attributes."""
    told = (value for name, value in data.items() if not name.startswith(("sentry.", "server.")))
    return _joined(as_line(value, 200) for value in islice(told, 30))


def _of_error(event: dict[str, Any]) -> Iterator[Any]:
    yield from _circumstances(event)
    for exception in as_values(event.get("exception"))[-_MOST:]:
        yield exception.get("type")
        yield exception.get("value")
        frames = as_dicts(as_dict(exception.get("stacktrace")).get("frames"))
        for frame in [frame for frame in frames if frame.get("in_app") is True][-_MOST:]:
            yield frame.get("function")
            file = frame.get("filename") or frame.get("abs_path")
            yield file.rpartition("/")[2] if isinstance(file, str) else None
    yield event.get("logger")
    for crumb in as_values(event.get("breadcrumbs"))[-_MOST:]:
        yield crumb.get("message")


def _of_request(event: dict[str, Any]) -> Iterator[Any]:
    yield from _circumstances(event)
    for span in islice(as_dicts(event.get("spans")), 100):
        yield span.get("description")


def _circumstances(event: dict[str, Any]) -> Iterator[Any]:
    request, user = as_dict(event.get("request")), as_dict(event.get("user"))
    yield from map(request.get, ("method", "url", "query_string"))
    yield from map(user.get, ("id", "username", "email"))
    for pair in as_pairs(event.get("tags"))[:30]:
        yield from pair
    yield from map(event.get, ("environment", "release"))


def _joined(parts: Iterable[Any]) -> str:
    """The texts among these, each once, the beginning of each."""
    texts = dict.fromkeys(part[:_LONGEST] for part in parts if part and isinstance(part, str))
    joined = clean(" ".join(texts), MAX_CHARACTERS)
    humps = _HUMP.sub(" ", joined)
    return joined if len(humps) == len(joined) else f"{joined} {humps}"
