"""`inspect`, `dev` and `tail`, as a user runs them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import pytest
import sentry_sdk
from click.testing import CliRunner, Result
from rich.console import Console

from sentry_asgi import SentryMiddleware
from sentry_asgi.inspector import dev as dev_module
from sentry_asgi.inspector.app import create_app
from sentry_asgi.inspector.cli import cli
from sentry_asgi.inspector.dev import Place
from sentry_asgi.inspector.loading import suggestion
from sentry_asgi.inspector.local import url_of
from sentry_asgi.inspector.plan import PLAN, service_of
from sentry_asgi.inspector.running import inspecting, is_inspector, is_loopback, names
from sentry_asgi.inspector.server import ServerError, serve_in_thread
from sentry_asgi.inspector.store import Listed, Store
from sentry_asgi.inspector.tail import GoneError, follow, line
from sentry_asgi.inspector.values import as_values
from sentry_asgi.inspector.views import EventView, event_view
from tests.support import Sentry, http_scope, respond, run

from .support import ID, Inspector, envelope, error, wait_for
from .test_demo import command

SHOP = """
import asyncio
import logging
import time
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

async def home(request):
    logging.getLogger("shop").warning("somebody looks")
    return PlainTextResponse("tea")

async def order(request):
    return PlainTextResponse(str(1 / 0))

async def block(request):
    time.sleep(0.3)
    return PlainTextResponse("at last")

async def endless(request):
    async def news():
        while True:
            yield "still here"
            await asyncio.sleep(0.05)
    return StreamingResponse(news())

app = Starlette(routes=[
    Route("/", home), Route("/order", order), Route("/block", block), Route("/endless", endless),
])

def make():
    return app
"""

OWN_INIT = (
    """
import sentry_sdk
sentry_sdk.init(dsn="http://own@127.0.0.1:9/7", environment="mine", release="shop@7", traces_sample_rate=0.0,
                auto_enabling_integrations=False)
"""
    + SHOP
    + """
