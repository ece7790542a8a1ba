"""A run beside an earlier one, by ratios alone: what two machines, or two days of one, have in common.

Each figure of this project's middleware is divided by its neighbour's of the same run (the SDK's middleware, or else
the bare app), then that of this run by that of the earlier one. A case that compares with nobody is left out.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from benchmarks.contenders import BARE, OURS, SDK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SAME = 0.1
"""A change of less is what runs differ by on a busy machine."""

_DERIVED = {"q1", "q3", "share", "peak_share", "times_less", "p99_times", "max", "than_init"}


def against(file: Path, now: Mapping[str, Any]) -> str:
    """Return a table of this run's ratios beside those of an earlier run's file.

    Args:
        file: what `--json` of that run has written.
        now: this run's cases, as in such a file.

    Raises:
        SystemExit: if the file cannot be read, or is none of a run's.

    """
    try:
        then = dict(json.loads(file.read_text("utf-8"))["cases"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"--compare must be given a file of an earlier run's: {error!r}") from None
    lines = [f"\nBeside {file}: ours ÷ the other's, then and now"]
    for case, result in now.items():
        before = dict(ratios(then.get(case) or {}))
        for key, (title, other, ratio) in dict(ratios(result)).items():
            if key in before:
                lines.append(_line(f"{case}, {title} ÷ {other}", before[key][2], ratio))
    return "\n".join(lines if len(lines) > 1 else [*lines, "  no figure is in both"])


def ratios(result: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, str, float]]]:
    """Yield each figure's key, with its title, the neighbour's name and the ratio."""
    rows = result.get("rows") or {}
    other = next((name for name in (SDK, BARE) if name in rows), None)
    if other is None or OURS not in rows:
        return
    for column in result["columns"]:
        key = column["key"]
        ours, theirs = rows[OURS].get(key), rows[other].get(key)
        if key not in _DERIVED and _counts(ours) and _counts(theirs):
            yield key, (column["title"], other, ours / theirs)


def _counts(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value) and value != 0


def _line(what: str, then: float, now: float) -> str:
    change = now / then
    told = "as it was" if abs(change - 1) < SAME else f"{change:.2f} times"
    return f"  {what:<58} {then:8.3f} {now:8.3f}   {told}"
