"""What a person may look for beside what a list shows: the words of an event, for the search. Pure.

The rules:

- Of an error: its request, user and tags, all its exceptions, the app's own functions and files, its
  last breadcrumbs. Of a request: its address, user, tags, and what it asked of databases and others.
  Of a log or span: its attributes.
- At most `MAX_WORDS_LONG` characters: a search is no reason to keep everything twice.
- Names are found by their parts: `KeyError` by `key`, `load_items` by `items`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import PurePath
from typing import Any

from .values import as_dict, as_dicts, as_line, as_pairs, as_values, clean

MAX_WORDS_LONG = 1500
_MOST = 12
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


def _of_error(event: dict[str, Any]) -> Iterator[str]:
    yield from _circumstances(event)
    for exception in as_values(event.get("exception"))[:_MOST]:
        yield as_line(exception.get("type"))
        yield as_line(exception.get("value"))
        frames = as_dicts(as_dict(exception.get("stacktrace")).get("frames"))
        for frame in [frame for frame in frames if frame.get("in_app") is True][-_MOST:]:
            yield as_line(frame.get("function"))
            yield PurePath(as_line(frame.get("filename")) or as_line(frame.get("abs_path"))).name
    yield as_line(event.get("logger"))
    for crumb in as_values(event.get("breadcrumbs"))[-_MOST:]:
        yield as_line(crumb.get("message"), 200)


def _of_request(event: dict[str, Any]) -> Iterator[str]:
    yield from _circumstances(event)
    spans = (as_line(span.get("description"), 200) for span in as_dicts(event.get("spans")))
    yield from dict.fromkeys(islice(spans, 100))


def _circumstances(event: dict[str, Any]) -> Iterator[str]:
    request, user = as_dict(event.get("request")), as_dict(event.get("user"))
    yield as_line(request.get("method"))
    yield as_line(request.get("url"))
    yield as_line(request.get("query_string"))
    for name in ("id", "username", "email"):
        yield as_line(user.get(name), 100)
    for pair in as_pairs(event.get("tags"))[:30]:
        yield from (clean(part, 100) for part in pair)
    yield as_line(event.get("environment"), 60)
    yield as_line(event.get("release"), 120)


def _joined(parts: Iterable[str]) -> str:
    text, room = [], MAX_WORDS_LONG
    for part in parts:
        if part and room > 0:
            text.append(part[:room])
            room -= len(part) + 1
    joined = " ".join(text)
    humps = _HUMP.sub(" ", joined)
    return joined if humps == joined else f"{joined} {humps}"
