"""Values of variables: no object, whatever it is, does harm, and what is small is shown as it is."""

from __future__ import annotations

import array
import asyncio
import collections
import dataclasses
import enum
import functools
import re
import subprocess
import sys
import threading
import time
import types
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import sentry_sdk
from pydantic import BaseModel, Field, SecretStr

from sentry_asgi import SentryMiddleware
from sentry_asgi._sdk import events as sdk_events
from sentry_asgi._stacktrace import objects, render
from sentry_asgi._stacktrace.objects import writer
from sentry_asgi._stacktrace.render import (
    BREADTH,
    CHARACTERS,
    LENGTH,
    NODES,
    SHARE,
    VARIABLES,
    Renderer,
)

from .support import Scope, Sentry, run


def millions() -> list[int]:
    """Made anew for each test: were it kept, each garbage collection of the run would look through it."""
    return [*range(10), *[0] * 9_999_990]


def shown(value: Any, custom_repr: Any = None, length: int | None = None) -> Any:
    return Renderer(writer(custom_repr), length).variables({"it": value})["it"]


@pytest.fixture(autouse=True)
def forget_slow_classes() -> None:
    objects._slow.clear()


class Point(NamedTuple):
    x: int
    y: int


class Odd(tuple[int, ...]):
    __slots__ = ()
    _fields = ("x",)


class Colour(enum.Enum):
    RED = 1


class Name(str, enum.Enum):  # noqa: UP042
    ALICE = "alice"


class Text(str):
    __slots__ = ()

    def __repr__(self) -> str:
        raise AssertionError

    __getitem__ = __len__ = __iter__ = __repr__  # type: ignore[assignment]


class Dict(dict[str, Any]):
    def items(self) -> Any:
        raise AssertionError

    __getitem__ = __len__ = __iter__ = __repr__ = items  # type: ignore[assignment]


class List(list[Any]):
    def __iter__(self) -> Any:
        raise AssertionError

    __getitem__ = __len__ = __repr__ = __iter__  # type: ignore[assignment]


@dataclasses.dataclass
class Order:
    id: int
    items: Any
    secret: str = dataclasses.field(default="hidden", repr=False)


@dataclasses.dataclass(slots=True)
class Slotted:
    id: int
    unset: int = dataclasses.field(init=False)


class Model(BaseModel):
    id: int
    items: list[int]
    password: SecretStr
    hidden: str = Field(default="hidden", repr=False)


class Discreet(BaseModel):
    password: str

    def __repr_args__(self) -> Any:
        return []


class Speaking:
    def __init__(self, **held: Any) -> None:
        self.__dict__.update(held)

    def __repr__(self) -> str:
        return f"<speaking of {', '.join(self.__dict__)}>"


class Stored:
    __slots__ = ("held", "unset")

    def __init__(self, held: Any) -> None:
        self.held = held

    def __repr__(self) -> str:
        return "<stored>"


class Hooked:
    def __sentry_repr__(self) -> str:
        return "by the SDK's hook"


def function() -> None: ...


