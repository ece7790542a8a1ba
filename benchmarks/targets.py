"""What the middleware promises. Each target names one figure of one case; nothing else decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.contenders import OURS
from benchmarks.figures import Result

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.figures import Skipped


@dataclass(frozen=True)
class Target:
    """A bound on a figure of this project's middleware."""

    case: str
    figure: str
    promise: str
    at_most: float | None = None
    at_least: float | None = None


KB = 1024

TARGETS = (
    Target("http", "added", "adds at most 3 µs to a request", at_most=3),
    Target("http", "times_less", "adds at least 20 times less than the SDK's", at_least=20),
    Target("served", "share", "at least 92 % of the bare app's requests/s", at_least=0.92),
    Target("served-integrated", "share", "the same, as the SDK is by default", at_least=0.92),
    Target(
        "served-integrated",
        "than_init",
        "3 times the requests/s of sentry_sdk.init alone",
        at_least=3,
    ),
    Target("served-fastapi", "than_init", "the same under FastAPI", at_least=3),
    Target(
        "traces-served-10-percent",
        "than_init",
        "at 10 %, 2.5 times those of sentry_sdk.init alone",
        at_least=2.5,
    ),
    Target("websocket", "added", "adds at most 1.6 KB to an open websocket", at_most=1.6 * KB),
    Target("capture", "share", "a captured exception takes 0.25 of the SDK's time", at_most=0.25),
    Target("capture-large", "added", "one of a large app takes at most 5 ms", at_most=5),
    Target("capture-large", "share", "and 0.01 of the SDK's time", at_most=0.01),
    Target("storm", "share", "60 % of the bare app's failing requests/s", at_least=0.6),
    Target(
        "storm", "p99_times", "p99 of a healthy endpoint: 1.5 times the bare app's", at_most=1.5
    ),
    Target(
        "secrets", "get", "secrets take at most 5 µs of a sampled GET that holds none", at_most=5
    ),
    Target("secrets", "cookie", "and 20 µs of one with a cookie", at_most=20),
    Target("secrets", "error", "and 1.2 ms of an error of 25 frames", at_most=1_200),
    Target("traces-0", "added", "adds at most 6 µs to a request that is not sampled", at_most=6),
    Target("traces-0", "times_less", "and at least 12 times less than the SDK's", at_least=12),
    Target("traces-1-percent", "times_less", "at 1 %, at least 12 times less", at_least=12),
    Target(
        "traces-incoming", "added", "adds at most 12 µs to one with an incoming trace", at_most=12
    ),
    Target(
        "traces-100-percent", "times_less", "transactions cost 0.75 of the SDK's", at_least=1 / 0.75
    ),
    Target(
        "traces-streamed", "times_less", "streamed spans cost 0.6 of the SDK's", at_least=1 / 0.6
    ),
    Target("keep", "more", "keep= adds at most 0.7 µs to a request that is fine", at_most=0.7),
    Target("traces-served", "share", "at 1 %, 82 % of the bare app's requests/s", at_least=0.82),
    Target("traces-websocket", "added", "adds at most 2 KB to a traced websocket", at_most=2 * KB),
    Target("upload", "held", "holds at most 64 KB of an upload of 1 GB", at_most=64 * KB),
    Target("upload", "share", "and takes at most 2 % of its throughput", at_most=0.02),
    Target("unwinding", "library", "0.3 µs to an exception in a library", at_most=0.3),
    Target("unwinding", "application", "0.3 µs to one in the application", at_most=0.3),
    Target("unwinding", "crossing", "0.3 µs to one that crosses", at_most=0.3),
    Target("unwinding", "only", "0.3 µs to a request with one that crosses", at_most=0.3),
    Target("unwinding", "none", "nothing to a request that raises none", at_most=0.05),
    Target("hostile", "failing", "no failing request of 64 kB takes 20 ms", at_most=20),
    Target("hostile", "sampled", "nor a sampled one", at_most=20),
    Target("hostile", "crumbs", "100 breadcrumbs of 100 kB take at most 50 ms", at_most=50),
    Target("import", "added", "its import adds at most 30 ms", at_most=30),
)


@dataclass(frozen=True)
class Outcome:
    """How a target fared."""

    target: Target
    value: float | None
    met: bool | None
    """None if it was not measured."""
    missed_by: float
    """As a share of the bound."""
    doubt: str = ""
    """What the case says against relying on it."""


def judge(results: Mapping[str, Result | Skipped]) -> list[Outcome]:
    """How each target fared."""
    return [_judge(target, results.get(target.case)) for target in TARGETS]


def _judge(target: Target, result: Result | Skipped | None) -> Outcome:
    if not isinstance(result, Result):
        return Outcome(target, None, None, 0.0)
    value = result.rows[OURS][target.figure]
    if target.at_most is not None:
        return Outcome(
            target, value, value <= target.at_most, value / target.at_most - 1, result.doubt
        )
    assert target.at_least is not None
    return Outcome(
        target, value, value >= target.at_least, 1 - value / target.at_least, result.doubt
    )
