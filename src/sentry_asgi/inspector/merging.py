"""A request that was edited, with what was not edited put in: in the process that serves the app.

The rules:

- What `unedited` names is as it was: headers by their names, `:path`, `:query` and `:body`.
- In what was edited, `[Filtered]` stands for the value that was there: of the parameter or cookie of that name,
  and in JSON at the same place. Nowhere else: no value moves to another name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

FILTERED: Final = b"[Filtered]"
_FILTERED = frozenset({FILTERED, b"%5BFiltered%5D"})
# What the new request's own body and connection say.
_OWN = frozenset({b"connection", b"content-length", b"transfer-encoding"})

Headers = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: what of its scope is the request, and its body."""

    scope: dict[str, Any]
    body: bytes

    def values(self, name: bytes) -> list[bytes]:
        """The values of a header."""
        return [value for key, value in self.scope["headers"] if key.lower() == name]


def merged(now: Asked, was: Asked, unedited: frozenset[bytes]) -> Asked:
    """The edited request `now`, with what `was` had where it was not edited."""
    scope = dict(now.scope)
    if b":path" in unedited:
        scope |= {name: was.scope[name] for name in ("path", "raw_path") if name in was.scope}
    query = bytes(was.scope.get("query_string", b""))
    given = bytes(now.scope.get("query_string", b""))
    scope["query_string"] = query if b":query" in unedited else _pairs(given, query, b"&")
    body = was.body if b":body" in unedited else _body(now, was)
    headers = [one for one in _headers(now, was, unedited) if one[0] != b"content-length"]
    if body or now.values(b"content-length"):
        headers.append((b"content-length", str(len(body)).encode()))
    return Asked({**scope, "headers": headers}, body)


def lacking(asked: Asked) -> list[bytes]:
    """Where there still is what nobody knows."""
    parts = [
        *((name.lower(), value) for name, value in asked.scope["headers"]),
        (b":path", str(asked.scope.get("path", "")).encode()),
        (b":query", bytes(asked.scope.get("query_string", b""))),
        (b":body", asked.body),
    ]
    return [name for name, value in parts if any(one in value for one in _FILTERED)]


def _headers(now: Asked, was: Asked, unedited: frozenset[bytes]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in was.scope["headers"]:
        if name.lower() in unedited:
            yield name, value
    for name, value in now.scope["headers"]:
        if name.lower() in _OWN or name.lower() not in unedited:
            before = was.values(b"cookie") if name.lower() == b"cookie" else []
            yield name, _pairs(value, b"; ".join(before), b";") if before else value


def _body(now: Asked, was: Asked) -> bytes:
    if not any(one in now.body for one in _FILTERED):
        return now.body
    kind = b"".join(now.values(b"content-type")[:1]).partition(b";")[0].strip().lower()
    if kind == b"application/x-www-form-urlencoded":
        return _pairs(now.body, was.body, b"&")
    try:
        filled = _filled(json.loads(now.body), json.loads(was.body))
        return json.dumps(filled, ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # no JSON
        return now.body


def _filled(now: Any, was: Any) -> Any:
    if isinstance(now, dict) and isinstance(was, dict):
        return {name: _filled(value, was.get(name, value)) for name, value in now.items()}
    if isinstance(now, list) and isinstance(was, list):
        return [
            _filled(value, was[place]) if place < len(was) else value
            for place, value in enumerate(now)
        ]
    return was if now == FILTERED.decode() else now


def _pairs(now: bytes, was: bytes, separator: bytes) -> bytes:
    known: dict[bytes, list[bytes]] = {}
    for part in was.split(separator):
        name, _, value = part.partition(b"=")
        known.setdefault(name.strip(), []).append(value.strip())
    return separator.join(_with_value(part, known) for part in now.split(separator))


def _with_value(part: bytes, known: dict[bytes, list[bytes]]) -> bytes:
    """The same with its value, if that is filtered; of equal names each takes the next value."""
    name, equals, value = part.partition(b"=")
    values = known.get(name.strip(), [])
    then = values.pop(0) if values else value
    return name + equals + then if value.strip() in _FILTERED else part
