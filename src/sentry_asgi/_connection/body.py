"""The body of a request, as far as the app has read it: kept within bounds, parsed when it is wanted.

The rules:

- Only what the app itself has been given is kept, and no more of it is sent than the SDK's `max_request_body_size`
  says: `never` nothing, `small` 1 kB, `medium` 10 kB, and `always` as much as `CAP`, for a middleware must not hold
  what an app streams. A body is its bytes; whether its length was announced does not matter.
- Its beginning is kept whatever may be sent: what is secret in it is removed from the rest of the event.
- Nothing is parsed before an event exists, and parsing never raises: what cannot be understood is told
  by its size alone.
- JSON and forms that were cut are understood as far as they go. Multipart needs `python-multipart`, which an
  app that reads multipart mostly has; files become name, type and size, never content.
- Pure: no Sentry in here. What is secret in a body is for `names` to say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from . import multipart

CAP: Final = 50_000
"""Bytes of a body that are kept under `always`."""

KNOWN: Final = 10_000
"""Bytes of a body, or of a websocket's message, that are kept at least, to know its secrets."""

_LIMITS: Final = {"never": 0, "small": 1_000, "medium": 10_000, "always": CAP}
_FIELDS: Final = 1_000
_DEPTH: Final = 200
_TEXTS: Final = ("/xml", "+xml", "/graphql", "/yaml", "/x-ndjson")
_CLOSERS: Final = {"[": "]", "{": "}"}


def limit(size: Any) -> int:
    """How many bytes a `max_request_body_size` allows; `medium`, the SDK's default, if it is none."""
    return _LIMITS.get(size, _LIMITS["medium"]) if isinstance(size, str) else _LIMITS["medium"]


class BodyBuffer:
    """The beginning of a body."""

    __slots__ = ("data", "room")

    def __init__(self, room: int) -> None:
        self.data = bytearray()
        self.room = room

    def add(self, chunk: Any) -> None:
        """Keeps a copy of as much of a chunk as there is room for."""
        if self.room:
            piece = memoryview(chunk)[: self.room]  # which copies nothing, however large the chunk
            self.data += piece
            self.room -= len(piece)


@dataclass(frozen=True, slots=True)
class Body:
    """A body, understood. `data` is None if there is nothing to tell but its size."""

    data: Any
    raw: str


def understand(kept: bytes, content_type: str, *, cut: bool) -> Body:
    """A body by its content type; `cut` says that `kept` is only its beginning."""
    kind, _, parameters = content_type.partition(";")
    kind = kind.strip().lower()
    try:
        parse = _parser(kind)
        text = kept.decode(_charset(parameters), "replace")
        return Body(None if parse is None else parse(kept, text, parameters, cut), text)
    except Exception:  # anybody can send anything
        return Body(None, kept.decode("utf-8", "replace"))


def _parser(kind: str) -> Callable[[bytes, str, str, bool], Any] | None:
    if kind == "application/json" or kind.endswith("+json"):
        return _json
    if kind == "application/x-www-form-urlencoded":
        return _form
    if kind == "multipart/form-data":
        return _fields
    if kind.startswith("text/") or kind.endswith(_TEXTS):
        return _text
    return None


_CHARSET: Final = re.compile(r"charset *= *\"?([\w.:-]{1,40})", re.IGNORECASE)

_ENCODINGS: Final = frozenset(
    {"utf-8", "utf-16", "utf-16le", "utf-16be", "utf-32", "us-ascii", "iso-8859-1", "iso-8859-2"}
    | {"iso-8859-5", "iso-8859-7", "iso-8859-9", "iso-8859-15", "windows-1250", "windows-1251"}
    | {"windows-1252", "windows-1253", "windows-1254", "windows-1256", "koi8-r", "koi8-u"}
    | {"shift_jis", "euc-jp", "gb2312", "gbk", "gb18030", "big5", "euc-kr"}
)
"""Encodings of the WHATWG Encoding Standard that texts come in, by names that Python knows, too.

A client's word is never looked up as a codec: Python keeps each name for ever, and some codecs are slow.
"""


def _charset(parameters: str) -> str:
    """Return the charset of a content type: UTF-8, unless it names another of `_ENCODINGS`."""
    match = _CHARSET.search(parameters)
    name = match[1].lower() if match else "utf-8"
    name = _ALIASES.get(name, name)
    return name if name in _ENCODINGS else "utf-8"


_ALIASES: Final = {
    "utf8": "utf-8",
    "ascii": "us-ascii",
    "latin1": "iso-8859-1",
    "latin-1": "iso-8859-1",
}


def _text(kept: bytes, text: str, parameters: str, cut: bool) -> Any:  # noqa: ARG001, FBT001
    return text


def _json(kept: bytes, text: str, parameters: str, cut: bool) -> Any:  # noqa: ARG001, FBT001
    if not cut:
        return json.loads(kept)
    return json.loads(close_truncated_json(text))


def close_truncated_json(text: str) -> str:
    """The longest beginning of a JSON text that ends after a whole value, its brackets closed."""
    nested = closers = ""  # what closes the brackets that are open, innermost first
    whole = 0
    for match in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[\]{},]|"', text, re.DOTALL):
        found = match[0]
        if found == '"' or len(nested) > _DEPTH:  # a string without end
            break
        if found in _CLOSERS:
            nested = _CLOSERS[found] + nested
        elif found in "]}":
            if nested[:1] != found:
                break
            nested = nested[1:]
        if found in "[{]},":
            whole = match.start() if found == "," else match.end()
            closers = nested
    return text[:whole] + closers


def _form(kept: bytes, text: str, parameters: str, cut: bool) -> Any:  # noqa: ARG001, FBT001
    if cut:  # the last field may have lost a part
        text = text.rpartition("&")[0]
    pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_FIELDS)
    return _gathered(pairs)


def _fields(kept: bytes, text: str, parameters: str, cut: bool) -> Any:  # noqa: ARG001, FBT001
    return _gathered(multipart.fields(kept, parameters))


def _gathered(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Fields by name; a name that is there more than once has a list."""
    gathered: dict[str, Any] = {}
    for name, value in pairs:
        if name not in gathered:
            gathered[name] = value
        elif isinstance(gathered[name], list):
            gathered[name].append(value)
        else:
            gathered[name] = [gathered[name], value]
    return gathered
