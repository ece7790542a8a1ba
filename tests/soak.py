"""A long run of everything at once: fine and failing requests, streams, websockets, clients that leave.

    python -m tests.soak --requests 200000

A server (uvicorn, Starlette, the middleware) in a process of its own, a Sentry that takes whatever comes in another, and
clients in this one. After the warm-up, and again and again, the load pauses and the server counts what it holds. More
at the end than after the warm-up, beyond what is said below, is exit status 1; so is a blocked loop or a stuck request
that is reported, for there is none, however busy the machine is (`--busy 16`: so many processes that only compute).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import signal
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

OBJECTS: Final = 200
"""Objects more than after the warm-up, whatever the number of requests: what is cached meanwhile."""

MEGABYTES: Final = 8.0
"""Resident memory more than after the warm-up: what the allocator does not give back. A byte each would show elsewhere."""

BLOCKED_AFTER: Final = 1.0
"""Seconds, for the watch: nothing here blocks the loop for so long, so each such event is a false one."""

CLIENTS: Final = 16
ROUNDS: Final = 20
"""Pauses in which is counted; the first quarter is warm-up."""

# What is asked for, and how often in a hundred.
MIX: Final = {
    "fine": 50,
    "upload": 10,
    "stream": 10,
    "websocket": 8,
    "fails": 5,
    "swallows": 2,
    "fails in the stream": 1,
    "websocket fails": 2,
    "leaves the upload": 4,
    "leaves the stream": 4,
    "works on": 4,
}


# The server.


def make_app() -> Any:
    import sentry_sdk
    from starlette.applications import Starlette
    from starlette.background import BackgroundTask
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response, StreamingResponse
    from starlette.routing import Route, WebSocketRoute
    from starlette.websockets import WebSocket, WebSocketDisconnect

    from sentry_asgi import SentryMiddleware, Watch

    async def fine(request: Request) -> Response:
        if random.random() < 0.1:
            sentry_sdk.set_tag("number", request.url.query)
            sentry_sdk.add_breadcrumb(message="here")
        return Response("ok")

    async def upload(request: Request) -> Response:
        return Response(str(len(await request.body())))

    async def fails(request: Request) -> Response:
        local = {"query": request.url.query}
        raise ValueError(f"nope {len(local)}")

    async def swallows(request: Request) -> Response:
        try:
            return await fails(request)
        except ValueError:
            return Response("sorry", 500)

    async def chunks(fail: bool) -> Any:
        for number in range(20):
            yield b"x" * 100
            await asyncio.sleep(0)
            if fail and number == 10:
                raise ValueError("in the stream")

    async def stream(request: Request) -> Response:
        return StreamingResponse(chunks("fail" in request.query_params))

    async def later() -> None:
        await asyncio.sleep(0.001)

    async def works_on(request: Request) -> Response:
        return Response("ok", background=BackgroundTask(later))

    async def websocket(socket: WebSocket) -> None:
        await socket.accept()
        try:
            while True:
                await socket.send_text(await socket.receive_text())
                if "fail" in socket.query_params:
                    raise ValueError("on the socket")
        except WebSocketDisconnect:
            pass

    alarms: Counter[str] = Counter()

    def count(event: Any, hint: Any) -> Any:
        kind = event.get("exception", {}).get("values", [{}])[-1].get("type")
        if kind in {"EventLoopBlocked", "RequestStuck"}:
            alarms[kind] += 1
            print(f"false: {json.dumps(event['exception'])} {event['contexts']}", file=sys.stderr)
        return event

    async def held(request: Request) -> Response:
        await asyncio.to_thread(sentry_sdk.flush, 10)
        for _ in range(3):
            gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return JSONResponse(
            {
                "objects": len(gc.get_objects()),
                "megabytes": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
                "tasks": len(asyncio.all_tasks()),
                "threads": threading.active_count(),
                "alarms": alarms.total(),
            }
        )

    paths: dict[str, Any] = {
        "/fine": fine,
        "/upload": upload,
        "/fails": fails,
        "/swallows": swallows,
        "/stream": stream,
        "/works-on": works_on,
        "/held": held,
    }
    routes: list[Any] = [Route(path, one, methods=["GET", "POST"]) for path, one in paths.items()]
    sentry_sdk.init(release="soak@1", traces_sample_rate=0.1, before_send=count)
    app = Starlette(routes=[*routes, WebSocketRoute("/ws", websocket)])
    return SentryMiddleware(app, watch=Watch(blocked_after=BLOCKED_AFTER))


def serve(port: int) -> None:
    import uvicorn

    uvicorn.run(make_app(), port=port, log_level="critical", access_log=False)


async def sink(port: int) -> None:
    """A Sentry that takes whatever comes."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    int(line.partition(b":")[2])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length")
                )
                await reader.readexactly(length)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", port)
    await server.serve_forever()


