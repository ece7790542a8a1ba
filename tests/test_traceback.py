"""What an event shows of an exception: what the SDK shows, where that is small."""

from __future__ import annotations

import json
import linecache
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.utils import event_from_exception

from sentry_asgi import SentryMiddleware
from sentry_asgi._sdk import events as sdk_events
from sentry_asgi._stacktrace import traceback
from sentry_asgi._stacktrace.traceback import EXCEPTIONS, INNERMOST, MESSAGE, OUTERMOST, event_from

from .support import SDK_VERSION, Scope, Sentry, exception_values, run

MECHANISM = {"type": "asgi", "handled": False}


def theirs(exception: BaseException) -> Any:
    options = {} if SDK_VERSION >= (3, 0) else {"client_options": sentry_sdk.get_client().options}
    event: Any = event_from_exception(exception, mechanism=dict(MECHANISM), **options)[0]
    return event


def ours(exception: BaseException) -> Any:
    return event_from(exception, MECHANISM)[0]


def both(sentry: Sentry, exception: BaseException) -> list[Any]:
    """The exceptions of an event, as the SDK sends them and as is done here."""
    values = []
    for make in (theirs, ours):
        event = make(exception)
        sentry_sdk.capture_event(event)
        values.append(sentry.events[-1]["exception"]["values"])
    return values


def caught(body: Callable[[], Any]) -> BaseException:
    try:
        body()
    except BaseException as exception:
        return exception
    raise AssertionError


def in_library(text: str) -> Any:
    return json.loads(text)


def small() -> None:
    number, name, nothing, long = 7, "it's", None, "x" * 300
    nested = {"a": [1, {"b": (2.5, b"c")}], 3: {"d"}, "deep": [[[[[1, "e"]]]]]}
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    in_library(f"{{{number}}}")
    raise AssertionError(name, nothing, long, nested)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"in_app_exclude": ["tests"]},
    {"in_app_exclude": ["tests"], "in_app_include": ["tests.test_traceback"]},
    {"in_app_include": ["json"]},
    {"project_root": "/nowhere"},
    {"max_value_length": 200},
    {"max_value_length": 100_000},
]
if SDK_VERSION < (3, 0):
    from sentry_sdk.scrubber import EventScrubber

    OPTIONS += [
        {"send_default_pii": True},
        {"event_scrubber": EventScrubber(denylist=["name"])},
        {"event_scrubber": EventScrubber(denylist=["b"], recursive=True)},
        {"include_local_variables": False},
        {"include_source_context": False},
        {"include_local_variables": False, "include_source_context": False},
    ]
if SDK_VERSION >= (2, 75):
    OPTIONS += [
        {"data_collection": {"stack_frame_variables": False}},
        {"data_collection": {"frame_context_lines": 2}},
        {"data_collection": {"frame_context_lines": 0}},
        {
            "data_collection": {
                "stack_frame_variables": {"mode": "allowlist", "terms": ["number", "nested"]}
            }
        },
        {"data_collection": {"stack_frame_variables": {"mode": "denylist", "terms": ["number"]}}},
        {"data_collection": {"stack_frame_variables": {"mode": "off"}}},
    ]


@pytest.mark.filterwarnings("ignore:Event scrubbers are not enabled")
@pytest.mark.parametrize(
    "options", OPTIONS, ids=lambda options: re.sub(" object at 0x[0-9a-f]+", "", str(options))
)
def test_a_small_event_is_the_sdks(sentry: Sentry, options: dict[str, Any]) -> None:
    sentry.init(**options)
    sdk, mine = both(sentry, caught(small))
    for frame in sdk[0]["stacktrace"]["frames"]:
        in_library = frame["module"].startswith("json") and frame.get("in_app") is None
        if in_library or frame.get("in_app") is False:
            frame.pop("vars", None)
    assert mine == json.loads(json.dumps(sdk).replace("'[Filtered]'", "[Filtered]"))


