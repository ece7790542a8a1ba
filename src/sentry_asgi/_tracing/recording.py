"""Spans of requests that the dice did not choose, held until it is known whether the request is kept.

The rules:

- A request holds its last `OF_A_REQUEST` spans, the process `IN_THE_PROCESS`. What is beyond goes, the oldest of the
  oldest request first, and is counted on its recording.
- Held is what ended, or began, while the request was open. When that is decided the recording is closed, and takes
  nothing more.
- A `Recording` can stand where the SDK has its own recorder of a transaction's spans: `spans`, `dropped_spans`, `add`.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from sentry_asgi._python.locks import Lock

OF_A_REQUEST: Final = 1_000
IN_THE_PROCESS: Final = 10_000


class Recording:
    """The spans that one request holds."""

    __slots__ = ("closed", "dropped_spans", "maxlen", "spans")

    def __init__(self, maxlen: int = OF_A_REQUEST) -> None:
        self.maxlen = maxlen
        self.spans: deque[Any] = deque()
        self.dropped_spans = 0
        self.closed = False

    def add(self, span: Any) -> bool:
        """Hold a span; False if the recording is closed."""
        return held.add(self, span)

    def close(self) -> deque[Any]:
        """Take nothing more; return what was held, which counts as held no longer."""
        held.release(self)
        return self.spans

    def drop_oldest(self) -> None:
        self.spans.popleft()
        self.dropped_spans += 1


class Held:
    """All recordings of the process that hold something, oldest first."""

    def __init__(self) -> None:
        self.spans = 0
        self._recordings: dict[Recording, None] = {}
        self._lock = Lock()  # requests of several loops, and threads of one request

    def add(self, recording: Recording, span: Any) -> bool:
        with self._lock:
            if recording.closed:
                return False
            recording.spans.append(span)
            if len(recording.spans) > recording.maxlen:
                recording.drop_oldest()
                return True
            self._recordings.setdefault(recording)
            self.spans += 1
            if self.spans > IN_THE_PROCESS:
                self._drop_oldest()
            return True

    def _drop_oldest(self) -> None:
        oldest = next(iter(self._recordings))
        oldest.drop_oldest()
        self.spans -= 1
        if not oldest.spans:
            del self._recordings[oldest]

    def release(self, recording: Recording) -> None:
        with self._lock:
            recording.closed = True
            if recording in self._recordings:
                del self._recordings[recording]
                self.spans -= len(recording.spans)


held: Final = Held()
