"""The thread that watches one event loop.

The rules:

- It asks the loop for a sign of life, by `call_soon_threadsafe`, four times in `blocked_after`; it asks for the next
  when the last has come. One that does not come is followed by samples, until it comes or the loop is gone.
- A block is told when it is over, or while it lasts from `TELLING` times the limit on: a worker may be killed in it.
- A call that keeps the GIL keeps it from this thread, too. Then the thread is late, and what it sees is what the loop's
  thread does next, which most often still stands at the call.
- In each round, every few seconds, the middlewares are made to tell anew that there are requests. If none has told and
  none is open, the thread sleeps until one is.
"""

from __future__ import annotations

import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextvars import Context
from types import CodeType
from typing import Any, Final

from sentry_sdk.scope import Scope

from sentry_asgi._connection.exchange import Exchange
from sentry_asgi._failures.budget import Budget
from sentry_asgi._sdk.diagnostics import log_failure

from . import reports, stuck
from .block import Block
from .clocks import Nap, Naps, Turns, now, turns
from .garbage import garbage
from .options import SHORTEST, Watch
from .samples import take

TELLING: Final = 2
"""How many times the limit a block lasts that is told before it is over."""

ROUND: Final = 2.5
"""Seconds between two rounds."""

ASLEEP: Final = 10.0
"""Seconds, at most, until a sleeping thread sees that its loop is gone."""


class Sign:
    """A sign of life that is asked of a loop. Its answer runs in the loop's thread, and takes no lock."""

    def __init__(self, watch: LoopWatch) -> None:
        self.asked = now()
        self.before: Turns | None = turns(watch.native_id)
        self.came: float | None = None
        self._watch = watch

    def come(self) -> None:
        watch = self._watch
        try:
            watch.runner = sys._getframe(1).f_code  # noqa: SLF001  # documented
            watch.here()
        except Exception:  # the application's loop is not to hear of it
            log_failure("noting the thread of an event loop")
        self.came = now()


