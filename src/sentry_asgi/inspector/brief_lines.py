"""What answers as Markdown have in common: lines, and how a title, a time and a duration are written. Pure."""

from __future__ import annotations

from typing import Any

from .digest import Data
from .markdown import code

TIMES = "\N{MULTIPLICATION SIGN}"


def titled(row: Data) -> str:
    """An error in one line."""
    message = " ".join(str(row["message"]).split())
    return f"{row['title']}: {message}" if message not in {"", row["title"]} else row["title"]


def clock(when: str) -> str:
    """The time of a moment in UTC; the day is that of the newest, nearly always."""
    return f"{when[11:19]}Z" if when else "?"


def took(milliseconds: Any) -> str:
    """A duration; nothing, if it is not known."""
    if milliseconds is None:
        return ""
    if milliseconds >= 1000:  # noqa: PLR2004
        return f"{milliseconds / 1000:.2f} s"
    return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"  # noqa: PLR2004


def joined(*parts: str) -> str:
    """What there is of these, in one line."""
    return " · ".join(filter(None, parts))


def log_line(row: Data) -> str:
    """A log."""
    logger = f" {code(row['logger'])}" if row["logger"] else ""
    return f"- {clock(row['when'])} {row['level']}{logger} {code(row['message'])}"


def finding_line(row: Data) -> str:
    """Something that is wrong."""
    return joined(
        f"- {row['rule']}: {code(row['title'])}",
        row["subject"] and code(row["subject"]),
        row["where"] and code(row["where"]),
        took(row["milliseconds"]) if row["milliseconds"] else "",
    )
