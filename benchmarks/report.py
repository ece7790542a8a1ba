"""Results as text for people and as JSON for programs."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from benchmarks.contenders import SERVED
from benchmarks.figures import Result

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.figures import Skipped
    from benchmarks.targets import Outcome


def heading(machine: Mapping[str, Any], *, quick: bool) -> str:
    """The lines above the tables."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    lines = [
        "{python} on {system}, {cores} × {processor}, load {load}".format_map(machine),
        versions,
    ]
    if quick:
        lines.append("A quick run: its figures are rough and not to be quoted.")
    return "\n".join(lines)


def table(name: str, result: Result | Skipped) -> str:
    """One case's table, or why there is none."""
    if not isinstance(result, Result):
        return f"\n{name}: {result.title}\n  skipped: {result.reason}"
    head = ["", *(column.title for column in result.columns)]
    lines = [head]
    for row, figures in result.rows.items():
        title = SERVED[row].title if row in SERVED else row
        cells = (_cell(figures.get(column.key), column.form) for column in result.columns)
        lines.append([title, *cells])
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    text = [
        "  ".join([cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])])
        for cells in lines
    ]
    notes = [f"  {note}" for note in result.notes]
    return "\n".join([f"\n{name}: {result.title}", *(f"  {line}" for line in text), *notes])


def verdict(outcomes: Sequence[Outcome]) -> str:
    """How each target fared, a line each."""
    return "\n".join(["\nTargets", *map(_verdict, outcomes)])


def write(
    path: Path,
    machine: Mapping[str, Any],
    results: Mapping[str, Result | Skipped],
    outcomes: Sequence[Outcome],
    *,
    quick: bool,
) -> None:
    """All figures, as JSON."""
    figures = {
        "machine": machine,
        "quick": quick,
        "cases": {name: asdict(result) for name, result in results.items()},
        "targets": [asdict(outcome) for outcome in outcomes],
    }
    path.write_text(json.dumps(_finite(figures), indent=2, ensure_ascii=False) + "\n", "utf-8")


def _cell(value: float | None, form: str) -> str:
    return format(value, form) if value is not None and math.isfinite(value) else "–"


def _verdict(outcome: Outcome) -> str:
    target = outcome.target
    if outcome.met is None or outcome.value is None:
        return f"  not measured     {target.promise} ({target.case})"
    how = "met" if outcome.met else f"missed by {outcome.missed_by:.0%}"
    doubt = f"; {outcome.doubt}" if outcome.doubt else ""
    return f"  {how:<15}  {target.promise} ({target.case}): {outcome.value:.4g}{doubt}"


def _finite(value: Any) -> Any:
    """The value with null for what JSON has no number for."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
