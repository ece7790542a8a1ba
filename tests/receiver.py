"""A Sentry over loopback: takes envelopes as the real one does, and answers as it is told, or not at all."""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from sentry_sdk.envelope import Envelope

Answer = Callable[[BaseHTTPRequestHandler], None]


def answer(status: int = 200, body: bytes = b"{}", **headers: str) -> Answer:
    """An answer of this status; header names with `_` for `-`."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return send


def garbage(handler: BaseHTTPRequestHandler) -> None:
    """What is no HTTP."""
    handler.wfile.write(b"\x00\xff\r\n<html>not HTTP</html>" * 20)
    handler.close_connection = True


class Receiver:
    """What has come, as JSON by type of item; `wait_until` for what is on its way."""

    def __init__(self) -> None:
        self.answer: Answer = answer()
        self.requests = 0
        self.connections: set[Any] = set()
        self._items: list[tuple[str, Any]] = []
        self._released = threading.Event()
        self.dsn = ""

    def slow(self, seconds: float) -> Answer:
        """An answer after so many seconds, or as soon as the receiver ends."""

        def send(handler: BaseHTTPRequestHandler) -> None:
            self._released.wait(seconds)
            answer()(handler)

        return send

    def items(self, kind: str) -> list[Any]:
        return [payload for name, payload in tuple(self._items) if name == kind]

    @property
    def events(self) -> list[dict[str, Any]]:
        return self.items("event")

    @property
    def discarded(self) -> dict[str, int]:
        """Of the client reports: how many of anything was discarded, by reason."""
        total: dict[str, int] = {}
        for report in self.items("client_report"):
            for entry in report["discarded_events"]:
                total[entry["reason"]] = total.get(entry["reason"], 0) + entry["quantity"]
        return total

    def wait_until(self, reached: Callable[[Receiver], bool], seconds: float = 10) -> bool:
        deadline = time.monotonic() + seconds
        while not reached(self) and time.monotonic() < deadline:
            time.sleep(0.01)
        return reached(self)

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        encoding = handler.headers.get("Content-Encoding")
        if encoding == "gzip":
            body = gzip.decompress(body)
        elif encoding == "br":
            import brotli

            body = brotli.decompress(body)
        for item in Envelope.deserialize(body).items:
            self._items.append((str(item.type), json.loads(item.payload.get_bytes())))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has ended in between."""


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a free port, while it lasts; its `dsn` leads to it."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            receiver.requests += 1
            receiver.connections.add(self.client_address)
            receiver.take(self)
            receiver.answer(self)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with _Server(("127.0.0.1", 0), Handler) as server:
        server.block_on_close = False
        receiver.dsn = f"http://key@127.0.0.1:{server.server_address[1]}/1"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield receiver
        finally:
            receiver._released.set()
            server.shutdown()
            thread.join(10)
