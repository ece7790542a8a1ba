"""`sentry-asgi tail`: what an inspector is told, live in the terminal.

The rules:

- What an event contains moves no cursor and colours nothing: control characters are replaced.
- `--json` is one object a line, in ASCII, flushed at once, with events whole: for pipes.
- Nothing is left out, however fast it comes: each look goes on where the one before ended.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from http.client import HTTPException
from typing import Any

from rich.console import Console
from rich.text import Text

from .local import fetch
from .pages import took

# The inspector gives a sign of life more often than this.
_SILENCE = 60
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_COLOURS = {
    "fatal": "bold red",
    "error": "red",
    "warning": "yellow",
    "info": "blue",
    "debug": "dim",
}


class GoneError(Exception):
    """There is no inspector, or none any more; the text says where."""


def follow(url: str, *, last: int, full: bool) -> Iterator[dict[str, Any]]:
    """What the inspector at `url` has and gets, oldest first, beginning with the last so many.

    Ends when the inspector does. Raises GoneError if there is none.
    """
    seen: int | None = None
    try:
        for newest in _news(url):
            seen = max(0, newest - last) if seen is None else seen
            for told in _between(url, seen, newest, full=full):
                seen = told["number"]
                yield told
    except (OSError, HTTPException, ValueError, KeyError) as error:
        if seen is not None:
            return  # it was there, and has ended in the middle of an answer, or before one
        raise GoneError(
            f"No inspector answers at {url}. `sentry-asgi inspect` starts one."
        ) from error


def _news(url: str) -> Iterator[int]:
    """The number of the newest entry, at first and whenever there is a newer one."""
    with fetch(f"{url}/live", timeout=_SILENCE) as lines:
        for line in lines:
            if line.startswith(b"data: "):
                yield int(json.loads(line[6:])["newest"])


def _between(url: str, number: int, newest: int, *, full: bool) -> Iterator[dict[str, Any]]:
    """The entries after a number and up to another, in as many answers as that takes."""
    while number < newest:
        address = f"{url}/entries?after={number}{'&full=1' if full else ''}"
        with fetch(address, timeout=_SILENCE) as response:
            told = json.loads(response.read())
        if not told:
            return  # they have made room meanwhile
        yield from told
        number = told[-1]["number"]


def printer(console: Console, url: str, *, as_json: bool) -> Callable[[dict[str, Any]], None]:
    """A function that prints one entry: a line of JSON, or one or two for people."""

    def print_json(told: dict[str, Any]) -> None:
        console.file.write(json.dumps(told) + "\n")
        console.file.flush()

    def print_text(told: dict[str, Any]) -> None:
        console.print(line(told, url), soft_wrap=True)

    return print_json if as_json else print_text


def line(told: dict[str, Any], url: str) -> Text:
    """An entry for people."""
    colour = _COLOURS.get(told["level"], "dim")
    label = told["status"] if told["kind"] == "request" else told["level"]
    text = Text()
    text.append(_time(told), "dim")
    text.append(f" {told['kind']:7} ", "dim")
    text.append(f"{_plain(label) or '-':8.16} ", colour)
    text.append(_plain(told["title"]), "bold" if told["kind"] == "error" else "")
    for part, style in (
        (told["detail"], ""),
        (took(told["duration"]), "cyan"),
        (told["place"], "dim"),
    ):
        if part and part != told["title"]:
            text.append(f"  {_plain(part)}", style)
    if told["kind"] == "error":
        text.append(f"\n{'':17}{url}{told['path']}", "dim")
    return text


def _time(told: dict[str, Any]) -> str:
    moment = (
        datetime.fromisoformat(told["when"])
        if told["when"]
        else datetime.fromtimestamp(told["received"]).astimezone()
    )
    try:
        return moment.astimezone().strftime("%H:%M:%S")
    except (OverflowError, ValueError):  # near the ends of all time
        return moment.strftime("%H:%M:%S")


def _plain(text: str) -> str:
    """One line, in which nothing but text is left."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.split()))
