"""What an upload of a gigabyte costs: memory held beneath each contender, and time taken from the server.

The server's time is that of uvicorn over loopback, bare: CPU time of its process from the first chunk to the last, the
best of several uploads. From one upload to the next that varies by more than a contender adds, so what each adds to
as many chunks is measured without a server, in turns, the median of the rounds, and set against the server's time:
"share" is the part of its throughput that is lost. The memory is the most that tracemalloc has seen at once, more than
beneath the bare app, whichever `max_request_body_size` is set.
"""

from __future__ import annotations

import asyncio
import socket
import time
import tracemalloc
from statistics import median

from benchmarks import fresh
from benchmarks.contenders import BARE, CONTENDERS, start_sentry
from benchmarks.figures import Column, Effort, Result
from benchmarks.workloads import App, Message, Receive, Scope, Send, Setting, http_scope

COLUMNS = (
    Column("held", "most bytes held", ".0f"),
    Column("added", "added ms", ".1f"),
    Column("share", "share of the server's time", ".4f"),
)
CHUNK = b"\x00" * 65_536
SIZES = ("never", "small", "medium", "always")
UPLOADS = 5
ROUNDS = 9


def measure(title: str, effort: Effort) -> Result:
    """Bytes held, milliseconds added, and these as a share of what the bare server takes."""
    seconds, chunks = served(effort.upload)
    rows: dict[str, dict[str, float]] = {}
    for size in SIZES:
        for name, row in fresh.call(weigh, size, chunks).items():
            row["share"] = row["added"] / 1e3 / seconds
            worst = rows.setdefault(name, row)
            rows[name] = {key: max(value, worst[key]) for key, value in row.items()}
    note = (
        f"{effort.upload:,} bytes, {chunks:,} chunks, {seconds:.2f} s of the bare server's CPU time; "
        f"the worst of max_request_body_size = {', '.join(SIZES)}."
    )
    return Result(title, COLUMNS, rows, (note,))


# A real server, bare.


async def counting_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body and drop it; answer with the CPU time that passed meanwhile, and the number of chunks."""
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


def serve(descriptor: int) -> None:
    """Serve the app until somebody ends the process."""
    import uvicorn

    uvicorn.run(counting_app, fd=descriptor, log_level="warning", lifespan="off")


def served(size: int) -> tuple[float, int]:
    """Seconds of CPU time and chunks of the best of several uploads to a bare server."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port, descriptor = listening.getsockname()[1], listening.fileno()
        with fresh.start(serve, (descriptor,), descriptor) as server:
            try:
                return min(upload(port, size) for _ in range(UPLOADS))
            finally:
                server.terminate()


def upload(port: int, size: int) -> tuple[float, int]:
    """One upload: what the app answers."""
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


# The contenders, without a server.


def weigh(body_size: str, chunks: int) -> dict[str, dict[str, float]]:
    """Bytes and milliseconds that each contender adds to that many chunks. For a fresh interpreter."""
    setting = Setting(options={"max_request_body_size": body_size})
    start_sentry(setting)
    apps = {name: contender.wrap(counting_app, setting) for name, contender in CONTENDERS.items()}
    times: dict[str, list[float]] = {name: [] for name in apps}
    for _ in range(ROUNDS):
        for name, app in apps.items():
            times[name].append(passed(app, chunks))
    peaks = {name: held(app, chunks) for name, app in apps.items()}
    return {
        name: {
            "held": max(0, peaks[name] - peaks[BARE]),
            "added": 1e3
            * median(mine - bare for mine, bare in zip(took, times[BARE], strict=True)),
        }
        for name, took in times.items()
    }


def passed(app: App, chunks: int) -> float:
    """Seconds that an app takes for that many chunks when nothing else is to be done."""
    left = chunks
    message = {"type": "http.request", "body": CHUNK, "more_body": True}
    last = {**message, "more_body": False}

    async def receive() -> Message:
        nonlocal left
        left -= 1
        return message if left else last

    async def send(message: Message) -> None:
        pass

    scope = {**http_scope(Setting()), "method": "POST"}
    started = time.process_time()
    asyncio.run(_called(app, scope, receive, send))
    return time.process_time() - started


async def _called(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)


def held(app: App, chunks: int) -> int:
    """The most memory that was held at once while a body passed."""
    passed(app, chunks)
    tracemalloc.start()
    try:
        passed(app, chunks)
        peak: int = tracemalloc.get_traced_memory()[1]
        return peak
    finally:
        tracemalloc.stop()
