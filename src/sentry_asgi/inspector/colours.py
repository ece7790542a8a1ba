"""Source lines and queries with the colours of their syntax, by Pygments, if it is installed.

Pygments is imported when the first line is shown: the inspector is ready without it. A line is a row of
pieces, each with the name of its colour; templates write them. What cannot be read is one plain piece.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

Piece = tuple[str, str]
"""The name of a colour, or nothing, and a text."""

_NAMES = {
    "Keyword": "keyword",
    "Name.Builtin": "builtin",
    "Name.Function": "name",
    "Name.Class": "name",
    "Name.Decorator": "name",
    "Literal.String": "string",
    "Literal.Number": "number",
    "Comment": "comment",
    "Operator.Word": "keyword",
}


def python(lines: Sequence[str]) -> tuple[tuple[Piece, ...], ...]:
    """Lines of Python, each in pieces."""
    return _coloured("python", tuple(lines))


def sql(text: str) -> tuple[Piece, ...]:
    """A query, in pieces."""
    return _coloured("sql", (text,))[0]


@lru_cache(maxsize=500)
def _coloured(language: str, lines: tuple[str, ...]) -> tuple[tuple[Piece, ...], ...]:
    plain = tuple((("", line),) for line in lines)
    lexer = _lexer(language)
    if lexer is None:  # pragma: no cover  # Pygments belongs to the extra
        return plain
    text = "\n".join(lines)
    rows = tuple(_rows(lexer.get_tokens(text)))
    # Whatever the lexer makes of it, each line stays what it was.
    same = len(rows) == len(lines) and all(
        "".join(piece for _, piece in row) == line for row, line in zip(rows, lines, strict=True)
    )
    return rows if same else plain


@lru_cache
def _lexer(language: str) -> Any:
    try:
        from pygments.lexers import get_lexer_by_name  # noqa: PLC0415  # when the first line is shown
    except ImportError:  # pragma: no cover
        return None
    return get_lexer_by_name(language, stripnl=False, ensurenl=False)


def _rows(tokens: Iterable[tuple[Any, str]]) -> Iterator[tuple[Piece, ...]]:
    row: list[Piece] = []
    for token, text in tokens:
        name = _name(str(token).removeprefix("Token."))
        first, *rest = text.split("\n")
        if first:
            row.append((name, first))
        for part in rest:
            yield tuple(row)
            row = [(name, part)] if part else []
    yield tuple(row)


def _name(token: str) -> str:
    return next((name for prefix, name in _NAMES.items() if token.startswith(prefix)), "")
