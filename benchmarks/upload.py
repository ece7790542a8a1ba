"""What an upload of a gigabyte costs beneath the middleware: memory held, and throughput.

The throughput is uvicorn's, over loopback: CPU time of the server's process from the first chunk to the last, which is
what bounds it, and which other processes don't change. The memory is that of the middleware alone, without a server.
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
    """Reads the body and drops it; answers with the CPU time that passed meanwhile."""
    message = await receive()
    started = time.process_time()
    while message.get("more_body"):
        message = await receive()
    took = f"{time.process_time() - started:.6f}".encode()
    headers = [(b"content-length", str(len(took)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": took})


def start(body_size: str) -> SentryMiddleware:
    sentry_sdk.init(
        dsn="https://public@sentry.invalid/1",
        transport=Nowhere,
        auto_enabling_integrations=False,
        max_request_body_size=body_size,
    )
    return SentryMiddleware(app)


async def either(scope: Any, receive: Any, send: Any) -> None:
    """In one server: what is asked for below `/bare` is served without the middleware."""
    serve = app if scope["path"] == "/bare" else WRAPPED
    await serve(scope, receive, send)


WRAPPED: Any = app


def serve(descriptor: int, body_size: str) -> None:
    import uvicorn

    global WRAPPED  # noqa: PLW0603
    WRAPPED = start(body_size)
    uvicorn.run(either, fd=descriptor, log_level="warning", lifespan="off")


def upload(port: int, path: str, size: int) -> float:
    """Seconds of CPU time that the server took for a body of that size."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n"
        connection.sendall(head.encode())
        for _ in range(size // len(CHUNK)):
            connection.sendall(CHUNK)
        connection.sendall(CHUNK[: size % len(CHUNK)])
        answer = connection.recv(4_096)
        while not answer.partition(b"\r\n\r\n")[2]:
            answer += connection.recv(4_096)
    return float(answer.partition(b"\r\n\r\n")[2])


def added_time(body_size: str, size: int) -> float:
    """Which part of the bare server's time is added: by the best of several rounds."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port, descriptor = listening.getsockname()[1], listening.fileno()
        command = [sys.executable, "-m", __spec__.name, "--serve", str(descriptor), body_size]
        with subprocess.Popen(command, pass_fds=[descriptor]) as server:
            try:
                upload(port, "/bare", size // 10)
                pairs = [
                    (upload(port, "/bare", size), upload(port, "/", size)) for _ in range(ROUNDS)
                ]
            finally:
                server.terminate()
    bare: float = min(bare for bare, _ in pairs)
    ours: float = min(ours for _, ours in pairs)
    return ours / bare - 1


def held(serve: Callable[..., Any], size: int) -> int:
    """The most memory that was held at once while a body passed."""

    async def main() -> None:
        left = size

        async def receive() -> Any:
            nonlocal left
            left -= len(CHUNK)
            return {"type": "http.request", "body": CHUNK, "more_body": left > 0}

        async def send(message: Any) -> None:
            pass

        scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
        await serve(scope, receive, send)

    asyncio.run(main())
    tracemalloc.start()
    try:
        asyncio.run(main())
        peak: int = tracemalloc.get_traced_memory()[1]
        return peak
    finally:
        tracemalloc.stop()


def main(size: int) -> None:
    for body_size in SIZES:
        memory = held(start(body_size), size) - held(app, size)
        added = added_time(body_size, size)
        print(
            f"max_request_body_size={body_size!r}: {memory / 1000:.1f} kB held, {added:+.2%} time"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(int(sys.argv[2]), sys.argv[3])
    else:
        main(int(float(sys.argv[1])) if len(sys.argv) > 1 else 1_000_000_000)
