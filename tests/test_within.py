"""Failures inside an answer that tells of none: GraphQL's errors, JSON-RPC's, MCP's.

Starlette stands for the library here: it catches what its exception handlers are for. The libraries themselves are in
`tests/rpc`.
"""

from __future__ import annotations

import asyncio
import copy
import gc
import gzip
import json
import logging
import sys
import weakref
import zlib
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.integrations.logging import LoggingIntegration
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute

from sentry_asgi import SentryMiddleware
from sentry_asgi._failures import swallowed, within
from sentry_asgi._frameworks import rpc
from sentry_asgi._reporting import capture

from .support import Scope, Sentry, exception_values, http_scope, respond, run, websocket_scope

pytestmark = pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is of 3.12")

GRAPHQL = {"data": {"boom": None}, "errors": [{"message": "nope", "path": ["boom", 0, "x"]}]}
JSONRPC = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "nope"}}
MCP = {"jsonrpc": "2.0", "id": 1, "result": {"isError": True, "content": []}}
JSON = (b"content-type", b"application/json")
FINE = {"jsonrpc": "2.0", "id": 2, "result": 1}

CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "search"}}


class GraphQLError(Exception):
    """As `graphql` has it."""

    def __init__(self, message: str, original_error: Any = None) -> None:
        super().__init__(message)
        self.original_error = original_error
        self.path = ["orders", 0]


class ToolError(Exception):
    """As `mcp` has it."""


def answering(answer: Any, raised: Exception | None = None) -> Any:
    """An app that raises, and has its framework answer."""
    exception = raised or ValueError("nope")

    async def endpoint(request: Any) -> Any:
        await request.body()
        raise exception

    async def handler(request: Any, raised: Exception) -> Any:
        return answer() if callable(answer) else JSONResponse(answer)

    return Starlette(
        routes=[Route("/rpc", endpoint, methods=["POST"])],
        exception_handlers={type(exception): handler},
    )


def post(app: Any, call: Any = CALL, **options: Any) -> None:
    headers = [(b"host", b"example.org"), (b"content-type", b"application/json")]
    body = json.dumps(call).encode()
    run(
        SentryMiddleware(app, **options),
        http_scope("/rpc", method="POST", headers=headers),
        [{"type": "http.request", "body": body}],
    )


# What is a failure


@pytest.mark.parametrize(
    "answer",
    [
        GRAPHQL,
        JSONRPC,
        MCP,
        [FINE, JSONRPC],
        [{"data": {"x": 1}}, GRAPHQL],
        {**JSONRPC, "error": {"message": "no code"}},
        {"data": None, "errors": [{"path": ["boom"]}]},
    ],
)
def test_a_failure_that_a_200_tells_is_reported_as_handled(sentry: Sentry, answer: Any) -> None:
    sentry.init()
    post(answering(answer))
    assert exception_values(sentry.event) == [("ValueError", "nope")]
    mechanism = sentry.event["exception"]["values"][0]["mechanism"]
    assert (mechanism["type"], mechanism["handled"]) == ("asgi", True)
    assert sentry.event["contexts"]["asgi"]["phase"] == "before response"
    assert sentry.event["contexts"]["response"]["status_code"] == 200


@pytest.mark.parametrize(
    "answer",
    [
        *({**JSONRPC, "error": {"code": code}} for code in (-32700, -32600, -32601, -32602)),
        {"data": None, "errors": [{"message": "Syntax Error"}]},
        {"errors": [{"message": "invalid", "path": ["x"]}]},
        {"data": {"x": 1}, "errors": "none"},
        {"data": {"x": 1}, "errors": [None, {"path": []}, {"path": "x"}]},
        {"error": {"code": 1}},
        {"jsonrpc": "2.0", "id": 1, "result": {"isError": False}},
        {"jsonrpc": "2.0", "id": 1, "result": {"isError": "yes"}},
        {"jsonrpc": "2.0", "error": "none"},
        FINE,
        [1, None, "x"],
        "fine",
        [],
    ],
)
def test_what_the_caller_did_wrong_and_what_is_no_such_answer_is_none(
    sentry: Sentry, answer: Any
) -> None:
    sentry.init()
    post(answering(answer))
    assert sentry.events == []


