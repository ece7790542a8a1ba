"""Real servers, each in a process of its own, over loopback; what is reported arrives over HTTP in the inspector.

    python -m tests.frameworks.servers            all
    python -m tests.frameworks.servers hypercorn  one

Of each: an error, one that the app has a handler of its own for, an error mid-stream, a client that leaves while its
body is read, a websocket error, a SIGTERM right after an error, and a start-up that fails. Each is one event with its
request (none where the client left), on every server.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sentry_asgi.inspector.app import create_app
from sentry_asgi.inspector.server import serve_in_thread
from sentry_asgi.inspector.store import Store

APP = "tests.frameworks.served:app"

SERVERS: dict[str, list[str]] = {
    f"uvicorn-{http}-{loop}": [
        *["uvicorn", APP, "--port", "{port}", "--http", http, "--loop", loop],
        *["--log-level", "critical"],
    ]
    for http in ("h11", "httptools")
    for loop in ("asyncio", "uvloop")
} | {
    "hypercorn": ["hypercorn", APP, "--bind", "127.0.0.1:{port}"],
    "granian": ["granian", "--interface", "asgi", "--port", "{port}", APP],
    "daphne": ["daphne", "--port", "{port}", APP],
}

# Daphne never opens a lifespan: nothing starts up that could fail.
WITHOUT = {("daphne", "startup")}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def serving(command: list[str], port: int, **environment: str) -> Iterator[Any]:
    filled = [part.format(port=port) for part in command]
    process = subprocess.Popen(
        [sys.executable, "-m", *filled],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def request(port: int, path: str, *, leave: bool = False) -> None:
    method, length = ("POST", 100) if leave else ("GET", 0)
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(head.encode() + (b"part" if leave else b""))
        if leave:
            time.sleep(0.2)
            return
        with contextlib.suppress(OSError):
            while connection.recv(65536):
                pass


def websocket(port: int, path: str) -> None:
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    gone = contextlib.suppress(WebSocketException, OSError, TimeoutError)
    with gone, connect(f"ws://127.0.0.1:{port}{path}", open_timeout=5) as connection:
        connection.recv(timeout=2)


class Received:
    """What the inspector has been sent."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._before = 0

    def new(self, least: int) -> list[dict[str, Any]]:
        """The events since the last time: waits for `least`, and a little for more than there should be."""
        deadline = time.monotonic() + 8
        while time.monotonic() < deadline and len(self._listed()) - self._before < least:
            time.sleep(0.05)
        time.sleep(0.4)
        listed = self._listed()
        fresh = sorted(listed, key=lambda one: one.number)[self._before :]
        self._before = len(listed)
        events = [self._store.event(one.event_id) for one in fresh]
        return [json.loads(event.payload) for event in events if event is not None]

    def _listed(self) -> list[Any]:
        return self._store.errors(limit=1000)


def told(event: dict[str, Any]) -> str:
    values = (event.get("exception") or {}).get("values") or [{}]
    said = [str(value.get("value")) for value in values]
    return " ".join([*said, str(event.get("logentry") or "")]).strip()


def is_of(event: dict[str, Any], cell: str) -> bool:
    """Whether it tells what failed, and in which request; what fails at start-up is no request's."""
    url = (event.get("request") or {}).get("url") or ""
    return cell in told(event) and url.endswith("" if cell == "startup" else f"/{cell}")


def run(name: str, command: list[str], dsn: str, received: Received) -> list[str]:
    wrong: list[str] = []

    def expect(cell: str, count: int = 1) -> None:
        events = received.new(count)
        if len(events) != count or not all(is_of(event, cell) for event in events):
            wrong.append(f"{name}, {cell}: {[told(event) for event in events]}")

    port = free_port()
    with serving(command, port, SENTRY_DSN=dsn) as process:
        request(port, "/raise")
        expect("raise")
        request(port, "/handled")
        expect("handled")
        request(port, "/stream")
        expect("stream")
        request(port, "/left", leave=True)
        expect("left", 0)
        websocket(port, "/websocket")
        expect("websocket")
        request(port, "/sync")
        process.send_signal(signal.SIGTERM)
        process.wait(15)
        expect("sync")
    if (name, "startup") not in WITHOUT:
        with serving(command, free_port(), SENTRY_DSN=dsn, STARTUP_FAILS="1") as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            expect("startup")
    return wrong


def main(names: list[str]) -> int:
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        store = Store(Path(directory) / "events.sqlite3")
        with serve_in_thread(create_app(store)) as url:
            received = Received(store)
            for name in names or SERVERS:
                found = run(name, SERVERS[name], f"{url.replace('://', '://key@')}/1", received)
                print(name, "falls short" if found else "is well", flush=True)
                wrong += found
        store.close()
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