class LoopWatch:
    def __init__(
        self,
        loop: Any,
        watch: Watch,
        budget: Budget | None,
        home: Callable[[], Scope | None],
        ended: Callable[[LoopWatch], None],
    ) -> None:
        self.watch: Final = watch
        self.budget: Final = budget
        self.home: Final = home  # gives the process's scope
        self._naps = Naps()
        wake = self._naps.wake
        self.loop: Final = weakref.ref(loop, lambda _: wake.set())
        self.users: dict[int, weakref.WeakMethod[Callable[[], None]]] = {}
        self.runner: CodeType | None = None
        self.thread_id = self.native_id = 0
        self.thread_name = ""
        self.here()
        self._ended = ended
        self.is_over = False
        self._asleep = self._stirred = False
        self._told = stuck.Told()
        self.last: Sign | None = None
        limit = watch.blocked_after
        self._turn = min(ROUND, max((watch.stuck_after or ROUND) / 4, SHORTEST))
        self._every = self._turn if limit is None else min(max(limit / 4, SHORTEST / 2), 1.0)
        self._step = 0.0 if limit is None else max(limit / 20, SHORTEST / 2)
        self._next_round = now() + self._turn
        self._next_look = 0.0

    def start(self) -> None:
        thread = threading.Thread(target=self._run, name="sentry-asgi.watch", daemon=True)
        # The SDK has threads carry the scopes of whoever starts them: here, of no request.
        Context().run(thread.start)

    def here(self) -> None:
        """Note the thread that this runs in, as the loop's."""
        thread_id = threading.get_ident()
        if thread_id != self.thread_id:
            self.thread_id, self.native_id = thread_id, threading.get_native_id()
            self.thread_name = threading.current_thread().name

    def stir(self) -> None:
        """There is a request; called in the loop's thread."""
        self._stirred = True
        self.here()
        if self._asleep:
            self._naps.wake.set()

    def end(self) -> None:
        self.is_over = True
        self._naps.wake.set()

    def _run(self) -> None:
        try:
            self._naps.start()
            while self._goes_on():
                self._take_turn()
        except Exception:  # then the next request begins another watch
            log_failure("going on to watch an event loop")
        try:
            self._ended(self)
            self.ask_again()  # there may be another loop
        except Exception:
            log_failure("ending the watch of an event loop")
        self.is_over = True

    def _take_turn(self) -> None:
        try:
            self._look()
            if now() >= self._next_round:
                self._round()
        except Exception:
            log_failure("watching an event loop")
            self._naps.wake.wait(1.0)

    def _goes_on(self) -> bool:
        return not (self.is_over or self._is_gone())

    def _is_gone(self) -> bool:
        loop = self.loop()
        return loop is None or loop.is_closed()

    # The loop

    def _look(self) -> None:
        sign = None if self.watch.blocked_after is None else self._asked()
        collected = garbage.seconds
        nap = self._naps.nap(self._every)
        if sign is None:
            return
        kept = max(nap.kept, garbage.seconds - collected)
        if sign.came is None:
            self._follow(sign, nap, collected)
        elif kept >= (self.watch.blocked_after or 0.0) and self._is_running():
            self._kept(sign, kept, collected)

    def _asked(self) -> Sign | None:
        loop, sign = self.loop(), Sign(self)
        try:
            if loop is None or not loop.is_running():
                return None
            loop.call_soon_threadsafe(sign.come)
            self.last = sign
        except RuntimeError:  # it has been closed
            return None
        return sign

    def _follow(self, sign: Sign, nap: Nap, collected: float) -> None:
        """Sample until the sign comes."""
        block = Block(sign.asked, sign.before, self.native_id, collected)
        while sign.came is None and self._goes_on() and self._is_running():
            block.pass_time(nap)
            self._sample(block)
            self._measure(block)
            # The longer it is, the less there is to learn.
            nap = self._naps.nap(self._step * (1 + block.samples // 100))
        if sign.came is None:
            return
        block.pass_time(nap)
        if not block.told:
            self._tell(block, block.seconds(sign.came, turns(self.native_id)), lasts=False)

    def _kept(self, sign: Sign, kept: float, collected: float) -> None:
        """The sign had come, but then this thread was not let run: some call has kept the GIL."""
        block = Block(now() - kept, sign.before, self.native_id, collected)
        block.kept = kept
        self._sample(block)
        before, after = sign.before, turns(self.native_id)
        ran = after.ran + after.waited - before.ran - before.waited if before and after else kept
        if ran >= kept / 2:  # else another thread's call has kept it
            self._tell(block, block.seconds(turns=after), lasts=False)

    def _is_running(self) -> bool:
        loop = self.loop()
        return loop is not None and loop.is_running()

    def _sample(self, block: Block) -> None:
        loop = self.loop()
        sample = None if loop is None else take(loop, self.thread_id, self.runner)
        if sample is not None:
            block.add(sample)

    def _measure(self, block: Block) -> None:
        """While it lasts: who waits, what the trace is to show, and whether to tell already."""
        limit = self.watch.blocked_after or 0.0
        seconds = block.seconds(turns=turns(self.native_id))
        if seconds < limit or block.is_none:
            return
        if block.waiting is None:
            block.waiting = stuck.waiting(self.loop(), block)
        reports.tell_trace(block, seconds)
        if seconds >= TELLING * limit and not block.told:
            self._tell(block, seconds, lasts=True)

    def _tell(self, block: Block, seconds: float, *, lasts: bool) -> None:
        limit = self.watch.blocked_after or 0.0
        if seconds < limit or block.is_none:
            return
        block.told = True
        reports.blocked(self, block, limit, seconds, lasts=lasts)

    # The requests

    def _round(self) -> None:
        self._next_round = now() + self._turn
        stirred, self._stirred = self._stirred, False
        self.ask_again()
        if self.watch.stuck_after is not None and now() >= self._next_look:
            self._look_at_requests(self.watch.stuck_after)
        if not stirred and not stuck.is_any_open(self.loop()):
            self._sleep()

    def has_told(self, exchange: Exchange) -> bool:
        """Whether a request has been told of as stuck."""
        return self._told.get(id(exchange)) == exchange.started_at

    def _look_at_requests(self, limit: float) -> None:
        began = time.thread_time()  # on a busy machine, far less than has passed
        stuck.look(self, limit, self._told)
        # No more than a third of a percent of the time.
        self._next_look = now() + max(limit / 12, 300 * (time.thread_time() - began))

    def _sleep(self) -> None:
        self._naps.wake.clear()
        self._asleep = True
        self.ask_again()
        # Whoever has come before that is open now, whoever comes after it will stir.
        if not stuck.is_any_open(self.loop()):
            while not (self._stirred or self.is_over or self._is_gone()):
                self._naps.wake.wait(ASLEEP)
                self._naps.wake.clear()
        self._asleep = False
        self._next_round = now() + self._turn

    def ask_again(self) -> None:
        """Have the middlewares tell of their next request."""
        for user in list(self.users.values()):
            tell = user()
            if tell is not None:
                tell()
