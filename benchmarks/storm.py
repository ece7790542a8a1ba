"""A storm: each request to a real server fails, while somebody asks for what does not.

The server is uvicorn as in `served.py`. wrk asks for the failing endpoint on 16 kept-alive connections; meanwhile this
process asks for the healthy one, on a connection of its own, every few milliseconds, and notes how long each
answer took. uvicorn logs each failure with its traceback, as it does by default; the log is formatted and dropped.

Contenders take turns of some seconds in an order shuffled anew. The share of the bare app's failing requests/s is
that of the same turn, and the median over the turns is reported; the latencies of all turns are put together, since a
turn has too few for a 99th percentile. The first turn, in which servers get warm, does not count; a server's error
budget is at rest by then, as it is in a storm that lasts.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles

from benchmarks.contenders import BARE, OURS, SDK
from benchmarks.figures import Column, Effort, Result, Skipped, spread
from benchmarks.served import NO_WRK, Server, running
from benchmarks.workloads import App, Setting

COLUMNS = (
    Column("rate", "failures/s", ",.0f"),
    Column("share", "of bare", ".1%"),
    Column("q1", "quartile 1", ".1%"),
    Column("q3", "quartile 3", ".1%"),
    Column("p50", "healthy p50 ms", ".2f"),
    Column("p99", "p99 ms", ".2f"),
    Column("p99_times", "÷ bare's", ".2f"),
)
CONNECTIONS = 16
SECONDS = 3
EVERY = 0.005
NAMES = (BARE, OURS, SDK)


@dataclass(frozen=True)
class Turn:
    """What one server did in one turn: failing requests per second, and milliseconds of each healthy answer."""

    rate: float
    healthy: list[float]


def measure(
    title: str, app: Callable[[], App], setting: Setting, effort: Effort
) -> Result | Skipped:
    """Failing requests per second, and how a healthy endpoint fares meanwhile."""
    wrk = shutil.which("wrk")
    if wrk is None:
        return Skipped(title, NO_WRK)
    turns: list[dict[str, Turn]] = []
    names = list(NAMES)
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(running(name, app, setting)) for name in names}
        for _ in range(2 * effort.slices + 1):
            random.shuffle(names)
            turns.append({name: _storm(wrk, servers[name], setting) for name in names})
    rows = {name: _row([turn[name] for turn in turns[1:]], turns[1:]) for name in NAMES}
    for row in rows.values():
        row["p99_times"] = row["p99"] / rows[BARE]["p99"]
    note = f"{len(turns) - 1} turns of {SECONDS} s each, {CONNECTIONS} connections."
    return Result(title, COLUMNS, rows, (note,))


def _row(mine: list[Turn], turns: list[dict[str, Turn]]) -> dict[str, float]:
    shares = spread([one.rate / turn[BARE].rate for one, turn in zip(mine, turns, strict=True)])
    healthy = [latency for turn in mine for latency in turn.healthy]
    return {
        "rate": median(turn.rate for turn in mine),
        **shares,
        "share": shares["median"],
        "p50": median(healthy),
        "p99": quantiles(healthy, n=100)[98],
    }


def _storm(wrk: str, server: Server, setting: Setting) -> Turn:
    options = ["--threads=1", f"--connections={CONNECTIONS}", f"--duration={SECONDS}s"]
    address = f"http://127.0.0.1:{server.port}{setting.path}"
    asking = subprocess.Popen([wrk, *options, address], stdout=subprocess.PIPE, text=True)
    healthy = _ask_meanwhile(server, asking)
    said, _ = asking.communicate()
    requests = re.search(r"(\d+) requests in", said)
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if not requests or not failed or not rate or failed[1] != requests[1]:
        raise SystemExit(f"No figures: not every request failed. wrk says\n{said}")
    return Turn(float(rate[1]), healthy)


def _ask_meanwhile(server: Server, asking: subprocess.Popen[str]) -> list[float]:
    took: list[float] = []
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection:
        due = time.perf_counter()
        while asking.poll() is None:
            start = time.perf_counter()
            connection.request("GET", "/")
            with connection.getresponse() as response:
                response.read()
            took.append((time.perf_counter() - start) * 1e3)
            due += EVERY
            time.sleep(max(0.0, due - time.perf_counter()))
    return took
