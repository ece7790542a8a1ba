"""The doctor finds what is wrong with an app, says how to mend it, and has nothing to say of a good one."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from click.testing import CliRunner, Result
from litestar import Litestar
from litestar.middleware import DefineMiddleware

from sentry_asgi import SentryMiddleware
from sentry_asgi.inspector import doctor as module
from sentry_asgi.inspector.cli import cli
from sentry_asgi.inspector.layers import layers, trusted_hops
from sentry_asgi.inspector.loading import load
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
from sentry_sdk.integrations.logging import LoggingIntegration

os.environ["FORWARDED_ALLOW_IPS"] = "10.0.0.5"

{init}

@asynccontextmanager
async def lifespan(app):
    asyncio.get_running_loop().set_default_executor(ContextPreservingExecutor())
    yield

app = SentryMiddleware(Starlette(lifespan=lifespan, middleware=[Middleware(CORSMiddleware)]))
"""
NOBODY = "http://k@127.0.0.1:9/1"
QUIET_PII = ", data_collection={'user_info': False}" if SDK_VERSION >= (3, 0) else ""
FINE = [
    "✓ fine    SentryMiddleware is outermost.",
    "✓ fine    The SDK is initialised before the app.",
]


@dataclass
class App:
    """What to change of the good app."""

    code: str = ""
    more: str = ""
    dsn: str = NOBODY
    base: str = GOOD
    init: str = INIT
    target: str = "patient:app"

    def write(self, folder: Path) -> None:
        # In 3.x personal data is sent unless that is turned off.
        more = self.more if "data_collection" in self.more else self.more + QUIET_PII
        if SDK_VERSION >= (3, 0) and "integrations=[" not in self.init + more:
            more += ", integrations=[LoggingIntegration()]"
        called = self.init.format(dsn=self.dsn, more=more)
        (folder / "patient.py").write_text(self.base.replace("{init}", called) + self.code)


Doctor = Callable[..., Result]


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Doctor]:
    """The command on such an app, in this process, of which it leaves nothing."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "")

    def run(app: App, *arguments: str) -> Result:
        app.write(tmp_path)
        sys.modules.pop("patient", None)
        _forget_the_sdk()
        return CliRunner().invoke(cli, ["doctor", app.target, f"--app-dir={tmp_path}", *arguments])

    yield run
    sys.modules.pop("patient", None)
    _forget_the_sdk()


def _forget_the_sdk() -> None:
    sentry_sdk.get_client().close(timeout=0)
    sentry_sdk.get_global_scope().set_client(None)


def test_a_good_app_is_found_good(doctor: Doctor) -> None:
    result = doctor(App(), "--strict")
    assert (result.exit_code, result.stdout.splitlines(), result.stderr) == (0, FINE, "")


def test_where_a_start_fails_is_told_by_the_innermost_line_of_the_app(doctor: Doctor) -> None:
    code = """
def connect():
    import json
    json.loads("no")
async def broken(app):
    connect()
    yield
app = SentryMiddleware(Starlette(lifespan=asynccontextmanager(broken)))"""
    assert "patient.py:26.\n" in doctor(App(code)).stdout
    code = """
async def bare(scope, receive, send):
    text = 'Traceback:\\n  File "/usr/site-packages/db.py", line 7, in f\\nOSError: no'
    await send({'type': 'lifespan.startup.failed', 'message': text})
