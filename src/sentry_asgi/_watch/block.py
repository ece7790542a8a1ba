"""One block of a loop, while it lasts: how long it is by now, and what the samples say of it.

The rules:

- It lasts from the sign that was asked of the loop to the answer, but for the time that the loop's thread was not let
  run, or that nobody could (`clocks`).
- It is the request's, the task's or the callback's that half of the samples found at work. If it is nobody's, many
  had their turns in it.
- Where most samples found the loop idle, or one found a debugger, it is no block. Nor is one of nobody's where other
  threads of the process have waited for their turn as long: they may be what it waited for.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, NamedTuple

from .clocks import Nap, Turns, now, waited_elsewhere
from .garbage import garbage
from .samples import Sample

KEPT: Final = 100
"""Sites, and workers, of which samples are kept."""


class Site(NamedTuple):
    """A place in the code."""

    filename: str
    line: int
    function: str


class Block:
    def __init__(
        self, began: float, before: Turns | None, native_id: int, collected: float
    ) -> None:
        self.began: Final = began
        self._before = before
        self._lost = 0.0  # seconds in which nobody could run
        self.kept = 0.0  # seconds for which a call kept the GIL
        self._garbage = collected
        self._native_id = native_id
        self._elsewhere = waited_elsewhere(native_id)
        self.debugged = False
        self.idle = 0
        self.samples = 0
        self.sites: Counter[Site] = Counter()
        self.workers: Counter[Any] = Counter()
        self.imports: Counter[str] = Counter()
        self.seen: dict[Site, Sample] = {}
        self.by: dict[Any, Sample] = {}
        self.waiting: int | None = None  # requests
        self.told = False

    def pass_time(self, nap: Nap) -> None:
        self._lost += nap.lost
        self.kept += nap.kept

    def seconds(self, until: float | None = None, turns: Turns | None = None) -> float:
        """How long the loop was blocked, but for what was no fault of the code's."""
        lasted = (now() if until is None else until) - self.began
        waited = turns.waited - self._before.waited if turns and self._before else 0.0
        return max(lasted - waited - self._lost, 0.0)

    @property
    def collecting(self) -> float:
        """Seconds of garbage collection."""
        return garbage.seconds - self._garbage

    def add(self, sample: Sample) -> None:
        self.samples += 1
        self.debugged |= sample.debugged
        if sample.idle:
            self.idle += 1
            return
        self.workers[sample.worker] += 1
        if len(self.by) < KEPT:
            self.by[sample.worker] = sample
        if sample.imports is not None:
            self.imports[sample.imports] += 1
        step = sample.site
        if step is None:
            return
        site = Site(step.f_code.co_filename, step.f_lineno, step.f_code.co_qualname)
        if site in self.sites or len(self.sites) < KEPT:
            self.sites[site] += 1
            self.seen[site] = sample

    @property
    def is_none(self) -> bool:
        """Whether it is no block, though the loop gave no sign."""
        if self.samples and not self.debugged and self.collecting >= self.seconds() / 2:
            return False  # when it could be sampled, the loop may have had nothing left to do
        if self.debugged or self.samples == 0 or self.idle * 2 > self.samples:
            return True
        if self.culprit is not None:
            return False
        return waited_elsewhere(self._native_id) - self._elsewhere > self.seconds() / 2

    @property
    def culprit(self) -> Sample | None:
        """A sample of the work that blocks; None if it is of many."""
        for worker, count in self.workers.most_common(1):
            if count * 2 >= self.samples - self.idle:
                return self.by.get(worker)
        return None

    @property
    def imported(self) -> str | None:
        """The module whose import took half of the time."""
        for module, count in self.imports.most_common(1):
            if count * 2 >= self.samples - self.idle:
                return module
        return None

    @property
    def shown(self) -> Sample | None:
        """The sample whose stack is shown: of the culprit's, and else of all, the most frequent site's."""
        culprit = self.culprit
        common = [self.seen[site] for site, _ in self.sites.most_common()]
        own = [one for one in common if culprit is not None and one.worker == culprit.worker]
        return next(iter(own or common), culprit)
