"""The doctor finds what is wrong with an app, says how to mend it, and has nothing to say of a good one."""

from __future__ import annotations

import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from sentry_asgi.inspector.layers import layers
from tests.support import SDK_VERSION

from .support import Inspector
from .test_demo import command

# A good one, of which each test makes one bad in its way.
INIT = 'sentry_sdk.init(dsn="{dsn}", release="shop@1", auto_enabling_integrations=False{more})'
GOOD = """
import asyncio
import os
import sentry_sdk
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from sentry_asgi import SentryMiddleware
from sentry_asgi.executor import ContextPreservingExecutor

os.environ["FORWARDED_ALLOW_IPS"] = "10.0.0.5"

{init}

@asynccontextmanager
async def lifespan(app):
    asyncio.get_running_loop().set_default_executor(ContextPreservingExecutor())
    yield

app = SentryMiddleware(Starlette(lifespan=lifespan, middleware=[Middleware(CORSMiddleware)]))
"""


def doctor(
    folder: Path, code: str = "", more: str = "", *arguments: str, dsn: str = "http://k@127.0.0.1:9/1",
    base: str = GOOD, init: str = INIT, target: str = "patient:app",
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    if SDK_VERSION >= (3, 0) and "data_collection" not in more:
        more += ", data_collection={'user_info': False}"  # there it is on unless turned off
    called = init.format(dsn=dsn, more=more)
    (folder / "patient.py").write_text(base.replace("{init}", called) + code)
    return command("doctor", target, *arguments, cwd=folder)


def test_a_good_app_is_found_good(tmp_path: Path) -> None:
    result = doctor(tmp_path, "", "", "--strict")
    assert (result.returncode, result.stderr) == (0, "")
    assert [line.split()[1] for line in result.stdout.splitlines()] == ["fine", "fine"]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "not wrapped": ({"code": "app = app.app"}, "The app is not wrapped in SentryMiddleware."),
    "never initialised": ({"init": ""}, "sentry_sdk.init is not called"),
    "no DSN": ({"dsn": ""}, "The SDK has no DSN"),
    "failing start": ({"code": "async def broken(app):\n    raise OSError('no database')\n    yield\n"
                               "app = SentryMiddleware(Starlette(lifespan=asynccontextmanager(broken)))"},
                      "The app's start-up fails: Traceback"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_fails(tmp_path: Path, name: str) -> None:
    changes, said = WRONG[name]
    result = doctor(tmp_path, **changes)
    assert said in result.stdout
    assert result.returncode == 1
    assert "→" in result.stdout


UNWISE: dict[str, tuple[dict[str, Any], str]] = {
    "not outermost": ({"code": "app = CORSMiddleware(app)"}, "SentryMiddleware is not outermost: CORSMiddleware is around it"),
    "twice": ({"code": "app = SentryMiddleware(app)"}, "SentryMiddleware is applied 2 times"),
    "initialised late": ({"base": GOOD.replace("{init}", "") + "{init}"}, "The SDK is initialised after the app was wrapped"),
    "no release": ({"init": INIT.replace('"shop@1"', '""')}, "Events name no release"),
    "a server that trusts everybody": (
        {"code": "os.environ['FORWARDED_ALLOW_IPS'] = '*'"}, "Everybody is trusted as a proxy",
    ),
    "a middleware that trusts everybody": (
        {"code": "from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware\n"
                 "app = SentryMiddleware(ProxyHeadersMiddleware(app.app, '*'))"}, "Everybody is trusted as a proxy",
    ),
}  # fmt: skip
if SDK_VERSION < (3, 0):
    UNWISE["the SDK's own middleware"] = (
        {"code": "from sentry_sdk.integrations.asgi import SentryAsgiMiddleware\n"
                 "app = SentryMiddleware(SentryAsgiMiddleware(app.app))"}, "SentryAsgiMiddleware does the same work",
    )  # fmt: skip
    UNWISE["personal data"] = ({"more": ", send_default_pii=True"}, "Personal data is sent")
if SDK_VERSION >= (2, 75):
    UNWISE["personal data, by its newer name"] = (
        {"more": ", data_collection={{'user_info': True}}".replace("{{", "{").replace("}}", "}")}, "Personal data is sent",
    )  # fmt: skip
    UNWISE["strangers' traces"] = (
        {"more": ", traces_sample_rate=1.0"},
        "traces that anybody begins are continued",
    )


@pytest.mark.parametrize("name", UNWISE)
def test_what_is_unwise_is_said_and_fails_where_that_is_asked(tmp_path: Path, name: str) -> None:
    changes, said = UNWISE[name]
    result = doctor(tmp_path, **changes)
    assert said in result.stdout
    assert result.returncode == 0
    assert command("doctor", "patient:app", "--strict", cwd=tmp_path).returncode == 1


ADVICE: dict[str, tuple[dict[str, Any], str]] = {
    "inside of the framework": ({"code": "app = Starlette(middleware=[Middleware(SentryMiddleware), Middleware(CORSMiddleware)])"},
                                "SentryMiddleware was added with add_middleware"),
    "the default executor": ({"code": "app = SentryMiddleware(Starlette())"}, "loop.run_in_executor loses its request"),
    "an unknown proxy": ({"code": "os.environ['FORWARDED_ALLOW_IPS'] = ''"}, "No proxy is trusted"),
    "the SDK's integrations": (
        {"init": INIT.replace("auto_enabling_integrations=False", "auto_enabling_integrations=True")},
        "StarletteIntegration()",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ADVICE)
def test_advice_fails_nothing(tmp_path: Path, name: str) -> None:
    changes, said = ADVICE[name]
    result = doctor(tmp_path, **changes)
    assert said in result.stdout
    assert result.returncode == 0


@pytest.mark.parametrize(
    ("code", "target", "said"),
    [
        ("", "patient:nothing", 'Attribute "nothing" not found'),
        ("", "nowhere:app", "Could not import module"),
        ("1 / 0", "patient:app", "patient:app fails when imported: ZeroDivisionError"),
    ],
)
def test_an_app_that_cannot_be_looked_at_has_a_status_of_its_own(
    tmp_path: Path, code: str, target: str, said: str
) -> None:
    result = doctor(tmp_path, code, target=target)
    assert (result.returncode, said in result.stdout) == (2, True), result.stdout


def test_an_app_without_lifespan_and_a_factory_are_fine(tmp_path: Path) -> None:
    code = """
async def bare(scope, receive, send):
    assert scope["type"] == "http"

def make():
    return SentryMiddleware(bare)
"""
    result = doctor(tmp_path, code, "", "--factory", target="patient:make")
    assert (result.returncode, "start-up fails" in result.stdout) == (0, False)


def test_an_app_that_never_starts_is_not_waited_for_when_told_so(tmp_path: Path) -> None:
    code = "async def stuck(scope, receive, send):\n    await asyncio.Event().wait()\napp = SentryMiddleware(stuck)"
    assert doctor(tmp_path, code, "", "--no-startup").returncode == 0


def test_an_app_that_takes_too_long_to_start_and_to_end_is_said_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import asyncio

    from sentry_asgi.inspector import doctor as module

    async def stuck(scope: object, receive: object, send: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(module, "_STARTUP_SECONDS", 0.05)
    assert asyncio.run(module._start(stuck)).failure == "it takes longer than 0 s"


# Sending.


def test_a_test_event_arrives(tmp_path: Path, inspector: Inspector) -> None:
    result = doctor(tmp_path, "", "", "--send", dsn=inspector.dsn)
    assert result.returncode == 0
    assert "The server took the test event" in result.stdout
    assert [one.summary.title for one in inspector.errors()] == ["sentry-asgi doctor: a test event"]


class Refusing(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(403)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


def test_what_the_server_refuses_is_a_failure(tmp_path: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        result = doctor(
            tmp_path, "", "", "--send", dsn=f"http://k@127.0.0.1:{server.server_port}/1"
        )
        server.shutdown()
    assert result.returncode == 1
    assert "The test event was not taken" in result.stdout
    if SDK_VERSION >= (2, 75):
        assert "the server answered 403" in result.stdout


@pytest.mark.parametrize(
    "more", [", before_send=lambda event, hint: None", ", transport=lambda event: None"]
)
def test_what_is_dropped_on_the_way_is_a_failure(tmp_path: Path, more: str) -> None:
    if "transport" in more and SDK_VERSION >= (3, 0):
        pytest.skip("no transport functions")
    result = doctor(tmp_path, "", more, "--send", dsn="http://k@127.0.0.1:9/1")
    assert (result.returncode == 1) == ("before_send" in more), result.stdout


def test_a_server_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    for dsn, said in (
        ("http://k@127.0.0.1:9/1", "The test event was not taken"),
        ("", "nowhere to send it"),
    ):
        result = doctor(tmp_path, "", "", "--send", dsn=dsn)
        assert (result.returncode, said in result.stdout) == (1, True), result.stdout


# What it looks through.


def test_layers_end_at_a_framework_and_in_circles() -> None:
    class Wrapper:
        def __init__(self, app: object) -> None:
            self.app = app

    async def bare(scope: object, receive: object, send: object) -> None: ...

    class Circle(Wrapper):
        def __call__(self) -> None: ...

    assert [layer.name.rpartition(".")[2] for layer in layers(Wrapper(bare))] == ["Wrapper", "bare"]
    assert [layer.name.rpartition(".")[2] for layer in layers(Wrapper("no app"))] == ["Wrapper"]
    circle = Circle(None)
    circle.app = circle
    assert len(layers(circle)) == 50

    class Framework:
        user_middleware = ["nonsense"]  # noqa: RUF012

    assert [layer.type for layer in layers(Framework())] == [Framework]
