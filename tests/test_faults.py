"""Whatever raises beneath the middleware, the application and the server see what they would see without it.

The calls to make raise are found, not listed: the scenarios run once while `sys.monitoring` notes each function that
starts beneath a frame of the middleware's (the SDK's at any depth, transport, event processors, `before_send`,
`traces_sampler`, the `__repr__` and `__str__` of the application's objects, the middleware's own). Then they run once
for each of these, which now raises whenever it is called.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import functools
import gc
import inspect
import io
import logging
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import pytest
import sentry_sdk
from sentry_sdk.scope import Scope as SentryScope, ScopeType, use_isolation_scope, use_scope

import sentry_asgi
from sentry_asgi import SentryMiddleware
from sentry_asgi._failures import dedupe
from sentry_asgi._scopes import isolation as _isolation
from sentry_asgi._sdk import diagnostics, scopes as sdk_scopes
from sentry_asgi._stacktrace import objects
from sentry_asgi._tracing import ids
from sentry_asgi.logging import RequestFilter

from .support import (
    DSN,
    SDK_VERSION,
    CapturingTransport,
    Message,
    Scope,
    Sentry,
    end_all_watches,
    http_scope,
    websocket_scope,
)

pytestmark = pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is new in 3.12")

PACKAGE = str(Path(sentry_asgi.__file__).parent) + os.sep
SDK = str(Path(sentry_sdk.__file__).parent) + os.sep
HERE = __file__
OWN = {HERE, str(Path(HERE).with_name("support.py"))}


class Injected(Exception):
    """What the found calls raise."""


# What is found


class Site(NamedTuple):
    """A function that starts, and the function of the middleware's beneath which it does."""

    beneath: CodeType
    function: CodeType


def site(code: CodeType, frame: FrameType) -> Site | None:
    """Where a function starts, if that is beneath the middleware and no code of the application's is in between."""
    name = code.co_filename
    if not name.startswith((SDK, PACKAGE)) and name not in OWN:
        return None
    if name.startswith(PACKAGE) and (guards(code) or code.co_qualname in NOT_GUARDED):
        return None
    caller = frame.f_back
    while caller is not None:
        name = caller.f_code.co_filename
        if name in OWN:
            return None
        if name.startswith(PACKAGE):
            passes_on = caller.f_code.co_flags & inspect.CO_COROUTINE or (
                caller.f_code.co_qualname.startswith("_Watched.")
            )
            if passes_on and code.co_filename == HERE:
                return None  # the application itself, or the server
            return Site(caller.f_code, code)
        caller = caller.f_back
    return None


def told(one: Site) -> str:
    return " beneath ".join(
        f"{Path(code.co_filename).name}:{code.co_qualname}:{code.co_firstlineno}"
        for code in (one.function, one.beneath)
    )


GUARDS: dict[CodeType, bool] = {}


def guards(code: CodeType) -> bool:
    """Whether a function of the middleware's is one that cannot fail to start: it passes on, or catches all itself."""
    known = GUARDS.get(code)
    if known is None:
        known = GUARDS[code] = bool(code.co_flags & inspect.CO_COROUTINE) or catches(code)
    return known


# What the constructor makes of its arguments, which is the user's to hear of, and what does no more than hold.
NOT_GUARDED = {
    *(
        "as_asgi3",
        "_takes",
        "exclusion",
        "restore_call",
        "isolation",
        "telling",
        "rules_of",
        "_rules",
    ),
    *(
        "answering",
        "answering.<locals>.<genexpr>",
        "_Asked.__init__",
        "Lock.__init__",
        "Lock.__enter__",
        "Lock.__exit__",
    ),
    # It stands for the application itself.
    *(f"_Watched.__{name}__" for name in ("init", "await", "next")),
    *("_Watched.send", "_Watched.throw"),
    # The garbage collector calls it: CPython lets nothing out of it, and it does no more than subtract.
    "Garbage._note",
    *("LazyScopes.__init__", "PublicScopes.__init__", "Budget.__init__", "_Bucket.__init__"),
}


def catches(code: CodeType) -> bool:
    lines = Path(code.co_filename).read_text().splitlines()
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.FunctionDef) and code.co_firstlineno in {
            node.lineno,
            *(decorator.lineno for decorator in node.decorator_list),
        }:
            return any(
                isinstance(one, ast.ExceptHandler)
                and isinstance(one.type, ast.Name)
                and one.type.id == "Exception"
                for one in ast.walk(node)
            )
    return False