def test_an_answer_without_an_exception_of_the_applications_is_nobodys_failure(
    sentry: Sentry,
) -> None:
    async def endpoint(request: Any) -> Any:
        try:
            raise ValueError("caught by the application itself")
        except ValueError:
            return JSONResponse(JSONRPC)

    sentry.init()
    post(Starlette(routes=[Route("/rpc", endpoint, methods=["POST"])]))
    assert sentry.events == []


# How it is looked at


def framed(*answers: Any) -> bytes:
    return b"".join(
        b"event: message\r\ndata: %s\r\n\r\n" % json.dumps(one).encode() for one in answers
    )


async def chunks(*parts: bytes) -> Any:
    for part in parts:
        yield part


TEXT = json.dumps(JSONRPC).encode()
LARGE = json.dumps({"data": {"x": "y" * 100_000}, "errors": GRAPHQL["errors"]}).encode()
LARGE_RPC = json.dumps({**MCP, "result": {"content": "x" * 100_000, "isError": True}}).encode()


def typed(content: bytes, media_type: str = "application/json", **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda: Response(content, media_type=media_type, headers=named)


def streamed(*parts: bytes, media_type: str = "application/json") -> Any:
    return lambda: StreamingResponse(chunks(*parts), media_type=media_type)


EVENTS = "text/event-stream"
LOOKED_AT = {
    "graphql's own type": typed(TEXT, "application/graphql-response+json; charset=utf-8"),
    "json-rpc's": typed(TEXT, "application/json-rpc"),
    "in parts": streamed(TEXT[:5], TEXT[5:20], TEXT[20:]),
    "events": streamed(framed(FINE, JSONRPC), media_type=EVENTS),
    "events, in parts": streamed(
        framed(FINE), TEXT_EVENT := framed(JSONRPC)[:30], framed(JSONRPC)[30:], media_type=EVENTS
    ),
    "an event without end": streamed(framed(FINE), b"data: " + TEXT, media_type=EVENTS),
    "large": typed(LARGE),
    "large, in parts": streamed(LARGE[:90_000], LARGE[90_000:]),
    "large, of mcp": typed(LARGE_RPC),
    "gzip": typed(gzip.compress(TEXT), content_encoding="gzip"),
    "deflate": typed(zlib.compress(TEXT), content_encoding="deflate"),
    "identity": typed(TEXT, content_encoding="identity"),
}


@pytest.mark.parametrize("name", LOOKED_AT)
def test_it_is_found_however_it_is_sent(sentry: Sentry, name: str) -> None:
    sentry.init()
    post(answering(LOOKED_AT[name]))
    assert exception_values(sentry.event) == [("ValueError", "nope")]


@pytest.mark.parametrize(
    "answer",
    [
        typed(TEXT, "text/plain"),
        typed(TEXT, content_encoding="br"),
        typed(b"\x1f\x8b not gzip", content_encoding="gzip"),
        typed(TEXT[:-1]),
        typed(b"[" * 10_000),
        typed(b'{"large": "' + b"x" * 100_000 + b'"}'),
        lambda: JSONResponse(JSONRPC, status_code=404),
    ],
)
def test_what_is_no_json_of_success_is_not_looked_at(
    sentry: Sentry, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sentry.init()
    post(answering(answer))
    assert sentry.events == []


def test_no_more_than_both_ends_of_an_answer_is_held(sentry: Sentry) -> None:
    look = within.Look("json")
    for _ in range(100):
        assert look.texts(b"x" * 50_000, more=True) == []
    (text,) = look.texts(memoryview(b"y" * 50_000), more=False)
    assert len(text) < 3 * within.LOOKED_AT
    assert text.startswith(b"x")
    assert text.endswith(b"y")


# Which exception


@pytest.mark.parametrize("more", [{}, {"more_body": True}])
def test_a_body_that_is_left_out_is_an_empty_one(
    sentry: Sentry, caplog: pytest.LogCaptureFixture, more: dict[str, Any]
) -> None:
    """As the specification has it: https://asgi.readthedocs.io/en/latest/specs/www.html."""

    async def handler(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [JSON]})
        await send({"type": "http.response.body", **more})
        if more:
            await send({"type": "http.response.body"})

    async def endpoint(request: Any) -> Any:
        raise ValueError("dealt with")

    async def answer(request: Any, exception: Exception) -> Any:
        return handler

    run(
        SentryMiddleware(
            Starlette(routes=[Route("/", endpoint)], exception_handlers={ValueError: answer})
        )
    )
    assert sentry.events == []
    assert caplog.records == []


@pytest.mark.parametrize("media_type", ["text/plain", "application/json", "text/event-stream"])
def test_nothing_holds_an_exception_when_its_request_is_over(
    sentry: Sentry, media_type: str
) -> None:
    """A streamed answer that is not looked at shares what stands for all such."""

    class DealtWithError(Exception):
        """Of a class whose instances can be referred to weakly."""

    raised: list[weakref.ref[Exception]] = []

    async def endpoint(request: Any) -> Any:
        exception = DealtWithError()
        raised.append(weakref.ref(exception))
        try:
            raise exception
        finally:
            del exception

    async def handler(request: Any, exception: Exception) -> Any:
        return StreamingResponse(chunks(b"one", b"two"), media_type=media_type)

    app = Starlette(routes=[Route("/", endpoint)], exception_handlers={DealtWithError: handler})
    run(SentryMiddleware(app))
    gc.collect()
    assert [one() for one in raised] == [None]


@pytest.mark.parametrize("told", [1, 2, 3, 5])
def test_several_failures_are_an_event_each(sentry: Sentry, told: int) -> None:
    """Of more than the answer tells of, the last."""
    library = _library_that_catches()

    async def endpoint(request: Any) -> Any:
        for kind in (ValueError, KeyError, TypeError):
            library.fail_for_it(kind)
        errors = [{"message": kind, "path": [kind]} for kind in ("a", "nope", "'nope'", "b", "c")]
        return JSONResponse({"data": None, "errors": errors[:told]})

    sentry.init()
    post(Starlette(routes=[Route("/rpc", endpoint, methods=["POST"])]))
    kinds = [one["exception"]["values"][-1]["type"] for one in sentry.events]
    assert kinds == ["ValueError", "KeyError", "TypeError"][-told:]
    fields = [one["contexts"]["rpc"]["field"] for one in sentry.events]
    if told == 3:
        assert fields == ["nope", "'nope'", "nope"]  # by what the exceptions say


def test_what_a_library_raised_around_it_is_looked_through(sentry: Sentry) -> None:
    cause = KeyError("the cause")
    wrapped = ToolError("a tool failed")
    wrapped.__cause__ = cause
    sentry.init()
    post(answering(MCP, wrapped))
    assert exception_values(sentry.event) == [("KeyError", "'the cause'")]


def test_ignoring_means_the_cause(sentry: Sentry) -> None:
    wrapped = GraphQLError("nope", original_error=KeyError("the cause"))
    sentry.init(ignore_errors=[KeyError])
    post(answering(GRAPHQL, wrapped))
    assert sentry.events == []


@pytest.mark.parametrize("original", [None, "no exception", KeyboardInterrupt()])
def test_what_a_library_raised_by_itself_is_the_failure(sentry: Sentry, original: Any) -> None:
    sentry.init()
    post(answering(GRAPHQL, GraphQLError("nope", original_error=original)))
    assert exception_values(sentry.event)[-1] == ("GraphQLError", "nope")


def test_a_chain_of_wrappers_without_end_ends(sentry: Sentry) -> None:
    one, other = ToolError("one"), ToolError("other")
    one.__cause__, other.__cause__ = other, one
    sentry.init()
    post(answering(MCP, one))
    assert len(sentry.events) == 1


def test_what_was_reported_by_others_is_not_reported_again(sentry: Sentry) -> None:
    cause = KeyError("x")
    error = GraphQLError("nope", original_error=cause)

    async def endpoint(request: Any) -> Any:
        await request.body()
        sentry_sdk.capture_exception(error)
        raise cause

    async def handler(request: Any, raised: Exception) -> Any:
        return JSONResponse(GRAPHQL)

    sentry.init()
    app = Starlette(
        routes=[Route("/rpc", endpoint, methods=["POST"])], exception_handlers={KeyError: handler}
    )
    post(app, {"query": "query Orders { orders }"})
    assert exception_values(sentry.event)[-1] == ("GraphQLError", "nope")
    assert sentry.event["contexts"]["rpc"] == {
        "system": "graphql",
        "operation": "Orders",
        "field": "orders.0",
    }


class MCPError(Exception):
    """As `mcp` has it."""

    def __init__(self, code: Any) -> None:
        super().__init__(f"code {code}")
        self.error = type("ErrorData", (), {"code": code})()


class LocatedError(GraphQLError):
    """As `graphql` has it, of a class of its own."""

    locations = None

    def __init__(self, message: str, path: Any = None) -> None:
        super().__init__(message)
        self.path = path


@pytest.mark.parametrize(
    ("error", "events"),
    [
        (LocatedError("Syntax Error"), 0),
        (LocatedError("a resolver's", ["orders"]), 1),
        (MCPError(-32602), 0),
        (MCPError(-32603), 1),
        (MCPError("odd"), 1),
        (ToolError("unknown"), 1),
    ],
)
@pytest.mark.parametrize("asked", [False, True])
def test_what_a_library_logs_of_the_callers_mistakes_is_no_failure(
    sentry: Sentry, error: Any, events: int, asked: bool
) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        try:
            raise copy.copy(error)  # the SDK remembers the last one that it was given
        except Exception:
            if asked:
                sentry_sdk.capture_exception()
            else:
                logging.getLogger("library").exception("failed")
        sentry_sdk.capture_message("something else")
        await respond(send)

    sentry.init(integrations=[LoggingIntegration(event_level=logging.ERROR)])
    run(SentryMiddleware(app))
    assert len(sentry.events) == 1 + (1 if asked else events)


def test_the_budget_and_a_client_that_left_count_as_ever(sentry: Sentry) -> None:
    sentry.init()
    app = SentryMiddleware(answering(JSONRPC), error_budget=1)
    for _ in range(3):
        run(app, http_scope("/rpc", method="POST"))
    assert len(sentry.events) == 1


def test_what_fails_in_looking_is_logged(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sentry.init()
    monkeypatch.setattr(rpc, "failures", None)
    post(answering(JSONRPC))
    assert "looking for a failure in an answer" in caplog.text
    monkeypatch.undo()
    monkeypatch.setattr(rpc, "called", None)
    post(answering(JSONRPC))
    assert "describing a call" in caplog.text
    assert len(sentry.events) == 1


def test_of_a_stream_each_failure_is_reported_when_the_next_part_comes(sentry: Sentry) -> None:
    seen: list[int] = []

    async def parts(*given: bytes) -> Any:
        for one in given:
            yield one
            seen.append(len(sentry.events))

    async def endpoint(request: Any) -> Any:
        raise ValueError("nope")

    async def handler(request: Any, raised: Exception) -> Any:
        sent = (framed(JSONRPC), b": still there\n\n", b": and there\n\n")
        return StreamingResponse(parts(*sent), media_type="text/event-stream")

    app = Starlette(routes=[Route("/", endpoint)], exception_handlers={ValueError: handler})
    run(SentryMiddleware(app))
    assert seen == [0, 1, 1]
    assert exception_values(sentry.event) == [("ValueError", "nope")]


def test_what_a_client_that_has_left_brings_about_is_no_failure(sentry: Sentry) -> None:
    async def endpoint(request: Any) -> Any:
        await request.body()

    async def handler(request: Any, raised: Exception) -> Any:
        return JSONResponse(JSONRPC)

    routes = [Route("/", endpoint, methods=["POST"])]
    app = Starlette(routes=routes, exception_handlers={ClientDisconnect: handler})
    run(SentryMiddleware(app), http_scope("/", method="POST"), [{"type": "http.disconnect"}])
    assert sentry.events == []


def test_what_fails_in_reporting_is_logged(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(capture, "_capture", None)
    post(answering(JSONRPC))
    assert "capturing an exception" in caplog.text


def test_what_is_no_failure_was_caught_by_nobody() -> None:
    assert not swallowed.was_caught(asyncio.CancelledError(), set(), rpc.speaks)


@pytest.mark.parametrize(
    "answer", [[7, "text"], {"jsonrpc": "2.0"}, {"jsonrpc": "2.0", "result": {}}]
)
def test_what_tells_of_nothing_is_no_failure(answer: Any) -> None:
    assert rpc.failures(answer) == []


# What is told


@pytest.mark.parametrize(
    ("call", "answer", "facts", "name"),
    [
        (CALL, MCP, {"system": "mcp", "method": "tools/call", "tool": "search"}, "search"),
        (
            {**CALL, "method": "prompts/get"},
            MCP,
            {"system": "mcp", "method": "prompts/get", "prompt": "search"},
            "search",
        ),
        (
            {**CALL, "method": "resources/read", "params": ["x"]},
            JSONRPC,
            {"system": "mcp", "method": "resources/read"},
            "resources/read",
        ),
        ({**CALL, "method": "sum"}, JSONRPC, {"system": "jsonrpc", "method": "sum"}, "sum"),
        (
            [{**CALL, "id": 7}, {**CALL, "method": "sum"}],
            [FINE, JSONRPC],
            {"system": "jsonrpc", "method": "sum"},
            "sum",
        ),
        (
            {"query": "{ boom }", "operationName": "Named"},
            GRAPHQL,
            {"system": "graphql", "operation": "Named", "field": "boom.0.x"},
            "Named",
        ),
        (
            {"query": "mutation Pay { boom }"},
            GRAPHQL,
            {"system": "graphql", "operation": "Pay", "field": "boom.0.x"},
            "Pay",
        ),
        ({"query": "{ boom }"}, GRAPHQL, {"system": "graphql", "field": "boom.0.x"}, "boom.0.x"),
        ({"query": "boom"}, GRAPHQL, {"system": "graphql", "field": "boom.0.x"}, "boom.0.x"),
        ({"query": 1}, JSONRPC, None, None),
        ([], JSONRPC, None, None),
        (5, JSONRPC, None, None),
        ({"jsonrpc": "2.0"}, JSONRPC, None, None),
        ([CALL, CALL], JSONRPC, None, None),
        ({**CALL, "method": "drop table; --"}, JSONRPC, None, None),
    ],
)
def test_the_event_names_what_was_called(
    sentry: Sentry, call: Any, answer: Any, facts: Any, name: str | None
) -> None:
    sentry.init()
    post(answering(answer), call, transaction_style="route")
    assert sentry.event["contexts"].get("rpc") == facts
    assert sentry.event["transaction"] == ("/rpc" if name is None else f"/rpc {name}")


# Websockets


def talk(app: Any, *texts: str) -> None:
    messages = [{"type": "websocket.receive", "text": text} for text in texts]
    scope = websocket_scope("/ws", subprotocols=["graphql-transport-ws"])
    gone = {"type": "websocket.disconnect", "code": 1000}
    run(SentryMiddleware(app), scope, [{"type": "websocket.connect"}, *messages, gone])


SUBSCRIBE = json.dumps({"id": "1", "type": "subscribe", "payload": {"query": "query Live { x }"}})


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ({"id": "1", "type": "next", "payload": GRAPHQL}, True),
        ({"id": "1", "type": "data", "payload": GRAPHQL}, True),
        ({"id": "1", "type": "error", "payload": GRAPHQL["errors"]}, True),
        (JSONRPC, True),
        ({"id": "1", "type": "next", "payload": {"errors": [{"message": "nope"}]}}, True),
        ({"id": "1", "type": "next", "payload": {"data": {"x": 1}}}, False),
        ({"id": "1", "type": "error", "payload": [{"message": "Syntax Error"}]}, False),
        ("pong", False),
    ],
)
def test_a_message_of_a_websocket_tells_of_a_failure(
    sentry: Sentry, message: Any, told: bool
) -> None:
    from starlette.concurrency import run_in_threadpool

    seen: list[int] = []

    async def endpoint(socket: Any) -> None:
        await socket.accept()
        for _ in range(2):
            await socket.receive_text()
            seen.append(len(sentry.events))
            library.fail_for_it()
            await socket.send_json(message)
        await run_in_threadpool(seen.append, len(sentry.events))
        await socket.close()

    library = _library_that_catches()
    sentry.init()
    app = Starlette(routes=[WebSocketRoute("/ws", endpoint)])
    talk(app, SUBSCRIBE, SUBSCRIBE)
    assert [exception_values(one) for one in sentry.events] == [[("ValueError", "nope")]] * 2 * told
    if told:
        assert seen == [0, 1, 1]  # reported when the next message is asked for
        assert sentry.events[1]["contexts"]["rpc"]["system"] == "graphql"
        assert sentry.events[1]["contexts"]["asgi"]["phase"] == "during response"


def subscribe(number: int) -> str:
    query = f"query Live{number} {{ x }}"
    payload = {"query": query, "variables": {"password": f"hunter-{number}-secret"}}
    return json.dumps({"id": str(number), "type": "subscribe", "payload": payload})


def test_messages_that_are_handled_at_the_same_time_are_told_apart(sentry: Sentry) -> None:
    """As GraphQL's servers do it: a task for each, while the next is asked for."""
    KINDS = {1: ValueError, 2: KeyError, 3: TypeError}

    async def handle(socket: Any, said: Any) -> None:
        number = int(said["id"])
        secret = said["payload"]["variables"]["password"]
        library.fail_for_it(KINDS[number], f"no {secret}" if number < 3 else "other")
        await asyncio.sleep((4 - number) / 50)
        told = f"no {secret}" if KINDS[number] is ValueError else repr(f"no {secret}")
        payload = {"data": None, "errors": [{"message": told, "path": ["x"]}]}
        await socket.send_json({"id": said["id"], "type": "next", "payload": payload})

    async def endpoint(socket: Any) -> None:
        await socket.accept()
        async with asyncio.TaskGroup() as handled:
            for _ in KINDS:
                handled.create_task(handle(socket, await socket.receive_json()))
        await socket.close()

    library = _library_that_catches()
    sentry.init()
    talk(Starlette(routes=[WebSocketRoute("/ws", endpoint)]), *map(subscribe, KINDS))
    found = {
        one["exception"]["values"][0]["type"]: one["contexts"]["rpc"]["operation"]
        for one in sentry.events
    }
    assert found == {"TypeError": "Live3", "KeyError": "Live2", "ValueError": "Live1"}
    assert "secret" not in json.dumps([one["exception"] for one in sentry.events])


def test_a_message_is_known_in_the_task_that_handles_it(sentry: Sentry) -> None:
    async def handle(said: Any) -> None:
        await asyncio.sleep(0.01)
        sentry_sdk.capture_message(f"told of {said['payload']['variables']['password']}")

    async def endpoint(socket: Any) -> None:
        await socket.accept()
        async with asyncio.TaskGroup() as handled:
            for _ in range(2):
                handled.create_task(handle(await socket.receive_json()))
        sentry_sdk.capture_message("of none: hunter-1-secret")
        await socket.close()

    sentry.init()
    talk(Starlette(routes=[WebSocketRoute("/ws", endpoint)]), subscribe(1), subscribe(2))
    told = [one["message"] for one in sentry.events]
    assert told == ["told of [Filtered]"] * 2 + ["of none: hunter-1-secret"]


def _library_that_catches() -> Any:
    """Code whose file lies where libraries do, and which catches what the application raises."""
    import sysconfig
    import types

    module = types.ModuleType("graphql")
    code = "def execute(resolver):\n    try:\n        resolver()\n    except Exception:\n        pass\n"
    path = f"{sysconfig.get_paths()['purelib']}/graphql/execution.py"
    exec(compile(code, path, "exec"), module.__dict__)

    def fail_for_it(kind: type[Exception] = ValueError, message: str = "nope") -> None:
        def resolver() -> None:
            raise kind(message)

        module.execute(resolver)

    module.fail_for_it = fail_for_it  # type: ignore[attr-defined]
    return module
