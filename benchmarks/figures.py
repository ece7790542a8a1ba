"""What a case finds out: rows of figures, and how to read them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Column:
    """A figure that the table shows."""

    key: str
    title: str
    form: str = ".2f"


@dataclass(frozen=True)
class Result:
    """What one case found out. Rows are in the order of the contenders and may lack figures."""

    title: str
    columns: tuple[Column, ...]
    rows: dict[str, dict[str, float]]
    notes: tuple[str, ...] = ()
    doubt: str = ""
    """Why a figure close to its target's bound decides nothing; empty if it does."""


@dataclass(frozen=True)
class Skipped:
    """Why a case was not run, and what helps."""

    title: str
    reason: str


@dataclass(frozen=True)
class Effort:
    """How much to spend: the full run's figures are meant to be quoted, the quick run's are not."""

    rounds: int
    requests: int
    connections: int
    generations: int
    slices: int
    imports: int
    upload: int


FULL = Effort(
    rounds=101,
    requests=500,
    connections=10_000,
    generations=3,
    slices=5,
    imports=15,
    upload=1_000_000_000,
)
QUICK = Effort(
    rounds=15,
    requests=200,
    connections=1_000,
    generations=1,
    slices=2,
    imports=5,
    upload=100_000_000,
)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, quartiles and extremes."""
    low, _, high = quantiles([*values, *values] if len(values) == 1 else values, method="inclusive")
    return {
        "median": median(values),
        "q1": low,
        "q3": high,
        "min": min(values),
        "max": max(values),
    }


def times_less(other: float, this: float) -> float:
    """How many times less this is than the other; infinite if it is nothing."""
    return other / this if this > 0 else math.inf
