"""A process that forks: parent and child report, each by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import sentry_sdk

from sentry_asgi import _fork

from .receiver import receiving
from .support import SDK_VERSION, Sentry

PROGRAM = """
import os, sys, threading, time
import sentry_sdk
from sentry_asgi import SentryMiddleware, _isolation
from tests.support import http_scope, run

async def app(scope, receive, send):
    sentry_sdk.set_tag("process", scope["path"])
    raise ValueError(scope["path"])

def fail(path):
    try:
        run(wrapped, http_scope(path))
    except ValueError:
        pass

def hold():
    with _isolation._filling:
        held.set()
        time.sleep(60)

wrapped = SentryMiddleware(app)
sentry_sdk.init(dsn=sys.argv[1])
fail("/before")
sentry_sdk.flush(10)  # from now on there is an open connection
for number in range(3):
    fail(f"/waiting-{number}")  # one is on its way, the others in the queue
held = threading.Event()
if "held" in sys.argv:
    threading.Thread(target=hold, daemon=True).start()
    held.wait()
child = os.fork()
if child:
    _, status = os.waitpid(child, 0)
    sentry_sdk.flush(10)
    os._exit(os.waitstatus_to_exitcode(status))
fail("/child")
began = time.monotonic()
sentry_sdk.flush(10)
os._exit(0 if time.monotonic() - began < 5 else 3)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
@pytest.mark.parametrize("lock", ["free", "held"])
def test_parent_and_child_each_send_what_is_theirs_once(lock: str) -> None:
    with receiving() as receiver:
        receiver.answer = receiver.slow(0.2)
        finished = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PROGRAM, receiver.dsn, lock],
            cwd=Path(__file__).parent.parent,
            timeout=30,
            check=False,
        )
        assert finished.returncode == 0
        told = Counter(event["exception"]["values"][0]["value"] for event in receiver.events)
    assert told == dict.fromkeys(["/before", *(f"/waiting-{n}" for n in range(3)), "/child"], 1)
    assert len(receiver.connections) == 2


def test_a_transport_of_the_sdks_is_renewed(sentry: Sentry) -> None:
    client = sentry.init(transport=None)
    before = client.transport
    _fork._in_child()
    assert type(client.transport) is type(before)
    assert client.transport is not before


def test_a_transport_of_the_users_stays(sentry: Sentry) -> None:
    client = sentry.init()
    _fork._in_child()
    assert client.transport is sentry.transport


@pytest.mark.skipif(SDK_VERSION >= (3, 0), reason="it takes no functions")
def test_a_function_that_is_the_users_transport_stays(sentry: Sentry) -> None:
    with pytest.warns(DeprecationWarning, match="Function transports"):
        client = sentry.init(transport=print)
    before = client.transport
    _fork._in_child()
    assert client.transport is before


def test_without_a_client_there_is_nothing_to_renew() -> None:
    _fork._in_child()
    assert sentry_sdk.get_client().transport is None


def test_what_cannot_be_renewed_is_logged(sentry: Sentry, caplog: pytest.LogCaptureFixture) -> None:
    client = sentry.init(transport=None)
    client.options["dsn"] = 17
    _fork._in_child()
    assert "beginning anew after a fork failed" in caplog.text


def test_where_there_are_no_forks_there_is_nothing_to_survive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr("os.register_at_fork")
    _fork.survive_forks.__wrapped__()
