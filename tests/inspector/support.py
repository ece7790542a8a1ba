"""What the inspector's tests share: envelopes as bytes, and a client of a running inspector."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

from sentry_asgi.inspector.envelope import parse
from sentry_asgi.inspector.records import Records, records
from sentry_asgi.inspector.store import Listed, Store

T = TypeVar("T")

ID = "0123456789abcdef0123456789abcdef"


def envelope(*items: tuple[str, Any], **headers: Any) -> bytes:
    """An envelope of (type, payload) items; payloads are bytes, or made JSON."""
    lines = [json.dumps(headers).encode()]
    for kind, value in items:
        payload = value if isinstance(value, bytes) else json.dumps(value).encode()
        lines += [json.dumps({"type": kind, "length": len(payload)}).encode(), payload]
    return b"\n".join(lines) + b"\n"


def error(kind: str = "ValueError", value: str = "no", **more: Any) -> dict[str, Any]:
    return {"exception": {"values": [{"type": kind, "value": value}]}, "level": "error", **more}


def kept(*items: tuple[str, Any], **headers: Any) -> Records:
    """What is kept of such an envelope."""
    return records(parse(envelope(*items, **headers), max_items=100))


class Inspector(httpx.Client):
    """A client of a running inspector, whose store is at hand."""

    def __init__(self, url: str, store: Store) -> None:
        super().__init__(base_url=url, trust_env=False)
        self.url = url
        self.store = store

    @property
    def dsn(self) -> str:
        return self.url.replace("://", "://key@") + "/1"

    def report(self, body: bytes, path: str = "/api/1/envelope/", **headers: str) -> httpx.Response:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.post(path, content=body, headers=names)

    def errors(self) -> list[Listed]:
        return self.store.errors(limit=100)

    def wait_for(self, count: int) -> list[Listed]:
        """The errors, once there are so many; SDKs report from a thread."""
        return wait_for(self.errors, lambda errors: len(errors) >= count)


def wait_for(read: Callable[[], T], enough: Callable[[T], bool], seconds: float = 20) -> T:
    deadline = time.monotonic() + seconds
    while not enough(value := read()):
        assert time.monotonic() < deadline, f"still {value!r} after {seconds} s"
        time.sleep(0.01)
    return value
