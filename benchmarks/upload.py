"""What an upload of a gigabyte costs beneath the middleware: memory held, and throughput.

The throughput is that of uvicorn over loopback: CPU time of the server's process from the first chunk to the last.
From one upload to the next that varies by more than the middleware adds, so what it adds to a chunk is measured
without a server, and set against the bare server's best time for as many chunks. The memory is the middleware's.
Run with `python -m benchmarks.upload [bytes]`.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk.transport import Transport

from sentry_asgi import SentryMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK = b"\x00" * 65_536
SIZES = ("never", "small", "medium", "always")
ROUNDS = 7


class Nowhere(Transport):
    def capture_envelope(self, envelope: Any) -> None:
        pass


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Reads the body and drops it; answers with the CPU time that passed meanwhile, and the number of chunks."""
    message = await receive()
    started = time.process_time()
    chunks = 1
    while message.get("more_body"):
        message = await receive()
        chunks += 1
    answer = f"{time.process_time() - started} {chunks}".encode()
    headers = [(b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def start(body_size: str) -> SentryMiddleware:
    sentry_sdk.init(
        dsn="https://public@sentry.invalid/1",
        transport=Nowhere,
        auto_enabling_integrations=False,
        max_request_body_size=body_size,
    )
    return SentryMiddleware(app)


def serve(descriptor: int) -> None:
    import uvicorn

    uvicorn.run(app, fd=descriptor, log_level="warning", lifespan="off")


def upload(port: int, size: int) -> tuple[float, int]:
    """Seconds of CPU time that the bare server took for a body of that size, and in how many chunks."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n"
        connection.sendall(head.encode())
        for _ in range(size // len(CHUNK)):
            connection.sendall(CHUNK)
        connection.sendall(CHUNK[: size % len(CHUNK)])
        answer = b""
        while not answer.partition(b"\r\n\r\n")[2]:
            answer += connection.recv(4_096)
    seconds, chunks = answer.partition(b"\r\n\r\n")[2].split()
    return float(seconds), int(chunks)


def served(size: int) -> tuple[float, int]:
    """The best of several uploads to a bare server."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port, descriptor = listening.getsockname()[1], listening.fileno()
        command = [sys.executable, "-m", __spec__.name, "--serve", str(descriptor)]
        with subprocess.Popen(command, pass_fds=[descriptor]) as server:
            try:
                return min(upload(port, size) for _ in range(ROUNDS))
            finally:
                server.terminate()


def passed(serve: Callable[..., Any], chunks: int) -> float:
    """Seconds that an app takes for that many chunks when nothing else is to be done."""
    left = chunks
    message = {"type": "http.request", "body": CHUNK, "more_body": True}
    last = {**message, "more_body": False}

    async def receive() -> Any:
        nonlocal left
        left -= 1
        return message if left else last

    async def send(message: Any) -> None:
        pass

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
    started = time.process_time()
    asyncio.run(serve(scope, receive, send))
    return time.process_time() - started


def held(serve: Callable[..., Any], chunks: int) -> int:
    """The most memory that was held at once while a body passed."""
    passed(serve, chunks)
    tracemalloc.start()
    try:
        passed(serve, chunks)
        peak: int = tracemalloc.get_traced_memory()[1]
        return peak
    finally:
        tracemalloc.stop()


def main(size: int) -> None:
    seconds, chunks = served(size)
    print(f"bare: {seconds:.2f} s of CPU time for {size:,} bytes in {chunks} chunks")
    for body_size in SIZES:
        wrapped = start(body_size)
        memory = held(wrapped, chunks) - held(app, chunks)
        bare, ours = (min(passed(one, chunks) for _ in range(ROUNDS)) for one in (app, wrapped))
        added = (ours - bare) / seconds
        print(
            f"max_request_body_size={body_size!r}: {memory / 1000:.1f} kB held, {added:+.2%} time"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(int(sys.argv[2]))
    else:
        main(int(float(sys.argv[1])) if len(sys.argv) > 1 else 1_000_000_000)
