"""The odd ends of watching: what is not told, what is gone, what fails."""

from __future__ import annotations

import asyncio
import gc
import os
from typing import Any

import pytest

from sentry_asgi._watch import lost, reports, stuck
from sentry_asgi._watch.block import Block
from sentry_asgi._watch.clocks import turns, waited_elsewhere
from sentry_asgi._watch.garbage import Garbage
from sentry_asgi._watch.samples import frame_of, take

from .support import Sentry


def test_a_thread_that_is_gone_has_no_turns_and_no_stack() -> None:
    assert turns(0) is None
    assert frame_of(0) is None
    loop = asyncio.new_event_loop()
    assert take(loop, 0, None) is None
    loop.close()


def test_where_the_system_does_not_tell_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    def listdir(_: Any) -> Any:
        raise FileNotFoundError

    monkeypatch.setattr(os, "listdir", listdir)
    assert waited_elsewhere(0) == 0.0


def test_collections_are_timed_once_and_no_longer() -> None:
    one = Garbage()
    for _ in range(2):
        one.begin()
    assert gc.callbacks.count(one._note) == 1
    gc.collect()
    assert one.seconds > 0
    assert one.generation == 2
    for _ in range(2):
        one.end()
    assert one._note not in gc.callbacks
    one._note("stop", {"generation": 2})  # of one that had begun before
    assert one.generation == 2


def test_a_block_without_a_sample_is_none() -> None:
    block = Block(0.0, None, 0, 0.0)
    assert block.is_none
    assert (block.culprit, block.imported, block.shown) == (None, None, None)
    assert reports.places(block) == []
    reports.tell_trace(block, 1.0)


def test_a_chain_of_nothing_is_said_to_be_unknown() -> None:
    assert reports.where([]) == "nobody knows where"


def test_a_loop_that_is_gone_has_no_requests() -> None:
    assert not stuck.is_any_open(None)


@pytest.mark.parametrize(
    "told",
    [None, {}, {"message": "of nobody", "future": 7}, {"message": "of nobody", "handle": None}],
)
def test_what_tells_no_context_is_of_nobody(told: Any) -> None:
    assert lost._lost(told) is None


def test_what_fails_in_telling_a_trace_is_logged(
    sentry: Sentry, caplog: pytest.LogCaptureFixture
) -> None:
    class Way:
        def tell(self, *_: Any) -> None:
            raise ZeroDivisionError

    class Told:
        way = Way()
        span = object()
        trace: Any = None
        exchange: Any = None
        worker = "it"

    told = Told()
    told.trace, told.exchange = told, told
    block = Block(0.0, None, 0, 0.0)
    block.workers["it"] += 1
    block.samples = 1
    block.by["it"] = told  # type: ignore[assignment]
    reports.tell_trace(block, 1.0)
    assert "telling a trace of a blocked event loop failed" in caplog.text