def test_frames_of_libraries_and_of_this_package_show_no_variables(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        in_library("{")

    with pytest.raises(json.JSONDecodeError):
        run(SentryMiddleware(app))
    frames = sentry.event["exception"]["values"][0]["stacktrace"]["frames"]
    own = [frame for frame in frames if frame["module"] == "sentry_asgi.middleware"]
    assert [frame["function"] for frame in own] == ["__call__"]
    assert "vars" not in frames[-1]
    assert "vars" not in own[0]


def test_before_send_is_shown_the_exception(sentry: Sentry) -> None:
    hints: list[Any] = []

    def before_send(event: Any, hint: Any) -> Any:
        hints.append(hint["exc_info"])
        frames = event["exception"]["values"][0]["stacktrace"]["frames"]
        assert type(frames) is list
        assert {type(frame) for frame in frames} == {dict}
        return event

    sentry.init(before_send=before_send)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        small()

    with pytest.raises(json.JSONDecodeError) as raised:
        run(SentryMiddleware(app))
    (told,) = hints
    assert told[:2] == (json.JSONDecodeError, raised.value)
    assert told[2].tb_frame.f_code is SentryMiddleware.__call__.__code__


def test_what_a_processor_puts_into_a_frame_is_sent(sentry: Sentry) -> None:
    things: list[Any] = [{1, 2}, {("a", "b"): 1}, float("nan"), Path("x")]

    def processor(event: Any, hint: Any) -> Any:
        frame = event["exception"]["values"][0]["stacktrace"]["frames"][-1]
        frame["vars"] = {"put": things[len(sentry.events)]}
        return event

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        sentry_sdk.get_isolation_scope().add_event_processor(processor)
        small()

    seen = []
    for _ in things:
        with pytest.raises(json.JSONDecodeError):
            run(SentryMiddleware(app))
        frames = sentry.events[-1]["exception"]["values"][0]["stacktrace"]["frames"]
        seen.append(frames[-1]["vars"]["put"])
    assert sorted(seen[0]) in ([1, 2], ["1", "2"])
    assert seen[1:] == [{"('a', 'b')": 1}, "nan", "PosixPath('x')"]


def test_rendered_data_is_sent_as_it_is_and_what_is_none_is_serialised(sentry: Sentry) -> None:
    plain = {"a": [1, None, True, {"b": "c"}]}
    circle: list[Any] = []
    circle.append(circle)
    for value, sent in (
        (plain, plain),
        ([plain], [plain]),
        ("text", "text"),
        ([circle], [["<cyclic>"]]),
        ([{1: 2}], [{"1": 2}]),
        ([Path("x")], ["PosixPath('x')"]),
        ([[0.5, float("inf")]], [[0.5, "inf"]]),
    ):
        sentry_sdk.capture_event({"contexts": {"it": {"is": sdk_events.rendered(value)}}})
        assert sentry.events[-1]["contexts"]["it"]["is"] == sent


@pytest.mark.skipif(SDK_VERSION >= (3, 0), reason="an SDK without scrubbers")
def test_what_scrubbers_replace_is_annotated(sentry: Sentry) -> None:
    sentry.init(event_scrubber=EventScrubber(denylist=["number"]))

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        small()

    with pytest.raises(json.JSONDecodeError):
        run(SentryMiddleware(app))
    assert "!config" in json.dumps(sentry.event["_meta"])


# Chains and groups.


def raising(exception: BaseException, cause: BaseException | None = None) -> Any:
    def body() -> None:
        if cause is None:
            raise exception
        raise exception from cause

    return caught(body)


def in_place_of(exception: BaseException, context: BaseException) -> BaseException:
    def body() -> None:
        try:
            raise context
        except BaseException:
            raise exception  # noqa: B904

    return caught(body)


def chain() -> Any:
    middle = raising(KeyError("in between"), raising(OSError(2, "no such file")))
    return in_place_of(ValueError("last"), middle)


def group() -> Any:
    members = [raising(ValueError("one")), ExceptionGroup("inner", [raising(TypeError("two"))])]
    return raising(ExceptionGroup("outer", members))


def suppressed() -> BaseException:
    def body() -> None:
        try:
            raise KeyError("unseen")
        except KeyError:
            raise ValueError("seen") from None

    return caught(body)


@pytest.mark.parametrize("make", [chain, group, suppressed])
def test_chains_and_groups_have_the_sdks_ids_and_parents(
    sentry: Sentry, make: Callable[[], BaseException]
) -> None:
    sdk, mine = both(sentry, make())
    assert mine == sdk


def test_a_parent_is_what_an_exception_belongs_to(sentry: Sentry) -> None:
    member = raising(ValueError("one"), raising(KeyError("its cause")))
    exception = raising(
        RuntimeError("wrapped"),
        raising(ExceptionGroup("both", [member, raising(TypeError("two"))])),
    )
    values = ours(exception)["exception"]["values"]
    told = {value["type"]: value["mechanism"] for value in values}
    ids = {name: mechanism["exception_id"] for name, mechanism in told.items()}
    assert ids == {
        "RuntimeError": 0,
        "ExceptionGroup": 1,
        "ValueError": 2,
        "KeyError": 3,
        "TypeError": 4,
    }
    parents = {name: mechanism.get("parent_id") for name, mechanism in told.items()}
    assert parents == {
        "RuntimeError": None,
        "ExceptionGroup": 0,
        "ValueError": 1,
        "KeyError": 2,
        "TypeError": 1,
    }
    assert told["TypeError"]["source"] == "exceptions[1]"
    assert told["KeyError"]["source"] == "__cause__"
    if SDK_VERSION >= (3, 0):
        sdk, mine = both(sentry, exception)
        assert mine == sdk


def test_a_circle_of_causes_is_shown_once(sentry: Sentry) -> None:
    one, other = raising(ValueError("one")), raising(KeyError("other"))
    one.__cause__, other.__cause__ = other, one
    assert [value["type"] for value in ours(one)["exception"]["values"]] == [
        "KeyError",
        "ValueError",
    ]


def test_a_chain_of_thousands_is_bounded(sentry: Sentry) -> None:
    exception = raising(ValueError("0"))
    for number in range(1, 5_000):
        outer = ValueError(str(number))
        outer.__cause__ = exception
        exception = outer
    start = time.thread_time()
    values = ours(exception)["exception"]["values"]
    assert time.thread_time() - start < 1
    assert len(values) == EXCEPTIONS
    assert (values[-1]["value"], values[0]["value"]) == ("4999", str(5_000 - EXCEPTIONS))


def test_a_group_of_thousands_is_bounded(sentry: Sentry) -> None:
    exception = ExceptionGroup("many", [ValueError(str(number)) for number in range(5_000)])
    values = ours(exception)["exception"]["values"]
    assert len(values) == EXCEPTIONS
    assert values[-1]["mechanism"]["is_exception_group"]


def test_of_a_deep_recursion_the_ends_are_shown(sentry: Sentry) -> None:
    def deeper(left: int) -> None:
        if left:
            deeper(left - 1)
        raise ValueError(left)

    exception = caught(lambda: deeper(700))
    frames = ours(exception)["exception"]["values"][0]["stacktrace"]["frames"]
    assert len(frames) == OUTERMOST + INNERMOST
    assert frames[-1]["vars"]["left"] == "0"
    assert frames[0]["function"] == "caught"


def test_without_a_traceback_there_are_no_frames(sentry: Sentry) -> None:
    sdk, mine = both(sentry, ValueError("never raised"))
    assert mine == sdk


def test_frames_that_hide_are_hidden(sentry: Sentry) -> None:
    def hidden() -> None:
        __tracebackhide__ = True
        shown()

    def shown() -> None:
        __tracebackhide__ = False
        exec(compile("__traceback_hide__ = True\nraise ValueError", "made-up", "exec"), {})

    sdk, mine = both(sentry, caught(hidden))
    assert mine == sdk
    assert [frame["function"] for frame in mine[0]["stacktrace"]["frames"]] == ["caught", "shown"]


# Messages.


class Broken(Exception):
    def __str__(self) -> str:
        raise SystemExit("not here")


class Spoken(Exception):
    def __init__(self, **said: Any) -> None:
        self.__dict__.update(said)


class Odd(Exception):
    @property
    def errno(self) -> int:
        raise LookupError


def with_notes() -> Exception:
    exception = ValueError("noted")
    exception.add_note("one")
    exception.add_note("two")
    return exception


@pytest.mark.parametrize(
    "exception",
    [
        ValueError(),
        ValueError("text"),
        ValueError(7),
        ValueError("a", 2),
        ValueError([1, "b"]),
        ValueError({"a": 1}),
        ValueError(Path("x")),
        KeyError("a"),
        KeyError("a", "b"),
        OSError(2, "no", "such"),
        Spoken(message="a message"),
        Spoken(detail={"a": [1]}),
        UnicodeDecodeError("ascii", b"x", 0, 1, "why"),
        ExceptionGroup("several", [ValueError()]),
        with_notes(),
    ],
    ids=repr,
)
def test_messages_are_the_sdks(sentry: Sentry, exception: Exception) -> None:
    sdk, mine = both(sentry, exception)
    assert mine == sdk


def test_messages_are_bounded_and_never_raise(sentry: Sentry) -> None:
    large = list(range(10_000_000))
    for exception, start in (
        (ValueError("x" * 1_000_000), "xxx"),
        (ValueError(large), "[0, 1, "),
        (KeyError(large), "[0, 1, "),
        (OSError(large, large), "OSError("),
        (Spoken(detail=large), "[0, 1, "),
        (Broken(), "<a Broken, whose str raised SystemExit>"),
        (Odd("odd"), "odd"),
    ):
        began = time.thread_time()
        (value,) = ours(exception)["exception"]["values"]
        assert time.thread_time() - began < 0.5
        assert value["value"].startswith(start)
        assert len(value["value"]) <= MESSAGE


# Whoever called the application.


def test_a_full_stack_has_the_callers_before_the_exceptions_frames(sentry: Sentry) -> None:
    sentry.init(add_full_stack=True)
    exception = caught(small)
    frames = ours(exception)["exception"]["values"][0]["stacktrace"]["frames"]
    functions = [frame["function"] for frame in frames]
    own = sys._getframe().f_code.co_name
    assert functions.index(own) < functions.index("ours") < functions.index("small")
    assert not any(str(frame["module"]).startswith("sentry_asgi") for frame in frames)
    sdk = [
        frame["function"]
        for frame in theirs(exception)["exception"]["values"][0]["stacktrace"]["frames"]
    ]
    assert functions == ["ours" if name == "theirs" else name for name in sdk]
    sentry.init(add_full_stack=True, max_stack_frames=3)
    frames = ours(chain())["exception"]["values"][0]["stacktrace"]["frames"]
    assert len(frames) == 3
    assert frames[-1]["function"] == "body"


# Source lines.


def module_of(path: Path) -> Any:
    namespace: dict[str, Any] = {"__name__": "made"}
    exec(compile(path.read_text(), str(path), "exec"), namespace)
    return namespace["fail"]


def line_of(exception: BaseException) -> Any:
    return ours(exception)["exception"]["values"][0]["stacktrace"]["frames"][-1]


def test_a_changed_file_is_read_again(sentry: Sentry, tmp_path: Path) -> None:
    path = tmp_path / "made.py"
    path.write_text("def fail():\n    raise ValueError('before')\n")
    exception = caught(module_of(path))
    assert line_of(exception)["context_line"] == "    raise ValueError('before')"
    path.write_text("def fail():\n    raise ValueError('changed')\n# more\n")
    frame = line_of(exception)
    assert frame["context_line"] == "    raise ValueError('changed')"
    assert frame["post_context"] == ["# more"]
    path.write_text("# gone\n")
    assert line_of(exception)["context_line"] is None
    path.unlink()
    assert line_of(exception)["context_line"] is None


def test_source_is_read_once_while_its_file_stays(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    exception = caught(small)
    ours(exception)
    monkeypatch.setattr("tokenize.open", None)
    assert line_of(exception)["context_line"]


def test_lines_are_cut_and_what_is_no_file_has_none(sentry: Sentry, tmp_path: Path) -> None:
    path = tmp_path / "made.py"
    path.write_text("def fail():\n    raise ValueError('" + "x" * 5_000 + "')\n")
    line = line_of(caught(module_of(path)))["context_line"]
    assert len(line) == 1_000
    assert line.endswith("...")
    path.write_bytes(b"# coding: nonsense\ndef fail(): raise ValueError\n")
    namespace: dict[str, Any] = {}
    exec(compile("def fail():\n    raise ValueError", str(path), "exec"), namespace)
    assert line_of(caught(namespace["fail"]))["context_line"] is None
    exec(compile("def fail():\n    raise ValueError", str(tmp_path), "exec"), namespace)
    assert line_of(caught(namespace["fail"]))["context_line"] is None


class Loader:
    def get_source(self, name: str) -> Any:
        assert name == "zipped"
        return "def fail():\n    raise ValueError  # in the archive\n"


class BrokenLoader:
    def get_source(self, name: str) -> Any:
        raise ImportError


def test_source_that_is_in_no_file_is_asked_of_its_loader(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "def fail():\n    raise ValueError\n"
    namespace: dict[str, Any] = {"__name__": "zipped", "__loader__": Loader()}
    exec(compile(code, "/no/such.zip/zipped.py", "exec"), namespace)
    assert (
        line_of(caught(namespace["fail"]))["context_line"]
        == "    raise ValueError  # in the archive"
    )
    namespace = {"__name__": "zipped", "__loader__": BrokenLoader()}
    exec(compile(code, "/no/such.zip/other.py", "exec"), namespace)
    assert line_of(caught(namespace["fail"]))["context_line"] is None
    exec(compile(code, "<cell>", "exec"), namespace)
    monkeypatch.setitem(
        linecache.cache, "<cell>", (9, None, ["def fail():\n", "    the cell\n"], "<cell>")
    )
    monkeypatch.setattr("sentry_asgi._stacktrace.source._KEPT", 0)
    assert line_of(caught(namespace["fail"]))["context_line"] == "    the cell"


def test_rules_for_variables_that_the_sdk_no_longer_has_keep_all_back(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sdk_events, "_rules_for_variables", None)
    assert sdk_events.variables_by_rules({"a": "1"}, {"mode": "denylist"}) == {}


def test_places_are_bounded(sentry: Sentry, monkeypatch: pytest.MonkeyPatch) -> None:
    sentry.init(project_root="/of/this/test")
    monkeypatch.setattr("sentry_asgi._stacktrace.traceback._PLACES", 1)
    assert exception_values(ours(caught(small)))[0][0] == "JSONDecodeError"
    assert len(traceback._places_for(sentry_sdk.get_client().options)) == 1


def test_frames_of_the_sdk_are_hidden(sentry: Sentry) -> None:
    namespace: dict[str, Any] = {"__name__": "sentry_sdk.integrations.made_up"}
    exec("def wrapped(body):\n    body()", namespace)
    sdk, mine = both(sentry, caught(lambda: namespace["wrapped"](small)))
    assert [frame["function"] for frame in mine[0]["stacktrace"]["frames"]][:3] == [
        *("caught", "<lambda>", "small"),
    ]
    assert len(mine[0]["stacktrace"]["frames"]) == len(sdk[0]["stacktrace"]["frames"])


def test_an_interrupt_is_no_ones_to_keep(sentry: Sentry) -> None:
    class Interrupted(Exception):
        def __str__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ours(Interrupted())


def test_a_module_may_change_while_its_variables_are_rendered(sentry: Sentry) -> None:
    code = """
class Changing:
    def __repr__(self):
        globals()["more"] = 1
        return "changing"
changing = Changing()
raise ValueError
"""
    exception = caught(lambda: exec(compile(code, "made-up.py", "exec"), {"__name__": "made"}))
    assert line_of(exception)["vars"]["changing"] == "changing"
