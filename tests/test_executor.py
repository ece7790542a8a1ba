"""ContextPreservingExecutor: work done in threads belongs to the request that gave it."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sentry_sdk
import uvloop
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.integrations.threading import ThreadingIntegration

from sentry_asgi import SentryMiddleware
from sentry_asgi.executor import ContextPreservingExecutor

from .support import Scope, Sentry, call, http_scope, respond

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=[True, False], ids=["threading integration", "no threading integration"])
def sdk(request: pytest.FixtureRequest, sentry: Sentry) -> Sentry:
    """With the SDK's ThreadingIntegration, which patches submit() and Thread.start(), and without."""
    client = sentry.init(
        default_integrations=False,
        integrations=[
            LoggingIntegration(event_level=logging.ERROR),
            *([ThreadingIntegration()] if request.param else []),
        ],
    )
    assert (client.get_integration(ThreadingIntegration) is not None) is request.param
    return sentry


@pytest.fixture(params=list(LOOPS.values()), ids=list(LOOPS))
def loop(request: pytest.FixtureRequest) -> Iterator[Callable[[Any], Any]]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


def test_it_is_a_thread_pool_with_the_same_constructor() -> None:
    started: list[str] = []
    with ContextPreservingExecutor(
        2, "named", initializer=started.append, initargs=("started",)
    ) as executor:
        assert isinstance(executor, ThreadPoolExecutor)
        name = executor.submit(lambda: threading.current_thread().name).result()
    assert name.startswith("named")
    assert started == ["started"]
    with pytest.raises(RuntimeError, match="shutdown"):
        executor.submit(print)


def test_results_and_exceptions_come_back() -> None:
    def fail() -> None:
        raise ValueError("nope")

    with ContextPreservingExecutor() as executor:
        assert executor.submit(pow, 2, exp=5).result() == 32
        assert list(executor.map(pow, [2, 3], [5, 2])) == [32, 9]
        with pytest.raises(ValueError, match="nope"):
            executor.submit(fail).result()


def test_every_keyword_is_the_calls_own(sdk: Sentry) -> None:
    """The names that parameters have here, in the SDK's wrapper and in the standard library's pool."""
    names = [
        "run",
        "executor",
        "self",
        "fn",
        "args",
        "kwargs",
        "call",
        "context",
        "callable",
        "func",
    ]
    with ContextPreservingExecutor(1) as executor:
        for name in names:
            assert executor.submit(dict, **{name: 1}).result() == {name: 1}


def test_a_mixins_submit_is_called(sdk: Sentry) -> None:
    class Counting(ThreadPoolExecutor):
        submitted = 0

        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            self.submitted += 1
            return super().submit(fn, *args, **kwargs)

    class Both(ContextPreservingExecutor, Counting):
        pass

    variable.set("mine")
    with Both(1) as executor:
        assert executor.submit(variable.get).result() == "mine"
        assert list(executor.map(lambda _: variable.get(), range(2))) == ["mine"] * 2
    assert executor.submitted == 3


def test_submit_and_map_carry_the_callers_context(sdk: Sentry) -> None:
    with ContextPreservingExecutor(2) as executor:
        for value in ("one", "two"):
            variable.set(value)
            assert executor.submit(variable.get).result() == value
            assert list(executor.map(lambda _: variable.get(), range(3))) == [value] * 3


def test_what_a_call_sets_stays_in_its_copy(sdk: Sentry) -> None:
    variable.set("mine")
    with ContextPreservingExecutor(1) as executor:
        executor.submit(variable.set, "thread's").result()
        assert executor.submit(variable.get).result() == "mine"
    assert variable.get() == "mine"


def test_work_of_an_executor_belongs_to_its_request(sdk: Sentry, loop: Any) -> None:
    """Messages, logs, breadcrumbs and tags, with the default executor of both event loops."""

    def work(name: str) -> str:
        sentry_sdk.set_tag("thread", name)
        sentry_sdk.add_breadcrumb(message=f"crumb of {name}")
        logging.getLogger("work").error("log of %s", name)
        sentry_sdk.capture_message(f"message of {name}")
        return variable.get()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        name = scope["path"]
        variable.set(name)
        running = asyncio.get_running_loop()
        assert await running.run_in_executor(None, work, name) == name
        sentry_sdk.capture_message(f"afterwards {name}")
        await respond(send)

    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(ContextPreservingExecutor(2))
        wrapped = SentryMiddleware(app)
        await asyncio.gather(*(call(wrapped, http_scope(f"/r{i}")) for i in range(4)))

    loop(main())
    assert len(sdk.events) == 12
    for event in sdk.events:
        text = event.get("message") or event["logentry"]["message"] % tuple(
            event["logentry"]["params"]
        )
        name = text.rpartition(" ")[2]
        assert event["request"]["url"].endswith(name)
        assert event["tags"] == {"thread": name}  # also on the request's later events
        crumbs = [crumb["message"] for crumb in event["breadcrumbs"]["values"]]
        assert crumbs[0] == f"crumb of {name}"
        assert all(crumb.endswith(name) for crumb in crumbs)


def test_its_threads_keep_no_request_alive(sdk: Sentry) -> None:
    class Tracked:
        pass

    references: list[weakref.ref[Tracked]] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        tracked = Tracked()
        references.append(weakref.ref(tracked))
        scope["state"] = tracked
        sentry_sdk.get_isolation_scope().set_extra("tracked", tracked)
        variable.set(tracked)  # type: ignore[arg-type]
        await asyncio.get_running_loop().run_in_executor(executor, sentry_sdk.set_tag, "a", "b")

    executor = ContextPreservingExecutor(1)
    try:
        asyncio.run(call(SentryMiddleware(app), http_scope()))
        gc.collect()
        assert references[0]() is None
        assert any(thread.name.startswith("ThreadPool") for thread in threading.enumerate())
    finally:
        executor.shutdown()


def test_without_it_run_in_executor_loses_the_context(sentry: Sentry) -> None:
    """What the executor is for: if this fails, asyncio does by itself what it is there to do."""

    async def main() -> str:
        variable.set("mine")
        return await asyncio.get_running_loop().run_in_executor(None, variable.get)

    assert contextvars.Context().run(asyncio.run, main()) == "unset"
