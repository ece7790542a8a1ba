"""The odd ends of watching: what is not told, what is gone, what fails."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import os
import threading
import weakref
from dataclasses import replace
from typing import Any

import pytest
import sentry_sdk

from sentry_asgi import SentryMiddleware, Watch
from sentry_asgi._connection.exchange import Exchange
from sentry_asgi._connection.settings import DEFAULTS
from sentry_asgi._failures.budget import Budget
from sentry_asgi._python import tasks
from sentry_asgi._reporting import capture
from sentry_asgi._scopes.public import PublicScopes
from sentry_asgi._stacktrace.source import Step
from sentry_asgi._watch import chain, clocks, lost, reports, stuck, watches
from sentry_asgi._watch.block import KEPT, Block
from sentry_asgi._watch.clocks import Naps, Turns, now, turns, waited_elsewhere
from sentry_asgi._watch.garbage import Garbage, garbage
from sentry_asgi._watch.loop import LoopWatch, Sign
from sentry_asgi._watch.samples import Sample, frame_of, take

from .support import Sentry, http_scope, run


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


@pytest.mark.parametrize("tells", [True, False])
def test_a_nap_that_is_too_long_while_nothing_ran_is_lost_time(
    monkeypatch: pytest.MonkeyPatch, tells: bool
) -> None:
    if not tells:
        monkeypatch.setattr(clocks, "turns", lambda _: None)
    nap = Naps().nap(-1_000.0)  # it is over a thousand seconds after it should be
    assert 900 < nap.lost < 1_100
    assert nap.kept == 0.0


def test_a_nap_after_which_the_thread_waited_for_its_turn_was_on_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = iter([Turns(0.0, 0.0), Turns(0.0, 1_000.0)])
    monkeypatch.setattr(clocks, "turns", lambda _: next(told))
    assert Naps().nap(-999.0) == (0.0, 0.0)


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


# A block


def a_sample(number: int = 0, **facts: Any) -> Sample:
    code = compile("pass", f"/app/{number}.py", "exec")
    step = Step(code, {"__name__": "app"}, number)
    given: dict[str, Any] = {
        "steps": [step],
        "worker": number,
        "context": None,
        "exchange": None,
        "phase": None,
    }
    given |= {"idle": False, "imports": None, "debugged": False, **facts}
    return Sample(**given)


def test_of_a_block_so_many_sites_are_kept() -> None:
    block = Block(0.0, None, 0, 0.0)
    for number in range(KEPT + 10):
        block.add(a_sample(number))
    block.add(a_sample(0))
    assert len(block.sites) == len(block.by) == KEPT
    assert block.sites.most_common(1)[0][1] == 2


def test_a_block_that_was_garbage_collection_is_one_though_the_loop_is_idle_now() -> None:
    block = Block(now() - 1.0, None, 0, garbage.seconds)
    block.add(a_sample(idle=True))
    assert block.is_none
    garbage.seconds += 0.9
    assert not block.is_none


def test_a_sample_without_a_stack_has_no_site() -> None:
    block = Block(0.0, None, 0, 0.0)
    block.add(a_sample(steps=[]))
    assert block.samples == 1
    assert not block.sites


@pytest.mark.parametrize(("others", "imported"), [(0, "app.slow"), (3, None)])
def test_an_import_is_told_if_it_took_half_of_the_time(others: int, imported: str | None) -> None:
    block = Block(0.0, None, 0, 0.0)
    block.add(a_sample(imports="app.slow"))
    for number in range(others):
        block.add(a_sample(number))
    assert block.imported == imported


def test_a_loop_that_has_gone_on_while_it_was_looked_at_is_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tasks = iter([object(), None])
    monkeypatch.setattr(asyncio, "current_task", lambda _: next(tasks))
    taken = take(object(), threading.get_ident(), None)
    assert taken is not None
    assert taken.idle


# A chain of what awaits what


def test_what_tells_nothing_of_what_it_awaits_is_the_end() -> None:
    class Awaited:
        def __init__(self, held: Any) -> None:
            self.held = [held]

    async def waits(for_what: Any) -> None:
        await for_what

    coroutine: Any = waits(None)
    assert chain.chain(Awaited("a text")) == []
    assert chain._referred(coroutine, coroutine.cr_frame) is None
    coroutine.close()


def test_a_callback_with_an_empty_cell_holds_nothing() -> None:
    def closing() -> Any:
        later: Any

        def callback(_: Any) -> Any:
            return later

        if callback is None:
            later = 1
        return callback

    loop = asyncio.new_event_loop()
    future = loop.create_future()
    future.add_done_callback(closing())
    assert list(chain._closed_over(future)) == []
    future.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


# Tasks, as another thread sees them


def test_the_context_of_a_task_that_does_not_tell_is_what_it_refers_to() -> None:
    context = contextvars.copy_context()
    assert tasks.context_of([context]) is context
    assert tasks.context_of([]) is None


def test_tasks_that_change_too_fast_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_tasks(_: Any) -> Any:
        raise RuntimeError("Set changed size during iteration")

    monkeypatch.setattr(asyncio, "all_tasks", all_tasks)
    assert tasks.tasks_of(None) == []


# What fails, and what is gone


class ClosingLoop:
    """A loop that is closed by the time that it is to call something."""

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_soon_threadsafe(self, *_: Any, **__: Any) -> None:
        raise RuntimeError("Event loop is closed")


def watch_of(loop: Any) -> LoopWatch:
    return LoopWatch(loop, Watch(), None, lambda: None, print)


def test_a_loop_that_closes_meanwhile_gives_no_sign() -> None:
    loop = ClosingLoop()
    assert watch_of(loop)._asked() is None


@pytest.mark.parametrize("runs", [False, True])
def test_what_another_thread_has_kept_the_gil_for_is_no_block_of_the_loops(
    monkeypatch: pytest.MonkeyPatch, runs: bool
) -> None:
    told: list[Any] = []
    watch = watch_of(ClosingLoop() if runs else type("Gone", (), {})())
    monkeypatch.setattr(watch, "_tell", lambda *given, **_: told.append(given))
    sign = Sign(watch)
    sign.came = now()
    watch._kept(sign, 100.0, 0.0)
    assert told == []


def an_exchange(**changes: Any) -> Any:
    exchange = Exchange(http_scope(), None, None, DEFAULTS)  # type: ignore[arg-type]
    for name, value in changes.items():
        setattr(exchange, name, value)
    return exchange


def test_of_a_loop_that_closes_meanwhile_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, exchange = ClosingLoop(), an_exchange(started_at=0.0)
    found = [(object(), contextvars.copy_context(), exchange)]
    monkeypatch.setattr(stuck, "_open", lambda _: found)
    stuck.look(watch_of(loop), 1.0, {})


def test_a_request_that_has_answered_meanwhile_is_not_stuck(
    sentry: Sentry, caplog: pytest.LogCaptureFixture
) -> None:
    stuck._tell(None, an_exchange(first_byte_at=1.0), [], 1.0)
    assert sentry.events == []
    assert caplog.records == []
    stuck._tell(None, an_exchange(settings=None), [], 1.0)
    assert "telling of a stuck request failed" in caplog.text


def test_of_a_request_that_waits_nobody_knows_where_there_is_an_event_within_the_budget(
    sentry: Sentry,
) -> None:
    loop = ClosingLoop()
    watch = LoopWatch(loop, Watch(), Budget(1, 3600.0), lambda: None, print)
    for _ in range(2):
        reports.stuck(watch, an_exchange(settings=replace(DEFAULTS, watch=Watch())), [], 1.0)
    event = sentry.event
    assert event["exception"]["values"][0]["value"].endswith("waiting in nobody knows where")
    assert "stacktrace" not in event["exception"]["values"][0]
    assert event["fingerprint"] == ["RequestStuck"]


def test_what_nobody_watches_is_not_told_of_when_it_is_cancelled(sentry: Sentry) -> None:
    async def cancelled() -> None:
        watches.cancelled(an_exchange(), 1.0, None)

    asyncio.run(cancelled())
    assert sentry.events == []


def test_a_cancelled_request_that_cannot_be_told_of_is_logged(
    sentry: Sentry, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("broken")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(watches, "cancelled", broken)
    monkeypatch.setattr(capture, "now", lambda: float("inf"))
    with pytest.raises(asyncio.CancelledError):
        run(SentryMiddleware(app))
    assert "telling of a cancelled request failed" in caplog.text


def test_without_a_handler_of_the_logging_integration_nothing_is_made_elsewhere(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentry.init(default_integrations=False)
    told = lost.Lost("it was lost", "work", contextvars.copy_context())
    monkeypatch.setattr(lost, "_lost_here", lambda: told)
    monkeypatch.setattr(lost, "connection_of", lambda _: an_exchange())
    assert not lost.is_made_elsewhere(None)


def test_a_message_without_an_exception_is_grouped_by_what_the_task_runs(sentry: Sentry) -> None:
    seen: list[Any] = []

    class Handler:
        def emit(self, record: Any) -> None:
            seen.append(record)
            sentry_sdk.capture_message("lost")

    record = logging.LogRecord("asyncio", logging.ERROR, "", 0, "lost", (), None)
    lost._make(Handler(), record, lost.Lost("it was lost", "work", contextvars.copy_context()))
    assert seen == [record]
    assert sentry.event["fingerprint"] == ["it was lost", "work"]


def test_a_child_forgets_the_watches_of_its_parent_and_asks_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Middleware:
        asked = False

        def ask_again(self) -> None:
            self.asked = True

    middleware, loop = Middleware(), ClosingLoop()
    watch = watch_of(loop)
    watch.users[0] = weakref.WeakMethod(middleware.ask_again)
    monkeypatch.setattr(watches, "_watches", {0: watch})
    watches._in_child()
    assert middleware.asked
    assert watches.watched() == []


def test_where_nothing_forks_nothing_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "register_at_fork", raising=False)
    watches._renew_in_children.__wrapped__()
    assert watches._always()


def test_whoever_came_while_the_watch_went_to_sleep_keeps_it_awake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watch = watch_of(ClosingLoop())
    monkeypatch.setattr(stuck, "is_any_open", lambda _: True)
    watch._sleep()
    assert not watch._asleep


def test_the_public_scopes_know_the_processs_scope_once_it_serves() -> None:
    assert PublicScopes().process_scope() is None