from sentry_asgi import SentryMiddleware
app = SentryMiddleware(app, transaction_style="route")
"""
)


# Below those that the system gives out.
_PORTS = iter(range(20_000, 30_000))


def free_port() -> int:
    """A port that nobody listens on, and that no other process of any run of the tests chooses.

    The UDP port of the same number, held until this process ends, tells the others that it is taken.
    """
    for port in _PORTS:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                held.bind(("127.0.0.1", port))
            except OSError:
                held.close()
                continue
            held.detach()
            return port
    raise AssertionError("all ports are taken")


@contextmanager
def started(
    *arguments: str,
    cwd: Path,
    ready: str | Path,
    end: int = signal.SIGINT,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[list[str]]:
    """A command that serves, once this URL answers or this file is there; ended as Ctrl-C would end it.

    Afterwards the value has what it printed.
    """
    printed: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-m", "sentry_asgi", *arguments],
        cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, **environment},
    ) as process:  # fmt: skip
        try:
            wait_for(lambda: answers(ready), lambda up: up or process.poll() is not None, 60)
            yield printed
        finally:
            process.send_signal(end)
            printed.append(process.communicate(timeout=20)[0])
    assert process.returncode == 0


def answers(ready: str | Path) -> bool:
    return ready.exists() if isinstance(ready, Path) else text_at(ready) is not None


def text_at(url: str) -> str | None:
    """What a server answers; a server that starts, reloads or fails answers nothing."""
    try:
        return httpx.get(url, trust_env=False, timeout=20).raise_for_status().text
    except httpx.HTTPError:
        return None


def entries(url: str) -> list[dict[str, Any]]:
    return httpx.get(f"{url}/entries?full=1", trust_env=False, timeout=20).json()  # type: ignore[no-any-return]


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
        assert httpx.get(f"{app}/order", trust_env=False, timeout=20).status_code == 500
        (failure,) = wait_for(lambda: of_kind(url, "error"), bool)
        assert failure["title"] == "ZeroDivisionError"
        assert failure["event"]["request"]["url"] == f"{app}/order"
        assert failure["event"]["environment"] == "development"
        wait_for(
            lambda: of_kind(url, "request"),
            lambda found: any("/order" in one["title"] for one in found),
        )
        wait_for(
            lambda: of_kind(url, "log"),
            lambda found: any(one["title"] == "somebody looks" for one in found),
            4,  # the SDK by itself would wait for five seconds
        )
        # The server's own logs tell the same.
        assert {one["place"] for one in of_kind(url, "log")} == {"shop"}
        # A service is called what its module is.
        assert {one["project"] for one in entries(url)} == {"shop"}
        # A change of the app is served, though somebody listens to the old one; and what is there stays.
        with httpx.stream("GET", f"{app}/endless", trust_env=False):
            (shop / "shop.py").write_text(SHOP.replace('"tea"', '"coffee"'))
            wait_for(lambda: text_at(app), lambda text: text == "coffee", 60)
        assert len(of_kind(url, "error")) == 1
    assert f"Inspector at {url}" in printed[0]
    assert "/envelope/" not in printed[0]


def test_dev_tells_of_what_blocks_the_loop_for_a_tenth_of_a_second(shop: Path) -> None:
    inspector, port = free_port(), free_port()
    url, app = f"http://127.0.0.1:{inspector}", f"http://127.0.0.1:{port}"
    with dev(shop, "shop:app", "--no-reload", inspector=inspector, port=port):
        assert httpx.get(f"{app}/block", trust_env=False, timeout=20).text == "at last"
        (block,) = wait_for(lambda: of_kind(url, "error"), bool)
    assert (block["title"], block["detail"]) == (
        "EventLoopBlocked",
        "Event Loop Blocked for at least 100 ms",
    )
    assert block["event"]["request"]["url"] == f"{app}/block"
    assert "in block," in block["event"]["contexts"]["asgi"]["blocked_in"][0]


def test_what_is_installed_is_listed_before_the_first_event_and_not_within_a_request(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import sentry_sdk.utils, sentry_asgi.inspector.dev_app as dev; dev.create();"
        "assert sentry_sdk.utils._installed_modules['starlette']"
    )
    plan = {"target": "shop:app", "factory": False, "traceback": True, "service": "shop",
            "url": "http://127.0.0.1:1", "address": "http://127.0.0.1:2"}  # fmt: skip
    monkeypatch.setenv(PLAN, json.dumps(plan))
    subprocess.run([sys.executable, "-c", code], check=True, cwd=shop)


def test_two_devs_share_one_inspector_and_an_app_keeps_its_own_options(shop: Path) -> None:
    inspector, port = free_port(), free_port()
    url, socket_path = f"http://127.0.0.1:{inspector}", shop / "app.sock"
    # The proxy of an office must not be asked for what is on this machine.
    office = {"http_proxy": "http://127.0.0.1:1", "no_proxy": ""}
    own = ("dev", "--inspector-host=0.0.0.0", f"--inspector-port={inspector}", "own:app", "--no-reload",
           "--host=0.0.0.0", f"--port={port}", "--timeout-graceful-shutdown=1")  # fmt: skip
    other = (
        "dev",
        "--no-reload",
        f"--inspector-port={inspector}",
        "shop:make",
        f"--uds={socket_path}",
    )
    with started(*own, cwd=shop, ready=f"http://127.0.0.1:{port}/", environment=office) as first:
        httpx.get(f"http://127.0.0.1:{port}/order", trust_env=False)
        (failure,) = wait_for(lambda: of_kind(url, "error"), bool)
        event = failure["event"]
        assert (event["environment"], event["release"], failure["project"]) == (
            "mine",
            "shop@7",
            "own",
        )
        assert event["transaction"] == "/order"
        assert of_kind(url, "request") == []
        with started(*other, cwd=shop, ready=socket_path, environment=office) as second:
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket_path))) as client:
                client.get("http://shop/order")
            found = wait_for(lambda: of_kind(url, "error"), lambda found: len(found) == 2)
        assert found[1]["event"]["request"]["url"] == "http://shop/order"
    assert f"Inspector at {url}" in first[0]
    assert "Warning: The inspector listens on 0.0.0.0" in first[0]
    assert "Warning: The app listens on 0.0.0.0" in first[0]
    assert f"An inspector runs at {url} already; it can be used." in second[0]


def test_an_app_that_fails_when_imported_is_reported_and_fails(
    shop: Path, inspector: Inspector
) -> None:
    (shop / "broken.py").write_text("tea = 3\n1 / 0")
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
    (listed,) = inspector.wait_for(1)
    exception = event_of(inspector, listed).exceptions[0]
    assert (exception.type, exception.mechanism, exception.handled) == (
        "ZeroDivisionError",
        "import",
        False,
    )
    assert exception.frames[0].variables == (("tea", "3"),)
    assert not any("frozen" in frame.filename for frame in exception.frames if frame.application)


def event_of(inspector: Inspector, listed: Listed) -> EventView:
    stored = inspector.store.event(listed.event_id)
    assert stored is not None
    return event_view(json.loads(stored.payload))


def test_a_file_that_python_cannot_read_is_shown_at_the_line(
    shop: Path, inspector: Inspector
) -> None:
    (shop / "prices.py").write_text("tea = 3\n\ndef price(:\n    pass\n")
    (shop / "broken.py").write_text("import prices")
    port = str(httpx.URL(inspector.url).port)
    result = command(
        "dev", "--no-reload", f"--inspector-port={port}", "broken:app", f"--port={free_port()}", cwd=shop
    )  # fmt: skip
    assert "SyntaxError" in result.stderr
    (listed,) = inspector.wait_for(1)
    frame = event_of(inspector, listed).exceptions[0].frames[0]
    assert (Path(frame.filename).name, frame.lineno, frame.application) == ("prices.py", 3, True)
    assert [line.text for line in frame.lines if line.current] == ["def price(:"]


@pytest.mark.parametrize(
    "target", ["store:app", "store:apps", "store:", "store", "", "json:app", "no.such:app", ".:app"]
)
def test_an_app_that_stands_deeper_in_its_package_is_named(shop: Path, target: str) -> None:
    (shop / "store").mkdir()
    (shop / "store" / "__init__.py").write_text("")
    (shop / "store" / "bad.py").write_bytes(b"\xff")
    (shop / "store" / "main.py").write_text(
        "import store\napp = lambda scope, receive, send: None\nasync def run(): ...\n"
    )
    sys.path.insert(0, str(shop))
    try:
        hint = suggestion(target)
    finally:
        sys.path.remove(str(shop))
        sys.modules.pop("store", None)
    assert hint == ("Did you mean store.main:app?" if target == "store:app" else "")


def test_dev_says_where_in_the_package_the_app_stands(shop: Path) -> None:
    (shop / "store").mkdir()
    (shop / "store" / "__init__.py").write_text("")
    (shop / "store" / "main.py").write_text(SHOP)
    result = command(
        "dev", "--no-reload", f"--inspector-port={free_port()}", "store:app", f"--port={free_port()}", cwd=shop
    )  # fmt: skip
    assert (result.returncode, "Did you mean store.main:app?" in result.stderr) == (1, True)


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


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, shop: Path) -> Iterator[Callable[..., Result]]:
    """A command that ends by itself, in this process and in the shop's folder."""
    monkeypatch.chdir(shop)
    caught = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP)}
    yield lambda *arguments: CliRunner().invoke(cli, arguments)
    for one, handler in caught.items():
        signal.signal(one, handler)


