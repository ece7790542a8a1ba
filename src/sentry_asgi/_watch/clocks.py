"""Whether time has passed for a thread, or only for the world.

The rules:

- A thread that could run and was not let (the machine is busy, the container is throttled) has waited, which Linux
  tells for each thread, in `/proc/self/task/<id>/schedstat`: its time on a processor and its time in the queue, in ns
  (https://docs.kernel.org/scheduler/sched-stats.html).
- A process that is stopped, or a machine that sleeps, runs no thread. So where a nap of the watcher's own lasts too
  long, though it was let run, and the process has used no processor, that is no time of the loop's. If it has used
  some, then a call has kept the GIL, from the watcher, too.
- Where the system does not tell how long threads have waited, a machine that is busy looks like one of the two.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Final, NamedTuple

now: Final = time.perf_counter

LATE: Final = 0.1
"""Seconds by which a nap may be too long without any reason but that threads take turns."""


RUNS: Final = 0.1
"""Of some time, the part that a process has used the processor, if it was not stopped."""


class Turns(NamedTuple):
    """Seconds that a thread has been on a processor, and that it has waited to be, since it started."""

    ran: float
    waited: float


def turns(native_id: int) -> Turns | None:
    """Return a thread's turns so far; None where the system does not tell, or there is no such thread."""
    try:
        file = os.open(f"/proc/self/task/{native_id}/schedstat", os.O_RDONLY)
        try:
            ran, waited, _ = os.read(file, 100).split()
        finally:
            os.close(file)
        return Turns(int(ran) / 1e9, int(waited) / 1e9)
    except (OSError, ValueError):
        return None


def waited_elsewhere(native_id: int) -> float:
    """The seconds that other threads of the process than this and that one have waited; 0 where nobody tells."""
    own = {str(native_id), str(threading.get_native_id())}
    try:
        others = set(os.listdir("/proc/self/task")) - own  # noqa: PTH208  # a quarter of the time
    except OSError:
        return 0.0
    found = [turns(int(one)) for one in others]
    return sum(one.waited for one in found if one is not None)


class Nap(NamedTuple):
    """What a nap of the watcher's tells: seconds that nobody could run in, and that some call kept the GIL for."""

    lost: float
    kept: float


class Naps:
    """The watcher's own sleep, which can be ended early."""

    def __init__(self) -> None:
        self.wake: Final = threading.Event()
        self._native_id = threading.get_native_id()

    def start(self) -> None:
        """To be called in the thread that sleeps."""
        self._native_id = threading.get_native_id()

    def nap(self, seconds: float) -> Nap:
        began, used, before = now(), time.process_time(), turns(self._native_id)
        self.wake.wait(seconds)
        late = now() - began - seconds
        if late < LATE:
            return _ON_TIME
        after = turns(self._native_id)
        if before is not None and after is not None:
            late -= after.waited - before.waited  # its own turn, which says nothing of the loop's
        if late < LATE:
            return _ON_TIME
        ran = time.process_time() - used
        return Nap(0.0, late) if ran >= late * RUNS else Nap(late, 0.0)


_ON_TIME: Final = Nap(0.0, 0.0)