app = SentryMiddleware(bare)"""
    assert "→ See /usr/site-packages/db.py:7." in doctor(App(code)).stdout


def test_the_command_tells_and_exits_as_ci_wants_it(tmp_path: Path) -> None:
    """As a process of its own, from the app's folder."""
    App(init=INIT.replace('"shop@1"', '""')).write(tmp_path)
    result = command("doctor", "patient:app", "--strict", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (1, "")
    first, *rest = result.stdout.splitlines()
    assert [first, *rest[:1]] == FINE
    assert rest[1].startswith("! unwise  Events name no release")
    assert rest[2].startswith("          → sentry_sdk.init(…, release=")


PROXY = "from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware\n"
# Changes that bring a finding about, and others, near to them, that don't.
WRONG: dict[str, tuple[str, App, list[App]]] = {
    "not wrapped": (
        "The app is not wrapped in SentryMiddleware.",
        App("app = app.app"),
        [App("app = Starlette(middleware=[Middleware(SentryMiddleware)], lifespan=lifespan)")],
    ),
    "never initialised": (
        "sentry_sdk.init is not called",
        App(init=""),
        [App(base=GOOD.replace("{init}", "").replace("    asyncio.get", "    {init}\n    asyncio.get"))],
    ),
    "no DSN": ("The SDK has no DSN", App(dsn=""), [App()]),
    "failing start": (
        "The app's start-up fails: OSError: no database\n          → See {folder}/patient.py:",
        App("async def broken(app):\n    raise OSError('no database')\n    yield\n"
            "app = SentryMiddleware(Starlette(lifespan=asynccontextmanager(broken)))"),
        [App("async def bare(scope, receive, send):\n    assert scope['type'] == 'http'\napp = SentryMiddleware(bare)")],
    ),
    "failing start without a reason": (
        "The app's start-up fails: it says no reason\n          → See its own log.",
        App("async def bare(scope, receive, send):\n    await send({'type': 'lifespan.startup.failed'})\n"
            "app = SentryMiddleware(bare)"),
        [App()],
    ),
}  # fmt: skip

UNWISE: dict[str, tuple[str, App, list[App]]] = {
    "not outermost": (
        "SentryMiddleware is not outermost: CORSMiddleware is around it",
        App("app = CORSMiddleware(app)"),
        [App("app = SentryMiddleware(CORSMiddleware(app.app))")],
    ),
    "not outermost within the framework": (
        "SentryMiddleware is not outermost: CORSMiddleware is around it",
        App("app = Starlette(middleware=[Middleware(CORSMiddleware), Middleware(SentryMiddleware)])"),
        [App("app = Starlette(middleware=[Middleware(SentryMiddleware), Middleware(CORSMiddleware)])")],
    ),
    "twice": (
        "SentryMiddleware is applied 2 times",
        App("app = SentryMiddleware(app)"),
        [App("app = SentryMiddleware(app.app)")],
    ),
    "initialised late": (
        "The SDK is initialised after the app was wrapped",
        App(base=GOOD.replace("{init}", "") + "{init}"),
        [App("app = Starlette(middleware=[Middleware(SentryMiddleware)], lifespan=lifespan)")],
    ),
    "initialised at start-up": (
        "The SDK is initialised after the app was wrapped",
        App(base=GOOD.replace("{init}", "").replace("    asyncio.get", "    {init}\n    asyncio.get")),
        [App()],
    ),
    "no release": ("Events name no release", App(init=INIT.replace('"shop@1"', '""')), [App(init="")]),
    "a server that trusts everybody": (
        "Everybody is trusted as a proxy",
        App("os.environ['FORWARDED_ALLOW_IPS'] = '*'"),
        [App("os.environ['FORWARDED_ALLOW_IPS'] = ''"), App("os.environ['FORWARDED_ALLOW_IPS'] = '10.*'")],
    ),
    "a middleware that trusts everybody": (
        "Everybody is trusted as a proxy",
        App(PROXY + "app = SentryMiddleware(ProxyHeadersMiddleware(app.app, '*'))"),
        [App(PROXY + "app = SentryMiddleware(ProxyHeadersMiddleware(app.app, '10.0.0.5'))")],
    ),
}  # fmt: skip
if SDK_VERSION < (3, 0):
    UNWISE["the SDK's own middleware"] = (
        "SentryAsgiMiddleware does the same work",
        App("from sentry_sdk.integrations.asgi import SentryAsgiMiddleware\n"
            "app = SentryMiddleware(SentryAsgiMiddleware(app.app))"),
        [App()],
    )  # fmt: skip
    UNWISE["personal data"] = (
        "Personal data is sent",
        App(more=", send_default_pii=True"),
        [App(more=", send_default_pii=False")],
    )
if SDK_VERSION >= (2, 75):
    UNWISE["personal data, by its newer name"] = (
        "Personal data is sent",
        App(more=", data_collection={'user_info': True}"),
        [App(more=", data_collection={'user_info': False}")],
    )
    UNWISE["strangers' traces"] = (
        "traces that anybody begins are continued",
        App(more=", traces_sample_rate=1.0"),
        [App(more=", traces_sample_rate=1.0, strict_trace_continuation=True"), App()],
    )
    UNWISE["strangers' traces, by a sampler"] = (
        "traces that anybody begins are continued",
        App(more=", traces_sampler=lambda context: 1.0"),
        [App(more=", traces_sampler=lambda context: 1.0, strict_trace_continuation=True")],
    )

LOGS = ", enable_logs=True" if (2, 35) <= SDK_VERSION < (3, 0) else ""
NO_LOGGING = f"{LOGS}, default_integrations=False, integrations=[]"
ADVICE: dict[str, tuple[str, App, list[App]]] = {
    "logs that nobody collects": (
        "Logs are on, and nothing collects them",
        App(more=NO_LOGGING),
        [App(more=f"{LOGS}, integrations=[LoggingIntegration()]"), App()],
    ),
    "nothing that is watched": (
        "No blocked event loop is reported",
        App("app = SentryMiddleware(app.app, watch=None)"),
        [App()],
    ),
    "half that is watched": (
        "No stuck request is reported",
        App("from sentry_asgi import Watch\napp = SentryMiddleware(app.app, watch=Watch(1, None))"),
        [App("from sentry_asgi import Watch\napp = SentryMiddleware(app.app, watch=Watch(None, 1))")],
    ),
    "inside of the framework": (
        "SentryMiddleware is within the framework's application",
        App("app = Starlette(middleware=[Middleware(SentryMiddleware), Middleware(CORSMiddleware)])"),
        [App()],
    ),
    "the default executor": (
        "Work given to loop.run_in_executor loses its request",
        App("app = SentryMiddleware(Starlette())"),
        [App()],
    ),
    "an unknown proxy": (
        "No proxy is trusted",
        App("os.environ['FORWARDED_ALLOW_IPS'] = ''"),
        [App("os.environ['FORWARDED_ALLOW_IPS'] = ''\napp = SentryMiddleware(app.app, trusted_hops=1)"),
         App("os.environ['FORWARDED_ALLOW_IPS'] = ''\n" + PROXY
             + "app = SentryMiddleware(ProxyHeadersMiddleware(app.app, '10.0.0.5'))")],
    ),
    "proxies by their number": (
        "trusted_hops=2: who a client is, its proxies say",
        App("app = SentryMiddleware(app.app, trusted_hops=2)"),
        [App("app = app.app")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_found_and_fails(doctor: Doctor, tmp_path: Path, name: str) -> None:
    said, bad, others = WRONG[name]
    said = said.replace("{folder}", str(tmp_path))
    result = doctor(bad)
    assert (result.exit_code, f"✗ wrong   {said}" in result.stdout, "→" in result.stdout) == (
        1,
        True,
        True,
    )
    for other in others:
        assert said not in doctor(other).stdout


@pytest.mark.parametrize("name", UNWISE)
def test_what_is_unwise_is_found_and_fails_where_that_is_asked(doctor: Doctor, name: str) -> None:
    said, bad, others = UNWISE[name]
    result = doctor(bad)
    assert (result.exit_code, said in result.stdout, "! unwise" in result.stdout) == (0, True, True)
    assert doctor(bad, "--strict").exit_code == 1
    for other in others:
        assert said not in doctor(other).stdout


@pytest.mark.parametrize("name", ADVICE)
def test_advice_is_found_and_fails_nothing(doctor: Doctor, name: str) -> None:
    said, bad, others = ADVICE[name]
    result = doctor(bad, "--strict")
    assert (result.exit_code, f"· advice  {said}" in result.stdout) == (0, True), result.stdout
    for other in others:
        assert said not in doctor(other).stdout


@pytest.mark.skipif(SDK_VERSION < (2, 15), reason="they don't stand aside there")
def test_the_sdks_integrations_are_named_only_where_they_do_not_stand_aside(tmp_path: Path) -> None:
    """Each in a process of its own: an integration, once there, stays."""
    said = "starlette integration is on, and does the same work"
    enabled = INIT.replace("auto_enabling_integrations=False", "auto_enabling_integrations=True")
    passed = INIT.replace(
        "auto_enabling_integrations=False",
        "auto_enabling_integrations=False, integrations=[StarletteIntegration()]",
    )
    imported = "from sentry_sdk.integrations.starlette import StarletteIntegration\n" + GOOD
    for app, found in (
        (App(init=enabled), False),
        (App("app = SentryMiddleware(app.app, take_over=False)", init=enabled), True),
        (App(init=passed, base=imported), True),
        (App("app = app.app", init=passed, base=imported), False),
    ):
        app.write(tmp_path)
        result = command("doctor", "patient:app", cwd=tmp_path)
        assert (said in result.stdout) == found, result.stdout


@pytest.mark.parametrize(
    ("code", "target", "said"),
    [
        ("", "patient:nothing", 'Attribute "nothing" not found'),
        ("", "nowhere:app", "Could not import module"),
        ("", "patient", "must be in format"),
        ("1 / 0", "patient:app", "patient:app fails when it is imported: ZeroDivisionError: division by zero ("),
        ("def f(:", "patient:app", "SyntaxError: invalid syntax (patient.py, line 23) ({folder}/patient.py:23)"),
        ("import nowhere", "patient:app", "No module named 'nowhere' ({folder}/patient.py:23)"),
        ("raise SystemExit('no')", "patient:app", "fails when it is imported: SystemExit: no"),
        ("app = 7", "patient:app", "patient:app is no ASGI application: 7"),
    ],
)  # fmt: skip
def test_an_app_that_cannot_be_looked_at_has_a_status_of_its_own(
    doctor: Doctor, tmp_path: Path, code: str, target: str, said: str
) -> None:
    result = doctor(App(code, target=target))
    said = said.replace("{folder}", str(tmp_path))
    assert (result.exit_code, said in result.stdout) == (2, True), result.stdout


@pytest.mark.parametrize("arguments", [[], ["--factory"]])
def test_a_factory_is_called_whether_or_not_it_is_said_to_be_one(
    doctor: Doctor, arguments: list[str]
) -> None:
    code = "made = app\ndef make(name='shop'):\n    return made"
    result = doctor(App(code, target="patient:make"), *arguments)
    assert result.stdout.splitlines() == FINE


def test_an_app_that_never_starts_is_not_waited_for_when_told_so(doctor: Doctor) -> None:
    code = "async def stuck(scope, receive, send):\n    await asyncio.Event().wait()\napp = SentryMiddleware(stuck)"
    assert doctor(App(code), "--no-startup").exit_code == 0


def test_an_app_that_takes_too_long_to_start_and_to_end_is_said_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def stuck(scope: object, receive: object, send: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(module, "_STARTUP_SECONDS", 0.05)
    assert asyncio.run(module._start(stuck)).failure == "it takes longer than 0 s"


def test_only_what_plainly_makes_apps_is_called() -> None:
    here = f"{__name__}:"
    assert load(f"{here}make_nothing", factory=False) == "made"
    for name in ("make_of", "a_function", "AppClass"):
        assert load(f"{here}{name}", factory=False) is globals()[name]


def make_nothing(of: str = "made") -> str:
    return of


def make_of(scope: object) -> None:
    raise AssertionError


async def a_function(*arguments: object) -> None:
    raise AssertionError


class AppClass:
    def __init__(self) -> None:
        raise AssertionError


# Sending.


@dataclass
class Server:
    """A server that answers with this status, after so many seconds; `took` counts what came."""

    url: str
    took: list[str] = field(default_factory=list)


@contextmanager
def serving(status: int, seconds: float = 0) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            server.took.append(self.path)
            time.sleep(seconds)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        server = Server(f"http://k@127.0.0.1:{http.server_port}/1")
        threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        http.shutdown()


def test_a_test_event_arrives(doctor: Doctor, inspector: Inspector) -> None:
    result = doctor(App(dsn=inspector.dsn), "--send")
    assert result.exit_code == 0
    assert "The server took the test event" in result.stdout
    assert [one.summary.title for one in inspector.errors()] == ["sentry-asgi doctor: a test event"]


def test_a_server_that_takes_its_time_is_waited_for(doctor: Doctor) -> None:
    with serving(200, seconds=0.4) as server:
        result = doctor(App(dsn=server.url), "--send")
    assert (result.exit_code, "The server took the test event" in result.stdout) == (0, True)


def test_a_server_that_takes_too_long_is_a_failure(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SEND_SECONDS", 0.2)
    with serving(200, seconds=0.6) as server:
        result = doctor(App(dsn=server.url), "--send")
    assert (result.exit_code, "no answer within 0 s" in result.stdout) == (1, True)


@pytest.mark.parametrize(
    ("status", "said"),
    [(403, "the server answered 403"), (404, "404"), (413, "too large"), (429, "takes no more"), (500, "500")],
)  # fmt: skip
def test_what_the_server_refuses_is_a_failure(doctor: Doctor, status: int, said: str) -> None:
    with serving(status) as server:
        result = doctor(App(dsn=server.url), "--send")
    assert (result.exit_code, "The test event was not taken" in result.stdout) == (1, True)
    if SDK_VERSION >= (2, 75):
        assert said in result.stdout


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (", before_send=lambda event, hint: None", "the option before_send dropped it"),
        (", sample_rate=0.0", "the option sample_rate left it out"),
    ],
)
def test_what_is_dropped_on_the_way_is_a_failure(doctor: Doctor, more: str, said: str) -> None:
    result = doctor(App(more=more), "--send")
    assert (result.exit_code, said in result.stdout) == (1, True), result.stdout


def test_a_server_that_is_not_there_is_a_failure(doctor: Doctor) -> None:
    for dsn, said in (
        (NOBODY, "The test event was not taken"),
        ("", "nowhere to send it"),
    ):
        result = doctor(App(dsn=dsn), "--send")
        assert (result.exit_code, said in result.stdout) == (1, True), result.stdout


def test_nothing_is_sent_but_the_test_event(doctor: Doctor) -> None:
    code = """
async def broken(app):
    sentry_sdk.capture_message("starting")
    raise OSError("no database")
    yield
sentry_sdk.capture_message("imported")
app = SentryMiddleware(Starlette(lifespan=asynccontextmanager(broken)))
"""
    more = ", enable_logs=True" if SDK_VERSION < (3, 0) else ""
    with serving(200) as server:
        assert doctor(App(code, more, dsn=server.url)).exit_code == 1
        _forget_the_sdk()
        assert server.took == []
        doctor(App(code, more, dsn=server.url), "--send")
        assert len(server.took) == 1


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


def test_middleware_of_litestar_and_of_quart_is_seen() -> None:
    class Quart:
        def __init__(self) -> None:
            self.asgi_app: Any = SentryMiddleware(Litestar(), trusted_hops=3)

        async def __call__(self, *arguments: object) -> None: ...

    for app, kinds, hops in (
        (Litestar(middleware=[SentryMiddleware]), [Litestar, SentryMiddleware], 0),
        (Litestar(middleware=[DefineMiddleware(SentryMiddleware, trusted_hops=2)]), [Litestar, SentryMiddleware], 2),
        (Quart(), [Quart, SentryMiddleware, Litestar], 3),
    ):  # fmt: skip
        found = layers(app)
        assert [layer.type for layer in found] == kinds
        assert trusted_hops(found[1]) == hops
    (finding,) = (one for one in _found(Quart()) if one.weight == "advice")
    assert "within the framework's application" in finding.what


def _found(app: Any) -> list[Any]:
    from sentry_asgi.inspector.checks import CHECKS, AppReport

    patient = AppReport(layers(app), None, True, frozenset(), frozenset(), "", "", True, "10.0.0.5")
    return list(CHECKS[0](patient))


def test_where_threads_cannot_be_looked_at_that_is_said_instead() -> None:
    from sentry_asgi.inspector.checks import CHECKS, AppReport

    app = layers(SentryMiddleware(Litestar(), watch=None))
    patient = AppReport(app, None, True, frozenset(), frozenset(), "", "", True, "", has_gil=False)
    (finding,) = CHECKS[-1](patient)
    assert (finding.weight, "runs without the GIL" in finding.what) == ("advice", True)
