"""The command line of `scripts/bench`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import compare, fresh, machine, report
from benchmarks.cases import CASES
from benchmarks.contenders import CONTENDERS, require
from benchmarks.figures import FULL, QUICK
from benchmarks.targets import judge

if TYPE_CHECKING:
    from benchmarks.figures import Result, Skipped


def arguments() -> argparse.Namespace:
    """What the user asks for."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures what the middleware costs, beside its peers.",
        epilog=f"The cases: {', '.join(CASES)}.",
    )
    parser.add_argument(
        "--only",
        metavar="NAME",
        action="append",
        choices=CASES,
        help="run this case alone; may be given more than once",
    )
    parser.add_argument(
        "--quick", action="store_true", help="rough figures in a fraction of the time"
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        type=Path,
        default=Path("bench.json"),
        help="where all figures go (default: bench.json)",
    )
    parser.add_argument(
        "--compare",
        metavar="FILE",
        type=Path,
        help="show this run's ratios beside those of an earlier run's figures",
    )
    parser.add_argument("--check", action="store_true", help="exit status 1 if a target is missed")
    return parser.parse_args()


def main() -> int:
    """Measure, report, judge."""
    asked = arguments()
    fresh.call(require, list(CONTENDERS))
    host = machine.describe()
    print(report.heading(host, quick=asked.quick), flush=True)
    results: dict[str, Result | Skipped] = {}
    for name in asked.only or CASES:
        results[name] = CASES[name](QUICK if asked.quick else FULL)
        print(report.table(name, results[name]), flush=True)
    host["load_afterwards"] = machine.load()
    outcomes = judge(results)
    print(report.verdict(outcomes))
    if asked.compare:
        measured = {name: asdict(result) for name, result in results.items()}
        print(compare.against(asked.compare, measured))
    report.write(asked.json, host, results, outcomes, quick=asked.quick)
    print(f"\nAll figures: {asked.json}")
    return int(asked.check and any(outcome.met is False for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
