from __future__ import annotations

import gc
import logging
import signal
import sys
from collections.abc import Iterator

import loguru
import pytest
import sentry_sdk
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import none
from sentry_sdk.scope import Scope, ScopeType, use_isolation_scope, use_scope

import sentry_asgi._sdk.diagnostics
import sentry_asgi._tracing.attributes

pytest.register_assert_rewrite("tests.support")

from .receiver import Receiver, receiving  # noqa: E402
from .support import Sentry, end_all_watches  # noqa: E402

# Started in the background by a shell, or by nohup, this process ignores signals, and so would all that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# The same examples each time, so that a run says what the code does and not what the dice did; scripts/fuzz looks
# for more. On a busy machine the first examples are slow to make, which says nothing about the code.
settings.register_profile(
    "default",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("default")


@pytest.fixture(autouse=True)
def patient() -> Iterator[None]:
    """A busy machine makes tenths of a second of nothing, which are no work after a response."""
    # Not the fixture `monkeypatch`, which would then be older than `sentry`, and undone after it.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sentry_asgi._tracing.attributes, "AFTER_RESPONSE", 5.0)
        yield


@pytest.fixture
def work_after_the_response(patient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the tests of it, in which it takes a tenth of a second."""
    monkeypatch.setattr(sentry_asgi._tracing.attributes, "AFTER_RESPONSE", 0.04)


@pytest.fixture(autouse=True, scope="session")
def packages_listed() -> None:
    """The SDK lists what is installed in the first event of a process, which blocks the loop of whichever test is first."""
    sentry_asgi._sdk.clients.list_installed()


@pytest.fixture(autouse=True, scope="session")
def only_own_garbage(packages_listed: None) -> None:
    """What is there before the first test is looked through by no collection: many tests ask for a whole one."""
    given(none())(lambda _: None)()  # Hypothesis asks once who holds its generator
    gc.collect()
    if sys.platform != "emscripten":  # where Hypothesis asks who holds what
        gc.freeze()


@pytest.fixture(autouse=True)
def no_watch_left() -> Iterator[None]:
    """The watches of a test's loops are not the next one's, though a loop may still be open."""
    yield
    end_all_watches()


@pytest.fixture
def sentry() -> Iterator[Sentry]:
    """An initialised SDK whose events stay here; each must be one that Sentry takes whole."""
    fixture = Sentry()
    sentry_asgi._sdk.diagnostics._last.clear()  # what another test made fail is logged anew
    with use_isolation_scope(Scope(ty=ScopeType.ISOLATION)), use_scope(Scope(ty=ScopeType.CURRENT)):
        fixture.init()
        yield fixture
        sentry_sdk.get_client().close(timeout=0)
        sentry_sdk.get_global_scope().clear()
        sentry_sdk.get_global_scope().set_client(None)
    fixture.judge()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server on the loopback interface that takes what an SDK sends."""
    with receiving() as one:
        yield one


@pytest.fixture
def no_collection() -> Iterator[None]:
    """No garbage collection but those that are asked for: of a large process one takes a tenth of a second.

    And while a profiler looks at all threads, one can lock CPython up before 3.12.3 (gh-106883).
    """
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """What examples configure of the process's logging is undone."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    loguru.logger.remove()
    loguru.logger.configure(patcher=lambda _record: None)


GROUPS = {
    "test_browser": "browser",
    "test_sdks": "browser",
    "test_commands": "processes",
    "test_demo": "processes",
    "test_fork": "processes",
    "test_last_second": "processes",
    "test_soak": "long",
    "test_watch_processes": "long",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browsers, and servers in processes of their own, run one at a time each: several starve each other."""
    for item in items:
        if item.path.stem in GROUPS:
            item.add_marker(pytest.mark.xdist_group(GROUPS[item.path.stem]))
