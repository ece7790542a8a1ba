"""Values fold into trees, source has colours, and an error is saved as one file without secrets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from sentry_asgi.inspector.colours import python, sql
from sentry_asgi.inspector.trees import MAX_DEPTH, MAX_ITEMS, MAX_NODES, Node, json_tree, tree

from .support import ID, Inspector, envelope
from .test_app import Page
from .test_groups import failure, frame
from .test_views import JSON


@pytest.mark.parametrize(
    ("value", "variable", "node"),
    [
        ("'tea'", True, Node("text", "'tea'")),
        ("b'tea'", True, Node("text", "b'tea'")),
        ("-1.5", True, Node("number", "-1.5")),
        ("None", True, Node("word", "None")),
        ("<Shop>", True, Node("plain", "<Shop>")),
        ("", True, Node("plain", "''")),
        (None, True, Node("word", "None")),
        (True, True, Node("word", "True")),
        (3, True, Node("number", "3")),
        ("tea", False, Node("text", '"tea"')),
        (None, False, Node("word", "null")),
        (False, False, Node("word", "false")),
        ([], False, Node("list", "[]")),
        ({"'a'": "1"}, True, Node("object", "{'a': 1}", (("'a'", Node("number", "1")),))),
        ({"a": [1]}, False, Node("object", '{"a": [1]}', (("a", Node("list", "[1]", (("0", Node("number", "1")),))),))),
    ],
)  # fmt: skip
def test_a_value_is_a_tree(value: Any, variable: bool, node: Node) -> None:
    assert tree(value, variable=variable) == node


def size(node: Node) -> int:
    return 1 + sum(size(child) for _, child in node.children)


def depth(node: Node) -> int:
    return 1 + max((depth(child) for _, child in node.children), default=0)


@pytest.mark.parametrize("value", [[[0] * 50] * 50, [0] * 500, {str(n): {} for n in range(999)}])
def test_a_tree_is_bounded_and_says_what_it_leaves_out(value: Any) -> None:
    node = tree(value)
    assert size(node) <= MAX_NODES + 60
    assert f"{len(value)} in all" in str(node)


def test_a_tree_has_a_bounded_depth() -> None:
    deep: Any = 1
    for _ in range(50):
        deep = [deep]
    assert depth(tree(deep)) == MAX_DEPTH + 1
    assert len(tree([0] * MAX_ITEMS).children) == MAX_ITEMS


@settings(max_examples=100, deadline=None)
@given(JSON, st.booleans())
def test_any_value_has_a_tree(value: Any, variable: bool) -> None:
    assert size(tree(value, variable=variable)) >= 1


def test_what_is_short_does_not_fold() -> None:
    assert not tree([1, 2]).folds
    assert tree(["x" * 50] * 2).folds
    assert json_tree("tea") is None
    assert json_tree("{tea") is None
    assert json_tree("[" * 100_000) is None
    assert json_tree("[1]") == tree([1])


def test_lines_have_the_colours_of_their_syntax() -> None:
    lines = python(["def tea(cups: int) -> None:", "    # hot", '    return "a', "@x"])
    assert lines[0][0] == ("keyword", "def")
    assert ("name", "tea") in lines[0]
    assert ("comment", "# hot") in lines[1]
    assert ["".join(text for _, text in line) for line in lines] == [
        "def tea(cups: int) -> None:", "    # hot", '    return "a', "@x",
    ]  # fmt: skip
    assert ("keyword", "SELECT") in sql("SELECT 1")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n")), min_size=1, max_size=5)
)
def test_colours_change_no_line(lines: list[str]) -> None:
    assert ["".join(text for _, text in row) for row in python(lines)] == lines
    assert "".join(text for _, text in sql(lines[0])) == lines[0]


def test_an_error_is_saved_as_one_file_without_secrets(inspector: Inspector) -> None:
    asked = {
        "url": "http://shop/",
        "headers": {"Authorization": "Bearer abcdef123456", "X-Tea": "green"},
    }
    shown = frame(context_line="raise KeyError", vars={"password": "'hunter22'", "cups": "2"})
    event = failure(shown, request=asked, transaction="shop.price")
    inspector.report(envelope(("event", event), event_id=ID))
    assert "hunter22" in inspector.get(f"/events/{ID}").text
    response = inspector.get(f"/events/{ID}/export")
    assert response.headers["content-disposition"] == 'attachment; filename="error-01234567.html"'
    page = Page(response.text)
    assert "abcdef123456" not in response.text
    assert "hunter22" not in response.text
    for text in ("KeyError", "shop.price", "green", "raise", "cups"):
        assert text in page.text
    assert "script" not in page.tags
    linked = {value for name, value in page.attributes if name in {"href", "src"} and value}
    assert all(value.startswith("vscode:") for value in linked)
    assert "--accent" in response.text
    assert inspector.get(f"/events/{'0' * 32}/export").status_code == 404


def test_long_values_and_trees_fold_on_the_page(inspector: Inspector) -> None:
    event = failure(frame(vars={"cups": {f"'c{n}'": "'x'" for n in range(20)}, "text": "y" * 700}),
                    contexts={"state": {"open": '{"a": ' + '"' + "z" * 90 + '"}'}})  # fmt: skip
    inspector.report(envelope(("event", event), event_id=ID))
    page = inspector.get(f"/events/{ID}").text
    assert page.count('class="tree"') == 2
    assert page.count('class="long"') == 1
    assert "700 characters" in page