NOW = datetime.now(UTC)
ID = uuid.uuid4()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "None"),
        (True, "True"),
        (7, "7"),
        (2.5, "2.5"),
        ("it's", '"it\'s"'),
        (b"\xff", "b'\\xff'"),
        (bytearray(b"x"), "bytearray(b'x')"),
        ([1, "a"], ["1", "'a'"]),
        ((1,), ["1"]),
        ({3}, ["3"]),
        (frozenset(), []),
        ({"a": {1: None}}, {"a": {"1": "None"}}),
        ({("a", 1): 2, (1,): 3}, {"('a', 1)": "2", "(1,)": "3"}),
        (Point(1, 2), {"x": "1", "y": "2"}),
        (Odd((1, 2)), ["1", "2"]),
        (collections.deque([1]), ["1"]),
        (collections.OrderedDict(a=1), {"a": "1"}),
        (array.array("i", [1]), ["1"]),
        ({"a": 1}.keys(), ["'a'"]),
        ({"a": 1}.items(), [["'a'", "1"]]),
        (range(10**9), "range(0, 1000000000)"),
        (Colour.RED, "<Colour.RED: 1>"),
        (Name.ALICE, "<Name.ALICE: 'alice'>"),
        (Text("quiet"), "'quiet'"),
        (Dict(a=1), {"a": "1"}),
        (List([1]), ["1"]),
        (NOW, repr(NOW)),
        (ID, repr(ID)),
        (Decimal("1.5"), "Decimal('1.5')"),
        (Path("x"), repr(Path("x"))),
        (Order(7, [1, {"a": (2,)}]), "Order(id=7, items=[1, {'a': (2,)}])"),
        (Slotted(7), "Slotted(id=7)"),
        (
            Model(id=1, items=[1, 2], password=SecretStr("x")),
            "Model(id=1, items=[1, 2], password=SecretStr('**********'))",
        ),
        (Discreet(password="x"), "<tests.test_render.Discreet object>"),
        (Speaking(a=1), "<speaking of a>"),
        (Stored("a"), "<stored>"),
        (Hooked(), "by the SDK's hook"),
        (ValueError("a", {1: set()}), "ValueError('a', {1: set()})"),
        (SimpleNamespace(a=1, b=frozenset({2})), "namespace(a=1, b=frozenset({2}))"),
        (functools.partial(int, "7", base=8), "functools.partial(<class 'int'>, '7', base=8)"),
        (Speaking, "<class 'tests.test_render.Speaking'>"),
        (re.compile("a"), "re.compile('a')"),
        (types, repr(types)),
        (function, repr(function)),
        (
            [].append,
            re.compile("<built-in method append of list object at .*>"),
        ),
        (
            Speaking().__repr__,
            "<bound method Speaking.__repr__ of <tests.test_render.Speaking object>>",
        ),
        (object(), re.compile("<object object at .*>")),
        (collections.UserDict(a=1), "<collections.UserDict object>"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_small_is_shown_whole(value: Any, expected: Any) -> None:
    if isinstance(expected, re.Pattern):
        assert expected.fullmatch(shown(value))
    else:
        assert shown(value) == expected


def test_attrs_classes_are_shown_by_their_fields() -> None:
    attrs: Any = pytest.importorskip("attrs")

    @attrs.define
    class Item:
        id: int
        tags: Any
        hidden: int = attrs.field(default=1, repr=False)

    item: Any = Item
    seen = shown(item(7, millions()))
    assert seen.endswith("Item(id=7, tags=[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...])")


# What does harm elsewhere.


class Raising:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __repr__(self) -> str:
        raise self.error


class Recursing:
    def __repr__(self) -> str:
        return repr(self)


class Huge:
    def __repr__(self) -> str:
        return "x" * 5_000_000


class NoText:
    def __repr__(self) -> Any:
        return 7


class OddText:
    def __repr__(self) -> str:
        return Text("odd")


class Wrapping:
    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __repr__(self) -> str:
        return f"<wrapping {self.inner!r}>"


class QuerySet:
    """As Django's: to ask is to query."""

    def __iter__(self) -> Any:
        raise AssertionError("a query")

    __len__ = __getitem__ = __repr__ = __iter__


class Lazy:
    """As Django's SimpleLazyObject: to ask for the class evaluates it."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise AssertionError("evaluated")

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise AssertionError("evaluated")

    def __getattr__(self, name: str) -> Any:
        raise AssertionError("evaluated")


@dataclasses.dataclass
class Link:
    next: Any = None


def linked(length: int) -> Link:
    first = Link()
    for _ in range(length):
        first = Link(first)
    return first


def itself() -> Link:
    link = Link()
    link.next = link
    return link


NAMES = "tests.test_render."


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (
            millions,
            ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "<9,999,990 more>"],
        ),
        (lambda: tuple(millions()), [*map(str, range(10)), "<9,999,990 more>"]),
        (
            lambda: dict.fromkeys(range(1_000_000)).keys(),
            [*map(str, range(10)), "<999,990 more>"],
        ),
        (
            lambda: dict.fromkeys(range(11)),
            {**dict.fromkeys(map(str, range(10)), "None"), "...": "<1 more>"},
        ),
        (lambda: {"x" * 1_000_000: 1}, {"x" * 200: "1"}),
        (lambda: {tuple(millions()): 1}, {"(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...)": "1"}),
        (lambda: "x" * 50_000_000, "'" + "x" * (LENGTH - 4) + "..."),
        (lambda: b"x" * 50_000_000, "b'" + "x" * (LENGTH - 5) + "..."),
        (lambda: 10**10_000, "<int of 33220 bits>"),
        (lambda: Raising(ValueError()), f"<{NAMES}Raising object, whose repr raised ValueError>"),
        (lambda: Raising(SystemExit()), f"<{NAMES}Raising object, whose repr raised SystemExit>"),
        (
            lambda: Raising(asyncio.CancelledError()),
            f"<{NAMES}Raising object, whose repr raised CancelledError>",
        ),
        (Recursing, f"<{NAMES}Recursing object, whose repr raised RecursionError>"),
        (NoText, f"<{NAMES}NoText object, whose repr raised TypeError>"),
        (Huge, "x" * (LENGTH - 3) + "..."),
        (OddText, "odd"),
        (QuerySet, f"<{NAMES}QuerySet object>"),
        (lambda: Wrapping(QuerySet()), f"<{NAMES}Wrapping object>"),
        (lambda: Wrapping(Wrapping([QuerySet()])), f"<{NAMES}Wrapping object>"),
        (lambda: Wrapping(millions()), f"<{NAMES}Wrapping object>"),
        (lambda: Wrapping(Wrapping({"a": [millions()]})), f"<{NAMES}Wrapping object>"),
        (lambda: Wrapping("x" * 1_000_000), f"<{NAMES}Wrapping object>"),
        (lambda: Wrapping(Wrapping(7)), "<wrapping <wrapping 7>>"),
        (lambda: Wrapping(object), "<wrapping <class 'object'>>"),
        (lambda: Wrapping(10**10_000), f"<{NAMES}Wrapping object, whose repr raised ValueError>"),
        (lambda: Stored(millions()), f"<{NAMES}Stored object>"),
        (Lazy, re.compile("<tests.test_render.Lazy object at .*>")),
        (lambda: Order(1, millions()), "Order(id=1, items=[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...])"),
        (
            lambda: Model.model_construct(id=1, items=millions()),
            "Model(id=1, items=[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...])",
        ),
        (lambda: ValueError(millions()), "ValueError([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...])"),
        (
            lambda: functools.partial(print, millions()),
            "functools.partial(<built-in function print>, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...])",
        ),
        (lambda: linked(10_000), "Link(next=" * 8 + "..." + ")" * 8),
        (itself, "Link(next=...)"),
        (
            lambda: SimpleNamespace(**{f"a{number}": number for number in range(1_000)}),
            re.compile(r"namespace\(a0=0, .*, a19=19, \.\.\.\)"),
        ),
    ],
)
def test_what_does_harm_elsewhere_does_none_here(make: Any, expected: Any) -> None:
    value = make()
    start = time.thread_time()
    seen = shown(value)
    assert time.thread_time() - start < 0.25
    if isinstance(expected, re.Pattern):
        assert expected.fullmatch(seen)
    else:
        assert seen == expected


def test_an_interrupt_is_no_ones_to_keep() -> None:
    with pytest.raises(KeyboardInterrupt):
        shown(Raising(KeyboardInterrupt()))


def test_a_class_that_was_slow_is_let_be_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Slow:
        def __repr__(self) -> str:
            asked.append(self)
            time.sleep(10 * objects.SLOW)
            return "slow"

    assert [shown(Slow()), shown(Slow())] == ["slow", f"<{objects._full_name(Slow)} object>"]
    assert len(asked) == 1
    monkeypatch.setattr(objects, "LET_BE", 0.0)
    monkeypatch.setattr(objects, "_KEPT", 1)
    other = type("Other", (Slow,), {})
    assert [shown(other()), shown(other()), shown(Slow())] == ["slow"] * 3


def test_a_class_that_takes_the_processor_is_slow_sooner() -> None:
    class Busy:
        def __repr__(self) -> str:
            until = time.thread_time() + 2 * objects.SLOW
            while time.thread_time() < until:
                pass
            return "busy"

    assert [shown(Busy()), shown(Busy())] == ["busy", f"<{objects._full_name(Busy)} object>"]


def test_all_objects_together_may_take_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "ALL", -1.0)
    assert shown(Speaking()) == f"<{NAMES}Speaking object>"


def test_what_an_event_shows_is_bounded_in_all() -> None:
    renderer = Renderer(writer())
    wide = [[[["x"] * 10] * 10] * 10] * 10
    names = {f"name{number}": number for number in range(100)}
    assert len(renderer.variables(names)) == VARIABLES
    assert "left out" in str(renderer.variables({"wide": wide}))
    assert renderer.variables({"more": "not starved"})["more"] == "'not starved'"
    renderer.variables({f"wide{number}": [*wide] for number in range(NODES // SHARE)})
    assert "left out" in renderer.variables({"more": "starved"})["more"]
    assert "left out" in renderer.text(1)
    renderer = Renderer(writer())
    long = {f"name{number}": "x" * LENGTH + str(number) for number in range(VARIABLES)}
    seen = ["".join(renderer.variables(long).values()) for _ in range(10)]
    assert len("".join(seen)) < 1.2 * CHARACTERS
    assert "xxx" in seen[2]
    assert "xxx" not in seen[9]


def test_a_value_seen_again_is_rendered_once() -> None:
    renderer = Renderer(writer())
    value = [1]
    assert renderer.variables({"a": value})["a"] is renderer.variables({"b": value})["b"]


def test_a_circle_is_told() -> None:
    circle: Any = [1]
    circle.append({"again": circle})
    assert shown(circle) == ["1", {"again": "<cyclic>"}]
    assert shown([[[[circle]]]]) == [[[["[1, {'again': ...}]"]]]]
    assert shown([[[[[]]]]]) == [[[["[]"]]]]
    assert BREADTH == 10


def test_a_dict_that_changes_meanwhile_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(value: Any, base: Any) -> Any:
        raise RuntimeError("dictionary changed size during iteration")

    monkeypatch.setattr(render, "_first_pairs", changed)
    assert shown({"a": 1}) == "<could not be rendered: RuntimeError>"


def test_hooks_of_the_sdk_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(value: Any) -> str:
        raise ValueError

    assert shown(Speaking(), custom_repr=lambda value: "custom") == "custom"
    assert shown(Speaking(a=1), custom_repr=lambda value: None) == "<speaking of a>"
    assert shown(Speaking(), custom_repr=broken).endswith("whose repr raised ValueError>")
    answers: list[Any] = [NotImplemented, "processed", {"a": 1}]
    monkeypatch.setattr(objects, "repr_processors", [lambda value, hint: answers.pop(0)])
    assert [shown(Speaking(a=1)) for _ in range(3)] == ["<speaking of a>", "processed", "{'a': 1}"]


def test_a_hook_that_asks_for_the_class_evaluates_no_lazy_object(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def asks(value: Any, *_: Any) -> Any:
        return "a query set" if isinstance(value, QuerySet) else NotImplemented

    monkeypatch.setattr(objects, "repr_processors", [asks])
    assert shown(QuerySet()) == "a query set"
    assert shown(Lazy()).startswith(f"<{NAMES}Lazy object at ")


def test_no_harm_is_done_to_the_request_either(sentry: Sentry) -> None:
    values = [
        millions(),
        Raising(SystemExit()),
        Recursing(),
        Huge(),
        QuerySet(),
        Lazy(),
        Wrapping(millions()),
    ]

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        kept = values
        raise ValueError(len(kept))

    start = time.thread_time()
    with pytest.raises(ValueError, match="7"):
        run(SentryMiddleware(app))
    assert time.thread_time() - start < 1
    assert (
        len(sentry.event["exception"]["values"][0]["stacktrace"]["frames"][-1]["vars"]["kept"]) == 7
    )


DJANGO = """
import django
from django.conf import settings
settings.configure(DATABASES={}, INSTALLED_APPS=[])
django.setup()
from django.db import models
from django.utils.functional import SimpleLazyObject
from sentry_asgi._stacktrace.objects import writer
from sentry_asgi._stacktrace.render import Renderer

class Author(models.Model):
    name = models.CharField(max_length=10)
    class Meta:
        app_label = "render"
    def __str__(self):
        raise AssertionError("a query")

def evaluated():
    raise AssertionError("evaluated")

values = Renderer(writer()).variables({
    "queries": Author.objects.filter(name="x"),
    "lazy": SimpleLazyObject(evaluated),
    "model": Author(pk=7, name="x"),
})
for value in values.values():
    print(value)
"""


def test_no_query_is_made_for_djangos_lazy_querysets_and_models() -> None:
    pytest.importorskip("django")
    run_by_itself = [sys.executable, "-c", DJANGO]
    said = subprocess.run(run_by_itself, check=True, capture_output=True, text=True).stdout
    assert said.splitlines() == [
        "<django.db.models.query.QuerySet object>",
        "<django.utils.functional.SimpleLazyObject object>",
        "Author(id=7)",
    ]


def test_an_old_sdk_without_processors_has_none() -> None:
    assert isinstance(sdk_events.repr_processors, list)
    assert sentry_sdk.serializer.global_repr_processors is sdk_events.repr_processors


def test_values_are_rendered_while_other_threads_change_them() -> None:
    changing: dict[int, int] = dict.fromkeys(range(1_000), 0)
    stop = threading.Event()

    def change() -> None:
        number = 1_000
        while not stop.is_set():
            changing[number] = changing.pop(next(iter(changing)))
            number += 1

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(200):
            assert shown(changing)
    finally:
        stop.set()
        thread.join()
