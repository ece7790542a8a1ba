"""Time that importing each contender adds to `import sentry_sdk`, or to nothing for the others.

Each import happens in a fresh interpreter and is timed inside it, after `import sentry_sdk`, which
whoever reports to Sentry has imported anyway. The contenders take turns; the first turn, which may
write bytecode, is not counted. What is timed names the middleware, so a package that puts off its
imports until then gains nothing.
"""

from __future__ import annotations

import time

from benchmarks import fresh
from benchmarks.contenders import CONTENDERS, SDK
from benchmarks.figures import Column, Effort, Result, spread, times_less

COLUMNS = (
    Column("added", "added ms"),
    Column("q1", "quartile 1"),
    Column("q3", "quartile 3"),
    Column("min", "minimum"),
    Column("times_less", "SDK's ÷ this", ".1f"),
)


def measure(title: str, effort: Effort) -> Result:
    """Milliseconds that each contender's import adds."""
    statements = {"import sentry_sdk": ""} | {
        name: contender.imports for name, contender in CONTENDERS.items() if contender.imports
    }
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in statements}
    for _ in range(effort.imports + 1):
        for name, statement in statements.items():
            took[name].append(fresh.call(time_import, statement))
    rows: dict[str, dict[str, float]] = {}
    for name, pairs in took.items():
        times = spread([added if statements[name] else sdk for sdk, added in pairs[1:]])
        rows[name] = {"added": times.pop("median"), **times}
    for name, row in rows.items():
        if statements[name]:
            row["times_less"] = times_less(rows[SDK]["added"], row["added"])
    note = f"{effort.imports} fresh interpreters for each."
    return Result(title, COLUMNS, rows, (note,))


def time_import(statement: str) -> tuple[float, float]:
    """Milliseconds of `import sentry_sdk`, and of the statement after it."""
    start = time.perf_counter()
    exec("import sentry_sdk")
    middle = time.perf_counter()
    exec(statement)
    return (middle - start) * 1e3, (time.perf_counter() - middle) * 1e3
