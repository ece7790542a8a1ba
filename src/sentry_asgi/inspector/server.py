"""ASGI apps under uvicorn on free loopback ports: in a thread here, or in a process of their own.

    python -m sentry_asgi.inspector.server module:app

serves an app, prints its address as the only line of its standard output, and serves until its
standard input ends. So whoever started it ends it by closing a pipe, and should the starter die,
the server ends too.
"""

from __future__ import annotations

import importlib
import logging
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn

from .local import url_of

HOST = "127.0.0.1"
MAX_PORT = 65535


class ServerError(Exception):
    """A server could not start."""


class _Uvicorn(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ending: Callable[[], None]) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self.ending = ending

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Open pages listen for as long as they are open: told to end, they don't hold this up.
        self.ending()
        await super().shutdown(sockets)

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            # Some releases leave this way if the app's start-up fails; `started` tells.
            with suppress(SystemExit):
                super().run(sockets)
        finally:
            self.ready.set()


@contextmanager
def serve_in_thread(
    app: Any,
    *,
    host: str = HOST,
    port: int = 0,
    seconds: float = 10,
    ending: Callable[[], None] = lambda: None,
) -> Iterator[str]:
    """Serve an ASGI app while the block runs; the value is its URL, without a final slash.

    `port` 0 takes a free one. Starting, and ending at the block's end, take at most `seconds` each;
    `ending` is called before connections are waited for.
    Raises ServerError if the app's start-up fails, OSError if the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=1024)
    config = uvicorn.Config(
        app,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=max(1, int(seconds)),
    )
    server = _Uvicorn(config, ending)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        server.ready.wait(seconds)
        if not server.started or server.should_exit:
            raise ServerError("The app did not start.")
        yield url_of(host, listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(seconds)
        listener.close()


@contextmanager
def serve_in_process(target: str, env: dict[str, str], *, seconds: float = 10) -> Iterator[str]:
    """Serve the ASGI app `module:attribute` in another process while the block runs.

    `env` is its whole environment. The value is its URL, without a final slash.
    Ending takes at most `seconds`. Raises ServerError if it does not start.
    """
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", __name__, target],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=env,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            if not url:
                raise ServerError(f"{target} did not start.")
            yield url
        finally:
            process.stdin.close()
            _end(process, seconds)


def _end(process: subprocess.Popen[str], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()


def main(target: str) -> None:
    """Serve `module:attribute` until standard input ends."""
    # Ctrl-C goes to the starter too, which then closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    module, _, attribute = target.partition(":")
    app = getattr(importlib.import_module(module), attribute)
    with serve_in_thread(app) as url:
        # From now on it is the app's failures that would be printed, and Sentry has those.
        for handler in logging.getLogger("uvicorn").handlers:
            handler.setLevel(logging.CRITICAL)
        print(url, flush=True)  # noqa: T201
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