TOOL = 2


@contextmanager
def starting(callback: Callable[[CodeType, int], None]) -> Iterator[None]:
    if sys.version_info < (3, 12):  # `pytestmark` skips the tests there; type checkers read this
        raise NotImplementedError
    monitoring = sys.monitoring
    monitoring.use_tool_id(TOOL, "fault injection")
    monitoring.register_callback(TOOL, monitoring.events.PY_START, callback)
    monitoring.set_events(TOOL, monitoring.events.PY_START)
    try:
        yield
    finally:
        monitoring.set_events(TOOL, 0)
        monitoring.register_callback(TOOL, monitoring.events.PY_START, None)
        monitoring.free_tool_id(TOOL)


# What is run


class Hostile:
    """An object of the application's whose text is made by its own code."""

    def __repr__(self) -> str:
        return "<Hostile>"


class Failure(Exception):
    def __str__(self) -> str:
        return "nope"


def fail() -> None:
    local = Hostile()
    try:
        raise KeyError(local)
    except KeyError as error:
        raise Failure from error


class Gone(OSError):
    pass


async def body(receive: Any) -> bytes:
    read, more = b"", True
    while more:
        message = await receive()
        read, more = read + message.get("body", b""), message.get("more_body", False)
    return read


async def respond(send: Any, status: int) -> None:
    headers = [(b"content-type", b"text/plain"), (b"set-cookie", b"session=s3cret")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"part", "more_body": True})
    await send({"type": "http.response.body", "body": b"end"})


def report() -> None:
    sentry_sdk.set_tag("a", "b")
    sentry_sdk.set_user({"id": "7"})
    sentry_sdk.add_breadcrumb(message="here")
    sentry_sdk.capture_message("hello")


async def http(scope: Scope, receive: Any, send: Any) -> Any:
    read = await body(receive)
    path = scope["path"]
    if path == "/fine":
        await respond(send, 200)
    elif path == "/reports":
        report()
        await respond(send, 200)
    elif path == "/raises":
        fail()
    elif path == "/swallows":
        try:
            fail()
        except Failure:
            await respond(send, 500)
    elif path == "/logs":
        try:
            fail()
        except Failure:
            logging.getLogger("app").exception("it failed")
            raise
    elif path == "/unavailable":
        await respond(send, 503)
    elif path == "/group":
        group = ExceptionGroup("many", [Failure(), ValueError("nope")])
        raise group
    elif path == "/gone":
        await respond(send, 200)
    return len(read)


async def websocket(scope: Scope, receive: Any, send: Any) -> None:
    await receive()
    path = scope["path"]
    if path == "/denied":
        await send({"type": "websocket.close", "code": 1000})
        return
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": (await receive())["text"]})
    if path == "/raises":
        fail()
    elif path == "/swallows":
        try:
            fail()
        except Failure:
            await send({"type": "websocket.close", "code": 1011})
    elif path == "/reports":
        report()
        await receive()


async def lifespan(scope: Scope, receive: Any, send: Any) -> None:
    path = scope["state"]["path"]
    if path == "/unsupported":
        fail()
    await receive()
    report()
    if path == "/raises":
        fail()
    if path == "/failed":
        try:
            fail()
        except Failure:
            await send({"type": "lifespan.startup.failed", "message": "no"})
            raise
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


TRACE = b"0123456789abcdef0123456789abcdef-0123456789abcdef"
HEADERS = [
    (b"host", b"example.org"),
    (b"authorization", b"Bearer s3cret"),
    (b"cookie", b"session=s3cret"),
    (b"content-type", b"application/json"),
]
REQUEST: list[Message] = [
    {"type": "http.request", "body": b'{"token": ', "more_body": True},
    {"type": "http.request", "body": b'"s3cret"}', "more_body": False},
]
MESSAGES: list[Message] = [
    {"type": "websocket.connect"},
    {"type": "websocket.receive", "text": "hi"},
    {"type": "websocket.disconnect", "code": 1001},
]
LIFE: list[Message] = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

HTTP = ["/raises", "/fine", "/reports", "/swallows", "/logs", "/unavailable", "/group", "/gone"]


