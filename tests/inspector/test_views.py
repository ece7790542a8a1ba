"""Any event makes a view, however odd, and what Sentry documents is shown as it should be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import astuple
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from sentry_asgi.inspector.values import MAX_DEPTH, MAX_LIST, MAX_TEXT
from sentry_asgi.inspector.views import event_view, summarize

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=10),
    lambda value: (
        st.lists(value, max_size=4) | st.dictionaries(st.text(max_size=5), value, max_size=4)
    ),
    max_leaves=8,
)


def shaped(**shape: Any) -> st.SearchStrategy[Any]:
    """Objects with some of these keys, each with the right shape or with anything."""
    values = {key: value | JSON for key, value in shape.items()}
    return st.fixed_dictionaries({}, optional=values)


FRAME = shaped(
    function=JSON, module=JSON, filename=JSON, abs_path=JSON, in_app=st.booleans(),
    lineno=st.integers(), vars=JSON, context_line=st.text(max_size=5),
    pre_context=st.lists(st.text(max_size=5), max_size=3), post_context=st.lists(JSON, max_size=3),
)  # fmt: skip
EXCEPTION = shaped(
    type=JSON, value=JSON, mechanism=shaped(type=JSON, handled=st.booleans()),
    stacktrace=shaped(frames=st.lists(FRAME | JSON, max_size=3)),
)  # fmt: skip
EVENT = shaped(
    exception=shaped(values=st.lists(EXCEPTION | JSON, max_size=3)) | st.lists(EXCEPTION, max_size=2),
    message=JSON, logentry=shaped(message=JSON, formatted=JSON), level=JSON, transaction=JSON,
    timestamp=st.floats() | st.integers() | st.datetimes().map(str) | st.text(max_size=5),
    tags=st.lists(st.lists(JSON, max_size=3), max_size=3), sdk=shaped(name=JSON, version=JSON),
    request=shaped(method=JSON, url=JSON, query_string=st.text(max_size=9), headers=JSON, data=JSON),
    release=JSON, environment=JSON, server_name=JSON, logger=JSON,
).filter(lambda event: isinstance(event, dict))  # fmt: skip


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for entry in value:
            yield from texts(entry)


@settings(max_examples=200, deadline=None)
@given(EVENT)
def test_any_event_makes_a_view_that_can_be_shown(event: dict[str, Any]) -> None:
    view = event_view(event)
    for text in texts(astuple(view)):
        assert len(text.encode()) <= 4 * (MAX_TEXT + 1)
    assert view.summary.title
    if view.summary.when:
        datetime.fromisoformat(view.summary.when)


def frames(*values: dict[str, Any]) -> Any:
    event = {"exception": {"values": [{"stacktrace": {"frames": list(values)}}]}}
    return event_view(event).exceptions[0].frames


def test_the_last_raised_exception_names_the_event_and_comes_first() -> None:
    event = {"exception": {"values": [{"type": "KeyError"}, {"type": "AppError", "value": "bad"}]}}
    assert (summarize(event).title, summarize(event).detail) == ("AppError", "bad")
    assert [exception.type for exception in event_view(event).exceptions] == [
        "AppError",
        "KeyError",
    ]


@pytest.mark.parametrize("exception", [[{"type": "E"}], {"type": "E"}, {"values": [{"type": "E"}]}])
def test_exceptions_are_found_in_each_form_that_sentry_takes(exception: Any) -> None:
    assert event_view({"exception": exception}).exceptions[0].type == "E"


@pytest.mark.parametrize(
    "event",
    [
        {"message": "hello"},
        {"message": {"message": "hel%s", "formatted": "hello"}},
        {"logentry": {"message": "hello", "formatted": None}},
    ],
)
def test_a_message_is_the_title(event: dict[str, Any]) -> None:
    assert summarize(event).title == "hello"
    assert summarize(event).level == "info"


def test_a_message_of_several_lines_has_the_first_as_title() -> None:
    about = summarize({"message": "one\ntwo"})
    assert (about.title, about.detail) == ("one", "two")


def test_source_lines_have_numbers_and_the_running_one_is_marked() -> None:
    (frame,) = frames(
        {"lineno": 7, "pre_context": ["a", "b"], "context_line": "c", "post_context": ["d"]}
    )
    assert [(line.number, line.text, line.current) for line in frame.lines] == [
        (5, "a", False), (6, "b", False), (7, "c", True), (8, "d", False),
    ]  # fmt: skip


@pytest.mark.parametrize("lineno", [None, "7", True, -1, 1 << 40])
def test_source_lines_without_a_line_number_are_shown_without(lineno: Any) -> None:
    (frame,) = frames({"lineno": lineno, "context_line": "c"})
    assert [(line.number, line.text) for line in frame.lines] == [(None, "c")]


def test_the_failing_frame_is_first() -> None:
    assert [frame.function for frame in frames({"function": "outer"}, {"function": "inner"})] == [
        "inner", "outer",
    ]  # fmt: skip


def test_frames_are_the_apps_where_the_sdk_says_so() -> None:
    marks = [frame.application for frame in frames({"in_app": True}, {}, {"in_app": False})]
    assert marks == [False, False, True]


def test_where_the_sdk_marks_no_frame_those_not_surely_a_librarys_are_the_apps() -> None:
    assert [frame.application for frame in frames({}, {"in_app": False})] == [False, True]


def test_of_too_many_frames_those_nearest_to_the_failure_are_shown() -> None:
    many = [{"function": str(number)} for number in range(MAX_LIST + 5)]
    shown = frames(*many)
    assert (len(shown), shown[0].function) == (MAX_LIST, str(MAX_LIST + 4))


@pytest.mark.parametrize(
    ("timestamp", "when"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000+00:00"),
        ("2026-01-02T03:04:05", "2026-01-02T03:04:05.000000+00:00"),
        ("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05.000000+00:00"),
        (1767323045.5, "2026-01-02T03:04:05.500000+00:00"),
        ("yesterday", ""),
        (float("nan"), ""),
        (1e300, ""),
        ("0001-01-01T00:00:00+14:00", ""),
        ({}, ""),
    ],
)
def test_moments_are_read_in_each_form_that_sentry_takes(timestamp: Any, when: str) -> None:
    assert summarize({"timestamp": timestamp}).when == when


def test_headers_and_tags_come_as_objects_or_as_pairs() -> None:
    view = event_view(
        {"tags": [["a", "b"], ["odd"], None], "request": {"headers": {"Host": "h", "X": [1]}}}
    )
    assert view.tags == (("a", "b"),)
    assert view.request is not None
    assert view.request.headers == (("Host", "h"), ("X", "[1]"))


@pytest.mark.parametrize("query", ["a=1&b=%20&c&", {"a": "1", "b": "%20", "c": ""}])
def test_the_query_is_shown_as_sent(query: Any) -> None:
    request = event_view({"request": {"query_string": query}}).request
    assert request is not None
    assert request.query == (("a", "1"), ("b", "%20"), ("c", ""))


def test_a_value_too_deep_to_write_is_an_ellipsis() -> None:
    deep: Any = []
    for _ in range(200_000):
        deep = [deep]
    assert event_view({"tags": {"deep": deep}}).tags == (("deep", "…"),)
    while deep:  # unwound by hand: letting it go at once would recurse as deep
        deep = deep.pop()


def test_half_a_surrogate_pair_becomes_a_question_mark() -> None:
    assert summarize(json.loads('{"message": "\\ud83d!"}')).title == "?!"


def test_groups_and_causes_tell_how_they_belong_together() -> None:
    def value(
        kind: str, number: int, parent: int | None, source: str = "", **more: Any
    ) -> dict[str, Any]:
        mechanism = {"exception_id": number, "parent_id": parent, "source": source, **more}
        return {"type": kind, "mechanism": mechanism}

    group = value("ExceptionGroup", 0, None, is_exception_group=True)
    first, second = (
        value("TeaError", 1, 0, "exceptions[0]"),
        value("CupError", 2, 0, "exceptions[1]"),
    )
    cause, context = value("OSError", 3, 1, "__cause__"), value("KeyError", 4, 3, "__context__")
    view = event_view({"exception": {"values": [context, cause, second, first, group]}})
    assert [(one.type, one.relation, one.depth) for one in view.exceptions] == [
        ("ExceptionGroup", "", 0),
        ("TeaError", "in the group ExceptionGroup: exceptions[0]", 1),
        ("CupError", "in the group ExceptionGroup: exceptions[1]", 1),
        ("OSError", "TeaError was caused by", 1),
        ("KeyError", "OSError was raised while handling", 1),
    ]


def test_a_circle_of_exceptions_ends() -> None:
    one = {
        "type": "A",
        "mechanism": {"exception_id": 1, "parent_id": 2, "is_exception_group": True},
    }
    two = {"type": "B", "mechanism": {"exception_id": 2, "parent_id": 1}}
    own = {"type": "C", "mechanism": {"exception_id": 3, "parent_id": 3}}
    assert [e.type for e in event_view({"exception": [one, two, own]}).exceptions] == [
        "C",
        "B",
        "A",
    ]


@pytest.mark.parametrize("where", [{"threads": {"values": [{"id": 1}, {"stacktrace": {"frames": [{"function": "f"}]}}]}},
                                   {"stacktrace": {"frames": [{"function": "f"}]}}])  # fmt: skip
def test_a_message_may_have_a_stack(where: dict[str, Any]) -> None:
    view = event_view({"message": "m", **where})
    assert [(own, [frame.function for frame in run]) for own, run in view.stack_runs] == [
        (True, ["f"])
    ]


def test_a_body_that_the_sdk_decoded_is_shown_as_json() -> None:
    def body(data: Any) -> str:
        request = event_view({"request": {"data": data}}).request
        assert request is not None
        return request.body

    deep: Any = []
    for _ in range(200_000):
        deep = [deep]
    assert [body({"a": 1}), body("a=1")] == ['{\n  "a": 1\n}', "a=1"]
    assert body(deep).startswith("[\n  [\n    [")
    assert len(body(deep)) == MAX_TEXT + 1
    while deep:
        deep = deep.pop()


@pytest.mark.parametrize("in_app", [True, None, False])
def test_frozen_frames_are_nobodys_code_and_lead_to_no_editor(in_app: Any) -> None:
    frozen = {
        "abs_path": "/srv/shop/<frozen importlib._bootstrap>",
        "filename": "<frozen importlib._bootstrap>",
    }
    ours = {"abs_path": "/srv/shop/a.py", "in_app": in_app}
    found = frames({**frozen, "in_app": in_app}, ours)
    assert [(frame.application, frame.path) for frame in found] == [
        (in_app is not False, "/srv/shop/a.py"),
        (False, ""),
    ]
    assert found[1].filename == "<frozen importlib._bootstrap>"


def test_a_modules_frame_shows_its_names_without_pythons() -> None:
    names = {"__builtins__": "<module>", "__name__": "'shop'", "prices": "[1]", "__x": "1"}
    (module,) = frames({"function": "<module>", "vars": names})
    assert module.variables == (("prices", "[1]"), ("__x", "1"))
    (function,) = frames({"function": "f", "vars": {"__class__": "<X>"}})
    assert function.variables == (("__class__", "<X>"),)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("'tea'", "'tea'"),
        ({"id": "7", "name": "'tea'", "of": ["None", "'a'", []]}, "{id: 7, name: 'tea', of: [None, 'a', []]}"),
        ([1, None, True, {}], "[1, None, true, {}]"),
        (3, "3"),
        (None, "None"),
        ({"a": {"b": ["x" * 10] * 3}}, "{a: {b: [" + ", ".join(["x" * 10] * 3) + "]}}"),
    ],
)  # fmt: skip
def test_variables_are_shown_as_python_would_show_them(sent: Any, shown: str) -> None:
    (frame,) = frames({"vars": {"it": sent}})
    assert frame.variables == (("it", shown),)


def test_a_variable_without_end_is_shown_to_its_bounds() -> None:
    deep: Any = []
    for _ in range(500):
        deep = [deep]
    (frame,) = frames({"vars": {"deep": deep, "wide": ["x"] * 100_000}})
    assert frame.variables[0][1] == "[" * MAX_DEPTH + "…" + "]" * MAX_DEPTH
    assert len(frame.variables[1][1]) == MAX_TEXT + 1
