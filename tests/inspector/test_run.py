"""`run` and `dev` without a target: which app it is, and any command beside an inspector."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from sentry_asgi.inspector import wrapped
from sentry_asgi.inspector.cli import cli
from sentry_asgi.inspector.targets import NoTargetError, app_in, find
from sentry_asgi.inspector.telling import Teller

from .support import Inspector, wait_for
from .test_commands import SHOP, answers, dev, free_port

APP = "from fastapi import FastAPI\napp = FastAPI()\n"


def lay_out(folder: Path, files: dict[str, str]) -> None:
    for name, source in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)


@pytest.mark.parametrize(
    ("files", "given", "name", "folder"),
    [
        ({"main.py": APP}, "", "main:app", "."),
        ({"app.py": APP, "main.py": "x = 1\n"}, "", "app:app", "."),
        ({"app/main.py": APP}, "", "app.main:app", "."),
        ({"src/main.py": APP}, "", "main:app", "src"),
        (
            {"shop/__init__.py": "", "shop/asgi.py": "from x import y as application\n"},
            "",
            "shop.asgi:application",
            ".",
        ),
        (
            {"shop.py": "import quart\nserver: object = quart.Quart(__name__)\n"},
            "shop.py",
            "shop:server",
            ".",
        ),
        ({"shop.py": "def create_app():\n    return 1\n"}, "shop", "shop:create_app", "."),
        ({"shop/__init__.py": "", "shop/main.py": APP}, "shop", "shop.main:app", "."),
        (
            {"shop/__init__.py": "", "shop/web/__init__.py": "", "shop/web/main.py": APP},
            "shop.web",
            "shop.web.main:app",
            ".",
        ),
        ({"shop/__init__.py": APP}, "shop", "shop:app", "."),
        (
            {"src/shop/__init__.py": "", "src/shop/main.py": APP},
            "src/shop/main.py",
            "shop.main:app",
            "src",
        ),
        ({"main.py": "def (:\n"}, "", "main:app", "."),
        ({"main.py": "async def app(scope, receive, send): ...\n"}, "", "main:app", "."),
        ({"main.py": "a, b = 1, 2\nx.y = 3\nweb = SentryMiddleware(inner)\n"}, "", "main:web", "."),
    ],
)
def test_which_app_is_meant(
    tmp_path: Path, files: dict[str, str], given: str, name: str, folder: str
) -> None:
    lay_out(tmp_path, files)
    target = find(given, tmp_path)
    assert (target.name, target.folder) == (name, (tmp_path / folder).resolve())


def test_where_there_is_no_app_or_several_one_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(NoTargetError, match=r"No app here\. Say which"):
        find("", tmp_path)
    lay_out(tmp_path, {"main.py": "x = 1\n", "notes.txt": "", "broken.py": "def (:"})
    with pytest.raises(NoTargetError, match=r"No app here; looked in main\.py\. Say which"):
        find("", tmp_path)
    with pytest.raises(NoTargetError, match="No app in nowhere"):
        find("nowhere", tmp_path)
    assert app_in(tmp_path / "broken.py") == ""
    assert app_in(tmp_path / "nowhere.py") == ""
    lay_out(
        tmp_path,
        {
            f"{name}/{file}": source
            for name in ("a", "b")
            for file, source in (("__init__.py", ""), ("main.py", APP))
        },
    )
    with pytest.raises(
        NoTargetError,
        match=r"Several apps here: say which, `sentry-asgi dev a\.main:app or b\.main:app`",
    ):
        find("", tmp_path)


def test_dev_finds_the_app_and_opens_the_inspector(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(SHOP)
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    inspector, port = free_port(), free_port()
    arguments = ["--no-reload", "--open"]
    os.environ["BROWSER"] = str(browser)
    try:
        with dev(tmp_path, *arguments, inspector=inspector, port=port) as printed:
            wait_for(opened.exists, bool)
    finally:
        del os.environ["BROWSER"]
    assert f"The app is main:app, in {tmp_path / 'main.py'}" in printed[0]
    assert opened.read_text().strip() == f"http://127.0.0.1:{inspector}"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)  # the tests' own stays
    return lambda *arguments: CliRunner().invoke(cli, list(arguments))


def test_what_is_no_app_is_told(run: Callable[..., Result]) -> None:
    for arguments in ([], ["--port", "1"], ["shop"]):
        result = run("dev", *arguments)
        assert result.exit_code == 2
        assert "No app" in result.output


def test_any_command_reports_what_it_prints_and_ends_as_it_does(
    inspector: Inspector, tmp_path: Path
) -> None:
    code = (
        "import os, sys; print('\\x1b[31mred\\x1b[0m'); print(); print('bad', file=sys.stderr);"
        "print(os.environ['SENTRY_SPOTLIGHT']); sys.exit(3)"
    )
    port = str(httpx.URL(inspector.url).port)
    command = [
        sys.executable,
        "-m",
        "sentry_asgi",
        "run",
        "--inspector-port",
        port,
        "--service",
        "shop",
    ]
    ended = subprocess.run(
        [*command, "--", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 3
    assert ended.stdout == f"\x1b[31mred\x1b[0m\n\n{inspector.url}/stream/shop\n"
    assert "bad\n" in ended.stderr
    logs = inspector.get("/logs.json").json()["logs"]
    told = {(row["logger"], row["message"]) for row in logs}
    assert told == {
        ("stdout", "red"),
        ("stdout", f"{inspector.url}/stream/shop"),
        ("stderr", "bad"),
    }


def test_an_app_under_another_server_reports_and_ends_with_the_command(
    inspector: Inspector, tmp_path: Path
) -> None:
    init = "import sentry_sdk\nsentry_sdk.init(traces_sample_rate=1.0)\n"
    (tmp_path / "tea.py").write_text(init + SHOP)
    port, inner = free_port(), str(httpx.URL(inspector.url).port)
    command = [sys.executable, "-m", "sentry_asgi", "run", "--inspector-port", inner, "--"]
    server = [sys.executable, "-m", "uvicorn", "tea:app", "--port", str(port)]
    with subprocess.Popen(
        [*command, *server], cwd=tmp_path, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: answers(f"{url}/"), bool, 60)
        assert httpx.get(f"{url}/order", trust_env=False).status_code == 500
        (listed,) = inspector.wait_for(1)
        assert (listed.summary.title, listed.project) == ("ZeroDivisionError", "tea")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in {0, 128 + signal.SIGTERM}


def test_what_cannot_be_run_is_told(inspector: Inspector, run: Callable[..., Result]) -> None:
    port = str(httpx.URL(inspector.url).port)
    result = run("run", "--inspector-port", port, "--", "./nowhere")
    assert result.exit_code == 1
    assert "./nowhere cannot be run: No such file or directory." in result.output


@pytest.mark.parametrize(
    ("command", "service"),
    [
        (["uvicorn", "shop.main:app", "--port", "1"], "shop"),
        (["python", "manage.py", "runserver", "0:8000"], "kiosk"),
        (["hypercorn", "kitchen:make()"], "kitchen"),
    ],
)
def test_a_command_is_named_by_its_app_or_by_the_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: list[str], service: str
) -> None:
    folder = tmp_path / "kiosk"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert wrapped.service_named(command) == service


def test_the_inspector_is_opened_beside_a_command(
    inspector: Inspector, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    port = str(httpx.URL(inspector.url).port)
    result = run("run", "--open", "--inspector-port", port, "--", sys.executable, "-c", "pass")
    assert result.exit_code == 0
    assert opened == [inspector.url]


def test_a_command_that_a_signal_ends_has_a_shells_status(inspector: Inspector) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert (
        wrapped.serve([sys.executable, "-c", code], inspector.url, "shop") == 128 + signal.SIGKILL
    )
    assert json.loads(inspector.get("/logs.json").text)["logs"] == []


def test_what_waits_to_be_told_is_waited_for(inspector: Inspector) -> None:
    teller, told = Teller(inspector.url), threading.Event()
    teller.tell("/api/local/start", lambda: told.wait(0.1) or {"service": "shop"})
    teller.flush(0)
    began = time.monotonic()
    teller.flush(10)
    assert time.monotonic() - began < 9
