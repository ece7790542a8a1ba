"""What a middleware was told, in the form in which its connections read it."""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any, Final

from sentry_asgi._failures.budget import Budget
from sentry_asgi._redaction.rules import RULES, Rules
from sentry_asgi._sdk.diagnostics import log_failure

FAILING: Final = range(500, 600)
"""Statuses that tell of a failure, where nobody has said which do."""

_PLAIN: Final = frozenset({range, set, frozenset, list, tuple})


class _Asked:
    """A container of statuses that is not known to answer: if it raises, that is logged, and `FAILING` answers."""

    def __init__(self, statuses: Any) -> None:
        self._statuses = statuses

    def __contains__(self, status: object) -> bool:
        try:
            return status in self._statuses
        except KeyboardInterrupt:
            raise
        except BaseException:  # whatever code of anybody's raises
            log_failure("asking failed_request_status_codes")
            return status in FAILING


def answering(statuses: Any) -> Container[Any]:
    """Statuses that can be asked without care: as they are, if they are plain, as most are."""
    if type(statuses) in _PLAIN and all(type(one) is int for one in statuses):
        plain: Container[Any] = statuses
        return plain
    return _Asked(statuses)


@dataclass(frozen=True, slots=True)
class Keep:
    """Which requests are traced for how they ended, though they were not sampled.

    Args:
        failed: those that failed: an exception, a status of `failed_request_status_codes`, or a
            blocked loop or a stuck request that was reported.
        slower_than: those that took as many seconds, or more; None for none.

    Raises:
        TypeError: if a value has the wrong type.
        ValueError: if `slower_than` is below zero, or nothing is to be kept.

    """

    failed: bool = True
    slower_than: float | None = 1.0

    def __post_init__(self) -> None:
        failed: Any = self.failed
        seconds: Any = self.slower_than
        if not isinstance(failed, bool):
            raise TypeError(f"failed must be True or False, got {failed!r}")
        if seconds is None:
            if not failed:
                raise ValueError("Keep(failed=False, slower_than=None) keeps nothing")
            return
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
            raise TypeError(f"slower_than must be None or a number of seconds, got {seconds!r}")
        if not 0 <= seconds < math.inf:
            raise ValueError(f"slower_than must be None or 0 seconds or more, got {seconds!r}")


@dataclass(frozen=True, slots=True)
class Settings:
    # What events are named after: "endpoint" or "route".
    transaction_style: str = "endpoint"
    # How many proxies between the client and the server may be believed.
    trusted_hops: int = 0
    # Statuses whose responses tell of a failure.
    failing: Container[int] = FAILING
    # Whether a failing response without an exception makes an event, too.
    report_without: bool = False
    # Whether a response carries its trace's id, and a failing one its event's.
    id_headers: bool = False
    # Whether each message of a websocket has a span of its own.
    message_spans: bool = False
    # How many events of each raise site are sent; None if all are.
    budget: Budget | None = None
    # What is watched beside errors; None if nothing is.
    watch: Any = None
    # What is secret.
    rules: Rules = RULES
    # Which requests are traced though they were not sampled.
    keep: Keep | None = None
    # Reports what was found within an answer so far, of a connection that goes on.
    report_within: Callable[[Any], object] = id
    # What is served: frameworks' routers are asked for names.
    app: Any = None


DEFAULTS: Final = Settings()