def scenarios(protocol: str) -> Iterator[tuple[Any, Scope, list[Message]]]:
    if protocol == "http":
        for path in HTTP:
            scope = http_scope(path, headers=HEADERS, query_string=b"token=s3cret", method="POST")
            yield http, scope, REQUEST
        traced = [*HEADERS, (b"sentry-trace", TRACE + b"-1"), (b"baggage", b"a=b")]
        yield http, http_scope("/fine", headers=traced), REQUEST
    elif protocol == "websocket":
        for path in ["/raises", "/denied", "/fine", "/swallows", "/reports"]:
            yield websocket, websocket_scope(path), MESSAGES
    else:
        for path in ["/raises", "/failed", "/fine", "/unsupported"]:
            yield lifespan, {"type": "lifespan", "asgi": {}, "state": {"path": path}}, LIFE


async def observe(wrap: Any, app: Any, scope: Scope, messages: list[Message]) -> list[Any]:
    """Everything that the application and the server can see of one connection, in order."""
    seen: list[Any] = []
    waiting = list(messages)

    async def receive() -> Message:
        seen.append("receive")
        return waiting.pop(0)

    async def send(message: Message) -> None:
        seen.append(without_ids(message))
        if scope.get("path") == "/gone" and len(seen) > 4:
            raise Gone("gone")

    async def watched(scope: Scope, receive: Any, send: Any) -> Any:
        try:
            returned = await app(scope, receive, send)
        except BaseException as exception:
            seen.append(("raised by the app", exception))
            raise
        seen.append(("returned by the app", returned))
        return returned

    try:
        seen.append(("returned", await wrap(watched)(dict(scope), receive, send)))
    except Exception as exception:
        same = any(one[1] is exception for one in seen if isinstance(one, tuple))
        seen.append(("raised", same))
    return [described(one) for one in seen]


IDS = {ids.HEADER, dedupe.HEADER}


def without_ids(message: Message) -> Message:
    headers = [pair for pair in message.get("headers", ()) if pair[0] not in IDS]
    return {**message, "headers": headers} if "headers" in message else dict(message)


def described(one: Any) -> Any:
    if isinstance(one, tuple) and isinstance(one[1], BaseException):
        return one[0], chain(one[1])
    return one


def chain(exception: BaseException | None) -> Any:
    """An exception with all that belongs to it, down to the lines of its traceback."""
    if exception is None:
        return None
    lines = []
    traceback = exception.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if not code.co_filename.startswith(PACKAGE):
            lines.append((code.co_name, traceback.tb_lineno))
        traceback = traceback.tb_next
    return (
        type(exception),
        [one if isinstance(one, str) else type(one) for one in exception.args],
        exception.__suppress_context__,
        lines,
        chain(exception.__cause__),
        chain(exception.__context__),
    )


def sampler(context: Any) -> float:
    return 1.0


def before_send(event: Any, hint: Any) -> Any:
    return event


def before_breadcrumb(crumb: Any, hint: Any) -> Any:
    return crumb


def processor(event: Any, hint: Any) -> Any:
    return event


class Transport(CapturingTransport):
    def flush(self, timeout: float, callback: Any = None) -> None:
        pass

    def record_lost_event(self, *args: Any, **kwargs: Any) -> None:
        pass


CALLBACKS: dict[str, Any] = {"before_send": before_send, "before_breadcrumb": before_breadcrumb}
if SDK_VERSION < (3, 0):
    CALLBACKS["before_send_transaction"] = before_send
OPTIONS: dict[str, dict[str, Any]] = {
    "sampled": {"traces_sampler": sampler},
    "not sampled": {"traces_sample_rate": 0.0},
    "public scopes": {"traces_sampler": sampler},
}


def run(
    protocol: str, wrap: Any, options: dict[str, Any], only: int | None = None
) -> dict[int, list[Any]]:
    """What is seen of a protocol's scenarios, of all or only one; with an SDK that is set up anew."""
    sentry_sdk.init(
        dsn=DSN,
        transport=Transport(),
        auto_enabling_integrations=False,
        release="app@1",
        **options,
        **CALLBACKS,
    )
    isolation = SentryScope(ty=ScopeType.ISOLATION)
    isolation.add_event_processor(processor)

    async def main() -> dict[int, list[Any]]:
        return {
            number: await observe(wrap, *scenario)
            for number, scenario in enumerate(scenarios(protocol))
            if only in (None, number)
        }

    logger, handler = logging.getLogger("app"), logging.StreamHandler(io.StringIO())
    handler.addFilter(RequestFilter())
    logger.addHandler(handler)
    try:
        with use_isolation_scope(isolation), use_scope(SentryScope(ty=ScopeType.CURRENT)):
            return asyncio.run(main())
    finally:
        logger.removeHandler(handler)


