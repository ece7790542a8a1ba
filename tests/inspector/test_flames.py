"""A profile is a flame graph: boxes as wide as their share of the samples, callers above what they call."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from playwright.sync_api import Page, expect

from sentry_asgi.inspector import flames as module
from sentry_asgi.inspector.flames import MAX_DEPTH, flames

from .support import Inspector, envelope
from .test_browser import open_list
from .test_views import JSON, shaped

FRAMES = [
    {"function": "main", "filename": "/srv/shop/main.py", "lineno": 3, "in_app": True},
    {"function": "price", "filename": "/srv/shop/stock.py", "lineno": 44, "in_app": True},
    {"function": "dumps", "filename": "json/__init__.py", "in_app": False},
]


def sample(stack: Any, thread: Any = "1") -> dict[str, Any]:
    return {"stack_id": stack, "thread_id": thread, "elapsed_since_start_ns": "1"}


def profile(samples: list[dict[str, Any]], stacks: Any = ([1, 0], [2, 0], [0])) -> dict[str, Any]:
    told = {"frames": FRAMES, "stacks": [list(stack) for stack in stacks], "samples": samples}
    return {"profile": told, "transaction": {"name": "/stock/{name}"}}


def boxes(payload: dict[str, Any]) -> list[tuple[str, str, int, float, float]]:
    return [(box.name, box.place, box.depth, box.left, box.width) for box in flames(payload).boxes]


def test_a_box_is_as_wide_as_its_share_of_the_samples() -> None:
    found = profile([sample(0), sample(0), sample(1), sample(2)])
    assert boxes(found) == [
        ("main", "main.py:3", 0, 0, 100), ("price", "stock.py:44", 1, 0, 50), ("dumps", "__init__.py", 1, 50, 25),
    ]  # fmt: skip
    graph = flames(found)
    assert (graph.samples, graph.deep, graph.name) == (4, 2, "/stock/{name}")
    assert [box.own for box in graph.boxes] == [True, True, False]


def test_of_all_threads_the_busiest_is_drawn() -> None:
    found = flames(profile([sample(0, 7), sample(1, 8), sample(1, 8)]))
    assert (found.samples, [box.name for box in found.boxes]) == (2, ["main", "dumps"])


def test_a_graph_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = flames(profile([sample(0)], [[0] * 500]))
    assert deep.deep == MAX_DEPTH
    rare = profile([sample(0)] * 999 + [sample(1)])
    assert [name for name, *_ in boxes(rare)] == ["main", "price"]
    monkeypatch.setattr(module, "MAX_BOXES", 1)
    assert len(boxes(rare)) == 1


@settings(max_examples=100, deadline=None)
@given(
    shaped(
        frames=st.lists(
            shaped(function=st.text(), filename=st.text(), lineno=st.integers()), max_size=3
        ),
        stacks=st.lists(st.lists(st.integers(-1, 4) | JSON, max_size=4), max_size=3),
        samples=st.lists(shaped(stack_id=st.integers(-1, 4), thread_id=JSON), max_size=5),
    )
    | JSON
)
def test_any_profile_has_a_graph(told: Any) -> None:
    found = flames({"profile": told, "transaction": told})
    assert all(0 <= box.left < 100 and box.width <= 100 for box in found.boxes)


def test_a_profile_is_seen_and_leads_to_its_envelope(page: Page, inspector: Inspector) -> None:
    assert inspector.report(envelope(("profile", profile([sample(0), sample(1)])))).is_success
    assert inspector.report(envelope(("profile_chunk", {}))).is_success
    open_list(page, "/?show=more")
    page.get_by_text("/stock/{name} 2 samples").click()
    expect(page.locator("h1")).to_have_text("/stock/{name}")
    texts = page.locator(".flames text").all_text_contents()
    assert texts == ["main main.py:3", "price stock.py:44", "dumps __init__.py"]
    widths = [
        box["width"] for one in page.locator(".flames rect").all() if (box := one.bounding_box())
    ]
    assert round(widths[0] / widths[1], 1) == 2
    page.get_by_role("link", name="Envelope").click()
    page.wait_for_url("**/envelopes/1")
    page.goto("/profiles/2")
    expect(page.get_by_text("No samples can be drawn")).to_be_visible()
    for path in ("/profiles/99", "/profiles/x"):
        assert inspector.get(path).status_code == 404
