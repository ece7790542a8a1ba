"""What is secret and what is not: tables in plain text, and what reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent


def lines_of(table: str) -> Iterator[tuple[str, str]]:
    """The section and the text of each line of a table."""
    section = ""
    for line in (HERE / f"{table}.txt").read_text("utf-8").splitlines():
        if re.fullmatch(r"\[[a-z ]+\]", line):
            section = line[1:-1]
        elif line and not line.startswith("# "):
            yield section, line.replace("⏎", "\n").replace("⇥", "\t")


def words_of(table: str) -> Iterator[tuple[str, str]]:
    """The section and each word of a table of names."""
    for section, line in lines_of(table):
        for word in line.split():
            for one in each_of(word):
                yield section, one


def each_of(text: str) -> Iterator[str]:
    """A text for each of the alternatives in braces that hold a comma and no other brace: `{a,b}`, and `{a, b}` not."""
    found = re.search(r"(?<!\$)\{([^{}]*,(?! )[^{}]*)\}", text)
    if found is None:
        yield text
        return
    for one in re.split(r",(?! )", found[1]):
        yield from each_of(f"{text[: found.start()]}{one}{text[found.end() :]}")
