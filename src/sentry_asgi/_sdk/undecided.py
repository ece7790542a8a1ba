"""Spans of a request of which it is open whether it is sent: the SDK's own, which tell the services downstream "no".

The rules:

- An undecided transaction is one that is not sampled, and records its spans all the same.
- An undecided segment is a streamed span that is not sampled, to whoever asks, until it is kept. Its children, which
  the SDK makes as those of a sampled one, are held until then (`holds`). It starts no profile.
- What is kept has the rate 1.0 in the trace's context that goes with it. What has been told downstream stays told: the
  baggage of the request is not written to, but replaced.
- Where an SDK has moved what this stands on, children of requests that were not sampled are not recorded, or, with
  streamed spans, nothing is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sentry_sdk.scope import Scope

from . import spans

KEPT: Final = {"sample_rate": "1.0", "sampled": "true"}


def _baggage_kept(given: Any) -> Any:
    """The baggage of a trace that is kept, made of that of one that was not sampled."""
    items = dict(given.sentry_items)
    if given.mutable:  # the rest is added when it is asked for
        return spans.Baggage({**items, "sample_rate": KEPT["sample_rate"]})
    return spans.Baggage({**items, **KEPT}, given.third_party_items, mutable=False)


# Transactions


def record(transaction: Any, recording: Any) -> None:
    """Have a transaction that is not sampled record its spans."""
    if hasattr(transaction, "_span_recorder"):
        transaction._span_recorder = recording  # noqa: SLF001


def discard(transaction: Any) -> None:
    """Have a transaction forget its spans: it will be counted as not sampled."""
    if hasattr(transaction, "_span_recorder"):
        transaction._span_recorder = None  # noqa: SLF001


def keep(transaction: Any, maxlen: int) -> None:
    """Have a transaction be sent when it ends, with the spans that it has recorded."""
    transaction.init_span_recorder(maxlen=maxlen)  # if it has none
    transaction.sampled, transaction.sample_rate = True, 1.0
    if getattr(transaction, "_baggage", None) is not None:
        transaction._baggage = _baggage_kept(transaction._baggage)  # noqa: SLF001


# Streamed spans


if TYPE_CHECKING:
    _Base = object
else:
    _Base = spans.StreamedSpan or object


class _Undecided(_Base):
    """A segment that is not sampled, and may yet be sent."""

    __slots__ = ("_kept", "lose", "recording")

    # The SDK's.
    _baggage: Any
    _sample_rate: Any
    _span_id: Any

    def __init__(self, recording: Any, lose: Any, **arguments: Any) -> None:
        # What holds the children, and what counts those that are not sent.
        self.recording, self.lose, self._kept = recording, lose, False
        super().__init__(**arguments)

    @property
    def sampled(self) -> bool:
        return self._kept

    def _start_profile(self) -> None:
        """Start none."""

    def keep(self) -> None:
        """Be a sampled one from now on."""
        self._kept, self._sample_rate = True, 1.0
        if self._baggage is not None:
            self._baggage = _baggage_kept(self._baggage)

    def stands_for(self, other: Any) -> None:
        """Have the id of another, which has been told."""
        self._span_id = other.span_id


_PRIVATE: Final = ("_baggage", "_sample_rate", "_scope", "_segment", "_span_id", "_start_profile")
_capture_span: Final[Any] = getattr(Scope, "_capture_span", None)


def _undecided(base: Any, capture: Any) -> Any:
    return _Undecided if capture and all(hasattr(base, one) for one in _PRIVATE) else None


UndecidedSpan: Final[Any] = _undecided(_Base, _capture_span)
"""The class of undecided segments; None where the SDK has none that could be."""


class HoldingScope:
    """For a scope of the SDK's: what sends the streamed spans that have ended on it holds some back."""

    __slots__ = ()

    def _capture_span(self, span: Any) -> None:
        if not holds(span):
            _capture_span(self, span)


def holds(span: Any) -> bool:
    """Whether a streamed span that has ended is not to be sent now, for its segment is undecided, or not kept."""
    segment: Any = getattr(span, "_segment", None)
    if segment.__class__ is not _Undecided or segment is span:
        return False
    if segment.recording.add(span):
        return True
    if not segment.sampled:
        segment.lose(1)
    return not segment.sampled


def send(span: Any) -> None:
    """Hand a streamed span, which has ended, to the SDK's client, as the SDK does."""
    scope = span._scope  # noqa: SLF001
    _capture_span(scope, span)
