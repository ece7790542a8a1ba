"""A process that forks: parent and child report, each by itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
import sentry_sdk

from sentry_asgi._python.locks import Lock
from sentry_asgi._sdk import fork

from .receiver import receiving
from .support import CORE, SDK_VERSION, Sentry

PROGRAM = """
import os, sys, threading, time
import sentry_sdk
from sentry_asgi import SentryMiddleware
from tests.support import http_scope, run

async def app(scope, receive, send):
    sentry_sdk.set_tag("process", scope["path"])
    raise ValueError(scope["path"])

def fail(path):
    try:
        run(wrapped, http_scope(path))
    except ValueError:
        pass

wrapped = SentryMiddleware(app)
sentry_sdk.init(dsn=sys.argv[1])
fail("/before")
sentry_sdk.flush(10)  # from now on there is an open connection
for number in range(3):
    fail(f"/waiting-{number}")  # one is on its way, the others in the queue
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

HELD = """
import os, signal, sys, threading, time

made = {}  # the locks of the package, by the line that makes them

def recording(make):
    def recorded(*arguments):
        lock, frame = make(*arguments), sys._getframe(1)
        while frame.f_globals.get("__name__") in ("threading", "sentry_asgi._python.locks"):
            frame = frame.f_back
        if frame.f_globals.get("__name__", "").startswith("sentry_asgi"):
            made[lock] = f"{frame.f_globals['__name__']}:{frame.f_lineno}"
        return lock
    return recorded

for name in ("Lock", "RLock"):
    setattr(threading, name, recording(getattr(threading, name)))

import sentry_sdk
from sentry_asgi import SentryMiddleware
from tests.support import DSN, Sentry, http_scope, run

async def app(scope, receive, send):
    sentry_sdk.set_tag("some", "tag")
    raise ValueError(scope["path"])

def fail(path, asgi):
    try:
        run(asgi, http_scope(path))
    except ValueError:
        pass

def hold(lock):
    with lock:
        held.set()
        time.sleep(60)

def forked():
    "Whether a forked child reports, and comes to an end."
    child = os.fork()
    if not child:
        signal.alarm(10)  # which kills a child that hangs
        fail("/child", wrapped)
        fail("/another", SentryMiddleware(app))
        os._exit(0 if len(sentry.events) == before + 2 else 3)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

sentry = Sentry()
wrapped = SentryMiddleware(app)
sentry.init(traces_sample_rate=1.0, release="r@1")
fail("/before", wrapped)
before = len(sentry.events)
assert before == 1 and len(made) >= 3, (before, made)
for lock, place in list(made.items()):
    held = threading.Event()
    threading.Thread(target=hold, args=[lock], daemon=True).start()
    held.wait()
    print(place, forked())
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_parent_and_child_each_send_what_is_theirs_once() -> None:
    with receiving() as receiver:
        receiver.answer = receiver.slow(0.2)
        finished = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PROGRAM, receiver.dsn],
            cwd=Path(__file__).parent.parent,
            timeout=30,
            check=False,
        )
        assert finished.returncode == 0
        told = Counter(event["exception"]["values"][0]["value"] for event in receiver.events)
    assert told == dict.fromkeys(["/before", *(f"/waiting-{n}" for n in range(3)), "/child"], 1)
    assert len(receiver.connections) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_child_reports_whichever_lock_of_the_package_was_held_at_the_fork() -> None:
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", HELD],
        cwd=Path(__file__).parent.parent,
        timeout=120,
        check=True,
        capture_output=True,
        text=True,
    )
    results = [line.rsplit(" ", 1) for line in finished.stdout.splitlines()]
    assert len(results) >= 3
    assert [place for place, code in results if code != "0"] == []


def test_a_transport_of_the_sdks_is_renewed(sentry: Sentry) -> None:
    client = sentry.init(transport=None)
    before = client.transport
    fork._in_child()
    assert type(client.transport) is type(before)
    assert client.transport is not before


def test_a_transport_of_the_users_stays(sentry: Sentry) -> None:
    client = sentry.init()
    fork._in_child()
    assert client.transport is sentry.transport


@pytest.mark.skipif(SDK_VERSION >= (3, 0), reason="it takes no functions")
def test_a_function_that_is_the_users_transport_stays(sentry: Sentry) -> None:
    with pytest.warns(DeprecationWarning, match="Function transports"):
        client = sentry.init(transport=print)
    before = client.transport
    fork._in_child()
    assert client.transport is before


def test_without_a_client_there_is_nothing_to_renew() -> None:
    fork._in_child()
    assert sentry_sdk.get_client().transport is None


def test_what_cannot_be_renewed_is_logged(sentry: Sentry, caplog: pytest.LogCaptureFixture) -> None:
    client = sentry.init(transport=None)
    client.options["dsn"] = 17
    fork._in_child()
    assert "renewing the transport after a fork failed" in caplog.text


def test_where_there_are_no_forks_there_is_nothing_to_survive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr("os.register_at_fork")
    fork.register_fork_handler.__wrapped__()


def test_a_lock_that_is_held_by_the_thread_that_forks_is_free_in_the_child() -> None:
    lock = Lock()
    with lock, lock:
        lock.renew()  # as in the child
    taken: list[bool] = []
    thread = threading.Thread(target=lambda: taken.append(lock._lock.acquire(timeout=5)))
    thread.start()
    thread.join()
    assert taken == [True]


def test_locks_are_made_in_one_module() -> None:
    for path in CORE:
        made = re.findall(r"threading\.(?:R?Lock|Condition|\w*Semaphore)\(", path.read_text())
        assert made == [] or path.name == "locks.py", path
