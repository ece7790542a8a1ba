"""Whatever reads what clients send takes time that grows with it, and no faster.

Nothing is listed here: each pattern and each function of the package that takes a text is found, and given texts that
are made of its own pieces.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from re import _constants, _parser  # type: ignore[attr-defined]
from types import ModuleType
from typing import Any

import pytest

import sentry_asgi
from sentry_asgi._redaction.rules import Work
from sentry_asgi._redaction.shapes import SHAPES

from .support import own_time

SMALL, LARGE = 2_000, 16_000
ALLOWED = 4
"""Times as much as linear growth: machines are noisy, and what is quadratic takes eight times as much."""

NOTHING = 0.002
"""Seconds that are too few to tell anything."""

# What a user types, and what starts something.
NO_READERS = (
    "__main__",
    "testing",
    "inspector.cli",
    "inspector.dev",
    "inspector.demo",
    "inspector.editor",
)

PIECES = [
    *("a", " ", "\n", "=", "&", ";", ":", ",", '"', "'", "\\", "%25", "%", "-", "/", "<", "(", "[", "{", "é", "0"),
    *("token=", "password: ", '"token": "', "'token', '", "<password>", "://a:b@c/?d ", "Bearer a.b ", "eyJa.eyJb."),
    *("--password ", "jwt\n  [type=a, input_value=", "-----BEGIN PRIVATE KEY-----", "a=b&", "a=b; ", "for=a, "),
    *("\u0315\u0300", "[]", "{}", '{"a":', '"a","', "--x\r\n", 'Content-Disposition: form-data; name="a"\r\n\r\nb\r\n'),
]  # fmt: skip


def modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(sentry_asgi.__path__, "sentry_asgi."):
        if not found.name.removeprefix("sentry_asgi.").startswith(NO_READERS):
            yield importlib.import_module(found.name)


def patterns() -> Iterator[Any]:
    for module in modules():
        for name, value in vars(module).items():
            if isinstance(value, re.Pattern):
                yield pytest.param(
                    value, id=f"{module.__name__.removeprefix('sentry_asgi.')}.{name}"
                )
    for shape in SHAPES:
        yield pytest.param(shape.pattern, id=f"a shape: {shape.kind}")


def literals(tree: Any) -> Iterator[str]:
    """The texts that a pattern holds as they are."""
    run = ""
    for operator, argument in tree:
        if operator is _constants.LITERAL:
            run += chr(argument)
            continue
        if run:
            yield run
        run = ""
        for part in argument if isinstance(argument, (list, tuple)) else [argument]:
            if isinstance(part, _parser.SubPattern):
                yield from literals(part)
            elif isinstance(part, list):
                for one in part:
                    if isinstance(one, _parser.SubPattern):
                        yield from literals(one)
                    elif isinstance(one, tuple) and one[0] is _constants.LITERAL:
                        yield chr(one[1])
    if run:
        yield run


def took(work: Callable[[Any], Any], given: Any) -> float:
    best = float("inf")
    for _ in range(2):
        start = own_time()
        work(given)
        best = min(best, own_time() - start)
    return best


def grows_too_fast(work: Callable[[Any], Any], make: Callable[[int], Any]) -> bool:
    large = took(work, make(LARGE))
    return large > NOTHING and large > took(work, make(SMALL)) * (LARGE // SMALL) * ALLOWED


def repeated(piece: str, size: int) -> str:
    return (piece * (size // len(piece) + 1))[:size]


@pytest.mark.parametrize("pattern", list(patterns()))
def test_a_pattern_takes_time_that_grows_with_the_text(pattern: re.Pattern[Any]) -> None:
    is_text = isinstance(pattern.pattern, str)
    source = pattern.pattern if is_text else pattern.pattern.decode("latin-1")
    flags = pattern.flags if is_text else pattern.flags & ~re.UNICODE
    own = dict.fromkeys(literals(_parser.parse(source, flags)))
    pieces = [*own, *(one + other for one in list(own)[:8] for other in list(own)[:8]), *PIECES]

    def find(text: str) -> None:
        for _ in pattern.finditer(text if is_text else text.encode(errors="replace")):
            pass

    slow = [
        piece
        for piece in dict.fromkeys(pieces)
        if grows_too_fast(find, functools.partial(repeated, piece))
    ]
    assert slow == []


def readers() -> Iterator[Any]:
    """Every function that takes one text, or bytes, and else what has a default."""
    for module in modules():
        for name, function in vars(module).items():
            if not inspect.isfunction(function) or function.__module__ != module.__name__:
                continue
            required = [
                one.annotation
                for one in inspect.signature(function).parameters.values()
                if one.default is one.empty and one.kind is not one.VAR_KEYWORD
            ]
            if required in (["str"], ["bytes"], ["str", "Work"]):
                where = module.__name__.removeprefix("sentry_asgi.")
                yield pytest.param(function, required[0], len(required), id=f"{where}.{name}")


@pytest.mark.parametrize(("function", "kind", "count"), list(readers()))
def test_a_reader_takes_time_that_grows_with_the_text(function: Any, kind: str, count: int) -> None:
    def read(text: str) -> None:
        given: Any = text if kind == "str" else text.encode(errors="replace")
        try:
            read = function(given, Work(10**9)) if count == 2 else function(given)
            if isinstance(read, Iterator):
                for _ in read:
                    pass
        except Exception:  # it has refused it, in whatever time
            pass

    slow = [piece for piece in PIECES if grows_too_fast(read, functools.partial(repeated, piece))]
    assert slow == []


def test_what_grows_as_a_square_is_noticed() -> None:
    pattern = re.compile(r"a+b")
    assert grows_too_fast(pattern.search, lambda size: "a" * size)
    assert len(list(patterns())) > 60
    assert len(list(readers())) > 30
