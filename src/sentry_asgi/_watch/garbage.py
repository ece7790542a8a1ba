"""How long the garbage collector has taken, in a process whose loops are watched.

A full collection stops all threads for as long as it lasts, and no stack shows it. `gc.callbacks` tells when one begins
and ends; those of young objects are left out, for they are many and short.
"""

from __future__ import annotations

import gc
from typing import Any, Final

from .clocks import now

_OLD: Final = 1
"""The youngest generation that is timed."""


class Garbage:
    """Seconds that collections have taken so far, and the generation of the last."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.generation = _OLD
        self._began: float | None = None

    def begin(self) -> None:
        if self._note not in gc.callbacks:
            gc.callbacks.append(self._note)

    def end(self) -> None:
        if self._note in gc.callbacks:
            gc.callbacks.remove(self._note)

    def _note(self, phase: str, info: dict[str, Any]) -> None:
        if info["generation"] < _OLD:
            return
        if phase == "start":
            self._began = now()
        elif self._began is not None:
            self.seconds += now() - self._began
            self.generation, self._began = info["generation"], None


garbage: Final = Garbage()
