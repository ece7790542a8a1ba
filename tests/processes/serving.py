"""A server in a process of its own, and requests to it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

APP = "tests.processes.app:app"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def get(port: int, path: str) -> bytes:
    """The response to one request on a connection of its own; empty if there was none."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
    received = b""
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=5) as connection,
    ):
        connection.sendall(request)
        while chunk := connection.recv(65536):
            received += chunk
    return received


def failed(port: int, count: int, at_once: int = 4) -> int:
    """Sends so many requests that fail, some at once; how many were answered by a failure."""
    with ThreadPoolExecutor(at_once) as pool:
        answers = pool.map(lambda number: get(port, f"/fail?n={number}"), range(count))
        return sum(b" 500 " in answer[:20] for answer in answers)


def told(events: list[dict[str, Any]]) -> dict[int, int]:
    """The failures that events tell of, and how many events each has."""
    values = [event["exception"]["values"][-1]["value"] for event in events if "exception" in event]
    return Counter(int(value.split()[0]) for value in values)


def wait_until_ready(port: int, process: subprocess.Popen[bytes], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while b" 200 " not in get(port, "/ready")[:20]:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} does not serve")
        time.sleep(0.02)


@contextlib.contextmanager
def serving(
    command: list[str], port: int, directory: str | None = None, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs `python -m` this command, with `{port}` filled in, until it serves; ended afterwards, whatever happens."""
    filled = [part.format(port=port) for part in command]
    path = os.pathsep.join(one for one in (directory, str(Path.cwd())) if one)
    process = subprocess.Popen(
        [sys.executable, "-m", *filled],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore", **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until_ready(port, process)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def stopped(process: subprocess.Popen[bytes], seconds: float = 20) -> float:
    """Sends SIGTERM to the server's first process, as a deploy does; how long it took to end."""
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.wait(seconds)
    return time.monotonic() - began
