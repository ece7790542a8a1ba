"""uvicorn with `--reload`: what failed right before the reload arrives, and what fails after it."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from tests.processes.serving import failed, free_port, get, serving, stopped, told
from tests.receiver import receiving

EVENTS = 25
RELOADS = 2
NOTICES_WITHIN = 5
"""Seconds. What changes between uvicorn's start and its first look at the files, it never notices."""


def run() -> list[str]:
    with receiving() as receiver, tempfile.TemporaryDirectory() as directory:
        receiver.answer = receiver.slow(0.03)
        module = Path(shutil.copy(Path(__file__).with_name("app.py"), directory))
        port = free_port()
        command = ["uvicorn", "app:app", "--port", "{port}", "--reload", "--log-level", "critical"]
        answered = 0
        with serving(command, port, directory, SENTRY_DSN=receiver.dsn) as process:
            for number in range(RELOADS + 1):
                if number:
                    reload(module, port)
                answered += failed(port, EVENTS)
            stopped(process)
        arrived = sum(told(receiver.events).values())
    line = f"{RELOADS} reloads: {answered} failures, {arrived} events"
    print(line)
    return [line] if answered != arrived or arrived != EVENTS * (RELOADS + 1) else []


def reload(module: Path, port: int) -> None:
    """Changes the module; returns when another process serves."""
    before = get(port, "/ready").rpartition(b"\r\n")[2]
    for _ in range(6):
        module.write_text(module.read_text() + "# changed\n")
        deadline = time.monotonic() + NOTICES_WITHIN
        while time.monotonic() < deadline:
            answer = get(port, "/ready")
            if b" 200 " in answer[:20] and answer.rpartition(b"\r\n")[2] != before:
                return
            time.sleep(0.05)
    raise RuntimeError("uvicorn did not reload")
