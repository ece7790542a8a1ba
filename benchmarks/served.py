"""Requests per second of a real server: uvicorn with uvloop and httptools, one process, no log.

wrk asks, on one thread, over kept-alive connections of the loopback interface. In each round every
contender gets a fresh server, in an order shuffled anew, a second to warm up, and a few to be
measured. A contender's share is that of the bare app's rate in the same round; the median over the
rounds is what is reported.

The server process's own CPU time for a request stands beside it where the system tells (Linux):
it hardly depends on what else the machine does, so where the two disagree, the machine was busy.
"""

from __future__ import annotations

import http.client
import os
import random
import re
import shutil
import socket
import subprocess
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import fresh
from benchmarks.contenders import BARE, CONTENDERS, start_sentry, verify
from benchmarks.figures import Column, Effort, Result, Skipped, spread
from benchmarks.workloads import HEADERS, App, Setting

if TYPE_CHECKING:
    from collections.abc import Callable

COLUMNS = (
    Column("rate", "requests/s", ",.0f"),
    Column("min", "least", ",.0f"),
    Column("max", "most", ",.0f"),
    Column("share", "of bare", ".1%"),
    Column("cpu", "CPU µs each", ".1f"),
    Column("cpu_share", "of bare, by CPU", ".1%"),
)
CONNECTIONS = 32
NO_WRK = "wrk is not installed: `apt install wrk`, `brew install wrk`, or github.com/wg/wrk."


def measure(
    title: str, app: Callable[[], App], setting: Setting, effort: Effort
) -> Result | Skipped:
    """Requests per second of each contender around the app that the function makes."""
    wrk = shutil.which("wrk")
    if wrk is None:
        return Skipped(title, NO_WRK)
    order = list(CONTENDERS)
    shuffle = random.Random(0).shuffle
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in order}
    for _ in range(effort.served_rounds):
        shuffle(order)
        for name in order:
            runs[name].append(_one_run(wrk, name, app, setting, effort.served_seconds))
    rows: dict[str, dict[str, float]] = {}
    for name, mine in runs.items():
        both = list(zip(mine, runs[BARE], strict=True))
        rates = spread([rate for rate, _ in mine])
        rows[name] = {
            "rate": rates["median"],
            "min": rates["min"],
            "max": rates["max"],
            "share": median(rate / bare for (rate, _), (bare, _) in both),
        }
        if all(cpu for _, cpu in mine):
            rows[name]["cpu"] = median(cpu for _, cpu in mine)
            rows[name]["cpu_share"] = median(bare / cpu for (_, cpu), (_, bare) in both)
    note = (
        f"{effort.served_rounds} rounds of {effort.served_seconds} s for each, "
        f"{CONNECTIONS} connections."
    )
    return Result(title, COLUMNS, rows, (note,))


def serve(name: str, app: Callable[[], App], setting: Setting, listener: int) -> None:
    """Serve the contender until told to end. For a fresh interpreter."""
    import uvicorn

    contender = CONTENDERS[name]
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


def _one_run(
    wrk: str, name: str, app: Callable[[], App], setting: Setting, seconds: int
) -> tuple[float, float]:
    """Requests per second, and microseconds of the server's CPU for each; 0 if not known."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        fd = listener.fileno()
        server = fresh.start(serve, (fd,), name, app, setting, fd)
    try:
        _expect_answer(name, port)
        _drive(wrk, port, setting, 1)
        before = _cpu_seconds(server.pid)
        requests, rate = _drive(wrk, port, setting, seconds)
        return rate, (_cpu_seconds(server.pid) - before) * 1e6 / requests
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


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


def _drive(wrk: str, port: int, setting: Setting, seconds: int) -> tuple[int, float]:
    """How many requests were answered, and how many per second."""
    headers = [
        f"--header={name.decode()}: {value.decode()}"
        for name, value in [*HEADERS, *setting.headers]
    ]
    said = subprocess.run(
        [
            wrk,
            "--threads=1",
            f"--connections={CONNECTIONS}",
            f"--duration={seconds}s",
            *headers,
            f"http://127.0.0.1:{port}/",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    requests = re.search(r"(\d+) requests in", said)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if requests is None or rate is None or "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"No figures: wrk says\n{said}")
    return int(requests[1]), float(rate[1])


def _cpu_seconds(pid: int) -> float:
    """CPU time that the process has used; 0 where the system has no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