# The clients.


class Client:
    """One of the clients: a connection that is kept alive, and others as it needs them."""

    def __init__(self, port: int, seed: int) -> None:
        self._port = port
        self._random = random.Random(seed)
        self._connection: Any = None
        self.done: Counter[str] = Counter()

    async def work(self, count: int) -> None:
        kinds = self._random.choices(list(MIX), list(MIX.values()), k=count)
        for kind in kinds:
            try:
                await asyncio.wait_for(self._one(kind), 60)
                self.done[kind] += 1
            except (
                asyncio.IncompleteReadError,
                OSError,
            ):  # the server was first to close, as after a failure
                self.done["closed by the server"] += 1
                await self.close()

    async def _one(self, kind: str) -> None:
        if kind.startswith("websocket"):
            await self._websocket(fail="fails" in kind)
        elif kind == "leaves the upload":
            await self._leave(b"POST /upload HTTP/1.1\r\nHost: t\r\nContent-Length: 99\r\n\r\npart")
        elif kind == "leaves the stream":
            await self._leave(b"GET /stream HTTP/1.1\r\nHost: t\r\n\r\n")
        elif kind == "fails in the stream":
            await self._leave(b"GET /stream?fail HTTP/1.1\r\nHost: t\r\n\r\n", wait=True)
        elif kind == "upload":
            body = b"x" * 2000
            head = b"POST /upload HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % len(body)
            await self.ask(head + body)
        else:
            path = kind.replace(" ", "-").encode()
            number = self._random.randrange(10**9)
            await self.ask(b"GET /%s?n=%d HTTP/1.1\r\nHost: t\r\n\r\n" % (path, number))

    async def _open(self) -> Any:
        return await asyncio.open_connection("127.0.0.1", self._port)

    async def ask(self, request: bytes) -> bytes:
        """One request on the connection that is kept; its response's body."""
        if self._connection is None:
            self._connection = await self._open()
        reader, writer = self._connection
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        body: bytes = b""
        if b"transfer-encoding: chunked" in head:
            while chunk := int((await reader.readline()) or b"0", 16):
                body += (await reader.readexactly(chunk + 2))[:-2]
            await reader.readexactly(2)
        else:
            length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
            body = await reader.readexactly(int(length))
        if b"connection: close" in head:
            await self.close()
        return body

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection[1].close()

    async def _leave(self, request: bytes, *, wait: bool = False) -> None:
        reader, writer = await self._open()
        writer.write(request)
        await writer.drain()
        if wait:
            await reader.read()
        else:
            await asyncio.sleep(self._random.choice([0, 0.001]))
        writer.close()

    async def _websocket(self, *, fail: bool) -> None:
        reader, writer = await self._open()
        writer.write(
            b"GET /ws%s HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            % (b"?fail" if fail else b"")
        )
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(1 if fail else 3):
            writer.write(frame(0x1, b"hello"))
            await reader.readexactly(7)  # the same, unmasked
        if fail or self._random.random() < 0.7:  # the others just leave
            writer.write(frame(0x8, struct.pack("!H", 1000)))
            await reader.read()
        writer.close()


