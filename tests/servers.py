"""Real servers for tests: uvicorn in a thread, on a free port of the loopback interface."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import uvicorn


@contextlib.contextmanager
def uvicorn_serving(app: Any, **options: Any) -> Iterator[int]:
    """Serves an app while it lasts; gives the port. Ends as uvicorn ends on a signal."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="critical", **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started:
            assert thread.is_alive(), "uvicorn did not start"
            assert time.monotonic() < deadline, "uvicorn did not start in time"
            time.sleep(0.005)
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()
        assert not thread.is_alive(), "uvicorn did not stop"


def exchange(port: int, sent: bytes, responses: int, timeout: float = 20) -> bytes:
    """Sends bytes on one connection; returns what came back when so many responses have ended."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        sender = threading.Thread(target=connection.sendall, args=(sent,))
        sender.start()
        received = b""
        while received.count(b"HTTP/1.1 ") < responses or not received.endswith(b"ok"):
            chunk = connection.recv(65536)
            if not chunk:
                break
            received += chunk
        sender.join()
        return received
