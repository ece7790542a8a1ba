"""`inspect`, `dev` and `tail`, as a user runs them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import sentry_sdk
from rich.console import Console

from sentry_asgi.inspector.running import is_inspector, is_loopback, names
from sentry_asgi.inspector.tail import GoneError, follow, line
from tests.support import SDK_VERSION, Sentry

from .support import ID, Inspector, envelope, error, wait_for
from .test_demo import command

SHOP = """
import logging
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

async def home(request):
    logging.getLogger("shop").warning("somebody looks")
    return PlainTextResponse("tea")

async def order(request):
    return PlainTextResponse(str(1 / 0))

app = Starlette(routes=[Route("/", home), Route("/order", order)])

def make():
    return app
"""

OWN_INIT = (
    """
import sentry_sdk
sentry_sdk.init(dsn="http://own@127.0.0.1:9/7", environment="mine", release="shop@7", traces_sample_rate=0.0)
"""
    + SHOP
    + """
from sentry_asgi import SentryMiddleware
app = SentryMiddleware(app, transaction_style="route")
"""
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def started(*arguments: str, cwd: Path, ready: str) -> Iterator[list[str]]:
    """A command that serves, once this URL answers; ended by SIGINT, as Ctrl-C would.

    Afterwards the value has what it printed.
    """
    printed: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-m", "sentry_asgi", *arguments],
        cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        try:
            wait_for(lambda: answers(ready), lambda up: up or process.poll() is not None, 20)
            yield printed
        finally:
            process.send_signal(signal.SIGINT)
            printed.append(process.communicate(timeout=20)[0])
    assert process.returncode == 0


def answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code < 500
    except httpx.HTTPError:
        return False


def entries(url: str) -> list[dict[str, Any]]:
    return httpx.get(f"{url}/entries?full=1", trust_env=False).json()  # type: ignore[no-any-return]


def of_kind(url: str, kind: str) -> list[dict[str, Any]]:
    return [one for one in entries(url) if one["kind"] == kind]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "own.py").write_text(OWN_INIT)
    return tmp_path


def dev(shop: Path, *arguments: str, inspector: int, port: int) -> Any:
    return started(
        "dev", f"--inspector-port={inspector}", *arguments, f"--port={port}", cwd=shop,
        ready=f"http://127.0.0.1:{port}/",
    )  # fmt: skip


def test_dev_runs_an_app_that_knows_nothing_of_sentry_and_shows_its_error(shop: Path) -> None:
    inspector, port = free_port(), free_port()
    url, app = f"http://127.0.0.1:{inspector}", f"http://127.0.0.1:{port}"
    with dev(shop, "shop:app", inspector=inspector, port=port) as printed:
        assert httpx.get(f"{app}/order", trust_env=False).status_code == 500
        (failure,) = wait_for(lambda: of_kind(url, "error"), bool)
        assert failure["title"] == "ZeroDivisionError"
        assert failure["event"]["request"]["url"] == f"{app}/order"
        assert failure["event"]["environment"] == "development"
        wait_for(
            lambda: of_kind(url, "request"),
            lambda found: any("/order" in one["title"] for one in found),
        )
        if SDK_VERSION < (3, 0):  # whose beta leaves the standard library's logs alone
            wait_for(
                lambda: of_kind(url, "log"),
                lambda found: any(one["title"] == "somebody looks" for one in found),
                10,
            )
        # A change of the app is served, and what is there stays.
        (shop / "shop.py").write_text(SHOP.replace('"tea"', '"coffee"'))
        wait_for(
            lambda: httpx.get(app, trust_env=False).text if answers(app) else "",
            lambda text: text == "coffee",
            15,
        )
        assert len(of_kind(url, "error")) == 1
    assert f"Inspector at {url}" in printed[0]
    assert "/envelope/" not in printed[0]


def test_dev_leaves_an_app_its_own_options_and_reports_here_too(shop: Path) -> None:
    inspector, port = free_port(), free_port()
    url = f"http://127.0.0.1:{inspector}"
    with dev(shop, "--no-reload", "own:app", inspector=inspector, port=port):
        httpx.get(f"http://127.0.0.1:{port}/order", trust_env=False)
        (failure,) = wait_for(lambda: of_kind(url, "error"), bool)
        event = failure["event"]
        assert (event["environment"], event["release"], failure["project"]) == (
            "mine",
            "shop@7",
            "spotlight",
        )
        assert event["transaction"] == "/order"
        assert of_kind(url, "request") == []


def test_two_devs_share_one_inspector_and_factories_are_called(shop: Path) -> None:
    inspector, one, other = free_port(), free_port(), free_port()
    url = f"http://127.0.0.1:{inspector}"
    with (
        dev(shop, "--no-reload", "shop:app", inspector=inspector, port=one),
        dev(shop, "--no-reload", "shop:make", "--factory", inspector=inspector, port=other),
    ):
        for port in (one, other):
            httpx.get(f"http://127.0.0.1:{port}/order", trust_env=False)
        found = wait_for(lambda: of_kind(url, "error"), lambda found: len(found) == 2)
        assert {str(httpx.URL(one["event"]["request"]["url"]).port) for one in found} == {
            str(one),
            str(other),
        }


def test_an_app_that_fails_when_imported_is_reported_and_fails(
    shop: Path, inspector: Inspector
) -> None:
    (shop / "broken.py").write_text("1 / 0")
    port = str(httpx.URL(inspector.url).port)
    result = command(
        "dev",
        "--no-reload",
        f"--inspector-port={port}",
        "broken:app",
        f"--port={free_port()}",
        cwd=shop,
    )
    assert result.returncode != 0
    assert "ZeroDivisionError" in result.stderr
    assert f"An inspector runs at {inspector.url} already" in result.stderr
    assert [one.summary.title for one in inspector.wait_for(1)] == ["ZeroDivisionError"]


@pytest.mark.parametrize("target", ["nowhere:app", "shop:nothing"])
def test_an_app_that_is_not_there_is_told_in_one_line(shop: Path, target: str) -> None:
    result = command(
        "dev",
        "--no-reload",
        f"--inspector-port={free_port()}",
        target,
        f"--port={free_port()}",
        cwd=shop,
    )
    assert result.returncode == 1
    assert "Error loading ASGI app." in result.stderr
    assert "Traceback" not in result.stderr


def test_a_taken_port_is_told_with_what_to_do(shop: Path, inspector: Inspector) -> None:
    ours = httpx.URL(inspector.url).port
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        for arguments, said in (
            (
                ["inspect", f"--port={ours}"],
                f"An inspector runs at {inspector.url} already; it can be used.",
            ),
            (
                ["inspect", f"--port={taken}"],
                f"Port {taken} is taken by another program. End that, or take another port, such as {taken + 1}.",
            ),
            (
                ["dev", f"--inspector-port={taken}", "shop:app", f"--port={free_port()}"],
                "For the inspector that is --inspector-port.",
            ),
            (
                ["dev", f"--inspector-port={free_port()}", "shop:app", f"--port={taken}"],
                f"give the app another with --port {taken + 1}.",
            ),
            (["dev", "shop:app", "--host=203.0.113.1"], "Cannot listen on 203.0.113.1:8000"),
            (["inspect", "--host=203.0.113.1"], "Cannot listen on 203.0.113.1:8969"),
        ):
            result = command(*arguments, cwd=shop)
            assert (result.returncode, said in result.stderr) == (1, True), result.stderr


def test_what_uvicorn_does_not_know_is_refused_by_uvicorn(shop: Path) -> None:
    result = command("dev", "shop:app", "--no-such-option", cwd=shop)
    assert result.returncode == 2
    assert "No such option" in result.stderr


def test_inspect_keeps_what_it_is_told_to_and_warns_when_others_can_reach_it(
    tmp_path: Path,
) -> None:
    port, kept = free_port(), tmp_path / "events.sqlite3"
    url = f"http://127.0.0.1:{port}"
    arguments = ("inspect", "--host=0.0.0.0", f"--port={port}", f"--keep={kept}")
    for count in (1, 2):
        with started(*arguments, cwd=tmp_path, ready=url) as printed:
            httpx.post(f"{url}/stream", content=envelope(("event", error())), trust_env=False)
            assert len(entries(url)) == count
            assert (
                httpx.get(url, headers={"host": "evil.example"}, trust_env=False).status_code == 403
            )
        assert (
            "Warning: The inspector listens on 0.0.0.0: whoever reaches this machine" in printed[0]
        )
        assert 'sentry_sdk.init(dsn="http://dev@' in printed[0]


def test_inspect_is_ready_within_a_second_or_so_and_says_when_a_file_is_none(
    tmp_path: Path,
) -> None:
    port = free_port()
    began = time.monotonic()
    with started("inspect", f"--port={port}", cwd=tmp_path, ready=f"http://127.0.0.1:{port}/"):
        assert time.monotonic() - began < 5  # a busy machine; scripts/inspector-bench measures
    (tmp_path / "letter").write_text("Dear reader" * 100)
    result = command("inspect", f"--keep={tmp_path / 'letter'}", f"--port={port}")
    assert (result.returncode, "cannot be used by the inspector" in result.stderr) == (1, True)


def test_who_is_an_inspector(inspector: Inspector) -> None:
    assert is_inspector(inspector.url)
    assert not is_inspector("http://127.0.0.1:1")
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert is_loopback("localhost")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("dev.example")
    assert names("dev.example") > names("127.0.0.1") == {"127.0.0.1", "localhost", "::1"}


# tail


def test_tail_prints_what_is_there_and_what_comes(inspector: Inspector) -> None:
    inspector.report(envelope(("event", error("Before", "no tea", transaction="t")), event_id=ID))
    environment = {**os.environ, "COLUMNS": "200"}
    with subprocess.Popen(
        [sys.executable, "-m", "sentry_asgi", "tail", f"--url={inspector.url}/"],
        stdout=subprocess.PIPE, text=True, env=environment,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        first, second = process.stdout.readline(), process.stdout.readline()
        assert re.search(r"error +error +Before  no tea  t$", first.rstrip())
        assert second.strip() == f"{inspector.url}/events/{ID}"
        inspector.report(envelope(("log", {"items": [{"body": "new\x1b[2Jlog"}]})))
        assert "new\N{REPLACEMENT CHARACTER}[2Jlog" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_tail_for_pipes_is_an_object_a_line_and_ends_with_the_pipe(inspector: Inspector) -> None:
    inspector.report(envelope(*[("event", error(f"E{number}")) for number in range(5)]))
    script = f"{sys.executable} -m sentry_asgi tail --json --last 3 --url {inspector.url} | head -2"
    result = subprocess.Popen(["bash", "-c", script], stdout=subprocess.PIPE, text=True)
    assert result.stdout is not None
    told = [json.loads(result.stdout.readline()) for _ in range(2)]
    assert [one["event"]["exception"]["values"][0]["type"] for one in told] == ["E2", "E3"]
    inspector.report(envelope(("event", error("More"))))
    inspector.report(envelope(("event", error("More"))))
    result.stdout.close()
    result.wait(10)


def test_tail_misses_nothing_however_much_there_is(inspector: Inspector) -> None:
    batch = {"items": [{"body": f"log {number}"} for number in range(1200)]}
    inspector.report(envelope(("log", batch)))
    told = follow(inspector.url, last=10_000, full=False)
    assert [next(told)["title"] for _ in range(1200)] == [f"log {number}" for number in range(1200)]


def test_tail_without_an_inspector_says_so() -> None:
    result = command("tail", "--url=http://127.0.0.1:1")
    assert result.returncode == 1
    assert result.stderr.startswith("Error: No inspector answers at http://127.0.0.1:1.")
    with pytest.raises(GoneError):
        next(follow("http://127.0.0.1:1", last=1, full=False))


def test_a_line_for_people_has_the_status_and_the_time_it_took() -> None:
    told = {
        "kind": "request", "level": "info", "status": "200", "title": "GET /", "detail": "", "duration": 0.5,
        "place": "home", "when": "9999-12-31T23:59:59+00:00", "received": 0, "path": "/x",
    }  # fmt: skip
    console = Console(width=200)
    with console.capture() as captured:
        console.print(line(told, "http://x"))
        console.print(line({**told, "when": "0001-01-01T00:00:00+00:00"}, "http://x"))
        console.print(line({**told, "when": ""}, "http://x"))
    assert "200      GET /  500 ms  home" in captured.get()


def test_tail_ends_when_its_inspector_does(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with started("inspect", f"--port={port}", cwd=tmp_path, ready=url):
        process = subprocess.Popen(
            [sys.executable, "-m", "sentry_asgi", "tail", f"--url={url}"],
            stdout=subprocess.PIPE,
            text=True,
        )
        httpx.post(f"{url}/stream", content=envelope(("event", error())), trust_env=False)
        assert process.stdout is not None
        assert "ValueError" in process.stdout.readline()
    process.communicate(timeout=10)
    assert process.returncode == 0


def test_a_time_near_the_end_of_all_time_has_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    told = dict.fromkeys(("kind", "level", "status", "title", "detail", "place", "path"), "x")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        text = line(
            {**told, "when": "9999-12-31T23:59:59+00:00", "received": 0, "duration": None}, "u"
        )
    finally:
        monkeypatch.undo()
        time.tzset()
    assert text.plain.startswith("23:59:59")


def test_dev_warns_of_what_others_can_reach_and_serves_a_unix_socket(shop: Path) -> None:
    inspector, socket_path = free_port(), shop / "app.sock"
    arguments = (
        "--inspector-host=0.0.0.0",
        f"--inspector-port={inspector}",
        "--no-reload",
        "shop:app",
        "--host=0.0.0.0",
        f"--uds={socket_path}",
    )
    with started("dev", *arguments, cwd=shop, ready=f"http://127.0.0.1:{inspector}/") as printed:
        wait_for(socket_path.exists, bool, 10)
    assert "Warning: The inspector listens on 0.0.0.0" in printed[0]
    assert "Warning: The app listens on 0.0.0.0" in printed[0]


def test_an_app_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    from sentry_asgi.inspector import dev as module

    monkeypatch.setattr(module, "_PATIENCE", 0.2)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        assert module._ended(process) == 0
    assert process.returncode == -signal.SIGKILL


def test_an_sdk_from_before_the_environment_variable_is_pointed_here(
    inspector: Inspector, sentry: Sentry
) -> None:
    from sentry_asgi.inspector.dev_app import report_to

    client = sentry.init()
    report_to(inspector.url)
    sentry_sdk.capture_message("by hand")
    assert [one.summary.title for one in inspector.errors()] == ["by hand"]
    assert len(sentry.events) == 1
    refused = sentry.init(spotlight=False)
    report_to(inspector.url)
    assert refused.spotlight is None
    client.close(timeout=0)
