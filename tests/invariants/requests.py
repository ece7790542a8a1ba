"""What a client asks for in each cell; an application of which another thing is asked has a `request_of` of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple


class Request(NamedTuple):
    """A request, with the messages that `receive` gives of it before the client waits, or has left."""

    path: str
    messages: Sequence[Any]
    method: str = "GET"
    query: str = ""
    headers: Sequence[tuple[bytes, bytes]] = ()


def request_of(cell: str) -> Request:
    """Return what is asked of the applications that have a path for each cell."""
    if cell == "websocket":
        return Request("/websocket", [{"type": "websocket.connect"}])
    if cell in {"left", "fine"}:
        length = b"100" if cell == "left" else b"7"
        messages = parts_of(b"part", b"end", left=cell == "left")
        return Request("/left", messages, "POST", headers=[(b"content-length", length)])
    path = "/sub/42/raise" if cell == "mounted" else f"/{cell}"
    return Request(path, [{"type": "http.request", "body": b"", "more_body": False}])


def posted(cell: str, path: str, said: Any, *headers: tuple[bytes, bytes]) -> Request:
    """Return a request that posts JSON; in the cell `left`, the client leaves half-way."""
    body = json.dumps(said).encode()
    half = len(body) // 2
    messages = parts_of(body[:half], body[half:], left=cell == "left")
    length = str(len(body)).encode()
    own = [(b"content-type", b"application/json"), (b"content-length", length), *headers]
    return Request(path, messages, "POST", headers=own)


def parts_of(first: bytes, second: bytes, *, left: bool) -> list[Any]:
    part = {"type": "http.request", "body": first, "more_body": True}
    last = {"type": "http.request", "body": second, "more_body": False}
    return [part, {"type": "http.disconnect"} if left else last]
