"""`sentry-asgi run`: any command, with an inspector beside it.

The rules:

- The command's environment says where its SDK reports, under the service's name; what stands there stays.
- What it prints is printed, and kept as logs: each line as it comes, without colours.
- It gets the signals that this command gets, and its exit status is this one's.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from .plan import reporting, service_of
from .telling import Teller

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_MOST = 10_000
_LINE = 64 * 1024
NOT_FOUND = 127


def serve(command: Sequence[str], url: str, service: str) -> int:
    """Run a command that reports to the inspector at `url`; returns its exit status.

    Raises FileNotFoundError or PermissionError where there is no such command.
    """
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **reporting(url, service)}
    with subprocess.Popen(  # noqa: S603  # it is what was asked for
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        teller = Teller(url)
        readers = [
            _reader(process.stdout, sys.stdout.buffer, "stdout", teller, service),
            _reader(process.stderr, sys.stderr.buffer, "stderr", teller, service),
        ]
        status = _ended(process)
        for reader in readers:
            reader.join(2)  # a child of its may hold the pipe for longer
        teller.flush(2)
    # As a shell says it of one that a signal has ended.
    return status if status >= 0 else 128 - status


def service_named(command: Sequence[str]) -> str:
    """What to call what a command starts: the app that it names, or this folder."""
    for word in command[1:]:
        if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*(\(\))?", word):
            return service_of(word, Path.cwd())
    return service_of("app:", Path.cwd())


def _ended(process: subprocess.Popen[bytes]) -> int:
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            # Of a terminal's Ctrl-C it knows; SIGTERM was for this process alone.
            process.send_signal(signal.SIGINT if sys.stdin.isatty() else signal.SIGTERM)


def _reader(
    source: IO[bytes] | None, to: Any, name: str, teller: Teller, service: str
) -> threading.Thread:
    def read() -> None:
        assert source is not None
        while line := source.readline(_LINE):
            to.write(line)
            to.flush()
            told = _ANSI.sub("", line.decode("utf-8", "replace")).rstrip()
            if told:
                at = time.time()
                teller.tell_bytes(f"/api/{service}/envelope/", _log(told[:_MOST], name, at))

    thread = threading.Thread(target=read, name=f"{name} of the command", daemon=True)
    thread.start()
    return thread


def _log(text: str, name: str, at: float) -> bytes:
    attributes: Mapping[str, Any] = {"logger.name": {"value": name, "type": "string"}}
    log = {"timestamp": at, "level": "info", "body": text, "attributes": attributes}
    payload = json.dumps({"items": [log]}).encode()
    about = {"type": "log", "item_count": 1, "length": len(payload),
             "content_type": "application/vnd.sentry.items.log+json"}  # fmt: skip
    return b"{}\n" + json.dumps(about).encode() + b"\n" + payload + b"\n"
