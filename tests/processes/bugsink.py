"""End to end: a real app under uvicorn, and Bugsink, a Sentry-compatible server that others wrote.

    python -m tests.processes.bugsink DIRECTORY

`DIRECTORY` is the environment that has Bugsink, its own: `scripts/bugsink` makes both. What Bugsink says that it was
sent, over its HTTP interface, is compared with what was sent, and with what was to be told.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.processes.serving import free_port, get, serving, stopped

APP = ["uvicorn", "tests.processes.bugsink_app:app", "--port", "{port}", "--log-level", "critical"]

SETTINGS = """
BUGSINK["PHONEHOME"] = False
BUGSINK["KEEP_ENVELOPES"] = 100
BUGSINK["VALIDATE_ON_DIGEST"] = "warn"
"""

# Of each request: what its event is to say. Bugsink names exceptions from the outermost in.
EXPECTED: dict[str, dict[str, Any]] = {
    "/exception?amount=5": {
        "exceptions": [("KeyError", "'no card for 5, one of 2'", False)],
        "in_app": "charge",
    },
    "/chained": {
        "exceptions": [
            ("KeyError", "'no card for 7, one of 2'", None),
            ("PaymentFailed", "payment failed", False),
        ],
        "in_app": "chained",
    },
    "/group": {
        "exceptions": [
            ("PaymentFailed", "other", None),
            ("ValueError", "one", None),
            ("ExceptionGroup", "two failed", False),
        ],
        "in_app": "group",
    },
    "/swallowed": {
        "exceptions": [("Declined", "try later", True)],
        "in_app": "swallowed",
    },
    "/message": {"exceptions": [], "message": "something to say", "level": "warning"},
}


class Bugsink:
    """Its HTTP interface."""

    def __init__(self, port: int, token: str) -> None:
        self._url = f"http://127.0.0.1:{port}/api/canonical/0"
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, self._headers)
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)

    def new_project(self) -> str:
        """Makes a team and a project; the project's DSN."""
        team = self.ask("/teams/", {"name": "team"})["id"]
        self.ask("/projects/", {"name": "project", "team": team})
        dsn: str = self.ask("/projects/")["results"][0]["dsn"]
        return dsn

    def events(self) -> list[dict[str, Any]]:
        """All events, whole."""
        found = []
        for issue in self.ask("/issues/?project=1")["results"]:
            listed = self.ask(f"/events/?issue={issue['id']}")["results"]
            found += [self.ask(f"/events/{event['id']}/") for event in listed]
        return found


@contextlib.contextmanager
def bugsink(environment: Path) -> Iterator[Bugsink]:
    """A Bugsink from nothing, on a free port, while it lasts."""
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        variables = {"DJANGO_SETTINGS_MODULE": "bugsink_conf", "PYTHONPATH": ".", "HOME": directory}
        variables = {**os.environ, **variables}

        def run(command: str, *arguments: str, **more: str) -> str:
            path = str(environment / "bin" / command)
            finished = subprocess.run(
                [path, *arguments],
                cwd=directory,
                env={**variables, **more},
                capture_output=True,
                text=True,
                check=True,
            )
            return finished.stdout

        run("bugsink-create-conf", "--template=local", "--host=127.0.0.1", f"--port={port}")
        with (Path(directory) / "bugsink_conf.py").open("a") as settings:
            settings.write(SETTINGS)
        run("bugsink-manage", "migrate", "-v0")
        run("bugsink-manage", "migrate", "-v0", "--database=snappea")
        superuser = f"admin@example.org:{secrets.token_hex()}"
        run("bugsink-manage", "prestart", CREATE_SUPERUSER=superuser)
        token = run("bugsink-manage", "create_auth_token").split()[-1]
        process = subprocess.Popen(
            [
                *[str(environment / "bin" / "gunicorn"), "bugsink.wsgi", "--workers=1"],
                *["--threads=4", "--graceful-timeout=1", f"--bind=127.0.0.1:{port}"],
            ],
            cwd=directory,
            env=variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            server = Bugsink(port, token)
            wait(lambda: server.ask("/projects/") is not None, 60)
            yield server
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(20)


def wait(reached: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            if reached():
                return
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.1)


def told(data: dict[str, Any]) -> list[tuple[str, str, Any]]:
    values = (data.get("exception") or {}).get("values") or []
    last = values[-1:]
    return [
        (one["type"], one["value"], one["mechanism"]["handled"] if [one] == last else None)
        for one in values
    ]


def judge(path: str, event: dict[str, Any], sent: dict[str, Any]) -> list[str]:
    """Where an event, as Bugsink gives it back, is not what was sent, or not what was to be said of the request."""
    data, expected = event["data"], EXPECTED[path]
    route = path.partition("?")[0]
    said = {
        "exceptions": told(data),
        "level": data["level"],
        "message": data.get("message") or (data.get("logentry") or {}).get("message"),
        "route": data["transaction"],
        "url": data["request"]["url"].partition("/")[2].partition("/")[2].partition("/")[2],
        "query": data["request"].get("query_string"),
        "release": data["release"],
    }
    wanted = {
        "exceptions": expected["exceptions"],
        "level": expected.get("level", "error"),
        "message": expected.get("message"),
        "route": route,
        "url": route[1:],
        "query": path.partition("?")[2] or None,
        "release": "bugsink@1",
    }
    wrong = [f"{path}: {key}: {said[key]!r}" for key in wanted if said[key] != wanted[key]]
    wrong += [f"{path}: {key} is not as sent" for key in sent if data.get(key) != sent[key]]
    if "in_app" in expected and f"in `{expected['in_app']}`" not in event["stacktrace_md"]:
        wrong.append(f"{path}: no {expected['in_app']} in {event['stacktrace_md'][:200]!r}")
    if "s3cret" in json.dumps(event):
        wrong.append(f"{path}: a secret")
    return wrong


def compare(server: Bugsink, sent: list[dict[str, Any]]) -> list[str]:
    with contextlib.suppress(TimeoutError):
        wait(lambda: len(server.events()) >= len(EXPECTED), 20)
    events = {event["data"]["event_id"]: event for event in server.events()}
    wrong = []
    if len(events) != len(EXPECTED) or len(sent) != len(EXPECTED):
        wrong.append(f"{len(sent)} were sent, {len(events)} have arrived, of {len(EXPECTED)}")
    for path, one in zip(EXPECTED, sent, strict=False):
        event = events.get(one["event_id"])
        wrong += judge(path, event, one) if event else [f"{path}: has not arrived"]
    return wrong


def main(environment: Path) -> int:
    with bugsink(environment) as server, tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "sent"
        dsn, port = server.new_project(), free_port()
        with serving(APP, port, SENTRY_DSN=dsn, SENT=str(log)) as process:
            for path in EXPECTED:
                get(port, path)
            lost = json.loads(get(port, "/lost").rpartition(b"\r\n")[2])
            stopped(process)
        sent = [json.loads(line) for line in log.read_text().splitlines()]
        wrong = compare(server, sent)
    # Each of its replies forbids transactions for a while: from the first on, none is sent.
    if not lost.get("transaction: ratelimit_backoff"):
        wrong.append(f"the rate limit of transactions is not respected: {lost}")
    if any(reason.startswith("event") for reason in lost):
        wrong.append(f"events were lost: {lost}")
    print("\n".join(wrong) or f"{len(sent)} events are as they were sent; not sent: {lost}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
