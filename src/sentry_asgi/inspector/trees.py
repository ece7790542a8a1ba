"""Values as trees, that a page can fold. Pure.

What an SDK sends of a variable is its `repr` where it is a leaf; of JSON bodies and contexts, the value.
A tree has at most `MAX_NODES` nodes, `MAX_DEPTH` deep; what is beyond is one text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .values import as_line, as_text, as_variable, clean

MAX_NODES = 400
MAX_DEPTH = 8
MAX_ITEMS = 100
SHORT = 72
"""What is no longer than that, as one line, is not worth folding."""


@dataclass(frozen=True, slots=True)
class Node:
    """A value: `kind` is text, number, word (true, null), or list and object, which have `children`.

    `short` is all of it, or its beginning, in one line.
    """

    kind: str
    short: str
    children: tuple[tuple[str, Node], ...] = ()

    @property
    def folds(self) -> bool:
        """Whether it is worth a fold of its own."""
        return bool(self.children) and (len(self.short) > SHORT or "\n" in self.short)


def tree(value: Any, *, variable: bool = False) -> Node:
    """A JSON value; of a `variable`, texts are the `repr` of what they were."""
    return _Maker(variable=variable).node(value, 0)


def json_tree(text: str) -> Node | None:
    """The tree of a text that is a JSON object or list; None if it is not."""
    if text[:1] not in {"{", "["}:
        return None
    try:
        value = json.loads(text)
    except (RecursionError, ValueError):
        return None
    return tree(value)


class _Maker:
    def __init__(self, *, variable: bool) -> None:
        self._variable = variable
        self._room = MAX_NODES

    def node(self, value: Any, depth: int) -> Node:
        self._room -= 1
        if not isinstance(value, dict | list):
            return self._leaf(value)
        short = self._short(value)
        if depth >= MAX_DEPTH or self._room <= 0:
            return Node("text", short)
        kind = "object" if isinstance(value, dict) else "list"
        return Node(kind, short, tuple(self._children(value, depth)))

    def _children(
        self, value: dict[str, Any] | list[Any], depth: int
    ) -> Iterator[tuple[str, Node]]:
        pairs = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
        for name, held in pairs[:MAX_ITEMS]:
            if self._room <= 0:
                break
            yield as_line(name, 120), self.node(held, depth + 1)
        else:
            if len(pairs) <= MAX_ITEMS:
                return
        yield "…", Node("word", f"{len(pairs)} in all")

    def _leaf(self, value: Any) -> Node:
        if isinstance(value, str):
            if self._variable:
                return Node(_kind_of_repr(value), clean(value) or "''")
            return Node("text", clean(json.dumps(value, ensure_ascii=False)))
        if isinstance(value, bool) or value is None:
            python = {True: "True", False: "False", None: "None"}
            return Node("word", python[value] if self._variable else json.dumps(value))
        return Node("number", as_text(value))

    def _short(self, value: Any) -> str:
        if self._variable:
            return clean(as_variable(value), 400)
        return as_line(value, 400)


def _kind_of_repr(text: str) -> str:
    if text[:1] in {"'", '"'} or text[:2] in {"b'", 'b"'}:
        return "text"
    if text in {"None", "True", "False"}:
        return "word"
    return "number" if text.lstrip("-")[:1].isdigit() else "plain"