def frame(opcode: int, data: bytes) -> bytes:
    """A masked frame (RFC 6455, 5.2), with a mask of zeros."""
    return bytes([0x80 | opcode, 0x80 | len(data), 0, 0, 0, 0]) + data


# The run.


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


async def ready(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            client = Client(port, 0)
            await client.ask(b"GET /fine HTTP/1.1\r\nHost: t\r\n\r\n")
            return await client.close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


async def load(
    port: int, requests: int, rounds: int, say: Callable[[str], None]
) -> list[dict[str, float]]:
    """So many requests, in rounds; what the server holds after each."""
    clients = [Client(port, seed) for seed in range(CLIENTS)]
    samples: list[dict[str, float]] = []
    began, done = time.monotonic(), 0
    for number in range(1, rounds + 1):
        share = requests * number // rounds - requests * (number - 1) // rounds
        each = [share // CLIENTS + (one < share % CLIENTS) for one in range(CLIENTS)]
        await asyncio.gather(
            *(client.work(count) for client, count in zip(clients, each, strict=True))
        )
        done += share
        for client in clients:
            await client.close()
        await asyncio.sleep(0.2)  # connections end, background work too
        asking = Client(port, 0)
        samples.append(json.loads(await asking.ask(b"GET /held HTTP/1.1\r\nHost: t\r\n\r\n")))
        await asking.close()
        held = ", ".join(f"{name} {value:,.0f}" for name, value in samples[-1].items())
        say(f"{done:>9,} requests, {done / (time.monotonic() - began):,.0f}/s: {held}")
    total = sum((client.done for client in clients), Counter[str]())
    say(", ".join(f"{name}: {count:,}" for name, count in total.items()))
    return samples


def judge(samples: list[dict[str, float]]) -> list[str]:
    """What grew from after the warm-up to the end; each by the middle of some samples."""
    warm = len(samples) // 4
    bounds = {"objects": OBJECTS, "megabytes": MEGABYTES, "tasks": 0, "threads": 0}
    wrong = []
    for name, bound in bounds.items():
        values = [sample[name] for sample in samples]
        before = statistics.median(values[warm : warm + 3])
        after = statistics.median(values[-3:])
        if after - before > bound:
            wrong.append(f"{name}: {before:,.0f} after the warm-up, {after:,.0f} at the end")
    if samples[-1]["alarms"]:
        wrong.append(f"alarms: {samples[-1]['alarms']:.0f}, though nothing blocks the loop")
    return wrong


def run(requests: int, rounds: int, say: Callable[[str], None], busy: int = 0) -> list[str]:
    """The whole; what fell short."""
    sentry, app = free_port(), free_port()
    command = [sys.executable, "-m", "tests.soak", "--serve"]
    environment = {**os.environ, "SENTRY_DSN": f"http://key@127.0.0.1:{sentry}/1"}
    processes = [
        subprocess.Popen([*command, role, "--port", str(port)], env=environment)
        for role, port in (("sentry", sentry), ("app", app))
    ]
    computing = [sys.executable, "-c", "while True: pass"]
    processes += [subprocess.Popen(computing) for _ in range(busy)]
    try:

        async def main() -> list[dict[str, float]]:
            await ready(app)
            return await load(app, requests, rounds, say)

        wrong = judge(asyncio.run(main()))
        processes[1].send_signal(signal.SIGTERM)
        if processes[1].wait(30) not in (0, -signal.SIGTERM):
            wrong.append(f"the server ended with {processes[1].returncode}")
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument(
        "--busy", type=int, default=0, help="processes that only compute, beside it"
    )
    parser.add_argument("--serve", choices=["app", "sentry"], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve == "app":
        serve(asked.port)
        return 0
    if asked.serve == "sentry":
        asyncio.run(sink(asked.port))
        return 0
    wrong = run(asked.requests, ROUNDS, lambda line: print(line, flush=True), asked.busy)
    print("\n".join(wrong) or "nothing grew")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
