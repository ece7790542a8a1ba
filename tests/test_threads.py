"""Several threads do one thing at once, and it is done once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from sentry_asgi import _unwinding


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """Run each in a thread of its own, all from the same moment on; return what they return."""
    barrier, results = threading.Barrier(len(works)), [None] * len(works)

    def target(index: int) -> None:
        barrier.wait()
        results[index] = works[index]()

    threads = [threading.Thread(target=target, args=[index]) for index in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_of_several_users_at_once_one_acquires_the_tool_id(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, given = _unwinding.Watch(), list[int]()

    def acquire() -> int:
        given.append(len(given) + 1)
        time.sleep(0.05)  # long enough for the others to come here, too
        return given[-1]

    returned: list[int] = []
    monkeypatch.setattr(_unwinding, "_acquire", acquire)
    monkeypatch.setattr(_unwinding, "_give_back", returned.append)
    at_once(*(lambda user=user: watch.begin(user) for user in range(4)))  # type: ignore[misc]
    assert given == [1]
    at_once(*(lambda user=user: watch.end(user) for user in range(4)))  # type: ignore[misc]
    assert returned == [1]
    assert watch.tool_id is None


def test_a_user_that_ends_while_another_does_gives_nothing_back_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watch, returned = _unwinding.Watch(), list[int]()

    def give_back(tool_id: int) -> None:
        returned.append(tool_id)
        watch.end(2)  # as a finalizer does that the garbage collector runs in here

    monkeypatch.setattr(_unwinding, "_acquire", lambda: 4)
    monkeypatch.setattr(_unwinding, "_give_back", give_back)
    watch.begin(1)
    watch.end(1)
    assert returned == [4]
