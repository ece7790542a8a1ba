"""A trace as a waterfall: the spans of all services in it, with what went wrong on the way. Pure.

The rules:

- A span stands beneath its parent. One whose parent is not here, or in a circle of parents, stands
  at the top: nothing is left out for being odd.
- Equal siblings without children are one row, from `FOLD` on; none of them has failed.
- Where there are too many spans, the earliest are shown of as many as are read, and the page says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

from .entries import ERROR, LOG, status_level
from .shapes import shape
from .spans import Span, is_unread, spans_of
from .store import Listed, Stored
from .values import as_moment

MAX_SPANS = 2000
MAX_READ = 10_000
MAX_DEPTH = 24
SHADES = 6
FOLD = 3


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of the waterfall; `left` and `width` are percents, times are milliseconds."""

    span: Span
    depth: int
    shade: int
    left: float
    width: float
    begins: float
    lasts: float
    level: str
    errors: tuple[Listed, ...]
    first: bool


@dataclass(frozen=True, slots=True)
class Run:
    """Bars that stand for one row: equal siblings without children, or one bar alone."""

    bars: tuple[Bar, ...]

    @property
    def folds(self) -> bool:
        """Whether there are enough of them to be one row."""
        return len(self.bars) >= FOLD

    @property
    def name(self) -> str:
        """What they are called, without their values."""
        return shape(self.bars[0].span.name)

    @property
    def lasts(self) -> float:
        """How long they take together, in milliseconds."""
        return sum(bar.lasts for bar in self.bars)

    @property
    def width(self) -> float:
        """From the first to the end of the last, in percents."""
        return max(bar.left + bar.width for bar in self.bars) - self.bars[0].left


@dataclass(frozen=True, slots=True)
class TraceView:
    """A trace; `lasts` is in milliseconds, `services` are names with their shades.

    `errors` are those of no span here, `all_errors` all of them; at least `hidden` spans are not shown.
    """

    trace_id: str
    when: str
    lasts: float
    bars: tuple[Bar, ...]
    services: tuple[tuple[str, int], ...]
    errors: tuple[Listed, ...]
    all_errors: tuple[Listed, ...]
    logs: tuple[Listed, ...]
    hidden: int

    @property
    def runs(self) -> list[Run]:
        """The bars, equal neighbours in one."""
        return list(_runs(self.bars))


def trace_view(trace_id: str, found: list[Stored], only: Sequence[Span] | None = None) -> TraceView:
    """The waterfall of everything that is kept of a trace, or of some of its spans."""
    read = list(islice(spans_of(found) if only is None else only, MAX_READ))
    spans = sorted(read, key=lambda span: (span.start, -span.end))
    shown = spans[:MAX_SPANS]
    told = (one.listed for one in found if one.listed.kind == ERROR)
    errors = sorted(told, key=lambda one: not one.raised)  # messages often only repeat exceptions
    start = min((span.start for span in shown), default=0.0)
    lasts = max((span.end for span in shown), default=start) - start
    known = {span.span_id for span in shown}
    return TraceView(
        trace_id=trace_id,
        when=as_moment(start) if shown else "",
        lasts=lasts * 1000,
        bars=tuple(_bars(shown, errors, start, lasts)),
        services=tuple(_shades(shown).items()),
        errors=tuple(error for error in errors if error.span_id not in known),
        all_errors=tuple(errors),
        logs=tuple(one.listed for one in found if one.listed.kind == LOG),
        hidden=len(spans)
        - len(shown)
        + (sum(is_unread(one) for one in found) if only is None else 0),
    )


def _shades(spans: Iterable[Span]) -> dict[str, int]:
    services = dict.fromkeys(span.service for span in spans)
    return {service: number % SHADES for number, service in enumerate(services)}


def _bars(spans: list[Span], errors: list[Listed], start: float, lasts: float) -> Iterator[Bar]:
    shades = _shades(spans)
    by_span: dict[str, list[Listed]] = {}
    for error in errors:
        by_span.setdefault(error.span_id, []).append(error)
    whole = lasts or 1.0
    before = ""
    for depth, span in _in_order(spans):
        left = min((span.start - start) / whole * 100, 99.6)
        yield Bar(
            span=span,
            depth=min(depth, MAX_DEPTH),
            shade=shades[span.service],
            left=left,
            width=max(min((span.end - span.start) / whole * 100, 100 - left), 0.4),
            begins=(span.start - start) * 1000,
            lasts=(span.end - span.start) * 1000,
            level=status_level(span.status),
            errors=tuple(by_span.pop(span.span_id, ()) if span.span_id else ()),
            first=span.service != before,
        )
        before = span.service


def _runs(bars: Sequence[Bar]) -> Iterator[Run]:
    depths = [*(bar.depth for bar in bars[1:]), 0]
    keys: list[object] = []
    for place, (bar, below) in enumerate(zip(bars, depths, strict=False)):
        alone = below > bar.depth or bar.errors or bar.level == "error"
        span = bar.span
        alike = (span.parent_id, bar.depth, span.op, span.service, shape(span.name))
        keys.append(place if alone else alike)
    for _, run in groupby(zip(keys, bars, strict=True), key=lambda pair: pair[0]):
        held = tuple(bar for _, bar in run)
        if len(held) >= FOLD:
            yield Run(held)
        else:
            yield from (Run((bar,)) for bar in held)


def _in_order(spans: list[Span]) -> Iterator[tuple[int, Span]]:
    """Each span with its depth, parents before their children, siblings by their start."""
    ids = Counter(span.span_id for span in spans)
    children: dict[str, list[Span]] = {}
    for span in spans:
        known = span.parent_id in ids and span.parent_id not in {"", span.span_id}
        children.setdefault(span.parent_id if known else "", []).append(span)
    yield from _walk(children, children.pop("", []))
    while children:  # circles: each is entered where it begins first
        parent = next(iter(children))
        yield from _walk(children, children.pop(parent))


def _walk(children: dict[str, list[Span]], top: list[Span]) -> Iterator[tuple[int, Span]]:
    waiting = [(0, span) for span in reversed(top)]
    while waiting:
        depth, span = waiting.pop()
        yield depth, span
        below = children.pop(span.span_id, []) if span.span_id else []
        waiting += [(depth + 1, child) for child in reversed(below)]