# What holds


ENOUGH = 2

alive: list[Any] = []


def beneath(app: Any) -> Any:
    """The middleware around an app; kept, for what is done when one is let go of could be done anywhere."""
    alive.append(SentryMiddleware(app, id_headers=True))
    return alive[-1]


def found(protocol: str, options: dict[str, Any]) -> dict[Site, int]:
    """All there is to make raise, each with the first scenario in which it is called.

    What the SDK calls itself, deep beneath, comes from there in one way: a few places of ours for each are enough.
    """
    sites: dict[Site, int] = {}
    deep: Counter[CodeType] = Counter()

    def note(code: CodeType, _offset: int) -> None:
        frame = sys._getframe(1)
        one = site(code, frame)
        if one is None or one in sites:
            return
        if frame.f_back is not None and frame.f_back.f_code is not one.beneath:
            deep[code] += 1
            if deep[code] > ENOUGH:
                return
        sites[one] = number

    for number in range(len(list(scenarios(protocol)))):
        with starting(note):
            run(protocol, beneath, options, number)
    return sites


@contextmanager
def raising(chosen: Site) -> Iterator[list[Site]]:
    """While it lasts, the chosen function raises whenever it starts beneath the other; noted each time."""
    raised: list[Site] = []

    def inject(code: CodeType, _offset: int) -> None:
        if code is chosen.function and site(code, sys._getframe(1)) == chosen:
            raised.append(chosen)
            raise Injected

    with starting(inject):
        yield raised


def raised_at(exc_info: Any) -> tuple[Any, str, int]:
    """An exception's class, and the line that raised it."""
    kind, _, traceback = exc_info
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return kind, traceback.tb_frame.f_code.co_filename, traceback.tb_lineno


@pytest.mark.parametrize("protocol", ["http", "websocket", "lifespan"])
def test_whatever_raises_the_app_and_the_server_see_what_they_see_without(
    sentry: Sentry,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    protocol: str,
) -> None:
    """And each failure is logged once, though it happens again and again."""
    # What integrations of other tests have added is their code, not the SDK's.
    monkeypatch.setattr(objects, "repr_processors", [])
    gc.collect()  # what other tests have left unfinished ends now
    done: set[Site] = set()
    wrong: list[str] = []
    for name, options in OPTIONS.items():
        if name == "public scopes":
            monkeypatch.setattr(sdk_scopes, "LAZY_SCOPES", None)
            chosen = functools.cache(_isolation._chosen.__wrapped__)
            monkeypatch.setattr(_isolation, "_chosen", chosen)
        bare = run(protocol, lambda app: app, options)
        assert run(protocol, beneath, options) == bare
        sites = found(protocol, options)
        for one in sites.keys() - done:
            diagnostics._last.clear()
            caplog.clear()
            with raising(one) as raised:
                seen = run(protocol, beneath, options, sites[one])
                end_all_watches()  # what fails in one is of this run
            # Or the threads of two thousand clients wake for ever. What was broken within one may not close.
            with contextlib.suppress(Exception):
                sentry_sdk.get_client().close(timeout=0)
            logged = Counter(
                (record.getMessage(), *raised_at(record.exc_info))
                for record in caplog.records
                if record.name == diagnostics.logger.name
            )
            if not raised:  # what is called only if something took long
                continue
            done.add(one)
            if seen[sites[one]] != bare[sites[one]]:
                wrong.append(f"{name}: not as bare: {told(one)}")
            again = [what for what, times in logged.items() if times > 1]
            if again:
                wrong.append(f"{name}: logged again and again: {told(one)}: {again}")
            if not logged and is_said(one):
                wrong.append(f"{name}: not logged: {told(one)}")
    alive.clear()
    assert len(done) > LEAST[protocol]
    assert wrong == []


# Where nothing is lost that anybody would miss: what only notes what passes, and what replaces what it cannot render.
QUIET = {"exchange.py", "body.py", "secrets.py", "redact.py", "texts.py"}


def is_said(one: Site) -> bool:
    """Whether the log is to tell of it: the SDK, or something of the user's that is no `__repr__`, has failed."""
    if Path(one.beneath.co_filename).name in QUIET or one.function.co_name.startswith("__"):
        return False
    return not one.function.co_filename.startswith(PACKAGE)


LEAST = {"http": 300, "websocket": 250, "lifespan": 100}
"""Calls that are to be found, or the search finds too little."""
