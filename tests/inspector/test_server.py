"""Servers start on free loopback ports, and end when they should, whatever the app does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import httpx
import pytest

from sentry_asgi.inspector.server import ServerError, serve_in_process, serve_in_thread
from tests.support import Message, Scope, respond

from .support import wait_for

HERE = "tests.inspector.test_server"


async def hello(scope: Scope, receive: object, send: object) -> None:
    await respond(send, b"hello")  # type: ignore[arg-type]


async def bad_start(scope: Scope, receive: object, send: object) -> None:
    message: Message = {"type": "lifespan.startup.failed", "message": "no"}
    await send(message)  # type: ignore[operator]


async def stubborn(scope: Scope, receive: object, send: object) -> None:
    """Answers, and never lets its process go."""
    import threading

    threading.Thread(target=threading.Event().wait, daemon=False).start()
    await respond(send)  # type: ignore[arg-type]


def listens(url: str) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", httpx.URL(url).port or 0)) == 0


def test_a_thread_serves_while_the_block_runs() -> None:
    with serve_in_thread(hello) as url:
        assert url.startswith("http://127.0.0.1:")
        assert httpx.get(url, trust_env=False).text == "hello"
    assert not listens(url)


def test_two_servers_take_two_ports() -> None:
    with serve_in_thread(hello) as one, serve_in_thread(hello) as other:
        assert one != other


def test_a_port_that_is_taken_is_told() -> None:
    with serve_in_thread(hello) as url, pytest.raises(OSError, match="in use"):
        serve_in_thread(hello, port=httpx.URL(url).port or 0).__enter__()


def test_an_app_that_does_not_start_in_a_thread_is_told() -> None:
    with pytest.raises(ServerError, match="did not start"):
        serve_in_thread(bad_start).__enter__()


def test_a_process_serves_while_the_block_runs() -> None:
    with serve_in_process(f"{HERE}:hello", dict(os.environ)) as url:
        assert httpx.get(url, trust_env=False).text == "hello"
    assert not listens(url)


@pytest.mark.parametrize("target", [f"{HERE}:bad_start", f"{HERE}:missing", "no.such.module:app"])
def test_an_app_that_does_not_start_in_a_process_is_told(target: str) -> None:
    with pytest.raises(ServerError, match="did not start"):
        serve_in_process(target, dict(os.environ)).__enter__()


def test_a_process_that_does_not_end_is_killed() -> None:
    with serve_in_process(f"{HERE}:stubborn", dict(os.environ), seconds=1) as url:
        assert httpx.get(url, trust_env=False).status_code == 200
    assert not listens(url)


STARTER = f"""
import os
from sentry_asgi.inspector.server import serve_in_process
with serve_in_process("{HERE}:hello", dict(os.environ)) as url:
    print(url, flush=True)
    os.kill(os.getpid(), 9)
"""


def test_a_process_ends_when_its_starter_was_killed() -> None:
    starter = subprocess.run(
        [sys.executable, "-c", STARTER], check=False, capture_output=True, text=True, timeout=30
    )
    url = starter.stdout.strip()
    wait_for(lambda: listens(url), lambda listening: not listening)


def test_the_commands_process_imports_no_framework_of_the_users() -> None:
    """The SDK's `spotlight` imports Django where there is one, which takes longer than all else."""
    script = "import sys, sentry_asgi.inspector.dev, sentry_asgi.inspector.running; print('django' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert result.stdout == "False\n"
