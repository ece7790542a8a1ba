"""An event as Markdown, to paste into an issue or to hand to an assistant. Pure.

Whatever an event contains stays within its place: fences are longer than any in what they hold, and
what stands in a line is one line of code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .values import Pairs
from .views import EventView, ExceptionView, Frame, Line, Summary

MAX_BREADCRUMBS = 20
MAX_FRAMES = 30


def markdown(event: EventView, about: Summary) -> str:
    """The event's exceptions, request and circumstances; `about` is what a list says of it."""
    return "\n".join(_lines(event, about)) + "\n"


def _lines(event: EventView, about: Summary) -> Iterator[str]:
    yield f"# {plain(about.title)}"
    if about.detail:
        yield f"\n{code(about.detail)}"
    yield ""
    facts = (("level", about.level), ("where", about.transaction), ("when", about.when))
    yield from _list((*facts, *event.facts, ("trace", event.trace_id)))
    if event.message and event.message != about.title:
        yield from ("\n## Message\n", fenced(event.message))
    for exception in event.exceptions:
        yield from _exception(exception)
    yield from _stack(event.stack)
    yield from _request(event)
    if event.breadcrumbs:
        yield "\n## Breadcrumbs, the latest last\n"
        for crumb in event.breadcrumbs[-MAX_BREADCRUMBS:]:
            yield f"- {crumb.when} {code(crumb.category)} {code(crumb.message)}"
    if event.tags:
        yield "\n## Tags\n"
        yield from _list(event.tags)


def _exception(exception: ExceptionView) -> Iterator[str]:
    heading = f"{exception.type}: {exception.value}" if exception.value else exception.type
    yield f"\n## {plain(heading.partition(chr(10))[0])}"
    if exception.relation:
        yield f"\n{plain(exception.relation)}"
    if "\n" in exception.value:
        yield f"\n{fenced(exception.value)}"
    yield from _stack(exception.frames)


def _stack(frames: tuple[Frame, ...]) -> Iterator[str]:
    if frames:
        yield "\nMost recent call first:\n"
    for frame in frames[:MAX_FRAMES]:
        where = f"{frame.filename or frame.module}:{frame.lineno or '?'}"
        yield f"- {code(frame.function)} in {code(where)}{'' if frame.application else ' (library)'}"
        if frame.application and frame.lines:
            yield _indented(fenced("\n".join(map(_source, frame.lines)), "python"))
        if frame.application:
            yield from (f"  - {code(name)} = {code(value)}" for name, value in frame.variables)


def _source(line: Line) -> str:
    """One line of source with its number; the one that was running is marked."""
    number = "" if line.number is None else f"{line.number:4} "
    return f"{'>' if line.current else ' '} {number}{line.text}".rstrip()


def _request(event: EventView) -> Iterator[str]:
    request = event.request
    if request is None:
        return
    yield f"\n## Request\n\n{code(f'{request.method} {request.url}'.strip())}\n"
    yield from _list((*request.query, *request.headers))
    if request.body:
        yield f"\n{fenced(request.body)}"


def _list(pairs: Pairs) -> Iterator[str]:
    return (f"- {plain(name)}: {code(value)}" for name, value in pairs if value)


def plain(text: str) -> str:
    """One line in which nothing is markup."""
    return re.sub(r"([\\`*_{}\[\]<>#|!~])", r"\\\1", " ".join(text.split()))


def code(text: str) -> str:
    """One line of code, whatever the text holds."""
    line = " ".join(text.split())
    if not line:
        return ""
    ticks = "`" * (_longest(line) + 1)
    gap = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{gap}{line}{gap}{ticks}"


def fenced(text: str, language: str = "") -> str:
    """A block of code that ends where it should."""
    fence = "`" * max(3, _longest(text) + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.split("\n"))


def _longest(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