def test_the_list_of_commands_says_of_each_what_it_does(invoke: Callable[..., Result]) -> None:
    commands = invoke("--help").output.partition("Commands:")[2]
    assert re.search(
        r"^  dev +Run an app with reload, reporting to a local Sentry.$", commands, re.MULTILINE
    )
    assert "..." not in commands  # all of it in a line of 80


def test_a_taken_port_is_told_with_what_to_do(
    invoke: Callable[..., Result], inspector: Inspector
) -> None:
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
            result = invoke(*arguments)
            assert (result.exit_code, said in result.stderr) == (1, True), result.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["dev", "shop:app", "--no-such-option"], 2, "No such option"),
        (["dev", "--port", "8001"], 2, "No app here. Say which"),
        (["dev", "nowhere"], 2, "No app in nowhere. Say which"),
        (["dev", "--port", "70000", "shop:app"], 1, "70000 is no port"),
        (["dev", "shop:app", "--port", "70000"], 1, "70000 is no port"),
        (["dev", "shop:app", "--inspector-port", "70000"], 2, "70000 is not in the range"),
        (["inspect", "--port", "70000"], 2, "70000 is not in the range"),
        (["inspect", "--keep", "nowhere/events.db"], 1, "unable to open database file"),
        (["inspect", "--keep", "shop.py"], 1, "shop.py cannot be used by the inspector"),
        (["inspect", "--keep", "theirs.db"], 1, "theirs.db is another program's database"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_in_a_line(
    invoke: Callable[..., Result], shop: Path, arguments: list[str], status: int, said: str
) -> None:
    with closing(sqlite3.connect(shop / "theirs.db")) as theirs:
        theirs.execute("CREATE TABLE theirs (a)")
    before = (shop / "theirs.db").read_bytes()
    result = invoke(*arguments)
    assert (result.exit_code, said in result.stderr) == (status, True), result.stderr
    assert (shop / "theirs.db").read_bytes() == before


def test_inspect_keeps_what_it_is_told_to_and_warns_when_others_can_reach_it(
    tmp_path: Path,
) -> None:
    port, kept = free_port(), tmp_path / "events.sqlite3"
    url = f"http://127.0.0.1:{port}"
    arguments = (
        "inspect",
        "--host=0.0.0.0",
        f"--port={port}",
        f"--keep={kept}",
    )
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


def test_inspect_is_ready_within_a_second_or_so_and_ends_with_its_terminal(tmp_path: Path) -> None:
    port = free_port()
    began = time.monotonic()
    with started(
        "inspect", f"--port={port}", cwd=tmp_path, ready=f"http://127.0.0.1:{port}/",
        end=signal.SIGHUP, environment={"TMPDIR": str(tmp_path)},
    ):  # fmt: skip
        assert time.monotonic() - began < 5  # a busy machine; scripts/inspector-bench measures
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", ["cli", "running", "dev", "tail"])
def test_nothing_that_runs_beside_an_app_waits_for_the_sdk(module: str) -> None:
    code = f"import sys, sentry_asgi.inspector.{module}; sys.exit('sentry_sdk' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_who_is_an_inspector(inspector: Inspector) -> None:
    assert is_inspector(inspector.url)
    assert not is_inspector("http://127.0.0.1:1")
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert is_loopback("localhost")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("dev.example")
    assert [url_of(host, 1) for host in ("127.0.0.1", "::1", "0.0.0.0", "::", "dev.example")] == [
        "http://127.0.0.1:1",
        "http://[::1]:1",
        "http://127.0.0.1:1",
        "http://[::1]:1",
        "http://dev.example:1",
    ]
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


def test_tail_without_an_inspector_says_so(invoke: Callable[..., Result]) -> None:
    result = invoke("tail", "--url=http://127.0.0.1:1")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: No inspector answers at http://127.0.0.1:1.")


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


def test_tail_ends_when_its_inspector_does(store: Store, invoke: Callable[..., Result]) -> None:
    app = create_app(store)
    with serve_in_thread(app, ending=app.close) as url:
        httpx.post(f"{url}/stream", content=envelope(("event", error())), trust_env=False)
        told = follow(url, last=1, full=False)
        assert next(told)["title"] == "ValueError"
        threading.Timer(0.5, app.live.close).start()
        result = invoke("tail", f"--url={url}")
        assert (result.exit_code, "ValueError" in result.stdout) == (0, True)
    assert list(told) == []


@pytest.mark.parametrize("last_words", [b"", b'data: {"newest": 1}\n\n'])
def test_tail_ends_with_an_inspector_that_was_killed(last_words: bytes) -> None:
    """In the middle of a line, and before it could say what is new."""
    begun = b"%x\r\n%b\r\n" % (len(last_words), last_words) if last_words else b""

    def serve() -> None:
        with listener.accept()[0] as connection:
            connection.recv(4096)
            head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
            connection.sendall(head + begun + b"10\r\n: half")
            listener.close()

    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    thread = threading.Thread(target=serve)
    thread.start()
    if last_words:
        assert list(follow(url, last=1, full=False)) == []
    else:
        with pytest.raises(GoneError, match="No inspector answers"):
            list(follow(url, last=1, full=False))
    thread.join()


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
    report_to(inspector.url, "shop")
    sentry_sdk.capture_message("by hand")
    assert [one.summary.title for one in inspector.errors()] == ["by hand"]
    assert len(sentry.events) == 1
    refused = sentry.init(spotlight=False)
    report_to(inspector.url, "shop")
    assert refused.spotlight is None
    client.close(timeout=0)


def test_reporting_here_leaves_no_trace_in_what_the_app_reports(
    inspector: Inspector, sentry: Sentry
) -> None:
    """The SDK's client for this speaks HTTP within the app's own work."""
    client = sentry.init(traces_sample_rate=1.0, spotlight=f"{inspector.url}/stream/shop")
    from sentry_asgi.inspector.dev_app import report_to

    report_to(inspector.url, "shop")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        sentry_sdk.capture_message("first")
        sentry_sdk.capture_message("second")
        await respond(send)

    run(SentryMiddleware(app), http_scope("/"))
    client.flush(timeout=5)
    second = sentry.events[1]
    assert as_values(second.get("breadcrumbs")) == []
    spans = [span for one in sentry.transport.items("transaction") for span in one["spans"]]
    spans += [span for batch in sentry.transport.items("span") for span in batch["items"]]
    assert [one for one in spans if "/stream/" in str(one)] == []
    assert {one.project for one in inspector.wait_for(2)} == {"shop"}
    client.close(timeout=0)


@pytest.mark.parametrize(
    ("target", "folder", "service"),
    [
        ("shop:app", "x", "shop"),
        ("shop.main:app", "x", "shop"),
        ("main:app", "tea-shop", "tea-shop"),
        ("app.main:make", "my shop", "my-shop"),
        ("main:app", "", "app"),
        ("main:app", "茶", "app"),
    ],
)
def test_a_service_is_named_by_its_module_or_by_its_folder(
    target: str, folder: str, service: str
) -> None:
    assert service_of(target, Path("/srv") / folder if folder else Path("/")) == service


def test_equal_errors_are_all_sent_and_the_queue_is_long(inspector: Inspector) -> None:
    from sentry_sdk.consts import DEFAULT_OPTIONS

    from sentry_asgi.inspector.dev_app import options

    wanted = options(inspector.url, "shop")
    assert wanted["dsn"] == inspector.dsn.replace("key", "dev").replace("/1", "/shop/1")
    if "transport_queue_size" in DEFAULT_OPTIONS:
        assert wanted["transport_queue_size"] == 10_000


def test_a_file_is_of_one_inspector_at_a_time(
    tmp_path: Path, invoke: Callable[..., Result]
) -> None:
    kept = tmp_path / "events.sqlite3"
    with inspecting(file=kept, port=0):
        with pytest.raises(ServerError, match="another inspector keeps what it gets there"):
            inspecting(file=kept, port=0).__enter__()
        for command_ in (["inspect"], ["dev", "shop:app", "--no-reload", f"--port={free_port()}"]):
            taken = "--port=0" if command_ == ["inspect"] else f"--inspector-port={free_port()}"
            result = invoke(*command_, taken, f"--keep={kept}")
            assert (result.exit_code, "another inspector keeps" in result.stderr) == (1, True)
    with inspecting(file=kept, port=0):
        pass
    assert {path.name for path in tmp_path.iterdir() if "events" in path.name} == {"events.sqlite3"}
    with pytest.raises(ServerError, match="unable to open database file"):
        inspecting(file=tmp_path / "nowhere" / "events.sqlite3", port=0).__enter__()


def place(port: int, keep: Path | None = None) -> Place:
    return Place("127.0.0.1", port, "none", keep)


def test_when_a_shared_inspector_ends_another_takes_its_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(dev_module, "_LOOK", 0.05)
    port = free_port()
    kept = tmp_path / "events.sqlite3"
    with ExitStack() as first, ExitStack() as others:
        url = first.enter_context(dev_module.shared_inspector(place(port)))
        for _ in range(2):
            assert others.enter_context(dev_module.shared_inspector(place(port, kept))) == url
        time.sleep(0.2)
        assert "took its place" not in capsys.readouterr().err
        first.close()
        wait_for(lambda: is_inspector(url), bool)
        answer = httpx.post(f"{url}/stream", content=envelope(("event", error())), trust_env=False)
        assert answer.status_code == 200
        time.sleep(0.2)
        assert capsys.readouterr().err.count("A new one took its place") == 1
    assert not is_inspector(url)


def test_where_another_was_faster_that_one_is_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looks: list[str] = []

    def gone(url: str) -> bool:
        looks.append(url)
        return False

    monkeypatch.setattr(dev_module, "_LOOK", 0.02)
    port = free_port()
    with ExitStack() as first, ExitStack() as other:
        first.enter_context(dev_module.shared_inspector(place(port)))
        monkeypatch.setattr(dev_module, "is_inspector", gone)
        other.enter_context(dev_module.shared_inspector(place(port)))
        wait_for(lambda: len(looks), lambda count: count > 2)
    assert "took its place" not in capsys.readouterr().err


def test_where_no_inspector_can_take_the_place_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(dev_module, "_LOOK", 0.05)
    port, said = free_port(), ""
    with ExitStack() as first, ExitStack() as other:
        first.enter_context(dev_module.shared_inspector(place(port)))
        other.enter_context(dev_module.shared_inspector(place(port, tmp_path / "nowhere" / "a")))
        first.close()

        def told() -> str:
            nonlocal said
            said += capsys.readouterr().err
            return said

        wait_for(told, lambda text: "none takes its place" in text)
    assert "unable to open database file" in said
