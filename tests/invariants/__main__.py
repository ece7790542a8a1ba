"""Runs the planned combinations, and judges them.

    python -m tests.invariants run <results> [--framework NAME]... [--sdks DIRECTORY]
    python -m tests.invariants judge <results>

`--sdks` holds the SDK's versions, each as `<version>/site-packages`; without it, there is the installed one alone.
A break that `known.json` does not hold fails the judgement, and so does an entry of it that nothing breaks any more.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from . import otel
from .judge import Break, Judge
from .plan import DIMENSIONS, FRAMEWORKS, Combination, Plan, named_within, pairs_of

ROOT = Path(__file__).parents[2]
KNOWN = Path(__file__).with_name("known.json")


def name_of(combination: Combination) -> str:
    return "/".join(combination.values())


class Verdict(NamedTuple):
    """What the judgement of many runs is: breaks by the combination's name."""

    unknown: list[tuple[str, Break]]
    known: list[tuple[str, Break, int]]
    judged: int
    combinations: list[Combination]

    def stale(self, entries: Sequence[Any]) -> list[Any]:
        met = {index for _, _, index in self.known}
        return [entry for index, entry in enumerate(entries) if index not in met]


def dimensions_for(frameworks: Sequence[str], sdks: Path | None) -> dict[str, tuple[str, ...]]:
    """Return the dimensions, cut down to some frameworks, and to what is installed where no SDKs are given."""
    dimensions = {**DIMENSIONS, "framework": tuple(frameworks)}
    if sdks is None:
        dimensions["sdk"] = (version("sentry-sdk"),)
        if not otel.is_installed():
            ways = dimensions["integrations"]
            dimensions["integrations"] = tuple(way for way in ways if way != "otlp")
    return dimensions


def run(combinations: Iterable[Combination], results: Path, sdks: Path | None) -> None:
    """Run combinations, each beside its bare run, and leave `<name>.json` and `<name>.bare.json`."""
    results.mkdir(parents=True, exist_ok=True)
    jobs: dict[str, list[Any]] = {}
    for combination in combinations:
        stem = name_of(combination).replace("/", "-")
        mine = jobs.setdefault(combination["sdk"], [])
        mine.append([combination, False, str(results / f"{stem}.json")])
        mine.append([combination, True, str(results / f"{stem}.bare.json")])
    for sdk, mine in jobs.items():
        _drive(mine, results / f"jobs-{sdk}.list", sdks and sdks / sdk / "site-packages")


def _drive(jobs: list[Any], path: Path, sdk: Path | None) -> None:
    path.write_text(json.dumps(jobs))
    before = [str(sdk)] if sdk else []
    inherited = os.environ.get("PYTHONPATH")
    env = {**os.environ, "PYTHONWARNINGS": "ignore"}
    env["PYTHONPATH"] = os.pathsep.join([*before, str(ROOT), *([inherited] if inherited else [])])
    with path.with_suffix(".log").open("w") as log:
        command = [sys.executable, "-m", "tests.invariants.drive", str(path)]
        subprocess.run(command, env=env, cwd=ROOT, stdout=log, stderr=log, check=False)


def judge(results: Path, entries: Sequence[Any]) -> Verdict:
    """Judge every planned run of a directory; one that has no result is a break, too."""
    verdict = Verdict([], [], 0, [])
    for jobs in sorted(results.rglob("jobs-*.list")):
        for combination, bare, out in json.loads(jobs.read_text()):
            if bare:
                continue
            breaks, judged = _breaks_of(Path(out))
            verdict = verdict._replace(judged=verdict.judged + judged)
            verdict.combinations.append(combination)
            for one in breaks:
                index = known_as(combination, one, entries)
                if index is None:
                    verdict.unknown.append((name_of(combination), one))
                else:
                    verdict.known.append((name_of(combination), one, index))
    return verdict


def _breaks_of(out: Path) -> tuple[list[Break], int]:
    bare = out.with_suffix(".bare.json")
    for path in (out, bare):
        if not path.exists():
            error = path.with_suffix(".error")
            why = error.read_text().strip().splitlines()[-1] if error.exists() else "no result"
            return [Break("I0", f"{'bare ' * (path is bare)}run: {why}")], 0
    one = Judge(json.loads(out.read_text()), json.loads(bare.read_text()))
    return one.breaks(), one.judged


def known_as(combination: Combination, one: Break, entries: Sequence[Any]) -> int | None:
    """Return the index of the first entry that holds a break."""
    for index, entry in enumerate(entries):
        where = entry["where"].items()
        if all(combination[name] in values for name, values in where) and any(
            re.fullmatch(pattern, f"{one.invariant} {one.what}") for pattern in entry["breaks"]
        ):
            return index
    return None


def told(verdict: Verdict, entries: Sequence[Any]) -> list[str]:
    """Return the lines that tell of a verdict, the same break of several combinations once."""
    by_break: dict[Break, list[str]] = {}
    for name, one in verdict.unknown:
        by_break.setdefault(one, []).append(name)
    lines = [
        f"{names[0]} {one.invariant}: {one.what}"
        + (f" (and in {len(names) - 1} more)" if names[1:] else "")
        for one, names in sorted(by_break.items())
    ]
    lines += [f"holds by now, take it out: {entry['reason']}" for entry in verdict.stale(entries)]
    counts = Counter(index for _, _, index in verdict.known)
    lines += [f"known, {counts[index]} times: {entries[index]['reason']}" for index in counts]
    pairs = set().union(*map(pairs_of, verdict.combinations))
    lines.append(
        f"{len(verdict.combinations)} combinations, {len(pairs)} pairs, {verdict.judged} judgements, "
        f"{len(verdict.unknown)} breaks that are not known, {len(verdict.known)} that are"
    )
    return lines


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.invariants")
    parser.add_argument("do", choices=["run", "judge"])
    parser.add_argument("results", type=Path)
    parser.add_argument("--framework", action="append", choices=FRAMEWORKS)
    parser.add_argument("--sdks", type=Path)
    options = parser.parse_args(arguments)
    if options.do == "run":
        # The plan is made for all, and then cut: that is what makes its pairs whole.
        sdks = options.sdks and options.sdks.resolve()
        dimensions = dimensions_for(FRAMEWORKS, sdks)
        plan = Plan(dimensions).combinations()
        plan += [one for one in named_within(dimensions) if one not in plan]
        wanted = options.framework or FRAMEWORKS
        run([one for one in plan if one["framework"] in wanted], options.results.resolve(), sdks)
        return 0
    entries = json.loads(KNOWN.read_text())
    verdict = judge(options.results, entries)
    print("\n".join(told(verdict, entries)))
    return 1 if verdict.unknown or verdict.stale(entries) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
