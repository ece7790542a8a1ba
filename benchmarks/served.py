"""Requests per second of a real server: uvicorn with uvloop and httptools, one process, no log.

wrk asks, on one thread, over kept-alive connections of the loopback interface. The servers of all
contenders run at once, idle but for the one that is asked, and take turns: a slice of a second each,
in an order shuffled anew, some times over. Then all are started afresh, since a process can be lucky
with its memory layout and its hashes. A contender's share is that of the bare app's rate in the same
turn; the median over the turns is what is reported.

A server under load keeps a processor busy. Where one of a turn's servers got less than `STARVED` of
one, others used the machine and the whole turn, all contenders' slices of it, says nothing: another
is taken instead, up to as many again. Only if too few calm ones come are all turns used. The table
says how many there were.

Second opinions stand beside it. "By best": each one's fastest slice against the bare app's, for
others' use of the machine only ever slows. "By CPU": the server's CPU time for a request, in its
median slice, where the system tells (Linux); waiting for a processor is not in it. Where they
disagree, or the bare app's own rate varies much from slice to slice, the machine was busy.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import fresh
from benchmarks.contenders import BARE, CONTENDERS, INIT, SERVED, start_sentry, verify
from benchmarks.figures import Column, Effort, Result, Skipped, spread
from benchmarks.workloads import HEADERS, App, Setting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COLUMNS = (
    Column("rate", "requests/s", ",.0f"),
    Column("share", "of bare", ".1%"),
    Column("q1", "quartile 1", ".1%"),
    Column("q3", "quartile 3", ".1%"),
    Column("best_share", "by best", ".1%"),
    Column("cpu", "CPU µs each", ".1f"),
    Column("cpu_share", "by CPU", ".1%"),
    Column("than_init", "than init alone", ".1f"),
)
CONNECTIONS = 32
SECONDS = 1
STARVED = 0.9
FEWEST = 3
BUSY = 0.1
NO_WRK = "wrk is not installed: `apt install wrk`, `brew install wrk`, or github.com/wg/wrk."


@dataclass(frozen=True)
class Server:
    """A running server."""

    pid: int
    port: int


@dataclass(frozen=True)
class Slice:
    """What one server did in one slice of time."""

    requests: int
    rate: float
    cpu: float
    """Seconds; 0 where the system does not tell."""


Turn = dict[str, Slice]
"""One slice of each contender."""


def measure(
    title: str, app: Callable[[], App], setting: Setting, effort: Effort
) -> Result | Skipped:
    """Requests per second of each contender around the app that the function makes.

    Where the SDK enables its integrations by itself, beside what that makes of the app without any middleware.
    """
    names = list(SERVED if setting.options.get("auto_enabling_integrations") else CONTENDERS)
    wrk = shutil.which("wrk")
    if wrk is None:
        return Skipped(title, NO_WRK)
    turns: list[Turn] = []
    for _ in range(effort.generations):
        turns += _generation(wrk, names, app, setting, effort.slices)
    calm = [turn for turn in turns if _is_calm(turn)]
    used = calm if len(calm) >= FEWEST else turns
    runs = {name: [turn[name] for turn in used] for name in names}
    rows = {name: _row(slices, runs[BARE]) for name, slices in runs.items()}
    for row in rows.values() if INIT in rows else ():
        row["than_init"] = row["rate"] / rows[INIT]["rate"]
    note = (
        f"{len(used)} slices of {SECONDS} s for each, {CONNECTIONS} connections; "
        f"{len(calm)} of {len(turns)} turns were calm."
    )
    varied = _variation(runs[BARE])
    steadiness = f"Half of the bare app's slices lay within {varied:.0%} of each other."
    doubt = "the machine was too unsteady to judge a few percent" if varied > BUSY else ""
    return Result(title, COLUMNS, rows, (note, steadiness), doubt)


def _generation(
    wrk: str, names: list[str], app: Callable[[], App], setting: Setting, wanted: int
) -> list[Turn]:
    """The turns of one set of servers: until enough are calm, or twice as many are done."""
    turns: list[Turn] = []
    names = [*names]
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(running(name, app, setting)) for name in names}
        for server in servers.values():
            _drive(wrk, server, setting)
        while len(turns) < 2 * wanted and sum(map(_is_calm, turns)) < wanted:
            random.shuffle(names)
            turns.append({name: _drive(wrk, servers[name], setting) for name in names})
    return turns


def _is_calm(turn: Turn) -> bool:
    """Whether every server had a processor to itself; taken for granted where nobody can tell."""
    return all(not one.cpu or one.cpu >= STARVED * SECONDS for one in turn.values())


def _variation(bare: list[Slice]) -> float:
    rates = spread([one.rate for one in bare])
    return (rates["q3"] - rates["q1"]) / rates["median"]


def _row(mine: list[Slice], bare: list[Slice]) -> dict[str, float]:
    shares = spread([one.rate / other.rate for one, other in zip(mine, bare, strict=True)])
    row = {
        "rate": median(one.rate for one in mine),
        "share": shares.pop("median"),
        **shares,
        "best_share": max(one.rate for one in mine) / max(one.rate for one in bare),
    }
    if all(one.cpu for one in mine):
        row["cpu"] = _cpu_each(mine)
        row["cpu_share"] = _cpu_each(bare) / row["cpu"]
    return row


def _cpu_each(slices: list[Slice]) -> float:
    return median(one.cpu / one.requests for one in slices) * 1e6


def serve(name: str, app: Callable[[], App], setting: Setting, listener: int) -> None:
    """Serve the contender until told to end. For a fresh interpreter."""
    import uvicorn

    if setting.quiet:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    contender = SERVED[name]
    if contender.sentry:
        verify(name, setting, start_sentry(setting))
    config = uvicorn.Config(
        contender.wrap(app(), setting),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
    with socket.socket(fileno=listener) as bound:
        uvicorn.Server(config).run(sockets=[bound])


@contextlib.contextmanager
def running(name: str, app: Callable[[], App], setting: Setting) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        fd = listener.fileno()
        process = fresh.start(serve, (fd,), name, app, setting, fd)
    try:
        _expect_answer(name, port)
        yield Server(process.pid, port)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _expect_answer(name: str, port: int) -> None:
    """Wait for the server: the socket listens already, so the first request waits for it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/")
        status = connection.getresponse().status
    except OSError as error:
        raise SystemExit(f"No figures: the server of {name!r} did not answer ({error}).") from None
    finally:
        connection.close()
    if status != http.HTTPStatus.OK:
        raise SystemExit(f"No figures: the server of {name!r} answers {status}.")


def _drive(wrk: str, server: Server, setting: Setting) -> Slice:
    """Ask for a slice of time."""
    headers = [
        f"--header={name.decode()}: {value.decode()}"
        for name, value in [*HEADERS, *setting.headers]
    ]
    before = _cpu_seconds(server.pid)
    said = subprocess.run(
        [
            wrk,
            "--threads=1",
            f"--connections={CONNECTIONS}",
            f"--duration={SECONDS}s",
            *headers,
            f"http://127.0.0.1:{server.port}/",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    cpu = _cpu_seconds(server.pid) - before
    requests = re.search(r"(\d+) requests in", said)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if requests is None or rate is None or "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"No figures: wrk says\n{said}")
    return Slice(int(requests[1]), float(rate[1]), cpu)


def _cpu_seconds(pid: int) -> float:
    """CPU time that the process's threads have used; 0 where the system does not tell."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    try:
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9
    except OSError:
        return 0.0
